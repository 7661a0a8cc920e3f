"""The hopping term and its gradient with respect to the links as fused loops over sites (numba), for CPUs.

One pass reads each neighbour and writes each result once, where elementwise operations on whole fields are bound by
memory traffic. Loops over colours have a length known when they are compiled, once for each gauge group.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor

from pipeline.gauge.hopping import Neighbours

FAST = {"contract", "reassoc", "nsz"}
"""Fused multiply-adds and free order of sums; NaN and infinity keep their meaning, for trajectories that fail."""


def hop(field: Tensor, links: Tensor, there: Neighbours, sign: float, factor: float, base: Tensor | None) -> Tensor:
    """base + factor · H ψ; see :func:`pipeline.gauge.hopping.hop`."""
    batch, fields, _, spins, colors = field.shape
    result = torch.empty((batch, fields, len(there.sites), spins, colors), dtype=field.dtype)
    # Without a base, its place is taken by a field that is never read.
    below = result if base is None else base
    _hop_loop(colors)(*_arrays(field, links, there), sign, factor, base is not None, _array(below), result.numpy())
    return result


def link_gradient(
    gradient: Tensor, field: Tensor, links: Tensor, there: Neighbours, sign: float, factor: float
) -> Tensor:
    """∂S/∂Re U + i ∂S/∂Im U of a real S with the gradient ``gradient`` (same convention) in factor · H ψ."""
    result = torch.zeros(links.shape, dtype=links.dtype)
    _gradient_loop(links.shape[-1])(_array(gradient), *_arrays(field, links, there), sign, factor, result.numpy())
    return result


def _array(tensor: Tensor) -> Any:
    return tensor.detach().resolve_conj().contiguous().numpy()


def _arrays(field: Tensor, links: Tensor, there: Neighbours) -> tuple[Any, ...]:
    # An unsigned index needs no test for Python's counting from the end.
    tables = (there.sites, there.forward, there.backward, there.behind)
    return _array(field), _array(links), *(table.numpy().view(np.uint64) for table in tables)


@functools.cache
def _hop_loop(colors: int) -> Any:
    @njit(nogil=True, fastmath=FAST)
    def loop(  # type: ignore[no-untyped-def]
        field, links, sites, forward, backward, behind, sign, factor, has_base, base, result
    ):
        batch, fields = field.shape[:2]
        for b in range(batch):
            for k in range(fields):
                psi = field[b, k]
                for t in range(len(sites)):
                    x, x_0, x_1 = sites[t], behind[0, t], behind[1, t]
                    f_0, f_1, b_0, b_1 = forward[0, t], forward[1, t], backward[0, t], backward[1, t]
                    for i in range(colors):
                        ahead_0 = ahead_1 = behind_0 = behind_1 = field.dtype.type(0)
                        for j in range(colors):
                            ahead_0 += links[b, 0, x, i, j] * (psi[f_0, 0, j] - times(sign, psi[f_0, 1, j]))
                            ahead_1 += links[b, 1, x, i, j] * (psi[f_1, 0, j] + turn(sign, psi[f_1, 1, j]))
                            h = psi[b_0, 0, j] + times(sign, psi[b_0, 1, j])
                            behind_0 += links[b, 0, x_0, j, i].conjugate() * h
                            h = psi[b_1, 0, j] - turn(sign, psi[b_1, 1, j])
                            behind_1 += links[b, 1, x_1, j, i].conjugate() * h
                        upper = times(factor, ahead_0 + ahead_1 + behind_0 + behind_1)
                        lower = times(sign * factor, behind_0 - ahead_0 + turn(1.0, behind_1 - ahead_1))
                        if has_base:
                            upper += base[b, k, t, 0, i]
                            lower += base[b, k, t, 1, i]
                        result[b, k, t, 0, i] = upper
                        result[b, k, t, 1, i] = lower

    return loop


@functools.cache
def _gradient_loop(colors: int) -> Any:
    @njit(nogil=True, fastmath=FAST)
    def loop(  # type: ignore[no-untyped-def]
        gradient, field, links, sites, forward, backward, behind, sign, factor, result
    ):
        batch, fields = field.shape[:2]
        for b in range(batch):
            for k in range(fields):
                psi, g = field[b, k], gradient[b, k]
                for t in range(len(sites)):
                    x, x_0, x_1 = sites[t], behind[0, t], behind[1, t]
                    f_0, f_1, b_0, b_1 = forward[0, t], forward[1, t], backward[0, t], backward[1, t]
                    for i in range(colors):
                        upper, lower = times(factor, g[t, 0, i]), times(sign * factor, g[t, 1, i])
                        ahead_0, ahead_1 = upper - lower, upper + turn(1.0, lower)
                        behind_0, behind_1 = (upper + lower).conjugate(), (upper - turn(1.0, lower)).conjugate()
                        for j in range(colors):
                            h = psi[f_0, 0, j] - times(sign, psi[f_0, 1, j])
                            result[b, 0, x, i, j] += ahead_0 * h.conjugate()
                            h = psi[f_1, 0, j] + turn(sign, psi[f_1, 1, j])
                            result[b, 1, x, i, j] += ahead_1 * h.conjugate()
                            h = psi[b_0, 0, j] + times(sign, psi[b_0, 1, j])
                            result[b, 0, x_0, j, i] += behind_0 * h
                            h = psi[b_1, 0, j] - turn(sign, psi[b_1, 1, j])
                            result[b, 1, x_1, j, i] += behind_1 * h

    return loop


@njit(inline="always")
def times(real, z):  # type: ignore[no-untyped-def]
    """real · z, where numba would make a complex number of ``real`` first."""
    return complex(real * z.real, real * z.imag)


@njit(inline="always")
def turn(real, z):  # type: ignore[no-untyped-def]
    """i real · z."""
    return complex(-real * z.imag, real * z.real)
