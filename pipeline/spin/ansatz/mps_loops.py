"""Products of the matrices of matrix product states as compiled loops (numba), for CPUs.

Matrices of a few rows are too small for a library call each. Here a handful of configurations goes along the ring
side by side, one in each lane of a vector register.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.base.run.compiled import njit

LANES = 8
"""Configurations side by side: a register of doubles."""

FAR = 1024.0
"""Products within this factor of 1 are not rescaled: a logarithm takes as long as a product."""

LOG_2 = math.log(2.0)

FAST = {"contract", "reassoc", "nsz"}

Array = NDArray[Any]


def traces(matrices: Tensor, spins: Tensor) -> tuple[Tensor, Tensor]:
    """Tr Π_i A^(i)_{s_i} as value * exp(scale), (B,) each.

    Args:
        matrices: for s = +1 and -1, (N, 2, χ, χ), float32 or float64.
        spins: ±1, (B, N).
    """
    value, scale = matrices.new_empty(len(spins)), matrices.new_empty(len(spins))
    _traces(matrices.numpy(), _down(spins), value.numpy(), scale.numpy())
    return value, scale


def environments(matrices: Tensor, spins: Tensor) -> tuple[Tensor, Tensor]:
    """What closes the ring around each site: E_i exp(scale_i) with ψ = Tr[E_i A^(i)], (B, N, χ, χ) and (B, N).

    Args: as for :func:`traces`.
    """
    batch, n_sites, chi = *spins.shape, matrices.shape[-1]
    found, scale = matrices.new_empty(batch, n_sites, chi, chi), matrices.new_empty(batch, n_sites)
    _environments(matrices.numpy(), _down(spins), found.numpy(), scale.numpy())
    return found, scale


def _down(spins: Tensor) -> NDArray[np.int64]:
    """0 for up, 1 for down, with configurations repeated until they fill the lanes."""
    missing = -len(spins) % LANES
    down = (spins < 0).long()
    return (torch.cat([down, down[:1].expand(missing, -1)]) if missing else down).numpy()


@njit(nogil=True, fastmath=FAST, error_model="numpy", inline="always")
def _choose(matrices: Array, down: Array, begin: int, site: int, chosen: Array) -> None:
    """Matrices of ``site``, (χ, χ, lanes)."""
    chi = chosen.shape[0]
    for lane in range(LANES):
        s = down[begin + lane, site]
        for i in range(chi):
            for j in range(chi):
                chosen[i, j, lane] = matrices[site, s, i, j]


@njit(nogil=True, fastmath=FAST, error_model="numpy", inline="always")
def _multiply(left: Array, right: Array, out: Array) -> None:
    """Matrix products, all (χ, χ, lanes)."""
    chi = left.shape[0]
    for i in range(chi):
        for j in range(chi):
            for lane in range(LANES):
                out[i, j, lane] = left[i, 0, lane] * right[0, j, lane]
        for k in range(1, chi):
            for j in range(chi):
                for lane in range(LANES):
                    out[i, j, lane] += left[i, k, lane] * right[k, j, lane]


@njit(nogil=True, fastmath=FAST, error_model="numpy", inline="always")
def _rescale(product: Array, largest: Array, scale: Array) -> None:
    """Divide by a power of two, whose logarithm is added to ``scale``, (lanes,), where the largest is far from 1."""
    chi = product.shape[0]
    for lane in range(LANES):
        largest[lane] = 0.0
    for i in range(chi):
        for j in range(chi):
            for lane in range(LANES):
                largest[lane] = max(largest[lane], abs(product[i, j, lane]))
    near = 0
    for lane in range(LANES):
        near += int((largest[lane] > 1.0 / FAR) & (largest[lane] < FAR))
    if near == LANES:
        return
    for lane in range(LANES):
        # zero, infinity and NaN are left alone
        if 1.0 / FAR < largest[lane] < FAR or not 0.0 < largest[lane] < np.inf:
            continue
        exponent = math.frexp(largest[lane])[1]
        scale[lane] += LOG_2 * exponent
        for i in range(chi):
            for j in range(chi):
                product[i, j, lane] = math.ldexp(product[i, j, lane], -exponent)


@njit(nogil=True, fastmath=FAST, error_model="numpy", inline="always")
def _begin(product: Array, scale: Array) -> None:
    """The identity, with scale 1."""
    chi = product.shape[0]
    for lane in range(LANES):
        scale[lane] = 0.0
        for i in range(chi):
            for j in range(chi):
                product[i, j, lane] = 1.0 if i == j else 0.0


@njit(nogil=True, fastmath=FAST, error_model="numpy")
def _traces(matrices: Array, down: Array, value: Array, scale: Array) -> None:
    n_sites, chi = matrices.shape[0], matrices.shape[2]
    chosen = np.empty((chi, chi, LANES), matrices.dtype)
    product, other = np.empty_like(chosen), np.empty_like(chosen)
    largest, logs = np.empty(LANES, matrices.dtype), np.empty(LANES, matrices.dtype)
    for begin in range(0, len(down), LANES):
        _begin(product, logs)
        for site in range(n_sites):
            _choose(matrices, down, begin, site, chosen)
            _multiply(product, chosen, other)
            _rescale(other, largest, logs)
            product, other = other, product
        for lane in range(min(LANES, len(value) - begin)):
            total = product[0, 0, lane]
            for i in range(1, chi):
                total += product[i, i, lane]
            value[begin + lane], scale[begin + lane] = total, logs[lane]


@njit(nogil=True, fastmath=FAST, error_model="numpy")
def _environments(matrices: Array, down: Array, found: Array, scale: Array) -> None:
    n_sites, chi = matrices.shape[0], matrices.shape[2]
    chosen = np.empty((chi, chi, LANES), matrices.dtype)
    product, other = np.empty_like(chosen), np.empty_like(chosen)
    # products of the sites before each one
    before = np.empty((n_sites, chi, chi, LANES), matrices.dtype)
    logs_before = np.empty((n_sites, LANES), matrices.dtype)
    largest, logs = np.empty(LANES, matrices.dtype), np.empty(LANES, matrices.dtype)
    for begin in range(0, len(down), LANES):
        _begin(before[0], logs_before[0])
        for site in range(n_sites - 1):
            _choose(matrices, down, begin, site, chosen)
            _multiply(before[site], chosen, before[site + 1])
            logs_before[site + 1] = logs_before[site]
            _rescale(before[site + 1], largest, logs_before[site + 1])
        _begin(product, logs)
        for site in range(n_sites - 1, -1, -1):
            _multiply(product, before[site], other)
            for lane in range(min(LANES, len(found) - begin)):
                scale[begin + lane, site] = logs[lane] + logs_before[site, lane]
                for i in range(chi):
                    for j in range(chi):
                        found[begin + lane, site, i, j] = other[i, j, lane]
            _choose(matrices, down, begin, site, chosen)
            _multiply(chosen, product, other)
            _rescale(other, largest, logs)
            product, other = other, product
