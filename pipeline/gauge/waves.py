"""Orthonormal waves on small periodic lattices, and what kernels of convolutions do to them, as tables."""

from __future__ import annotations

import functools
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
