"""Bottom of the house: contracts, config machinery, stage store, loop, RNG, statistics. Knows no physics."""
