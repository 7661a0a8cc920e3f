"""Verdicts: an estimate beside a reference, a published number or a bound."""

from __future__ import annotations

import math
from typing import Literal

from pipeline.base.numbers.result import Estimate

VsReference = Literal["agrees", "above", "below", "none", "BELOW-BOUND"]
AGREEMENT_SIGMAS = 2.0
BOUND_SIGMAS = 3.0
EXACT_TOLERANCE = 1e-9
"""Relative difference below which two numbers without statistical error are the same."""


def relative_error(value: float, reference: float) -> float:
    """Signed (value - reference) / |reference| (NF+NQS paper, Eq. 17, without the factor 100)."""
    return (value - reference) / abs(reference)


def combined_sigma(first: float | None, second: float | None) -> float:
    """Standard error of a difference of independent numbers; unknown errors count as zero."""
    return math.hypot(first or 0.0, second or 0.0)


def vs_reference(estimate: Estimate, reference: Estimate | None) -> VsReference:
    """How ``estimate`` stands to ``reference``.

    ``BELOW-BOUND``: a variational estimate lies under an exact reference by more than 3σ (1e-9 relative where σ = 0),
    which is a bug. Under an extrapolated or stochastic reference it is ``below``, a warning.
    """
    if reference is None:
        return "none"
    sigma = combined_sigma(estimate.sigma, reference.sigma)
    difference = estimate.value - reference.value
    floor = EXACT_TOLERANCE * abs(reference.value)
    bounded = estimate.bound == "variational" and reference.bound == "exact"
    if bounded and difference < -max(BOUND_SIGMAS * sigma, floor):
        return "BELOW-BOUND"
    if abs(difference) <= max(AGREEMENT_SIGMAS * sigma, floor):
        return "agrees"
    return "above" if difference > 0 else "below"
