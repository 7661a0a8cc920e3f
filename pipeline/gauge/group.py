"""Gauge groups behind one interface: fields, momenta, free motion, symmetry; what HMC and fermions need of a group."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from pipeline.gauge import su3, u1
from pipeline.gauge.systems import GaugeSystem


class Group(Protocol):
    """A gauge group with its fields on a periodic L × L lattice, batched over configurations: a module such as
    :mod:`pipeline.gauge.u1`, whose functions are what is asked for here.

    Links have the shape (batch, 2, L, L, ...): direction μ, then x_0 and x_1. Momenta and forces are real coefficients
    ω of the generators T_a, and U -> exp(i Σ_a ω_a T_a) U is a change of a link by ω.

    Attributes:
        name: as in the system's ``group``.
        n_colors: N, dimension of the fundamental representation.
    """

    name: str
    n_colors: int

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


GROUPS: tuple[Group, ...] = (u1, su3)


def group_of(system: GaugeSystem) -> Group:
    """The gauge group of ``system``, named by its ``group``.

    Raises:
        ValueError: there is no group of that name.
    """
    for group in GROUPS:
        if group.name == system.group:
            return group
    raise ValueError(f"no gauge group {system.group!r}; known: {', '.join(g.name for g in GROUPS)}")
