"""Draws of the proposal as one compiled loop over configurations (numba), for CPUs in single precision.

As many configurations at a time as there are lanes: their keys and values stay in the caches of a core, where those of
a whole batch, read once a spin, would come from the memory, and a weight that is read serves all of them. What comes of
one does not depend on the others. A feature of all of them is one value; arrays are flat, (features, lanes).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.base.run.compiled import njit
from pipeline.base.run.lanes import LANES, fma, lanes, larger, load, magnitude, power_of_two, root, spread, store
from pipeline.base.run.lanes import where_positive as chosen

Array = NDArray[np.float32]

ONE, ZERO, HALF, LOWEST = np.float32(1.0), np.float32(0.0), np.float32(0.5), np.float32(-3e38)
TOGETHER = 8
"""Outputs of a layer at a time: as many sums as keep the vector units busy."""

EPSILON = np.float32(1e-5)
"""Of torch's layer norm."""

LOG2_E = np.float32(1.4426950408889634)
ERFC = tuple(map(np.float32, (4.30638e-5, 2.765672e-4, 1.520143e-4, 9.2705272e-3, 4.22820123e-2, 7.05230784e-2, 1.0)))
"""Abramowitz and Stegun, 7.1.28, highest power first."""


@njit(nogil=True, error_model="numpy", inline="always")
def _linear(
    x: Array, weights: Array, first: int, biases: Array, bias: int, inputs: int, outputs: int, y: Array
) -> None:
    """y = bias + x weight.

    Args:
        x, y: (inputs, lanes) and (outputs, lanes).
        weights: (inputs, outputs) from ``first`` on.
        biases: (outputs,) from ``bias`` on.
    """
    o = 0
    while o + TOGETHER <= outputs:
        b, p = bias + o, first + o
        s0, s1, s2, s3 = spread(biases, b), spread(biases, b + 1), spread(biases, b + 2), spread(biases, b + 3)
        s4, s5, s6, s7 = spread(biases, b + 4), spread(biases, b + 5), spread(biases, b + 6), spread(biases, b + 7)
        for i in range(inputs):
            v = load(x, i * LANES)
            s0, s1 = fma(v, spread(weights, p), s0), fma(v, spread(weights, p + 1), s1)
            s2, s3 = fma(v, spread(weights, p + 2), s2), fma(v, spread(weights, p + 3), s3)
            s4, s5 = fma(v, spread(weights, p + 4), s4), fma(v, spread(weights, p + 5), s5)
            s6, s7 = fma(v, spread(weights, p + 6), s6), fma(v, spread(weights, p + 7), s7)
            p += outputs
        q = o * LANES
        store(y, q, s0), store(y, q + LANES, s1), store(y, q + 2 * LANES, s2), store(y, q + 3 * LANES, s3)
        q += 4 * LANES
        store(y, q, s4), store(y, q + LANES, s5), store(y, q + 2 * LANES, s6), store(y, q + 3 * LANES, s7)
        o += TOGETHER
    while o < outputs:
        s0 = spread(biases, bias + o)
        for i in range(inputs):
            s0 = fma(load(x, i * LANES), spread(weights, first + o + i * outputs), s0)
        store(y, o * LANES, s0)
        o += 1


@njit(nogil=True, error_model="numpy", inline="always")
def _normed(x: Array, d: int, y: Array) -> None:
    """y = (x - mean) / deviation, over d features."""
    share = lanes(ONE / np.float32(d))
    mean, square = lanes(ZERO), lanes(ZERO)
    for i in range(d):
        mean += load(x, i * LANES)
    mean *= share
    for i in range(d):
        away = load(x, i * LANES) - mean
        square = fma(away, away, square)
    scale = lanes(ONE) / root(fma(square, share, lanes(EPSILON)))
    for i in range(d):
        store(y, i * LANES, (load(x, i * LANES) - mean) * scale)


@njit(nogil=True, error_model="numpy", inline="always")
def _gelu(x: Array, count: int) -> None:
    """x Φ(x) in place, by erfc without exponentials; errors of 1e-6 (1 + |x|)."""
    for i in range(count):
        v = load(x, i * LANES)
        z = magnitude(v) * lanes(np.float32(0.70710678118))
        total = fma(lanes(ERFC[0]), z, lanes(ERFC[1]))
        total = fma(total, z, lanes(ERFC[2]))
        total = fma(total, z, lanes(ERFC[3]))
        total = fma(total, z, lanes(ERFC[4]))
        total = fma(total, z, lanes(ERFC[5]))
        total = fma(total, z, lanes(ERFC[6]))
        total *= total
        total *= total
        total *= total
        tail = lanes(HALF) / (total * total)
        store(x, i * LANES, v * chosen(v, lanes(ONE) - tail, tail))


@njit(nogil=True, error_model="numpy", inline="always")
def _scores(q: Array, at: int, keys: Array, first: int, width: int, count: int, s: Array) -> None:
    """log2 of weights, up to a constant: q·k log2(e) / √width of every place, and behind them the largest.

    Args:
        q: (width, lanes) from ``at`` on.
        keys: (places, width, lanes) from ``first`` on.
        width: features of a head.
        count: places that are seen.
        s: (places + 1, lanes).
    """
    row, scale, top = width * LANES, lanes(LOG2_E / np.sqrt(np.float32(width))), lanes(LOWEST)
    i = 0
    while i < width:
        p, of, top = first + i * LANES, at + i * LANES, lanes(LOWEST)
        q0 = load(q, of) * scale
        if i + 8 <= width:
            q1, q2, q3 = load(q, of + LANES) * scale, load(q, of + 2 * LANES) * scale, load(q, of + 3 * LANES) * scale
            q4, q5 = load(q, of + 4 * LANES) * scale, load(q, of + 5 * LANES) * scale
            q6, q7 = load(q, of + 6 * LANES) * scale, load(q, of + 7 * LANES) * scale
            for j in range(count):
                total = load(s, j * LANES) if i else lanes(ZERO)
                total = fma(q1, load(keys, p + LANES), fma(q0, load(keys, p), total))
                total = fma(q3, load(keys, p + 3 * LANES), fma(q2, load(keys, p + 2 * LANES), total))
                other = fma(q5, load(keys, p + 5 * LANES), q4 * load(keys, p + 4 * LANES))
                other = fma(q7, load(keys, p + 7 * LANES), fma(q6, load(keys, p + 6 * LANES), other))
                total += other
                top = larger(top, total)
                store(s, j * LANES, total)
                p += row
            i += 8
        elif i + 4 <= width:
            q1, q2, q3 = load(q, of + LANES) * scale, load(q, of + 2 * LANES) * scale, load(q, of + 3 * LANES) * scale
            for j in range(count):
                total = load(s, j * LANES) if i else lanes(ZERO)
                total = fma(q1, load(keys, p + LANES), fma(q0, load(keys, p), total))
                total = fma(q3, load(keys, p + 3 * LANES), fma(q2, load(keys, p + 2 * LANES), total))
                top = larger(top, total)
                store(s, j * LANES, total)
                p += row
            i += 4
        else:
            for j in range(count):
                total = fma(q0, load(keys, p), load(s, j * LANES) if i else lanes(ZERO))
                top = larger(top, total)
                store(s, j * LANES, total)
                p += row
            i += 1
    store(s, count * LANES, top)


@njit(nogil=True, error_model="numpy", inline="always")
def _mean(s: Array, values: Array, first: int, width: int, count: int, y: Array, to: int) -> None:
    """Mean of the values (places, width, lanes) from ``first`` on, into ``y``, (width, lanes) from ``to`` on.

    Weights are 2 to the scores; they are put in the place of these.
    """
    row, largest, share, i = width * LANES, load(s, count * LANES), lanes(ONE), 0
    while i < width:
        p, q = first + i * LANES, to + i * LANES
        m0 = m1 = m2 = m3 = m4 = m5 = m6 = m7 = total = lanes(ZERO)
        block = 8 if i + 8 <= width else 4 if i + 4 <= width else 1
        for j in range(count):
            weight = load(s, j * LANES)
            if i == 0:
                weight = power_of_two(weight - largest)
                total += weight
                store(s, j * LANES, weight)
            m0 = fma(weight, load(values, p), m0)
            if block >= 4:
                m1, m2 = fma(weight, load(values, p + LANES), m1), fma(weight, load(values, p + 2 * LANES), m2)
                m3 = fma(weight, load(values, p + 3 * LANES), m3)
            if block == 8:
                m4, m5 = fma(weight, load(values, p + 4 * LANES), m4), fma(weight, load(values, p + 5 * LANES), m5)
                m6, m7 = fma(weight, load(values, p + 6 * LANES), m6), fma(weight, load(values, p + 7 * LANES), m7)
            p += row
        if i == 0:
            share = lanes(ONE) / total
        store(y, q, m0 * share)
        if block >= 4:
            store(y, q + LANES, m1 * share), store(y, q + 2 * LANES, m2 * share), store(y, q + 3 * LANES, m3 * share)
        if block == 8:
            store(y, q + 4 * LANES, m4 * share), store(y, q + 5 * LANES, m5 * share)
            store(y, q + 6 * LANES, m6 * share), store(y, q + 7 * LANES, m7 * share)
        i += block


@njit(nogil=True, error_model="numpy", inline="always")
def _attend(
    x: Array, keys: Array, values: Array, first: int, size: int, heads: int, width: int, place: int, s: Array, y: Array
) -> None:
    """Attention of one place to itself and those before it.

    Args:
        x: its query, key and value, (3 heads width, lanes).
        keys, values: (heads, size, width, lanes) from ``first`` on; those of this place are put there.
        size: places there are.
        place: which one.
        s: scratch, (size + 1, lanes).
        y: (heads width, lanes).
    """
    d, row = heads * width * LANES, width * LANES
    for h in range(heads):
        of_head, q = first + h * size * row, h * row
        for i in range(0, row, LANES):
            store(keys, of_head + place * row + i, load(x, d + q + i))
            store(values, of_head + place * row + i, load(x, 2 * d + q + i))
        _scores(x, q, keys, of_head, width, place + 1, s)
        _mean(s, values, of_head, width, place + 1, y, q)


@njit(nogil=True, error_model="numpy", inline="always")
def _choose(
    fields: Array, floor: float, uniforms: NDArray[np.float64], begin: int, place: int, down: Array, found: Array
) -> None:
    """Draw a spin of each configuration of a group, from two logits (2, lanes).

    Args:
        uniforms: (B, M).
        begin: first configuration.
        down: 1 for a spin -1, 0 for +1, (lanes,).
        found: differences of the logits, (B, M).
    """
    for r in range(min(LANES, len(uniforms) - begin)):
        field = np.float64(fields[r]) - np.float64(fields[LANES + r])
        found[begin + r, place] = field
        up = floor + (1.0 - 2.0 * floor) / (1.0 + np.exp(min(max(-field, -700.0), 700.0)))
        down[r] = ONE if uniforms[begin + r, place] >= up else ZERO


@njit(nogil=True, error_model="numpy")
def draw(
    weights: Array,
    biases: Array,
    shapes: NDArray[np.int64],
    norm: Array,
    token: Array,
    table: Array,
    heads: int,
    floor: float,
    uniforms: NDArray[np.float64],
    down: NDArray[np.int64],
    fields: NDArray[np.float64],
) -> None:
    """Spins and their fields, into ``down`` and ``fields``, (B, M).

    Linear layers are numbered: projections, mixing, up and down of each block, then the three of the head.

    Args:
        weights, biases: of all linear layers, (I, O) and (O,) of each, one after the other.
        shapes: I and O of each.
        norm: weight and bias of the last norm, (2 d,).
        token: in front of the spins, (d,).
        table: features of both values of every spin, (M, 2, d), flat.
        heads: which share the d features.
        floor: least probability of a value.
        uniforms: in [0, 1), (B, M).
        down: 1 for a spin -1, 0 for +1.
        fields: difference of the logits.
    """
    layers, d, size = len(shapes), len(token), uniforms.shape[1]
    blocks, widest = (layers - 3) // 4, max(shapes[:, 1].max(), d)
    keys = np.empty(blocks * size * d * LANES, np.float32)
    values, scratch = np.empty_like(keys), np.empty((size + 1) * LANES, np.float32)
    x, drawn = np.empty(d * LANES, np.float32), np.zeros(LANES, np.float32)
    narrow, wide = np.empty(widest * LANES, np.float32), np.empty(widest * LANES, np.float32)
    for begin in range(0, len(uniforms), LANES):
        for i in range(d):
            store(x, i * LANES, spread(token, i))
        for place in range(size):
            w = b = 0
            for layer in range(layers):
                kind, (inputs, outputs) = (layer % 4 if layer < 4 * blocks else 4 + layer - 4 * blocks), shapes[layer]
                if kind == 0 or kind == 2 or kind == 4:
                    _normed(x, d, narrow)
                if kind == 4:
                    for i in range(d):
                        store(narrow, i * LANES, fma(load(narrow, i * LANES), spread(norm, i), spread(norm, d + i)))
                _linear(narrow, weights, w, biases, b, inputs, outputs, wide)
                w, b = w + inputs * outputs, b + outputs
                if kind == 0:
                    first = layer // 4 * size * d * LANES
                    _attend(wide, keys, values, first, size, heads, d // heads, place, scratch, narrow)
                elif kind == 1 or kind == 3:
                    for i in range(d):
                        store(x, i * LANES, load(x, i * LANES) + load(wide, i * LANES))
                else:
                    if kind == 2 or kind == 4:
                        _gelu(wide, outputs)
                    narrow, wide = wide, narrow
            # what the last layer gives was exchanged with its input
            _choose(narrow, floor, uniforms, begin, place, drawn, fields)
            for r in range(min(LANES, len(uniforms) - begin)):
                down[begin + r, place] = np.int64(drawn[r])
            sign, p = load(drawn, 0), 2 * place * d
            for i in range(d):
                store(x, i * LANES, chosen(sign, spread(table, p + d + i), spread(table, p + i)))
