"""Single flips under a real restricted Boltzmann machine as one compiled loop over chains (numba), for CPUs.

With F_j = exp 2θ_j, cosh θ_j = exp(-θ_j) (1 + F_j) / 2, and a flip of x_i multiplies F_j by exp(-4 W_ji x_i): a
proposal takes products and a logarithm, no exponential.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.base.run.compiled import njit

LARGEST_EXPONENT = 700.0
"""Double precision ends at exp(709)."""

Array = NDArray[np.float64]


def _largest_exponent(weight: Array, bias: Array) -> float:
    """Of all F_j in all configurations, max_j 2 (|b_j| + Σ_i |W_ji|), and of what a flip multiplies them by."""
    return float(max((2.0 * (np.abs(bias) + np.abs(weight).sum(1))).max(), 4.0 * np.abs(weight).max()))


def fits(weight: Array, bias: Array) -> bool:
    """Whether every F_j of every configuration, and what a flip multiplies it by, is a double; W (H, N), b (H,)."""
    return _largest_exponent(weight, bias) <= LARGEST_EXPONENT


def walk(
    weight: Array,
    bias: Array,
    visible_bias: Array,
    spins: NDArray[np.int8],
    sites: NDArray[np.int64],
    thresholds: Array,
) -> tuple[NDArray[np.int8], NDArray[np.bool_]]:
    """The walk of :meth:`pipeline.spin.wave_function.WaveFunction.walk`, for weights that :func:`fits` allows.

    Args:
        weight, bias, visible_bias: W (H, N), b (H,) and a (N,).
        spins: (C, N).
        sites, thresholds: (S, C).

    Returns:
        The spins at the end (C, N), and what was accepted, (S, C).
    """
    # factors 1 + F that can be multiplied before their logarithm is taken
    together = max(1, int(LARGEST_EXPONENT / (_largest_exponent(weight, bias) + np.log(2.0))))
    factors = np.exp(-4.0 * np.stack([weight.T, -weight.T], 1))
    shifts = 2.0 * (weight.sum(0) - visible_bias)
    exponentials = np.exp(2.0 * (bias + spins.astype(float) @ weight.T))
    ended, accepted = spins.copy(), np.zeros(sites.shape, np.bool_)
    _walk(factors, shifts, exponentials, ended, sites.T.copy(), thresholds.T.copy(), accepted, together)
    return ended, accepted


@njit(nogil=True, fastmath={"contract", "reassoc", "nsz"})
def _log_product(exponentials: Array, factors: Array, together: int) -> float:
    """Σ_j log(1 + F_j f_j)."""
    total = 0.0
    for begin in range(0, len(exponentials), together):
        some, changes = exponentials[begin : begin + together], factors[begin : begin + together]
        product = 1.0
        for j in range(len(some)):
            product *= 1.0 + some[j] * changes[j]
        total += np.log(product)
    return total


@njit(nogil=True)
def _walk(
    factors: Array,
    shifts: Array,
    exponentials: Array,
    spins: NDArray[np.int8],
    sites: NDArray[np.int64],
    thresholds: Array,
    accepted: NDArray[np.bool_],
    together: int,
) -> None:
    """All proposals of one chain after the other; overwrites ``exponentials``, ``spins`` and ``accepted``.

    Shapes: factors (N, 2, H) by the sign that is flipped, exponentials (C, H), sites and thresholds (C, S).
    """
    chains, steps = sites.shape
    ones = np.ones(exponentials.shape[1])
    for c in range(chains):
        hidden = exponentials[c]
        here = _log_product(hidden, ones, together)
        for k in range(steps):
            site = sites[c, k]
            sign = spins[c, site]
            column = factors[site, (1 - sign) // 2]
            there = _log_product(hidden, column, together)
            if sign * shifts[site] + there - here > thresholds[c, k]:
                for j in range(len(hidden)):
                    hidden[j] *= column[j]
                spins[c, site] = -sign
                here = there
                accepted[k, c] = True
