"""What surrounds the matrix products of small networks as compiled loops (numba), in single precision on a CPU.

Norms over a few features and mixtures of a few patches take longer than the products themselves where each is several
passes over memory. A 1 behind the features of a row lets the next product add a bias at no cost. Nothing here is
differentiable.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pipeline.base.run.compiled import njit

Array = NDArray[np.float32]

_ZERO, _ONE = np.float32(0.0), np.float32(1.0)

FAST = {"contract", "reassoc", "nsz", "arcp"}


def standardised(values: Tensor, eps: float) -> Tensor:
    """(v - mean)/sqrt(variance + eps) over the features of each row, and behind them a 1: (T, C) → (T, C + 1)."""
    out = values.new_empty(len(values), values.shape[1] + 1)
    _standardise(values.detach().contiguous().numpy(), np.float32(eps), out.numpy())
    return out


def standardised_sum(values: Tensor, eps: float) -> Tensor:
    """The same summed over the middle index, (R, n, C) → (R, C)."""
    out = values.new_zeros(len(values), values.shape[2])
    _standardise_sum(values.detach().contiguous().numpy(), np.float32(eps), out.numpy())
    return out


def mixed(values: Tensor, weights: Tensor) -> Tensor:
    """Σ_j weights_ijq values_rjq, and behind the features a 1: (R, n, C), (n, n, C) → (R, n, C + 1)."""
    rows, n, channels = values.shape
    out = values.new_empty(rows, n, channels + 1)
    _mix(values.detach().numpy(), weights.detach().contiguous().numpy(), out.numpy())
    return out


@njit(nogil=True, fastmath=FAST, error_model="numpy", inline="always")
def _standardise_row(values: Array, begin: int, channels: int, eps: np.float32, out: Array, there: int) -> None:
    """Of ``channels`` numbers."""
    share = _ONE / np.float32(channels)
    total = _ZERO
    for c in range(channels):
        total += values[begin + c]
    mean = total * share
    total = _ZERO
    for c in range(channels):
        difference = values[begin + c] - mean
        total += difference * difference
    scale = _ONE / np.sqrt(total * share + eps)
    for c in range(channels):
        out[there + c] = (values[begin + c] - mean) * scale


@njit(nogil=True, fastmath=FAST, error_model="numpy")
def _standardise(values: Array, eps: np.float32, out: Array) -> None:
    rows, channels = values.shape
    given, found = values.reshape(-1), out.reshape(-1)
    for r in range(rows):
        _standardise_row(given, r * channels, channels, eps, found, r * (channels + 1))
        found[r * (channels + 1) + channels] = _ONE


@njit(nogil=True, fastmath=FAST, error_model="numpy")
def _standardise_sum(values: Array, eps: np.float32, out: Array) -> None:
    rows, n, channels = values.shape
    given, one = values.reshape(-1), np.empty(channels, np.float32)
    for r in range(rows):
        for i in range(n):
            _standardise_row(given, (r * n + i) * channels, channels, eps, one, 0)
            for c in range(channels):
                out[r, c] += one[c]


@njit(nogil=True, fastmath=FAST, error_model="numpy")
def _mix(values: Array, weights: Array, out: Array) -> None:
    rows, n, channels = values.shape
    total = np.empty(channels, np.float32)
    for r in range(rows):
        for i in range(n):
            for q in range(channels):
                total[q] = weights[i, 0, q] * values[r, 0, q]
            for j in range(1, n):
                for q in range(channels):
                    total[q] += weights[i, j, q] * values[r, j, q]
            for q in range(channels):
                out[r, i, q] = total[q]
            out[r, i, channels] = _ONE
