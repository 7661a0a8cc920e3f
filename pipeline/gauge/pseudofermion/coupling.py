"""Pseudofermion layers: gauge-covariant linear couplings with a triangular Jacobian (Abbott et al. 2022, Eq. 28).

φ'_a(x) = A(x) φ_a(x) + PTCN[U, φ_f](x), φ'_f = φ_f, for active components a and frozen ones f of a mask. A and the
coefficients of the convolutions are functions of the links alone, see :mod:`pipeline.gauge.pseudofermion.context`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pipeline.gauge.pseudofermion.context import Context, Convolution
from pipeline.gauge.pseudofermion.masks import SPINS, Mask
from pipeline.gauge.pseudofermion.transport import WAYS, Transporters, convolve, convolve_repeatedly, multiply


@dataclass(frozen=True, eq=False)
class BoundCoupling:
    """A layer over fixed links: a linear map of fields as planes, (2, 2, N, n, V, batch).

    Attributes:
        mask: active components.
        sites: its sites, on the device of the fields.
        inner: M of all convolutions but the last, (Σ 10 H K, V, batch), as
            :func:`pipeline.gauge.pseudofermion.transport.convolve_repeatedly` takes it; None where there is only one.
        inner_shapes: (H, 5, K) of each of them.
        outer: of the last one, (2, s, 5, K, T, batch), with s active spins on T active sites.
        scale: A, (2, s, s, T, batch).
        transport: to all sites.
        transport_active: to the active ones.
    """

    mask: Mask
    sites: Tensor
    inner: Tensor | None
    inner_shapes: tuple[tuple[int, int, int], ...]
    outer: Tensor
    scale: Tensor
    transport: Transporters
    transport_active: Transporters

    def forward(self, field: Tensor) -> Tensor:
        """φ -> φ'."""
        return self._replace(field, _apply(self.scale, self._active(field)) + self._network(field))

    def inverse(self, field: Tensor) -> Tensor:
        """φ' -> φ; NaN or infinity where A is singular."""
        return self._replace(field, _apply(_inverse(self.scale), self._active(field) - self._network(field)))

    def _active(self, field: Tensor) -> Tensor:
        """(2, s, N, n, T, batch)."""
        spin = self.mask.spin
        return (field if spin is None else field[:, spin : spin + 1]).index_select(4, self.sites)

    def _replace(self, field: Tensor, active: Tensor) -> Tensor:
        spin = self.mask.spin
        if spin is None:
            return field.index_copy(4, self.sites, active)
        spins = [field[:, s : s + 1] for s in range(SPINS)]
        spins[spin] = spins[spin].index_copy(4, self.sites, active)
        return torch.cat(spins, dim=1)

    def _network(self, field: Tensor) -> Tensor:
        """PTCN[U, φ_f] at the active components. In between, all sites and features are working memory."""
        spin = self.mask.spin
        hidden = field.index_fill(4, self.sites, 0.0) if spin is None else field[:, 1 - spin : SPINS - spin]
        if self.inner is not None:
            hidden = convolve_repeatedly(hidden, self.inner, self.inner_shapes, self.transport)
        return convolve(hidden, self.outer, self.transport_active)


class Coupling(nn.Module):
    """One pseudofermion layer with the second part of its context function."""

    def __init__(
        self,
        mask: Mask,
        channels: int,
        kernel: int,
        transports: int,
        features: int,
        gain: float,
        generator: torch.Generator,
    ) -> None:
        """Args:
        mask: active components.
        channels: of the shared context, before gathering.
        kernel, transports, features, gain: see :class:`pipeline.gauge.pseudofermion.schema.ConditionalFlowConfig`.
        generator: of the initial weights.
        """
        super().__init__()
        self.mask, self.features, self.transports = mask, features, transports
        widths = [SPINS if mask.spin is None else 1, *[features] * (transports - 1)]
        self.inner_shapes = tuple((features, WAYS, width) for width in widths[:-1])
        self.outer_shape = (2, mask.spins, WAYS, widths[-1])
        self.inner_rows = sum(2 * math.prod(shape) for shape in self.inner_shapes)
        outputs = self.inner_rows + math.prod(self.outer_shape) + 2 * mask.spins**2
        self.convolution = Convolution(channels, outputs, kernel, gain, generator)

    def forward(self, context: Context, frozen: bool = False) -> BoundCoupling:
        """The layer over the links of ``context``; ``frozen``: the parameters count as constants."""
        sites, transport_active, _ = context.at(self.mask)
        first, last = self.convolution.parts(self.inner_rows, frozen)
        inner = context.coefficients(first) if self.inner_rows else None
        # Only active sites need the last convolution and A.
        output = context.coefficients_at(self.mask, last)
        outer, scale = output.split([math.prod(self.outer_shape), 2 * self.mask.spins**2])
        return BoundCoupling(
            self.mask,
            sites,
            inner,
            self.inner_shapes,
            outer.unflatten(0, self.outer_shape),
            _unit(self.mask.spins, scale.dtype, scale.device)
            + scale.unflatten(0, (2, self.mask.spins, self.mask.spins)),
            context.transport,
            transport_active,
        )


def log_jacobian(couplings: Sequence[BoundCoupling]) -> Tensor:
    """Σ log J of layers over the same links, log J = 2 N Σ_x log|det A(x)| (Eqs. 30 and 32), (batch,), float64."""
    colors = couplings[0].transport.planes.shape[2]
    total = couplings[0].scale.new_zeros((), dtype=torch.float64)
    for spins in sorted({coupling.mask.spins for coupling in couplings}):
        scales = [coupling.scale for coupling in couplings if coupling.mask.spins == spins]
        # The sites of all layers side by side.
        determinants = _determinant(torch.cat(scales, dim=3))
        total = total + determinants.square().sum(dim=0).log().sum(dim=0, dtype=torch.float64)
    return colors * total


@functools.cache
def _unit(spins: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """1 as planes, (2, spins, spins, 1, 1)."""
    unit = torch.eye(spins, dtype=dtype, device=device)
    return torch.stack([unit, torch.zeros_like(unit)])[..., None, None]


def _apply(scale: Tensor, active: Tensor) -> Tensor:
    """A φ_a; (2, s, s, T, batch) and (2, s, N, n, T, batch)."""
    return multiply(scale[:, :, :, None, None], active[:, None], dim=1)


def _determinant(scale: Tensor) -> Tensor:
    """det A of 1 × 1 or 2 × 2 matrices, (2, T, batch)."""
    if scale.shape[1] == 1:
        return scale[:, 0, 0]
    return _times(scale[:, 0, 0], scale[:, 1, 1]) - _times(scale[:, 0, 1], scale[:, 1, 0])


def _inverse(scale: Tensor) -> Tensor:
    """A^{-1}, by the adjugate."""
    determinant = _determinant(scale)
    conjugate = torch.stack([determinant[0], -determinant[1]]) / determinant.square().sum(dim=0)
    if scale.shape[1] == 1:
        return conjugate[:, None, None]
    rows = [[scale[:, 1, 1], -scale[:, 0, 1]], [-scale[:, 1, 0], scale[:, 0, 0]]]
    adjugate = torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)
    return multiply(adjugate[:, None], conjugate[:, None, None, None], dim=0)


def _times(a: Tensor, b: Tensor) -> Tensor:
    """a b of complex numbers in planes."""
    return torch.stack([a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]])
