"""Compact U(1) gauge fields in two dimensions.

Links are angles θ in radians, float64, shape (batch, 2, L, L): axis 1 is the direction μ, axes 2 and 3 are the
coordinates x_0 and x_1, both periodic; U_μ(x) = exp(iθ_μ(x)) leads from x to x + μ. Every function acts on each
configuration of the batch alone.

The module is a :class:`pipeline.gauge.group.Group` with T = 1: momenta and gauge transformations have one real number
each.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

name: str = "u1"
"""As in the system's ``group``."""

n_colors: int = 1
"""N, dimension of the fundamental representation."""


def random_links(batch: int, length: int, generator: torch.Generator) -> Tensor:
    """Haar-random ("hot") links in [-π, π), shape (batch, 2, length, length), float64, on the generator's device."""
    shape = (batch, 2, length, length)
    uniform = torch.rand(shape, dtype=torch.float64, generator=generator, device=generator.device)
    return (2.0 * uniform - 1.0) * math.pi


def identity(batch: int, length: int) -> Tensor:
    """Trivial ("cold") links on the CPU: zero angles."""
    return torch.zeros(batch, 2, length, length, dtype=torch.float64)


def matrices(links: Tensor) -> Tensor:
    """exp(iθ) as 1 × 1 matrices; (...) float64 -> (..., 1, 1) complex128; differentiable."""
    return torch.polar(torch.ones_like(links), links)[..., None, None]


def random_momenta(links: Tensor, generator: torch.Generator) -> Tensor:
    """Independent normal numbers of unit variance, in the shape of the links."""
    return torch.randn(links.shape, dtype=links.dtype, device=links.device, generator=generator)


def wrap(angle: Tensor) -> Tensor:
    """The representative of ``angle`` (radians, any shape) in [-π, π)."""
    return torch.remainder(angle + math.pi, 2.0 * math.pi) - math.pi


def check_shape(links: Tensor) -> None:
    """Refuse what is not of shape (batch, 2, L, L).

    Raises:
        ValueError: naming the shape.
    """
    if links.ndim != 4 or links.shape[1] != 2 or links.shape[2] != links.shape[3]:
        raise ValueError(f"links must have shape (batch, 2, L, L), not {tuple(links.shape)}")


def loop_angles(links: Tensor, extent_0: int, extent_1: int) -> Tensor:
    """Angle of the transporter around the rectangle with corner x, along 0 first, not wrapped; (batch, L, L).

    Args:
        links: (batch, 2, L, L).
        extent_0, extent_1: sides in links, at least 1.

    Raises:
        ValueError: ``links`` is not of shape (batch, 2, L, L).
    """
    check_shape(links)
    theta_0, theta_1 = links[:, 0], links[:, 1]
    line_0 = sum((theta_0.roll(-n, dims=1) for n in range(1, extent_0)), start=theta_0)
    line_1 = sum((theta_1.roll(-n, dims=2) for n in range(1, extent_1)), start=theta_1)
    return line_0 + line_1.roll(-extent_0, dims=1) - line_0.roll(-extent_1, dims=2) - line_1


def plaquette_angles(links: Tensor) -> Tensor:
    """θ_P(x) = θ_0(x) + θ_1(x+0) - θ_0(x+1) - θ_1(x), not wrapped; shape (batch, L, L).

    Raises:
        ValueError: ``links`` is not of shape (batch, 2, L, L).
    """
    return loop_angles(links, 1, 1)


def mean_plaquette(links: Tensor) -> Tensor:
    """(1/V) Σ_x Re P(x) of each configuration; shape (batch,), between -1 and 1."""
    return plaquette_angles(links).cos().mean(dim=(1, 2))


def topological_charge(links: Tensor) -> Tensor:
    """Regularised charge Q = (1/2π) Σ_x wrap(θ_P(x)), shape (batch,), float.

    An integer up to rounding, since the unwrapped plaquette angles of a periodic lattice add up to zero.
    """
    return wrap(plaquette_angles(links)).sum(dim=(1, 2)) / (2.0 * math.pi)


def gauge_transform(links: Tensor, alpha: Tensor) -> Tensor:
    """θ_μ(x) -> α(x) + θ_μ(x) - α(x+μ), i.e. U_μ(x) -> g(x) U_μ(x) g†(x+μ) with g = exp(iα); not wrapped.

    Args:
        links: (batch, 2, L, L).
        alpha: one angle a site, (batch, L, L).
    """
    ahead = torch.stack([alpha.roll(-1, dims=1), alpha.roll(-1, dims=2)], dim=1)
    return links + alpha.unsqueeze(1) - ahead


def drift(links: Tensor, momenta: Tensor, time: float) -> Tensor:
    """Free motion U -> exp(i time π) U under the kinetic energy Σ π²/2; shapes as ``links``, not wrapped."""
    return links + time * momenta


def reproject(links: Tensor) -> Tensor:
    """The same links with angles in [-π, π)."""
    return wrap(links)


def force_from_gradient(links: Tensor, gradient: Tensor) -> Tensor:
    """-∂S/∂θ = Im(U G*) from the gradient with respect to :func:`matrices`; in the shape of the links."""
    unit, g = matrices(links)[..., 0, 0], gradient[..., 0, 0]
    return unit.imag * g.real - unit.real * g.imag


def random_gauge(batch: int, length: int, generator: torch.Generator) -> Tensor:
    """Angles α in [-π, π), (batch, length, length), for :func:`gauge_transform`."""
    uniform = torch.rand((batch, length, length), dtype=torch.float64, generator=generator, device=generator.device)
    return (2.0 * uniform - 1.0) * math.pi


def gauge_matrices(gauge: Tensor) -> Tensor:
    """exp(iα) as 1 × 1 matrices, (batch, L, L, 1, 1), complex128."""
    return matrices(gauge)


def check(links: Tensor) -> None:
    """Refuse what is no configuration; any finite angle is an element of the group.

    Raises:
        ValueError: wrong shape or dtype, NaN or infinity.
    """
    check_shape(links)
    if links.dtype != torch.float64:
        raise ValueError(f"U(1) links must be angles of dtype float64, not {links.dtype}")
    if not links.isfinite().all():
        raise ValueError("U(1) links must be finite angles")
