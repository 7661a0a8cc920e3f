"""Lattice actions and their molecular-dynamics forces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from pipeline.gauge import u1


class Action(Protocol):
    """What an integrator needs to know of a theory; gauge and fermion terms implement the same two functions."""

    def value(self, links: Tensor) -> Tensor:
        """S of each configuration, shape (batch,), float64, so that the density is e^{-S}."""
        ...

    def force(self, links: Tensor) -> Tensor:
        """F = -∂S/∂θ, the rate of change of the momenta; shape of ``links``."""
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
