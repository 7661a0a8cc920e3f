"""What all states of the lowest level share: observables of a ground state that is degenerate, or none.

Where several states have the lowest energy, an expectation value is that of whichever of them is asked. It belongs to
the level where the operator, restricted to the space of these states, is a multiple of the identity.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from pipeline.base.later import NDArray, np
from pipeline.spin.exact.sector_matrix import Level, build, solve
from pipeline.spin.lattice import Bond
from pipeline.spin.symmetry.charges import conserves_total_spin
from pipeline.spin.symmetry.sectors import Search, Sector, by_magnetisation, plan
from pipeline.spin.symmetry.uniqueness import (
    is_unique,
    is_unique_at_each_magnetisation,
    multiplet_of_bipartite_antiferromagnet,
)
from pipeline.spin.systems import SpinSystem
from pipeline.spin.terms import PauliTerm, flipped, on_bonds

MOST_MEMBERS = 8
"""States of one sector that are looked for; more of the lowest level are too many to compare."""

MOST_CLASSICAL_SITES = 24
"""Up to this many, all basis states of an H without flips are gone through."""

SAME = 1e-9
"""Energies that differ by less, relative to the lowest, are those of one level; values that do are the same."""

States: TypeAlias = "NDArray[np.unsignedinteger[Any]]"
Solved = tuple[Sector, list[Level]]


@dataclass(frozen=True)
class GroundSpace:
    """States of the lowest level, by sector.

    Attributes:
        multiplicity: how many states they are.
        blocks: orthonormal states of a sector each, one of each set of sectors that a symmetry maps onto each other;
            observables that have the symmetries are the same in these, and have no elements between sectors.
        configurations: instead, basis states, where these are all the states.
    """

    multiplicity: int
    blocks: tuple[tuple[Level, ...], ...] = ()
    configurations: States | None = None

    def shared(self, diagonal: Callable[[States], NDArray[np.float64]]) -> float | None:
        """The value of a σz-diagonal observable in every state of the level; None where they differ."""
        values = [] if self.configurations is None else list(diagonal(self.configurations))
        for block in self.blocks:
            vectors = np.column_stack([level.vector for level in block])
            inside = vectors.conj().T @ (diagonal(block[0].states)[:, None] * vectors)
            if not np.allclose(inside, inside[0, 0].real * np.eye(len(block)), rtol=0.0, atol=SAME):
                return None
            values.append(inside[0, 0].real)
        return float(values[0]) if max(values) - min(values) <= SAME else None


def witnesses(system: SpinSystem, terms: Sequence[PauliTerm], search: Search) -> Search | None:
    """What is to be searched, beside the levels of ``search``, for every state of the lowest one; None: nothing."""
    size = system.size
    if is_unique(terms, size) or _is_classical(terms):
        return None
    if is_unique_at_each_magnetisation(terms, size):
        return None if conserves_total_spin(terms) else by_magnetisation(system, terms)
    complete = plan(system, terms, levels=2)
    return None if complete.sectors == search.sectors else complete


def ground_space(
    system: SpinSystem, terms: Sequence[PauliTerm], search: Search, solved: Sequence[Solved]
) -> GroundSpace | None:
    """All states of the lowest level, given the lowest ones of each sector of a search that :func:`witnesses` names.

    None where there are too many of them.
    """
    size, ground = system.size, min((level for _, levels in solved for level in levels), key=lambda level: level.energy)
    if is_unique(terms, size):
        return GroundSpace(1, ((ground,),))
    if _is_classical(terms):
        return _classical(terms, size, ground.energy) if size <= MOST_CLASSICAL_SITES else None
    rotations = conserves_total_spin(terms)
    if rotations and is_unique_at_each_magnetisation(terms, size):
        # In a multiplet of spin 1/2 the observables, even under rotations by π, are multiples of the identity.
        spins_2 = multiplet_of_bipartite_antiferromagnet(terms, size)
        return GroundSpace(spins_2 + 1, ((ground,),)) if spins_2 <= 1 else None
    limit = ground.energy + SAME * abs(ground.energy)
    blocks, count = [], 0
    for sector, levels in solved:
        if levels and levels[0].energy <= limit:
            members = [
                m for m in solve(build(size, search.terms, sector), MOST_MEMBERS + 1, limit) if m.energy <= limit
            ]
            if len(members) > MOST_MEMBERS:
                return None
            if rotations and not _smallest_spin(size, sector, members):
                return None
            blocks.append(tuple(members))
            count += len(members) * sector.multiplicity
    return GroundSpace(count * (1 + size % 2) if rotations else count, tuple(blocks))


def _smallest_spin(size: int, sector: Sector, members: Sequence[Level]) -> bool:
    """Whether all states have the total spin 0 (N even) or 1/2 (N odd), by ⟨(Σσ)²⟩ = 4 S(S+1)."""
    pairs = [(i, j) for i in range(size) for j in range(i + 1, size)]
    total = build(size, on_bonds(pairs, dict.fromkeys(("xx", "yy", "zz"), 2.0)), sector).tocsr()
    squares = [3.0 * size + float((m.vector.conj() @ (total @ m.vector)).real) for m in members]
    return all(abs(square - 3.0 * (size % 2)) < 1e-6 * size for square in squares)


def _is_classical(terms: Sequence[PauliTerm]) -> bool:
    return not any(flipped(term) for term in terms if term.coefficient)


def _classical(terms: Sequence[PauliTerm], size: int, energy: float) -> GroundSpace:
    """Basis states with the lowest ``energy`` of an H without flips."""
    found, part = [], 2 ** min(size, 18)
    for first in range(0, 2**size, part):
        states = np.arange(first, first + part, dtype=np.uint64)
        energies = np.zeros(part)
        for term in terms:
            if not term.coefficient:
                continue
            energies += term.coefficient * np.prod([spins(states, size, site) for site in term.sites], axis=0)
        found.append(states[energies <= energy + SAME * abs(energy)])
    lowest = np.concatenate(found)
    return GroundSpace(len(lowest), configurations=lowest)


def absolute_magnetisation(states: NDArray[np.unsignedinteger[Any]], size: int) -> NDArray[np.float64]:
    """|Σ σz|/N of basis states given as QuSpin's integers, shape (states,)."""
    total = np.zeros(len(states), dtype=np.int16)
    for site in range(size):
        total += spins(states, size, site)
    return np.abs(total) / size


def mean_correlation(states: NDArray[np.unsignedinteger[Any]], size: int, bonds: Sequence[Bond]) -> NDArray[np.float64]:
    """σz_i σz_j averaged over ``bonds``, of basis states given as QuSpin's integers, shape (states,)."""
    total = np.zeros(len(states), dtype=np.int16)
    for i, j in bonds:
        total += spins(states, size, i) * spins(states, size, j)
    return total / len(bonds)


def spins(states: NDArray[np.unsignedinteger[Any]], size: int, site: int) -> NDArray[np.int16]:
    """σz of ``site``: QuSpin keeps site 0 in the highest bit, and a set bit is spin up."""
    bits = (states >> states.dtype.type(size - 1 - site)) & states.dtype.type(1)
    return 2 * bits.astype(np.int16) - 1
