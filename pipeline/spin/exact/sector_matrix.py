"""Sparse matrices of sectors, built by QuSpin from Pauli strings, and their lowest eigenstates."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.base.later import NDArray, np
from pipeline.spin.exact.lanczos import lowest
from pipeline.spin.symmetry.charges import conserves_magnetisation, is_real, ladder_strings
from pipeline.spin.symmetry.sectors import Sector
from pipeline.spin.terms import PauliTerm


@dataclass(frozen=True)
class Level:
    """One eigenstate.

    Attributes:
        energy: total, Pauli convention.
        residual: ‖Hψ - Eψ‖.
        vector: ψ on the representatives, shape (basis states,), normalised.
        states: the representatives as QuSpin's integers, same shape.
    """

    energy: float
    residual: float
    vector: NDArray[Any]
    states: NDArray[np.unsignedinteger[Any]]


def build(size: int, terms: Sequence[PauliTerm], sector: Sector) -> Any:
    """QuSpin ``hamiltonian`` of ``terms`` on ``size`` spins, restricted to ``sector``, whose symmetries H must have.

    float64, or complex128 if a string has an odd number of σy or a symmetry a complex eigenvalue.
    """
    from quspin.basis import spin_basis_general
    from quspin.operators import hamiltonian

    blocks: dict[str, Any] = {name: (np.array(moved), number) for name, (moved, number) in sector.lattice.items()}
    if sector.flip is not None:
        # QuSpin writes "move to site i and flip" as -(i + 1).
        blocks["spin_flip"] = (-np.arange(size) - 1, sector.flip)
    couplings: dict[str, list[list[complex]]] = {}
    for coefficient, operators, sites in _operators(terms):
        couplings.setdefault(operators, []).append([coefficient, *sites])
    with warnings.catch_warnings():
        # QuSpin warns of symmetries that do not commute. It averages over the products of their powers, in the order
        # of ``block_order``: right for a character of a group of which every element is one such product.
        warnings.simplefilter("ignore")
        basis = spin_basis_general(size, Nup=sector.up, pauli=True, block_order=list(blocks), **blocks)
        return hamiltonian(
            [[paulis, entries] for paulis, entries in couplings.items()],
            [],
            basis=basis,
            dtype=np.float64 if is_real(terms) and sector.real else np.complex128,
            check_herm=False,
            check_symm=False,
            check_pcon=False,
        )


def _operators(terms: Sequence[PauliTerm]) -> list[tuple[complex, str, tuple[int, ...]]]:
    """Coefficient, QuSpin's letters and sites of each string; with σ± where Σ σz is conserved: no elements that cancel.

    QuSpin's σ± = σx ± iσy are twice those of :func:`pipeline.spin.symmetry.charges.ladder_strings`.
    """
    if not conserves_magnetisation(terms):
        return [(term.coefficient, term.paulis, term.sites) for term in terms]
    found = []
    for coefficient, letters, sites in ladder_strings(terms):
        halves = 0.5 ** (letters.count("+") + letters.count("-"))
        found.append((halves * coefficient, letters, sites))
    # Strings without a flip first: the order of the sums.
    return sorted(found, key=lambda string: "+" in string[1])


def solve(matrix: Any, levels: int, bound: float = math.inf) -> list[Level]:
    """The ``levels`` lowest eigenstates of a QuSpin ``hamiltonian``; fewer if it is smaller or ``bound`` is met."""
    if matrix.Ns == 0:
        return []
    sparse = matrix.tocsr()
    # QuSpin's array does not keep its memory alive.
    states = np.array(matrix.basis.states)
    found = []
    for energy, vector in lowest(sparse, min(levels, int(matrix.Ns)), bound):
        residual = float(np.linalg.norm(sparse @ vector - energy * vector))
        found.append(Level(energy, residual, vector, states))
    return found
