"""Summaries of weighted configurations, from arrays alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipeline.base.numbers import rng
from pipeline.gauge.flow.weights import independence_metropolis
from pipeline.gauge.joint.summary import divergence, quality, reweighted, summarise
from pipeline.gauge.pseudofermion.estimators import log_determinant


def record(n: int, monomials: int = 2, draws: int = 4, spread: float = 0.5, **more: Any) -> dict[str, Any]:
    generator = rng.numpy_generator(5, "test.summary", n)
    return {
        "log_gauge": spread * generator.standard_normal(n) - 300.0,
        "log_ratios": spread * generator.standard_normal((monomials, n, draws)) + 40.0,
        "plaquette": generator.random(n),
        "topological_charge": generator.integers(-1, 2, n),
        "volume": 16,
        "log_volume": 0.0,
        "seed": 1,
        "metropolis": 0,
        **more,
    }


def test_error_is_that_of_leaving_out_each_sample() -> None:
    generator = rng.numpy_generator(2, "test.jackknife")
    x, log_w = generator.standard_normal(200), 0.3 * generator.standard_normal(200) + 800.0
    w = np.exp(log_w - 800.0)
    others = [np.delete(np.arange(200), i) for i in range(200)]
    left_out = np.array([w[i] @ x[i] / w[i].sum() for i in others])
    found = reweighted("x", x, log_w)
    assert found.value == pytest.approx(w @ x / w.sum())
    assert found.sigma == pytest.approx(np.sqrt(199 / 200 * ((left_out - left_out.mean()) ** 2).sum()))


def test_jackknife_and_bootstrap_agree() -> None:
    """The paper has bootstrap errors; leaving out single samples gives the same without a random number."""
    generator = rng.numpy_generator(4, "test.bootstrap")
    x, log_w = generator.random(3000), 1.2 * generator.standard_normal(3000)
    w, again = np.exp(log_w), generator.integers(0, 3000, (400, 3000))
    means = (w * x)[again].sum(axis=1) / w[again].sum(axis=1)
    assert reweighted("x", x, log_w).sigma == pytest.approx(means.std(ddof=1), rel=0.12)


def test_equal_weights_give_plain_means_and_perfect_quality() -> None:
    one = record(50, spread=0.0, log_marginal=np.zeros(50))
    found = summarise([one, one])
    assert found.estimate("plaquette").value == pytest.approx(one["plaquette"].mean())
    assert found.estimate("topological_susceptibility").value == pytest.approx(
        (one["topological_charge"] ** 2).mean() / 16
    )
    for name in ("joint_ess", "marginal_ess", "ess_all_draws"):
        assert found.estimate(name).value == pytest.approx(1.0)
    for name in ("joint_kl", "marginal_kl"):
        assert found.estimate(name).value == pytest.approx(0.0, abs=1e-12)


def test_more_draws_are_worth_more() -> None:
    result = summarise([record(400, spread=0.8), record(300, spread=0.8)])
    curve = result.curves[0]
    assert curve.x == (1.0, 2.0, 4.0)
    assert curve.y[0] < curve.y[1] < curve.y[2]
    assert all(sigma > 0.0 for sigma in curve.sigma)
    assert curve.y[2] == pytest.approx(result.estimate("ess_all_draws").value)


def test_divergence_of_normal_log_weights() -> None:
    """Of log w with variance s² it is s²/2; the error covers it, and is that of repetitions."""
    generator = rng.numpy_generator(3, "test.kl")
    found = [divergence("kl", 0.6 * generator.standard_normal(2000)) for _ in range(60)]
    values, errors = np.array([f.value for f in found]), np.array([f.sigma for f in found], dtype=float)
    assert abs(values.mean() - 0.18) < 4.0 * errors.mean() / np.sqrt(60)
    assert values.std() == pytest.approx(errors.mean(), rel=0.35)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_samples_have_doubts_and_no_wrong_errors(n: int) -> None:
    result = summarise([record(n, draws=1, log_marginal=np.zeros(n))])
    assert result.not_finite() is None
    for name in ("plaquette", "plaquette_exact_weights", "joint_ess"):
        assert result.estimate(name).doubt
    assert "joint_ess" in " ".join(result.notes)


def test_one_configuration_with_all_the_weight() -> None:
    one = record(100)
    one["log_gauge"][7] += 2000.0
    result = summarise([one])
    assert result.not_finite() is None
    assert result.estimate("joint_ess").doubt == "only 1 effective samples"
    found = result.estimate("plaquette")
    assert found.value == pytest.approx(one["plaquette"][7])
    assert "effective samples" in found.doubt


def test_metropolis_keeps_to_the_weights() -> None:
    one = record(4000, spread=0.4, metropolis=1)
    result = summarise([one])
    ours, chain = result.estimate("plaquette"), result.estimate("plaquette_metropolis")
    assert ours.sigma is not None
    assert chain.sigma is not None
    assert abs(ours.value - chain.value) < 4.0 * np.hypot(ours.sigma, chain.sigma)
    assert 0.3 < result.estimate("acceptance").value < 0.9
    charge = one["topological_charge"]
    log_w = one["log_gauge"] + log_determinant(one["log_ratios"], 4)[0]
    positions = independence_metropolis(log_w, rng.numpy_generator(1, "joint flow metropolis")).positions
    assert result.estimate("topological_charge_metropolis").value == pytest.approx(charge[positions].mean())
    susceptibility = result.estimate("topological_susceptibility_metropolis")
    assert susceptibility.value == pytest.approx((charge[positions] ** 2).mean() / 16)
    assert susceptibility.tau is not None
    del one["topological_charge"]
    assert not [e.name for e in summarise([one]).estimates if "topological" in e.name]


def test_quality_of_weights_that_are_not_finite_is_not_given() -> None:
    assert quality("joint", np.array([0.0, np.nan])) == {}
    assert quality("joint", np.zeros(3)) == {"joint_ess": 1.0, "joint_kl": 0.0}
