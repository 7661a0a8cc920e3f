"""Exact diagonalisation with QuSpin, in the smallest symmetry sectors that are proven to hold the lowest levels."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from omegaconf import MISSING

from pipeline.base.config import checks
from pipeline.base.contracts import Cost, Exactness
from pipeline.base.errors import UserError
from pipeline.base.numbers.formatting import duration, memory
from pipeline.base.numbers.result import Bound, Estimate, Result
from pipeline.spin.exact.lanczos import lowest
from pipeline.spin.lattice import Bond
from pipeline.spin.symmetry.charges import conserves_magnetisation, conserves_total_spin, is_real, ladder_strings
from pipeline.spin.symmetry.sectors import Search, Sector, number_of_levels, plan
from pipeline.spin.systems import SpinSystem
from pipeline.spin.terms import PauliTerm, flipped, pauli_terms

MOST_SITES = 64
"""Above, not even the number of basis states is worth a closer look."""

EPSILON = float(np.finfo(np.float64).eps)


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


@dataclass
class QuSpinED:
    """Lowest eigenvalues by Lanczos (ARPACK) of the sparse matrices that QuSpin builds from the Pauli strings.

    Attributes:
        sector: ``proven``: all sectors that are needed to be sure of the lowest levels, see
            :mod:`pipeline.spin.symmetry.sectors`; ``symmetric``: only states that are even under every lattice symmetry
            and the spin flip, whose levels are upper bounds.
        levels: K, number of lowest levels.
        max_scanned: most basis states that may be visited in search of representatives, all sectors together.
        max_bytes: largest memory to expect.
    """

    version: ClassVar[int] = 1
    kind: ClassVar[str] = "QuSpin ED"

    sector: str = MISSING
    levels: int = MISSING
    max_scanned: float = MISSING
    max_bytes: float = MISSING

    def __post_init__(self) -> None:
        checks.one_of("sector", self.sector, ["proven", "symmetric"])
        checks.between("levels", self.levels, 1, 100)
        checks.at_least("max_scanned", self.max_scanned, 1)
        checks.at_least("max_bytes", self.max_bytes, 1)

    @property
    def exactness(self) -> Exactness:
        """Levels of the symmetric sector are upper bounds."""
        return "exact" if self.sector == "proven" else "variational"

    def supports(self, system: Any) -> str | None:
        """None for known Pauli strings on so few spins that the limits hold and there are enough states; else why."""
        try:
            terms = pauli_terms(system)
        except TypeError as error:
            return f"QuSpin ED: {error}"
        size, states = system.size, number_of_levels(system.size, terms)
        if self.levels > states:
            return f"QuSpin ED: {size} sites have {states} levels, baseline.quspin.levels={self.levels} asks for more"
        instead = "use baseline=dmrg (chains, narrow lattices)"
        if size > MOST_SITES:
            return f"QuSpin would visit 2^{math.log2(states):.0f} basis states of {size} spins; {instead}"
        sectors, cost = self._search(system, terms).sectors, self.cost(system)
        scanned = sum(sector.scanned(size) for sector in sectors)
        if scanned <= self.max_scanned and cost.bytes <= self.max_bytes:
            return None
        if len(sectors) > 1:
            instead = f"take baseline.quspin.sector=symmetric for an upper bound, or {instead}"
        return (
            f"QuSpin would visit {scanned:.2g} basis states of {size} spins (sectors: {len(sectors)}) and need "
            f"about {memory(cost.bytes)} and {duration(cost.seconds)} (limits baseline.quspin.max_scanned="
            f"{self.max_scanned:.3g}, baseline.quspin.max_bytes={self.max_bytes:.3g}); raise them, or {instead}"
        )

    def cost(self, system: SpinSystem) -> Cost:
        """Time to find the representatives, to move each by every string and back to one, and to diagonalise."""
        terms = pauli_terms(system)
        real, moves = is_real(terms), len({flipped(term) for term in terms} - {frozenset()})
        seconds, largest = 1.0, 0.0
        sectors = self._search(system, terms).sectors
        # All but a few sectors are done with when their lowest level is known.
        solves = 1 + (self.levels - 1) / len(sectors)
        for sector in sectors:
            states, up = sector.states(system.size), sector.up
            # Where Σ σz is conserved, a pair of spins is antiparallel, and can be exchanged, half of the time.
            elements = states * (1 + (moves if up is None else moves / 2))
            width = 8 if real and sector.real else 16
            seconds += 1e-7 * sector.scanned(system.size) + 1.6e-8 * sector.group_order * elements
            seconds += (1e-6 if width == 16 else 3e-7) * elements * solves
            largest = max(largest, 2.5 * (width + 4) * elements + (30 + self.levels) * width * states)
        return Cost(seconds=seconds, bytes=2e8 + largest)

    def run(self, system: SpinSystem) -> Result:
        """Energies (total, Pauli convention) and observables of the ground state.

        ``energy``, ``energy_1``, ... ``energy_{K-1}``: the K lowest levels with multiplicity, except that a multiplet
        of the total spin counts once; sigma is the residual ‖Hψ - Eψ‖, which bounds the distance to an eigenvalue.
        Of the ground state (of some ground state, where there are several): ``energy_variance`` ⟨H²⟩ - ⟨H⟩² =
        ‖Hψ - Eψ‖² in total², zero but for rounding; ``absolute_magnetisation`` ⟨|Σ σz|⟩/N; and
        ``nearest_correlation`` ⟨σz_i σz_j⟩, the mean over all nearest-neighbour pairs (not for a single site).
        ``extra`` gives ``basis_states`` (dimension of all sectors together), ``sectors`` (their number) and
        ``symmetries`` (names of those used in the fully symmetric one).

        Raises:
            UserError: the symmetric sector has fewer states than levels are asked for.
        """
        terms = pauli_terms(system)
        search = self._search(system, terms)
        found: list[Level] = []
        energies: list[float] = []
        dimension = 0
        for sector in search.sectors:
            matrix = build(system.size, search.terms, sector)
            dimension += int(matrix.Ns)
            bound = found[-1].energy if len(found) == self.levels else np.inf
            levels = solve(matrix, math.ceil(self.levels / sector.multiplicity), bound)
            del matrix  # before the next one is built
            repeated = [level for level in levels for _ in range(sector.multiplicity)]
            energies += [level.energy for level in repeated]
            found = sorted(found + repeated, key=lambda level: level.energy)[: self.levels]
        if len(found) < self.levels:
            raise UserError(f"baseline.quspin.levels={self.levels}: the symmetric sector has {dimension} states only")
        ground = found[0]
        bound_kind: Bound = "exact" if search.proven else "variational"
        estimates = [_estimate(k, level, bound_kind) for k, level in enumerate(found)]
        estimates.append(Estimate("energy_variance", ground.residual**2, unit="total^2"))
        estimates += _observables(system, ground)
        extra = {"basis_states": dimension, "sectors": len(search.sectors), "symmetries": search.sectors[0].names}
        return Result(estimates=tuple(estimates), notes=self._notes(terms, search, energies), extra=extra)

    def _search(self, system: SpinSystem, terms: Sequence[PauliTerm]) -> Search:
        return plan(system, terms, self.levels, self.sector == "symmetric")

    def _notes(self, terms: Sequence[PauliTerm], search: Search, energies: Sequence[float]) -> tuple[str, ...]:
        """What a reader of the numbers must know; ``energies``: everything found, with multiplicity, in any order."""
        notes = []
        if not search.proven:
            notes.append(
                "QuSpin: only the fully symmetric sector was searched; its levels are upper bounds, and that the "
                "ground state lies there is not proven."
            )
        if self.levels > 1 and conserves_total_spin(terms):
            notes.append("QuSpin: each multiplet of the total spin counts as one level.")
        if sum(energy < min(energies) + 1e-9 * max(1.0, abs(min(energies))) for energy in energies) > 1:
            notes.append("QuSpin: the lowest level is degenerate; the observables are those of one of its states.")
        return tuple(notes)


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


def solve(matrix: Any, levels: int, bound: float = np.inf) -> list[Level]:
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


def _estimate(k: int, level: Level, bound: Bound) -> Estimate:
    name = f"energy_{k}" if k else "energy"
    sigma = max(level.residual, EPSILON * abs(level.energy))
    return Estimate(name, level.energy, sigma=sigma, sigma_kind="numerical", unit="total", bound=bound)


def _observables(system: SpinSystem, level: Level) -> list[Estimate]:
    """⟨|Σ σz|⟩/N and the mean ⟨σz_i σz_j⟩ of nearest neighbours, from the weights |ψ|² of the representatives.

    Both are invariant under every symmetry that a sector may use, so that one state of each orbit stands for all.
    """
    weights, states = np.abs(level.vector) ** 2, level.states
    found = [Estimate("absolute_magnetisation", float(weights @ absolute_magnetisation(states, system.size)))]
    bonds = system.nearest_bonds()
    if bonds:
        found.append(Estimate("nearest_correlation", float(weights @ mean_correlation(states, system.size, bonds))))
    return found


def absolute_magnetisation(states: NDArray[np.unsignedinteger[Any]], size: int) -> NDArray[np.float64]:
    """|Σ σz|/N of basis states given as QuSpin's integers, shape (states,)."""
    total = np.zeros(len(states), dtype=np.int16)
    for site in range(size):
        total += _spins(states, size, site)
    return np.abs(total) / size


def mean_correlation(states: NDArray[np.unsignedinteger[Any]], size: int, bonds: Sequence[Bond]) -> NDArray[np.float64]:
    """σz_i σz_j averaged over ``bonds``, of basis states given as QuSpin's integers, shape (states,)."""
    total = np.zeros(len(states), dtype=np.int16)
    for i, j in bonds:
        total += _spins(states, size, i) * _spins(states, size, j)
    return total / len(bonds)


def _spins(states: NDArray[np.unsignedinteger[Any]], size: int, site: int) -> NDArray[np.int16]:
    """σz of ``site``: QuSpin keeps site 0 in the highest bit, and a set bit is spin up."""
    bits = (states >> states.dtype.type(size - 1 - site)) & states.dtype.type(1)
    return 2 * bits.astype(np.int16) - 1
