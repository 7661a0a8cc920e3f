"""A power law fitted to repeated measurements: its exponent with its error, and whether it describes them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class PowerLaw:
    """y = a x^(-b).

    Attributes:
        amplitude: a.
        exponent: b, positive where y falls.
        sigma: standard error of the exponent; NaN where the measurements do not tell.
        chi_squared: of the means of log y, in units of their pooled errors.
        freedom: points less the two parameters.
        chance: of a χ²/freedom as large if the law held, by Fisher's F distribution, since errors of the means are
            estimated too; NaN without a degree of freedom or without a repetition.
        scatter: standard deviation of log y at one x, pooled over all x; NaN without a repetition.
    """

    amplitude: float
    exponent: float
    sigma: float
    chi_squared: float
    freedom: int
    chance: float
    scatter: float

    def __call__(self, x: float) -> float:
        return self.amplitude * x**-self.exponent


def fit_power_law(points: Mapping[float, Sequence[float]]) -> PowerLaw | None:
    """Least squares of the means of log y against log x, weighted by the numbers of repetitions.

    The scatter of log y is pooled over all x: of two or three repetitions alone it is known so badly that weights by
    it would make the error of the exponent too small. The covariance of the parameters is multiplied by χ²/freedom
    where that is larger than 1, or where nothing is repeated.

    Args:
        points: positive values of y, repeated measurements, by positive x.

    Returns:
        None with fewer than two x.

    Raises:
        ValueError: an x or y is not positive, or not finite.
    """
    import numpy as np
    from scipy.special import fdtrc

    kept = {x: list(ys) for x, ys in points.items() if len(ys)}
    if any(not (value > 0 and math.isfinite(value)) for x, ys in kept.items() for value in (x, *ys)):
        raise ValueError("a power law needs positive, finite numbers")
    if len(kept) < 2:
        return None
    logs = {x: np.log(ys) for x, ys in kept.items()}
    repeated = sum(len(ys) - 1 for ys in logs.values())
    scatter = math.sqrt(sum(float(((ys - ys.mean()) ** 2).sum()) for ys in logs.values()) / repeated) if repeated else 0
    x, y = np.log(list(logs)), np.array([ys.mean() for ys in logs.values()])
    # with a scatter of zero, as with none known, distances from the line are all there is to tell an error from
    weights = np.sqrt([len(ys) for ys in logs.values()]) / (scatter or 1.0)
    (slope, intercept), covariance = np.polyfit(x, y, 1, w=weights, cov="unscaled")
    chi_squared = float((((y - intercept - slope * x) * weights) ** 2).sum())
    freedom = len(x) - 2
    inflated = chi_squared / freedom if freedom else math.nan
    factor = max(1.0, 0.0 if math.isnan(inflated) else inflated) if scatter else inflated
    return PowerLaw(
        amplitude=math.exp(intercept),
        exponent=-float(slope),
        sigma=math.sqrt(float(covariance[0, 0]) * factor),
        chi_squared=chi_squared if scatter else math.nan,
        freedom=freedom,
        chance=float(fdtrc(freedom, repeated, inflated)) if freedom and scatter else math.nan,
        scatter=scatter if repeated else math.nan,
    )


def fit_exponential(points: Mapping[float, Sequence[float]]) -> PowerLaw | None:
    """The rival with as many parameters, y = a exp(-b x / max x): a power law of exp(x / max x).

    Where it is as likely as the power law, the points do not tell which of the two they follow.
    """
    largest = max((x for x, ys in points.items() if len(ys)), default=1.0)
    return fit_power_law({math.exp(x / largest): ys for x, ys in points.items()})
