"""Nearest-neighbour hopping of two-component lattice fermions: the part of the Wilson-Dirac operator that costs time.

(H ψ)(y) = Σ_μ [(1 - s σ_μ) U_μ(y) ψ(y+μ) + (1 + s σ_μ) U_μ†(y-μ) ψ(y-μ)], σ_0 = σ_x, σ_1 = σ_y, s = ±1.

Fields are complex, (batch, k, sites, 2, N): configuration, any number of fields on it, site, spin, colour. Links are
(batch, 2, V, N, N), on all sites x = L x_0 + x_1, boundary signs included. As 1 ∓ s σ_μ has rank one, a single spin
component is transported: (1 - s σ_μ)(a, b) = (h, -s c* h) with h = a - s c b and c = (σ_μ)_01, that is 1 and -i.
"""

from __future__ import annotations

import importlib.util
from typing import Any

import torch
from torch import Tensor

from pipeline.gauge.neighbours import Hop, Neighbours

SPIN_PHASES = (1.0, -1.0j)
"""c = (σ_μ)_01."""


def compiled(field: Tensor) -> bool:
    """Whether loops compiled by numba do the work, several times faster than torch: on a CPU that has numba."""
    return field.device.type == "cpu" and importlib.util.find_spec("numba") is not None


def check_shapes(field: Tensor, links: Tensor, way: Hop) -> None:
    """Compiled loops read where the tables say, whether a field is there or not.

    Raises:
        ValueError: the field is not of shape (batch, k, sources, 2, N) for these links and this hop.
    """
    expected = (links.shape[0], len(way.back.sites), 2, links.shape[-1])
    if field.ndim != 5 or (field.shape[0], *field.shape[2:]) != expected:
        wanted = "({}, k, {}, {}, {})".format(*expected)
        raise ValueError(f"fermion fields must have shape {wanted}, not {tuple(field.shape)}")


def hop(field: Tensor, links: Tensor, way: Hop, sign: float, factor: float, base: Tensor | None) -> Tensor:
    """base + factor · H ψ on the targets of ``way``; differentiable once in field, links and base.

    Args:
        field: ψ on the sources, (batch, k, sources, 2, N), complex.
        links: (batch, 2, V, N, N), of the same dtype.
        way: which sites are sources and targets.
        sign: s; H† is H with -s on the way back.
        factor: real.
        base: on the targets, (batch, k, targets, 2, N); None for zero.

    Raises:
        ValueError: a field of another shape.
    """
    check_shapes(field, links, way)
    if base is not None:
        check_shapes(base, links, Hop(way.back, way.there))
        if base.shape[1] != field.shape[1]:
            raise ValueError(f"{base.shape[1]} fields on the targets do not go with {field.shape[1]} on the sources")
    if not compiled(field):
        return plain_hop(field, links, way.there, sign, factor, base)
    result: Tensor = _CompiledHop.apply(field, links, way, sign, factor, base)  # type: ignore[no-untyped-call]
    return result


def plain_hop(
    field: Tensor, links: Tensor, there: Neighbours, sign: float, factor: float, base: Tensor | None
) -> Tensor:
    """What :func:`hop` does, in plain torch, for any device."""
    a, b = field.unbind(dim=-2)
    upper, lower = torch.zeros_like(a[:, :, :1]), torch.zeros_like(a[:, :, :1])
    for mu, c in enumerate(SPIN_PHASES):
        turned = (sign * c) * b
        ahead, behind = links[:, None, mu, there.sites], links[:, None, mu, there.behind[mu]].mH
        forward = _transport(ahead, (a - turned)[:, :, there.forward[mu]])
        backward = _transport(behind, (a + turned)[:, :, there.backward[mu]])
        upper = upper + (forward + backward)
        lower = lower + (sign * c.conjugate()) * (backward - forward)
    result = factor * torch.stack([upper, lower], dim=-2)
    return result if base is None else base + result


def _transport(links: Tensor, vectors: Tensor) -> Tensor:
    """U h; (batch, 1, T, N, N) and (batch, k, T, N)."""
    if links.shape[-1] == 1:
        # A product of numbers is several times faster than one of 1 × 1 matrices.
        return links[..., 0] * vectors
    return (links @ vectors.unsqueeze(-1)).squeeze(-1)


class _CompiledHop(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        field: Tensor,
        links: Tensor,
        way: Hop,
        sign: float,
        factor: float,
        base: Tensor | None,
    ) -> Tensor:
        from pipeline.gauge.fermions import hopping_loops

        ctx.save_for_backward(field, links)
        ctx.settings = way, sign, factor
        return hopping_loops.hop(field, links, way.there, sign, factor, base)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        from pipeline.gauge.fermions import hopping_loops

        field, links = ctx.saved_tensors
        way, sign, factor = ctx.settings
        (gradient,) = gradients
        of_field = of_links = None
        if ctx.needs_input_grad[0]:
            of_field = hopping_loops.hop(gradient, links, way.back, -sign, factor, None)
        if ctx.needs_input_grad[1]:
            of_links = hopping_loops.link_gradient(gradient, field, links, way.there, sign, factor)
        return of_field, of_links, None, None, None, gradient if ctx.needs_input_grad[5] else None
