"""Exact observables of pure U(1) gauge theory on the periodic L × L lattice, by character expansion.

On the torus the plaquette angles are independent but for Σ θ_P = 0 mod 2π, so that a θ term exp(iθQ) gives
Z(θ) = Σ_n c_n(θ)^V with c_n(θ) = ∫ dφ/2π e^{β cos φ} cos[(n + θ/2π) φ] over -π < φ < π, and c_n(0) = I_n(β).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import special

from pipeline.base.contracts import Cost, Exactness
from pipeline.base.result import Estimate, Result
from pipeline.gauge.schema import U1PureGauge


def _characters(beta: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """All n that matter and I_n(β)/I_0(β); I_n/I_0 ~ exp(-n²/2β) is below 1e-20 beyond the last."""
    last = 20 + math.ceil(10.0 * math.sqrt(beta))
    n = np.arange(-last, last + 1)
    return n, special.ive(n, beta) / special.ive(0, beta)


def plaquette(length: int, beta: float) -> float:
    """⟨Re P⟩ = Σ_n I_n^{V-1} I_n' / Σ_n I_n^V with V = length² and I_n' = (I_{n-1} + I_{n+1})/2."""
    volume = length**2
    n, ratio = _characters(beta)
    derivative = 0.5 * (special.ive(n - 1, beta) + special.ive(n + 1, beta)) / special.ive(0, beta)
    return float((ratio ** (volume - 1) * derivative).sum() / (ratio**volume).sum())


def topological_susceptibility(length: int, beta: float) -> float:
    """⟨Q²⟩/V = -(1/V) Z''(0)/Z(0) with V = length² >= 4, Q the regularised charge; per plaquette, lattice units.

    Z'' = Σ_n [V(V-1) c_n^{V-2} c_n'² + V c_n^{V-1} c_n''], primes being derivatives with respect to θ. As n -> -n
    is a symmetry, Z'(0) = 0. For V -> ∞ only n = 0 survives, and ⟨Q²⟩/V -> -c_0''/c_0.

    The terms cancel where ⟨Q²⟩ is tiny (β >> V): the absolute error is 1e-14, not the relative one.
    """
    volume = length**2
    n, ratio = _characters(beta)
    # φ sin nφ jumps at ±π, which rules out the trapezoidal rule; the peak at 0 has the width 1/sqrt(β).
    nodes, weights = special.roots_legendre(400 + math.ceil(40.0 * math.sqrt(beta)))
    phi = math.pi * nodes
    density = 0.5 * weights * np.exp(beta * (np.cos(phi) - 1.0)) / special.ive(0, beta)
    flux = phi / (2.0 * math.pi)
    first = -np.sin(np.outer(n, phi)) @ (density * flux)
    second = -np.cos(np.outer(n, phi)) @ (density * flux**2)
    terms = (volume - 1) * ratio ** (volume - 2) * first**2 + ratio ** (volume - 1) * second
    # Rounding may leave a tiny negative number of a variance that is zero to all digits.
    return max(0.0, float(-terms.sum() / (ratio**volume).sum()))


@dataclass
class U1CharacterExpansion:
    """Closed-form reference for :class:`U1PureGauge`: estimates ``plaquette`` and ``topological_susceptibility``."""

    kind: ClassVar[str] = "character expansion"
    exactness: ClassVar[Exactness] = "closed-form"
    version: ClassVar[int] = 1

    def supports(self, system: Any) -> str | None:
        """None for :class:`U1PureGauge`; otherwise why not."""
        if isinstance(system, U1PureGauge):
            return None
        return f"the character expansion is known for U1PureGauge only, not for {type(system).__name__}"

    def cost(self, system: U1PureGauge) -> Cost:
        """The integrals over φ dominate: characters × quadrature nodes cosines and sines."""
        grid = (41 + 20 * math.sqrt(system.beta)) * (400 + 40 * math.sqrt(system.beta))
        return Cost(seconds=0.05 + 5e-8 * grid, bytes=32 * grid)

    def run(self, system: U1PureGauge) -> Result:
        """Both observables, exact but for rounding (1e-14)."""

        def exact(name: str, value: float) -> Estimate:
            return Estimate(name, value, sigma=0.0, bound="exact")

        return Result(
            (
                exact("plaquette", plaquette(system.length, system.beta)),
                exact("topological_susceptibility", topological_susceptibility(system.length, system.beta)),
            )
        )
