"""Fits of power laws: exact ones, coverage of the exponent's error, and laws that do not hold."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pipeline.analysis.power_law import PowerLaw, fit_exponential, fit_power_law

X = (64.0, 128.0, 256.0, 512.0, 1024.0)


def drawn(seed: int, seeds: int = 3, scatter: float = 0.3, bend: float = 0.0) -> PowerLaw:
    """A law y = 2 x^-0.7 with logarithms that scatter, and perhaps a bend in them."""
    rng = np.random.default_rng(seed)
    logs = {x: math.log(2) - 0.7 * math.log(x) + bend * math.log(x / 256) ** 2 for x in X}
    law = fit_power_law({x: np.exp(y + scatter * rng.standard_normal(seeds)).tolist() for x, y in logs.items()})
    assert law is not None
    return law


@pytest.mark.parametrize("repeated", [1, 3])
def test_an_exact_law(repeated: int) -> None:
    law = fit_power_law({x: [3.0 * x**-1.5] * repeated for x in X})
    assert law is not None
    assert law.amplitude == pytest.approx(3.0)
    assert law.exponent == pytest.approx(1.5)
    assert law(100.0) == pytest.approx(3e-3)
    assert law.sigma < 1e-6


def test_two_points_are_joined() -> None:
    law = fit_power_law({1.0: [8.0], 2.0: [1.0]})
    assert law is not None
    assert law.exponent == pytest.approx(3.0)
    assert (law.freedom, math.isnan(law.sigma), math.isnan(law.chance)) == (0, True, True)
    scattered = fit_power_law({1.0: [7.0, 9.0], 2.0: [1.0, 1.1]})
    assert scattered is not None
    assert 0 < scattered.sigma < 1
    assert math.isnan(scattered.chance)


def test_the_error_of_the_exponent_covers_it() -> None:
    """68 % within one σ in the long run; 400 fits, of which with inflation somewhat more."""
    laws = [drawn(seed) for seed in range(400)]
    pulls = np.array([(law.exponent - 0.7) / law.sigma for law in laws])
    assert 0.66 < np.mean(np.abs(pulls) < 1) < 0.82
    assert np.mean(np.abs(pulls) < 2) > 0.93
    assert abs(np.mean(pulls)) < 0.15
    chances = np.array([law.chance for law in laws])
    assert abs(np.mean(chances < 0.05) - 0.05) < 0.035
    assert abs(np.mean(chances) - 0.5) < 0.05


def test_slopes_are_those_of_ordinary_least_squares_where_weights_are_equal() -> None:
    """By the formulas of textbooks."""
    law = fit_power_law({1.0: [1.0], 3.0: [0.5], 10.0: [0.2], 50.0: [0.01]})
    x, y = np.log([1, 3, 10, 50]), np.log([1.0, 0.5, 0.2, 0.01])
    width = ((x - x.mean()) ** 2).sum()
    slope = ((x - x.mean()) * y).sum() / width
    rest = y - y.mean() - slope * (x - x.mean())
    assert law is not None
    assert law.exponent == pytest.approx(-slope)
    assert law.sigma == pytest.approx(math.sqrt((rest**2).sum() / 2 / width))
    assert math.isnan(law.scatter)


def test_a_point_with_more_repetitions_weighs_more() -> None:
    y = {1.0: [1.0, 1.1], 2.0: [0.5] * 2, 4.0: [1.0, 1.1]}
    more = fit_power_law(y | {4.0: [1.0, 1.1] * 50})
    fewer = fit_power_law(y)
    assert more is not None
    assert fewer is not None
    assert abs(math.log(more(4.0) / math.exp(np.mean(np.log(y[4.0]))))) < 0.1
    assert abs(math.log(fewer(4.0) / math.exp(np.mean(np.log(y[4.0]))))) > 0.1


def test_a_bend_is_seen_and_widens_the_error() -> None:
    bent, straight = drawn(1, scatter=0.1, bend=0.5), drawn(1, scatter=0.1)
    assert straight.chance > 0.05
    assert bent.chance < 1e-3
    assert bent.sigma > 3 * straight.sigma


def test_an_exponential_is_told_from_a_power_law() -> None:
    rng = np.random.default_rng(4)
    xs = [1.0, 3.0, 10.0, 30.0, 100.0]
    noise = {x: np.exp(0.1 * rng.standard_normal(3)) for x in xs}
    decay = {x: (0.7 * np.exp(-0.05 * x) * noise[x]).tolist() for x in xs}
    found, wrong = fit_exponential(decay), fit_power_law(decay)
    assert found is not None
    assert wrong is not None
    assert found.exponent == pytest.approx(0.05 * 100, abs=3 * found.sigma)
    assert found.chance > 0.05
    assert wrong.chance < 1e-3
    falls = fit_exponential({x: (2 * x**-1.2 * noise[x]).tolist() for x in xs})
    assert falls is not None
    assert falls.chance < 1e-3
    assert fit_exponential({}) is None


def test_too_few_points_and_numbers_without_a_logarithm() -> None:
    assert fit_power_law({}) is None
    assert fit_power_law({1.0: [2.0, 3.0], 2.0: []}) is None
    for points in ({1.0: [0.0], 2.0: [1.0]}, {0.0: [1.0], 2.0: [1.0]}, {1.0: [math.nan], 2.0: [1.0]}):
        with pytest.raises(ValueError, match="positive, finite"):
            fit_power_law(points)
