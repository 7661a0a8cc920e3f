"""Character expansion against published values, symmetric limits and an independent convolution."""

import subprocess
import sys

import numpy as np
import pytest
from scipy import special

from pipeline.base.contracts import DirectBaseline
from pipeline.gauge import exact
from pipeline.gauge.exact import U1CharacterExpansion
from pipeline.gauge.schema import U1PureGauge


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
    assert exact.plaquette(length, 2.0) == pytest.approx(expected, abs=5e-7)


def test_susceptibility_of_a_large_lattice() -> None:
    assert exact.topological_susceptibility(32, 2.0) == pytest.approx(0.019364, abs=5e-7)


@pytest.mark.parametrize(("length", "beta"), [(2, 0.5), (2, 2.0), (4, 2.0), (4, 6.0), (6, 1.0)])
def test_both_observables_agree_with_a_convolution(length: int, beta: float) -> None:
    coarse, fine = (np.array(by_convolution(length, beta, points)) for points in (64, 128))
    extrapolated = (4.0 * fine - coarse) / 3.0
    computed = [exact.plaquette(length, beta), exact.topological_susceptibility(length, beta)]
    np.testing.assert_allclose(computed, extrapolated, rtol=1e-6)


def test_limits() -> None:
    assert exact.plaquette(4, 0.0) == 0.0
    # Without an action, all but one plaquette angle are independent and uniform: ⟨Q²⟩ = V/12.
    assert exact.topological_susceptibility(4, 0.0) == pytest.approx(1.0 / 12.0, rel=1e-12)
    assert exact.plaquette(64, 2.0) == pytest.approx(special.iv(1, 2.0) / special.iv(0, 2.0), abs=1e-14)
    # Spin waves: V - 1 independent modes share the energy, ⟨1 - P⟩ = (V - 1)/(2βV) + O(1/β²).
    assert exact.plaquette(4, 1e4) == pytest.approx(1.0 - 15.0 / 16.0 / 2e4, abs=1e-8)


def test_frozen_charge_is_not_negative() -> None:
    assert 0.0 <= exact.topological_susceptibility(4, 200.0) < 1e-14


def test_baseline_gives_exact_estimates() -> None:
    baseline = U1CharacterExpansion()
    system = U1PureGauge(length=4, beta=2.0)
    assert isinstance(baseline, DirectBaseline)
    assert baseline.exactness == "closed-form"
    assert baseline.supports(system) is None
    estimate = baseline.run(system).estimate("plaquette")
    assert (estimate.bound, estimate.sigma) == ("exact", 0.0)
    assert estimate.value == exact.plaquette(4, 2.0)
    susceptibility = baseline.run(system).estimate("topological_susceptibility")
    assert susceptibility.value == exact.topological_susceptibility(4, 2.0)


def test_baseline_refuses_other_systems_with_a_reason() -> None:
    assert "dict" in (U1CharacterExpansion().supports({}) or "")


@pytest.mark.parametrize("module", ["schema", "exact", "hmc"])
def test_import_without_torch(module: str) -> None:
    code = f"import sys, pipeline.gauge.{module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
