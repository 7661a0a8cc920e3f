"""Determinants from several draws, and how the effective sample size depends on their number."""

import numpy as np
import pytest

from pipeline.base.numbers import rng
from pipeline.base.numbers.statistics import effective_sample_size
from pipeline.gauge.pseudofermion.estimators import (
    ess_of_draws,
    expected_inverse_ess,
    fit_inverse_ess,
    log_determinant,
)

DRAWS = [1, 2, 4, 8, 16]


def test_groups_of_draws() -> None:
    log_ratios = rng.numpy_generator(1, "test.ratios").normal(size=(2, 3, 7)) + 800.0
    found = log_determinant(log_ratios, 3)
    assert found.shape == (2, 3)
    ratios = np.exp(log_ratios - 800.0)
    for group in (0, 1):
        product = ratios[..., 3 * group : 3 * group + 3].mean(axis=-1).prod(axis=0)
        np.testing.assert_allclose(found[group] - 1600.0, np.log(product), rtol=1e-12)
    np.testing.assert_allclose(log_determinant(log_ratios, 1).T, log_ratios.sum(axis=0), rtol=1e-14)
    for bad in (0, -1, 8):
        with pytest.raises(ValueError, match="cannot be taken from 7"):
            log_determinant(log_ratios, bad)


def test_equal_ratios_leave_the_marginal_ess() -> None:
    log_gauge = rng.numpy_generator(1, "test.gauge").normal(size=50)
    found = ess_of_draws(log_gauge, np.full((2, 50, 4), -3.0), 2)
    np.testing.assert_allclose(found, effective_sample_size(log_gauge), rtol=1e-12)


@pytest.mark.parametrize("monomials", [1, 2, 3])
def test_inverse_ess_is_a_polynomial(monomials: int) -> None:
    """Of the degree that the number of monomials says (Appendix A has one): Eq. 45 alone misses the marginal ESS."""
    generator = rng.numpy_generator(1, "test.variances")
    log_marginal, variances = generator.normal(size=40), generator.exponential(2.0, size=(monomials, 40))
    inverse = expected_inverse_ess(log_marginal, variances, DRAWS)
    marginal = effective_sample_size(log_marginal)
    assert expected_inverse_ess(log_marginal, variances, [10**12])[0] == pytest.approx(1.0 / marginal, rel=1e-9)
    assert (np.diff(inverse) < 0.0).all()
    errors = 0.01 / inverse
    fit = fit_inverse_ess(DRAWS, 1.0 / inverse, errors, monomials)
    assert fit.marginal_ess == pytest.approx(marginal, rel=1e-8)
    assert fit.chi_squared < 1e-12
    np.testing.assert_allclose(fit.ess(np.array(DRAWS, dtype=float)), 1.0 / inverse, rtol=1e-8)
    straight = fit_inverse_ess(DRAWS, 1.0 / inverse, errors, 1)
    assert (abs(straight.marginal_ess / marginal - 1.0) < 1e-8) == (monomials == 1)


def test_expected_ess_is_what_draws_give() -> None:
    """Log-normal ratios with known variances, on many configurations."""
    generator = rng.numpy_generator(1, "test.draws")
    batch = 40000
    width = np.stack([np.full(batch, 0.5), generator.choice([0.2, 0.7], size=batch)])
    log_marginal = 0.4 * generator.normal(size=batch)
    noise = generator.normal(size=(2, batch, 4)) * width[..., None]
    log_ratios = noise - 0.5 * width[..., None] ** 2
    variances = np.exp(width**2) - 1.0
    for draws in (1, 2, 4):
        found = ess_of_draws(log_marginal, log_ratios, draws).mean()
        assert 1.0 / found == pytest.approx(expected_inverse_ess(log_marginal, variances, [draws])[0], rel=0.03)


def test_infinite_variances_stay_infinite() -> None:
    variances = np.array([[0.1, np.inf]])
    assert np.isinf(expected_inverse_ess(np.zeros(2), variances, [1, 64])).all()


def test_errors_of_a_fit() -> None:
    """c_0 of a straight line through two points: their errors propagated by hand."""
    fit = fit_inverse_ess([1, 2], np.array([0.25, 0.4]), np.array([0.01, 0.02]), 1)
    first, second = 4.0, 2.5
    assert fit.coefficients == pytest.approx((2 * second - first, 2 * (first - second)))
    sigma = np.hypot(0.01 * first**2, 2 * 0.02 * second**2)
    assert fit.sigma == pytest.approx(sigma)
    with pytest.raises(ValueError, match="degree 2 needs more than 2 different N_pf"):
        fit_inverse_ess([1, 2, 2], np.full(3, 0.5), np.full(3, 0.1), 2)
