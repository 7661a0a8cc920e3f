"""Importance weights and independence Metropolis, on distributions whose answers are known."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from pipeline.base.numbers.result import Estimate
from pipeline.gauge.flow.weights import ess, independence_metropolis, kl_divergence, log_partition, reverse_kl


def lognormal(count: int, sigma: float) -> np.ndarray:
    """log w of mean 0.7 and deviation ``sigma``: Z = e^{0.7 + σ²/2}, KL = σ²/2."""
    return 0.7 + sigma * np.random.default_rng(0).normal(size=count)


def test_partition_function_and_divergence() -> None:
    found = log_partition(lognormal(100_000, 0.5))
    assert found.sigma is not None
    assert abs(found.value - (0.7 + 0.125)) < 3.0 * found.sigma
    # Var(w)/⟨w⟩² = e^{σ²} - 1
    assert found.sigma == pytest.approx(math.sqrt(math.expm1(0.25) / 100_000), rel=0.03)
    assert kl_divergence(lognormal(100_000, 0.5)) == pytest.approx(0.125, abs=0.01)


def test_effective_sample_size() -> None:
    """e^{-σ²} of lognormal weights, with an error that is the scatter of repetitions."""
    found = [ess(log_w) for log_w in lognormal(200 * 1000, 0.5).reshape(200, 1000)]
    values, sigmas = np.array([e.value for e in found]), np.array([e.sigma for e in found], dtype=float)
    assert abs(values.mean() - math.exp(-0.25)) < 0.003
    assert np.sqrt((sigmas**2).mean()) == pytest.approx(values.std(), rel=0.2)
    assert ess(np.full(100, 5.0)).value == pytest.approx(1.0)
    assert ess([0.0, -1000.0]).value == pytest.approx(0.5)
    assert ess([0.0, -1000.0]).doubt
    with pytest.raises(ValueError, match="no samples"):
        ess([])


@pytest.mark.parametrize("shift", [0.0, 1e4, -1e4])
def test_constant_weights_have_no_error_and_no_divergence(shift: float) -> None:
    found = log_partition(np.full(10, shift))
    assert found.value == pytest.approx(shift)
    assert found.sigma is None
    assert abs(kl_divergence(np.full(10, shift))) < 1e-9
    assert independence_metropolis(np.full(10, shift), np.random.default_rng(0)).acceptance == 1.0


def test_few_samples() -> None:
    assert log_partition([2.0]).value == pytest.approx(2.0)
    assert log_partition([2.0]).sigma is None
    assert log_partition([2.0, 1.0]).doubt
    with pytest.raises(ValueError, match="no samples"):
        log_partition([])


@pytest.mark.parametrize("estimate", [ess, log_partition])
def test_errors_of_poor_weights_are_in_doubt(estimate: Callable[[np.ndarray], Estimate]) -> None:
    """One weight that outweighs all others, and heavy tails: finite errors or none, never to be relied upon."""
    one = np.full(1000, -2000.0)
    one[7] = 0.0
    for log_w in (one, lognormal(1000, 3.0)):
        found = estimate(log_w)
        assert "effective samples" in found.doubt
        assert found.sigma is None or math.isfinite(found.sigma)
    assert ess(one).sigma is None
    assert estimate(lognormal(1000, 0.5)).reliable


def test_all_weight_in_one_block() -> None:
    """Worth enough samples, but the jackknife has nothing to divide by without it."""
    log_w = np.full(4000, -2000.0)
    log_w[:200] = 0.0
    assert (ess(log_w).sigma, ess(log_w).doubt) == (None, "no finite error")


def test_loss_is_the_mean_of_minus_log_w() -> None:
    log_target = torch.tensor([1.0, 2.0], dtype=torch.float64)
    log_prob = torch.tensor([0.5, 4.5], dtype=torch.float64, requires_grad=True)
    loss = reverse_kl(log_target, log_prob)
    assert float(loss.detach()) == 1.0
    loss.backward()
    assert torch.equal(log_prob.grad, torch.full((2,), 0.5, dtype=torch.float64))  # type: ignore[arg-type]


def test_the_chain_has_the_target_distribution() -> None:
    """Four states, one of them without weight; q uniform."""
    weight = np.array([1.0, 2.0, 5.0, 0.0])
    states = np.random.default_rng(1).integers(4, size=200_000)
    states[0] = 0
    with np.errstate(divide="ignore"):
        chain = independence_metropolis(np.log(weight)[states], np.random.default_rng(2))
    found = np.bincount(states[chain.positions], minlength=4) / len(states)
    np.testing.assert_allclose(found, weight / weight.sum(), atol=0.006)
    # Σ_{ij} p_i q_j min(1, w_j/w_i)
    expected = sum(weight[i] / 8.0 * 0.25 * min(1.0, weight[j] / weight[i]) for i in range(3) for j in range(4))
    assert chain.acceptance == pytest.approx(expected, abs=0.006)


def test_the_chain_is_a_walk_through_the_proposals() -> None:
    log_w = np.random.default_rng(3).normal(size=50)
    chain = independence_metropolis(log_w, np.random.default_rng(4))
    assert chain.positions[0] == 0
    for i in range(1, 50):
        assert chain.positions[i] == (i if chain.accepted[i] else chain.positions[i - 1])
        assert chain.accepted[i] or log_w[i] < log_w[chain.positions[i - 1]]
    assert 0.3 < chain.acceptance < 1.0
    one = independence_metropolis([-3.0], np.random.default_rng(5))
    assert one.positions.tolist() == [0]
    assert one.acceptance == 1.0


def test_a_pseudomarginal_chain_has_the_exact_marginal() -> None:
    """Weights multiplied by noise of mean 1 that a state keeps."""
    rng = np.random.default_rng(6)
    states = rng.integers(3, size=400_000)
    weight = np.array([1.0, 2.0, 5.0])
    noise = 0.6 * rng.normal(size=len(states)) - 0.18
    chain = independence_metropolis(np.log(weight)[states] + noise, rng)
    found = np.bincount(states[chain.positions], minlength=3) / len(states)
    np.testing.assert_allclose(found, weight / weight.sum(), atol=0.008)


@pytest.mark.parametrize("log_w", [[], [math.nan], [0.0, math.nan], [0.0, math.inf], [-math.inf, 0.0]])
def test_weights_that_make_no_chain(log_w: list[float]) -> None:
    with pytest.raises(ValueError, match=r"chain"):
        independence_metropolis(log_w, np.random.default_rng(0))
