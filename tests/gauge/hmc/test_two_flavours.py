"""Two flavours on small lattices: hybrid Monte Carlo against reweighted exact draws, and those against enumeration."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from pipeline.base.contracts import KeepsEnsemble, MonteCarloBaseline
from pipeline.base.errors import ConfigError
from pipeline.base.numbers.result import Result
from pipeline.gauge.fermions.solver import NotConverged
from pipeline.gauge.reweighting import Reweighting
from pipeline.gauge.systems import GaugeSystem, Schwinger, SU3TwoD, U1PureGauge
from tests.gauge.fermion_matrices import wilson_dirac
from tests.gauge.small_hmc import small, warmed

SYSTEM = Schwinger(length=4, beta=2.0, kappa=0.265)
ORACLE = Reweighting(measurements=4, configurations=4096, max_length=8, seed=0)
COMPARED = ("plaquette", "topological_charge", "topological_susceptibility")


def estimates_of(baseline: Any, system: GaugeSystem) -> Result:
    """A whole run."""
    state = warmed(baseline, system) if baseline.warmup else baseline.init(system)
    result: Result = baseline.summarise([baseline.measure(state, k) for k in range(baseline.measurements)])
    return result


@pytest.fixture(scope="module")
def oracle() -> Result:
    return estimates_of(ORACLE, SYSTEM)


def dense_dirac(links: NDArray[np.complex128], kappa: float) -> NDArray[np.complex128]:
    """D of many U(1) configurations (batch, 2, L, L), put together from D with one link at a time: it is linear in the
    real and imaginary parts of links."""
    units = np.eye(links[0].size).reshape(-1, *links.shape[1:], 1, 1).astype(complex)
    free = wilson_dirac(0.0 * units[0], kappa)
    real, imaginary = (np.array([wilson_dirac(c * u, kappa) - free for u in units]) for c in (1.0, 1.0j))
    flat = links.reshape(len(links), -1)
    return free + np.tensordot(flat.real, real, axes=1) + np.tensordot(flat.imag, imaginary, axes=1)


def by_quadrature(beta: float, kappa: float, points: int) -> dict[str, float]:
    """The 2 × 2 torus on a grid of its five gauge-invariant angles, three plaquettes and two holonomies: a sum over
    configurations with weights e^{-S} det²; knows neither the draws nor the operators of the package."""
    angles = 2.0 * math.pi * (np.arange(points) + 0.5) / points
    grid = np.meshgrid(*[angles] * 5, indexing="ij")
    p_00, p_01, p_10, around_0, around_1 = (g.ravel() for g in grid)
    p_11 = -(p_00 + p_01 + p_10)
    links = np.zeros((len(p_00), 2, 2, 2))
    links[:, 0, 1, :] = around_0[:, None]
    links[:, 0, 0, 1] -= p_00
    links[:, 0, 1, 1] -= p_10
    links[:, 1, 0, 1] = around_1
    links[:, 1, 1, 1] = around_1 + p_00 + p_01
    plaquettes = np.stack([p_00, p_01, p_10, p_11])
    weight = np.exp(beta * np.cos(plaquettes).sum(axis=0))
    weight *= np.linalg.det(dense_dirac(np.exp(1j * links), kappa)).real ** 2
    weight /= weight.sum()
    charge = np.angle(np.exp(1j * plaquettes)).sum(axis=0) / (2.0 * math.pi)
    return {
        "plaquette": float(weight @ np.cos(plaquettes).mean(axis=0)),
        "topological_susceptibility": float(weight @ charge**2) / 4.0,
    }


def test_reweighting_agrees_with_quadrature() -> None:
    expected = by_quadrature(1.0, 0.22, 10)
    result = estimates_of(ORACLE, Schwinger(length=2, beta=1.0, kappa=0.22))
    plaquette = result.estimate("plaquette")
    assert plaquette.sigma is not None
    assert 0 < plaquette.sigma < 5e-3
    assert abs(plaquette.value - expected["plaquette"]) < 3.5 * plaquette.sigma
    # The charge jumps, which a grid of ten points sees to a few per cent only.
    susceptibility = result.estimate("topological_susceptibility")
    assert susceptibility.value == pytest.approx(expected["topological_susceptibility"], rel=0.1)


def test_reweighting_at_the_couplings_of_the_paper(oracle: Result) -> None:
    """L = 4, computed once with another program: ⟨P⟩ = 0.7521(9), ⟨Q²⟩/V = 0.00561(11)."""
    for name, value, sigma in (("plaquette", 0.7521, 9e-4), ("topological_susceptibility", 0.00561, 1.1e-4)):
        estimate = oracle.estimate(name)
        assert estimate.sigma is not None
        assert 0 < estimate.sigma < 1.5 * sigma
        assert abs(estimate.value - value) < 3 * math.hypot(estimate.sigma, sigma)
    assert 0.3 < oracle.estimate("ess").value < 0.45
    assert oracle.notes == ()


@pytest.mark.parametrize(
    ("chains", "measurements", "fermions"),
    [
        (128, 40, {}),
        (48, 16, {"even_odd": False}),
        (48, 24, {"determinant": "pseudofermions"}),
        (32, 14, {"determinant": "pseudofermions", "even_odd": False, "hasenbusch": [0.1]}),
    ],
    ids=["exact-even-odd", "exact", "pseudofermions-even-odd", "hasenbusch"],
)
def test_hmc_agrees_with_the_reweighted_ensemble(
    oracle: Result, chains: int, measurements: int, fermions: dict[str, Any]
) -> None:
    settings = {"tolerance": 1e-8} | fermions
    hmc = small(chains=chains, warmup=25, measurements=measurements, correlator=False, fermions=settings)
    result = estimates_of(hmc, SYSTEM)
    for name in COMPARED:
        ours, reference = result.estimate(name), oracle.estimate(name)
        assert ours.sigma is not None
        assert reference.sigma is not None
        assert abs(ours.value - reference.value) < 3.5 * math.hypot(ours.sigma, reference.sigma)
    assert (result.estimate("plaquette").sigma or 1.0) < 0.01
    # Without the determinant the susceptibility is three times as large.
    assert result.estimate("topological_susceptibility").value < 0.009
    weight = result.estimate("exp_minus_delta_h")
    assert weight.sigma is not None
    assert abs(weight.value - 1.0) < 3.5 * weight.sigma


def test_a_few_effective_samples_are_noted() -> None:
    few = Reweighting(measurements=1, configurations=64, max_length=8, seed=0)
    result = estimates_of(few, Schwinger(length=6, beta=2.0, kappa=0.265))
    assert any("effective samples" in note for note in result.notes)


def test_conjugate_gradients_that_do_not_converge_end_the_run_and_say_so() -> None:
    hmc = small(fermions={"determinant": "pseudofermions", "max_iterations": 3})
    with pytest.raises(NotConverged, match="beyond its critical value"):
        hmc.step(hmc.init(SYSTEM), 0)


def test_reweighting_is_a_baseline_for_small_schwinger_models() -> None:
    assert isinstance(ORACLE, MonteCarloBaseline)
    assert not isinstance(ORACLE, KeepsEnsemble)
    assert ORACLE.supports(SYSTEM) is None
    assert "max_length" in (ORACLE.supports(Schwinger(length=16, beta=2.0, kappa=0.265)) or "")
    others: tuple[object, ...] = (SU3TwoD(length=4, beta=6.0, kappa=0.2), U1PureGauge(length=4, beta=2.0), {})
    for other in others:
        assert type(other).__name__ in (ORACLE.supports(other) or "")
    assert 0 < ORACLE.cost(SYSTEM).seconds < ORACLE.cost(Schwinger(length=8, beta=2.0, kappa=0.265)).seconds


def test_batches_are_functions_of_seed_and_number() -> None:
    state = ORACLE.init(SYSTEM)
    first, second, again = ORACLE.measure(state, 0), ORACLE.measure(state, 1), ORACLE.measure(state, 0)
    np.testing.assert_array_equal(first["log_weight"], again["log_weight"])
    assert not np.isin(first["plaquette"], second["plaquette"]).any()
    assert first["log_weight"].shape == (4096,)
    state.load_state_dict(state.state_dict())


@pytest.mark.parametrize(
    ("field", "value"), [("measurements", 0), ("configurations", 1), ("max_length", 1), ("seed", -1)]
)
def test_a_bad_setting_names_its_key(field: str, value: int) -> None:
    settings = {"measurements": 1, "configurations": 2, "max_length": 8, "seed": 0, field: value}
    with pytest.raises(ConfigError) as refusal:
        Reweighting(**settings)
    assert refusal.value.key == field


@pytest.mark.parametrize("kappa", [0.0, -0.1, math.inf])
def test_a_bad_hopping_parameter_names_its_key(kappa: float) -> None:
    with pytest.raises(ConfigError) as refusal:
        Schwinger(length=4, beta=2.0, kappa=kappa)
    assert refusal.value.key == "kappa"


def test_chains_do_not_know_each_other() -> None:
    """A batch of chains, one of which is changed, leaves the others as they were."""
    hmc = small(chains=4, correlator=False)
    state, other = hmc.init(SYSTEM), hmc.init(SYSTEM)
    other.links[2] = 0.0
    hmc.step(state, 0)
    hmc.step(other, 0)
    torch.testing.assert_close(state.links[[0, 1, 3]], other.links[[0, 1, 3]], atol=1e-10, rtol=0)
    assert not torch.equal(state.links[2], other.links[2])
