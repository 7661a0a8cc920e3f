"""Masses from correlators of known spectra."""

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.gauge.spectroscopy import effective_mass, fitted_mass, folded, mass_fits, two_state_mass


def correlator(extent: int, *states: tuple[float, float]) -> NDArray[np.float64]:
    """Σ A cosh(m (t - T/2)) over states (A, m), as traces of transfer matrices give it."""
    times = np.arange(extent)
    return sum((a * np.cosh(m * (times - extent / 2)) for a, m in states), np.zeros(extent))


@pytest.mark.parametrize("extent", [4, 7, 16])
def test_folding_averages_a_time_and_its_mirror_image(extent: int) -> None:
    values = np.random.default_rng(1).normal(size=(2, extent))
    result = folded(values)
    assert result.shape == (2, extent // 2 + 1)
    np.testing.assert_array_equal(result[:, 0], values[:, 0])
    np.testing.assert_allclose(result[:, 1], (values[:, 1] + values[:, -1]) / 2)
    even = correlator(extent, (1.0, 0.3))
    np.testing.assert_allclose(folded(even), even[: extent // 2 + 1], rtol=1e-14)


@pytest.mark.parametrize("extent", [8, 9, 16])
@pytest.mark.parametrize("mass", [0.05, 0.35, 3.0])
def test_one_state_has_its_mass_at_all_times(extent: int, mass: float) -> None:
    c = correlator(extent, (2.0, mass))
    np.testing.assert_allclose(effective_mass(c), mass, rtol=1e-8)
    assert fitted_mass(c, 0.01 * folded(c)) == pytest.approx(mass, rel=1e-6)


def test_excited_states_die_out() -> None:
    c = correlator(32, (1.0, 0.4), (1e-3, 1.2))
    masses = effective_mass(c)
    assert (np.diff(masses) < 0).all()
    assert masses[0] > 0.6
    assert masses[-1] == pytest.approx(0.4, abs=2e-3)
    # The fit leaves out the times that know them best.
    assert 0.4 < fitted_mass(c, 0.01 * folded(c)) < masses[7]


def test_a_fit_weighs_by_the_errors() -> None:
    c = correlator(16, (1.0, 0.4))
    sigma = 0.01 * folded(c)
    spoilt = c.copy()
    spoilt[[6, 10]] *= 1.3
    sigma[6] = 1e6
    assert fitted_mass(spoilt, sigma) == pytest.approx(0.4, abs=1e-6)


def test_no_mass_where_the_correlator_is_not_convex() -> None:
    assert np.isnan(effective_mass(np.array([1.0, 2.0, 3.0, 2.0]))[1])


@pytest.mark.parametrize("extent", [8, 16])
def test_two_states_are_told_apart(extent: int) -> None:
    values = folded(correlator(extent, (1.0, 0.35), (0.02, 1.4)))
    assert two_state_mass(values, 0.01 * values, extent, 1, 0.4) == pytest.approx(0.35, abs=1e-5)


def test_a_second_state_of_the_other_sign_is_no_fit() -> None:
    values = folded(correlator(16, (1.0, 0.35), (-0.02, 0.9)))
    assert two_state_mass(values, 0.01 * values, 16, 2, 0.35) is None


def test_the_choice_of_the_fit_covers_what_excited_states_do() -> None:
    """One state from later and later times comes down to the mass, two states have it; alone, all agree."""
    several = folded(correlator(16, (1.0, 0.35), (0.01, 1.2), (1e-6, 2.0)))
    fits = mass_fits(several, 0.01 * several, 16)
    assert list(fits) == [
        "one state, t >= 6", "one state, t >= 7", "two states, t >= 2", "two states, t >= 3", "two states, t >= 4"
    ]  # fmt: skip
    assert fits["one state, t >= 6"] > fits["one state, t >= 7"] > 0.35
    assert fits["two states, t >= 4"] == pytest.approx(0.35, abs=2e-4)
    assert max(fits.values()) - 0.35 > abs(fits["two states, t >= 3"] - 0.35)
    alone = folded(correlator(16, (1.0, 0.35)))
    assert [m for fit, m in mass_fits(alone, 0.01 * alone, 16).items() if "one" in fit] == pytest.approx([0.35] * 2)
    assert list(mass_fits(alone[:3], 0.01 * alone[:3], 4)) == ["one state, t >= 1"]
