"""The linear system of stochastic reconfiguration, as large as the batch or as the parameters."""

from __future__ import annotations

import torch
from torch import Tensor

from pipeline.spin.sr.operator import LogDerivatives


def solve(operator: LogDerivatives, target: Tensor, shift: float) -> Tensor:
    """(X Xᵀ + λ)^{-1} X f in the smaller of two forms.

    Args:
        operator: X, (P, R).
        target: f, (R,) float64.
        shift: λ > 0.

    Returns:
        (P,) float64; NaN where X or f is not finite.
    """
    parameters, rows = operator.shape
    return among_parameters(operator, target, shift) if parameters < rows else among_samples(operator, target, shift)


def among_samples(operator: LogDerivatives, target: Tensor, shift: float) -> Tensor:
    """X (XᵀX + λ)^{-1} f: an R × R system (ViT paper, Eqs. 5-11)."""
    return operator.pull(_solve(operator.gram(), shift, target))


def among_parameters(operator: LogDerivatives, target: Tensor, shift: float) -> Tensor:
    """(X Xᵀ + λ)^{-1} X f: a P × P system (ViT paper, Eq. 3)."""
    return _solve(operator.metric(), shift, operator.pull(target))


def _solve(matrix: Tensor, shift: float, target: Tensor) -> Tensor:
    """(matrix + shift)^{-1} target for a positive semidefinite matrix; NaN where it is not finite.

    Without what rounding makes of its null space, where the shift is too small to cover it.
    """
    if not matrix.isfinite().all():
        return torch.full_like(target, float("nan"))
    rounding = len(matrix) * torch.finfo(matrix.dtype).eps * float(matrix.diagonal().max())
    one = torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)
    factor, failed = torch.linalg.cholesky_ex(matrix + shift * one)
    if shift > rounding and not failed:
        return torch.cholesky_solve(target[:, None], factor)[:, 0]
    values, vectors = torch.linalg.eigh(matrix)
    inverse = torch.where(values > rounding, 1.0 / (values + shift), 0.0)
    return vectors @ (inverse * (vectors.T @ target))
