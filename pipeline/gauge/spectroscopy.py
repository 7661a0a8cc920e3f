"""Masses from correlators that are periodic in time: effective masses and fits of a hyperbolic cosine."""

from __future__ import annotations

from pipeline.base.later import NDArray, np

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
    extent = len(correlator)
    return one_state_mass(folded(correlator), sigma, extent, first_fitted_time(extent))


def one_state_mass(values: NDArray[np.float64], sigma: NDArray[np.float64], extent: int, first: int) -> float:
    """m of the fit of A cosh(m (t - T/2)) to a folded correlator for ``first`` <= t <= T/2.

    Args:
        values, sigma: folded correlator and its errors, (T//2 + 1,).
        extent: T.
        first: earliest time.
    """
    from scipy import optimize

    times = np.arange(first, extent // 2 + 1)
    values, weights = values[times], 1.0 / sigma[times]

    def misfit(mass: float) -> float:
        # Normalised to 1 at the first time, so that no mass overflows.
        distance = 0.5 * extent - times
        shape = np.exp(mass * (distance - distance[0])) * (1.0 + np.exp(-2.0 * mass * distance)) * weights
        data = values * weights
        amplitude = (shape @ data) / (shape @ shape)
        return float(((data - amplitude * shape) ** 2).sum())

    return float(optimize.minimize_scalar(misfit, bounds=(0.0, LARGEST_MASS), options={"xatol": 1e-10}).x)


def two_state_mass(
    values: NDArray[np.float64], sigma: NDArray[np.float64], extent: int, first: int, guess: float
) -> float | None:
    """The lower mass of the fit of A cosh(m (t - T/2)) + B cosh(M (t - T/2)), A and B positive, for ``first`` <= t.

    Args:
        values, sigma, extent, first: as for :func:`one_state_mass`; at least four times.
        guess: m to start from.

    Returns:
        None where no two positive states fit.
    """
    from scipy import optimize

    distance = 0.5 * extent - np.arange(first, extent // 2 + 1)
    data, weights = values[first:] / sigma[first:], 1.0 / sigma[first:]

    def shapes(parameters: NDArray[np.float64]) -> NDArray[np.float64]:
        masses = parameters[0] + np.array([0.0, np.exp(parameters[1])])
        # Normalised to 1 at the first time, as above; cosh is even in the mass.
        exponent = np.abs(masses)[None, :] * (distance - distance[0])[:, None]
        decay = np.exp(-2.0 * np.abs(masses)[None, :] * distance[:, None])
        found: NDArray[np.float64] = np.exp(exponent) * (1.0 + decay) * weights[:, None]
        return found

    def misfit(parameters: NDArray[np.float64]) -> NDArray[np.float64]:
        design = shapes(parameters)
        return np.asarray(design @ np.linalg.lstsq(design, data, rcond=None)[0] - data)

    bounds = ([0.0, np.log(0.05)], [LARGEST_MASS, np.log(LARGEST_MASS)])
    fit = optimize.least_squares(misfit, [guess, 0.0], bounds=bounds, x_scale=[0.01, 0.1], xtol=1e-12, ftol=1e-12)
    amplitudes = np.linalg.lstsq(shapes(fit.x), data, rcond=None)[0]
    return float(fit.x[0]) if fit.success and (amplitudes > 0.0).all() else None


def mass_fits(values: NDArray[np.float64], sigma: NDArray[np.float64], extent: int) -> dict[str, float]:
    """The masses that reasonable fits give: what the choice of one of them decides.

    One state from 3T/8 on and from every later time that leaves two times, and two states from T/8 to T/4 on where
    four times are left. The first is :func:`fitted_mass`.

    Args:
        values, sigma: folded correlator and its errors, (T//2 + 1,).
        extent: T, at least ``FEWEST_TIMES``.

    Returns:
        Masses by fit, such as ``one state, t >= 6``.
    """
    last = extent // 2
    fits = {
        f"one state, t >= {first}": one_state_mass(values, sigma, extent, first)
        for first in range(first_fitted_time(extent), last)
    }
    guess = next(iter(fits.values()), 1.0)
    for first in range(max(1, extent // 8), extent // 4 + 1):
        if last - first + 1 >= 4 and (mass := two_state_mass(values, sigma, extent, first, guess)) is not None:
            fits[f"two states, t >= {first}"] = mass
    return fits
