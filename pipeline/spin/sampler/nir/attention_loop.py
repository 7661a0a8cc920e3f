"""Causal attention of the proposal, compiled (numba), for CPUs in single precision: a configuration a lane.

With some eight features a head, matrices are too small for a library, which takes half the time of the training.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.base.run.compiled import njit
from pipeline.base.run.lane_products import product
from pipeline.base.run.lanes import LANES, fma, lanes, larger, load, power_of_two, store, turn

Array = NDArray[np.float32]

ONE, ZERO = np.float32(1.0), np.float32(0.0)
LOG2_E = np.float32(1.4426950408889634)
TILE = 16
"""Places whose keys and values, and the derivatives by them, are in the nearest cache at once."""

QUERIES = 4
"""Places whose scores are there at once."""


@njit(nogil=True, error_model="numpy", inline="always")
def _gather(rows: NDArray[np.float32], begin: int, feature: int, width: int, found: Array) -> None:
    """``width`` features of as many rows as there are lanes, (B, places, features) → (places, width, lanes)."""
    whole = width - width % LANES if begin + LANES <= len(rows) else 0
    places, features = rows.shape[1:]
    for t in range(places):
        for i in range(0, whole, LANES):
            at = (begin * places + t) * features + feature + i
            turn(rows, at, places * features, found, (t * width + i) * LANES, LANES)
    for r in range(min(LANES, len(rows) - begin)):
        for t in range(places):
            for i in range(whole, width):
                found[(t * width + i) * LANES + r] = rows[begin + r, t, feature + i]


@njit(nogil=True, error_model="numpy", inline="always")
def _scatter(found: Array, rows: NDArray[np.float32], begin: int, feature: int, width: int) -> None:
    """Back from there."""
    whole = width - width % LANES if begin + LANES <= len(rows) else 0
    places, features = rows.shape[1:]
    for t in range(places):
        for i in range(0, whole, LANES):
            at = (begin * places + t) * features + feature + i
            turn(found, (t * width + i) * LANES, LANES, rows, at, places * features)
    for r in range(min(LANES, len(rows) - begin)):
        for t in range(places):
            for i in range(whole, width):
                rows[begin + r, t, feature + i] = found[(t * width + i) * LANES + r]


@njit(nogil=True, error_model="numpy", inline="always")
def _scaled(x: Array, factor: float) -> None:
    """All of it by a factor, in place."""
    share = lanes(np.float32(factor))
    for i in range(0, len(x), LANES):
        store(x, i, load(x, i) * share)


@njit(nogil=True, error_model="numpy")
def forward(projections: NDArray[np.float32], heads: int, out: NDArray[np.float32], kept: Array) -> None:
    """Attention of every place to itself and those before it, some places at a time.

    Args:
        projections: queries, keys and values, (B, M, 3 d).
        heads: which share the d features.
        out: (B, M, d).
        kept: for :func:`backward`, (groups of configurations, heads, M, 2, lanes), flat.
    """
    size, d = out.shape[1:]
    width = d // heads
    # of places that are none queries, keys and values are zero
    row, padded = width * LANES, size + -size % QUERIES
    q, k, v = np.zeros(padded * row, np.float32), np.zeros(padded * row, np.float32), np.zeros(padded * row, np.float32)
    y, line = np.empty(padded * row, np.float32), padded * LANES
    s, at = np.empty(QUERIES * line, np.float32), 0
    for begin in range(0, len(out), LANES):
        for h in range(heads):
            _gather(projections, begin, h * width, width, q)
            _gather(projections, begin, d + h * width, width, k)
            _gather(projections, begin, 2 * d + h * width, width, v)
            _scaled(q, LOG2_E / np.sqrt(np.float32(width)))
            for t in range(0, size, QUERIES):
                seen, here = t + QUERIES, min(QUERIES, size - t)
                inputs = (t * row, row, LANES), (0, row, LANES)
                product(q, inputs[0], k, inputs[1], s, (0, line, LANES), (QUERIES, seen, width), False)
                for r in range(here):
                    _weigh(s, r * line, t + r + 1, seen, kept, at + r * 2 * LANES)
                product(s, (0, line, LANES), v, (0, LANES, row), y, (t * row, row, LANES), (here, width, seen), False)
                for r in range(here):
                    share = load(kept, at + (2 * r + 1) * LANES)
                    for i in range((t + r) * row, (t + r + 1) * row, LANES):
                        store(y, i, load(y, i) * share)
                at += here * 2 * LANES
            _scatter(y, out, begin, h * width, width)


@njit(nogil=True, error_model="numpy", inline="always")
def _weigh(s: Array, of: int, count: int, seen: int, kept: Array, at: int) -> None:
    """Weights from log2 of them, in place, up to their sum; those of places that are not seen are zero.

    Args:
        s: (places, lanes) from ``of`` on.
        count: places that are seen.
        seen: places there are.
        kept: the largest and 1/sum, (2, lanes) from ``at`` on.
    """
    largest, total = load(s, of), lanes(ZERO)
    for j in range(of + LANES, of + count * LANES, LANES):
        largest = larger(largest, load(s, j))
    for j in range(of, of + count * LANES, LANES):
        weight = power_of_two(load(s, j) - largest)
        store(s, j, weight)
        total += weight
    for j in range(of + count * LANES, of + seen * LANES, LANES):
        store(s, j, lanes(ZERO))
    store(kept, at, largest)
    store(kept, at + LANES, lanes(ONE) / total)


@njit(nogil=True, error_model="numpy", inline="always")
def _slopes(s: Array, g: Array, of: int, count: int, seen: int, kept: Array, at: int, mean: Array, t: int) -> None:
    """Weights from scores, and derivatives by the scores from those by the weights, in place.

    Args:
        s, g: scores, and Σ g v, (places, lanes) from ``of`` on.
        count: places that are seen; from there to ``seen`` both are zero.
        kept: largest score and 1/sum from ``at`` on.
        mean: of the derivatives by the weights, with these weights, (places, lanes).
        t: the place.
    """
    end = of + count * LANES
    if count > 0:
        largest, share, middle = load(kept, at), load(kept, at + LANES), load(mean, t * LANES)
        for j in range(of, end, LANES):
            weight = power_of_two(load(s, j) - largest) * share
            store(s, j, weight)
            store(g, j, weight * (load(g, j) - middle))
    for j in range(end, of + seen * LANES, LANES):
        store(s, j, lanes(ZERO))
        store(g, j, lanes(ZERO))


@njit(nogil=True, error_model="numpy")
def backward(
    projections: NDArray[np.float32],
    heads: int,
    out: NDArray[np.float32],
    kept: Array,
    gradient: NDArray[np.float32],
    found: NDArray[np.float32],
) -> None:
    """The derivatives by ``projections`` (B, M, 3 d), into ``found``, from those by ``out``, (B, M, d).

    A tile of keys and values at a time, which stays in the nearest cache, for all places that see it, in tiles too.
    """
    size, d = gradient.shape[1:]
    width = d // heads
    row, padded, group, line = width * LANES, size + -size % TILE, 0, TILE * LANES
    # queries, keys, values, outputs, gradients; then the derivatives by the first three
    many = padded * row
    q, k, v = np.zeros(many, np.float32), np.zeros(many, np.float32), np.zeros(many, np.float32)
    y, g = np.zeros(many, np.float32), np.zeros(many, np.float32)
    dq, dk, dv = np.empty_like(q), np.empty_like(q), np.empty_like(q)
    s, slopes = np.empty(TILE * line, np.float32), np.empty(TILE * line, np.float32)
    mean = np.empty(size * LANES, np.float32)
    scale = ONE / np.sqrt(np.float32(width))
    for begin in range(0, len(gradient), LANES):
        for h in range(heads):
            _gather(projections, begin, h * width, width, q)
            _gather(projections, begin, d + h * width, width, k)
            _gather(projections, begin, 2 * d + h * width, width, v)
            _gather(out, begin, h * width, width, y)
            _gather(gradient, begin, h * width, width, g)
            _scaled(q, scale * LOG2_E)
            for t in range(size):
                total = lanes(ZERO)
                for i in range(t * row, (t + 1) * row, LANES):
                    total = fma(load(g, i), load(y, i), total)
                store(mean, t * LANES, total)
            dq[:], dk[:], dv[:] = ZERO, ZERO, ZERO
            for first in range(0, size, TILE):
                keys, by_key = (first * row, row, LANES), (first * row, LANES, row)
                for t in range(first, size, TILE):
                    places, by_place = (t * row, row, LANES), (t * row, LANES, row)
                    here = TILE, TILE, width
                    product(q, places, k, keys, s, (0, line, LANES), here, False)
                    product(g, places, v, keys, slopes, (0, line, LANES), here, False)
                    for r in range(TILE):
                        count = min(t + r + 1 - first, TILE) if t + r < size else 0
                        of = (group * size + t + r) * 2 * LANES
                        _slopes(s, slopes, r * line, count, TILE, kept, of, mean, t + r)
                    there = TILE, width, TILE
                    product(slopes, (0, line, LANES), k, by_key, dq, places, there, True)
                    product(slopes, (0, LANES, line), q, by_place, dk, keys, there, True)
                    product(s, (0, LANES, line), g, by_place, dv, keys, there, True)
            group += 1
            _scaled(dq, scale)
            _scaled(dk, ONE / LOG2_E)
            _scatter(dq, found, begin, h * width, width)
            _scatter(dk, found, begin, d + h * width, width)
            _scatter(dv, found, begin, 2 * d + h * width, width)
