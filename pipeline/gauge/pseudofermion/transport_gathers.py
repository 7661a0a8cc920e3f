"""Parallel transport convolutions and their gradients in few operations of torch, for accelerators.

On a lattice of some sites an accelerator computes for less time than it takes to launch an operation: their number is
what counts. Neighbours of all ways are gathered at once, a complex product stands for four real ones, and the gradient
of a field is gathered as well, from where it was read.

Shapes as in :mod:`pipeline.gauge.pseudofermion.transport`, with complex numbers in place of planes; of transported
fields (K, N, n, 5, T, batch).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


def as_complex(planes: Tensor) -> Tensor:
    """(2, ...) real -> (...) complex; a view of what :func:`as_planes` returned."""
    interleaved = planes.stride(0) == 1 and not any(stride % 2 for stride in planes.stride()[1:])
    if interleaved and planes.storage_offset() % 2 == 0:
        return torch.view_as_complex(planes.movedim(0, -1))
    return torch.complex(planes[0], planes[1])


def as_planes(values: Tensor) -> Tensor:
    """(...) complex -> (2, ...) real, a view."""
    return torch.view_as_real(values).movedim(-1, 0)


@dataclass(frozen=True, eq=False)
class Ways:
    """T_0 = 1 and T_1 ... T_4 to T target sites, as constants.

    Attributes:
        links: (N, N, 5, T, batch), complex.
        conjugate: their conjugates.
        table: (5, T) int64, lattice sites x_d.
        readers: where all V sites are targets: way and target of what has read a site, (5, 1) and (5, V); else None.
    """

    links: Tensor
    conjugate: Tensor
    table: Tensor
    readers: tuple[Tensor, Tensor] | None

    @staticmethod
    def of(planes: Tensor, table: Tensor, volume: int) -> Ways:
        """From T_1 ... T_4 as planes, (2, 4, N, N, T, batch)."""
        hops = as_complex(planes.detach()).movedim(0, 2)
        unit = torch.eye(hops.shape[0], dtype=hops.dtype, device=hops.device)[:, :, None, None, None]
        links = torch.cat([unit.expand(-1, -1, 1, *hops.shape[3:]), hops], dim=2)
        readers = None
        if table.shape[1] == volume:
            # What lies ahead of a site has read it as what is behind, and the other way round.
            opposite = torch.cat([table[:1], table[3:], table[1:3]])
            readers = torch.arange(len(table), device=table.device)[:, None], opposite
        return Ways(links, links.conj_physical(), table, readers)


def convolve(field: Tensor, coefficients: Sequence[Tensor], ways: Ways) -> list[Tensor]:
    """See :func:`pipeline.gauge.pseudofermion.transport_loops.convolve`; planes, (2, K, N, n, V, batch)."""
    results = []
    for matrix in coefficients:
        moved = _turned(ways.links, _around(as_complex(field), ways.table))
        field = as_planes((_spread(torch.complex(matrix[0], matrix[1])) * moved).sum(dim=(1, 4)))
        results.append(field)
    return results


def add_gradients(
    gradient: Tensor,
    fields: Sequence[Tensor],
    coefficients: Sequence[Tensor],
    ways: Ways,
    of_coefficients: Sequence[Tensor],
    of_planes: Tensor | None,
    tanh: bool,
) -> Tensor:
    """See :func:`pipeline.gauge.pseudofermion.transport_loops.add_gradients`."""
    steps = list(zip(fields, coefficients, of_coefficients, strict=True))
    for field, matrix, of_matrix in reversed(steps):
        gradient = _add_gradients(gradient, field, matrix, ways, of_matrix, of_planes, tanh)
    return gradient


def _add_gradients(
    gradient: Tensor,
    field: Tensor,
    coefficients: Tensor,
    ways: Ways,
    of_coefficients: Tensor,
    of_planes: Tensor | None,
    tanh: bool,
) -> Tensor:
    """Of one convolution."""
    gradient = as_complex(gradient)
    # Conjugated where it is small.
    around = _around(as_complex(field).conj_physical(), ways.table)
    product = gradient[:, None, :, :, None] * _turned(ways.conjugate, around)
    product = product[:, :, 0, 0] if gradient[0, ..., 0, 0].numel() == 1 else product.sum(dim=(2, 3))
    wanted = as_planes(product.movedim(2, 1))
    if tanh:
        torch.ops.aten.tanh_backward.grad_input(wanted, coefficients, grad_input=of_coefficients)
    else:
        of_coefficients.copy_(wanted)
    matrix = torch.complex(coefficients[0], coefficients[1].neg())
    back = (_spread(matrix) * gradient[:, None, :, :, None]).sum(dim=0)
    if of_planes is not None:
        pairs = back[:, :, None] * around[:, None]
        of_planes += as_planes(pairs[:, :, :, :, 1:].sum(dim=(0, 3)).movedim(2, 0))
    return as_planes(_gathered_back(_turned(ways.conjugate.transpose(0, 1), back), ways, field.shape[4]))


def _around(field: Tensor, table: Tensor) -> Tensor:
    """φ at all x_d(y), (K, N, n, 5, T, batch)."""
    return field.index_select(3, table.flatten()).unflatten(3, table.shape)


def _turned(links: Tensor, around: Tensor) -> Tensor:
    """Σ_j T_ij φ_j."""
    if links.shape[0] == 1:
        return links[0] * around
    return (links[:, :, None] * around[:, None]).sum(dim=2)


def _spread(matrix: Tensor) -> Tensor:
    """(H, 5, K, T, batch) -> (H, K, 1, 1, 5, T, batch)."""
    return matrix.movedim(1, 2)[:, :, None, None]


def _gathered_back(values: Tensor, ways: Ways, volume: int) -> Tensor:
    """Adjoint of :func:`_around`: (K, N, n, 5, T, batch) -> (K, N, n, V, batch)."""
    if ways.readers is not None:
        return values[:, :, :, ways.readers[0], ways.readers[1]].sum(dim=3)
    result = values.new_zeros((*values.shape[:3], volume, values.shape[-1]))
    return result.index_add_(3, ways.table.flatten(), values.flatten(3, 4))
