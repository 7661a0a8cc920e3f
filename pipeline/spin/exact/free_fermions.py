"""Free-fermion ground-state energy of the periodic nearest-neighbour transverse-field Ising chain."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from pipeline.base.contracts import Cost, Exactness
from pipeline.base.numbers.result import Estimate, Result
from pipeline.spin.systems import ChainTFIM


@dataclass
class FreeFermions:
    """Closed form E0 = -Σ_k √(V² + h² - 2 V h cos k), k = π(2n+1)/N, n = 0..N-1 (Pfeuty 1970; Jordan-Wigner).

    For V, h >= 0 the ground state is even under Π σx, which makes the fermions antiperiodic. For odd N the set of k
    contains the unpaired k = π, whose mode V + h > 0 is empty in that sector, so that the formula holds for even and
    odd N alike. With V < 0 and odd N that mode may have to be filled, hence the restriction on signs.
    """

    version: ClassVar[int] = 1
    kind: ClassVar[str] = "free fermions"
    exactness: ClassVar[Exactness] = "closed-form"

    def supports(self, system: Any) -> str | None:
        """None for a :class:`ChainTFIM` with range 1, at least 3 sites and V, h >= 0; else the reason."""
        if not isinstance(system, ChainTFIM):
            return f"free fermions need a periodic Ising chain, not {type(system).__name__}; use quspin or dmrg"
        if system.range != 1:
            return (
                f"free fermions need system.range=1 (interacting fermions at range {system.range}); "
                "use baseline=dmrg, or quspin for a small ring"
            )
        if system.n_sites < 3:
            return "free fermions need n_sites >= 3: two sites share one bond instead of two; use baseline=quspin"
        if system.coupling < 0 or system.field < 0:
            return (
                f"free fermions need coupling >= 0 and field >= 0 (have {system.coupling:g} and {system.field:g}): "
                "other signs change the parity sector; use baseline=quspin or dmrg"
            )
        return None

    def cost(self, system: ChainTFIM) -> Cost:
        """A sum over N momenta."""
        return Cost(seconds=1e-6 * system.n_sites, bytes=8.0 * system.n_sites)

    def run(self, system: ChainTFIM) -> Result:
        """``energy``: total ground-state energy (Pauli convention), exact to rounding."""
        modes = []
        for n in range(system.n_sites):
            half = math.pi * (2 * n + 1) / (2 * system.n_sites)
            # (V-h)² + 4 V h sin²(k/2) keeps the digits that V² + h² - 2 V h cos k loses near k = 0 at criticality.
            gap = (system.coupling - system.field) ** 2
            modes.append(math.sqrt(gap + 4 * system.coupling * system.field * math.sin(half) ** 2))
        energy = Estimate("energy", -math.fsum(modes), sigma=0.0, sigma_kind="none", unit="total", bound="exact")
        return Result(estimates=(energy,))
