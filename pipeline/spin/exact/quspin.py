"""Exact diagonalisation with QuSpin, in the smallest symmetry sectors that are proven to hold the lowest levels."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from omegaconf import MISSING

from pipeline.base import checks
from pipeline.base.contracts import Cost, Exactness
from pipeline.base.result import Estimate, Result
from pipeline.spin.exact.sectors import Sector, plan
from pipeline.spin.lattice import Bond
from pipeline.spin.schema import SpinSystem
from pipeline.spin.terms import PauliTerm, pauli_terms

DENSE_LIMIT = 64
"""Below this many basis states LAPACK is used: Lanczos needs room for its Krylov space."""

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

    Which sectors are searched is proven in :mod:`pipeline.spin.exact.sectors`: the fully symmetric one for the ground
    state of anything that a rotation makes stoquastic, the states with Σ σz = 0 for Heisenberg models, all 2^N if
    nothing is known.

    Attributes:
        max_sites: largest N that is tried.
        levels: K, number of lowest levels.
    """

    version: ClassVar[int] = 1
    kind: ClassVar[str] = "QuSpin ED"
    exactness: ClassVar[Exactness] = "exact"

    max_sites: int = MISSING
    levels: int = MISSING

    def __post_init__(self) -> None:
        checks.between("baseline.quspin.max_sites", self.max_sites, 1, 32)
        checks.between("baseline.quspin.levels", self.levels, 1, 100)

    def supports(self, system: Any) -> str | None:
        """None for up to ``max_sites`` spins with known Pauli strings and enough states; else the reason."""
        try:
            terms = pauli_terms(system)
        except TypeError as error:
            return f"QuSpin ED: {error}"
        size = system.size
        if size > self.max_sites:
            return (
                f"QuSpin would need 2^{size} amplitudes = {_bytes(8.0 * 2.0**size)} a vector "
                f"(limit max_sites={self.max_sites}); use baseline=dmrg (chains, narrow lattices)"
            )
        states = plan(system, terms, self.levels).sectors[0].scanned(size)
        if self.levels > states:
            return (
                f"QuSpin ED: {size} sites have {states:.0f} levels, baseline.quspin.levels={self.levels} asks for more"
            )
        return None

    def cost(self, system: SpinSystem) -> Cost:
        """States in the sectors times the strings on each; the scan for representatives visits all states."""
        terms = pauli_terms(system)
        seconds, largest = 1.0, 0.0
        for sector in plan(system, terms, self.levels).sectors:
            scanned, states = sector.scanned(system.size), sector.states(system.size)
            elements = states * (1 + sum(set(term.paulis) != {"z"} for term in terms))
            solves = 1 if self.levels == 1 else 2 + self.levels / 4
            seconds += (
                2e-7 * scanned + 3e-8 * states * len(terms) * (scanned / states) ** 0.5 + 5e-7 * elements * solves
            )
            largest = max(largest, 40.0 * elements + (24 + 3 * self.levels) * 8.0 * states)
        return Cost(seconds=seconds, bytes=2e8 + largest)

    def run(self, system: SpinSystem) -> Result:
        """Energies (total, Pauli convention) and observables of the ground state.

        ``energy``, ``energy_1``, ... ``energy_{K-1}``: the K lowest levels with multiplicity, except that a Heisenberg
        multiplet counts once; sigma is the residual ‖Hψ - Eψ‖, which bounds the distance to the nearest eigenvalue.
        Of the ground state (of some ground state, where there are several in the sector): ``energy_variance``
        ⟨H²⟩ - ⟨H⟩² = ‖Hψ - Eψ‖² in total², zero but for rounding; ``absolute_magnetisation`` ⟨|Σ σz|⟩/N; and
        ``nearest_correlation`` ⟨σz_i σz_j⟩, the mean over all nearest-neighbour pairs (not for a single site).
        ``extra`` gives ``basis_states`` (dimension of all sectors) and ``symmetries`` (names of those used).
        """
        search = plan(system, pauli_terms(system), self.levels)
        found: list[Level] = []
        dimension = 0
        for sector in search.sectors:
            matrix = build(system.size, search.terms, sector)
            dimension += int(matrix.Ns)
            found += lowest(matrix, min(self.levels, int(matrix.Ns)))
            del matrix  # before the next one is built
        found = sorted(found, key=lambda level: level.energy)[: self.levels]
        estimates = [_estimate(k, level) for k, level in enumerate(found)]
        ground = found[0]
        estimates.append(Estimate("energy_variance", ground.residual**2, unit="total^2"))
        estimates += _observables(system, ground)
        notes = []
        if self.levels > 1 and search.sectors[0].up is not None:
            notes.append("QuSpin: each multiplet of the total spin counts as one level.")
        if self.levels > 1 and found[1].energy - ground.energy < 1e-9 * max(1.0, abs(ground.energy)):
            notes.append("QuSpin: the lowest level is degenerate; the observables are those of one of its states.")
        extra = {"basis_states": dimension, "symmetries": search.sectors[0].names}
        return Result(estimates=tuple(estimates), notes=tuple(notes), extra=extra)


def build(size: int, terms: Sequence[PauliTerm], sector: Sector) -> Any:
    """QuSpin ``hamiltonian`` of ``terms`` on ``size`` spins, restricted to ``sector``, whose symmetries H must have.

    float64, or complex128 if a string has an odd number of σy.
    """
    from quspin.basis import spin_basis_general
    from quspin.operators import hamiltonian

    blocks: dict[str, Any] = {name: (np.array(moved), 0) for name, moved in sector.lattice.items()}
    if sector.flip is not None:
        # QuSpin writes "move to site i and flip" as -(i + 1).
        blocks["spin_flip"] = (-np.arange(size) - 1, sector.flip)
    couplings: dict[str, list[list[float]]] = {}
    for term in terms:
        couplings.setdefault(term.paulis, []).append([term.coefficient, *term.sites])
    real = all(term.paulis.count("y") % 2 == 0 for term in terms)
    with warnings.catch_warnings():
        # QuSpin warns that translations and reflections do not commute; in the trivial sector they need not.
        warnings.simplefilter("ignore")
        basis = spin_basis_general(size, Nup=sector.up, pauli=True, **blocks)
        return hamiltonian(
            [[paulis, entries] for paulis, entries in couplings.items()],
            [],
            basis=basis,
            dtype=np.float64 if real else np.complex128,
            check_herm=False,
            check_symm=False,
            # σxσx and σyσy change Σ σz one by one; their sum does not, and elements that leave the basis are dropped.
            check_pcon=False,
        )


def lowest(matrix: Any, levels: int) -> list[Level]:
    """The ``levels`` lowest eigenstates, ascending, each with its multiplicity.

    A Krylov space holds one state of a degenerate level but for rounding, so that several levels are checked: the
    found states are lifted away, and as long as a lower one than the highest of them appears, it joins them.
    """
    if not matrix.tocsr().count_nonzero():
        # Lanczos cannot start on H = 0, of which every state is an eigenstate.
        return _levels(matrix, np.zeros(levels), np.eye(matrix.Ns, levels))
    if matrix.Ns <= max(DENSE_LIMIT, 4 * levels):
        values, vectors = np.linalg.eigh(matrix.toarray())
        return _levels(matrix, values[:levels], vectors[:, :levels])
    # A fixed generic start: reproducible, and not orthogonal to any sector.
    start = np.random.default_rng(0).standard_normal(matrix.Ns)
    if levels == 1:
        return _levels(matrix, *matrix.eigsh(k=1, which="SA", v0=start))
    values, vectors = matrix.eigsh(k=levels, which="SA", v0=start)
    while True:
        value, vector = _lowest_beside(matrix, vectors)
        if value >= values.max() - 1e-9 * max(1.0, abs(values.max())):
            break
        values, vectors = np.append(values, value), np.column_stack([vectors, vector])
        kept = np.argsort(values)[:levels]
        values, vectors = values[kept], vectors[:, kept]
    order = np.argsort(values)
    return _levels(matrix, values[order], vectors[:, order])


def _lowest_beside(matrix: Any, vectors: NDArray[Any]) -> tuple[float, NDArray[Any]]:
    """Lowest eigenstate orthogonal to ``vectors`` (columns), which are lifted by the width of the spectrum."""
    from scipy.sparse.linalg import LinearOperator, eigsh

    sparse = matrix.tocsr()
    lift = 2 * float(abs(sparse).sum(axis=1).max())

    def product(state: NDArray[Any]) -> NDArray[Any]:
        moved: NDArray[Any] = sparse @ state + lift * (vectors @ (vectors.conj().T @ state))
        return moved

    operator = LinearOperator(sparse.shape, matvec=product, dtype=sparse.dtype)
    start = np.random.default_rng(1).standard_normal(sparse.shape[0])
    value, vector = eigsh(operator, k=1, which="SA", v0=start)
    return float(value[0]), vector[:, 0]


def _levels(matrix: Any, values: NDArray[Any], vectors: NDArray[Any]) -> list[Level]:
    """Eigenpairs with their residuals."""
    # QuSpin's array does not keep its memory alive.
    states = np.array(matrix.basis.states)
    found = []
    for k in range(len(values)):
        energy, vector = float(values[k]), vectors[:, k]
        residual = float(np.linalg.norm(matrix.dot(vector) - energy * vector))
        found.append(Level(energy, residual, vector, states))
    return found


def _estimate(k: int, level: Level) -> Estimate:
    name = f"energy_{k}" if k else "energy"
    sigma = max(level.residual, EPSILON * abs(level.energy))
    return Estimate(name, level.energy, sigma=sigma, sigma_kind="numerical", unit="total", bound="exact")


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


def _bytes(number: float) -> str:
    """``8.8e12`` as ``8.8 TB``."""
    for unit in ("B", "kB", "MB", "GB", "TB", "PB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} EB"
