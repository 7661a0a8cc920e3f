"""Convolutions on a periodic lattice whose backward pass is as simple as the forward one.

torch's circular padding is differentiated slice by slice, at several times the cost of the convolution. The adjoint of
a periodic convolution is one too, with the kernel turned around; sites, padding included, are read in one pass.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

KERNEL = 3
"""Sites along the side of a kernel."""


def _padded(field: Tensor, width: int) -> Tensor:
    """(batch, L, L, channels) with ``width`` more sites on each side; channels-last (batch, channels, ...)."""
    length = field.shape[1]
    read = field.flatten(1, 2).index_select(1, _padding(length, width, field.device))
    return read.unflatten(1, (length + 2 * width, length + 2 * width)).permute(0, 3, 1, 2)


@functools.cache
def _padding(length: int, width: int, device: torch.device) -> Tensor:
    """Positions of the padded lattice, ((L + 2 width)²,)."""
    x = torch.arange(-width, length + width, device=device) % length
    return (x[:, None] * length + x).flatten()


class _PeriodicConvolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, field: Tensor, weight: Tensor, bias: Tensor, dilation: int) -> Tensor:
        padded = _padded(field, dilation)
        ctx.save_for_backward(padded, weight)
        ctx.dilation = dilation
        return functional.conv2d(padded, weight, bias, dilation=dilation).permute(0, 2, 3, 1)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        padded, weight = ctx.saved_tensors
        of_field = None
        if ctx.needs_input_grad[0]:
            turned = weight.flip(2, 3).transpose(0, 1)
            of_field = functional.conv2d(_padded(gradient, ctx.dilation), turned, dilation=ctx.dilation)
            of_field = of_field.permute(0, 2, 3, 1)
        _, of_weight, of_bias = torch.ops.aten.convolution_backward(
            gradient.permute(0, 3, 1, 2),
            padded,
            weight,
            [weight.shape[0]],
            [1, 1],
            [0, 0],
            [ctx.dilation, ctx.dilation],
            False,
            [0, 0],
            1,
            [False, *ctx.needs_input_grad[1:3]],
        )
        return of_field, of_weight, of_bias, None


def convolution(field: Tensor, weight: Tensor, bias: Tensor, dilation: int) -> Tensor:
    """Σ over the 3 × 3 window of field(x + dilation · step) weight(step), and the bias, on a periodic lattice.

    Args:
        field: (batch, L, L, channels).
        weight: (outputs, channels, 3, 3).
        bias: (outputs,).
        dilation: distance between the sites of a window, at most L.

    Returns:
        (batch, L, L, outputs); differentiable once.
    """
    return _PeriodicConvolution.apply(field, weight, bias, dilation)


class _Windows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, field: Tensor, windows: Tensor) -> Tensor:
        ctx.save_for_backward(windows)
        ctx.sites = field.shape[1]
        return field.index_select(1, windows)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (windows,) = ctx.saved_tensors
        result = gradient.new_zeros((len(gradient), ctx.sites, gradient.shape[2]))
        return result.index_add_(1, windows, gradient), None


def convolution_at(field: Tensor, weight: Tensor, bias: Tensor, dilation: int, sites: Tensor) -> Tensor:
    """The same convolution, at some sites only; output channels first.

    Args:
        sites: positions x_0 L + x_1, (n,) int64, all different.

    Returns:
        (outputs, batch, n); differentiable once.
    """
    batch, length, _, channels = field.shape
    windows = _windows(sites, length, dilation)
    read = _Windows.apply(field.flatten(1, 2), windows).reshape(batch * len(sites), -1)
    flat = weight.permute(0, 2, 3, 1).reshape(len(weight), KERNEL**2 * channels)
    return torch.addmm(bias.unsqueeze(1), flat, read.T).view(len(weight), batch, len(sites))


@functools.lru_cache(maxsize=256)
def _windows(sites: Tensor, length: int, dilation: int) -> Tensor:
    """Positions that the windows of ``sites`` read, (9 n,)."""
    steps = dilation * torch.arange(-1, 2, device=sites.device)
    x_0 = (sites[:, None] // length + steps) % length
    x_1 = (sites[:, None] % length + steps) % length
    return (x_0[:, :, None] * length + x_1[:, None, :]).flatten()
