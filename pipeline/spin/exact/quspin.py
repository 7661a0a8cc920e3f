"""Exact diagonalisation with QuSpin, in the fully symmetric sector wherever the ground state is proven to be there."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from omegaconf import MISSING

from pipeline.base import checks
from pipeline.base.contracts import Cost, Exactness
from pipeline.base.result import Estimate, Result
from pipeline.spin.exact.symmetries import conserves_spin_flip, is_stoquastic, lattice_symmetries
from pipeline.spin.schema import SpinSystem
from pipeline.spin.terms import PauliTerm, pauli_terms

DENSE_LIMIT = 64
"""Below this many basis states LAPACK is used: Lanczos needs room for its Krylov space."""


@dataclass
class QuSpinED:
    """Lowest eigenvalue by Lanczos (ARPACK) of the sparse matrix that QuSpin builds from the Pauli strings.

    A stoquastic H is restricted to momentum 0, even reflections and even spin flip (see
    :mod:`pipeline.spin.exact.symmetries`); any other H is treated in the full space of 2^N states.

    Attributes:
        max_sites: largest N that is tried.
    """

    version: ClassVar[int] = 1
    kind: ClassVar[str] = "QuSpin ED"
    exactness: ClassVar[Exactness] = "exact"

    max_sites: int = MISSING

    def __post_init__(self) -> None:
        checks.between("baseline.quspin.max_sites", self.max_sites, 1, 32)

    def supports(self, system: Any) -> str | None:
        """None for up to ``max_sites`` spins with known Pauli strings; else the reason and the size of one vector."""
        try:
            pauli_terms(system)
        except TypeError as error:
            return f"QuSpin ED: {error}"
        size = system.size
        if size > self.max_sites:
            return (
                f"QuSpin would need 2^{size} amplitudes = {_bytes(8.0 * 2.0**size)} a vector "
                f"(limit max_sites={self.max_sites}); use baseline=dmrg (chains, narrow lattices)"
            )
        return None

    def cost(self, system: SpinSystem) -> Cost:
        """States in the sector times the strings on each; the scan for representatives visits all 2^N."""
        terms = pauli_terms(system)
        order = _symmetry_order(system, terms)
        states = 2.0**system.size / order
        elements = states * (1 + sum(set(term.paulis) != {"z"} for term in terms))
        seconds = 1.0 + 2e-7 * 2.0**system.size + 3e-8 * states * len(terms) * order**0.5 + 5e-7 * elements
        return Cost(seconds=seconds, bytes=2e8 + 40.0 * elements + 24 * 8.0 * states)

    def run(self, system: SpinSystem) -> Result:
        """``energy``: total ground-state energy (Pauli convention); its sigma is the residual ‖Hψ - Eψ‖.

        The residual bounds the distance to the nearest eigenvalue. ``extra`` gives ``basis_states`` (dimension of the
        sector) and ``symmetries`` (names of those used).
        """
        terms = pauli_terms(system)
        hamiltonian, symmetries = build(system, terms)
        energy, residual = _lowest(hamiltonian)
        sigma = max(residual, float(np.finfo(np.float64).eps) * abs(energy))
        estimate = Estimate("energy", energy, sigma=sigma, sigma_kind="numerical", unit="total", bound="exact")
        return Result(estimates=(estimate,), extra={"basis_states": int(hamiltonian.Ns), "symmetries": symmetries})


def build(system: SpinSystem, terms: list[PauliTerm]) -> tuple[Any, list[str]]:
    """QuSpin ``hamiltonian`` of ``terms`` and the names of the symmetries used.

    float64, or complex128 if a string has an odd number of σy.
    """
    from quspin.basis import spin_basis_general
    from quspin.operators import hamiltonian

    blocks: dict[str, Any] = {}
    if is_stoquastic(terms):
        for name, permutation in lattice_symmetries(system, terms).items():
            blocks[name] = (np.array(permutation), 0)
        if conserves_spin_flip(terms):
            # QuSpin writes "move to site i and flip" as -(i + 1).
            blocks["spin_flip"] = (-np.arange(system.size) - 1, 0)
    couplings: dict[str, list[list[float]]] = {}
    for term in terms:
        couplings.setdefault(term.paulis, []).append([term.coefficient, *term.sites])
    real = all(term.paulis.count("y") % 2 == 0 for term in terms)
    with warnings.catch_warnings():
        # QuSpin warns that translations and reflections do not commute; in the trivial sector they need not.
        warnings.simplefilter("ignore")
        basis = spin_basis_general(system.size, pauli=True, **blocks)
        matrix = hamiltonian(
            [[paulis, entries] for paulis, entries in couplings.items()],
            [],
            basis=basis,
            dtype=np.float64 if real else np.complex128,
            check_herm=False,
            check_symm=False,
            check_pcon=False,
        )
    return matrix, list(blocks)


def _lowest(hamiltonian: Any) -> tuple[float, float]:
    """Lowest eigenvalue and the norm of its residual vector."""
    if hamiltonian.Ns <= DENSE_LIMIT:
        values, vectors = np.linalg.eigh(hamiltonian.toarray())
    else:
        # A fixed generic start: reproducible, and not orthogonal to any sector.
        start = np.random.default_rng(0).standard_normal(hamiltonian.Ns)
        values, vectors = hamiltonian.eigsh(k=1, which="SA", v0=start)
    energy, vector = float(values[0]), vectors[:, 0]
    return energy, float(np.linalg.norm(hamiltonian.dot(vector) - energy * vector))


def _symmetry_order(system: SpinSystem, terms: list[PauliTerm]) -> float:
    """Rough factor by which the symmetries shrink the basis."""
    if not is_stoquastic(terms):
        return 1.0
    order = 2.0 if conserves_spin_flip(terms) else 1.0
    for permutation in lattice_symmetries(system, terms).values():
        order *= _cycle_length(permutation)
    return order


def _cycle_length(permutation: tuple[int, ...]) -> int:
    """Length of the longest cycle: the order of a translation (its length) or of a reflection (2)."""
    longest = 1
    for first in range(len(permutation)):
        site, length = permutation[first], 1
        while site != first:
            site, length = permutation[site], length + 1
        longest = max(longest, length)
    return longest


def _bytes(number: float) -> str:
    """``8.8e12`` as ``8.8 TB``."""
    for unit in ("B", "kB", "MB", "GB", "TB", "PB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} EB"
