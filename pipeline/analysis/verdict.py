"""Verdicts: an estimate beside a reference, a published number or a bound."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Literal

from pipeline.base.numbers.formatting import relative
from pipeline.base.numbers.result import Estimate

VsReference = Literal["agrees", "above", "below", "none", "undecided", "BELOW-BOUND"]
AGREEMENT_SIGMAS = 2.0
BOUND_SIGMAS = 3.0
EXACT_TOLERANCE = 1e-9
"""Relative difference below which two numbers without statistical error are the same."""

ROUNDING = 1e-12
"""A pure number of this size is zero but for rounding: those that are compared are of order one, or have an error."""


def relative_error(value: float, reference: float) -> float:
    """Signed (value - reference) / |reference| (NF+NQS paper, Eq. 17, without the factor 100)."""
    return (value - reference) / abs(reference)


def vanishes(reference: Estimate) -> bool:
    """True of a reference that is zero as far as it is known: within 2σ, or, a pure number, within rounding.

    Nothing is large or small relative to it.
    """
    return abs(reference.value) <= max(AGREEMENT_SIGMAS * (reference.sigma or 0.0), _rounding(reference))


def error_relative_to(value: float, reference: Estimate | None) -> float | None:
    """Relative error of ``value``; None without a reference and where it vanishes."""
    return None if reference is None or vanishes(reference) else relative_error(value, reference.value)


def shown_error(value: float, reference: Estimate | None) -> str:
    """``+2.3e-05``, relative to the reference; ``+2.3e-05 (absolute)`` where that vanishes; a dash without one."""
    if reference is None or not vanishes(reference):
        return relative(error_relative_to(value, reference))
    return f"{relative(value - reference.value)} (absolute)"


def _rounding(reference: Estimate) -> float:
    return ROUNDING if reference.unit == "1" else 0.0


def combined_sigma(first: float, second: float) -> float:
    """Standard error of a difference of independent numbers."""
    return math.hypot(first, second)


def no_verdict(estimate: Estimate) -> str:
    """Reason why an estimate cannot be judged; empty where it can."""
    if estimate.doubt:
        return estimate.doubt
    return "its error is unknown" if estimate.sigma is None or math.isnan(estimate.sigma) else ""


def _unknown(reference: Estimate) -> str:
    """Reason why nothing can be judged by a reference; one that no samples or limits were taken for needs no error."""
    computed = reference.sigma is None and reference.bound in ("none", "exact") and not reference.doubt
    return "" if computed else no_verdict(reference)


def bound_sigmas(tests: int) -> float:
    """How far below a bound is a bug, in σ: 3 for one test, and for several together the same chance of a false alarm.

    Of ``tests`` independent normal deviates the lowest is that far below zero as often as a single one is 3σ below
    (Šidák's correction).
    """
    normal = NormalDist()
    alarm = normal.cdf(-BOUND_SIGMAS)
    return BOUND_SIGMAS if tests <= 1 else -normal.inv_cdf(-math.expm1(math.log1p(-alarm) / tests))


def may_fluctuate_below(estimate: Estimate | None, reference: Estimate | None) -> bool:
    """Whether chance can put a variational estimate below an exact reference: one of the tests to correct for."""
    if estimate is None or reference is None or no_verdict(estimate) or _unknown(reference):
        return False
    return _bounded(estimate, reference) and combined_sigma(estimate.sigma or 0.0, reference.sigma or 0.0) > 0


def vs_reference(estimate: Estimate, reference: Estimate | None, tests: int = 1) -> VsReference:
    """How ``estimate`` stands to ``reference``; ``undecided`` where the error of either is unknown.

    ``BELOW-BOUND``: a variational estimate lies under an exact reference by more than 3σ (1e-9 relative where σ = 0),
    which is a bug. Under an extrapolated or stochastic reference it is ``below``, a warning. Pure numbers that differ
    by rounding agree, however small the reference is.

    Args:
        tests: number of estimates judged together, for :func:`bound_sigmas`.
    """
    if reference is None:
        return "none"
    if no_verdict(estimate) or _unknown(reference):
        return "undecided"
    sigma = combined_sigma(estimate.sigma or 0.0, reference.sigma or 0.0)
    difference = estimate.value - reference.value
    floor = max(EXACT_TOLERANCE * abs(reference.value), _rounding(reference))
    if _bounded(estimate, reference) and difference < -max(bound_sigmas(tests) * sigma, floor):
        return "BELOW-BOUND"
    if abs(difference) <= max(AGREEMENT_SIGMAS * sigma, floor):
        return "agrees"
    return "above" if difference > 0 else "below"


def _bounded(estimate: Estimate, reference: Estimate) -> bool:
    return estimate.bound == "variational" and reference.bound == "exact"
