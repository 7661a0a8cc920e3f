"""Gauge groups behind one interface: fields, momenta, free motion, symmetry; what HMC and fermions need of a group."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from pipeline.gauge import su3, u1
from pipeline.gauge.systems import GaugeSystem

UNITARITY = 1e-8
"""Largest deviation of U†U from 1 that :meth:`Group.check` lets pass; rounding stays below 1e-12."""


class Group(Protocol):
    """A gauge group with its fields on a periodic L × L lattice, batched over configurations.

    Links have the shape (batch, 2, L, L, ...): direction μ, then x_0 and x_1. Momenta and forces are real coefficients
    ω of the generators T_a, and U -> exp(i Σ_a ω_a T_a) U is a change of a link by ω.

    Attributes:
        name: as in the system's ``group``.
        n_colors: N, dimension of the fundamental representation.
    """

    @property
    def name(self) -> str: ...

    @property
    def n_colors(self) -> int: ...

    def random_links(self, batch: int, length: int, generator: torch.Generator) -> Tensor:
        """Haar-random ("hot") links on the generator's device."""
        ...

    def identity(self, batch: int, length: int) -> Tensor:
        """Trivial ("cold") links on the CPU."""
        ...

    def matrices(self, links: Tensor) -> Tensor:
        """U_μ(x) in the fundamental representation, (batch, 2, L, L, N, N), complex128; differentiable."""
        ...

    def random_momenta(self, links: Tensor, generator: torch.Generator) -> Tensor:
        """Independent normal coefficients of unit variance, one a generator and link: density e^{-Σπ²/2}."""
        ...

    def drift(self, links: Tensor, momenta: Tensor, time: float) -> Tensor:
        """Free motion U -> exp(i time Σ_a π_a T_a) U."""
        ...

    def reproject(self, links: Tensor) -> Tensor:
        """The same fields without the rounding errors that many drifts pile up; meant for once a trajectory."""
        ...

    def force_from_gradient(self, links: Tensor, gradient: Tensor) -> Tensor:
        """F_a = -∂S/∂ω_a = Im Tr(T_a U G†), in the shape of momenta.

        Args:
            links: of this group.
            gradient: G = ∂S/∂Re U + i ∂S/∂Im U of a real S with respect to :meth:`matrices` (the convention of torch),
                (batch, 2, L, L, N, N), complex128.
        """
        ...

    def random_gauge(self, batch: int, length: int, generator: torch.Generator) -> Tensor:
        """A Haar-random gauge transformation, one element a site, for :meth:`gauge_transform`."""
        ...

    def gauge_matrices(self, gauge: Tensor) -> Tensor:
        """Ω(x) in the fundamental representation, (batch, L, L, N, N), complex128: what acts on fermions."""
        ...

    def gauge_transform(self, links: Tensor, gauge: Tensor) -> Tensor:
        """U_μ(x) -> Ω(x) U_μ(x) Ω†(x+μ)."""
        ...

    def mean_plaquette(self, links: Tensor) -> Tensor:
        """(1/V) Σ_x Re Tr P(x)/N of each configuration, (batch,)."""
        ...

    def check(self, links: Tensor) -> None:
        """Refuse what is no configuration of the group.

        Raises:
            ValueError: wrong shape or dtype, NaN or infinity, or a link that is not in the group.
        """
        ...


@dataclass(frozen=True)
class U1Group:
    """U(1) with T = 1: links are angles, momenta and gauge transformations have one real number each."""

    name: str = "u1"
    n_colors: int = 1

    def random_links(self, batch: int, length: int, generator: torch.Generator) -> Tensor:
        """Uniform angles, (batch, 2, length, length), float64."""
        return u1.random_links(batch, length, generator)

    def identity(self, batch: int, length: int) -> Tensor:
        """Zero angles."""
        return torch.zeros(batch, 2, length, length, dtype=torch.float64)

    def matrices(self, links: Tensor) -> Tensor:
        """exp(iθ) as 1 × 1 matrices."""
        return torch.polar(torch.ones_like(links), links)[..., None, None]

    def random_momenta(self, links: Tensor, generator: torch.Generator) -> Tensor:
        """In the shape of the links."""
        return torch.randn(links.shape, dtype=links.dtype, device=links.device, generator=generator)

    def drift(self, links: Tensor, momenta: Tensor, time: float) -> Tensor:
        """θ + time π, not wrapped."""
        return u1.drift(links, momenta, time)

    def reproject(self, links: Tensor) -> Tensor:
        """Wrapped to [-π, π)."""
        return u1.wrap(links)

    def force_from_gradient(self, links: Tensor, gradient: Tensor) -> Tensor:
        """Im(U G*)."""
        unit, g = self.matrices(links)[..., 0, 0], gradient[..., 0, 0]
        return unit.imag * g.real - unit.real * g.imag

    def random_gauge(self, batch: int, length: int, generator: torch.Generator) -> Tensor:
        """Angles α in [-π, π), (batch, length, length)."""
        uniform = torch.rand((batch, length, length), dtype=torch.float64, generator=generator, device=generator.device)
        return (2.0 * uniform - 1.0) * math.pi

    def gauge_matrices(self, gauge: Tensor) -> Tensor:
        """exp(iα) as 1 × 1 matrices."""
        return self.matrices(gauge)

    def gauge_transform(self, links: Tensor, gauge: Tensor) -> Tensor:
        """θ_μ(x) -> α(x) + θ_μ(x) - α(x+μ), not wrapped."""
        return u1.gauge_transform(links, gauge)

    def mean_plaquette(self, links: Tensor) -> Tensor:
        """Mean cosine of the plaquette angles."""
        return u1.mean_plaquette(links)

    def check(self, links: Tensor) -> None:
        """Any finite angle is an element of the group."""
        u1.check_shape(links)
        if links.dtype != torch.float64:
            raise ValueError(f"U(1) links must be angles of dtype float64, not {links.dtype}")
        if not links.isfinite().all():
            raise ValueError("U(1) links must be finite angles")


@dataclass(frozen=True)
class SU3Group:
    """SU(3) with T_a = λ_a/2: links are 3 × 3 matrices, momenta have eight coefficients a link."""

    name: str = "su3"
    n_colors: int = 3

    def random_links(self, batch: int, length: int, generator: torch.Generator) -> Tensor:
        """(batch, 2, length, length, 3, 3), complex128."""
        return su3.random_matrices((batch, 2, length, length), generator)

    def identity(self, batch: int, length: int) -> Tensor:
        """Unit matrices."""
        return torch.eye(3, dtype=torch.complex128).repeat(batch, 2, length, length, 1, 1)

    def matrices(self, links: Tensor) -> Tensor:
        """The links themselves."""
        return links

    def random_momenta(self, links: Tensor, generator: torch.Generator) -> Tensor:
        """(batch, 2, L, L, 8), float64."""
        return torch.randn((*links.shape[:4], 8), dtype=torch.float64, device=links.device, generator=generator)

    def drift(self, links: Tensor, momenta: Tensor, time: float) -> Tensor:
        """By the closed-form exponential."""
        return su3.exponential(su3.algebra(time * momenta)) @ links

    def reproject(self, links: Tensor) -> Tensor:
        """Projected on SU(3)."""
        return su3.project(links)

    def force_from_gradient(self, links: Tensor, gradient: Tensor) -> Tensor:
        """Im Tr(T_a U G†)."""
        return su3.traces_with_generators(links @ gradient.mH)

    def random_gauge(self, batch: int, length: int, generator: torch.Generator) -> Tensor:
        """(batch, length, length, 3, 3), complex128."""
        return su3.random_matrices((batch, length, length), generator)

    def gauge_matrices(self, gauge: Tensor) -> Tensor:
        """The transformation itself."""
        return gauge

    def gauge_transform(self, links: Tensor, gauge: Tensor) -> Tensor:
        """Matrix products from both sides."""
        return su3.gauge_transform(links, gauge)

    def mean_plaquette(self, links: Tensor) -> Tensor:
        """Mean of Re Tr P/3."""
        return su3.mean_plaquette(links)

    def check(self, links: Tensor) -> None:
        """Unitarity and determinant, both within ``UNITARITY``."""
        su3.check_shape(links)
        if links.dtype != torch.complex128:
            raise ValueError(f"SU(3) links must be matrices of dtype complex128, not {links.dtype}")
        unit = torch.eye(3, dtype=links.dtype, device=links.device)
        unitarity = (links @ links.mH - unit).abs().max().item()
        # NaN compares false, and must not pass.
        if not unitarity <= UNITARITY:
            raise ValueError(f"SU(3) links must be unitary: U†U is off 1 by {unitarity:.1e}")
        phase = (su3.determinant(links) - 1.0).abs().max().item()
        if not phase <= UNITARITY:
            raise ValueError(f"SU(3) links must have determinant 1: one is off by {phase:.1e}")


U1 = U1Group()
SU3 = SU3Group()


def group_of(system: GaugeSystem) -> Group:
    """The gauge group of ``system``, named by its ``group``.

    Raises:
        ValueError: there is no group of that name.
    """
    groups: tuple[Group, ...] = (U1, SU3)
    for group in groups:
        if group.name == system.group:
            return group
    raise ValueError(f"no gauge group {system.group!r}; known: {', '.join(g.name for g in groups)}")
