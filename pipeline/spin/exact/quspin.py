"""Exact diagonalisation with QuSpin, in the smallest symmetry sectors that are proven to hold the lowest levels."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from omegaconf import MISSING

from pipeline.base.config import checks
from pipeline.base.contracts import Cost, Exactness
from pipeline.base.errors import ConfigError, UserError
from pipeline.base.later import NDArray, np
from pipeline.base.numbers.formatting import duration, memory
from pipeline.base.numbers.result import Bound, Estimate, Result
from pipeline.spin.exact.ground_space import (
    SAME,
    GroundSpace,
    Solved,
    States,
    absolute_magnetisation,
    ground_space,
    mean_correlation,
    witnesses,
)
from pipeline.spin.exact.sector_matrix import Level, build, solve
from pipeline.spin.symmetry.charges import conserves_magnetisation, conserves_total_spin, is_real
from pipeline.spin.symmetry.sectors import Search, number_of_levels, plan, visited
from pipeline.spin.systems import SpinSystem, beyond_range
from pipeline.spin.terms import PauliTerm, flipped, in_own_unit, pauli_terms

MOST_SITES = 64
"""Above, not even the number of basis states is worth a closer look."""

EPSILON = sys.float_info.epsilon


@dataclass
class QuSpinED:
    """Lowest eigenvalues by Lanczos (ARPACK) of the sparse matrices that QuSpin builds from the Pauli strings.

    Attributes:
        sector: ``proven``: all sectors that are needed to be sure of the lowest levels, see
            :mod:`pipeline.spin.symmetry.sectors`; ``symmetric``: only states that are even under every lattice symmetry
            and the spin flip, whose levels are upper bounds.
        levels: K, number of lowest levels; a multiplet of the total spin counts once.
        states: instead, the K lowest states, each of a multiplet by itself; null: as many as the ansatz has, where it
            has several (``train.ansatz.states``).
        magnetisation: Σ σz of the ``states`` that count; null: any, or what a training of several is confined to.
        max_scanned: most basis states that may be visited in search of representatives, all sectors together.
        max_bytes: largest memory to expect.
    """

    version: ClassVar[int] = 2
    kind: ClassVar[str] = "QuSpin ED"
    neutral: ClassVar[dict[str, Any]] = {"states": None, "magnetisation": None}

    sector: str = MISSING
    levels: int = MISSING
    max_scanned: float = MISSING
    max_bytes: float = MISSING
    states: int | None = MISSING
    magnetisation: int | None = MISSING

    def __post_init__(self) -> None:
        checks.one_of("sector", self.sector, ["proven", "symmetric"])
        checks.between("levels", self.levels, 1, 100)
        if self.states is not None:
            checks.between("states", self.states, 1, 100)
            if self.levels > 1:
                allowed = f"counts each multiplet once, states={self.states} every state: leave it at 1"
                raise ConfigError("levels", self.levels, allowed)
        if self.magnetisation is not None:
            checks.between("magnetisation", self.magnetisation, -MOST_SITES, MOST_SITES)
        checks.at_least("max_scanned", self.max_scanned, 1)
        checks.at_least("max_bytes", self.max_bytes, 1)

    @property
    def count(self) -> int:
        """Number of energies."""
        return self.levels if self.states is None else self.states

    @property
    def exactness(self) -> Exactness:
        """Levels of the symmetric sector are upper bounds."""
        return "exact" if self.sector == "proven" else "variational"

    def supports(self, system: Any) -> str | None:
        """None for known Pauli strings on so few spins that the limits hold and there are enough states; else why."""
        if reason := beyond_range(system):
            return reason
        try:
            terms = pauli_terms(system)
        except TypeError as error:
            return f"QuSpin ED: {error}"
        size, states = system.size, number_of_levels(system.size, terms, self.states is not None)
        if self.magnetisation is not None:
            if reason := self._outside(size, terms):
                return reason
            states = visited(size, self._up(size))
        if self.count > states:
            key = "levels" if self.states is None else "states"
            where = "" if self.magnetisation is None else f" with Σ σz = {self.magnetisation}"
            return (
                f"QuSpin ED: {size} sites have {states} levels{where}, baseline.quspin.{key}={self.count} asks for more"
            )
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
        search = self._search(system, terms)
        sectors, confined = list(search.sectors), self.magnetisation is not None
        # All but a few sectors are done with when their lowest level is known.
        solves = 1 + (self.count - 1) / len(sectors)
        if not confined and search.proven and (more := witnesses(system, terms, search)) is not None:
            sectors += more.sectors
        for sector in sectors:
            states, up = sector.states(system.size), sector.up
            # Where Σ σz is conserved, a pair of spins is antiparallel, and can be exchanged, half of the time.
            elements = states * (1 + (moves if up is None else moves / 2))
            width = 8 if real and sector.real else 16
            seconds += 1e-7 * sector.scanned(system.size) + 1.6e-8 * sector.group_order * elements
            seconds += (1e-6 if width == 16 else 3e-7) * elements * solves
            largest = max(largest, 2.5 * (width + 4) * elements + (30 + self.count) * width * states)
        return Cost(seconds=seconds, bytes=2e8 + largest)

    def run(self, system: SpinSystem) -> Result:
        """Energies (total, Pauli convention) and observables of the ground state.

        ``energy``, ``energy_1``, ... ``energy_{K-1}``: the K lowest levels with multiplicity, except that a multiplet
        of the total spin counts once unless ``states`` are asked for, of which ``trace`` is the sum; sigma is the
        residual ‖Hψ - Eψ‖, which bounds the distance to an eigenvalue. Of those with Σ σz = ``magnetisation`` alone,
        where that is given.
        Observables of a state beyond the first, ``absolute_magnetisation_1``, ..., where it is alone in its level.
        ``energy_variance`` ⟨H²⟩ - ⟨H⟩² = ‖Hψ - Eψ‖² of the lowest state in total², zero but for rounding. Of all
        states of the lowest level, where they agree: ``absolute_magnetisation`` ⟨|Σ σz|⟩/N; and
        ``nearest_correlation`` ⟨σz_i σz_j⟩, the mean over all nearest-neighbour pairs (not for a single site).
        ``extra`` gives ``basis_states`` (dimension of all sectors together), ``sectors`` (their number) and
        ``symmetries`` (names of those used in the fully symmetric one).

        Raises:
            UserError: the symmetric sector has fewer states than levels are asked for.
        """
        terms, unit = in_own_unit(pauli_terms(system))
        search, confined = self._search(system, terms), self.magnetisation is not None
        # one more state tells whether the last one that is asked for is the only one of its level
        found, solved, dimension = self._levels(system.size, search, self.count + (self._several or confined))
        every, found = found, found[: self.count]
        if len(found) < self.count:
            key = "levels" if self.states is None else "states"
            raise UserError(f"baseline.quspin.{key}={self.count}: the symmetric sector has {dimension} states only")
        bound: Bound = "exact" if search.proven else "variational"
        estimates = [_estimate(k, level, bound).scaled(unit, "total") for k, level in enumerate(found)]
        if self.states is not None:
            estimates.append(_trace(estimates, bound))
        residual = unit * found[0].residual
        estimates.append(Estimate("energy_variance", residual * residual, unit="total^2"))
        space: GroundSpace | None = GroundSpace(1, ((found[0],),))
        if confined:
            space = space if _alone(every, 0) else None
        elif search.proven:
            space = self._ground_space(system, terms, search, solved)
        named = {name: space.shared(of) if space else None for name, of in observables(system).items()}
        estimates += [Estimate(name, value, 0.0, bound=bound) for name, value in named.items() if value is not None]
        if self._several:
            estimates += _of_excited(observables(system), every, self.count)
        notes = self._notes(terms, search, space, [name for name, value in named.items() if value is None])
        extra = {"basis_states": dimension, "sectors": len(search.sectors), "symmetries": search.sectors[0].names}
        return Result(estimates=tuple(estimates), notes=notes, extra=extra)

    def _up(self, size: int) -> int | None:
        """Number of spins up of the states that count."""
        return None if self.magnetisation is None else (size + self.magnetisation) // 2

    def _outside(self, size: int, terms: Sequence[PauliTerm]) -> str | None:
        """Why no states with this ``magnetisation`` are eigenstates."""
        if self.states is None:
            return "QuSpin ED: baseline.quspin.magnetisation needs baseline.quspin.states"
        if not conserves_magnetisation(terms):
            return f"QuSpin ED: H does not conserve Σ σz, baseline.quspin.magnetisation={self.magnetisation}"
        if abs(self.magnetisation or 0) > size or (size - (self.magnetisation or 0)) % 2:
            return f"QuSpin ED: {size} spins cannot have Σ σz = {self.magnetisation}"
        return None

    @property
    def _several(self) -> bool:
        return self.states is not None and self.states > 1

    def _levels(self, size: int, search: Search, count: int) -> tuple[list[Level], list[Solved], int]:
        """The ``count`` lowest levels, those of each sector, and the number of all basis states."""
        found: list[Level] = []
        solved: list[Solved] = []
        dimension = 0
        for sector in search.sectors:
            matrix = build(size, search.terms, sector)
            dimension += int(matrix.Ns)
            bound = found[-1].energy if len(found) == count else np.inf
            levels = solve(matrix, math.ceil(count / sector.multiplicity), bound)
            del matrix  # before the next one is built
            solved.append((sector, levels))
            repeated = [level for level in levels for _ in range(sector.multiplicity)]
            found = sorted(found + repeated, key=lambda level: level.energy)[:count]
        return found, solved, dimension

    def _ground_space(
        self, system: SpinSystem, terms: Sequence[PauliTerm], search: Search, solved: Sequence[Solved]
    ) -> GroundSpace | None:
        """All states of the lowest level; None where they are too many, or too hard to find."""
        more = witnesses(system, terms, search)
        if more is not None:
            if sum(sector.scanned(system.size) for sector in more.sectors) > self.max_scanned:
                return None
            search, solved = more, self._levels(system.size, more, self.count)[1]
        return ground_space(system, terms, search, solved)

    def _search(self, system: SpinSystem, terms: Sequence[PauliTerm]) -> Search:
        up = self._up(system.size)
        return plan(system, terms, self.count, self.sector == "symmetric", self.states is not None, up)

    def _notes(
        self, terms: Sequence[PauliTerm], search: Search, space: GroundSpace | None, left_out: Sequence[str]
    ) -> tuple[str, ...]:
        """What a reader of the numbers must know."""
        notes = []
        if not search.proven:
            notes.append(
                "QuSpin: only the fully symmetric sector was searched; its levels are upper bounds, and that the "
                "ground state lies there is not proven."
            )
        if self.magnetisation is not None:
            notes.append(f"QuSpin: of the states with Σ σz = {self.magnetisation}, which is where the training was.")
        if self.states is None and self.levels > 1 and conserves_total_spin(terms):
            notes.append("QuSpin: each multiplet of the total spin counts as one level.")
        if left_out:
            names = ", ".join(left_out)
            notes.append(
                f"QuSpin: the lowest level is degenerate, and its states are not known to share a value of {names}: "
                "none is given."
            )
        elif space is not None and space.multiplicity > 1:
            count = space.multiplicity
            notes.append(f"QuSpin: the lowest level is degenerate; its {count} states share the values that are given.")
        return tuple(notes)


def _estimate(k: int, level: Level, bound: Bound) -> Estimate:
    name = f"energy_{k}" if k else "energy"
    sigma = max(level.residual, EPSILON * abs(level.energy))
    return Estimate(name, level.energy, sigma=sigma, sigma_kind="numerical", unit="total", bound=bound)


def _trace(levels: Sequence[Estimate], bound: Bound) -> Estimate:
    """The sum of all levels, whose errors add up."""
    value, sigma = sum(level.value for level in levels), sum(level.sigma or 0.0 for level in levels)
    return Estimate("trace", value, sigma, "numerical", unit="total", bound=bound)


def _of_excited(
    named: Mapping[str, Callable[[States], NDArray[np.float64]]], levels: Sequence[Level], count: int
) -> list[Estimate]:
    """Observables of the states 1, ..., ``count`` - 1 that are alone in their level, as far as ``levels`` tell."""
    found = []
    for n in range(1, count):
        if not _alone(levels, n):
            continue
        level = levels[n]
        for name, diagonal in named.items():
            value = float(np.abs(level.vector) ** 2 @ diagonal(level.states))
            found.append(Estimate(f"{name}_{n}", value, 0.0))
    return found


def _alone(levels: Sequence[Level], n: int) -> bool:
    """Whether none of the other ascending ``levels`` is the same as the level ``n``."""
    near, energy = [levels[m] for m in (n - 1, n + 1) if 0 <= m < len(levels)], levels[n].energy
    return all(abs(other.energy - energy) > SAME * abs(energy) for other in near)


def observables(system: SpinSystem) -> dict[str, Callable[[States], NDArray[np.float64]]]:
    """⟨|Σ σz|⟩/N and the mean ⟨σz_i σz_j⟩ of nearest neighbours, as functions of basis states.

    Both are invariant under every symmetry that a sector may use, so that one state of each orbit stands for all.
    """
    size, bonds = system.size, system.nearest_bonds()
    found: dict[str, Callable[[States], NDArray[np.float64]]] = {
        "absolute_magnetisation": lambda states: absolute_magnetisation(states, size)
    }
    if bonds:
        found["nearest_correlation"] = lambda states: mean_correlation(states, size, bonds)
    return found
