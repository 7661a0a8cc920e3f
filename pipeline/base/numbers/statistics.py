"""Errors of correlated and independent samples."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from pipeline.base.later import ArrayLike, NDArray, np
from pipeline.base.numbers.result import Bound, Estimate

CHAIN_PER_TAU = 10
"""Autocorrelation times in each chain: the window of τ_int, about five of them, must fit into half a chain."""

SERIES_PER_TAU = 50
"""Autocorrelation times in all chains together, below which the estimate of τ_int is itself too low.

Of AR(1) series of 100, 50, 20 and 4 times their τ_int the mean error is right within 1 % twice, then 9 and 44 % low;
two errors hold the mean in 94, 93, 89 and 70 % instead of 95 %. Series that look long by chance are worse: with this
bound at most 6 % of any length are thought long enough and miss by more than two errors.
"""

FEWEST_SAMPLES = 3
"""Fewer independent samples give no error: that of two is wrong by a factor of two in four cases of ten."""

FEW_SAMPLES = 5
"""Fewer give an error that is a guess: two errors then hold the mean in 86 % or less instead of 95 % (Student's t)."""

FEWEST_EFFECTIVE = 100.0
"""Fewer effective weighted samples than this do not show how heavy the tail of the weights is."""

MOST_R_HAT = 1.1
"""Above it chains do not sample one distribution, and what they spread within themselves is no error of their mean."""

SAME = 1e-12
"""Samples that differ by less than this, relative to their size, differ by rounding alone."""

BINS_PER_CONTROL = 10
"""Fewer bins than this for each control variate do not determine its coefficient."""


@dataclass(frozen=True)
class Mean:
    """A sample mean.

    Attributes:
        value: the mean.
        sigma: its standard error; None where samples are too few or all the same, which tells nothing of an error.
        deviation: standard deviation of the samples; None for a single one.
        n: number of samples.
        tau: integrated autocorrelation time; None for independent samples, or where nothing varies.
        doubt: why ``sigma`` is unknown or a guess (see :class:`pipeline.base.numbers.result.Estimate`).
    """

    value: float
    sigma: float | None
    deviation: float | None
    n: int
    tau: float | None = None
    doubt: str = ""

    def estimate(self, name: str, unit: str = "1", bound: Bound = "none", against: str = "") -> Estimate:
        """The mean by name; without a spread, for samples are neither seeds nor subspaces."""
        return Estimate(
            name,
            self.value,
            self.sigma,
            "standard-error" if self.sigma else "none",
            unit=unit,
            bound=bound,
            n=self.n,
            tau=self.tau,
            against=against,
            doubt=self.doubt,
        )


def doubt_of_few(n: int, one: str = "sample", many: str = "samples") -> str:
    """Why the error from ``n`` independent samples is unknown or a guess; empty where there are enough."""
    return f"only {n} {one if n == 1 else many}" if n < FEW_SAMPLES else ""


def doubt_of_equals(n: int) -> str:
    """Why samples that are all the same have no error."""
    return f"all {n} samples have the same value"


def is_rounding(spread: float, size: float) -> bool:
    """Whether samples of this size and spread are all the same but for rounding."""
    return spread <= SAME * abs(size)


def _all_same(x: NDArray[np.float64]) -> bool:
    return is_rounding(float(np.ptp(x)), float(np.abs(x).max()))


def doubt_of_mixing(r_hat: float) -> str:
    """Why errors from chains that disagree are too small; empty where they agree."""
    return f"chains disagree: R-hat {r_hat:.3g} is above {MOST_R_HAT:g}" if r_hat > MOST_R_HAT else ""


def doubted_by_mixing(estimates: Iterable[Estimate]) -> tuple[Estimate, ...]:
    """Estimates of one run, those with an error from chains in doubt where R-hat says so.

    R-hat itself is among them: ``r_hat``, of the quantity that decides on the chains as a whole, is held against all of
    them, ``r_hat_<name>`` against the one of that name. Other doubts stay.
    """
    found = tuple(estimates)
    r_hats = {e.name: e.value for e in found if e.name.startswith("r_hat")}
    if not r_hats:
        return found

    def doubted(estimate: Estimate) -> Estimate:
        if estimate.doubt or not estimate.sigma:
            return estimate
        worst = max(r_hats.get("r_hat", 1.0), r_hats.get(f"r_hat_{estimate.name}", 1.0))
        return replace(estimate, doubt=doubt_of_mixing(worst))

    return tuple(doubted(e) for e in found)


def independent_mean(samples: ArrayLike) -> Mean:
    """Mean of independent samples (shape (n,)).

    Raises:
        ValueError: no samples.
    """
    x = np.asarray(samples, dtype=float).ravel()
    if x.size == 0:
        raise ValueError("mean of no samples")
    if x.size == 1:
        return Mean(float(x[0]), None, None, 1, doubt=doubt_of_few(1))
    value, deviation = float(x.mean()), float(x.std(ddof=1))
    if x.size >= FEWEST_SAMPLES and _all_same(x):
        return Mean(value, None, 0.0, int(x.size), doubt=doubt_of_equals(x.size))
    sigma = deviation / float(np.sqrt(x.size)) if x.size >= FEWEST_SAMPLES else None
    return Mean(value, sigma, deviation, int(x.size), doubt=doubt_of_few(x.size))


def integrated_autocorrelation_time(series: ArrayLike, stretch: float = 2.0) -> float:
    """tau_int = 1/2 + sum_t rho(t) of chains with shape (chains, n), in units of the spacing of the samples.

    The Γ method (U. Wolff, Comput. Phys. Commun. 156, 143 (2004), hep-lat/0306017): the autocovariance is averaged over
    chains about the grand mean, so that chains which disagree are slow ones. The sum ends at the first W at which the
    statistical error of what is added outgrows the part that is left out, exp(-W/τ) < τ/sqrt(W N) with
    τ = ``stretch`` / log((2 tau_int + 1)/(2 tau_int - 1)), and at half a chain at the latest. Every autocovariance is
    too low by the variance of the mean, about which it is taken: tau_int is raised by the factor
    (1 + (2W + 1)/N)/(1 + 1/N) (Eq. 49). Uncorrelated samples give 1/2, as does a constant series, since nothing can be
    learnt from it; anticorrelated ones are not rewarded.

    Raises:
        ValueError: fewer than two samples a chain.
    """
    x = np.atleast_2d(np.asarray(series, dtype=float))
    n = x.shape[1]
    if n < 2:
        raise ValueError("autocorrelation needs at least two samples a chain")
    if _all_same(x):
        return 0.5
    covariance = _autocovariance(x, max(2, n // 2))
    if covariance[0] <= 0:
        return 0.5
    # 1/2 itself has no logarithm
    tau = np.maximum(0.5 + np.cumsum(covariance[1:] / covariance[0]), 0.5 + np.finfo(float).eps)
    windows = np.arange(1, len(tau) + 1)
    decay = stretch / np.log((2 * tau + 1) / (2 * tau - 1))
    closed = np.exp(-windows / decay) < decay / np.sqrt(windows * x.size)
    cut = int(np.argmax(closed)) if closed.any() else len(tau) - 1
    return float(tau[cut] * (1 + (2 * windows[cut] + 1) / x.size) / (1 + 1 / x.size))


def _autocovariance(x: NDArray[np.float64], lags: int) -> NDArray[np.float64]:
    """Mean over chains (chains, n) of the products of deviations from the grand mean, at lags 0, 1, ... < ``lags``."""
    n = x.shape[1]
    x = x - x.mean()
    size = 2 ** int(np.ceil(np.log2(2 * n)))
    spectrum = np.fft.rfft(x, n=size, axis=1)
    covariance = np.fft.irfft(spectrum * spectrum.conj(), n=size, axis=1)[:, :lags].mean(axis=0)
    found: NDArray[np.float64] = covariance / np.arange(n, n - lags, -1)
    return found


def correlated_mean(series: ArrayLike) -> Mean:
    """Mean of chains (chains, n) with its error from tau_int: sigma^2 = 2 tau_int Var / (chains * n).

    Raises:
        ValueError: fewer than two samples a chain.
    """
    x = np.atleast_2d(np.asarray(series, dtype=float))
    tau, value = integrated_autocorrelation_time(x), float(x.mean())
    if _all_same(x):
        return Mean(value, None, 0.0, x.size, doubt=doubt_of_equals(x.size))
    deviation = float(x.std(ddof=1))
    sigma = deviation * float(np.sqrt(2.0 * tau / x.size)) if x.size >= FEWEST_SAMPLES else None
    return Mean(value, sigma, deviation, x.size, tau, doubt_of_length(x.shape[0], x.shape[1], tau))


def doubt_of_length(chains: int, n: float, tau: float) -> str:
    """Why the error from chains of length ``n`` is a guess; empty where they are long enough."""
    if n < CHAIN_PER_TAU * tau:
        return f"{'the chain is' if chains == 1 else 'chains are'} only {n / tau:.3g} τ_int long"
    if chains * n < SERIES_PER_TAU * tau:
        return f"{'the chain is' if chains == 1 else 'all chains together are'} only {chains * n / tau:.3g} τ_int long"
    return ""


def with_control_variates(series: ArrayLike, controls: ArrayLike) -> NDArray[np.float64]:
    """``series`` (chains, n) plus the combination of ``controls`` (chains, n, p) that makes its variance least.

    The exact mean of every control must be zero. The coefficients for a chain are least squares over all other chains,
    hence independent of what they multiply: the mean stays unbiased and its error honest. With one chain, or fewer than
    10 (p + 1) samples in the others, the series comes back as it is.
    """
    x, c = np.asarray(series, dtype=float), np.asarray(controls, dtype=float)
    chains, n, p = c.shape
    if (chains - 1) * n < BINS_PER_CONTROL * (p + 1):
        return x
    improved = np.empty_like(x)
    for chain in range(chains):
        others = np.arange(chains) != chain
        y, z = x[others].ravel(), c[others].reshape(-1, p)
        coefficients = np.linalg.lstsq(z - z.mean(axis=0), y - y.mean(), rcond=None)[0]
        improved[chain] = x[chain] - c[chain] @ coefficients
    return improved


def gelman_rubin(series: ArrayLike) -> float:
    """R-hat of chains with shape (chains, n), both at least 2: sqrt((n-1)/n + B/(nW)), B/n and W the variances of the
    chains' means and the mean of their variances; 1 when all agree, and when nothing varies at all.

    Gelman and Rubin, Statist. Sci. 7, 457 (1992).
    """
    x = np.asarray(series, dtype=float)
    n = x.shape[1]
    within = x.var(axis=1, ddof=1).mean()
    between = x.mean(axis=1).var(ddof=1)
    if not np.ptp(x, axis=1).any():  # the variance of equal numbers is not exactly zero
        return 1.0 if np.ptp(x) == 0 else float("inf")
    return float(np.sqrt((n - 1) / n + between / within))


def split_r_hat(series: ArrayLike) -> float:
    """Gelman and Rubin's R-hat of chains (chains, n), each split into halves; 1 where all halves agree.

    R-hat² = (n-1)/n + B/(n W), with W the mean variance within halves of length n and B/n the variance of their means.
    Without fluctuations it is 1 if all values are equal and infinite if not: chains that are stuck.

    Raises:
        ValueError: fewer than four samples a chain.
    """
    x = np.atleast_2d(np.asarray(series, dtype=float))
    half = x.shape[1] // 2
    if half < 2:
        raise ValueError("R-hat needs at least four samples a chain")
    halves = np.concatenate([x[:, :half], x[:, -half:]])
    return gelman_rubin(halves)


def doubts(estimates: Iterable[Estimate]) -> list[str]:
    """One sentence on all estimates whose errors are guesses, each with the reason; none where there are no such."""
    why: dict[str, list[str]] = {}
    for estimate in estimates:
        if estimate.doubt:
            why.setdefault(estimate.doubt, []).append(estimate.name)
    named = "; ".join(f"{', '.join(names)} ({doubt})" for doubt, names in why.items())
    return [f"Errors unknown or not to be relied upon: {named}."] if why else []


def jackknife(blocks: ArrayLike, estimator: Callable[[NDArray[np.float64]], ArrayLike]) -> tuple[Any, Any]:
    """A function of means with its standard error, from leaving out one block at a time.

    Args:
        blocks: means over independent blocks of equal size, (n, ...), n at least 2.
        estimator: from the mean over blocks, shape (...), to a number or an array.

    Returns:
        The estimate from all blocks and its error sqrt((n-1)/n Σ (e_i - ē)²), of the shape that the estimator returns.

    Raises:
        ValueError: fewer than two blocks.
    """
    x = np.asarray(blocks, dtype=float)
    n = len(x)
    if n < 2:
        raise ValueError("the jackknife needs at least two blocks")
    total = x.sum(axis=0)
    left_out = np.array([estimator((total - block) / (n - 1)) for block in x])
    sigma = np.sqrt((n - 1) * left_out.var(axis=0))
    return estimator(total / n), sigma


def weighted_mean(samples: ArrayLike, log_weights: ArrayLike) -> Mean:
    """Σ w x / Σ w and its standard error for independent samples with weights known up to a factor, both of shape (n,).

    The error of the ratio is sqrt(Σ w² (x - x̄)²) / Σ w, to leading order in 1/n.
    """
    x, log_w = np.asarray(samples, dtype=float), np.asarray(log_weights, dtype=float)
    w = np.exp(log_w - log_w.max())
    w /= w.sum()
    mean, effective = float(w @ x), x.size * effective_sample_size(log_w)
    deviation = float(np.sqrt(w @ (x - mean) ** 2))
    if _all_same(x):
        return Mean(mean, None, deviation, x.size, doubt=doubt_of_equals(x.size))
    sigma = float(np.sqrt((w**2) @ (x - mean) ** 2)) if effective >= FEWEST_SAMPLES else None
    return Mean(mean, sigma, deviation, x.size, doubt=doubt_of_weights(effective))


def doubt_of_weights(effective: float) -> str:
    """Why the error from weighted samples is a guess; empty where they are worth enough unweighted ones."""
    return f"only {effective:.3g} effective samples" if effective < FEWEST_EFFECTIVE else ""


def effective_sample_size(log_weights: ArrayLike) -> float:
    """(Σ w)² / (n Σ w²) of weights known up to a factor, shape (n,): between 1/n and 1."""
    log_w = np.asarray(log_weights, dtype=float)
    w = np.exp(log_w - log_w.max())
    return float(w.sum() ** 2 / (w.size * (w**2).sum()))
