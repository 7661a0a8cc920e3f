"""The same number from several seeds."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from pipeline.base.numbers.result import Estimate


def over_seeds(estimates: Sequence[Estimate]) -> Estimate:
    """One seed as it is; several as their mean, with the standard error and the spread over seeds.

    A doubt about one of them is one about the mean: chains that are too short may all have the same bias.
    """
    first = estimates[0]
    if len(estimates) == 1:
        return first
    values = [e.value for e in estimates]
    spread = statistics.stdev(values)
    sigma = spread / len(values) ** 0.5
    mean = statistics.fmean(values)
    doubt = next((e.doubt for e in estimates if e.doubt), "")
    return Estimate(
        first.name, mean, sigma, "standard-error", spread, first.unit, first.bound, len(values), doubt=doubt
    )
