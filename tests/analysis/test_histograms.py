"""Histograms of weighted and correlated samples: covariances against repetition, p-values that are uniform."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from pipeline.analysis.histograms import Comparison, Sample, carried, compare, equal_edges, integer_edges, joined
from pipeline.base.numbers import rng

EDGES = np.array([-3.0, -0.8, 0.0, 0.5, 1.2, 3.0])
SHIFT = 0.7


def chains(k: int, count: int = 30, length: int = 12, memory: float = 0.6, shift: float = SHIFT) -> Sample:
    """Stationary autoregressive chains with the density of N(shift, 1)."""
    generator = rng.numpy_generator(11, "test.chains", k)
    x = np.empty((count, length))
    x[:, 0] = generator.standard_normal(count)
    for t in range(1, length):
        x[:, t] = memory * x[:, t - 1] + np.sqrt(1.0 - memory**2) * generator.standard_normal(count)
    return Sample.of_chains(x + shift)


def reweighted(k: int, n: int = 500) -> Sample:
    """N(0, 1) with the weights of N(SHIFT, 1): an effective sample is 0.61 of one."""
    x = rng.numpy_generator(12, "test.weighted", k).standard_normal(n)
    return Sample.weighted(x, SHIFT * x + 1000.0)


def exact() -> NDArray[np.float64]:
    """Probabilities of the bins, the outer ones open."""
    cumulative = stats.norm.cdf(EDGES - SHIFT)
    cumulative[0], cumulative[-1] = 0.0, 1.0
    return np.diff(cumulative)


@pytest.mark.parametrize("make", [chains, reweighted])
def test_fractions_and_their_covariance_against_repetitions(make: object) -> None:
    samples = [make(k) for k in range(600)]  # type: ignore[operator]
    fractions = np.array([sample.fractions(EDGES) for sample in samples])
    mean = np.mean([sample.covariance(EDGES) for sample in samples], axis=0)
    assert np.abs(mean.sum(axis=0)).max() < 1e-15
    values, sigmas = np.array([sample.mean for sample in samples]).T
    assert values.mean() == pytest.approx(SHIFT, abs=4.0 * values.std() / np.sqrt(600))
    assert np.sqrt((sigmas**2).mean()) == pytest.approx(values.std(), rel=0.15)
    assert np.abs(fractions.mean(axis=0) - exact()).max() < 4.0 * fractions.std() / np.sqrt(600)
    np.testing.assert_allclose(np.diag(mean), fractions.var(axis=0), rtol=0.2)
    np.testing.assert_allclose(mean, np.cov(fractions.T), atol=0.15 * mean.max())


def test_bootstraps_spread_like_the_covariance() -> None:
    sample = reweighted(3, n=2000)
    drawn = sample.bootstrap(EDGES, 400, rng.numpy_generator(1, "test.bootstrap"))
    assert drawn.sum(axis=1) == pytest.approx(1.0)
    np.testing.assert_allclose(drawn.std(axis=0), np.sqrt(np.diag(sample.covariance(EDGES))), rtol=0.15)
    of_chains = chains(3, count=100)
    spread = of_chains.bootstrap(EDGES, 400, rng.numpy_generator(2, "test.bootstrap")).std(axis=0)
    np.testing.assert_allclose(spread, np.sqrt(np.diag(of_chains.covariance(EDGES))), rtol=0.2)


def p_values(pairs: int, blind: bool = False) -> NDArray[np.float64]:
    """Of weighted draws against chains of the same density; ``blind`` to both weights and chains."""
    found = []
    for k in range(pairs):
        first, second = reweighted(k), chains(k, memory=0.85)
        if blind:
            second = Sample.weighted(second.values)
        p = compare(first, second, EDGES, fewest=10.0).p
        assert p is not None
        found.append(p)
    return np.array(found)


def test_p_is_uniform_for_equal_distributions() -> None:
    found = p_values(500)
    assert stats.kstest(found, "uniform").pvalue > 0.01
    assert abs(np.mean(found < 0.05) - 0.05) < 0.03


@pytest.mark.parametrize("tail", [1.5, 2.0])
def test_heavy_tails_of_weights_make_no_small_p(tail: float) -> None:
    """Log-normal ones, of which few make the estimate of the covariance: effective samples are not its degrees."""
    found = []
    for k in range(100):
        generator = rng.numpy_generator(6, "test.tails", k)
        x, log_w = generator.standard_normal((2, 4000))
        trusted = Sample.of_chains(generator.standard_normal((64, 32)))
        p = compare(Sample.weighted(x, tail * log_w), trusted, equal_edges(trusted, 30)).p
        if p is not None:
            found.append(p)
    assert len(found) > 50
    assert np.mean(np.array(found) < 0.05) < 0.1
    assert np.mean(np.array(found) < 0.01) < 0.04


def test_carried_samples() -> None:
    assert carried(np.ones(7)) == pytest.approx(7.0)
    assert carried(np.array([1.0, 0.0])) == 1.0
    assert carried(np.zeros(2)) == 0.0
    heavy = np.array([10.0] + [1.0] * 50)
    assert carried(heavy) < Sample.weighted(heavy, np.log(heavy)).effective


def test_p_would_not_be_uniform_if_chains_were_taken_for_independent_draws() -> None:
    assert np.mean(p_values(200, blind=True) < 0.05) > 0.12


def test_another_distribution_is_seen() -> None:
    found = [compare(reweighted(k, n=4000), chains(k, count=100, shift=SHIFT + 0.3), EDGES).p for k in range(5)]
    assert all(p is not None and p < 1e-3 for p in found)


def test_plain_counts_are_pearsons_test() -> None:
    """Independent draws without weights: Pearson's χ² of a two-row table, up to the pooling of fractions."""
    generator = rng.numpy_generator(4, "test.pearson")
    first, second = generator.standard_normal(20000), generator.standard_normal(30000)
    found = compare(Sample.weighted(first), Sample.weighted(second), EDGES)
    counts = [np.bincount(Sample.weighted(x).binned(EDGES)) for x in (first, second)]
    pearson = stats.chi2_contingency(np.array(counts))
    assert (found.dof, found.bins) == (pearson.dof, 5)
    assert found.chi2 == pytest.approx(pearson.statistic, rel=0.02)
    assert found.p == pytest.approx(pearson.pvalue, abs=0.01)


def test_bins_with_few_samples_are_joined() -> None:
    sample = Sample.weighted([0.1, 0.2, 1.5, 2.1, 2.2, 2.3, 9.0])
    edges = joined([0.0, 1.0, 2.0, 3.0, 4.0], [sample], fewest=3.0)
    assert edges.tolist() == [0.0, 2.0, 4.0]
    assert sample.fractions(edges) == pytest.approx([3 / 7, 4 / 7])
    assert joined([0.0, 1.0, 2.0], [sample], fewest=100.0).tolist() == [0.0, 2.0]


def test_corners() -> None:
    one = Sample.weighted([0.0])
    assert compare(one, one, [-1.0, 0.5, 1.0]) == Comparison(None, 0, None, 1)
    assert compare(one, one, [-1.0, 0.0, 1.0], fewest=0.0).p is None
    assert equal_edges(one, 2).tolist() == [-0.5, 0.0, 0.5]
    assert integer_edges(Sample.weighted([-1.0, 2.0])).tolist() == [-1.5, -0.5, 0.5, 1.5, 2.5]
    few = Sample.of_chains(np.linspace(0.0, 1.0, 40).reshape(2, 20))
    assert compare(few, few, [0.0, 0.2, 0.5, 0.8, 1.0], fewest=1.0).p is None
    with pytest.raises(ValueError, match="2 weights of 1 samples"):
        Sample.weighted([0.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="finite"):
        Sample.weighted([0.0], [np.nan])
    huge = Sample.weighted([0.0, 1.0], [1e6, -1e6])
    assert huge.fractions([-0.5, 0.5, 1.5]).tolist() == [1.0, 0.0]
