"""Solutions of (M + μ) x = b for the normal matrix M = A A† of fermions, without gradients.

Actions are written so that no gradient has to pass through a solution, see :mod:`pipeline.gauge.fermions.monomials`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from pipeline.base.errors import UserError
from pipeline.gauge.fermions.dirac import FermionMatrix
from pipeline.gauge.fermions.hopping import check_shapes, compiled

SINGLE_TOLERANCE = 1e-6
"""Least relative residual that is asked for in single precision, whose rounding is not much smaller."""


LOOK_EVERY = 8
"""Iterations after which it is asked whether all systems are frozen: an accelerator has to wait for the answer."""


class NotConverged(UserError):
    """The iteration cap was reached: D is close to singular, or the cap is too low for the tolerance."""

    exit_code = 4


@dataclass
class Applications:
    """How often conjugate gradients have applied A or A† to a field over each configuration: twice an iteration.

    Attributes:
        counts: (batch,) int64; None before the first solution.
    """

    counts: Tensor | None = None

    def add(self, iterations: Tensor) -> None:
        """Those of one solution, (batch, k)."""
        counts = 2 * iterations.sum(dim=1)
        self.counts = counts if self.counts is None else self.counts + counts


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
        factor, failed = torch.linalg.cholesky_ex(normal)
        factor = factor.masked_fill((failed != 0)[:, None, None], torch.nan)
        columns = field.flatten(2).mT
        if field.is_cuda:
            # On a GPU cholesky_solve allocates by itself, which a CUDA graph forbids.
            half = torch.linalg.solve_triangular(factor, columns, upper=False)
            solution = torch.linalg.solve_triangular(factor.mH, half, upper=True)
        else:
            solution = torch.cholesky_solve(columns, factor)
        return solution.mT.reshape(field.shape)


@dataclass(frozen=True)
class ConjugateGradient:
    """Conjugate gradients, on each system for as long as it needs.

    Always starts from zero, so that the solution is a function of the links alone and forces are reversible.

    Attributes:
        tolerance: of |b - (M + μ) x| / |b| in each system, by the residual of the recursion; complex64 systems stop
            at ``SINGLE_TOLERANCE`` where it is larger.
        max_iterations: cap.
        counted: where applications of A are counted; None: nowhere.
    """

    tolerance: float
    max_iterations: int
    counted: Applications | None = field(default=None, compare=False)

    @torch.no_grad()
    def solve(self, matrix: FermionMatrix, shift: float, field: Tensor) -> Tensor:
        """See :meth:`Solver.solve`; systems with NaN or infinity yield NaN.

        Raises:
            ValueError: a field of another shape.
            NotConverged: a system has not converged after ``max_iterations``.
        """
        check_shapes(field, matrix.links, matrix.hops[0])
        solution, residuals, iterations = (
            self._compiled(matrix, shift, field) if compiled(field) else self._plain(matrix, shift, field)
        )
        if self.counted is not None:
            self.counted.add(iterations)
        failed = residuals > self._tolerance(field)
        if failed.any():
            raise NotConverged(
                f"conjugate gradients: {int(failed.sum())} of {failed.numel()} systems have not converged after "
                f"{self.max_iterations} iterations (relative residual {residuals[failed].max().item():.1e}, tolerance "
                f"{self._tolerance(field):.1e}); κ={matrix.kappa:g} may be beyond its critical value, where D gets "
                "eigenvalues close to zero; if not, the cap is too low for the tolerance"
            )
        return solution

    def _tolerance(self, field: Tensor) -> float:
        return max(self.tolerance, SINGLE_TOLERANCE) if field.dtype == torch.complex64 else self.tolerance

    def _compiled(self, matrix: FermionMatrix, shift: float, field: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        from pipeline.gauge.fermions import hopping_loops

        return hopping_loops.conjugate_gradients(
            field, matrix.links, matrix.hops, matrix.kappa, shift, self._tolerance(field), self.max_iterations
        )

    def _plain(self, matrix: FermionMatrix, shift: float, field: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Solution, relative residuals and iterations, in torch, for any device; converged systems are frozen."""
        residual = field.detach().clone()
        direction, solution = residual.clone(), torch.zeros_like(residual)
        norm = start = _square(residual)
        iterations = torch.zeros_like(norm, dtype=torch.int64)
        target = self._tolerance(field) ** 2 * start
        for iteration in range(self.max_iterations):
            # A norm of NaN or infinity fails one of the tests: such systems stop at once.
            active = (norm > target) & norm.isfinite()
            if iteration % LOOK_EVERY == 0 and not active.any():
                break
            iterations += active
            half = matrix.dagger(direction)
            image = matrix.apply(half).add_(direction, alpha=shift)
            # p†M p = |A†p|², whose rounding errors are smaller than those of the product itself.
            step = torch.where(active, norm / (_square(half) + shift * _square(direction)), 0.0)
            _add_scaled(solution, step, direction)
            _add_scaled(residual, -step, image)
            new = torch.where(active, _square(residual), norm)
            direction.mul_((new / norm).nan_to_num(0.0)[..., None, None, None]).add_(residual)
            norm = new
        failed = ~norm.isfinite()
        solution[failed] = torch.nan
        residuals = torch.where(start > 0.0, (norm / start).sqrt(), 0.0).masked_fill(failed, torch.nan)
        return solution, residuals, iterations


def _square(a: Tensor) -> Tensor:
    """|a|² of each system; (batch, k, sites, 2, N) -> (batch, k)."""
    return torch.view_as_real(a).square().flatten(2).sum(dim=-1)


def _add_scaled(target: Tensor, factor: Tensor, field: Tensor) -> None:
    """target += factor · field in place, with a real factor for each system."""
    torch.view_as_real(target).addcmul_(factor[..., None, None, None, None], torch.view_as_real(field))


def solve_dirac(matrix: FermionMatrix, solver: Solver, source: Tensor) -> Tensor:
    """A^{-1} b = A† (A A†)^{-1} b: propagators for sources (batch, k, sites, 2, N)."""
    return matrix.dagger(solver.solve(matrix, 0.0, source)).detach()
