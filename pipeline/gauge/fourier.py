"""Periodic convolutions on small lattices as products of plane waves, for CPUs.

Along orthonormal waves a convolution is a rotation and a scale of each pair cos kx, sin kx: 2 multiplications a channel
and site instead of kernel² (4.5 times fewer for 3 × 3), plus transforms of channels in and out, which
:mod:`pipeline.gauge.fourier_loops` does. Fields are (channels, V, batch), spectra (V/2, 2, channels, batch): pairs, the
two of a pair, channels, configurations. Waves that are their own sine, of momenta 0 and π, make pairs of two.
"""

from __future__ import annotations

import functools
import importlib.util
import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Momentum = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Waves:
    """Orthonormal waves on the periodic L × L lattice, as tables of two steps, numbers in one precision.

    Products of waves of each direction, 1, cos, sin, ..., (-1)^x, come first; their sums and differences are waves
    cos(k_0 x_0 + k_1 x_1) and sin(k_0 x_0 + k_1 x_1).

    Attributes:
        matrix: waves along a direction, (L · L,), wave by wave.
        transposed: the same, site by site.
        analysis, analysis_factors: (V, 2) int64, (V · 2,): which two products make a wave, and their factors.
        synthesis, synthesis_factors: the same of the way back.
        momenta: L k/2π of each pair: one of a cosine and a sine, two where waves are their own sine.
    """

    matrix: NDArray[Any]
    transposed: NDArray[Any]
    analysis: NDArray[np.int64]
    analysis_factors: NDArray[Any]
    synthesis: NDArray[np.int64]
    synthesis_factors: NDArray[Any]
    momenta: tuple[tuple[Momentum, ...], ...]

    @staticmethod
    @functools.cache
    def of(length: int, dtype: torch.dtype) -> Waves:
        """Those of an even L."""
        number = torch.empty(0, dtype=dtype).numpy().dtype
        x = np.arange(length)
        angles = 2.0 * np.pi / length * np.arange(1, length // 2)[:, None] * x
        pairs = math.sqrt(2.0) * np.stack([np.cos(angles), np.sin(angles)], axis=1).reshape(-1, length)
        along = np.concatenate([np.ones((1, length)), pairs, (-1.0) ** x[None]]) / math.sqrt(length)
        momenta, whole = _combinations(length)
        forth, back = _two_of_each(whole), _two_of_each(whole.T)
        numbers = (along.ravel(), along.T.ravel(), forth[1], back[1])
        matrix, transposed, forth_factors, back_factors = (each.astype(number) for each in numbers)
        return Waves(matrix, transposed, forth[0], forth_factors, back[0], back_factors, momenta)


def _combinations(length: int) -> tuple[tuple[tuple[Momentum, ...], ...], NDArray[np.float64]]:
    """Momenta of all pairs, the uniform wave first, and the waves as sums of products, (V, V)."""
    alone = {0: 0, length // 2: length - 1}
    complex_ones = range(1, length // 2)
    half = math.sqrt(0.5)
    momenta: list[tuple[Momentum, ...]] = []
    rows: list[dict[Momentum, float]] = []
    for m, place in alone.items():
        momenta.append(((m, 0), (m, length // 2)))
        rows += [{(place, other): 1.0} for other in alone.values()]
    for (m, place), n in itertools.product(alone.items(), complex_ones):
        momenta += [((m, n),), ((n, m),)]
        cos, sin = 2 * n - 1, 2 * n
        rows += [{(place, cos): 1.0}, {(place, sin): 1.0}, {(cos, place): 1.0}, {(sin, place): 1.0}]
    for m, n in itertools.product(complex_ones, complex_ones):
        momenta += [((m, n),), ((m, -n),)]
        c_0, s_0, c_1, s_1 = 2 * m - 1, 2 * m, 2 * n - 1, 2 * n
        for sign in (1.0, -1.0):
            rows += [{(c_0, c_1): half, (s_0, s_1): -sign * half}, {(s_0, c_1): half, (c_0, s_1): sign * half}]
    whole = np.zeros((len(rows), length**2))
    for row, products in zip(whole, rows, strict=True):
        for (first, second), factor in products.items():
            row[first * length + second] = factor
    return tuple(momenta), whole


def _two_of_each(matrix: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Positions (n, 2) and values (n · 2,) of what is not zero in each row, one or two numbers."""
    positions = np.argsort(-np.abs(matrix), axis=1, kind="stable")[:, :2]
    return positions, np.take_along_axis(matrix, positions, axis=1).ravel()


@functools.cache
def responses(length: int, kernel: int, dilation: int, dtype: torch.dtype) -> Tensor:
    """What each site of a kernel does to pairs: (V/2 · 2 · 2, kernel²), a matrix of 2 × 2 for each pair."""
    reach = dilation * (np.arange(kernel) - kernel // 2)
    away = np.stack(np.meshgrid(reach, reach, indexing="ij"), axis=-1).reshape(-1, 2)
    matrices = []
    for momenta in Waves.of(length, dtype).momenta:
        angles = 2.0 * np.pi / length * (np.array(momenta) @ away.T)
        if len(momenta) == 1:
            cos, sin = np.cos(angles[0]), np.sin(angles[0])
            matrices.append([[cos, sin], [-sin, cos]])
        else:
            first, second = np.cos(angles)
            matrices.append([[first, 0.0 * first], [0.0 * first, second]])
    return torch.tensor(np.array(matrices), dtype=dtype).view(-1, kernel**2)


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
