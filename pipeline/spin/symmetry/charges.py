"""What a Hamiltonian conserves, read from its Pauli strings."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from pipeline.spin.terms import PauliTerm


def conserves_spin_flip(terms: Sequence[PauliTerm]) -> bool:
    """True if every string commutes with Π_i σx_i, i.e. holds an even number of σy and σz."""
    return all((len(term.paulis) - term.paulis.count("x")) % 2 == 0 for term in terms)


def is_real(terms: Sequence[PauliTerm]) -> bool:
    """True if every string holds an even number of σy, so that H is a real matrix."""
    return all(term.paulis.count("y") % 2 == 0 for term in terms)


def conserves_total_spin(terms: Sequence[PauliTerm]) -> bool:
    """True if ``terms`` are a sum of J_ij σ_i·σ_j, which commutes with all rotations of the spins (SU(2)).

    Every multiplet then has one member with Σ σz = 0 (N even) or ±1 (N odd), so that these states hold all energies.
    """
    couplings: dict[frozenset[int], dict[str, float]] = defaultdict(lambda: dict.fromkeys(("xx", "yy", "zz"), 0.0))
    for term in terms:
        if term.paulis not in ("xx", "yy", "zz"):
            return False
        couplings[frozenset(term.sites)][term.paulis] += term.coefficient
    return all(len(set(axes.values())) == 1 for axes in couplings.values())
