"""Straight lines: exact ones, errors that hold what they promise, and the infinite ring."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pipeline.analysis.extrapolation import Line, fit_line
from pipeline.spin.exact.free_fermions import FreeFermions
from pipeline.spin.systems import ChainTFIM

INTERCEPT, SLOPE = -1.3, 0.7
X = (0.1, 0.2, 0.35, 0.6, 1.0)
SIGMAS = (0.05, 0.02, 0.04, 0.1, 0.03)


def test_points_on_a_line_give_that_line() -> None:
    y = [INTERCEPT + SLOPE * x for x in X]
    for line in (fit_line(X, y), fit_line(X, y, SIGMAS), fit_line(X, y, SIGMAS, SIGMAS)):
        assert line is not None
        assert (line.intercept, line.slope) == pytest.approx((INTERCEPT, SLOPE), rel=1e-12)
        assert line(2.0) == pytest.approx(INTERCEPT + 2 * SLOPE)
        assert line.freedom == 3


def test_errors_of_two_points_follow_from_theirs() -> None:
    """Through two points the line is exact: intercept = (x_2 y_1 - x_1 y_2) / (x_2 - x_1), by propagation of errors."""
    line = fit_line((1.0, 3.0), (2.0, 5.0), (0.1, 0.2))
    assert line is not None
    assert (line.intercept, line.slope) == pytest.approx((0.5, 1.5))
    assert line.intercept_sigma == pytest.approx(math.hypot(3 * 0.1, 1 * 0.2) / 2)
    assert line.slope_sigma == pytest.approx(math.hypot(0.1, 0.2) / 2)
    assert math.isnan(line.chance)


def test_weights_are_those_of_the_normal_equations() -> None:
    rng = np.random.default_rng(5)
    y = INTERCEPT + SLOPE * np.array(X) + rng.normal(size=5) * SIGMAS * 0.3
    line = fit_line(X, y.tolist(), SIGMAS)
    assert line is not None
    assert line.chi_squared < line.freedom
    design = np.stack([np.ones(5), X], axis=1)
    covariance = np.linalg.inv(design.T @ np.diag(1 / np.square(SIGMAS)) @ design)
    best = covariance @ design.T @ (y / np.square(SIGMAS))
    assert (line.intercept, line.slope) == pytest.approx(tuple(best))
    assert (line.intercept_sigma, line.slope_sigma) == pytest.approx(tuple(np.sqrt(np.diag(covariance))))


def shares(known: bool, x_errors: bool, repetitions: int = 1500) -> tuple[float, float, list[float]]:
    """How often one standard error holds the true intercept and slope, and the chances of χ²."""
    rng = np.random.default_rng(11)
    held, chances = np.zeros(2), []
    for _ in range(repetitions):
        widths = np.array(SIGMAS) * (1.0 if x_errors else 0.0)
        same = np.full(5, 0.05)
        sigma = np.array(SIGMAS) if known else same
        y = INTERCEPT + SLOPE * np.array(X) + rng.normal(size=5) * sigma
        x = np.array(X) + rng.normal(size=5) * widths
        line = fit_line(x.tolist(), y.tolist(), sigma.tolist() if known else (), widths.tolist())
        assert line is not None
        chances.append(line.chance)
        held += [abs(line.intercept - INTERCEPT) < line.intercept_sigma, abs(line.slope - SLOPE) < line.slope_sigma]
    return float(held[0] / repetitions), float(held[1] / repetitions), chances


@pytest.mark.parametrize(("known", "x_errors"), [(True, False), (False, False), (True, True)])
def test_one_standard_error_holds_the_truth_in_two_of_three_repetitions(known: bool, x_errors: bool) -> None:
    """68 %, counted to 1.2 %; given errors are never made smaller but sometimes larger, which holds a little more."""
    intercept, slope, chances = shares(known, x_errors)
    most = 0.83 if known else 0.72
    assert 0.64 < intercept < most
    assert 0.64 < slope < most
    if known and not x_errors:
        assert np.mean(np.array(chances) < 0.05) == pytest.approx(0.05, abs=0.02)


@pytest.mark.parametrize(("seeds", "x_errors"), [((2,) * 4, 0.0), ((3,) * 4, 0.0), ((2, 3, 3, 5), 0.05)])
def test_spreads_over_few_seeds_hold_the_truth_as_often(seeds: tuple[int, ...], x_errors: float) -> None:
    """Weights from each point's own spread hold it in 45 % of repetitions with two seeds, in 55 % with three."""
    rng = np.random.default_rng(3)
    x, held, repetitions = np.array((0.1, 0.3, 0.6, 1.0)), 0, 800
    for _ in range(repetitions):
        noise = [rng.normal(size=(2, n)) for n in seeds]
        mean = np.array([e.mean(axis=1) for e in noise]).T
        error = np.array([e.std(axis=1, ddof=1) / math.sqrt(e.shape[1]) for e in noise]).T
        y, xs = INTERCEPT + SLOPE * x + 0.05 * mean[0], x + x_errors * mean[1]
        line = fit_line(xs.tolist(), y.tolist(), (0.05 * error[0]).tolist(), (x_errors * error[1]).tolist(), seeds)
        assert line is not None
        held += abs(line.intercept - INTERCEPT) < line.intercept_sigma
    assert held / repetitions == pytest.approx(0.683, abs=0.05)


def test_spreads_of_ten_seeds_are_weights_and_some_spreads_are_none() -> None:
    y = [INTERCEPT + SLOPE * x + 0.01 * (-1) ** k for k, x in enumerate(X)]
    assert fit_line(X, y, SIGMAS, (), (10,) * 5) == fit_line(X, y, SIGMAS)
    for seeds in ((2, 2, 0, 2, 2), (2, 2, 1, 2, 2)):
        mixed, plain = fit_line(X, y, SIGMAS, (), seeds), fit_line(X, y)
        assert mixed is not None
        assert plain is not None
        assert mixed.intercept_sigma == plain.intercept_sigma
    # all seeds alike: no error is known
    same = fit_line(X, y, (0.0,) * 5, (), (2,) * 5)
    assert same is not None
    assert math.isnan(same.chi_squared)


def test_seeds_of_points_off_the_line_do_not_hide_it() -> None:
    line = fit_line(X, [x * x * 5 for x in X], [0.01] * 5, (), (3,) * 5)
    plain = fit_line(X, [x * x * 5 for x in X])
    assert line is not None
    assert plain is not None
    assert line.intercept_sigma == pytest.approx(plain.intercept_sigma)
    assert "do not lie on a line" in line.at_zero("energy").doubt


def test_an_unknown_error_of_x_is_not_taken_for_none() -> None:
    y = [INTERCEPT + SLOPE * x + 0.01 * (-1) ** k for k, x in enumerate(X)]
    line = fit_line(X, y, SIGMAS, (0.1, 0.1, math.nan, 0.1, 0.1))
    assert line is not None
    assert math.isnan(line.chi_squared)
    exact = fit_line(X, y, SIGMAS, (0.1, 0.1, 0.0, 0.1, 0.1))
    assert exact is not None
    assert math.isfinite(exact.chi_squared)


def test_points_off_the_line_make_errors_larger_and_are_doubted() -> None:
    y = [x * x * 5 for x in X]
    line = fit_line(X, y, [0.01] * 5)
    assert line is not None
    assert line.chance < 1e-6
    assert "do not lie on a line" in line.at_zero("energy").doubt
    plain = fit_line(X, [INTERCEPT + SLOPE * x for x in X], [0.01] * 5)
    assert plain is not None
    assert plain.at_zero("energy").doubt == ""
    assert line.intercept_sigma > 10 * plain.intercept_sigma


@pytest.mark.parametrize("sigma", [(), (0.1, 0.0), (0.1, math.nan)])
def test_two_points_without_errors_tell_none(sigma: tuple[float, ...]) -> None:
    line = fit_line((1.0, 2.0), (1.0, 3.0), sigma)
    assert line is not None
    assert (line.intercept, line.slope) == pytest.approx((-1.0, 2.0))
    assert line.at_zero("energy").sigma is None


def test_what_is_no_line() -> None:
    assert fit_line((), ()) is None
    assert fit_line((1.0,), (2.0,)) is None
    assert fit_line((1.0, 1.0), (2.0, 3.0), (0.1, 0.1)) is None
    for x, y, sigma in (((1.0, 2.0), (1.0,), ()), ((1.0, math.inf), (1.0, 2.0), ()), ((1.0, 2.0), (1.0, 2.0), (0.1,))):
        with pytest.raises(ValueError, match="a line needs"):
            fit_line(x, y, sigma)


def test_the_infinite_critical_ring() -> None:
    """E/N = -2/(N sin(π/2N)) = -4/π - π/(6N²) - ...: from exact energies of rings, against 1/N²."""
    sizes = (32, 48, 64, 96, 128)
    energies = []
    for n in sizes:
        system = ChainTFIM(n_sites=n, range=1, coupling=1.0, field=1.0)
        energies.append(FreeFermions().run(system).estimate("energy").value / n)
    line = fit_line([n**-2.0 for n in sizes], energies)
    assert isinstance(line, Line)
    assert line.intercept == pytest.approx(-4 / math.pi, abs=1e-7)
    assert line.slope == pytest.approx(-math.pi / 6, rel=1e-3)
