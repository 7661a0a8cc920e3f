"""Exact quality of a conditional model over given links, from dense matrices of small lattices.

q(φ|U) is a Gaussian with covariance Σ = F F†, p(φ|U) one with covariance Λ^{-1}. All that matters of them are the
eigenvalues s of Λ^{1/2} Σ Λ^{1/2}, all 1 for a perfect model:

    D_KL(q||p) = Σ (s - 1 - log s),    E_q[w²] = Π s²/(2s - 1),  w = p/q,

the latter infinite as soon as one s <= 1/2: a model whose variance is too small by 2 in any direction has weights of
infinite variance. The mean of N_pf weights has the variance of one divided by N_pf (Eq. A3).
"""

from __future__ import annotations

import torch
from torch import Tensor

from pipeline.gauge.fermions.dirac import FermionMatrix
from pipeline.gauge.fermions.monomials import Monomial
from pipeline.gauge.pseudofermion.conditional import BoundFlow


def dense_map(flow: BoundFlow) -> Tensor:
    """F itself, from all unit vectors; (batch, n, n), complex128, in the order site, spin, colour; differentiable."""
    base = flow.base(1, torch.Generator(flow.sites.device))
    dimension = base[0, 0].numel()
    unit = torch.eye(dimension, dtype=base.dtype, device=base.device).reshape(1, dimension, *base.shape[2:])
    fields, _ = flow.push(unit.expand(base.shape[0], -1, -1, -1, -1))
    return fields.flatten(2).mT


@torch.no_grad()
def relative_spectrum(flow: BoundFlow, matrix: FermionMatrix, monomial: Monomial) -> Tensor:
    """Eigenvalues s of Λ^{1/2} F F† Λ^{1/2}, falling, (batch, n), float64.

    Squared singular values of Λ^{1/2} F, and Λ from the singular values of A, so that small ones keep their digits.

    Args:
        flow: model of the monomial over some links.
        matrix: A over the same links.
        monomial: Λ.
    """
    left, singular, _ = torch.linalg.svd(matrix.dense())
    covariance = monomial.spectrum(singular.square())
    whitened = covariance.rsqrt()[..., None] * (left.mH @ dense_map(flow))
    return torch.linalg.svdvals(whitened).square()


def conditional_kl(spectrum: Tensor) -> Tensor:
    """D_KL(q(φ|U)||p(φ|U)) of each configuration, (..., n) -> (...); infinite where the map is singular."""
    return (spectrum - 1.0 - spectrum.log()).sum(dim=-1)


def weight_variance(spectrum: Tensor) -> Tensor:
    """Var_q[p/q] = Π s²/(2s - 1) - 1 of each configuration, (..., n) -> (...); infinite if any s <= 1/2."""
    finite = (spectrum > 0.5).all(dim=-1)
    safe = torch.where(spectrum > 0.5, spectrum, 1.0)
    log_moment = (2.0 * safe.log() - (2.0 * safe - 1.0).log()).sum(dim=-1)
    return torch.where(finite, torch.expm1(log_moment), torch.inf)
