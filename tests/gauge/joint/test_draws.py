"""ESS against the number of draws batch by batch, and what spectra predict: Gaussians whose s are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipeline.base.numbers import rng
from pipeline.base.numbers.result import Curve, Estimate
from pipeline.base.numbers.statistics import effective_sample_size
from pipeline.gauge.joint.draws import of_batches, of_spectra, powers_of_two

N, MONOMIALS, COMPONENTS = 400, 2, 3


def record(k: int, low: float = 0.85, high: float = 1.6, draws: int = 8, broken: int = 0) -> dict[str, Any]:
    """A batch whose fields are Gaussians of covariance s relative to the target: log w = Σ (1 - s)|z|² + log s.

    Args:
        k: of the random numbers.
        low, high: limits of s.
        draws: N_pf.
        broken: configurations, the first ones, that have one s = 0.4.
    """
    generator = rng.numpy_generator(11, "test.gaussians", k)
    s = generator.uniform(low, high, size=(MONOMIALS, N, COMPONENTS))
    s[0, :broken, 0] = 0.4
    squares = generator.exponential(size=(MONOMIALS, N, draws, COMPONENTS))
    log_w = ((1.0 - s[:, :, None]) * squares + np.log(s[:, :, None])).sum(axis=-1)
    normalisers = generator.normal(size=(MONOMIALS, N)) + 7.0
    log_gauge = 0.3 * generator.normal(size=N) - 100.0
    with np.errstate(divide="ignore", invalid="ignore"):
        moments = np.where((s > 0.5).all(axis=-1), (s**2 / (2.0 * s - 1.0)).prod(axis=-1), np.inf)
    return {
        "log_gauge": log_gauge - normalisers.sum(axis=0),
        "log_ratios": log_w + normalisers[..., None],
        "log_marginal": log_gauge,
        "condition_numbers": 1.0 + generator.exponential(size=(MONOMIALS, N)),
        "smallest_eigenvalues": s.min(axis=-1),
        "weight_variances": moments - 1.0,
        "divergences": (s - 1.0 - np.log(s)).sum(axis=-1),
        "log_normalisers": normalisers,
    }


def named(found: tuple[list[Estimate], list[Curve]]) -> tuple[dict[str, Estimate], dict[str, Curve]]:
    return {e.name: e for e in found[0]}, {c.name: c for c in found[1]}


def test_powers() -> None:
    assert [powers_of_two(n) for n in (1, 2, 3, 8)] == [[1], [1, 2], [1, 2], [1, 2, 4, 8]]


def test_batches_rise_to_the_marginal_ess() -> None:
    estimates, curves = named(of_batches([record(k) for k in range(8)]))
    curve = curves["ess_by_draws_of_batches"]
    assert curve.x == (1.0, 2.0, 4.0, 8.0)
    assert (np.diff(curve.y) > 0.0).all()
    rise, marginal = estimates["ess_rise"], estimates["marginal_ess_of_batches"]
    assert rise.sigma is not None
    assert rise.value == pytest.approx(curve.y[-1] - curve.y[0])
    assert rise.value > 10.0 * rise.sigma
    assert marginal.value == pytest.approx(
        np.mean([effective_sample_size(record(k)["log_marginal"]) for k in range(8)])
    )
    for degree in (1, MONOMIALS):
        less = estimates[f"ess_limit_{degree}_less_marginal"]
        assert less.sigma is not None
        assert less.value == pytest.approx(estimates[f"ess_limit_{degree}"].value - marginal.value)
        assert not less.doubt
    two = estimates[f"ess_limit_{MONOMIALS}_less_marginal"]
    assert abs(two.value) < 4.0 * (two.sigma or 0.0)


def test_what_cannot_be_said_is_not() -> None:
    assert of_batches([record(0)]) == ([], [])
    assert of_batches([record(k, draws=1) for k in range(3)]) == ([], [])
    pair = [record(k, draws=2) for k in range(2)]
    for one in pair:
        del one["log_marginal"]
    estimates, _ = named(of_batches(pair))
    # two points, and a degree of two needs three
    assert set(estimates) == {"ess_rise", "ess_limit_1"}
    assert estimates["ess_limit_1"].doubt
    assert of_spectra([{"log_gauge": np.zeros(3)}]) == ([], [])


def test_spectra_predict_second_moments_and_ess() -> None:
    estimates, curves = named(of_spectra([record(k, draws=64) for k in range(4)]))
    assert estimates["infinite_variance"].value == 0.0
    moments = curves["weight_second_moment"]
    pulls = (np.array(moments.y) - np.array(moments.x)) / np.array(moments.sigma)
    assert (np.diff(moments.x) > 0.0).all()
    assert (abs(pulls) < 4.5).all()
    assert max(moments.sigma) < 0.1
    expected, measured = (np.array(curves[n].y) for n in ("expected_ess_by_draws_finite", "ess_by_draws_finite"))
    np.testing.assert_allclose(measured, expected, rtol=0.05)
    assert expected[0] < 0.97 * expected[-1]
    divergence = estimates["conditional_kl_exact"]
    assert divergence.n == 4 * N
    all_of_them = np.concatenate([record(k, draws=64)["divergences"].sum(axis=0) for k in range(4)])
    assert estimates["conditional_kl_median"].value == np.median(all_of_them)
    assert divergence.value == pytest.approx(all_of_them.mean())
    for i in range(MONOMIALS):
        mean, median = (estimates[f"condition_number_monomial_{i}{end}"] for end in ("", "_median"))
        assert mean.value == pytest.approx(2.0, rel=0.15)
        assert median.value == pytest.approx(1.0 + np.log(2.0), rel=0.15)
        assert estimates[f"condition_number_monomial_{i}_max"].value > 4.0


def test_configurations_without_a_variance_are_counted_and_left_out() -> None:
    estimates, curves = named(of_spectra([record(k, broken=N // 4) for k in range(2)]))
    share = estimates["infinite_variance"]
    assert share.value == pytest.approx(0.25)
    assert share.sigma == pytest.approx(np.sqrt(0.25 * 0.75 / (2 * N)), rel=0.01)
    assert np.isfinite(curves["weight_second_moment"].x).all()
    assert np.isfinite(curves["expected_ess_by_draws_finite"].y).all()
    smallest = curves["smallest_eigenvalue"]
    assert np.interp(0.5, smallest.x, smallest.y) == pytest.approx(0.25, abs=0.03)
    all_broken, left = named(of_spectra([record(0, broken=N)]))
    assert all_broken["infinite_variance"].value == 1.0
    assert set(left) == {"smallest_eigenvalue"}
