"""Parallel transport convolutions and their gradients as fused loops over sites (numba), for CPUs.

One pass gathers a neighbour, transports it and adds it to all features of the result, a tile of sites at a time and
along configurations, which lie side by side in memory. Each thread has configurations of its own: results do not depend
on the number of threads. Shapes as in :mod:`pipeline.gauge.pseudofermion.transport`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.base.run.compiled import njit
from pipeline.base.run.slices import in_slices

FAST = {"contract", "reassoc", "nsz"}
"""Fused multiply-adds and free order of sums; NaN and infinity keep their meaning."""


TILE = 2048
"""Numbers of a feature that are worked on at a time: few enough for the cache, many enough to be read in one go."""

LEAST_CONFIGURATIONS = 16
"""Of a thread."""


def convolve(field: Tensor, coefficients: Sequence[Tensor], planes: Tensor, table: Tensor) -> list[Tensor]:
    """Results of convolutions one after the other, see :func:`pipeline.gauge.pseudofermion.transport.convolve`."""
    _, _, colors, draws, _, batch = field.shape
    shape = colors, draws, table.shape[1], batch
    results = [field.new_empty((2, matrix.shape[1], *shape)) for matrix in coefficients]
    fields = [_array(each) for each in (field, *results)]
    matrices, (links, sites) = [_array(each) for each in coefficients], (_array(planes), _array(table))
    tile = _tile(sites, batch)

    def work(first: int, last: int) -> None:
        moved = _scratch(fields[0], tile, last - first)
        for before, matrix, after in zip(fields, matrices, fields[1:], strict=False):
            _convolve(before, matrix, links, sites, after, np.uint64(first), np.uint64(last), tile, moved)

    in_slices(batch, LEAST_CONFIGURATIONS, work)
    return results


def add_gradients(
    gradient: Tensor,
    fields: Sequence[Tensor],
    coefficients: Sequence[Tensor],
    planes: Tensor,
    table: Tensor,
    of_coefficients: Sequence[Tensor],
    of_planes: Tensor | None,
    tanh: bool,
) -> Tensor:
    """Gradients from the one of the last result.

    Args:
        gradient: of a real number with respect to it.
        fields: that the convolutions were applied to.
        coefficients, planes, table: of the convolutions.
        of_coefficients: in the shape of coefficients, contiguous; written.
        of_planes: in the shape of planes, contiguous, added to; None if unwanted.
        tanh: of the argument of coefficients that are a hyperbolic tangent, instead of themselves.

    Returns:
        The gradient of the first field.
    """
    # Numba compiles for a number of axes; one that is not wanted has none.
    wanted = of_planes is not None
    transported = (planes.new_empty((0,) * planes.ndim) if of_planes is None else of_planes).numpy()
    of_fields = [torch.zeros(field.shape, dtype=field.dtype) for field in fields]
    signals = [_array(each) for each in (*of_fields, gradient)]
    arguments = [
        (after, _array(field), _array(matrix), _array(planes), _array(table), before, of_matrix.numpy())
        for after, field, matrix, before, of_matrix in zip(
            signals[1:], fields, coefficients, signals, of_coefficients, strict=False
        )
    ]
    tile = _tile(arguments[0][4], gradient.shape[-1])

    def work(first: int, last: int) -> None:
        scratch = [_scratch(signals[0], tile, last - first) for _ in range(2)]
        for each in reversed(arguments):
            _gradients(*each, transported, wanted, tanh, np.uint64(first), np.uint64(last), tile, *scratch)

    in_slices(gradient.shape[-1], LEAST_CONFIGURATIONS, work)
    return of_fields[0]


def _array(tensor: Tensor) -> Any:
    array = tensor.detach().contiguous().numpy()
    # An unsigned index needs no test for Python's counting from the end.
    return array.view(np.uint64) if tensor.dtype == torch.int64 else array


def _tile(sites: Any, batch: int) -> int:
    """Number of sites of a tile: of all configurations, since the order of sums depends on it."""
    return int(min(sites.shape[1], max(1, TILE // batch)))


def _scratch(field: Any, tile: int, configurations: int) -> Any:
    """A transported feature: real and imaginary part, colour, site, configuration."""
    return np.empty((2, field.shape[2], tile, configurations), dtype=field.dtype)


@njit(inline="always")
def _transport(field, planes, d, k, s, table, t_0, t_1, b_0, b_1, moved):  # type: ignore[no-untyped-def]
    """T_d(y) φ_k(x) of a tile into ``moved``."""
    colors = field.shape[2]
    for i in range(colors):
        for t in range(t_0, t_1):
            x = table[d, t]
            if d == 0:
                for b in range(b_0, b_1):
                    moved[0, i, t - t_0, b - b_0] = field[0, k, i, s, x, b]
                    moved[1, i, t - t_0, b - b_0] = field[1, k, i, s, x, b]
                continue
            for j in range(colors):
                for b in range(b_0, b_1):
                    u_re, u_im = planes[0, d - 1, i, j, t, b], planes[1, d - 1, i, j, t, b]
                    f_re, f_im = field[0, k, j, s, x, b], field[1, k, j, s, x, b]
                    re, im = u_re * f_re - u_im * f_im, u_re * f_im + u_im * f_re
                    moved[0, i, t - t_0, b - b_0] = re if j == 0 else moved[0, i, t - t_0, b - b_0] + re
                    moved[1, i, t - t_0, b - b_0] = im if j == 0 else moved[1, i, t - t_0, b - b_0] + im


@njit(inline="always")
def _add_product(coefficients, moved, d, k, s, t_0, t_1, b_0, b_1, result):  # type: ignore[no-untyped-def]
    """M_hdk ``moved`` added to all features of the result, or put there by the first of them."""
    first = d == 0 and k == 0
    for h in range(coefficients.shape[1]):
        for i in range(moved.shape[1]):
            for t in range(t_0, t_1):
                for b in range(b_0, b_1):
                    m_re, m_im = coefficients[0, h, d, k, t, b], coefficients[1, h, d, k, t, b]
                    w_re, w_im = moved[0, i, t - t_0, b - b_0], moved[1, i, t - t_0, b - b_0]
                    re, im = m_re * w_re - m_im * w_im, m_re * w_im + m_im * w_re
                    result[0, h, i, s, t, b] = re if first else result[0, h, i, s, t, b] + re
                    result[1, h, i, s, t, b] = im if first else result[1, h, i, s, t, b] + im


@njit(nogil=True, fastmath=FAST)
def _convolve(field, coefficients, planes, table, result, b_0, b_1, tile, moved):  # type: ignore[no-untyped-def]
    for part in range((table.shape[1] - 1) // tile + 1):
        t_0 = np.uint64(part * tile)
        t_1 = np.uint64(min(part * tile + tile, table.shape[1]))
        for s in range(field.shape[3]):
            for d in range(5):
                for k in range(field.shape[1]):
                    _transport(field, planes, d, k, s, table, t_0, t_1, b_0, b_1, moved)
                    _add_product(coefficients, moved, d, k, s, t_0, t_1, b_0, b_1, result)


@njit(inline="always")
def _of_coefficients(gradient, moved, d, k, s, t_0, t_1, b_0, b_1, result):  # type: ignore[no-untyped-def]
    """g_h w† summed over colours, written for the first draw and added for the others."""
    for h in range(result.shape[1]):
        for i in range(moved.shape[1]):
            first = s == 0 and i == 0
            for t in range(t_0, t_1):
                for b in range(b_0, b_1):
                    g_re, g_im = gradient[0, h, i, s, t, b], gradient[1, h, i, s, t, b]
                    w_re, w_im = moved[0, i, t - t_0, b - b_0], moved[1, i, t - t_0, b - b_0]
                    re, im = g_re * w_re + g_im * w_im, g_im * w_re - g_re * w_im
                    result[0, h, d, k, t, b] = re if first else result[0, h, d, k, t, b] + re
                    result[1, h, d, k, t, b] = im if first else result[1, h, d, k, t, b] + im


@njit(inline="always")
def _back(gradient, coefficients, d, k, s, t_0, t_1, b_0, b_1, back):  # type: ignore[no-untyped-def]
    """Σ_h M_hdk* g_h into ``back``."""
    for h in range(coefficients.shape[1]):
        for i in range(back.shape[1]):
            for t in range(t_0, t_1):
                for b in range(b_0, b_1):
                    m_re, m_im = coefficients[0, h, d, k, t, b], coefficients[1, h, d, k, t, b]
                    g_re, g_im = gradient[0, h, i, s, t, b], gradient[1, h, i, s, t, b]
                    re, im = m_re * g_re + m_im * g_im, m_re * g_im - m_im * g_re
                    back[0, i, t - t_0, b - b_0] = re if h == 0 else back[0, i, t - t_0, b - b_0] + re
                    back[1, i, t - t_0, b - b_0] = im if h == 0 else back[1, i, t - t_0, b - b_0] + im


@njit(inline="always")
def _scatter(back, planes, d, k, s, table, t_0, t_1, b_0, b_1, of_field):  # type: ignore[no-untyped-def]
    """T† ``back`` added to the gradient of φ_k(x)."""
    colors = of_field.shape[2]
    for i in range(colors):
        for t in range(t_0, t_1):
            x = table[d, t]
            if d == 0:
                for b in range(b_0, b_1):
                    of_field[0, k, i, s, x, b] += back[0, i, t - t_0, b - b_0]
                    of_field[1, k, i, s, x, b] += back[1, i, t - t_0, b - b_0]
                continue
            for j in range(colors):
                for b in range(b_0, b_1):
                    u_re, u_im = planes[0, d - 1, i, j, t, b], planes[1, d - 1, i, j, t, b]
                    w_re, w_im = back[0, i, t - t_0, b - b_0], back[1, i, t - t_0, b - b_0]
                    of_field[0, k, j, s, x, b] += u_re * w_re + u_im * w_im
                    of_field[1, k, j, s, x, b] += u_re * w_im - u_im * w_re


@njit(inline="always")
def _of_links(back, field, d, k, s, table, t_0, t_1, b_0, b_1, of_planes):  # type: ignore[no-untyped-def]
    """``back`` φ_k† added to the gradient of T."""
    colors = field.shape[2]
    for i in range(colors):
        for t in range(t_0, t_1):
            x = table[d, t]
            for j in range(colors):
                for b in range(b_0, b_1):
                    w_re, w_im = back[0, i, t - t_0, b - b_0], back[1, i, t - t_0, b - b_0]
                    f_re, f_im = field[0, k, j, s, x, b], field[1, k, j, s, x, b]
                    of_planes[0, d - 1, i, j, t, b] += w_re * f_re + w_im * f_im
                    of_planes[1, d - 1, i, j, t, b] += w_im * f_re - w_re * f_im


@njit(inline="always")
def _of_tanh(coefficients, d, k, t_0, t_1, b_0, b_1, result):  # type: ignore[no-untyped-def]
    """The gradient of M = tanh(r) into the one of r."""
    for part in range(2):
        for h in range(result.shape[1]):
            for t in range(t_0, t_1):
                for b in range(b_0, b_1):
                    m = coefficients[part, h, d, k, t, b]
                    result[part, h, d, k, t, b] *= 1.0 - m * m


@njit(nogil=True, fastmath=FAST)
def _gradients(  # type: ignore[no-untyped-def]
    gradient,
    field,
    coefficients,
    planes,
    table,
    of_field,
    of_coefficients,
    of_planes,
    planes_wanted,
    tanh,
    b_0,
    b_1,
    tile,
    moved,
    back,
):
    draws = field.shape[3]
    for part in range((table.shape[1] - 1) // tile + 1):
        t_0 = np.uint64(part * tile)
        t_1 = np.uint64(min(part * tile + tile, table.shape[1]))
        for s in range(draws):
            for d in range(5):
                for k in range(field.shape[1]):
                    _transport(field, planes, d, k, s, table, t_0, t_1, b_0, b_1, moved)
                    _of_coefficients(gradient, moved, d, k, s, t_0, t_1, b_0, b_1, of_coefficients)
                    _back(gradient, coefficients, d, k, s, t_0, t_1, b_0, b_1, back)
                    _scatter(back, planes, d, k, s, table, t_0, t_1, b_0, b_1, of_field)
                    if planes_wanted and d > 0:
                        _of_links(back, field, d, k, s, table, t_0, t_1, b_0, b_1, of_planes)
                    if tanh and s == draws - 1:
                        _of_tanh(coefficients, d, k, t_0, t_1, b_0, b_1, of_coefficients)
