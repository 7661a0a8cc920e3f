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


@dataclass(frozen=True)
class Line:
    """y = intercept + slope x.

    Attributes:
        intercept, slope: of the fit.
        intercept_sigma, slope_sigma: as large as cover the truth in 68 of 100 repetitions; NaN where the points do not
            tell: two of them without errors.
        chi_squared: in units of the given errors; NaN without.
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

    def at_zero(self, name: str, unit: str = "1") -> Estimate:
        """The intercept as an estimate; its error is unknown where the fit does not tell."""
        known = math.isfinite(self.intercept_sigma)
        doubt = "the points do not lie on a line" if self.chance < 0.01 else ""
        sigma = self.intercept_sigma if known else None
        return Estimate(name, self.intercept, sigma, "standard-error", unit=unit, bound="extrapolated", doubt=doubt)


def fit_line(
    x: Sequence[float], y: Sequence[float], sigma: Sequence[float] = (), x_sigma: Sequence[float] = ()
) -> Line | None:
    """Weighted least squares.

    With an error for each point, weights are 1/(σ² + slope² σ_x²), iterated, and errors of the parameters follow from
    them, times √(χ²/freedom) where that is larger than one. Without (also where that of one point is zero or unknown:
    its weight would be infinite or nothing), all points weigh the same, and errors come from their scatter around the
    line, times Student's factor for so few degrees of freedom.

    Args:
        x, y: points, of the same length.
        sigma: standard errors of y; empty: unknown.
        x_sigma: standard errors of x, independent of those of y; empty: none.

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
    known = len(sigma) > 0 and all(math.isfinite(s) and s > 0 for s in sigma)
    if not known:
        return _unweighted(xs, ys)
    errors = np.asarray(sigma, dtype=float)
    widths = np.nan_to_num(np.asarray(x_sigma, dtype=float)) if len(x_sigma) else np.zeros_like(xs)
    if len(errors) != len(xs) or len(widths) != len(xs):
        raise ValueError("a line needs an error for each point, or none")
    return _weighted(xs, ys, errors, widths)


def _weighted(x: Array, y: Array, sigma: Array, x_sigma: Array) -> Line:
    import numpy as np
    from scipy.stats import chi2

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
    scale = math.sqrt(max(1.0, chi_squared / freedom)) if freedom else 1.0
    slope_sigma, intercept_sigma = (scale * math.sqrt(float(v)) for v in np.diag(covariance))
    chance = float(chi2.sf(chi_squared, freedom)) if freedom else math.nan
    return Line(float(intercept), slope, intercept_sigma, slope_sigma, chi_squared, freedom, chance)


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
