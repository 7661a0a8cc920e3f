"""Actions of two degenerate flavours of Wilson fermions, -log det D D†, for hybrid Monte Carlo."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from pipeline.gauge.fermions.determinants import log_det
from pipeline.gauge.fermions.dirac import FermionMatrix, WilsonDirac
from pipeline.gauge.fermions.even_odd import SchurComplement
from pipeline.gauge.fermions.monomials import Monomial
from pipeline.gauge.fermions.solver import Solver
from pipeline.gauge.group import Group


@dataclass(frozen=True)
class WilsonFermions:
    """Which matrix stands for the fermions; det A = det D in any case.

    Attributes:
        group: of the links.
        kappa: κ = 1/(4 + 2 m_0).
        even_odd: A is the Schur complement on the even sites, instead of D; needs an even L.
    """

    group: Group
    kappa: float
    even_odd: bool

    def matrix(self, links: Tensor) -> FermionMatrix:
        """A over ``links`` of the group; gradients flow back to them.

        Raises:
            ValueError: even/odd on an odd length.
        """
        return self.matrix_of(self.group.matrices(links))

    def matrix_of(self, matrices: Tensor) -> FermionMatrix:
        """A over links in the fundamental representation, (batch, 2, L, L, N, N), complex128."""
        return SchurComplement(matrices, self.kappa) if self.even_odd else WilsonDirac(matrices, self.kappa)

    def force(self, links: Tensor, outputs: Callable[[FermionMatrix], tuple[Tensor, Tensor]]) -> Tensor:
        """F_a = -∂S/∂ω_a, in the shape of momenta.

        Args:
            links: of the group.
            outputs: from the matrix, a differentiable tensor Y and weights W such that dS = Re Σ W* dY; for an action
                that autograd knows, its value and ones.
        """
        with torch.enable_grad():
            matrices = self.group.matrices(links.detach()).detach().requires_grad_()
            output, weight = outputs(self.matrix_of(matrices))
            (gradient,) = torch.autograd.grad(output, matrices, weight)
        return self.group.force_from_gradient(links, gradient)


@dataclass(frozen=True)
class ExactDeterminantAction:
    """S = -log det D D† = -2 log|det D| (Eq. 9), by dense linear algebra.

    Attributes:
        fermions: the matrix; with even/odd, an eighth of the cost.
    """

    fermions: WilsonFermions

    @torch.no_grad()
    def value(self, links: Tensor) -> Tensor:
        """S, (batch,); infinite where D is singular."""
        return -2.0 * log_det(self.fermions.matrix(links))[1]

    def force(self, links: Tensor) -> Tensor:
        """From dS = -2 Re Tr(A^{-1} dA), in the shape of momenta."""

        def columns(matrix: FermionMatrix) -> tuple[Tensor, Tensor]:
            # Element [j, i] of the columns is A_ij, and belongs to the element [j, i] of the inverse of A.
            transposed = matrix.columns()
            return transposed, -2.0 * torch.linalg.inv_ex(transposed.detach())[0].mH

        return self.fermions.force(links, columns)


@dataclass
class PseudofermionAction:
    """S = Σ_i φ_i†Λ_i φ_i over the monomials of det D D† (Eqs. 12, 35 and 37).

    The fields belong to one trajectory: ``refresh`` draws them from e^{-S} at its start, and they stay while the links
    move. They are no part of the state of a run.

    Attributes:
        fermions: the matrix.
        monomials: see :func:`pipeline.gauge.fermions.monomials.hasenbusch`.
        solver: for all of them.
        fields: φ_i of the present trajectory, (batch, 1, sites, 2, N) each.
    """

    fermions: WilsonFermions
    monomials: tuple[Monomial, ...]
    solver: Solver
    fields: tuple[Tensor, ...] = field(default=(), init=False)

    def refresh(self, links: Tensor, generator: torch.Generator) -> None:
        """Draw new fields over ``links``, monomial by monomial.

        Raises:
            NotConverged: by the solver, for monomials with a denominator.
        """
        with torch.no_grad():
            matrix = self.fermions.matrix(links)
            self.fields = tuple(each.draw(matrix, 1, generator, self.solver) for each in self.monomials)

    def value(self, links: Tensor) -> Tensor:
        """S, (batch,), at the fields of the trajectory.

        Raises:
            RuntimeError: there are none yet.
            NotConverged: by the solver.
        """
        with torch.no_grad():
            return self._sum(self.fermions.matrix(links))

    def force(self, links: Tensor) -> Tensor:
        """-∂S/∂ω_a at the fields of the trajectory, in the shape of momenta; errors as of :meth:`value`."""

        def value(matrix: FermionMatrix) -> tuple[Tensor, Tensor]:
            action = self._sum(matrix)
            return action, torch.ones_like(action)

        return self.fermions.force(links, value)

    def _sum(self, matrix: FermionMatrix) -> Tensor:
        if not self.fields:
            raise RuntimeError("the pseudofermions must be refreshed before a trajectory")
        fields = [field.to(matrix.links.dtype) for field in self.fields]
        pairs = zip(self.monomials, fields, strict=True)
        actions = [monomial.action(matrix, each, self.solver).sum(dim=1) for monomial, each in pairs]
        return torch.stack(actions).sum(dim=0)
