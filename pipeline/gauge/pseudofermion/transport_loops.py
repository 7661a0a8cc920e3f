"""Parallel transport convolutions and their gradients as fused loops over sites (numba), for CPUs.

One pass gathers a neighbour, transports it and adds it to all features of the result, along configurations, which lie
side by side in memory; shapes as in :mod:`pipeline.gauge.pseudofermion.transport`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.base.run.compiled import njit

FAST = {"contract", "reassoc", "nsz"}
"""Fused multiply-adds and free order of sums; NaN and infinity keep their meaning."""


def convolve(field: Tensor, coefficients: Tensor, planes: Tensor, table: Tensor) -> Tensor:
    """See :func:`pipeline.gauge.pseudofermion.transport.convolve`."""
    _, _, colors, draws, _, batch = field.shape
    result = field.new_empty((2, coefficients.shape[1], colors, draws, table.shape[1], batch))
    _convolve(*(_array(x) for x in (field, coefficients, planes, table)), result.numpy(), _scratch(field))
    return result


def add_gradients(
    gradient: Tensor,
    field: Tensor,
    coefficients: Tensor,
    planes: Tensor,
    table: Tensor,
    of_coefficients: Tensor,
    of_planes: Tensor | None,
    tanh: bool,
) -> Tensor:
    """Gradients from the one of the result.

    Args:
        gradient: of a real number with respect to the result.
        field, coefficients, planes, table: of the convolution.
        of_coefficients: in the shape of coefficients, contiguous; written.
        of_planes: in the shape of planes, contiguous, added to; None if unwanted.
        tanh: of the argument of coefficients that are a hyperbolic tangent, instead of themselves.

    Returns:
        The gradient of the field.
    """
    of_field = torch.zeros(field.shape, dtype=field.dtype)
    # Numba compiles for a number of axes; one that is not wanted has none.
    transported = planes.new_empty((0,) * planes.ndim) if of_planes is None else of_planes
    arrays = [_array(x) for x in (gradient, field, coefficients, planes, table)]
    found = [x.numpy() for x in (of_field, of_coefficients, transported)]
    _gradients(*arrays, *found, of_planes is not None, tanh, _scratch(field), _scratch(field))
    return of_field


def _array(tensor: Tensor) -> Any:
    array = tensor.detach().contiguous().numpy()
    # An unsigned index needs no test for Python's counting from the end.
    return array.view(np.uint64) if tensor.dtype == torch.int64 else array


def _scratch(field: Tensor) -> Any:
    """One transported feature: real and imaginary part, colour, configuration."""
    return np.empty((2, field.shape[2], field.shape[5]), dtype=field.detach().numpy().dtype)


@njit(inline="always")
def _transport(field, planes, d, k, s, x, t, moved):  # type: ignore[no-untyped-def]
    """T_d(y) φ_k(x) into ``moved``."""
    colors, batch = field.shape[2], field.shape[5]
    for i in range(colors):
        if d == 0:
            for b in range(batch):
                moved[0, i, b] = field[0, k, i, s, x, b]
                moved[1, i, b] = field[1, k, i, s, x, b]
            continue
        for j in range(colors):
            for b in range(batch):
                u_re, u_im = planes[0, d - 1, i, j, t, b], planes[1, d - 1, i, j, t, b]
                f_re, f_im = field[0, k, j, s, x, b], field[1, k, j, s, x, b]
                re, im = u_re * f_re - u_im * f_im, u_re * f_im + u_im * f_re
                moved[0, i, b] = re if j == 0 else moved[0, i, b] + re
                moved[1, i, b] = im if j == 0 else moved[1, i, b] + im


@njit(nogil=True, fastmath=FAST)
def _convolve(field, coefficients, planes, table, result, moved):  # type: ignore[no-untyped-def]
    features, colors, batch = field.shape[1], field.shape[2], field.shape[5]
    for t in range(table.shape[1]):
        for s in range(field.shape[3]):
            for d in range(5):
                x = table[d, t]
                for k in range(features):
                    _transport(field, planes, d, k, s, x, t, moved)
                    first = d == 0 and k == 0
                    for h in range(coefficients.shape[1]):
                        for i in range(colors):
                            for b in range(batch):
                                m_re, m_im = coefficients[0, h, d, k, t, b], coefficients[1, h, d, k, t, b]
                                w_re, w_im = moved[0, i, b], moved[1, i, b]
                                re, im = m_re * w_re - m_im * w_im, m_re * w_im + m_im * w_re
                                result[0, h, i, s, t, b] = re if first else result[0, h, i, s, t, b] + re
                                result[1, h, i, s, t, b] = im if first else result[1, h, i, s, t, b] + im


@njit(inline="always")
def _back(gradient, coefficients, d, k, s, t, back):  # type: ignore[no-untyped-def]
    """Σ_h M_hdk* g_h into ``back``."""
    colors, batch = gradient.shape[2], gradient.shape[5]
    for h in range(coefficients.shape[1]):
        for i in range(colors):
            for b in range(batch):
                m_re, m_im = coefficients[0, h, d, k, t, b], coefficients[1, h, d, k, t, b]
                g_re, g_im = gradient[0, h, i, s, t, b], gradient[1, h, i, s, t, b]
                re, im = m_re * g_re + m_im * g_im, m_re * g_im - m_im * g_re
                back[0, i, b] = re if h == 0 else back[0, i, b] + re
                back[1, i, b] = im if h == 0 else back[1, i, b] + im


@njit(inline="always")
def _of_coefficients(gradient, moved, d, k, s, t, result):  # type: ignore[no-untyped-def]
    """g_h (T φ_k)* into the gradient of M_hdk, summed over colours, and over draws from the first one on."""
    colors, batch = gradient.shape[2], gradient.shape[5]
    for h in range(result.shape[1]):
        for i in range(colors):
            first = s == 0 and i == 0
            for b in range(batch):
                g_re, g_im = gradient[0, h, i, s, t, b], gradient[1, h, i, s, t, b]
                w_re, w_im = moved[0, i, b], moved[1, i, b]
                re, im = g_re * w_re + g_im * w_im, g_im * w_re - g_re * w_im
                result[0, h, d, k, t, b] = re if first else result[0, h, d, k, t, b] + re
                result[1, h, d, k, t, b] = im if first else result[1, h, d, k, t, b] + im


@njit(inline="always")
def _scatter(back, field, planes, d, k, s, x, t, of_field, of_planes, planes_wanted):  # type: ignore[no-untyped-def]
    """T† ``back`` added to the gradient of φ_k(x), and ``back`` φ_k† to the one of T."""
    colors, batch = field.shape[2], field.shape[5]
    for i in range(colors):
        if d == 0:
            for b in range(batch):
                of_field[0, k, i, s, x, b] += back[0, i, b]
                of_field[1, k, i, s, x, b] += back[1, i, b]
            continue
        for j in range(colors):
            for b in range(batch):
                u_re, u_im = planes[0, d - 1, i, j, t, b], planes[1, d - 1, i, j, t, b]
                b_re, b_im = back[0, i, b], back[1, i, b]
                of_field[0, k, j, s, x, b] += u_re * b_re + u_im * b_im
                of_field[1, k, j, s, x, b] += u_re * b_im - u_im * b_re
            if planes_wanted:
                for b in range(batch):
                    b_re, b_im = back[0, i, b], back[1, i, b]
                    f_re, f_im = field[0, k, j, s, x, b], field[1, k, j, s, x, b]
                    of_planes[0, d - 1, i, j, t, b] += b_re * f_re + b_im * f_im
                    of_planes[1, d - 1, i, j, t, b] += b_im * f_re - b_re * f_im


@njit(inline="always")
def _of_tanh(coefficients, d, k, t, result):  # type: ignore[no-untyped-def]
    """The gradient of M = tanh(r) into the one of r."""
    for part in range(2):
        for h in range(result.shape[1]):
            for b in range(result.shape[5]):
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
    moved,
    back,
):
    draws = field.shape[3]
    for t in range(table.shape[1]):
        for s in range(draws):
            for d in range(5):
                x = table[d, t]
                for k in range(field.shape[1]):
                    _transport(field, planes, d, k, s, x, t, moved)
                    _of_coefficients(gradient, moved, d, k, s, t, of_coefficients)
                    _back(gradient, coefficients, d, k, s, t, back)
                    _scatter(back, field, planes, d, k, s, x, t, of_field, of_planes, planes_wanted)
                    if tanh and s == draws - 1:
                        _of_tanh(coefficients, d, k, t, of_coefficients)
