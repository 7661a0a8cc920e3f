"""Errors of correlated and independent samples."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.base.numbers.result import Estimate

SERIES_PER_TAU = 20
"""A chain shorter than this many autocorrelation times gives no reliable error (tau itself is then underestimated)."""

BINS_PER_CONTROL = 10
"""Fewer bins than this for each control variate do not determine its coefficient."""


@dataclass(frozen=True)
class Mean:
    """A sample mean: ``value``, standard error ``sigma``, standard deviation ``spread``, size ``n``, time ``tau``."""

    value: float
    sigma: float | None
    spread: float | None
    n: int
    tau: float | None = None


def independent_mean(samples: ArrayLike) -> Mean:
    """Mean of independent samples (shape (n,)); sigma and spread are None for a single sample."""
    x = np.asarray(samples, dtype=float).ravel()
    if x.size == 0:
        raise ValueError("mean of no samples")
    if x.size == 1:
        return Mean(float(x[0]), None, None, 1)
    spread = float(x.std(ddof=1))
    return Mean(float(x.mean()), spread / float(np.sqrt(x.size)), spread, int(x.size))


def integrated_autocorrelation_time(series: ArrayLike, window_factor: float = 5.0) -> float:
    """tau_int = 1/2 + sum_t rho(t) of chains with shape (chains, n), in units of the spacing of the samples.

    Sokal's automatic window: the sum is cut at the smallest W with W >= ``window_factor`` * tau_int(W). The
    autocovariance is averaged over chains about the grand mean. Uncorrelated samples give 1/2; a constant series
    gives 1/2 as well, since nothing can be learnt from it.

    Raises:
        ValueError: fewer than two samples a chain.
    """
    x = np.atleast_2d(np.asarray(series, dtype=float))
    n = x.shape[1]
    if n < 2:
        raise ValueError("autocorrelation needs at least two samples a chain")
    if np.ptp(x) == 0:
        return 0.5
    x = x - x.mean()
    size = 2 ** int(np.ceil(np.log2(2 * n)))
    spectrum = np.fft.rfft(x, n=size, axis=1)
    covariance = np.fft.irfft(spectrum * spectrum.conj(), n=size, axis=1)[:, :n].mean(axis=0)
    covariance /= np.arange(n, 0, -1)
    if covariance[0] <= 0:
        return 0.5
    tau = 0.5 + np.cumsum(covariance[1:] / covariance[0])
    windows = np.arange(1, n)
    inside = windows >= window_factor * tau
    cut = int(np.argmax(inside)) if inside.any() else n - 2
    return float(max(tau[cut], 0.5))


def correlated_mean(series: ArrayLike) -> Mean:
    """Mean of chains (chains, n) with its error from tau_int: sigma^2 = 2 tau_int Var / (chains * n)."""
    x = np.atleast_2d(np.asarray(series, dtype=float))
    tau = integrated_autocorrelation_time(x)
    spread = float(x.std(ddof=1))
    sigma = spread * float(np.sqrt(2.0 * tau / x.size))
    return Mean(float(x.mean()), sigma, spread, int(x.size), tau)


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


def short_series(estimates: Iterable[Estimate], measurements: int) -> list[str]:
    """A sentence for each estimate from chains too short against their memory."""
    return [
        f"{e.name}: tau = {e.tau:.3g} is more than 1/{SERIES_PER_TAU} of {measurements} measurements; "
        "its error is a guess and thermalisation doubtful."
        for e in estimates
        if e.tau is not None and SERIES_PER_TAU * e.tau > measurements
    ]


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


def weighted_mean(samples: ArrayLike, log_weights: ArrayLike) -> tuple[float, float]:
    """Σ w x / Σ w and its standard error for independent samples with weights known up to a factor, both of shape (n,).

    The error of the ratio is sqrt(Σ w² (x - x̄)²) / Σ w, to leading order in 1/n.
    """
    x, log_w = np.asarray(samples, dtype=float), np.asarray(log_weights, dtype=float)
    w = np.exp(log_w - log_w.max())
    w /= w.sum()
    mean = float(w @ x)
    return mean, float(np.sqrt((w**2) @ (x - mean) ** 2))


def effective_sample_size(log_weights: ArrayLike) -> float:
    """(Σ w)² / (n Σ w²) of weights known up to a factor, shape (n,): between 1/n and 1."""
    log_w = np.asarray(log_weights, dtype=float)
    w = np.exp(log_w - log_w.max())
    return float(w.sum() ** 2 / (w.size * (w**2).sum()))
