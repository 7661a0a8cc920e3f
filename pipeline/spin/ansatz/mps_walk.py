"""Single flips under a real matrix product state as one compiled loop over chains (numba), for CPUs.

Products of neighbouring matrices are kept as a binary tree, so that a proposal takes log₂N products of matrices
instead of N. Every chain flips another site: here the columns of one matrix, filled up with zeros, lie in the lanes of
a vector register, not configurations.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pipeline.base.run.compiled import njit
from pipeline.spin.ansatz.mps_loops import FAST, LANES, LOG_2

Array = NDArray[np.float64]

TINY, HUGE = 2.0**-64, 2.0**64
"""Products whose largest element is between them are not rescaled: two of them still multiply to a double."""


def walk(
    matrices: Array, spins: NDArray[np.int8], sites: NDArray[np.int64], thresholds: Array
) -> tuple[NDArray[np.int8], NDArray[np.bool_]]:
    """The walk of :meth:`pipeline.spin.wave_function.WaveFunction.walk`.

    Args:
        matrices: for s = +1 and -1, (N, 2, χ, χ).
        spins: (C, N).
        sites, thresholds: (S, C).

    Returns:
        The spins at the end (C, N), and what was accepted, (S, C).
    """
    ended, accepted = spins.copy(), np.zeros(sites.shape, np.bool_)
    _, scales = np.frexp(np.abs(matrices).max((2, 3)))
    n_sites, chi = len(matrices), matrices.shape[-1]
    scaled = np.zeros((n_sites, 2, chi, chi + -chi % LANES))
    scaled[..., :chi] = np.ldexp(matrices, -scales[:, :, None, None])
    _walk(scaled, scales.astype(np.int64), ended, sites.T.copy(), thresholds.T.copy(), accepted)
    return ended, accepted


@njit(nogil=True, fastmath=FAST, error_model="numpy", inline="always")
def _multiply(left: Array, right: Array, out: Array) -> int:
    """Matrix product over 2^e whose largest element is within 2^±64; the exponent e is returned. All (χ, width)."""
    chi, width = left.shape
    largest = 0.0
    for begin in range(0, width, LANES):
        for i in range(chi):
            for lane in range(LANES):
                out[i, begin + lane] = left[i, 0] * right[0, begin + lane]
            for k in range(1, chi):
                for lane in range(LANES):
                    out[i, begin + lane] += left[i, k] * right[k, begin + lane]
            for lane in range(LANES):
                largest = max(largest, abs(out[i, begin + lane]))
    # most products are; zero and NaN are left alone
    if TINY < largest < HUGE or not largest > 0.0:
        return 0
    exponent = math.frexp(largest)[1]
    for i in range(chi):
        for j in range(width):
            out[i, j] = math.ldexp(out[i, j], -exponent)
    return exponent


@njit(nogil=True, fastmath=FAST, error_model="numpy", inline="always")
def _log_trace(left: Array, right: Array, exponent: int) -> float:
    """ln|Tr[left right] 2^exponent|, both (χ, width)."""
    chi = left.shape[0]
    total = 0.0
    for i in range(chi):
        for k in range(chi):
            total += left[i, k] * right[k, i]
    return np.log(abs(total)) + LOG_2 * exponent


@njit(nogil=True, fastmath=FAST, error_model="numpy")
def _walk(
    matrices: Array,
    scales: NDArray[np.int64],
    spins: NDArray[np.int8],
    sites: NDArray[np.int64],
    thresholds: Array,
    accepted: NDArray[np.bool_],
) -> None:
    """All proposals of one chain after the other; overwrites ``spins`` and ``accepted``.

    Shapes: matrices (N, 2, χ, width), each to be multiplied by 2^scales, (N, 2); sites and thresholds (C, S).

    Node 1 of the tree is the root, 2n and 2n + 1 are the children of node n, and site i is node ``leaves`` + i. A node
    beyond the last site is the identity.
    """
    chains, steps = sites.shape
    n_sites, _, chi, width = matrices.shape
    leaves = 2
    while leaves < n_sites:
        leaves *= 2
    tree, exponents = np.empty((2 * leaves, chi, width)), np.zeros(2 * leaves, np.int64)
    # the new products on the way from a leaf to the root, the leaf first
    fresh, shifts = np.empty((64, chi, width)), np.zeros(64, np.int64)
    one = np.eye(chi, width)
    for c in range(chains):
        for site in range(leaves):
            down = (1 - spins[c, site]) // 2 if site < n_sites else 0
            tree[leaves + site] = matrices[site, down] if site < n_sites else one
            exponents[leaves + site] = scales[site, down] if site < n_sites else 0
        for node in range(leaves - 1, 1, -1):
            shift = _multiply(tree[2 * node], tree[2 * node + 1], tree[node])
            exponents[node] = exponents[2 * node] + exponents[2 * node + 1] + shift
        here = _log_trace(tree[2], tree[3], exponents[2] + exponents[3])
        for step in range(steps):
            if thresholds[c, step] == np.inf:
                continue
            site = sites[c, step]
            flipped = (1 + spins[c, site]) // 2
            fresh[0], shifts[0] = matrices[site, flipped], scales[site, flipped]
            node, level = leaves + site, 0
            while node > 3:
                other = node ^ 1
                if node & 1:
                    shift = _multiply(tree[other], fresh[level], fresh[level + 1])
                else:
                    shift = _multiply(fresh[level], tree[other], fresh[level + 1])
                shifts[level + 1] = shifts[level] + exponents[other] + shift
                node >>= 1
                level += 1
            there = _log_trace(fresh[level], tree[node ^ 1], shifts[level] + exponents[node ^ 1])
            # a chain that starts where ψ vanishes leaves by its first move; NaN and infinity are never entered
            if there < np.inf and (there - here > thresholds[c, step] or here == -np.inf):
                node = leaves + site
                for k in range(level + 1):
                    tree[node] = fresh[k]
                    exponents[node] = shifts[k]
                    node >>= 1
                spins[c, site] = -spins[c, site]
                here = there
                accepted[step, c] = True
