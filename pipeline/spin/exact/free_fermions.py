"""Free-fermion ground-state energy of the periodic nearest-neighbour transverse-field Ising chain."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from pipeline.base.contracts import Cost, Exactness
from pipeline.base.numbers.result import Estimate, Result
from pipeline.spin.exact.recognise import IsingModel, ising_model
from pipeline.spin.lattice import Bond, chain_bonds
from pipeline.spin.systems import SpinSystem, beyond_range
from pipeline.spin.terms import in_own_unit, pauli_terms


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
        """None for Ising rings of at least 3 sites, nearest neighbours coupled alone, V, h >= 0; else the reason."""
        if reason := beyond_range(system):
            return reason
        try:
            model = ising_model(pauli_terms(system), system.size)
        except TypeError:
            model = None
        if model is None:
            return f"free fermions need a uniform Ising chain, not {type(system).__name__}; use quspin or dmrg"
        if model.size < 3:
            return "free fermions need n_sites >= 3: two sites share one bond instead of two; use baseline=quspin"
        ring = chain_bonds(model.size, 1)
        if list(model.bonds) != ring:
            return f"free fermions need a ring of nearest neighbours: {_difference(model, ring)}; use quspin or dmrg"
        if model.coupling < 0 or model.field < 0:
            return (
                f"free fermions need coupling >= 0 and field >= 0 (have {model.coupling:g} and {model.field:g}): "
                "other signs change the parity sector; use baseline=quspin or dmrg"
            )
        return None

    def cost(self, system: SpinSystem) -> Cost:
        """A sum over N momenta."""
        return Cost(seconds=1e-6 * system.size, bytes=8.0 * system.size)

    def run(self, system: SpinSystem) -> Result:
        """``energy``: total ground-state energy (Pauli convention), exact to rounding."""
        terms, unit = in_own_unit(pauli_terms(system))
        model = ising_model(terms, system.size)
        assert model is not None
        modes = []
        for n in range(model.size):
            half = math.pi * (2 * n + 1) / (2 * model.size)
            # (V-h)² + 4 V h sin²(k/2) keeps the digits that V² + h² - 2 V h cos k loses near k = 0 at criticality.
            gap = (model.coupling - model.field) ** 2
            modes.append(math.sqrt(gap + 4 * model.coupling * model.field * math.sin(half) ** 2))
        energy = Estimate("energy", -unit * math.fsum(modes), sigma=0.0, sigma_kind="none", unit="total", bound="exact")
        return Result(estimates=(energy,))


def _difference(model: IsingModel, ring: Sequence[Bond]) -> str:
    """A bond that makes ``model`` another lattice than the ``ring``."""
    here, wanted = set(model.bonds), set(ring)
    further = (f"sites {i} and {j} interact" for i, j in model.bonds if (i, j) not in wanted)
    missing = (f"sites {i} and {j} do not interact" for i, j in ring if (i, j) not in here)
    return next(itertools.chain(further, missing))
