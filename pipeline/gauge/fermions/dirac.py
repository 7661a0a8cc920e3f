"""Wilson-Dirac operators in two dimensions, batched over gauge configurations (Abbott et al. 2022, Eq. 5).

D ψ(y) = ψ(y) - κ Σ_μ [(1 - σ_μ) U_μ(y) ψ(y+μ) + (1 + σ_μ) U_μ†(y-μ) ψ(y-μ)], σ_0 = σ_x, σ_1 = σ_y, γ_5 = σ_z.

Time is the direction 0, as in the correlator C(x_0) of the paper (Eq. C3): fermions are antiperiodic in x_0, axis 2 of
the links, and periodic in x_1. The sign is carried by the links that lead from x_0 = L-1 to 0.

Fields are complex128, (batch, k, sites, 2, N): gauge configuration, any number k of fields on it, site, spin, colour;
the sites are x = L x_0 + x_1, or the even ones of them in the same order (:mod:`pipeline.gauge.fermions.even_odd`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from pipeline.gauge import neighbours
from pipeline.gauge.fermions import hopping
from pipeline.gauge.neighbours import Hop


def fermion_links(matrices: Tensor) -> Tensor:
    """Gauge links as fermions feel them: antiperiodic in time; differentiable.

    Args:
        matrices: (batch, 2, L, L, N, N), see :meth:`pipeline.gauge.group.Group.matrices`.

    Returns:
        (batch, 2, V, N, N).
    """
    length = matrices.shape[2]
    sign = torch.ones(2, length, 1, 1, 1, dtype=matrices.real.dtype, device=matrices.device)
    sign[0, -1] = -1.0
    return (matrices * sign).flatten(2, 3)


def gamma_5(field: Tensor) -> Tensor:
    """σ_z ψ."""
    return torch.stack([field[..., 0, :], -field[..., 1, :]], dim=-2)


class FermionMatrix(ABC):
    """A γ_5-hermitian matrix A, γ_5 A γ_5 = A†, on fermion fields over fixed gauge configurations.

    Attributes:
        links: (batch, 2, V, N, N), boundary signs included.
        length: L.
        kappa: hopping parameter κ.
        hops: the one or two factors H_i of A = 1 - κ^n H_n ... H_1, in the order in which they act.
    """

    def __init__(self, matrices: Tensor, kappa: float) -> None:
        """Args: as the attributes, but with ``matrices`` (batch, 2, L, L, N, N) without boundary signs."""
        self.links = fermion_links(matrices)
        self.length = matrices.shape[2]
        self.kappa = kappa
        self.hops = self._hops()

    @abstractmethod
    def _hops(self) -> tuple[Hop, ...]:
        """See ``hops``."""

    @property
    def sites(self) -> int:
        """Number of sites of the fields."""
        return len(self.hops[-1].there.sites)

    @property
    def batch(self) -> int:
        """Number of gauge configurations."""
        return self.links.shape[0]

    @property
    def colors(self) -> int:
        """N."""
        return self.links.shape[-1]

    @property
    def dimension(self) -> int:
        """Number of complex components of one field, 2 N · sites."""
        return 2 * self.colors * self.sites

    def _multiply(self, field: Tensor, sign: float) -> Tensor:
        """A ψ for ``sign`` 1, A† ψ for -1."""
        hopped, (*first, last) = field, self.hops
        for way in first:
            hopped = hopping.hop(hopped, self.links, way, sign, self.kappa, None)
        return hopping.hop(hopped, self.links, last, sign, -self.kappa, field)

    def apply(self, field: Tensor) -> Tensor:
        """A ψ, (batch, k, sites, 2, N); differentiable once in the field and in the links."""
        return self._multiply(field, 1.0)

    def dagger(self, field: Tensor) -> Tensor:
        """A† ψ."""
        return self._multiply(field, -1.0)

    def normal(self, field: Tensor) -> Tensor:
        """M ψ = A A† ψ, positive definite unless A is singular."""
        return self.apply(self.dagger(field))

    def hermitian(self, field: Tensor) -> Tensor:
        """Q ψ = A γ_5 ψ; Q = Q† and Q² = M."""
        return self.apply(gamma_5(field))

    def columns(self) -> Tensor:
        """A on all unit vectors, (batch, n, n): element [b, j] is the column j, in the order site, spin, colour."""
        unit = torch.eye(self.dimension, dtype=self.links.dtype, device=self.links.device)
        fields = unit.view(1, -1, self.sites, 2, self.colors).expand(self.batch, -1, -1, -1, -1)
        return self.apply(fields).flatten(2)

    def dense(self) -> Tensor:
        """A itself, (batch, n, n) with n = :attr:`dimension`; differentiable."""
        return self.columns().mT

    def noise(self, fields: int, generator: torch.Generator) -> Tensor:
        """Complex Gaussian fields with density e^{-η†η}, (batch, fields, sites, 2, N)."""
        shape = (self.batch, fields, self.sites, 2, self.colors)
        # torch gives complex normal numbers the variance ⟨|η|²⟩ = 1.
        return torch.randn(shape, dtype=self.links.dtype, device=self.links.device, generator=generator)


class WilsonDirac(FermionMatrix):
    """D on all V sites."""

    def _hops(self) -> tuple[Hop, ...]:
        return (neighbours.all_sites(self.length, self.links.device),)
