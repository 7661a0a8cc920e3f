"""Joint flows of U(1) links and pseudofermions as one would first write them: complex tensors, rolls, masks, autograd.

Eqs. 20-32 and B1-B3 of Abbott et al. 2022 term by term, on whole lattices: fields are (batch, draws, L, L, spin), each
layer computes all sites and keeps the active ones, matrices are dense and solutions are differentiated. The weights
are those of a :class:`pipeline.gauge.joint.model.JointFlow`, so that both must give the same numbers.
"""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.gauge.flow.masks import mask as gauge_mask
from pipeline.gauge.flow.spline import FLOOR, UNIT_SLOPE
from pipeline.gauge.joint.model import JointFlow
from pipeline.gauge.pseudofermion.masks import field_sites, mask_cycle

SIGMA = torch.tensor([[[0, 1], [1, 0]], [[0, -1j], [1j, 0]]], dtype=torch.complex128)
"""σ_0 = σ_x and σ_1 = σ_y."""


class EagerJointFlow(nn.Module):
    """q(U) q(φ|U) of one monomial, both spins active.

    Args:
        flow: whose weights are copied; of U(1), with spatial partitioning and one monomial.
        length: L.
        even_odd: the field lives on even sites.
        partition: of the fields.
    """

    def __init__(self, flow: JointFlow, length: int, even_odd: bool, partition: tuple[str, ...]) -> None:
        super().__init__()
        self.length, self.sites = length, field_sites(length, even_odd)
        layers: Any = flow.marginal.couplings
        self.gauge = nn.ModuleList(_GaugeLayer(layer.conditioner, length, i) for i, layer in enumerate(layers))
        shared = flow.conditional.shared.convolution
        self.shared = _convolution(shared.weight, shared.bias, 4, 1)
        (model,) = flow.conditional.monomials
        masks, couplings = mask_cycle(partition, length, even_odd), cast("Any", model).couplings
        self.fields = nn.ModuleList(
            _FieldLayer(coupling, masks[i % len(masks)].components(length)[:, 0].view(length, length))
            for i, coupling in enumerate(couplings)
        )

    def sample_links(self, links: Tensor) -> tuple[Tensor, Tensor]:
        """U and log q(U) from uniform angles, (batch, 2, L, L)."""
        log_j = links.new_zeros(len(links))
        for layer in self.gauge:
            links, more = layer(links)
            log_j = log_j + more
        return links, -log_j

    def coefficients(self, links: Tensor) -> list[Tensor]:
        """Outputs of the context functions of all layers, (batch, outputs, L, L)."""
        angle, length = _plaquettes(links), self.length
        x = torch.arange(length, dtype=links.dtype) % 4
        constants = torch.stack(torch.meshgrid(x, x, indexing="ij")).expand(len(links), -1, -1, -1)
        inputs = torch.cat([torch.stack([angle.cos(), angle.sin()], dim=1), constants], dim=1)
        hidden = functional.elu(self.shared(inputs.to(self.shared.weight.dtype)))
        return [cast("_FieldLayer", layer).context(hidden).tanh() for layer in self.fields]

    def sample_fields(self, links: Tensor, base: Tensor, coefficients: list[Tensor]) -> tuple[Tensor, Tensor]:
        """φ, (batch, draws, sites, 2) complex128, and log q(φ|U), (batch, draws), from χ of the same shape."""
        batch, draws, length = len(links), base.shape[1], self.length
        field = base.new_zeros(batch, draws, length**2, 2).index_copy(2, self.sites, base)
        field = field.view(batch, draws, length, length, 2)
        transporters, log_j = _fermion_links(links).to(base.dtype), links.new_zeros(batch)
        for layer, outputs in zip(self.fields, coefficients, strict=True):
            field, more = layer(field, transporters, outputs)
            log_j = log_j + more
        norm = base.abs().square().sum(dim=(2, 3), dtype=torch.float64)
        log_q = -norm - 2 * len(self.sites) * math.log(math.pi) - log_j[:, None]
        return field.flatten(2, 3)[:, :, self.sites].to(torch.complex128), log_q


def pseudofermion_action(links: Tensor, field: Tensor, kappa: float, shift: float, even_odd: bool) -> Tensor:
    """φ†(A A† + μ)^{-1}φ, (batch, draws), with dense A: D or its Schur complement (Eqs. 5, 12 and 35).

    Args:
        links: angles, (batch, 2, L, L).
        field: (batch, draws, sites, 2), complex128.
        kappa: κ.
        shift: μ.
        even_odd: of the field.
    """
    dirac = dirac_matrix(links, kappa)
    if even_odd:
        length = links.shape[2]
        even = torch.isin(torch.arange(length**2), field_sites(length, True)).repeat_interleave(2)
        hop, back = dirac[:, even][:, :, ~even], dirac[:, ~even][:, :, even]
        dirac = torch.eye(hop.shape[1], dtype=dirac.dtype) - hop @ back
    normal = dirac @ dirac.mH + shift * torch.eye(dirac.shape[1], dtype=dirac.dtype)
    phi = field.flatten(2).mT
    return (phi.conj() * torch.linalg.solve(normal, phi)).sum(dim=1).real


def dirac_matrix(links: Tensor, kappa: float) -> Tensor:
    """D of Eq. 5, dense, (batch, 2 V, 2 V), in the order site, spin."""
    batch, length = len(links), links.shape[2]
    volume, u = length**2, _fermion_links(links)
    dirac = torch.eye(2 * volume, dtype=torch.complex128).expand(batch, -1, -1)
    unit, site = torch.eye(2, dtype=torch.complex128), torch.arange(volume).view(length, length)
    for mu in (0, 1):
        shift = torch.eye(volume, dtype=torch.complex128)[site.roll(-1, dims=mu).flatten()]
        forward = u[:, mu].flatten(1)[:, :, None] * shift
        hop = torch.einsum("st,bxy->bxsyt", unit - SIGMA[mu], forward)
        hop = hop + torch.einsum("st,bxy->bxsyt", unit + SIGMA[mu], forward.mH)
        dirac = dirac - kappa * hop.reshape(batch, 2 * volume, 2 * volume)
    return dirac


class _GaugeLayer(nn.Module):
    """U' = e^{i(P' - P)} U at the active links."""

    def __init__(self, conditioner: Any, length: int, index: int) -> None:
        super().__init__()
        self.activation = conditioner.activation
        self.convolutions = nn.ModuleList(
            _convolution(layer.weight, layer.bias, layer.weight.shape[1], dilation)
            for layer, dilation in zip(conditioner.layers, conditioner.dilations, strict=True)
        )
        self.mask = gauge_mask(length, index)
        self.active = torch.isin(torch.arange(length**2), self.mask.sites).view(length, length)

    def forward(self, links: Tensor) -> tuple[Tensor, Tensor]:
        along = self.mask.direction
        plaquettes = _plaquettes(links)
        loops = _rectangles(links, along)
        features = [plaquettes.cos(), plaquettes.sin()]
        features = [f * self.mask.frozen_plaquettes for f in features]
        features += [f * self.mask.frozen_loops for f in (loops.cos(), loops.sin())]
        *inner, last = self.convolutions
        field = torch.stack(features, dim=1).to(cast("nn.Conv2d", last).weight.dtype)
        for layer in inner:
            field = self.activation(layer(field))
        parameters = last(field).to(links.dtype).permute(0, 2, 3, 1)
        angle = _wrap(plaquettes if along == 0 else -plaquettes)
        moved, log_slope = circular_spline(angle / (2 * math.pi) + 0.5, parameters[..., :-1])
        change = (moved - 0.5) * (2 * math.pi) + parameters[..., -1] - angle
        changes = [torch.zeros_like(change), torch.zeros_like(change)]
        changes[along] = torch.where(self.active, change, 0.0)
        return links + torch.stack(changes, dim=1), torch.where(self.active, log_slope, 0.0).sum(dim=(1, 2))


def circular_spline(x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
    """Rational-quadratic spline on the circle and log of its slope: x (...) in [0, 1], parameters (..., 3 bins)."""
    widths, heights, slopes = parameters.chunk(3, dim=-1)
    bins = widths.shape[-1]

    def knots(logits: Tensor) -> Tensor:
        parts = FLOOR + (1 - FLOOR * bins) * logits.softmax(dim=-1)
        return functional.pad(parts.cumsum(dim=-1), (1, 0))

    x_knots, y_knots = knots(widths), knots(heights)
    slopes = FLOOR + functional.softplus(slopes + UNIT_SLOPE)
    slopes = torch.cat([slopes, slopes[..., :1]], dim=-1)
    left = (x[..., None] >= x_knots[..., 1:-1]).sum(dim=-1, keepdim=True)

    def at(values: Tensor, where: Tensor) -> Tensor:
        return values.gather(-1, where)[..., 0]

    x_0, x_1, y_0, y_1 = at(x_knots, left), at(x_knots, left + 1), at(y_knots, left), at(y_knots, left + 1)
    d_0, d_1 = at(slopes, left), at(slopes, left + 1)
    s, xi = (y_1 - y_0) / (x_1 - x_0), (x - x_0) / (x_1 - x_0)
    below = s + (d_0 + d_1 - 2 * s) * xi * (1 - xi)
    y = y_0 + (y_1 - y_0) * (s * xi**2 + d_0 * xi * (1 - xi)) / below
    slope = s**2 * (d_1 * xi**2 + 2 * s * xi * (1 - xi) + d_0 * (1 - xi) ** 2) / below**2
    return y, slope.log()


class _FieldLayer(nn.Module):
    """φ'_a = A φ_a + PTCN[U, φ_f] (Eq. 28)."""

    def __init__(self, coupling: Any, active: Tensor) -> None:
        super().__init__()
        self.shapes = [(2, *shape) for shape in coupling.inner_shapes] + [coupling.outer_shape]
        self.active = active[..., None]
        convolution, channels = coupling.convolution, coupling.convolution.weight.shape[1] // 9
        self.context = _convolution(convolution.weight, convolution.bias, channels, 1)

    def forward(self, field: Tensor, links: Tensor, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """φ' and log J; ``outputs`` of the context function, (batch, outputs, L, L)."""
        hidden = torch.where(self.active, 0.0, field)
        *blocks, last = outputs.split([*(math.prod(shape) for shape in self.shapes), 8], dim=1)
        for block, shape in zip(blocks, self.shapes, strict=True):
            matrix = _complex(block.unflatten(1, shape))
            hidden = torch.einsum("bhdkxy,bnxydk->bnxyh", matrix, parallel_transport(hidden, links))
        scale = _complex(last.unflatten(1, (2, 2, 2))) + torch.eye(2)[:, :, None, None]
        new = torch.einsum("bstxy,bnxyt->bnxys", scale, field) + hidden
        determinant = scale[:, 0, 0] * scale[:, 1, 1] - scale[:, 0, 1] * scale[:, 1, 0]
        log_j = torch.where(self.active[..., 0], 2 * determinant.abs().log(), 0.0)
        return torch.where(self.active, new, field), log_j.sum(dim=(1, 2), dtype=torch.float64)


def parallel_transport(field: Tensor, links: Tensor) -> Tensor:
    """L[U, φ] of Eq. 25: (batch, draws, L, L, K) and (batch, 2, L, L) -> (batch, draws, L, L, 5, K)."""
    u = links[:, :, None, ..., None]
    ahead = [u[:, mu] * field.roll(-1, dims=2 + mu) for mu in (0, 1)]
    behind = [(u[:, mu].conj() * field).roll(1, dims=2 + mu) for mu in (0, 1)]
    return torch.stack([field, *ahead, *behind], dim=-2)


def _convolution(weight: Tensor, bias: Tensor, inputs: int, dilation: int) -> nn.Conv2d:
    found = nn.Conv2d(
        inputs, len(weight), 3, padding=dilation, dilation=dilation, padding_mode="circular", dtype=weight.dtype
    )
    with torch.no_grad():
        found.weight.copy_(weight.view(found.weight.shape))
        cast("Tensor", found.bias).copy_(bias)
    return found


def _complex(parts: Tensor) -> Tensor:
    return torch.complex(parts[:, 0], parts[:, 1])


def _plaquettes(links: Tensor) -> Tensor:
    theta_0, theta_1 = links[:, 0], links[:, 1]
    return theta_0 + theta_1.roll(-1, dims=1) - theta_0.roll(-1, dims=2) - theta_1


def _rectangles(links: Tensor, along: int) -> Tensor:
    """Angles of loops with one link along μ and two across."""
    theta_0, theta_1 = links[:, 0], links[:, 1]
    if along == 0:
        long = theta_1 + theta_1.roll(-1, dims=2)
        return theta_0 + long.roll(-1, dims=1) - theta_0.roll(-2, dims=2) - long
    long = theta_0 + theta_0.roll(-1, dims=1)
    return long + theta_1.roll(-2, dims=1) - long.roll(-1, dims=2) - theta_1


def _wrap(angle: Tensor) -> Tensor:
    return torch.remainder(angle + math.pi, 2 * math.pi) - math.pi


def _fermion_links(links: Tensor) -> Tensor:
    """e^{iθ}, antiperiodic in time; (batch, 2, L, L) complex128."""
    u = torch.polar(torch.ones_like(links), links)
    sign = torch.ones(links.shape[1:], dtype=links.dtype)
    sign[0, -1] = -1.0
    return u * sign
