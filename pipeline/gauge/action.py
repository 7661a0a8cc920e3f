"""Lattice actions and their molecular-dynamics forces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from pipeline.gauge import su3, u1
from pipeline.gauge.group import Group


class Action(Protocol):
    """What an integrator needs to know of a theory; gauge and fermion terms implement the same two functions."""

    def value(self, links: Tensor) -> Tensor:
        """S of each configuration, shape (batch,), float64, of links in double precision: the density is e^{-S}."""
        ...

    def force(self, links: Tensor) -> Tensor:
        """F_a = -∂S/∂ω_a under U -> exp(i ω_a T_a) U, the rate of change of the momenta.

        In their shape, and in the precision of the links.
        """
        ...


@runtime_checkable
class RefreshedAction(Action, Protocol):
    """An action with auxiliary fields that are drawn afresh for every trajectory."""

    def refresh(self, links: Tensor, generator: torch.Generator) -> None:
        """Draw the fields from e^{-S} at these links; they stay while the links move."""
        ...


@dataclass(frozen=True)
class U1WilsonAction:
    """S = -β Σ_x cos θ_P(x) for links of shape (batch, 2, L, L).

    Attributes:
        beta: inverse coupling β.
    """

    beta: float

    def value(self, links: Tensor) -> Tensor:
        """S, shape (batch,); gauge invariant.

        Raises:
            ValueError: ``links`` is not of shape (batch, 2, L, L).
        """
        return -self.beta * u1.plaquette_angles(links).cos().sum(dim=(1, 2))

    def force(self, links: Tensor) -> Tensor:
        """F_μ(x) = -∂S/∂θ_μ(x) = -β Im[U_μ(x) A_μ(x)], A the sum of the two staples; shape of ``links``.

        In two dimensions each link closes exactly two plaquettes, and Im[U A] is the difference of the sines of
        their angles: F_0(x) = -β [sin θ_P(x) - sin θ_P(x-1)], F_1(x) = β [sin θ_P(x) - sin θ_P(x-0)].

        Raises:
            ValueError: ``links`` is not of shape (batch, 2, L, L).
        """
        pull = self.beta * u1.plaquette_angles(links).sin()
        return torch.stack([pull.roll(1, dims=2) - pull, pull - pull.roll(1, dims=1)], dim=1)


@dataclass(frozen=True)
class SU3WilsonAction:
    """S = -(β/3) Σ_x Re Tr P(x) (Eq. 2 of Abbott et al. 2022) for links of shape (batch, 2, L, L, 3, 3).

    Attributes:
        beta: β = 6/g².
    """

    beta: float

    def value(self, links: Tensor) -> Tensor:
        """S, shape (batch,); gauge invariant.

        Raises:
            ValueError: ``links`` is not of shape (batch, 2, L, L, 3, 3).
        """
        return -self.beta * links.shape[2] ** 2 * su3.mean_plaquette(links)

    def force(self, links: Tensor) -> Tensor:
        """F_a = -(β/3) Im Tr[T_a U_μ(x) A_μ(x)], A the sum of the two staples; (batch, 2, L, L, 8).

        Each U A is the sum of the two loops that start with U_μ(x): P(x) and U_1†(x-1) P†(x-1) U_1(x-1) for μ = 0,
        P†(x) and U_0†(x-0) P(x-0) U_0(x-0) for μ = 1.

        Raises:
            ValueError: ``links`` is not of shape (batch, 2, L, L, 3, 3).
        """
        plaquettes = su3.plaquettes(links)
        below = (links[:, 1].mH @ plaquettes.mH @ links[:, 1]).roll(1, dims=2)
        left = (links[:, 0].mH @ plaquettes @ links[:, 0]).roll(1, dims=1)
        loops = torch.stack([plaquettes + below, plaquettes.mH + left], dim=1)
        return (-self.beta / 3.0) * su3.traces_with_generators(loops)


@dataclass(frozen=True)
class SumOfActions:
    """S = Σ_i S_i, e.g. a gauge action and the monomials of the fermion determinant.

    Attributes:
        terms: at least one.
    """

    terms: tuple[Action, ...]

    def refresh(self, links: Tensor, generator: torch.Generator) -> None:
        """Refresh the terms that have fields of their own, in their order."""
        for term in self.terms:
            if isinstance(term, RefreshedAction):
                term.refresh(links, generator)

    def value(self, links: Tensor) -> Tensor:
        """Sum of the values, (batch,)."""
        return torch.stack([term.value(links) for term in self.terms]).sum(dim=0)

    def force(self, links: Tensor) -> Tensor:
        """Sum of the forces."""
        return torch.stack([term.force(links) for term in self.terms]).sum(dim=0)


def wilson_action(group: Group, beta: float) -> Action:
    """The Wilson gauge action S = -(β/N) Σ_x Re Tr P(x) of ``group``."""
    return U1WilsonAction(beta) if group.name == "u1" else SU3WilsonAction(beta)
