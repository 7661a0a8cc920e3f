"""What Pauli strings prove about how many ground states there are.

Within basis states among which a stoquastic H leads from each to every other by non-zero elements, the ground state is
unique and has positive amplitudes (Perron-Frobenius).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from pipeline.spin.symmetry.charges import conserves_magnetisation
from pipeline.spin.symmetry.stoquastic import stoquastic_form, stoquastic_signs
from pipeline.spin.terms import PauliTerm, flipped


def is_unique(terms: Sequence[PauliTerm], size: int) -> bool:
    """True if the ground state is proven to be the only one.

    Flips of single sites, or of sets of sites that generate these, connect all 2^N basis states.
    """
    pivots: dict[int, int] = {}
    for flips in _certain_flips(terms):
        word = sum(1 << site for site in flips)
        while word and (top := word.bit_length()) in pivots:
            word ^= pivots[top]
        if word:
            pivots[word.bit_length()] = word
    return len(pivots) == size


def is_unique_at_each_magnetisation(terms: Sequence[PauliTerm], size: int) -> bool:
    """True if H conserves Σ σz and is proven to have one lowest state for each of its values.

    Exchanges of antiparallel spins along the edges of a connected graph lead to any arrangement of them.
    """
    if not conserves_magnetisation(terms):
        return False
    rotated = stoquastic_form(terms) or []
    along: dict[frozenset[int], dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for term in rotated:
        if term.coefficient and (flips := flipped(term)):
            along[flips]["".join(sorted(term.paulis))] += term.coefficient
    edges = [
        flips
        for flips, strings in along.items()
        if len(flips) == 2 and set(strings) == {"xx", "yy"} and strings["xx"] == strings["yy"] < 0
    ]
    return _connected(edges, size)


def multiplet_of_bipartite_antiferromagnet(terms: Sequence[PauliTerm], size: int) -> int:
    """2S of the ground states of an H that commutes with all rotations and is unique at each Σ σz (Lieb and Mattis).

    J. Math. Phys. 3, 749 (1962): S is half the difference in size of the two sublattices, which Marshall's rule tells
    apart; a single sublattice is that of a ferromagnet. There is one such multiplet.
    """
    signs = stoquastic_signs(terms)
    assert signs is not None, "a stoquastic form comes with its signs"
    return abs(sum(signs[site] for site in range(size)))


def _certain_flips(terms: Sequence[PauliTerm]) -> list[frozenset[int]]:
    """Sets of sites whose flip has a non-zero element from each basis state, of one sign; none without a proof."""
    lowering: dict[frozenset[int], float] = defaultdict(float)
    for term in stoquastic_form(terms) or []:
        if flips := flipped(term):
            lowering[flips] += term.coefficient if set(term.paulis) == {"x"} else abs(term.coefficient)
    return [flips for flips, total in lowering.items() if total < 0]


def _connected(edges: Sequence[frozenset[int]], size: int) -> bool:
    """Whether the edges join all sites."""
    group = list(range(size))
    for edge in edges:
        i, j = (group[site] for site in edge)
        group = [i if mark == j else mark for mark in group]
    return len(set(group)) == 1
