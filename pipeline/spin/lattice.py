"""Chains and square lattices: their geometry, and bonds as sorted lists of site pairs (torch-free)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

Bond = tuple[int, int]


@dataclass(frozen=True)
class Lattice:
    """A chain or a rectangle of sites, numbered row by row.

    Attributes:
        extents: (N,) or (length_x, length_y); site = y * length_x + x.
        periodic: wrapped in all directions.
    """

    extents: tuple[int, ...]
    periodic: bool

    @property
    def size(self) -> int:
        """Number of sites."""
        return math.prod(self.extents)

    def nearest(self) -> list[Bond]:
        """Pairs of nearest neighbours, each once."""
        if len(self.extents) == 1:
            return chain_bonds(self.size, 1, self.periodic)
        length_x, length_y = self.extents
        return square_bonds(length_x, length_y, self.periodic)

    def distance(self, bond: Bond) -> int:
        """Largest component of the way from one site to the other."""
        steps, (i, j) = [], bond
        for extent in self.extents:
            step = abs(i % extent - j % extent)
            steps.append(min(step, extent - step) if self.periodic else step)
            i, j = i // extent, j // extent
        return max(steps)


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


def sublattices(size: int, bonds: Sequence[Bond]) -> tuple[int, ...] | None:
    """±1 on each site such that every bond joins different signs; None if a ring of odd length forbids it."""
    neighbours: list[list[int]] = [[] for _ in range(size)]
    for i, j in bonds:
        neighbours[i].append(j)
        neighbours[j].append(i)
    signs = [0] * size
    for origin in range(size):
        if signs[origin]:
            continue
        signs[origin] = 1
        reached = [origin]
        for site in reached:
            for other in neighbours[site]:
                if not signs[other]:
                    signs[other] = -signs[site]
                    reached.append(other)
    return tuple(signs) if all(signs[i] != signs[j] for i, j in bonds) else None


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
