"""Permutations of the sites that leave a Hamiltonian unchanged, found from the graph of its strings alone.

Two colourings of the sites, before and after the permutation, are refined together: sites of one colour that have
different strings, or strings to sites of different colours, get different ones. Where a colour is left to more than
one site, one of these is mapped to each candidate in turn and the colourings are refined again.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.spin.symmetry.characters import Permutation, order
from pipeline.spin.terms import PauliTerm

MOST_REFINEMENTS = 1000
"""The search gives up after so many; what it has found until then are symmetries all the same."""

MOST_GENERATORS = 8
"""The group that commuting generators span grows exponentially with their number."""

_Colours = list[int]


def automorphisms(terms: Sequence[PauliTerm], size: int) -> dict[str, Permutation]:
    """Generators of permutations of ``size`` sites that leave ``terms`` unchanged, those of largest order first.

    Site after site, from the last one, permutations are looked for that leave all sites before it in place and take it
    to a site that the generators found so far do not reach: together they generate all symmetries (Sims), of which the
    first :data:`MOST_GENERATORS` are given.
    """
    search = _Search(terms, size)
    found: list[Permutation] = []
    for site in reversed(range(size)):
        for image in range(site + 1, size):
            if image not in _orbit(site, found):
                permutation = search.extend({**{fixed: fixed for fixed in range(site)}, site: image})
                found += [permutation] if permutation else []
    ordered = sorted(found, key=order, reverse=True)[:MOST_GENERATORS]
    return {f"permutation_{number}": permutation for number, permutation in enumerate(ordered, 1)}


def _orbit(site: int, generators: Sequence[Permutation]) -> list[int]:
    """Sites to which products of ``generators`` take ``site``."""
    orbit = [site]
    for here in orbit:  # grows on the way
        orbit += dict.fromkeys(g[here] for g in generators if g[here] not in orbit)
    return orbit


class _Search:
    def __init__(self, terms: Sequence[PauliTerm], size: int) -> None:
        self.size, self.left = size, MOST_REFINEMENTS
        sums: dict[tuple[tuple[int, str], ...], float] = defaultdict(float)
        for term in terms:
            sums[tuple(sorted(zip(term.sites, term.paulis, strict=True)))] += term.coefficient
        # Of each site: the coefficient, the letter there, and the other sites with their letters, of every string.
        self.strings: list[list[tuple[float, str, list[tuple[int, str]]]]] = [[] for _ in range(size)]
        for string, coefficient in sums.items():
            for site, letter in string:
                self.strings[site].append((coefficient, letter, [entry for entry in string if entry[0] != site]))

    def extend(self, images: Mapping[int, int]) -> Permutation | None:
        """A symmetry that maps each site of ``images`` as given; None: there is none, or the search gave up."""
        before, after = [0] * self.size, [0] * self.size
        for colour, (site, image) in enumerate(images.items(), 1):
            before[site] = after[image] = colour
        refined = self._refine(before, after)
        if refined is None:
            return None
        before, after = refined
        shared = [site for site in range(self.size) if before.count(before[site]) > 1]
        if not shared:
            # Each site has a colour of its own and equal colours mean equal strings.
            return tuple(after.index(colour) for colour in before)
        for image in (site for site in range(self.size) if after[site] == before[shared[0]]):
            permutation = self.extend({**images, shared[0]: image})
            if permutation:
                return permutation
        return None

    def _refine(self, before: _Colours, after: _Colours) -> tuple[_Colours, _Colours] | None:
        """Both colourings, as fine as they get; None once they differ in the number of sites of a colour."""
        number = 0
        while True:
            self.left -= 1
            signatures = [[self._signature(site, colours) for site in range(self.size)] for colours in (before, after)]
            if self.left < 0 or Counter(signatures[0]) != Counter(signatures[1]):
                return None
            names = {signature: name for name, signature in enumerate(sorted(set(signatures[0])))}
            before, after = ([names[signature] for signature in side] for side in signatures)
            if len(names) == number:
                return before, after
            number = len(names)

    def _signature(self, site: int, colours: _Colours) -> tuple[Any, ...]:
        around = [
            (coefficient, letter, tuple(sorted((colours[other], there) for other, there in others)))
            for coefficient, letter, others in self.strings[site]
        ]
        return colours[site], tuple(sorted(around))
