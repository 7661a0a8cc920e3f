"""Bonds of chains and square lattices, as sorted lists of site pairs (torch-free)."""

from __future__ import annotations

Bond = tuple[int, int]


def chain_bonds(n_sites: int, interaction_range: int, periodic: bool = True) -> list[Bond]:
    """Pairs (i, j), i < j, of a chain at distance 1..interaction_range; each pair once.

    On a ring, at distance n_sites/2 (even n_sites), the two ways round are the same bond.
    """
    pairs = set()
    for i in range(n_sites):
        for distance in range(1, interaction_range + 1):
            j = i + distance
            if periodic:
                j %= n_sites
            elif j >= n_sites:
                break
            if i != j:
                pairs.add((min(i, j), max(i, j)))
    return sorted(pairs)


def square_bonds(length_x: int, length_y: int, periodic: bool) -> list[Bond]:
    """Nearest-neighbour pairs of a length_y × length_x square lattice, site = y * length_x + x; each pair once."""
    return _shifted(length_x, length_y, periodic, ((1, 0), (0, 1)))


def square_diagonals(length_x: int, length_y: int, periodic: bool) -> list[Bond]:
    """Pairs at distance √2, along both diagonals of every plaquette, of the same lattice; each pair once."""
    return _shifted(length_x, length_y, periodic, ((1, 1), (1, -1)))


def _shifted(length_x: int, length_y: int, periodic: bool, shifts: tuple[tuple[int, int], ...]) -> list[Bond]:
    """Pairs (site, site + shift) that lie on the lattice, each once, never a site with itself."""
    pairs = set()
    for y in range(length_y):
        for x in range(length_x):
            for dx, dy in shifts:
                x2, y2 = x + dx, y + dy
                if periodic:
                    x2, y2 = x2 % length_x, y2 % length_y
                elif x2 >= length_x or not 0 <= y2 < length_y:
                    continue
                i, j = y * length_x + x, y2 * length_x + x2
                if i != j:
                    pairs.add((min(i, j), max(i, j)))
    return sorted(pairs)
