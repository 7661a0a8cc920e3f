"""Counter-based seeds; errors of means against processes whose autocorrelation is known."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
import torch
from scipy.signal import lfilter

from pipeline.base.numbers.result import Estimate
from pipeline.base.numbers.rng import derive_seed, numpy_generator, torch_generator
from pipeline.base.numbers.statistics import (
    correlated_mean,
    doubted_by_mixing,
    doubts,
    effective_sample_size,
    gelman_rubin,
    independent_mean,
    integrated_autocorrelation_time,
    jackknife,
    split_r_hat,
    weighted_mean,
    with_control_variates,
)


def autoregressive(shape: tuple[int, ...], rho: float, seed: int) -> np.ndarray:
    """Stationary x_t = rho x_{t-1} + noise with unit variance: tau_int = (1 + rho) / (2 (1 - rho))."""
    noise = np.random.default_rng(seed).normal(size=shape) * np.sqrt(1 - rho**2)
    noise[..., 0] /= np.sqrt(1 - rho**2)
    return np.asarray(lfilter([1.0], [1.0, -rho], noise, axis=-1))


def test_seeds_are_distinct() -> None:
    triples = [(s, p, k) for s in range(20) for p in ("", "a", "b", "a/1", "1", "subspaces") for k in range(50)]
    seeds = {derive_seed(*triple) for triple in triples}
    assert len(seeds) == len(triples)
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert (
        len({derive_seed(1, "a/2", 3), derive_seed(1, "a", 2), derive_seed(12, "a", 3), derive_seed(1, "2/a", 3)}) == 4
    )


def test_seed_is_pinned() -> None:
    """The rule itself: old runs must stay reproducible."""
    digest = hashlib.sha256(b"7/subspaces/12").digest()
    assert derive_seed(7, "subspaces", 12) == int.from_bytes(digest[:8], "little") // 2
    assert derive_seed(7, "subspaces") == derive_seed(7, "subspaces", 0)
    assert derive_seed(int(np.int64(7)), "subspaces", 12) == derive_seed(np.int64(7), "subspaces", 12)  # type: ignore[arg-type]


def test_generators_are_reproducible() -> None:
    first = torch.randn(20, generator=torch_generator(3, "noise", 5))
    assert torch.equal(first, torch.randn(20, generator=torch_generator(3, "noise", 5)))
    for other in ((3, "noise", 6), (4, "noise", 5), (3, "signal", 5)):
        assert not torch.equal(first, torch.randn(20, generator=torch_generator(*other)))
    draws = numpy_generator(3, "noise", 5).normal(size=20)
    assert np.array_equal(draws, numpy_generator(3, "noise", 5).normal(size=20))
    assert not np.array_equal(draws, numpy_generator(3, "noise", 6).normal(size=20))


def test_generators_leave_the_global_streams_alone() -> None:
    before, legacy = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index, union-attr]
    torch_generator(1, "a").initial_seed()
    numpy_generator(1, "a").normal()
    assert torch.equal(before, torch.random.get_rng_state())
    assert np.array_equal(legacy, np.random.get_state()[1])  # type: ignore[index]


def test_streams_of_neighbouring_units_are_uncorrelated() -> None:
    streams = np.stack([torch.randn(2000, generator=torch_generator(1, "u", k)).numpy() for k in range(40)])
    correlations = np.corrcoef(streams)[np.triu_indices(40, 1)]
    assert abs(correlations).max() < 5 / np.sqrt(2000)


def test_independent_mean() -> None:
    mean = independent_mean([1.0, 2.0, 4.0, 5.0])
    assert (mean.value, mean.n, mean.tau) == (3.0, 4, None)
    assert mean.deviation == pytest.approx((10 / 3) ** 0.5)
    assert mean.sigma == pytest.approx((10 / 3) ** 0.5 / 2)
    assert mean.doubt == "only 4 samples"
    assert independent_mean([1.0, 2.0, 4.0, 5.0, 3.0]).doubt == ""


def test_mean_of_one_of_two_and_of_none() -> None:
    mean = independent_mean([2.5])
    assert (mean.value, mean.sigma, mean.deviation, mean.n) == (2.5, None, None, 1)
    assert mean.doubt == "only 1 sample"
    for two in ([2.0, 4.0], [3.0, 3.0]):
        mean = independent_mean(two)
        assert (mean.value, mean.sigma, mean.n, mean.doubt) == (3.0, None, 2, "only 2 samples")
    with pytest.raises(ValueError, match="no samples"):
        independent_mean([])


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.8, 0.95])
def test_autoregressive_time(rho: float) -> None:
    exact = 0.5 * (1 + rho) / (1 - rho)
    single = integrated_autocorrelation_time(autoregressive((400_000,), rho, 1))
    assert single == pytest.approx(exact, rel=0.06)
    chains = integrated_autocorrelation_time(autoregressive((64, 5000), rho, 2))
    assert chains == pytest.approx(exact, rel=0.06)


@pytest.mark.parametrize(("stretch", "window"), [(0.7, 3), (2.0, 8)])
def test_short_series_by_hand(stretch: float, window: int) -> None:
    """Sums of lagged products, the window and Wolff's correction written out."""
    n = 60
    x = autoregressive((n,), 0.8, 5)
    d, tau, expected = x - x.mean(), 0.5, 0.0
    for w in range(1, n // 2):
        tau += np.sum(d[: n - w] * d[w:]) / (n - w) / np.mean(d * d)
        decay = stretch / np.log((2 * tau + 1) / (2 * tau - 1))
        expected = tau * (1 + (2 * w + 1) / n) / (1 + 1 / n)
        if np.exp(-w / decay) < decay / np.sqrt(w * n):
            break
    assert w == window
    assert integrated_autocorrelation_time(x, stretch) == pytest.approx(expected, rel=1e-12)
    assert integrated_autocorrelation_time([0.0, 1.0]) == pytest.approx(0.5 * (1 + 3 / 2) / (1 + 1 / 2), rel=1e-12)


def test_two_chains_by_hand() -> None:
    """Chains on either side of the grand mean: every lag up to half a chain counts, none may wrap round the end."""
    x = np.array([[1.0, 4.0, 2.0, 6.0, 3.0, 2.0], [-5.0, -1.0, -2.0, -1.0, -7.0, -2.0]])
    rho = np.array([np.mean([np.sum(c[: 6 - t] * c[t:]) / (6 - t) for c in x]) for t in range(3)]) / np.mean(x**2)
    assert x.mean() == 0
    assert integrated_autocorrelation_time(x) == pytest.approx(
        (0.5 + rho[1:].sum()) * (1 + 5 / 12) / (1 + 1 / 12), rel=1e-12
    )


@pytest.mark.parametrize(
    ("n", "rho", "seed", "sigma", "tau"),
    [
        (1000, 19 / 21, 1, 0.15855203725891717, 13.00395410012848),
        (200, 19 / 21, 2, 0.10430142984779742, 3.082854209591057),
        (3000, 3 / 5, 5, 0.0428532242157421, 2.6601264863294114),
    ],
)
def test_errors_are_those_of_pyerrors(n: int, rho: float, seed: int, sigma: float, tau: float) -> None:
    """What the gamma_method of pyerrors 2.18 says of these series; it has Var (1 + 1/N) where Var N/(N-1) is here."""
    mean = correlated_mean(autoregressive((n,), rho, seed))
    assert mean.tau == pytest.approx(tau, rel=1e-9)
    assert mean.sigma == pytest.approx(sigma * (n**2 / (n**2 - 1)) ** 0.5, rel=1e-9)


def test_errors_of_short_series_are_not_low() -> None:
    """Mean error over the true one, of single AR(1) series of 100, 20 and 4 times their tau_int, and what is doubted.

    Without the correction (2W + 1)/N they were 3, 19 and 56 % low.
    """
    tau, trials = 5, 600
    rho, found = (2 * tau - 1) / (2 * tau + 1), {}
    for length in (100, 20, 4):
        n = length * tau
        t = np.arange(1, n)
        sigma = ((1 + 2 * np.sum((1 - t / n) * rho**t)) / n) ** 0.5
        means = [correlated_mean(x) for x in autoregressive((trials, n), rho, length)]
        ratio = np.mean([mean.sigma or np.nan for mean in means]) / sigma
        covered = np.mean([abs(mean.value) < 2 * (mean.sigma or np.nan) for mean in means])
        missed = (
            np.mean([abs(m.value) >= 2 * (m.sigma or np.nan) for m in means if not m.doubt]) if length > 20 else 0.0
        )
        found[length] = (ratio, covered, np.mean([bool(mean.doubt) for mean in means]), missed)
    assert found[100][0] == pytest.approx(1.0, abs=0.03)
    assert found[20][0] == pytest.approx(0.91, abs=0.04)
    assert found[4][0] == pytest.approx(0.56, abs=0.06)
    assert found[100][1] > 0.92
    assert found[20][1] > 0.86
    assert found[100][2] < 0.1
    assert found[20][2] > 0.9
    assert found[4][2] == 1.0
    assert found[100][3] < 0.09


def test_series_too_short_to_know_say_so() -> None:
    single = correlated_mean(autoregressive((30,), 19 / 21, 1))
    assert single.doubt == f"the chain is only {30 / (single.tau or 0):.3g} τ_int long"
    few = correlated_mean(autoregressive((2, 30), 0.6, 1))
    assert few.doubt.startswith("all chains together are only ")
    many = correlated_mean(autoregressive((50, 12), 0.6, 1))
    assert many.doubt == f"chains are only {12 / (many.tau or 0):.3g} τ_int long"
    assert correlated_mean(autoregressive((50, 30), 0.6, 1)).doubt == ""
    assert not single.estimate("energy").reliable
    assert single.estimate("energy").scaled(2.0, "per site").doubt == single.doubt
    assert correlated_mean(autoregressive((50, 30), 0.6, 1)).estimate("energy").reliable


def test_anticorrelated_series_is_not_rewarded() -> None:
    assert integrated_autocorrelation_time(autoregressive((20_000,), -0.7, 3)) == pytest.approx(0.5, rel=1e-3)


def test_chains_that_disagree_are_slow() -> None:
    """Variance about the grand mean: stuck chains must not look well mixed."""
    noise = np.random.default_rng(4).normal(size=(4, 1000))
    assert integrated_autocorrelation_time(noise + np.array([[0.0], [0.0], [8.0], [8.0]])) > 100


def test_independent_samples() -> None:
    x = np.random.default_rng(5).normal(3.0, 2.0, size=100_000)
    assert integrated_autocorrelation_time(x) == pytest.approx(0.5, abs=0.02)
    mean = correlated_mean(x)
    assert mean.n == 100_000
    assert mean.value == pytest.approx(x.mean(), rel=1e-14)
    assert mean.deviation == pytest.approx(x.std(ddof=1), rel=1e-14)
    assert mean.sigma == pytest.approx(x.std(ddof=1) / np.sqrt(100_000), rel=0.02)


def test_invariance() -> None:
    x = autoregressive((5000,), 0.7, 6)
    tau = integrated_autocorrelation_time(x)
    assert integrated_autocorrelation_time(1e3 * x - 17.0) == pytest.approx(tau, rel=1e-9)
    assert integrated_autocorrelation_time(x[::-1]) == pytest.approx(tau, rel=1e-9)


def test_coverage() -> None:
    """68 % of the intervals hold the true mean; without tau it would be 30 %."""
    rho, trials = 0.8, 600
    series = autoregressive((trials, 3000), rho, 7)
    means = [correlated_mean(x) for x in series]
    pulls = np.array([mean.value / mean.sigma for mean in means if mean.sigma])
    assert len(pulls) == trials
    assert np.mean(abs(pulls) < 1) == pytest.approx(0.683, abs=4 * 0.019)
    assert np.mean(abs(pulls) < 2) == pytest.approx(0.954, abs=4 * 0.009)
    naive = series.mean(1) / (series.std(1) / np.sqrt(3000))
    assert np.mean(abs(naive) < 1) < 0.4


def test_coverage_of_several_chains() -> None:
    trials, chains, n = 400, 8, 500
    series = autoregressive((trials, chains, n), 0.7, 8)
    pulls = np.array([mean.value / mean.sigma for mean in map(correlated_mean, series) if mean.sigma])
    assert correlated_mean(series[0]).n == chains * n
    assert np.std(pulls) == pytest.approx(1.0, abs=0.16)


@pytest.mark.parametrize("value", [0.0, 2.0, -1024.0])
def test_constant_series(value: float) -> None:
    x = np.full(1000, value)
    assert integrated_autocorrelation_time(x) == 0.5
    for mean in (correlated_mean(x), independent_mean(x), weighted_mean(x, np.zeros(1000))):
        assert mean.value == pytest.approx(value, rel=1e-14)
        assert mean.sigma is None, "nothing was seen to vary: not an error of zero"
        assert mean.doubt == "all 1000 samples have the same value"
        assert mean.estimate("energy").sigma_kind == "none"


def test_constant_series_that_is_not_a_binary_fraction() -> None:
    times = [
        integrated_autocorrelation_time(np.full(n, v)) for n in (10, 100, 1000) for v in (0.1, 0.3, -3.7, 1e5 + 0.1)
    ]
    assert times == [0.5] * 12


@pytest.mark.parametrize("series", [[1.0], [[1.0], [2.0]], []])
def test_too_few_samples(series: list[float]) -> None:
    with pytest.raises(ValueError, match="at least two samples"):
        integrated_autocorrelation_time(series)
    with pytest.raises(ValueError, match="at least two samples"):
        correlated_mean(series)


def test_r_hat_of_chains_that_agree_and_that_do_not() -> None:
    rng = np.random.default_rng(0)
    same = rng.standard_normal((8, 4000))
    assert split_r_hat(same) == pytest.approx(1.0, abs=2e-3)
    apart = same + np.array([0.0, 1.0] * 4)[:, None]
    # B/n = the variance of eight pairs of equal means, 0 and 1
    assert split_r_hat(apart) == pytest.approx((1 + np.var([0.0, 1.0] * 8, ddof=1)) ** 0.5, abs=0.01)
    drifting = same + np.linspace(0, 3, 4000)
    assert split_r_hat(drifting) > 1.2
    assert split_r_hat(drifting[0]) > 1.2


def test_r_hat_from_its_definition() -> None:
    x = np.array([[1.0, 2.0, 9.0, 4.0, 5.0], [0.0, 2.0, 9.0, 2.0, 1.0]])
    halves = [np.array(h) for h in ([1.0, 2.0], [0.0, 2.0], [4.0, 5.0], [2.0, 1.0])]
    within = np.mean([h.var(ddof=1) for h in halves])
    between = 2 * np.var([h.mean() for h in halves], ddof=1)
    assert split_r_hat(x) == pytest.approx(((within / 2 + between / 2) / within) ** 0.5, rel=1e-12)


def test_r_hat_without_fluctuations() -> None:
    assert split_r_hat(np.ones((3, 6))) == 1.0
    assert split_r_hat(np.repeat([[1.0], [2.0]], 6, axis=1)) == float("inf")
    with pytest.raises(ValueError, match="four samples"):
        split_r_hat(np.ones((3, 3)))


def test_control_variates_take_away_what_they_explain() -> None:
    """x = 3 + 2 u - v + w with known mean zero of u and v: what is left is w."""
    chains, n = 4, 500
    u, v, w = np.random.default_rng(9).normal(size=(3, chains, n))
    improved = with_control_variates(3.0 + 2.0 * u - v + 0.1 * w, np.stack([u, v], axis=-1))
    assert improved.shape == (chains, n)
    assert improved.std() == pytest.approx(0.1, rel=0.05)
    np.testing.assert_allclose(improved, 3.0 + 0.1 * w, atol=0.05)


def test_control_variates_keep_means_unbiased_and_errors_honest() -> None:
    """Few samples and useless controls: coefficients from the same chain would make the errors too small."""
    trials, chains, n, p = 400, 3, 30, 5
    generator = np.random.default_rng(10)
    pulls = []
    for _ in range(trials):
        improved = with_control_variates(generator.normal(size=(chains, n)), generator.normal(size=(chains, n, p)))
        pulls.append(improved.mean() / (improved.std(ddof=1) / np.sqrt(chains * n)))
    assert np.mean(pulls) == pytest.approx(0.0, abs=4 / np.sqrt(trials))
    assert np.std(pulls) == pytest.approx(1.0, abs=0.15)


def test_too_few_samples_for_their_controls_are_left_alone() -> None:
    series, controls = np.random.default_rng(11).normal(size=(2, 29)), np.ones((2, 29, 2))
    np.testing.assert_array_equal(with_control_variates(series, controls), series)
    np.testing.assert_array_equal(with_control_variates(series[:1], controls[:1]), series[:1])


def test_gelman_rubin() -> None:
    """By hand: means 2 and 4, variances 1 and 1, n = 3: sqrt(2/3 + 2)."""
    assert gelman_rubin([[1.0, 2.0, 3.0], [3.0, 4.0, 5.0]]) == pytest.approx((2 / 3 + 2) ** 0.5)
    assert gelman_rubin(np.random.default_rng(12).normal(size=(4, 2000))) == pytest.approx(1.0, abs=0.005)
    assert gelman_rubin([[1.0, 1.0], [1.0, 1.0]]) == 1.0
    assert gelman_rubin([[1.0, 1.0], [2.0, 2.0]]) == float("inf")


def test_doubts_are_named_once() -> None:
    short = "the chain is only 9 τ_int long"
    estimates = [Estimate("a", 0.0, doubt=short), Estimate("b", 0.0), Estimate("c", 0.0, doubt=short)]
    assert doubts(estimates) == [f"Errors unknown or not to be relied upon: a, c ({short})."]
    assert doubts(estimates[1:2]) == []


def test_jackknife_of_a_mean_is_the_standard_error() -> None:
    x = np.random.default_rng(2).normal(size=(30, 2))
    value, sigma = jackknife(x, lambda mean: mean)
    np.testing.assert_allclose(value, x.mean(axis=0))
    np.testing.assert_allclose(sigma, x.std(axis=0, ddof=1) / np.sqrt(30))


def test_jackknife_error_of_a_ratio_is_what_repetition_gives() -> None:
    samples = np.random.default_rng(3).normal([2.0, 1.0], [0.3, 0.2], size=(400, 50, 2))
    values, sigmas = zip(*(jackknife(x, lambda mean: mean[0] / mean[1]) for x in samples), strict=True)
    assert np.mean(sigmas) == pytest.approx(np.std(values), rel=0.1)


def test_jackknife_needs_two_blocks() -> None:
    with pytest.raises(ValueError, match="two blocks"):
        jackknife([1.0], lambda mean: mean)


def test_weighted_mean_and_its_error() -> None:
    """Reweighting a standard normal by e^{x/2}: a normal around 1/2, with 1/ESS = ⟨w²⟩/⟨w⟩² = e^{1/4}."""
    generator = np.random.default_rng(4)
    repeated = []
    for _ in range(200):
        x = generator.normal(size=500)
        mean = weighted_mean(x, 0.5 * x + 1000.0)
        repeated.append((mean.value, mean.sigma or np.nan, effective_sample_size(0.5 * x + 1000.0)))
    means, sigmas, ess = np.array(repeated).T
    assert abs(means.mean() - 0.5) < 4 * means.std() / 200**0.5
    assert sigmas.mean() == pytest.approx(means.std(), rel=0.15)
    assert ess.mean() == pytest.approx(np.exp(-0.25), rel=0.02)


def test_equal_weights_are_no_weights() -> None:
    x = np.random.default_rng(5).normal(size=40)
    mean = weighted_mean(x, np.full(40, -3.0))
    assert mean.value == pytest.approx(x.mean())
    assert mean.sigma == pytest.approx(x.std() / 40**0.5)
    assert mean.doubt == "only 40 effective samples"
    lonely = weighted_mean(x, np.where(np.arange(40) == 3, 0.0, -50.0))
    assert (lonely.sigma, lonely.doubt) == (None, "only 1 effective samples")
    assert effective_sample_size(np.full(40, -3.0)) == pytest.approx(1.0)
    assert effective_sample_size([0.0, -1e4, -1e4, -1e4]) == pytest.approx(0.25)


@pytest.mark.parametrize("mean", [independent_mean, correlated_mean])
def test_samples_that_differ_by_rounding_have_no_error(mean: Any) -> None:
    """A deviation of 1e-15 is no better known than one of 0."""
    same = -780.0 * (1.0 + 1e-15 * np.arange(8.0))
    assert np.ptp(same) > 0
    found = mean(same)
    assert (found.sigma, found.doubt) == (None, "all 8 samples have the same value")
    assert mean(-780.0 * (1.0 + 1e-9 * np.arange(8.0))).sigma > 0


def test_chains_that_disagree_put_their_errors_in_doubt() -> None:
    """R-hat of the whole run counts for all, one of a name for that name; what has no error has none to doubt."""
    names = ("energy", "charge", "variance")
    numbers = [Estimate(name, 1.0, 0.1, "standard-error", tau=1.0) for name in names]
    apart = doubted_by_mixing([*numbers, Estimate("fixed", 1.0, 0.0), Estimate("r_hat", 1.38)])
    assert [e.doubt for e in apart] == [*["chains disagree: R-hat 1.38 is above 1.1"] * 3, "", ""]
    one = doubted_by_mixing([*numbers, Estimate("r_hat", 1.05), Estimate("r_hat_charge", 1.2)])
    assert [bool(e.doubt) for e in one] == [False, True, False, False, False]
    assert doubted_by_mixing(one) == one
    short = Estimate("energy", 1.0, 0.1, "standard-error", tau=1.0, doubt="too short")
    assert doubted_by_mixing([short, Estimate("r_hat", 2.0)])[0].doubt == "too short"
