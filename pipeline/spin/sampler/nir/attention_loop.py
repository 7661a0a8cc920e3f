"""Causal attention of the proposal, compiled (numba), for CPUs in single precision: a configuration a lane.

With some eight features a head, matrices are too small for a library, which takes half the time of the training.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.base.run.compiled import njit
from pipeline.base.run.lanes import LANES, fma, lanes, larger, load, power_of_two, store, turn

Array = NDArray[np.float32]

ONE, ZERO = np.float32(1.0), np.float32(0.0)
LOG2_E = np.float32(1.4426950408889634)
TILE = 32
"""Places whose keys and values, and the derivatives by them, are in the nearest cache at once."""


@njit(nogil=True, error_model="numpy", inline="always")
def scores(q: Array, at: int, keys: Array, first: int, width: int, count: int, s: Array) -> None:
    """log2 of weights, up to a constant: q·k log2(e) / √width of every place.

    Args:
        q: (width, lanes) from ``at`` on.
        keys: (places, width, lanes) from ``first`` on.
        width: features of a head.
        count: places that are seen.
        s: (places, lanes).
    """
    row, scale = width * LANES, lanes(LOG2_E / np.sqrt(np.float32(width)))
    i = 0
    while i < width:
        p, of = first + i * LANES, at + i * LANES
        q0 = load(q, of) * scale
        if i + 4 <= width:
            q1, q2, q3 = load(q, of + LANES) * scale, load(q, of + 2 * LANES) * scale, load(q, of + 3 * LANES) * scale
            for j in range(count):
                total = load(s, j * LANES) if i else lanes(ZERO)
                total = fma(q1, load(keys, p + LANES), fma(q0, load(keys, p), total))
                total = fma(q3, load(keys, p + 3 * LANES), fma(q2, load(keys, p + 2 * LANES), total))
                store(s, j * LANES, total)
                p += row
            i += 4
        else:
            for j in range(count):
                store(s, j * LANES, fma(q0, load(keys, p), load(s, j * LANES) if i else lanes(ZERO)))
                p += row
            i += 1


@njit(nogil=True, error_model="numpy", inline="always")
def weigh(s: Array, count: int, kept: Array, at: int) -> None:
    """2^(s - largest) in place of scores, (places, lanes); the largest and 1/sum into ``kept`` (2, lanes) at ``at``."""
    largest, total = load(s, 0), lanes(ZERO)
    for j in range(1, count):
        largest = larger(largest, load(s, j * LANES))
    for j in range(count):
        weight = power_of_two(load(s, j * LANES) - largest)
        store(s, j * LANES, weight)
        total += weight
    store(kept, at, largest)
    store(kept, at + LANES, lanes(ONE) / total)


@njit(nogil=True, error_model="numpy", inline="always")
def attended(
    s: Array, values: Array, first: int, width: int, count: int, kept: Array, at: int, y: Array, to: int
) -> None:
    """Mean of the values (places, width, lanes) from ``first`` on with those weights, (width, lanes) from ``to`` on."""
    row, share = width * LANES, load(kept, at + LANES)
    i = 0
    while i < width:
        p, q = first + i * LANES, to + i * LANES
        m0 = m1 = m2 = m3 = lanes(ZERO)
        if i + 4 <= width:
            for j in range(count):
                weight = load(s, j * LANES)
                m0, m1 = fma(weight, load(values, p), m0), fma(weight, load(values, p + LANES), m1)
                m2, m3 = fma(weight, load(values, p + 2 * LANES), m2), fma(weight, load(values, p + 3 * LANES), m3)
                p += row
            store(y, q + LANES, m1 * share)
            store(y, q + 2 * LANES, m2 * share)
            store(y, q + 3 * LANES, m3 * share)
        else:
            for j in range(count):
                m0 = fma(load(s, j * LANES), load(values, p), m0)
                p += row
        store(y, q, m0 * share)
        i += 4 if i + 4 <= width else 1


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


@njit(nogil=True, error_model="numpy")
def forward(projections: NDArray[np.float32], heads: int, out: NDArray[np.float32], kept: Array) -> None:
    """Attention of every place to itself and those before it.

    Args:
        projections: queries, keys and values, (B, M, 3 d).
        heads: which share the d features.
        out: (B, M, d).
        kept: for :func:`backward`, (groups of configurations, heads, M, 2, lanes), flat.
    """
    size, d = out.shape[1:]
    width = d // heads
    row = width * LANES
    q, k, v, y = (
        np.zeros(size * row, np.float32),
        np.zeros(size * row, np.float32),
        np.zeros(size * row, np.float32),
        np.empty(size * row, np.float32),
    )
    s, at = np.empty(size * LANES, np.float32), 0
    for begin in range(0, len(out), LANES):
        for h in range(heads):
            _gather(projections, begin, h * width, width, q)
            _gather(projections, begin, d + h * width, width, k)
            _gather(projections, begin, 2 * d + h * width, width, v)
            for t in range(size):
                scores(q, t * row, k, 0, width, t + 1, s)
                weigh(s, t + 1, kept, at)
                attended(s, v, 0, width, t + 1, kept, at, y, t * row)
                at += 2 * LANES
            _scatter(y, out, begin, h * width, width)


@njit(nogil=True, error_model="numpy", inline="always")
def _slopes(
    s: Array, g: Array, at: int, v: Array, first: int, width: int, count: int, kept: Array, of: int, mean: Array, t: int
) -> None:
    """Weights from scores (places, lanes), in place, and behind them the derivatives of Σ g y by the scores.

    Args:
        g: (places, width, lanes), that of the place from ``at`` on.
        v: values, (places, width, lanes) from ``first`` on.
        kept: largest score and 1/sum from ``of`` on.
        mean: of the derivatives by the weights, with these weights, (places, lanes).
        t: the place.
    """
    row, largest, share, middle = width * LANES, load(kept, of), load(kept, of + LANES), load(mean, t * LANES)
    p = first
    for j in range(count):
        weight, slope = power_of_two(load(s, j * LANES) - largest) * share, lanes(ZERO)
        for i in range(0, row, LANES):
            slope = fma(load(g, at + i), load(v, p + i), slope)
        store(s, j * LANES, weight)
        store(s, (TILE + j) * LANES, weight * (slope - middle))
        p += row


@njit(nogil=True, error_model="numpy", inline="always")
def _push(
    s: Array, q: Array, k: Array, g: Array, at: int, first: int, width: int, count: int, dq: Array, dk: Array, dv: Array
) -> None:
    """Add what one place and a tile give to the derivatives by queries, keys and values, (places, width, lanes)."""
    row, scale = width * LANES, lanes(ONE / np.sqrt(np.float32(width)))
    i = 0
    while i < width:
        of, p = at + i * LANES, first + i * LANES
        q0, g0, d0 = load(q, of) * scale, load(g, of), lanes(ZERO)
        if i + 2 <= width:
            q1, g1, d1 = load(q, of + LANES) * scale, load(g, of + LANES), lanes(ZERO)
            for j in range(count):
                weight, slope = load(s, j * LANES), load(s, (TILE + j) * LANES)
                d0, d1 = fma(slope, load(k, p), d0), fma(slope, load(k, p + LANES), d1)
                store(dk, p, fma(slope, q0, load(dk, p)))
                store(dk, p + LANES, fma(slope, q1, load(dk, p + LANES)))
                store(dv, p, fma(weight, g0, load(dv, p)))
                store(dv, p + LANES, fma(weight, g1, load(dv, p + LANES)))
                p += row
            store(dq, of + LANES, fma(d1, scale, load(dq, of + LANES)))
            i += 1
        else:
            for j in range(count):
                weight, slope = load(s, j * LANES), load(s, (TILE + j) * LANES)
                d0 = fma(slope, load(k, p), d0)
                store(dk, p, fma(slope, q0, load(dk, p)))
                store(dv, p, fma(weight, g0, load(dv, p)))
                p += row
        store(dq, of, fma(d0, scale, load(dq, of)))
        i += 1


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

    A tile of keys and values at a time, which stays in the nearest cache, for all places that see it.
    """
    size, d = gradient.shape[1:]
    width = d // heads
    row, group = width * LANES, 0
    # queries, keys, values, outputs, gradients; then the derivatives by the first three
    q, k, v = np.zeros(size * row, np.float32), np.zeros(size * row, np.float32), np.zeros(size * row, np.float32)
    y, g = np.zeros(size * row, np.float32), np.zeros(size * row, np.float32)
    dq, dk, dv = np.empty_like(q), np.empty_like(q), np.empty_like(q)
    s, mean = np.empty(2 * TILE * LANES, np.float32), np.empty(size * LANES, np.float32)
    for begin in range(0, len(gradient), LANES):
        for h in range(heads):
            _gather(projections, begin, h * width, width, q)
            _gather(projections, begin, d + h * width, width, k)
            _gather(projections, begin, 2 * d + h * width, width, v)
            _gather(out, begin, h * width, width, y)
            _gather(gradient, begin, h * width, width, g)
            for t in range(size):
                total = lanes(ZERO)
                for i in range(t * row, (t + 1) * row, LANES):
                    total = fma(load(g, i), load(y, i), total)
                store(mean, t * LANES, total)
            dq[:], dk[:], dv[:] = ZERO, ZERO, ZERO
            for first in range(0, size, TILE):
                for t in range(first, size):
                    count = min(t + 1 - first, TILE)
                    of = (group * size + t) * 2 * LANES
                    scores(q, t * row, k, first * row, width, count, s)
                    _slopes(s, g, t * row, v, first * row, width, count, kept, of, mean, t)
                    _push(s, q, k, g, t * row, first * row, width, count, dq, dk, dv)
            group += 1
            _scatter(dq, found, begin, h * width, width)
            _scatter(dk, found, begin, d + h * width, width)
            _scatter(dv, found, begin, 2 * d + h * width, width)
