"""Verdicts and the way numbers are written, at their thresholds."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.analysis.verdict import relative_error, vs_reference
from pipeline.base.numbers.formatting import duration, memory, relative, with_error
from pipeline.base.numbers.result import Estimate


def energy(value: float, sigma: float | None = None, bound: Any = "variational") -> Estimate:
    return Estimate("energy", value, sigma, bound=bound)


EXACT = energy(-100.0, 0.0, "exact")


@pytest.mark.parametrize(
    ("estimate", "reference", "verdict"),
    [
        (energy(-100.0), None, "none"),
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
        (energy(-100.0 - 1.1e-7, None), EXACT, "BELOW-BOUND"),
    ],
)
def test_vs_reference(estimate: Estimate, reference: Estimate | None, verdict: str) -> None:
    assert vs_reference(estimate, reference) == verdict


def test_relative_error_is_positive_above_whatever_the_sign_of_the_reference() -> None:
    assert relative_error(-99.0, -100.0) == pytest.approx(0.01)
    assert relative_error(101.0, 100.0) == pytest.approx(0.01)


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
