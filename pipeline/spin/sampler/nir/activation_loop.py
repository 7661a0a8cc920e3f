"""Gaussian error linear units with their derivatives, compiled (numba), for CPUs in single precision."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.base.run.compiled import njit
from pipeline.base.run.lanes import LANES, fma, lanes, load, magnitude, power_of_two, store
from pipeline.base.run.lanes import where_positive as chosen

Array = NDArray[np.float32]

ONE = np.float32(1.0)
LOG2_E = 1.4426950408889634
EXPONENT = np.float32(-0.5 * LOG2_E)
DENSITY = np.float32(0.3989422804014327)
"""1/√(2π)."""

SLOWNESS = np.float32(0.3275911 * 0.7071067811865476)
TAIL = tuple(np.float32(0.5 * c) for c in (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592))
"""Abramowitz and Stegun, 7.1.26, highest power first, for |x| and half of erfc(|x|/√2): errors below 8e-8."""


@njit(nogil=True, error_model="numpy", inline="always")
def _some(x: Array, at: int, y: Array, slopes: Array, to: int) -> None:
    """As many as there are lanes."""
    v = load(x, at)
    size = magnitude(v)
    bell = power_of_two(v * v * lanes(EXPONENT))
    t = lanes(ONE) / fma(lanes(SLOWNESS), size, lanes(ONE))
    total = fma(lanes(TAIL[0]), t, lanes(TAIL[1]))
    total = fma(total, t, lanes(TAIL[2]))
    total = fma(total, t, lanes(TAIL[3]))
    total = fma(total, t, lanes(TAIL[4]))
    tail = total * t * bell
    below = chosen(v, lanes(ONE) - tail, tail)
    store(y, to, v * below)
    store(slopes, to, fma(v * bell, lanes(DENSITY), below))


@njit(nogil=True, error_model="numpy")
def gelu(x: Array, y: Array, slopes: Array) -> None:
    """x Φ(x), and Φ(x) + x φ(x), into ``y`` and ``slopes``, (n,) each; errors of about 1e-7 (1 + |x|)."""
    whole = len(x) - len(x) % LANES
    for i in range(0, whole, LANES):
        _some(x, i, y, slopes, i)
    if whole < len(x):
        last, values, derivatives = (
            np.zeros(LANES, np.float32),
            np.empty(LANES, np.float32),
            np.empty(LANES, np.float32),
        )
        last[: len(x) - whole] = x[whole:]
        _some(last, 0, values, derivatives, 0)
        y[whole:], slopes[whole:] = values[: len(x) - whole], derivatives[: len(x) - whole]
