"""Character expansion against published values, symmetric limits and an independent convolution."""

import math
import subprocess
import sys

import numpy as np
import pytest
from scipy import special

from pipeline.base.contracts import DirectBaseline
from pipeline.gauge import exact
from pipeline.gauge.exact import CharacterExpansion
from pipeline.gauge.systems import Schwinger, SU3PureGauge, U1PureGauge


def by_convolution(length: int, beta: float, points: int) -> tuple[float, float]:
    """⟨Re P⟩ and ⟨Q²⟩/V from the distribution of Σ θ_P of independent plaquettes on a grid, kept where it is 2πQ.

    Knows no character expansion; its midpoint rule errs by O(1/points²). The length must be even, so that 2πQ is
    on the grid of the sum.
    """
    volume = length**2
    phi = 2.0 * np.pi * (np.arange(points) + 0.5) / points - np.pi
    density = np.exp(beta * np.cos(phi))
    density /= density.sum()
    others = density
    for _ in range(volume - 2):
        others = np.convolve(others, density)
    joint = np.convolve(others, density)
    weighted = np.convolve(others, density * np.cos(phi))
    # Σ φ = 2π (s + V/2) / points - π V for the sum s of the grid indices.
    index = np.arange(len(joint)) + volume // 2 - points * volume // 2
    allowed, charge = index % points == 0, index // points
    norm = joint[allowed].sum()
    return weighted[allowed].sum() / norm, (joint * charge**2)[allowed].sum() / norm / volume


@pytest.mark.parametrize(("length", "expected"), [(8, 0.697775), (4, 0.699252)])
def test_plaquette_at_beta_2(length: int, expected: float) -> None:
    assert exact.u1_plaquette(length, 2.0) == pytest.approx(expected, abs=5e-7)


def test_susceptibility_of_a_large_lattice() -> None:
    assert exact.topological_susceptibility(32, 2.0) == pytest.approx(0.019364, abs=5e-7)


@pytest.mark.parametrize(("length", "beta"), [(2, 0.5), (2, 2.0), (4, 2.0), (4, 6.0), (6, 1.0)])
def test_both_observables_agree_with_a_convolution(length: int, beta: float) -> None:
    coarse, fine = (np.array(by_convolution(length, beta, points)) for points in (64, 128))
    extrapolated = (4.0 * fine - coarse) / 3.0
    computed = [exact.u1_plaquette(length, beta), exact.topological_susceptibility(length, beta)]
    np.testing.assert_allclose(computed, extrapolated, rtol=1e-6)


def test_limits() -> None:
    assert exact.u1_plaquette(4, 0.0) == 0.0
    # Without an action, all but one plaquette angle are independent and uniform: ⟨Q²⟩ = V/12.
    assert exact.topological_susceptibility(4, 0.0) == pytest.approx(1.0 / 12.0, rel=1e-12)
    assert exact.u1_plaquette(64, 2.0) == pytest.approx(special.iv(1, 2.0) / special.iv(0, 2.0), abs=1e-14)
    # Spin waves: V - 1 independent modes share the energy, ⟨1 - P⟩ = (V - 1)/(2βV) + O(1/β²).
    assert exact.u1_plaquette(4, 1e4) == pytest.approx(1.0 - 15.0 / 16.0 / 2e4, abs=1e-8)


def test_frozen_charge_is_not_negative() -> None:
    assert 0.0 <= exact.topological_susceptibility(4, 200.0) < 1e-14


def coefficient_by_bessel_functions(p: int, q: int, beta: float) -> float:
    """c_r of SU(3) as a sum of determinants of Bessel functions (Drouffe and Zuber, Phys. Rep. 102, 1 (1983)), which
    never sees the angles."""
    rows = (p + q, q, 0)
    order = np.array([[rows[j] - j + i for j in range(3)] for i in range(3)])
    determinants = [np.linalg.det(special.iv(order + shift, beta / 3.0)) for shift in range(-40, 41)]
    return float(sum(determinants)) / ((p + 1) * (q + 1) * (p + q + 2) / 2)


@pytest.mark.parametrize("beta", [0.5, 6.0, 20.0])
def test_su3_coefficients_agree_with_bessel_functions(beta: float) -> None:
    ratios, derivatives = exact.su3_coefficients(beta)
    side = math.isqrt(len(ratios))
    step = 1e-4 * beta
    trivial = coefficient_by_bessel_functions(0, 0, beta)
    for p, q in [(0, 0), (1, 0), (0, 1), (1, 1), (3, 1)]:
        below, here, above = (coefficient_by_bessel_functions(p, q, b) for b in (beta - step, beta, beta + step))
        assert ratios[p * side + q] == pytest.approx(here / trivial, rel=1e-9)
        assert derivatives[p * side + q] == pytest.approx((above - below) / (2 * step) / trivial, rel=1e-6)


def test_su3_plaquette_of_a_large_lattice() -> None:
    assert exact.su3_plaquette(32, 6.0) == pytest.approx(0.422532, abs=5e-7)


def test_su3_plaquette_is_what_changes_the_partition_function() -> None:
    """⟨Re tr P / 3⟩ = ∂ log Z / ∂β / V on 2 × 2, where the volume matters; Z = Σ c_r^V by Bessel functions."""

    def log_z(beta: float) -> float:
        coefficients = [coefficient_by_bessel_functions(p, q, beta) for p in range(6) for q in range(6)]
        return math.log(sum(c**4 for c in coefficients))

    slope = (log_z(6.001) - log_z(5.999)) / 0.002
    assert exact.su3_plaquette(2, 6.0) == pytest.approx(slope / 4, abs=1e-7)
    assert abs(exact.su3_plaquette(2, 6.0) - exact.su3_plaquette(32, 6.0)) > 0.009


@pytest.mark.parametrize("length", [2, 4, 8])
def test_partition_functions_are_normalised_and_have_the_plaquette_as_derivative(length: int) -> None:
    for log_z, plaquette in (
        (exact.u1_log_partition, exact.u1_plaquette),
        (exact.su3_log_partition, exact.su3_plaquette),
    ):
        assert abs(log_z(length, 0.0)) < 1e-12
        for beta in (0.5, 2.0, 6.0):
            slope = (log_z(length, beta + 1e-4) - log_z(length, beta - 1e-4)) / 2e-4
            assert slope == pytest.approx(length**2 * plaquette(length, beta), rel=1e-6)


def test_su3_limits() -> None:
    assert exact.su3_plaquette(4, 0.0) == pytest.approx(0.0, abs=1e-15)
    # Strong coupling: ⟨Re tr P / 3⟩ = β/18 + O(β²), from ∫ |tr U|² = 1.
    assert exact.su3_plaquette(16, 1e-3) == pytest.approx(1e-3 / 18.0, rel=1e-3)
    # Weak coupling on large lattices: eight modes a plaquette share the energy.
    assert exact.su3_plaquette(64, 2000.0) == pytest.approx(1.0 - 4.0 / 2000.0, abs=2e-5)


def test_baseline_gives_exact_estimates() -> None:
    baseline = CharacterExpansion()
    system = U1PureGauge(length=4, beta=2.0)
    assert isinstance(baseline, DirectBaseline)
    assert baseline.exactness == "closed-form"
    assert baseline.supports(system) is None
    estimate = baseline.run(system).estimate("plaquette")
    assert (estimate.bound, estimate.sigma) == ("exact", 0.0)
    assert estimate.value == exact.u1_plaquette(4, 2.0)
    susceptibility = baseline.run(system).estimate("topological_susceptibility")
    assert susceptibility.value == exact.topological_susceptibility(4, 2.0)


def test_baseline_refuses_other_systems_with_a_reason() -> None:
    others: tuple[object, ...] = ({}, Schwinger(length=4, beta=2.0, kappa=0.2))
    for other in others:
        assert type(other).__name__ in (CharacterExpansion().supports(other) or "")


def test_baseline_of_su3() -> None:
    baseline, system = CharacterExpansion(), SU3PureGauge(length=4, beta=6.0)
    assert baseline.supports(system) is None
    assert 0 < baseline.cost(system).seconds < 1
    (plaquette,) = baseline.run(system).estimates
    assert (plaquette.name, plaquette.value) == ("plaquette", exact.su3_plaquette(4, 6.0))
    assert (plaquette.bound, plaquette.sigma) == ("exact", 0.0)


@pytest.mark.parametrize("module", ["systems", "exact", "hmc.method", "hmc.schema", "reweighting", "hmc.ensemble"])
def test_import_without_torch(module: str) -> None:
    code = f"import sys, pipeline.gauge.{module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
