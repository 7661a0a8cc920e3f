"""Determinants and spectra of dense fermion matrices; cost (2 N · sites)³ a configuration."""

from __future__ import annotations

import torch
from torch import Tensor

from pipeline.gauge.fermions.dirac import FermionMatrix


def log_det(matrix: FermionMatrix) -> tuple[Tensor, Tensor]:
    """Sign (±1, as γ_5-hermiticity makes det A real) and log|det A| of each configuration, (batch,) float64 each."""
    sign, logarithm = torch.linalg.slogdet(matrix.dense())
    return sign.real.sign(), logarithm


def normal_eigenvalues(matrix: FermionMatrix) -> Tensor:
    """Eigenvalues of M = A A†, falling, (batch, n): squared singular values, so that small ones keep their digits."""
    return torch.linalg.svdvals(matrix.dense()).square()
