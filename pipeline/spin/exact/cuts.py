"""Worldlines at imaginary times (numba)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.base.run.compiled import njit


@njit(nogil=True)
def cut(spins: NDArray[np.int8], times: NDArray[np.float64], sites: NDArray[np.int32], out: NDArray[np.int8]) -> None:
    """Spins at the times 0, 1/T, ..., (T-1)/T.

    Args:
        spins: (N,) at time 0.
        times: (kinks,), increasing, in [0, 1).
        sites: (kinks, S), those that a kink flips.
        out: (T, N), for what is found.
    """
    current, passed = spins.copy(), 0
    for row in range(len(out)):
        while passed < len(times) and times[passed] < row / len(out):
            for site in sites[passed]:
                current[site] ^= 1
            passed += 1
        out[row] = current
