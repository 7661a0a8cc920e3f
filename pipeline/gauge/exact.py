"""Exact observables of pure gauge theory on the periodic L × L lattice, by character expansion.

The weight of a plaquette is a class function, e^{β Re tr P / N} = Σ_r d_r c_r χ_r(P) with
c_r = (1/d_r) ∫ dP χ_r(P)* e^{β Re tr P / N}; integrating out the links of a torus leaves Z = Σ_r c_r^V, and
⟨Re tr P / N⟩ = (1/V) ∂ log Z / ∂β.

U(1): the plaquette angles are independent but for Σ θ_P = 0 mod 2π, so that a θ term exp(iθQ) gives
Z(θ) = Σ_n c_n(θ)^V with c_n(θ) = ∫ dφ/2π e^{β cos φ} cos[(n + θ/2π) φ] over -π < φ < π, and c_n(0) = I_n(β).

SU(3): with the eigenvalues z = (e^{iφ_1}, e^{iφ_2}, e^{-iφ_1-iφ_2}) and Weyl's formula χ_r Δ = det z_i^{l_j}, where
l = (p+q+2, q+1, 0) and Δ = Π_{i<j} (z_i - z_j), antisymmetry leaves one term of the determinant: d_r c_r is the Fourier
coefficient of Δ e^{β Re tr P / 3} at (p+q+2, q+1).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from pipeline.base.contracts import Cost, Exactness
from pipeline.base.later import NDArray, np
from pipeline.base.numbers.result import Estimate, Result
from pipeline.gauge.systems import PureGauge, SU3PureGauge


def _characters(beta: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """All n that matter and I_n(β)/I_0(β); I_n/I_0 ~ exp(-n²/2β) is below 1e-20 beyond the last."""
    from scipy import special

    last = 20 + math.ceil(10.0 * math.sqrt(beta))
    n = np.arange(-last, last + 1)
    return n, special.ive(n, beta) / special.ive(0, beta)


def u1_plaquette(length: int, beta: float) -> float:
    """⟨Re P⟩ = Σ_n I_n^{V-1} I_n' / Σ_n I_n^V with V = length² and I_n' = (I_{n-1} + I_{n+1})/2."""
    from scipy import special

    volume = length**2
    n, ratio = _characters(beta)
    derivative = 0.5 * (special.ive(n - 1, beta) + special.ive(n + 1, beta)) / special.ive(0, beta)
    return float((ratio ** (volume - 1) * derivative).sum() / (ratio**volume).sum())


def u1_log_partition(length: int, beta: float) -> float:
    """log Z = log Σ_n I_n^V with V = length²: of e^{β Σ cos θ_P} over the normalised Haar measure of all links."""
    from scipy import special

    volume = length**2
    _, ratio = _characters(beta)
    return volume * (beta + math.log(special.ive(0, beta))) + math.log((ratio**volume).sum())


def topological_susceptibility(length: int, beta: float) -> float:
    """⟨Q²⟩/V = -(1/V) Z''(0)/Z(0) with V = length² >= 4, Q the regularised charge; per plaquette, lattice units.

    Z'' = Σ_n [V(V-1) c_n^{V-2} c_n'² + V c_n^{V-1} c_n''], primes being derivatives with respect to θ. As n -> -n
    is a symmetry, Z'(0) = 0. For V -> ∞ only n = 0 survives, and ⟨Q²⟩/V -> -c_0''/c_0.

    The terms cancel where ⟨Q²⟩ is tiny (β >> V): the absolute error is 1e-14, not the relative one.
    """
    from scipy import special

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


def su3_coefficients(beta: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """c_r/c_0 and (∂c_r/∂β)/c_0 of the irreducible representations (p, q) of SU(3), the trivial one first."""
    coefficients, derivatives = _su3_fourier(beta)
    return coefficients / coefficients[0], derivatives / coefficients[0]


def _su3_fourier(beta: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """c_r and ∂c_r/∂β, both times e^{-β}, the trivial representation first.

    Coefficients of analytic periodic functions: the trapezoidal rule, here a fast Fourier transform, is exact but for
    rounding once the grid resolves them. Half of its frequencies, of 1/sqrt(β) width each, are far beyond what matters.
    """
    points = 64 + 16 * math.ceil(math.sqrt(beta))
    phi = 2.0 * np.pi * np.arange(points) / points
    first, second = np.meshgrid(phi, phi, indexing="ij")
    z = np.exp(1j * np.stack([first, second, -first - second]))
    trace = z.real.sum(axis=0) / 3.0
    vandermonde = (z[0] - z[1]) * (z[0] - z[2]) * (z[1] - z[2])
    weight = vandermonde * np.exp(beta * (trace - 1.0))
    p, q = (index.ravel() for index in np.indices((points // 4, points // 4)))
    dimension = (p + 1) * (q + 1) * (p + q + 2) / 2.0
    coefficients, derivatives = (
        np.fft.fft2(function).real[p + q + 2, q + 1] / (points**2 * dimension) for function in (weight, weight * trace)
    )
    return coefficients, derivatives


def su3_plaquette(length: int, beta: float) -> float:
    """⟨Re tr P / 3⟩ = Σ_r c_r^{V-1} c_r' / Σ_r c_r^V with V = length²; -> c_0'/c_0 for V -> ∞."""
    ratio, derivative = su3_coefficients(beta)
    volume = length**2
    return float((ratio ** (volume - 1) * derivative).sum() / (ratio**volume).sum())


def su3_log_partition(length: int, beta: float) -> float:
    """log Z = log Σ_r c_r^V with V = length²: of e^{β Σ Re tr P / 3} over the normalised Haar measure of all links."""
    coefficients, _ = _su3_fourier(beta)
    volume = length**2
    ratio = coefficients / coefficients[0]
    return volume * (beta + math.log(coefficients[0])) + math.log((ratio**volume).sum())


@dataclass
class CharacterExpansion:
    """Closed-form reference for pure gauge theories: ``plaquette``, for U(1) ``topological_susceptibility`` too."""

    kind: ClassVar[str] = "character expansion"
    exactness: ClassVar[Exactness] = "closed-form"
    version: ClassVar[int] = 1

    def supports(self, system: Any) -> str | None:
        """None for a pure gauge theory; otherwise why not."""
        if isinstance(system, PureGauge):
            return None
        return f"the character expansion is known for pure gauge theories only, not for {type(system).__name__}"

    def cost(self, system: PureGauge) -> Cost:
        """Integrals over angles, by quadrature (U(1): characters × nodes) or Fourier transform (SU(3): grid)."""
        if isinstance(system, SU3PureGauge):
            grid = (64 + 16 * math.sqrt(system.beta)) ** 2
            return Cost(seconds=0.05 + 1e-6 * grid, bytes=300 * grid)
        grid = (41 + 20 * math.sqrt(system.beta)) * (400 + 40 * math.sqrt(system.beta))
        return Cost(seconds=0.05 + 5e-8 * grid, bytes=32 * grid)

    def run(self, system: PureGauge) -> Result:
        """Exact but for rounding: 1e-14 for U(1), about 1e-16 β^{3/2} for SU(3)."""

        def exact(name: str, value: float) -> Estimate:
            return Estimate(name, value, sigma=0.0, bound="exact")

        if isinstance(system, SU3PureGauge):
            return Result((exact("plaquette", su3_plaquette(system.length, system.beta)),))
        susceptibility = topological_susceptibility(system.length, system.beta)
        return Result(
            (
                exact("plaquette", u1_plaquette(system.length, system.beta)),
                exact("topological_susceptibility", susceptibility),
            )
        )
