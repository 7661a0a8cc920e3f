"""Parallel transport convolutions (Abbott et al. 2022, Eqs. 25 and 26) on fields split into real and imaginary planes.

PTC[U, φ]_α(y) = Σ_{d,γ} M_{α,d,γ}(y) T_d(y) φ_γ(x_d), d = 0 the site y itself with T_0 = 1, d = 1, 2 the neighbours
y + μ with T = U_μ(y), d = 3, 4 the neighbours y - μ with T = U_μ†(y - μ). Links carry the antiperiodic boundary, see
:func:`pipeline.gauge.fermions.dirac.fermion_links`. M mixes features and leaves colours alone: gauge-covariant.

Fields are real tensors (2, K, N, n, V, batch): real and imaginary plane, feature, colour, draw, site, configuration.
Configurations come last and share their neighbours, so that all arithmetic runs along contiguous memory.
Coefficients M are (2, H, 5, K, T, batch) on T target sites, the same for all colours and draws.
"""

from __future__ import annotations

import functools
import importlib.util
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pipeline.gauge import neighbours
from pipeline.gauge.fermions.dirac import fermion_links
from pipeline.gauge.pseudofermion import transport_gathers
from pipeline.gauge.pseudofermion.transport_gathers import Ways, as_planes

WAYS = 5
"""The site itself and its four neighbours."""


def to_planes(field: Tensor, sites: Tensor, length: int, dtype: torch.dtype) -> Tensor:
    """Fields of :mod:`pipeline.gauge.fermions.dirac` as planes on the whole lattice, zero on sites they do not have.

    Args:
        field: (batch, n, sites, 2, N), complex.
        sites: lattice site of each of them, (sites,).
        length: L.
        dtype: real.

    Returns:
        (2, 2, N, n, V, batch).
    """
    planes = torch.view_as_real(field).permute(5, 3, 4, 1, 2, 0).to(dtype)
    if len(sites) == length**2:
        return planes.contiguous()
    whole = planes.new_zeros((*planes.shape[:4], length**2, planes.shape[5]))
    return whole.index_copy(4, sites, planes)


def to_field(planes: Tensor, sites: Tensor, dtype: torch.dtype = torch.complex128) -> Tensor:
    """Inverse of :func:`to_planes`: (2, 2, N, n, V, batch) -> (batch, n, sites, 2, N), complex ``dtype``."""
    if len(sites) != planes.shape[4]:
        planes = planes.index_select(4, sites)
    return torch.view_as_complex(planes.permute(5, 3, 4, 1, 2, 0).contiguous().to(dtype.to_real()))


@dataclass(frozen=True, eq=False)
class Transporters:
    """T_d(y) for target sites y; differentiable functions of the links.

    Attributes:
        planes: (2, 4, N, N, T, batch), real and imaginary parts of T_1 ... T_4.
        table: (5, T) int64, lattice sites x_d.
        volume: V.
    """

    planes: Tensor
    table: Tensor
    volume: int

    @functools.cached_property
    def ways(self) -> Ways:
        """The same for accelerators, without gradients."""
        return Ways.of(self.planes, self.table, self.volume)

    def at(self, sites: Tensor) -> Transporters:
        """The same for some of all V sites as targets."""
        return Transporters(self.planes.index_select(4, sites), self.table.index_select(1, sites), self.volume)


def transporters(matrices: Tensor, dtype: torch.dtype) -> Transporters:
    """Transporters to all V sites.

    Args:
        matrices: links in the fundamental representation, (batch, 2, L, L, N, N), complex128, without boundary signs.
        dtype: real, of the planes.
    """
    links = fermion_links(matrices)
    hop = neighbours.all_sites(matrices.shape[2], matrices.device).there
    behind = torch.stack([links[:, mu, hop.behind[mu]].mH for mu in (0, 1)], dim=1)
    around = torch.cat([links, behind], dim=1).permute(1, 3, 4, 2, 0)
    table = torch.cat([hop.sites[None], hop.forward, hop.backward])
    if compiled(around):
        return Transporters(torch.view_as_real(around).movedim(-1, 0).to(dtype).contiguous(), table, table.shape[1])
    return Transporters(as_planes(around.to(dtype.to_complex()).contiguous()), table, table.shape[1])


def multiply(a: Tensor, b: Tensor, dim: int) -> Tensor:
    """Σ a b of complex numbers in planes (axis 0), broadcast, summed over axis ``dim`` of the products' planes."""
    (a_re, a_im), (b_re, b_im) = a.unbind(0), b.unbind(0)
    # A sum over one element would copy.
    total = (lambda x: x.squeeze(dim)) if max(a.shape[dim + 1], b.shape[dim + 1]) == 1 else (lambda x: x.sum(dim))
    return torch.stack([total(a_re * b_re - a_im * b_im), total(a_re * b_im + a_im * b_re)])


def convolve(field: Tensor, coefficients: Tensor, transport: Transporters) -> Tensor:
    """PTC[U, φ] of Eq. 26; differentiable once in all of it.

    Args:
        field: φ, (2, K, N, n, V, batch).
        coefficients: M, (2, H, 5, K, T, batch), of the same dtype.
        transport: to the T target sites.

    Returns:
        (2, H, N, n, T, batch).
    """
    shape = (coefficients.shape[1], WAYS, coefficients.shape[3])
    block = coefficients.flatten(0, 3)
    result: Tensor = _Convolutions.apply(field, block, transport.planes, transport, (shape,), False)  # type: ignore[no-untyped-call]
    return result


def convolve_repeatedly(
    field: Tensor, block: Tensor, shapes: tuple[tuple[int, int, int], ...], transport: Transporters
) -> Tensor:
    """Several convolutions on all sites one after the other, with coefficients M = tanh of an output of a network.

    In one piece, so that gradients of all coefficients are written once and to one place.

    Args:
        field: (2, K, N, n, V, batch).
        block: M of all convolutions, (Σ 10 H K, V, batch), in the order of the axes of M. The gradient that goes back
            is the one of tanh^{-1} M, see :func:`pipeline.gauge.pseudofermion.squash.squash`.
        shapes: (H, 5, K) of each.
        transport: to all V sites.

    Returns:
        (2, H, N, n, V, batch), H the last one; differentiable once in all of it.
    """
    result: Tensor = _Convolutions.apply(field, block, transport.planes, transport, shapes, True)  # type: ignore[no-untyped-call]
    return result


def split_coefficients(block: Tensor, shapes: tuple[tuple[int, int, int], ...]) -> list[Tensor]:
    """Views of a block (Σ 10 H K, V, batch) as (2, H, 5, K, V, batch) each."""
    parts = block.split([2 * math.prod(shape) for shape in shapes])
    return [part.unflatten(0, (2, *shape)) for part, shape in zip(parts, shapes, strict=True)]


def compiled(field: Tensor) -> bool:
    """Whether loops compiled by numba do the work: on a CPU that has numba."""
    return field.device.type == "cpu" and importlib.util.find_spec("numba") is not None


class _Convolutions(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        field: Tensor,
        block: Tensor,
        planes: Tensor,
        transport: Transporters,
        shapes: tuple[tuple[int, int, int], ...],
        tanh: bool,
    ) -> Tensor:
        coefficients = split_coefficients(block, shapes)
        if compiled(field):
            from pipeline.gauge.pseudofermion import transport_loops

            *fields, result = transport_loops.convolve(field, coefficients, transport.planes, transport.table)
        else:
            *fields, result = transport_gathers.convolve(field, coefficients, transport.ways)
        ctx.save_for_backward(block, field, *fields)
        ctx.settings = transport, shapes, tanh
        return result

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        block, *fields = ctx.saved_tensors
        transport, shapes, tanh = ctx.settings
        (gradient,), of_block = gradients, torch.empty_like(block, memory_format=torch.contiguous_format)
        of_planes = torch.zeros_like(transport.planes) if ctx.needs_input_grad[2] else None
        coefficients, of_coefficients = (split_coefficients(each, shapes) for each in (block, of_block))
        found = of_coefficients, of_planes, tanh
        if compiled(gradient):
            from pipeline.gauge.pseudofermion import transport_loops

            arguments = gradient, fields, coefficients, transport.planes, transport.table
            of_field = transport_loops.add_gradients(*arguments, *found)
        else:
            of_field = transport_gathers.add_gradients(gradient, fields, coefficients, transport.ways, *found)
        return of_field, of_block, of_planes, None, None, None
