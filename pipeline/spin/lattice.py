"""Bonds of chains and square lattices, as sorted lists of site pairs (torch-free)."""

from __future__ import annotations

Bond = tuple[int, int]


def chain_bonds(n_sites: int, interaction_range: int) -> list[Bond]:
    """Pairs (i, j), i < j, of a periodic chain at distance 1..interaction_range; each pair once.

    At distance n_sites/2 (even n_sites) the two ways round the ring are the same bond.
    """
    pairs = set()
    for i in range(n_sites):
        for distance in range(1, interaction_range + 1):
            j = (i + distance) % n_sites
            if i != j:
                pairs.add((min(i, j), max(i, j)))
    return sorted(pairs)


def square_bonds(length_x: int, length_y: int, periodic: bool) -> list[Bond]:
    """Nearest-neighbour pairs of a length_y × length_x square lattice, site = y * length_x + x; each pair once."""
    pairs = set()
    for y in range(length_y):
        for x in range(length_x):
            for dx, dy in ((1, 0), (0, 1)):
                x2, y2 = x + dx, y + dy
                if periodic:
                    x2, y2 = x2 % length_x, y2 % length_y
                elif x2 >= length_x or y2 >= length_y:
                    continue
                i, j = y * length_x + x, y2 * length_x + x2
                if i != j:
                    pairs.add((min(i, j), max(i, j)))
    return sorted(pairs)
