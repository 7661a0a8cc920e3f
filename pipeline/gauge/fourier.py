"""Periodic convolutions on small lattices as products of plane waves, for CPUs.

Along orthonormal waves a convolution is a rotation and a scale of each pair cos kx, sin kx: 2 multiplications a channel
and site instead of kernel² (4.5 times fewer for 3 × 3), plus transforms of channels in and out, which
:mod:`pipeline.gauge.fourier_loops` does. Fields are (channels, V, batch), spectra (V/2, 2, channels, batch): pairs, the
two of a pair, channels, configurations. Waves that are their own sine, of momenta 0 and π, make pairs of two.
"""

from __future__ import annotations

import importlib.util
import math
from typing import Any

import torch
from torch import Tensor

from pipeline.gauge.waves import Waves, responses


def worthwhile(field: Tensor, outputs: int, kernel: int) -> bool:
    """Whether waves are the faster way of a convolution of a field (channels, V, batch).

    That they can be had: on a CPU with numba, and where lattice and batch fit the loops; and that they take fewer
    multiplications, transforms included.
    """
    if field.device.type != "cpu" or importlib.util.find_spec("numba") is None:
        return False
    from pipeline.base.run.lanes import LANES
    from pipeline.gauge.fourier_loops import ABREAST

    channels, volume, batch = field.shape
    length = math.isqrt(volume)
    cost = 2 * channels + 2 * length * (1.0 + channels / outputs)
    return length % ABREAST == 0 and batch % LANES == 0 and cost < kernel**2 * channels


def analyse(field: Tensor) -> Tensor:
    """The spectrum of a field, (channels, V, batch) -> (V/2, 2, channels, batch); differentiable once."""
    found: Tensor = _Analysis.apply(field)  # type: ignore[no-untyped-call]
    return found


def convolve(spectrum: Tensor, weight: Tensor, kernel: int, dilation: int = 1, *, squashed: bool = False) -> Tensor:
    """Σ over the kernel × kernel square of field(x + dilation · step) weight(step), and the bias; differentiable once.

    Args:
        spectrum: of the field, (V/2, 2, channels, batch).
        weight: (outputs, channels · kernel² + 1), the bias last.
        kernel: sites along a side, odd.
        dilation: distance between the sites of the square.
        squashed: tanh of the result, in its place; the gradient that goes back is to be the one of its argument, see
            :func:`pipeline.gauge.pseudofermion.squash.squash`.

    Returns:
        (outputs, V, batch).
    """
    found: Tensor = _Convolution.apply(spectrum, weight, kernel, dilation, squashed)  # type: ignore[no-untyped-call]
    return found


class _Analysis(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, field: Tensor) -> Tensor:
        from pipeline.gauge import fourier_loops

        return fourier_loops.analyse(field, Waves.of(math.isqrt(field.shape[1]), field.dtype))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        from pipeline.gauge import fourier_loops

        (gradient,) = gradients
        waves = Waves.of(math.isqrt(2 * len(gradient)), gradient.dtype)
        return fourier_loops.synthesise(gradient, waves, None, False)


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, spectrum: Tensor, weight: Tensor, kernel: int, dilation: int, squashed: bool) -> Tensor:
        from pipeline.gauge import fourier_loops

        half, _, channels, batch = spectrum.shape
        length = math.isqrt(2 * half)
        response = responses(length, kernel, dilation, spectrum.dtype)
        matrices = (response @ weight[:, :-1].reshape(-1, kernel**2).T).view(half, 2, 2, len(weight), channels)
        matrices = matrices.transpose(2, 3).reshape(half, 2 * len(weight), 2 * channels)
        flat = spectrum.reshape(half, 2 * channels, batch)
        ctx.save_for_backward(flat, matrices)
        ctx.response = response
        product = torch.bmm(matrices, flat).view(half, 2, len(weight), batch)
        return fourier_loops.synthesise(product, Waves.of(length, spectrum.dtype), weight[:, -1], squashed)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        from pipeline.gauge import fourier_loops

        (gradient,), (flat, matrices) = gradients, ctx.saved_tensors
        half, rows = len(flat), len(gradient)
        wave = fourier_loops.analyse(gradient, Waves.of(math.isqrt(2 * half), gradient.dtype))
        wave = wave.view(half, 2 * rows, -1)
        of_flat, of_weight = None, None
        if ctx.needs_input_grad[0]:
            of_flat = torch.bmm(matrices.mT, wave).view(half, 2, -1, flat.shape[2])
        if ctx.needs_input_grad[1]:
            products = torch.bmm(wave, flat.mT).view(half, 2, rows, 2, -1)
            summed = ctx.response.T @ products.transpose(2, 3).reshape(4 * half, -1)
            of_kernel = summed.view(ctx.response.shape[1], rows, -1).permute(1, 2, 0).flatten(1)
            # The first wave is the uniform one.
            of_bias = math.sqrt(2 * half) * wave[0, :rows].sum(dim=1, keepdim=True)
            of_weight = torch.cat([of_kernel, of_bias], dim=1)
        return of_flat, of_weight, None, None, None
