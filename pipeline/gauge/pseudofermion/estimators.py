"""The determinant from N_pf draws of each monomial, and the effective sample size that it leaves (torch-free).

Log ratios are log(e^{-S_i(φ)}/q(φ|U)) of each monomial, configuration and draw, (monomials, batch, n), float64, whose
exponentials average to ∫dφ e^{-S_i} (Abbott et al. 2022, Eq. 41).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.base.later import NDArray, np
from pipeline.base.numbers.statistics import effective_sample_size


def log_determinant(log_ratios: NDArray[np.float64], draws: int) -> NDArray[np.float64]:
    """log Π_i (1/N) Σ_k e^{-S_i}/q of disjoint groups of N draws (Eqs. 42 and 46).

    Unbiased before the logarithm is taken: the mean of its exponential is det(D D†) π^{n (N_h + 1)}.

    Args:
        log_ratios: (monomials, batch, n).
        draws: N = N_pf; what does not fill a group is left out.

    Returns:
        (n // N, batch).

    Raises:
        ValueError: no group is full.
    """
    monomials, batch, available = log_ratios.shape
    groups = available // draws if draws > 0 else 0
    if groups == 0:
        raise ValueError(f"{draws} draws a group cannot be taken from {available}")
    split = log_ratios[..., : groups * draws].reshape(monomials, batch, groups, draws)
    highest = split.max(axis=-1, keepdims=True)
    means = np.log(np.exp(split - highest).mean(axis=-1)) + highest[..., 0]
    return np.asarray(means.sum(axis=0).T)


def conditional_divergence(
    log_determinants: NDArray[np.float64], log_ratios: NDArray[np.float64], log_volume: float
) -> NDArray[np.float64]:
    """Σ_i D_KL(q(φ_i|U)‖p(φ_i|U)) of each configuration, from its draws, (batch,): unbiased, and no weight in it.

    -⟨log(e^{-S}/q)⟩ + log ∫dφ e^{-S}, summed over monomials; the normalisers are det D D† π^n all together.

    Args:
        log_determinants: log det D D†, (batch,).
        log_ratios: (monomials, batch, draws).
        log_volume: n log π, n components of the fields of all monomials.
    """
    return np.asarray(log_determinants + log_volume - log_ratios.mean(axis=2).sum(axis=0))


def ess_of_draws(log_gauge: NDArray[np.float64], log_ratios: NDArray[np.float64], draws: int) -> NDArray[np.float64]:
    """ESS(N_pf) of Eq. 44 from each disjoint group of draws, (n // N_pf,).

    Args:
        log_gauge: log(e^{-S_g(U)}/q(U)), (batch,); zeros for an ensemble of equal weights.
        log_ratios: (monomials, batch, n).
        draws: N_pf.

    Raises:
        ValueError: no group is full.
    """
    weights = log_gauge + log_determinant(log_ratios, draws)
    return np.array([effective_sample_size(each) for each in weights])


def expected_inverse_ess(
    log_marginal: NDArray[np.float64], variances: NDArray[np.float64], draws: Sequence[int]
) -> NDArray[np.float64]:
    """1/ESS(N_pf) = ⟨w(U)² Π_i (1 + X_i(U)/N_pf)⟩ / ⟨w(U)⟩² with the average over draws done exactly (Appendix A).

    A polynomial in 1/N_pf of degree N_h + 1, the number of monomials; Eq. 45 is the case of one.

    Args:
        log_marginal: log weights with the exact determinant, (batch,).
        variances: X_i(U), see :func:`pipeline.gauge.pseudofermion.spectrum.weight_variance`, (monomials, batch).
        draws: values of N_pf.

    Returns:
        (len(draws),), infinite where any variance is.
    """
    w = np.exp(log_marginal - log_marginal.max())
    n = np.asarray(draws, dtype=float)[:, None, None]
    excess = np.prod(1.0 + variances / n, axis=1)
    return np.asarray((w**2 * excess).mean(axis=1) / w.mean() ** 2)


@dataclass(frozen=True)
class InverseESSFit:
    """1/ESS(N_pf) = Σ_k c_k / N_pf^k.

    Attributes:
        coefficients: c_0, c_1, ...
        sigma: of c_0, from the errors of the points, which count as independent.
        chi_squared: Σ ((fit - point)/error)².
    """

    coefficients: tuple[float, ...]
    sigma: float
    chi_squared: float

    @property
    def marginal_ess(self) -> float:
        """ESS(∞) = 1/c_0."""
        return 1.0 / self.coefficients[0]

    def ess(self, draws: NDArray[np.float64]) -> NDArray[np.float64]:
        """ESS at N_pf, any shape."""
        return np.asarray(1.0 / np.polynomial.polynomial.polyval(1.0 / draws, np.array(self.coefficients)))


def fit_inverse_ess(
    draws: Sequence[int], ess: NDArray[np.float64], errors: NDArray[np.float64], degree: int
) -> InverseESSFit:
    """Least squares for ESS(N_pf): ``degree`` 1 is Eq. 45, with C = c_1/c_0; N_h + 1 what N_h + 1 monomials give.

    Args:
        draws: N_pf of the points, different, more than ``degree``.
        ess: ESS there.
        errors: standard errors, > 0.
        degree: at least 0.

    Raises:
        ValueError: too few points.
    """
    n = np.asarray(draws, dtype=float)
    if len(np.unique(n)) <= degree:
        raise ValueError(f"a polynomial of degree {degree} needs more than {len(np.unique(n))} different N_pf")
    inverse, sigma = 1.0 / ess, errors / ess**2
    design = (1.0 / n[:, None]) ** np.arange(degree + 1) / sigma[:, None]
    found, *_ = np.linalg.lstsq(design, inverse / sigma, rcond=None)
    covariance = np.linalg.inv(design.T @ design)
    residual = design @ found - inverse / sigma
    return InverseESSFit(tuple(map(float, found)), float(np.sqrt(covariance[0, 0])), float(residual @ residual))
