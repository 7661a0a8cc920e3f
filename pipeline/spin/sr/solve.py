"""The linear system of stochastic reconfiguration, as large as the batch or as the parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.base.run.laps import part
from pipeline.base.run.ranks import ALONE, Ranks
from pipeline.spin.sr.operator import LogDerivatives

LARGE = 4096
"""Rows from which on a matrix is factorised in its own memory."""

SOFTNESS = 6
"""Power of the soft cut-off of small eigenvalues."""


@dataclass(frozen=True)
class Solver:
    """How (S + λ)^{-1} is applied.

    Attributes:
        name: ``cholesky``; or ``pinv``, the pseudo-inverse of MinSR (Chen and Heyl, Nat. Phys. 20, 1476 (2024)), where
            an eigenvalue s of XᵀX has the inverse 1/[(s + λ)(1 + (c/s)⁶)] with the cut-off c = rtol max(s) + atol.
        rtol, atol: >= 0, of ``pinv``.
    """

    name: str = "cholesky"
    rtol: float = 1e-12
    atol: float = 0.0

    def __call__(self, build: Callable[[], Tensor], shift: float, target: Tensor, ranks: Ranks = ALONE) -> Tensor:
        """(matrix + shift)^{-1} target for a positive semidefinite matrix; NaN where it is not finite.

        Without what rounding makes of its null space, where the shift is too small to cover it.

        Args:
            build: makes the matrix, (R, R) float64, which is overwritten; again in the rare case that Cholesky fails.
            shift: λ >= 0; > 0 for ``cholesky``.
            target: (R,) float64.
            ranks: which build the matrix together; the first one solves and tells the others (ViT paper, Methods).
        """
        leads = ranks.rank == 0
        matrix = build()
        found = self._solved(matrix, shift, target, self.name == "cholesky") if leads else None
        if ranks.agree(int(leads and found is None)):
            del matrix
            matrix = build()
            found = self._solved(matrix, shift, target, False) if leads else None
        return ranks.reduce(torch.zeros_like(target) if found is None else found)

    def _solved(self, matrix: Tensor, shift: float, target: Tensor, cholesky: bool) -> Tensor | None:
        """The solution; None where Cholesky fails, which leaves nothing of the matrix."""
        with part("solve"):
            return self._solve(matrix, shift, target, cholesky)

    def _solve(self, matrix: Tensor, shift: float, target: Tensor, cholesky: bool) -> Tensor | None:
        # one wait for the device; the smallest and the largest element are NaN if any one is
        *ends, largest = torch.stack([*matrix.aminmax(), matrix.diagonal().max()]).tolist()
        if not all(abs(end) < float("inf") for end in ends):
            return torch.full_like(target, float("nan"))
        rounding = len(matrix) * torch.finfo(matrix.dtype).eps * largest
        if cholesky and shift > rounding:
            return _cholesky(matrix, shift, target)
        values, vectors = torch.linalg.eigh(matrix)
        if self.name == "pinv":
            cut = self.rtol * values[-1] + self.atol  # ascending
            inverse = 1.0 / ((values + shift) * (1.0 + (cut / values) ** SOFTNESS))
        else:
            inverse = 1.0 / (values + shift)
        inverse = torch.where(values > rounding, inverse, 0.0)
        return vectors @ (inverse * (vectors.T @ target))


CHOLESKY = Solver()


def _cholesky(matrix: Tensor, shift: float, target: Tensor) -> Tensor | None:
    """(matrix + shift)^{-1} target, on top of the matrix; None where the factorisation fails."""
    matrix.diagonal().add_(shift)
    if len(matrix) < LARGE:
        factor, failed = torch.linalg.cholesky_ex(matrix)
        return None if failed else torch.cholesky_solve(target[:, None], factor)[:, 0]
    # columns side by side, as LAPACK wants them: neither this nor the solutions make a copy
    factor, failed = matrix.mT, torch.empty((), dtype=torch.int32, device=matrix.device)
    torch.linalg.cholesky_ex(factor, out=(factor, failed))
    if failed:
        return None
    half = torch.linalg.solve_triangular(factor, target[:, None], upper=False)
    return torch.linalg.solve_triangular(factor.mT, half, upper=True)[:, 0]


def solve(operator: LogDerivatives, target: Tensor, shift: float, solver: Solver = CHOLESKY) -> Tensor:
    """(X Xᵀ + λ)^{-1} X f in the smaller of two forms.

    Args:
        operator: X, (P, R).
        target: f, (R,) float64.
        shift: λ > 0.
        solver: how.

    Returns:
        (P,) float64; NaN where X or f is not finite.
    """
    parameters, rows = operator.shape
    form = among_parameters if parameters < rows else among_samples
    return form(operator, target, shift, solver)


def among_samples(operator: LogDerivatives, target: Tensor, shift: float, solver: Solver = CHOLESKY) -> Tensor:
    """X (XᵀX + λ)^{-1} f: an R × R system (ViT paper, Eqs. 5-11)."""
    return operator.pull(solver(operator.gram, shift, target, operator.ranks))


def among_parameters(operator: LogDerivatives, target: Tensor, shift: float, solver: Solver = CHOLESKY) -> Tensor:
    """(X Xᵀ + λ)^{-1} X f: a P × P system (ViT paper, Eq. 3)."""
    return solver(operator.metric, shift, operator.pull(target), operator.ranks)
