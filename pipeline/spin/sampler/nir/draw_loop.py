"""Draws of the proposal as one compiled loop over configurations (numba), for CPUs in single precision.

As many configurations at a time as there are lanes: their keys and values stay in the caches of a core, where those of
a whole batch, read once a spin, would come from the memory, and a weight that is read serves all of them. What comes of
one does not depend on the others. A feature of all of them is one value; arrays are flat, (features, lanes).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.base.run.compiled import njit
from pipeline.base.run.lanes import LANES, fma, lanes, load, magnitude, root, spread, store
from pipeline.base.run.lanes import where_positive as chosen
from pipeline.spin.sampler.nir.attention_loop import attended, scores, weigh

Array = NDArray[np.float32]

ONE, ZERO, HALF = np.float32(1.0), np.float32(0.0), np.float32(0.5)
TOGETHER = 8
"""Outputs of a layer at a time: as many sums as keep the vector units busy."""

EPSILON = np.float32(1e-5)
"""Of torch's layer norm."""

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
def _attend(
    x: Array, keys: Array, values: Array, first: int, size: int, heads: int, width: int, place: int, s: Array, y: Array
) -> None:
    """Attention of one place to itself and those before it.

    Args:
        x: its query, key and value, (3 heads width, lanes).
        keys, values: (heads, size, width, lanes) from ``first`` on; those of this place are put there.
        size: places there are.
        place: which one.
        s: scratch, (size + 2, lanes).
        y: (heads width, lanes).
    """
    d, row, kept = heads * width * LANES, width * LANES, size * LANES
    for h in range(heads):
        of_head, q = first + h * size * row, h * row
        for i in range(0, row, LANES):
            store(keys, of_head + place * row + i, load(x, d + q + i))
            store(values, of_head + place * row + i, load(x, 2 * d + q + i))
        scores(x, q, keys, of_head, width, place + 1, s)
        weigh(s, place + 1, s, kept)
        attended(s, values, of_head, width, place + 1, s, kept, y, q)


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
    values, scratch = np.empty_like(keys), np.empty((size + 2) * LANES, np.float32)
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
