"""Density-matrix renormalisation group with TeNPy, for any list of Pauli strings on a chain or a narrow lattice."""

from __future__ import annotations

import itertools
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, ClassVar

from omegaconf import MISSING

from pipeline.base.config import checks
from pipeline.base.contracts import Cost, Exactness
from pipeline.base.errors import ConfigError, UserError
from pipeline.base.later import np
from pipeline.base.numbers.result import Curve, Estimate, Result
from pipeline.spin.exact.dmrg_states import Point, lowest_states, report
from pipeline.spin.lattice import sublattices
from pipeline.spin.symmetry.charges import (
    conserves_magnetisation,
    conserves_spin_flip,
    conserves_total_spin,
    ladder_strings,
)
from pipeline.spin.symmetry.stoquastic import is_stoquastic, overlapping_state
from pipeline.spin.systems import SpinSystem, beyond_range
from pipeline.spin.terms import PauliTerm, in_own_unit, pauli_terms

ROTATED = {"x": ("Sigmaz", 1.0), "y": ("Sigmay", -1.0), "z": ("Sigmax", 1.0)}
"""σx, σy, σz after the Hadamard rotation that makes the spin flip Π σx diagonal, so that TeNPy can conserve it."""

MOST_STATES = 100
"""That are looked for one after the other."""

FEWEST_SITES = 6
"""Of which several states are sought: two sites at a time must leave room for what is orthogonal to the others."""

MOST_OVERLAP = 1e-4
"""Of states that count as orthogonal."""

ROUNDING = 1e-13
"""Relative rounding error of a sum of ~N·L terms contracted through the network."""


@dataclass
class DMRG:
    """Two-site DMRG on an open matrix-product state; bonds round the ring are long-range couplings of its MPO.

    The bond dimension grows through ``bond_dimensions``, each starting from the state before, and stops early once the
    energy no longer changes. Where H conserves Σ σz and a ground state's is proven, Σ σz is conserved exactly and the
    series starts from a basis state: a Néel state where H commutes with all rotations of the spins, else one that
    overlaps a ground state. Else, where H commutes with Π σx, that parity is conserved, so that the symmetry-broken
    product states, in which a DMRG of a ferromagnet gets stuck, are not in the space.

    Attributes:
        bond_dimensions: increasing series of largest χ.
        energy_tolerance: relative change of the energy between two bond dimensions below which the series stops;
            sweeps at one bond dimension stop at a tenth of it.
        max_sweeps: sweeps at each bond dimension.
        svd_min: Schmidt values below it are dropped.
        max_sites: largest N that is tried.
        states: K lowest states, each orthogonal to those before it; null: as many as the ansatz has, where it has
            several (``train.ansatz.states``). Of several the parity alone is conserved; both its sectors are searched.
    """

    version: ClassVar[int] = 1
    kind: ClassVar[str] = "DMRG"
    exactness: ClassVar[Exactness] = "variational"
    neutral: ClassVar[dict[str, Any]] = {"states": None}

    bond_dimensions: list[int] = MISSING
    energy_tolerance: float = MISSING
    max_sweeps: int = MISSING
    svd_min: float = MISSING
    max_sites: int = MISSING
    states: int | None = MISSING

    def __post_init__(self) -> None:
        series = list(self.bond_dimensions)
        if len(series) < 2 or series[0] < 2 or any(b <= a for a, b in pairwise(series)):
            raise ConfigError("bond_dimensions", series, "must be an increasing series of at least two numbers >= 2")
        checks.positive("energy_tolerance", self.energy_tolerance)
        checks.within("energy_tolerance", self.energy_tolerance, 1)
        checks.at_least("max_sweeps", self.max_sweeps, 2)
        checks.between("svd_min", self.svd_min, 0.0, 1e-4)
        checks.at_least("max_sites", self.max_sites, 3)
        if self.states is not None:
            checks.between("states", self.states, 1, MOST_STATES)

    def supports(self, system: Any) -> str | None:
        """None for 3 to ``max_sites`` spins with known Pauli strings; else the reason."""
        if reason := beyond_range(system):
            return reason
        try:
            pauli_terms(system)
        except TypeError as error:
            return f"DMRG: {error}"
        if system.size < 3:
            return f"DMRG needs at least 3 sites (have {system.size}); use baseline=quspin"
        if self._several and system.size < FEWEST_SITES:
            least = f"several states need at least {FEWEST_SITES} sites (have {system.size})"
            return f"DMRG: {least}; use baseline=quspin"
        if system.size > self.max_sites:
            return (
                f"DMRG with {system.size} sites is beyond max_sites={self.max_sites} "
                f"(about {self.cost(system).seconds:.0f} s if tried); raise it"
            )
        return None

    def cost(self, system: SpinSystem) -> Cost:
        """Every bond dimension at 8 sweeps: right near criticality; gapped systems stop after two and need a tenth."""
        terms = pauli_terms(system)
        width = _operator_width(terms, system.size)
        updates = 16.0 * system.size * (1 if is_stoquastic(terms) else 2)
        if self._several:  # of one more, to know which ones are the lowest
            updates = 16.0 * system.size * ((self.states or 1) + 1)
        seconds = sum(updates * (5e-3 + 1e-9 * width * chi**3) for chi in self.bond_dimensions)
        return Cost(seconds=1.0 + seconds, bytes=1.5e8 + 8.0 * width * system.size * max(self.bond_dimensions) ** 2)

    def run(self, system: SpinSystem) -> Result:
        """Ground-state energies (total, Pauli convention) with their convergence.

        ``energy`` is extrapolated to χ → ∞, its sigma covers the extrapolation and the last change;
        ``variational_energy`` is the energy at the largest χ, an upper bound; ``truncation_error`` the largest
        discarded weight of the last sweep. Curves: ``energy`` and ``truncation_error`` against ``bond_dimension``. Of
        several states: see :func:`pipeline.spin.exact.dmrg_states.report`.
        """
        terms, unit = in_own_unit(pauli_terms(system))
        if self._several:
            with _quiet():
                found = self._lowest(terms, system.size)
            scaled = [[replace(point, energy=unit * point.energy) for point in points] for points in found]
            return report(scaled, extrapolate, self.energy_tolerance)
        with _quiet():
            series = [self._series(terms, system.size, state) for state in initial_states(terms, system.size)]
        points = min(series, key=lambda candidate: candidate[-1].energy)
        return _report([replace(point, energy=unit * point.energy) for point in points], self.energy_tolerance)

    @property
    def _several(self) -> bool:
        return self.states is not None and self.states > 1

    def _lowest(self, terms: Sequence[PauliTerm], size: int) -> list[list[Point]]:
        """The series of all states, the lowest first."""
        model = build_model(terms, size, keep_magnetisation=False)
        sectors = parities(terms, size)

        def next_of(sector: list[str], before: list[Any]) -> tuple[list[Point], Any]:
            start = _generic(model, sector, self.bond_dimensions[0], len(before))
            points, psi = self._grown(model, start, before)
            if any(abs(psi.overlap(other)) > MOST_OVERLAP for other in before):
                few = f"state {len(before)} of a sector is not orthogonal to those below it"
                raise UserError(f"DMRG: {few}; raise baseline.dmrg.bond_dimensions, or ask for fewer states")
            return points, psi

        return lowest_states(sectors, self.states or 1, next_of)

    def _series(self, terms: Sequence[PauliTerm], size: int, state: Sequence[str]) -> list[Point]:
        """Grow the bond dimension from the product state ``state`` until the energy settles."""
        from tenpy.networks.mps import MPS

        model = build_model(terms, size)
        psi = MPS.from_product_state(model.lat.mps_sites(), list(state), bc="finite", unit_cell_width=size)
        return self._grown(model, psi)[0]

    def _grown(self, model: Any, psi: Any, before: Sequence[Any] = ()) -> tuple[list[Point], Any]:
        """Grow the bond dimension from the state ``psi`` until the energy settles, orthogonal to those ``before``."""
        from tenpy.algorithms.dmrg import TwoSiteDMRGEngine

        size = model.lat.N_sites
        points: list[Point] = []
        for chi in self.bond_dimensions:
            # TeNPy's criterion max_E_err is absolute for negative energies.
            scale = max(abs(points[-1].energy) if points else float(size), 1.0)
            options = {
                "trunc_params": {"chi_max": chi, "svd_min": self.svd_min},
                # Perturbing the density matrix lets the first state leave local minima; the later ones start well.
                "mixer": not points,
                "max_sweeps": self.max_sweeps,
                "max_E_err": self.energy_tolerance / 10 * scale,
                "max_S_err": 1e-3,
                # Large discarded weights at the first bond dimensions are expected; TeNPy would stop at 1e-4.
                "max_trunc_err": None,
            }
            engine = TwoSiteDMRGEngine(psi, model, options, **({"orthogonal_to": list(before)} if before else {}))
            psi = engine.run()[1]
            psi.canonical_form()
            energy = float(np.real(model.H_MPO.expectation_value(psi)))
            points.append(Point(chi, energy, float(engine.sweep_stats["max_trunc_err"][-1])))
            if len(points) > 1 and abs(energy - points[-2].energy) < self.energy_tolerance * abs(energy):
                break
        return points, psi


def _generic(model: Any, sector: Sequence[str], bond_dimension: int, number: int) -> Any:
    """A random state in the sector of a product state, orthogonal to nothing; the same for the same ``number``."""
    from tenpy.networks.mps import MPS

    kept = np.random.get_state()
    np.random.seed(number)
    try:
        return MPS.from_random_unitary_evolution(model.lat.mps_sites(), bond_dimension, list(sector), bc="finite")
    finally:
        np.random.set_state(kept)


def parities(terms: Sequence[PauliTerm], size: int) -> list[list[str]]:
    """Product states in the rotated basis, one for each sector of Π σx; any one where that is not conserved."""
    even = ["up"] * size
    return [even, ["down", *even[1:]]] if conserves_spin_flip(terms) else [even]


def build_model(terms: Sequence[PauliTerm], size: int, keep_magnetisation: bool = True) -> Any:
    """TeNPy ``MPOModel`` of ``terms``, sites as numbered, with Σ σz or the parity conserved, see :class:`DMRG`.

    The basis is the rotated one unless Σ σz is conserved. A folded order (0, N-1, 1, ...) was measured to bring
    nothing: it cuts a ring at two places as well.
    """
    from tenpy.models.lattice import Chain
    from tenpy.models.model import MPOModel
    from tenpy.networks.mpo import MPOGraph
    from tenpy.networks.site import SpinHalfSite
    from tenpy.networks.terms import TermList

    if keep_magnetisation and _start_of_known_magnetisation(terms, size):
        (operators, strengths), site = _ladder_operators(terms), SpinHalfSite(conserve="Sz")
    else:
        operators, strengths = _rotated(terms)
        site = SpinHalfSite(conserve="parity" if conserves_spin_flip(terms) else None)
    lattice = Chain(size, site, bc="open", bc_MPS="finite")
    term_list = TermList(operators, strengths)
    graph = MPOGraph.from_term_list(term_list, lattice.mps_sites(), "finite", unit_cell_width=size)
    return MPOModel(lattice, graph.build_MPO())


_Operators = tuple[list[list[tuple[str, int]]], list[complex]]


def _rotated(terms: Sequence[PauliTerm]) -> _Operators:
    """Operators of each term with their sites, and its strength, in the rotated basis."""
    operators: list[list[tuple[str, int]]] = []
    strengths: list[complex] = []
    for term in terms:
        # TeNPy wants increasing sites inside a term; Pauli matrices of different sites commute.
        placed = sorted(zip(term.sites, term.paulis, strict=True))
        operators.append([(ROTATED[pauli][0], place) for place, pauli in placed])
        strengths.append(term.coefficient * float(np.prod([ROTATED[pauli][1] for pauli in term.paulis])))
    return operators, strengths


def _ladder_operators(terms: Sequence[PauliTerm]) -> _Operators:
    """H in σ± and σz, sites of each string in increasing order."""
    names = {"+": "Sp", "-": "Sm", "z": "Sigmaz"}
    strings = ladder_strings(terms)
    operators = [
        [(names[letter], site) for letter, site in zip(letters, sites, strict=True)] for _, letters, sites in strings
    ]
    return operators, [coefficient for coefficient, _, _ in strings]


def initial_states(terms: Sequence[PauliTerm], size: int) -> list[list[str]]:
    """Product states to start from, one per sector that may hold the ground state (rotated basis: up = +x).

    With Σ σz conserved and known: the one state of :class:`DMRG` (basis of σz). A stoquastic H that conserves Π σx has
    a ground state in the even sector: all spins along +x. Otherwise nothing is known and both sectors are searched
    from alternating states, which no ferromagnet or antiferromagnet has as an eigenstate.
    """
    start = _start_of_known_magnetisation(terms, size)
    if start is not None:
        return [start]
    if is_stoquastic(terms) and conserves_spin_flip(terms):
        return [["up"] * size]
    alternating = ["up", "down"] * (size // 2) + ["up"] * (size % 2)
    other = ["up", "up", *alternating[2:]]
    return [alternating, other]


def _start_of_known_magnetisation(terms: Sequence[PauliTerm], size: int) -> list[str] | None:
    """A basis state with the Σ σz of a ground state; None where that is not proven, or Σ σz not conserved.

    With total spin: Σ σz = 0 or 1, as a member of every multiplet has it, and opposite spins across the strongest
    antiferromagnetic bonds where that is possible.
    """
    if not ladder_strings(terms):
        return None  # H = 0, of which TeNPy makes no operator with charges
    if conserves_total_spin(terms):
        return _neel(terms, size)
    state = overlapping_state(terms, size) if conserves_magnetisation(terms) else None
    return None if state is None else ["up" if spin > 0 else "down" for spin in state]


def _neel(terms: Sequence[PauliTerm], size: int) -> list[str]:
    pairs = [term for term in terms if len(term.sites) == 2]
    strongest = max((term.coefficient for term in pairs), default=0.0)
    bonds = [(term.sites[0], term.sites[1]) for term in pairs if term.coefficient == strongest > 0]
    signs = np.array(sublattices(size, bonds) or [(-1) ** site for site in range(size)])
    surplus = int(signs.sum() - size % 2) // 2
    signs[np.flatnonzero(signs == np.sign(surplus))[: abs(surplus)]] *= -1
    return ["up" if sign > 0 else "down" for sign in signs]


def extrapolate(points: Sequence[Point]) -> tuple[float, float]:
    """Energy at zero truncation error, and its uncertainty, from the two largest bond dimensions.

    Linear in the truncation error and never by more than the last change of the energy; without a usable truncation
    error (converged, or not decreasing) the last energy itself. The uncertainty is the larger of the extrapolation
    and the last change, and at least the rounding error.
    """
    before, last = points[-2:]
    change = before.energy - last.energy
    shift = 0.0
    if change > 0 and before.truncation_error > 2 * last.truncation_error > 0:
        ratio = last.truncation_error / (before.truncation_error - last.truncation_error)
        shift = change * min(ratio, 1.0)
    return last.energy - shift, max(abs(change), shift, ROUNDING * abs(last.energy))


def _report(points: Sequence[Point], tolerance: float) -> Result:
    """Estimates and curves of a converged (or exhausted) series."""
    last = points[-1]
    energy, sigma = extrapolate(points)
    chi = [point.bond_dimension for point in points]
    energies = [point.energy for point in points]
    errors = [point.truncation_error for point in points]
    notes: tuple[str, ...] = ()
    if abs(last.energy - points[-2].energy) > tolerance * abs(last.energy):
        notes = (
            f"DMRG: the energy still changes by {points[-2].energy - last.energy:.1e} at bond dimension {chi[-1]}.",
        )
    return Result(
        estimates=(
            Estimate("energy", energy, sigma, "truncation", unit="total", bound="extrapolated"),
            Estimate("variational_energy", last.energy, 0.0, "none", unit="total", bound="variational"),
            Estimate("truncation_error", last.truncation_error, bound="none"),
        ),
        curves=(
            Curve.of("energy", "bond_dimension", "energy", chi, energies, unit="total"),
            Curve.of("truncation_error", "bond_dimension", "truncation_error", chi, errors),
        ),
        notes=notes,
        extra={"bond_dimension": last.bond_dimension},
    )


def _operator_width(terms: Sequence[PauliTerm], size: int) -> int:
    """Estimated bond dimension of the MPO: sites with a coupling across the widest cut, and the two end states."""
    reach: dict[int, int] = {}
    for term in terms:
        first = min(term.sites)
        reach[first] = max(reach.get(first, 0), *term.sites)
    begun = [0] * (size + 1)
    for first, furthest in reach.items():
        begun[first] += 1
        begun[furthest] -= 1
    return 2 + max(itertools.accumulate(begun[:size]))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep TeNPy's log lines and warnings (canonical form, unused options) off the screen.

    Its checks of its own arguments, a quarter of the time, are left out too.
    """
    from tenpy.tools.optimization import temporary_level

    logger = logging.getLogger("tenpy")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), temporary_level("skip_arg_checks"):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
