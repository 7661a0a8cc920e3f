"""What conditional models of pseudofermions are trained to: p(φ|U) of each monomial of det(D D† + μ_0)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.gauge.fermions.actions import WilsonFermions
from pipeline.gauge.fermions.determinants import normal_eigenvalues
from pipeline.gauge.fermions.dirac import FermionMatrix
from pipeline.gauge.fermions.monomials import Monomial, hasenbusch
from pipeline.gauge.fermions.solver import ConjugateGradient, DenseSolver, Solver
from pipeline.gauge.group import group_of
from pipeline.gauge.pseudofermion.schema import PreconditioningConfig
from pipeline.gauge.systems import TwoFlavours


@dataclass(frozen=True)
class PseudofermionTarget:
    """p(φ_i|U) ∝ e^{-φ†Λ_i φ} of all monomials (Abbott et al. 2022, Eqs. 12, 35 and 37).

    Attributes:
        fermions: D or its Schur complement.
        monomials: their product is det(D D† + μ_0).
        solver: for all of them.
    """

    fermions: WilsonFermions
    monomials: tuple[Monomial, ...]
    solver: Solver

    def actions(self, links: Tensor, fields: tuple[Tensor, ...]) -> Tensor:
        """S_i = φ_i†Λ_i φ_i with exact gradients in links and fields, (monomials, batch, n), float64.

        No gradient passes through a solver, see :mod:`pipeline.gauge.fermions.monomials`.

        Args:
            links: of the group.
            fields: of each monomial, (batch, n, sites, 2, N), complex128.

        Raises:
            NotConverged: by conjugate gradients.
        """
        matrix = self.fermions.matrix(links)
        pairs = zip(self.monomials, fields, strict=True)
        return torch.stack([monomial.action(matrix, each, self.solver) for monomial, each in pairs])

    @torch.no_grad()
    def log_normalisers(self, links: Tensor) -> Tensor:
        """log ∫dφ_i e^{-S_i} = log det Λ_i^{-1} + n log π, (monomials, batch), by dense algebra.

        The measure is d Re φ d Im φ: π^n, not the (2π)^n of Eq. 10.
        """
        matrix = self.fermions.matrix(links)
        eigenvalues = normal_eigenvalues(matrix)
        log_dets = [monomial.spectrum(eigenvalues).log().sum(dim=-1) for monomial in self.monomials]
        return torch.stack(log_dets) + self.log_volume(matrix)

    @staticmethod
    def log_volume(matrix: FermionMatrix) -> float:
        """n log π of the Gaussian integral over one field."""
        return matrix.dimension * math.log(math.pi)


def pseudofermion_target(system: TwoFlavours, config: PreconditioningConfig, *, regulated: bool) -> PseudofermionTarget:
    """The target of ``system``.

    Args:
        system: κ, group and length.
        config: preconditioning and solver.
        regulated: with μ_0 = ``config.regulator``, as in training; without it the target is exact (Section IV A).

    Raises:
        ConfigError: even/odd on an odd length.
    """
    config.check_length(system.length)
    fermions = WilsonFermions(group_of(system), system.kappa, config.even_odd)
    shifts = [config.regulator if regulated else 0.0, *config.hasenbusch]
    dense = config.solver == "dense"
    solver = DenseSolver() if dense else ConjugateGradient(config.tolerance, config.max_iterations)
    return PseudofermionTarget(fermions, hasenbusch(shifts), solver)
