"""Masses from correlators that are periodic in time: effective masses and fits of a hyperbolic cosine."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FEWEST_TIMES = 4
"""Extent in time below which the fit has a single time, or the one of the source."""

LARGEST_MASS = 20.0
"""In lattice units; e^{-20} is beyond what any correlator here resolves."""


def folded(correlator: NDArray[np.float64]) -> NDArray[np.float64]:
    """(C(t) + C(T-t))/2 for t = 0 .. T/2 along the last axis; (..., T) -> (..., T//2 + 1)."""
    extent = correlator.shape[-1]
    times = np.arange(extent // 2 + 1)
    return 0.5 * (correlator[..., times] + correlator[..., (extent - times) % extent])


def effective_mass(correlator: NDArray[np.float64]) -> NDArray[np.float64]:
    """m(t) with cosh m = (C(t-1) + C(t+1)) / 2C(t) for t = 1 .. T/2, lattice units; NaN where there is none.

    Exact for every t if C ∝ cosh(m (t - T/2)), a single state of mass m; excited states make it larger at small t.

    Args:
        correlator: (T,), periodic.
    """
    times = np.arange(1, len(correlator) // 2 + 1)
    neighbours = correlator[times - 1] + correlator[(times + 1) % len(correlator)]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.arccosh(neighbours / (2.0 * correlator[times]))


def first_fitted_time(extent: int) -> int:
    """3T/8: earlier times know too much of excited states, and a quarter of the folded correlator is left."""
    return 3 * extent // 8


def fitted_mass(correlator: NDArray[np.float64], sigma: NDArray[np.float64]) -> float:
    """m of the least-squares fit of A cosh(m (t - T/2)) to the folded correlator for 3T/8 <= t <= T/2; lattice units.

    Args:
        correlator: (T,), T at least ``FEWEST_TIMES``.
        sigma: errors of the folded correlator, (T//2 + 1,), positive; they weight the times as if these were
            independent, which costs little precision and keeps the fit stable. Errors of m come from repeating the fit
            (jackknife).
    """
    from scipy import optimize

    extent = len(correlator)
    times = np.arange(first_fitted_time(extent), extent // 2 + 1)
    values, weights = folded(correlator)[times], 1.0 / sigma[times]

    def misfit(mass: float) -> float:
        # Normalised to 1 at the first time, so that no mass overflows.
        distance = 0.5 * extent - times
        shape = np.exp(mass * (distance - distance[0])) * (1.0 + np.exp(-2.0 * mass * distance)) * weights
        data = values * weights
        amplitude = (shape @ data) / (shape @ shape)
        return float(((data - amplitude * shape) ** 2).sum())

    return float(optimize.minimize_scalar(misfit, bounds=(0.0, LARGEST_MASS), options={"xatol": 1e-10}).x)
