"""Errors of correlated and independent samples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


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
    if not np.ptp(halves, axis=1).any():
        return 1.0 if np.ptp(halves) == 0 else float("inf")
    within = float(halves.var(axis=1, ddof=1).mean())
    between = float(halves.mean(axis=1).var(ddof=1))
    return float(np.sqrt((half - 1) / half + between / within))
