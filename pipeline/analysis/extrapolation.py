"""Straight lines through numbers with errors: to an infinite system, and to a variance of zero."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

from pipeline.base.numbers.result import Estimate

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

ONE_SIGMA = NormalDist().cdf(1.0)
ROUNDS = 50
"""Of the iteration that turns errors of x into errors of y; it settles within a few."""


FEW_SEEDS = 10
"""Below, a standard error from the spread over seeds is too uncertain to be a weight."""

UNLIKELY = 0.01
"""Chance below which points do not lie on a line."""


@dataclass(frozen=True)
class Line:
    """y = intercept + slope x.

    Attributes:
        intercept, slope: of the fit.
        intercept_sigma, slope_sigma: as large as cover the truth in 68 of 100 repetitions, if the line holds and the
            errors are right (or, of few seeds, the same at all points); NaN where the points do not tell: two of them
            without errors.
        chi_squared: in units of the given errors, or of those that seeds have together; NaN without.
        freedom: points less the two parameters.
        chance: of a χ² as large, if the line held and the errors were right; NaN without a degree of freedom.
    """

    intercept: float
    slope: float
    intercept_sigma: float
    slope_sigma: float
    chi_squared: float
    freedom: int
    chance: float

    def __call__(self, x: float) -> float:
        return self.intercept + self.slope * x

    def at_zero(self, name: str, unit: str = "1", doubt: str = "") -> Estimate:
        """The intercept as an estimate; its error is unknown where the fit does not tell.

        Args:
            doubt: about a point, which is one about the intercept.
        """
        known = math.isfinite(self.intercept_sigma)
        doubt = doubt or ("the points do not lie on a line" if self.chance < UNLIKELY else "")
        sigma = self.intercept_sigma if known else None
        return Estimate(name, self.intercept, sigma, "standard-error", unit=unit, bound="extrapolated", doubt=doubt)


def fit_line(
    x: Sequence[float],
    y: Sequence[float],
    sigma: Sequence[float] = (),
    x_sigma: Sequence[float] = (),
    seeds: Sequence[int] = (),
) -> Line | None:
    """Weighted least squares.

    With an error for each point, weights are 1/(σ² + slope² σ_x²), iterated, and errors of the parameters follow from
    them, times √(χ²/freedom) where that is larger than one. Without (also where that of one point is unknown in either
    coordinate, or zero in y: its weight would be infinite or nothing), all points weigh the same, and errors come from
    their scatter around the line, times Student's factor for so few degrees of freedom.

    Errors from the spread over fewer than ``FEW_SEEDS`` seeds are no weights: a spread of two seeds is often far too
    small. The spread is then taken to be that of all points together, s, with errors s/√n, and those of the parameters
    have Student's factor for the degrees of freedom of all seeds and of the scatter around the line; of that alone
    where the points do not lie on a line. Where only some errors are spreads, all points weigh the same.

    Args:
        x, y: points, of the same length.
        sigma: standard errors of y; empty: unknown.
        x_sigma: standard errors of x, independent of those of y; empty: none.
        seeds: how many the errors of each point are the spread over, 0 where they are no spread; empty: none is.

    Returns:
        None with fewer than two different x.

    Raises:
        ValueError: lengths differ, or a coordinate is not finite.
    """
    import numpy as np

    xs, ys = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    if len(xs) != len(ys) or not (np.isfinite(xs).all() and np.isfinite(ys).all()):
        raise ValueError("a line needs as many finite x as y")
    if len(set(xs.tolist())) < 2:
        return None
    if any(len(given) not in (0, len(xs)) for given in (sigma, x_sigma, seeds)):
        raise ValueError("a line needs an error for each point, or none")
    errors = np.asarray(sigma, dtype=float)
    widths = np.asarray(x_sigma, dtype=float) if len(x_sigma) else np.zeros_like(xs)
    numbers = np.asarray(seeds, dtype=int) if len(seeds) else np.zeros(len(xs), dtype=int)
    freedom = 0
    if ((numbers > 1) & (numbers < FEW_SEEDS)).any():
        freedom = int((numbers - 1).sum()) if (numbers > 1).all() and len(errors) else 0
        if not freedom:
            return _unweighted(xs, ys)
        errors, widths = _pooled(errors, numbers), _pooled(widths, numbers)
    known = len(errors) and np.isfinite(errors).all() and (errors > 0).all() and np.isfinite(widths).all()
    return _weighted(xs, ys, errors, widths, freedom) if known else _unweighted(xs, ys)


def _pooled(errors: Array, seeds: NDArray[np.int64]) -> Array:
    """Standard errors if the spread over seeds is the same at all points."""
    import numpy as np

    variance = ((seeds - 1) * seeds * errors**2).sum() / (seeds - 1).sum()
    pooled: Array = np.sqrt(variance / seeds)
    return pooled


def _weighted(x: Array, y: Array, sigma: Array, x_sigma: Array, pooled: int = 0) -> Line:
    """The fit with weights; ``pooled`` is the number of degrees of freedom that all errors have together, 0 where they
    are known by themselves.
    """
    import numpy as np

    slope = 0.0
    for _ in range(ROUNDS):
        weights = 1 / np.hypot(sigma, slope * x_sigma)
        (new, intercept), covariance = np.polyfit(x, y, 1, w=weights, cov="unscaled")
        settled = abs(new - slope) <= 1e-12 * abs(new) or not x_sigma.any()
        slope = float(new)
        if settled:
            break
    chi_squared = float((((y - intercept - slope * x) * weights) ** 2).sum())
    freedom = len(x) - 2
    scale, chance = _scale(chi_squared, freedom, pooled)
    slope_sigma, intercept_sigma = (scale * math.sqrt(float(v)) for v in np.diag(covariance))
    return Line(float(intercept), slope, intercept_sigma, slope_sigma, chi_squared, freedom, chance)


def _scale(chi_squared: float, freedom: int, pooled: int) -> tuple[float, float]:
    """Factor of the errors of parameters, and the chance of a χ² as large."""
    from scipy.stats import chi2, f, t

    if not pooled:
        chance = float(chi2.sf(chi_squared, freedom)) if freedom else math.nan
        return (math.sqrt(max(1.0, chi_squared / freedom)) if freedom else 1.0), chance
    chance = float(f.sf(chi_squared / freedom, freedom, pooled)) if freedom else math.nan
    if chance < UNLIKELY:
        return math.sqrt(chi_squared / freedom) * float(t.ppf(ONE_SIGMA, freedom)), chance
    both = freedom + pooled
    return math.sqrt((pooled + chi_squared) / both) * float(t.ppf(ONE_SIGMA, both)), chance


def _unweighted(x: Array, y: Array) -> Line:
    import numpy as np
    from scipy.stats import t

    (slope, intercept), covariance = np.polyfit(x, y, 1, cov="unscaled")
    freedom = len(x) - 2
    if freedom:
        scatter = math.sqrt(float(((y - intercept - slope * x) ** 2).sum()) / freedom)
        factor = scatter * float(t.ppf(ONE_SIGMA, freedom))
        slope_sigma, intercept_sigma = (factor * math.sqrt(float(v)) for v in np.diag(covariance))
    else:
        slope_sigma = intercept_sigma = math.nan
    return Line(float(intercept), float(slope), intercept_sigma, slope_sigma, math.nan, freedom, math.nan)
