"""Convolutions on a periodic lattice whose backward pass is as simple as the forward one.

torch's circular padding is differentiated slice by slice, at several times the cost of the convolution. The adjoint of
a periodic convolution is one too, with the kernel turned around, and that of reading sites is reading again.
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
    """(batch, L, L, channels) with ``width`` <= L more sites on each side; channels-last (batch, channels, ...)."""
    field = torch.cat([field[:, -width:], field, field[:, :width]], dim=1)
    field = torch.cat([field[:, :, -width:], field, field[:, :, :width]], dim=2)
    return field.permute(0, 3, 1, 2)


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
    def forward(ctx: Any, field: Tensor, windows: Tensor, readers: Tensor) -> Tensor:
        ctx.save_for_backward(readers)
        return field.index_select(1, windows)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (readers,) = ctx.saved_tensors
        with_zero = functional.pad(gradient, (0, 0, 0, 1))
        read = with_zero.index_select(1, readers.flatten())
        return read.unflatten(1, readers.shape).sum(dim=2), None, None


def convolution_at(field: Tensor, weight: Tensor, bias: Tensor, dilation: int, sites: Tensor) -> Tensor:
    """The same convolution, at some sites only; output channels first.

    Args:
        sites: positions x_0 L + x_1, (n,) int64, all different.

    Returns:
        (outputs, batch, n); differentiable once.
    """
    batch, length, _, channels = field.shape
    windows, readers = _tables(sites, length, dilation)
    read = _Windows.apply(field.flatten(1, 2), windows, readers).reshape(batch * len(sites), -1)
    flat = weight.permute(0, 2, 3, 1).reshape(len(weight), KERNEL**2 * channels)
    return torch.addmm(bias.unsqueeze(1), flat, read.T).view(len(weight), batch, len(sites))


@functools.lru_cache(maxsize=256)
def _tables(sites: Tensor, length: int, dilation: int) -> tuple[Tensor, Tensor]:
    """Positions that windows read, (9 n,), and of each site those that read it, (L², most); 9 n stands for none."""
    steps = dilation * torch.arange(-1, 2, device=sites.device)
    x_0 = (sites[:, None] // length + steps) % length
    x_1 = (sites[:, None] % length + steps) % length
    windows = (x_0[:, :, None] * length + x_1[:, None, :]).flatten()
    order = windows.argsort(stable=True)
    counts = windows.bincount(minlength=length**2)
    readers = torch.full((length**2, int(counts.max())), len(windows), device=sites.device)
    column = torch.arange(len(windows), device=sites.device) - (counts.cumsum(0) - counts).repeat_interleave(counts)
    readers[windows[order], column] = order
    return windows, readers
