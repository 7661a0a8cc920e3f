"""Solutions of (M + μ) x = b for the normal matrix M = A A† of fermions, without gradients.

Actions are written so that no gradient has to pass through a solution, see :mod:`pipeline.gauge.monomials`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from pipeline.base.errors import UserError
from pipeline.gauge.dirac import FermionMatrix


class NotConverged(UserError):
    """The iteration cap was reached: D is close to singular, or the cap is too low for the tolerance."""

    exit_code = 4


class Solver(Protocol):
    """Solves with M + μ."""

    def solve(self, matrix: FermionMatrix, shift: float, field: Tensor) -> Tensor:
        """(M + μ)^{-1} b, detached; shape of ``field``, (batch, k, sites, 2, N).

        Args:
            matrix: A with M = A A†.
            shift: μ >= 0.
            field: b.
        """
        ...


@dataclass(frozen=True)
class DenseSolver:
    """Cholesky decomposition, for the smallest lattices: cost (2 N · sites)³."""

    @torch.no_grad()
    def solve(self, matrix: FermionMatrix, shift: float, field: Tensor) -> Tensor:
        """See :meth:`Solver.solve`; exact up to rounding times the condition number of M + μ."""
        dense = matrix.dense()
        normal = dense @ dense.mH
        normal.diagonal(dim1=-2, dim2=-1).add_(shift)
        # The checked version would raise for NaN in one configuration, which is to fail alone.
        factor = torch.linalg.cholesky_ex(normal)[0]
        return torch.cholesky_solve(field.flatten(2).mT, factor).mT.reshape(field.shape)


@dataclass(frozen=True)
class ConjugateGradient:
    """Conjugate gradients on all systems side by side; each is frozen when it has converged.

    Always starts from zero, so that the solution is a function of the links alone and forces are reversible.

    Attributes:
        tolerance: of |b - (M + μ) x| / |b| in each system, by the residual of the recursion.
        max_iterations: cap.
    """

    tolerance: float
    max_iterations: int

    @torch.no_grad()
    def solve(self, matrix: FermionMatrix, shift: float, field: Tensor) -> Tensor:
        """See :meth:`Solver.solve`; systems with NaN or infinity yield NaN.

        Raises:
            NotConverged: a system has not converged after ``max_iterations``.
        """
        systems = (*field.shape[:2], 1)
        residual = field.detach().clone()
        direction, solution = residual.clone(), torch.zeros_like(residual)
        norm = start = _dot(residual, residual)
        target = self.tolerance**2 * start
        for _ in range(self.max_iterations):
            # A norm of NaN or infinity fails one of the tests: such systems stop at once.
            active = (norm > target) & norm.isfinite()
            if not active.any():
                break
            image = matrix.normal(direction).add_(direction, alpha=shift)
            step = torch.where(active, norm / _dot(direction, image), 0.0)
            _add_scaled(solution, step, direction)
            _add_scaled(residual, -step, image)
            new = torch.where(active, _dot(residual, residual), norm)
            direction.mul_((new / norm).nan_to_num(0.0).view(*systems, 1, 1)).add_(residual)
            norm = new
        failed = norm > target
        if (failed & norm.isfinite()).any():
            worst = (norm / start)[failed].max().sqrt().item()
            raise NotConverged(
                f"conjugate gradients: {int(failed.sum())} of {failed.numel()} systems have not converged after "
                f"{self.max_iterations} iterations (relative residual {worst:.1e}, tolerance {self.tolerance:.1e}); "
                f"κ={matrix.kappa:g} may be beyond its critical value, where D gets eigenvalues close to zero"
            )
        solution[~norm.isfinite()] = torch.nan
        return solution


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Re a†b of each system; (batch, k, sites, 2, N) -> (batch, k)."""
    return (torch.view_as_real(a) * torch.view_as_real(b)).flatten(2).sum(dim=-1)


def _add_scaled(target: Tensor, factor: Tensor, field: Tensor) -> None:
    """target += factor · field in place, with a real factor for each system."""
    torch.view_as_real(target).addcmul_(factor[..., None, None, None, None], torch.view_as_real(field))


def solve_dirac(matrix: FermionMatrix, solver: Solver, source: Tensor) -> Tensor:
    """A^{-1} b = A† (A A†)^{-1} b: propagators for sources (batch, k, sites, 2, N)."""
    return matrix.dagger(solver.solve(matrix, 0.0, source)).detach()
