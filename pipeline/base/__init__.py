"""Ground floor: contracts, config machinery, stage store, loop, RNG, statistics. Knows no physics."""
