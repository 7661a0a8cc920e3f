"""Ground-state energy of the all-to-all transverse-field Ising model from its collective spin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from pipeline.base.contracts import Cost, Exactness
from pipeline.base.later import np
from pipeline.base.numbers.result import Estimate, Result
from pipeline.spin.exact.recognise import ising_model
from pipeline.spin.systems import SpinSystem, beyond_range
from pipeline.spin.terms import in_own_unit, pauli_terms


@dataclass
class CollectiveSpin:
    """All pairs interact, H = -V/2 ((2 Sz)² - N) - 2 h Sx: tridiagonal in |S = N/2, m>, m = -S..S.

    For h > 0 and any sign of V the ground state has positive amplitudes in the σz basis (Perron-Frobenius), so it is
    permutation symmetric and lies in S = N/2; h -> -h is the symmetric rotation Π σz, and h = 0 follows by continuity
    of the energy.
    """

    version: ClassVar[int] = 1
    kind: ClassVar[str] = "collective spin"
    exactness: ClassVar[Exactness] = "closed-form"

    def supports(self, system: Any) -> str | None:
        """None for Ising models in which all pairs couple, at least one, V and h of any sign; else the reason."""
        if reason := beyond_range(system):
            return reason
        try:
            model = ising_model(pauli_terms(system), system.size)
        except TypeError:
            model = None
        if model is None:
            return f"collective spin needs a uniform Ising model, not {type(system).__name__}; use quspin or dmrg"
        pairs = model.size * (model.size - 1) // 2
        if not len(model.bonds) == pairs > 0:
            return (
                f"collective spin needs every pair to interact, system.range={model.size // 2} on a ring "
                f"(have {len(model.bonds)} of {pairs} pairs); use baseline=dmrg, or quspin for a small ring"
            )
        return None

    def cost(self, system: SpinSystem) -> Cost:
        """Bisection for one eigenvalue of an (N+1) × (N+1) tridiagonal matrix, and the import of scipy."""
        return Cost(seconds=0.2 + 2e-5 * system.size, bytes=1e2 * system.size)

    def run(self, system: SpinSystem) -> Result:
        """``energy``: total ground-state energy (Pauli convention), exact to rounding."""
        from scipy.linalg import eigh_tridiagonal

        terms, unit = in_own_unit(pauli_terms(system))
        model = ising_model(terms, system.size)
        assert model is not None
        n, spin = model.size, model.size / 2
        m = np.arange(n + 1) - spin
        diagonal = -model.coupling / 2 * ((2 * m) ** 2 - n)
        off_diagonal = -model.field * np.sqrt(spin * (spin + 1) - m[:-1] * m[1:])
        lowest = eigh_tridiagonal(diagonal, off_diagonal, eigvals_only=True, select="i", select_range=(0, 0))[0]
        energy = Estimate("energy", unit * float(lowest), sigma=0.0, sigma_kind="none", unit="total", bound="exact")
        return Result(estimates=(energy,))
