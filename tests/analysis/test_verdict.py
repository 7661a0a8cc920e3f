"""Verdicts and the way numbers are written, at their thresholds."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from pipeline.analysis.verdict import (
    bound_sigmas,
    error_relative_to,
    may_fluctuate_below,
    no_verdict,
    relative_error,
    shown_error,
    vanishes,
    vs_reference,
)
from pipeline.base.numbers.formatting import duration, memory, relative, with_error
from pipeline.base.numbers.result import Estimate


def energy(value: float, sigma: float | None = None, bound: Any = "variational") -> Estimate:
    return Estimate("energy", value, sigma, bound=bound)


EXACT = energy(-100.0, 0.0, "exact")


@pytest.mark.parametrize(
    ("estimate", "reference", "verdict"),
    [
        (energy(-100.0), None, "none"),
        (energy(-100.0), EXACT, "undecided"),
        (energy(-100.0, math.nan), EXACT, "undecided"),
        (energy(-99.0, 0.1), energy(-100.0, None, "stochastic"), "undecided"),
        (energy(-99.0, 0.1), energy(-100.0, None, "none"), "above"),
        (energy(-99.0, 0.1), EXACT, "above"),
        (energy(-99.81, 0.1), EXACT, "agrees"),
        (energy(-99.79, 0.1), EXACT, "above"),
        (energy(-100.29, 0.1), EXACT, "below"),
        (energy(-100.31, 0.1), EXACT, "BELOW-BOUND"),
        (energy(-100.31, 0.1, "stochastic"), EXACT, "below"),
        (energy(-100.31, 0.1), energy(-100.0, 0.0, "extrapolated"), "below"),
        (energy(-100.31, 0.1), energy(-100.0, 0.2, "stochastic"), "agrees"),
        (energy(-100.0 - 0.9e-7, 0.0), EXACT, "agrees"),
        (energy(-100.0 - 1.1e-7, 0.0), EXACT, "BELOW-BOUND"),
        (energy(-100.0 - 1.1e-7, None), EXACT, "undecided"),
        (energy(-436.0, None), EXACT, "undecided"),
    ],
)
def test_vs_reference(estimate: Estimate, reference: Estimate | None, verdict: str) -> None:
    assert vs_reference(estimate, reference) == verdict


def test_reason_why_there_is_no_verdict() -> None:
    assert no_verdict(energy(-1.0)) == "its error is unknown"
    short = replace(energy(-1.0, 0.1), doubt="chains are only 6.3 τ_int long")
    assert no_verdict(short) == "chains are only 6.3 τ_int long"
    assert vs_reference(short, EXACT) == "undecided"
    assert vs_reference(energy(-1.0, 0.1), short) == "undecided"
    assert no_verdict(energy(-1.0, 0.0)) == no_verdict(energy(-1.0, 0.1)) == ""


def test_many_bounds_together_raise_no_more_false_alarms_than_one() -> None:
    """The lowest of m normal deviates is below -z(m) as often as one is below -3: 1 - Φ(z)^m = 1 - Φ(3)."""
    assert bound_sigmas(1) == 3.0
    assert bound_sigmas(0) == 3.0
    for tests in (2, 72, 10_000):
        z = bound_sigmas(tests)
        upper = 0.5 * math.erfc(-z / math.sqrt(2))
        assert upper**tests == pytest.approx(0.5 * math.erfc(-3 / math.sqrt(2)), rel=1e-9)
    assert bound_sigmas(72) == pytest.approx(4.12, abs=0.01)


def test_3_sigma_below_among_many_is_no_bug_and_5_are() -> None:
    assert vs_reference(energy(-100.31, 0.1), EXACT, tests=72) == "below"
    assert vs_reference(energy(-100.5, 0.1), EXACT, tests=72) == "BELOW-BOUND"
    assert vs_reference(energy(-100.0 - 1.1e-7, 0.0), EXACT, tests=72) == "BELOW-BOUND", "no chance without errors"


def test_what_counts_as_a_test_of_a_bound() -> None:
    assert may_fluctuate_below(energy(-99.0, 0.1), EXACT)
    no = [(energy(-99.0, 0.0), EXACT), (energy(-99.0), EXACT), (energy(-99.0, 0.1, "stochastic"), EXACT)]
    assert not any(may_fluctuate_below(*pair) for pair in [*no, (energy(-99.0, 0.1), None), (None, EXACT)])


def test_relative_error_is_positive_above_whatever_the_sign_of_the_reference() -> None:
    assert relative_error(-99.0, -100.0) == pytest.approx(0.01)
    assert relative_error(101.0, 100.0) == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("reference", "shown"),
    [
        (Estimate("nearest_correlation", 3e-17), "+1.0e-05 (absolute)"),
        (Estimate("nearest_correlation", -0.5), "+1.0e+00"),
        (Estimate("absolute_magnetisation", 0.0, 0.0), "+1.0e-05 (absolute)"),
        (Estimate("topological_charge", 0.0013, 0.0023), "-1.3e-03 (absolute)"),
        (Estimate("energy", 0.0, 0.0, unit="total"), "+1.0e-05 (absolute)"),
        (Estimate("energy_1", 2e-16, 3e-14, unit="total"), "+1.0e-05 (absolute)"),
        (Estimate("energy", -1e-13, 1e-28, unit="total"), "+1.0e+08"),
        (None, "–"),
    ],
)
def test_nothing_is_relative_to_what_vanishes(reference: Estimate | None, shown: str) -> None:
    """By symmetry, but for rounding, or within its error; small energies of small couplings are none of these."""
    assert shown_error(1e-5, reference) == shown
    if reference is not None:
        assert vanishes(reference) == (error_relative_to(1e-5, reference) is None) == ("absolute" in shown)


def test_rounding_is_no_difference() -> None:
    assert vs_reference(Estimate("correlation", -1e-16, 0.0), Estimate("correlation", 3e-17)) == "agrees"
    assert vs_reference(Estimate("correlation", 1e-11, 0.0), Estimate("correlation", 3e-17)) == "above"
    assert vs_reference(energy(-2e-13, 0.0), Estimate("energy", -1e-13, 0.0, unit="total", bound="exact")) != "agrees"


def test_numbers_as_physicists_write_them() -> None:
    assert with_error(-435.51667, 0.0021) == "-435.517(2)"
    assert with_error(-100.0, 0.0) == "-100"
    assert with_error(-83.0, 1e-14) == "-83"
    assert with_error(None, 0.1) == "–"
    assert relative(2.34e-5) == "+2.3e-05"
    assert relative(None) == "–"
    assert (duration(3.21), duration(59.6), duration(200), duration(7500)) == (
        "3.2 s",
        "60 s",
        "3 min 20 s",
        "2 h 05 min",
    )
    assert (memory(3.5e8), memory(1.2e9)) == ("350 MB", "1.2 GB")
