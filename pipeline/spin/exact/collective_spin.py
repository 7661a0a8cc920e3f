"""Ground-state energy of the all-to-all transverse-field Ising model from its collective spin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from pipeline.base.contracts import Cost, Exactness
from pipeline.base.numbers.result import Estimate, Result
from pipeline.spin.systems import ChainTFIM


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
        """None for a :class:`ChainTFIM` with range ⌊N/2⌋, V and h of any sign; else the reason."""
        if not isinstance(system, ChainTFIM):
            return f"collective spin needs an all-to-all Ising chain, not {type(system).__name__}; use quspin or dmrg"
        if not system.all_to_all:
            return (
                f"collective spin needs every pair to interact, system.range={system.n_sites // 2} "
                f"(have {system.range}); use baseline=dmrg, or quspin for a small ring"
            )
        return None

    def cost(self, system: ChainTFIM) -> Cost:
        """Bisection for one eigenvalue of an (N+1) × (N+1) tridiagonal matrix, and the import of scipy."""
        return Cost(seconds=0.2 + 2e-5 * system.n_sites, bytes=1e2 * system.n_sites)

    def run(self, system: ChainTFIM) -> Result:
        """``energy``: total ground-state energy (Pauli convention), exact to rounding."""
        from scipy.linalg import eigh_tridiagonal

        n, spin = system.n_sites, system.n_sites / 2
        m = np.arange(n + 1) - spin
        diagonal = -system.coupling / 2 * ((2 * m) ** 2 - n)
        off_diagonal = -system.field * np.sqrt(spin * (spin + 1) - m[:-1] * m[1:])
        lowest = eigh_tridiagonal(diagonal, off_diagonal, eigvals_only=True, select="i", select_range=(0, 0))[0]
        energy = Estimate("energy", float(lowest), sigma=0.0, sigma_kind="none", unit="total", bound="exact")
        return Result(estimates=(energy,))
