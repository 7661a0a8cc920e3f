"""Draws of the proposal as one compiled loop over configurations (numba), for CPUs in single precision.

A few configurations at a time: their keys and values stay in the caches of a core, where those of a whole batch, read
once a spin, would come from the memory, and a weight that is read serves all of them. What comes of one does not depend
on the others. Exponentials are polynomials, for a library's are calls that do not vectorise.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.base.run.compiled import njit

Array = NDArray[np.float32]

FAST = {"contract", "reassoc", "nsz", "nnan", "arcp"}
"""Infinities stay what they are. Divisions by zero give them (``error_model``): a check would keep loops scalar."""

ONE, ZERO = np.float32(1.0), np.float32(0.0)
LOG2_E = np.float32(1.4426950408889634)
TOGETHER = 4
"""Configurations at a time: each more takes its keys and values from the caches."""

WIDEST = 512
"""Most outputs of a layer; features of the configurations lie so far apart, which loops that vectorise must know."""

LOWEST_POWER = np.float32(-125.0)
"""2 to this is the smallest factor of an exponential: smaller ones are no normal numbers."""

EPSILON = np.float32(1e-5)
"""Of torch's layer norm."""


@njit(nogil=True, fastmath=FAST, error_model="numpy", inline="always")
def _exponentials(powers: Array, count: int, bits: NDArray[np.int32]) -> None:
    """2 to each of the first powers, which are at most 0, in place; relative errors of 3e-7.

    Args:
        powers: at least ``count``.
        count: how many.
        bits: scratch of the same length.
    """
    scales = bits.view(np.float32)
    for j in range(count):
        power = powers[j] if powers[j] > LOWEST_POWER else LOWEST_POWER
        whole = np.floor(power)
        part = power - whole
        bits[j] = np.int32((np.int32(whole) + np.int32(127)) << np.int32(23))
        total = np.float32(0.00015403530)
        total = total * part + np.float32(0.0013333558)
        total = total * part + np.float32(0.0096181291)
        total = total * part + np.float32(0.055504109)
        total = total * part + np.float32(0.24022651)
        total = total * part + np.float32(0.69314718)
        powers[j] = total * part + ONE
    for j in range(count):
        powers[j] *= scales[j]


@njit(nogil=True, fastmath=FAST, error_model="numpy", inline="always")
def _linear(x: Array, weights: Array, first: int, bias: Array, inputs: int, y: Array) -> None:
    """y = bias + x weight of all configurations, (inputs,) and (outputs,) of each :data:`WIDEST` apart.

    Args:
        x, y: flat, (TOGETHER WIDEST,).
        weights: (inputs, outputs) from ``first`` on.
        bias: (outputs,).
        inputs: their number.
    """
    outputs = len(bias)
    for o in range(outputs):
        y[o] = y[WIDEST + o] = y[2 * WIDEST + o] = y[3 * WIDEST + o] = bias[o]
    i = 0
    while i + 4 <= inputs:
        p = first + i * outputs
        w0, w1 = weights[p : p + outputs], weights[p + outputs : p + 2 * outputs]
        w2, w3 = weights[p + 2 * outputs : p + 3 * outputs], weights[p + 3 * outputs : p + 4 * outputs]
        a0, a1, a2, a3 = x[i], x[i + 1], x[i + 2], x[i + 3]
        p = WIDEST + i
        b0, b1, b2, b3 = x[p], x[p + 1], x[p + 2], x[p + 3]
        p = 2 * WIDEST + i
        c0, c1, c2, c3 = x[p], x[p + 1], x[p + 2], x[p + 3]
        p = 3 * WIDEST + i
        d0, d1, d2, d3 = x[p], x[p + 1], x[p + 2], x[p + 3]
        for o in range(outputs):
            s, t, u, v = w0[o], w1[o], w2[o], w3[o]
            y[o] += a0 * s + a1 * t + a2 * u + a3 * v
            y[WIDEST + o] += b0 * s + b1 * t + b2 * u + b3 * v
            y[2 * WIDEST + o] += c0 * s + c1 * t + c2 * u + c3 * v
            y[3 * WIDEST + o] += d0 * s + d1 * t + d2 * u + d3 * v
        i += 4
    while i < inputs:
        w0 = weights[first + i * outputs : first + (i + 1) * outputs]
        a0, b0, c0, d0 = x[i], x[WIDEST + i], x[2 * WIDEST + i], x[3 * WIDEST + i]
        for o in range(outputs):
            y[o] += a0 * w0[o]
            y[WIDEST + o] += b0 * w0[o]
            y[2 * WIDEST + o] += c0 * w0[o]
            y[3 * WIDEST + o] += d0 * w0[o]
        i += 1


@njit(nogil=True, fastmath=FAST, error_model="numpy", inline="always")
def _normed(x: Array, y: Array) -> None:
    """y = (x - mean) / deviation."""
    mean, square = ZERO, ZERO
    for i in range(len(x)):
        mean += x[i]
    mean /= np.float32(len(x))
    for i in range(len(x)):
        square += (x[i] - mean) * (x[i] - mean)
    scale = ONE / np.sqrt(square / np.float32(len(x)) + EPSILON)
    for i in range(len(x)):
        y[i] = (x[i] - mean) * scale


@njit(nogil=True, fastmath=FAST, error_model="numpy", inline="always")
def _gelu(x: Array, count: int) -> None:
    """x Φ(x) in place, erfc as in Abramowitz and Stegun, 7.1.28, without exponentials; errors of 1e-6 (1 + |x|)."""
    for i in range(count):
        z = np.abs(x[i]) * np.float32(0.70710678118)
        total = np.float32(0.0000430638) * z + np.float32(0.0002765672)
        total = total * z + np.float32(0.0001520143)
        total = total * z + np.float32(0.0092705272)
        total = total * z + np.float32(0.0422820123)
        total = total * z + np.float32(0.0705230784)
        total = total * z + ONE
        total *= total
        total *= total
        total *= total
        tail = np.float32(0.5) / (total * total)
        x[i] *= ONE - tail if x[i] > ZERO else tail


@njit(nogil=True, fastmath=FAST, error_model="numpy", inline="always")
def _largest(x: Array, count: int, bits: NDArray[np.int32]) -> float:
    """Largest of the first numbers, by halves: a running maximum would not vectorise."""
    some = bits.view(np.float32)
    some[:count] = x[:count]
    while count > 1:
        half = (count + 1) // 2
        for j in range(count - half):
            some[j] = some[half + j] if some[half + j] > some[j] else some[j]
        count = half
    return some[0]


@njit(nogil=True, fastmath=FAST, error_model="numpy", inline="always")
def _attend(
    projections: Array, keys: Array, values: Array, place: int, scores: Array, bits: NDArray[np.int32], out: Array
) -> None:
    """Attention of one place to itself and those before it, whose keys and values are (heads, d/heads, M).

    Args:
        projections: query, key and value of the place, (3 d,).
        keys, values: those of this place are put there.
        place: which one.
        scores, bits: scratch, (M,).
        out: (d,).
    """
    heads, width, _ = keys.shape
    d, count = heads * width, place + 1
    scale = np.float32(LOG2_E / np.sqrt(np.float32(width)))
    for h in range(heads):
        first = h * width
        for i in range(width):
            keys[h, i, place] = projections[d + first + i]
            values[h, i, place] = projections[2 * d + first + i]
        scores[:count] = ZERO
        for i in range(0, width - 3, 4):
            q0, q1 = projections[first + i] * scale, projections[first + i + 1] * scale
            q2, q3 = projections[first + i + 2] * scale, projections[first + i + 3] * scale
            k0, k1, k2, k3 = keys[h, i], keys[h, i + 1], keys[h, i + 2], keys[h, i + 3]
            for j in range(count):
                scores[j] += q0 * k0[j] + q1 * k1[j] + q2 * k2[j] + q3 * k3[j]
        for i in range(width - width % 4, width):
            q0, k0 = projections[first + i] * scale, keys[h, i]
            for j in range(count):
                scores[j] += q0 * k0[j]
        largest = _largest(scores, count, bits)
        for j in range(count):
            scores[j] -= largest
        _exponentials(scores, count, bits)
        total = ZERO
        for j in range(count):
            total += scores[j]
        for i in range(0, width - 3, 4):
            v0, v1, v2, v3 = values[h, i], values[h, i + 1], values[h, i + 2], values[h, i + 3]
            m0, m1, m2, m3 = ZERO, ZERO, ZERO, ZERO
            for j in range(count):
                m0 += scores[j] * v0[j]
                m1 += scores[j] * v1[j]
                m2 += scores[j] * v2[j]
                m3 += scores[j] * v3[j]
            out[first + i], out[first + i + 1] = m0 / total, m1 / total
            out[first + i + 2], out[first + i + 3] = m2 / total, m3 / total
        for i in range(width - width % 4, width):
            v0, m0 = values[h, i], ZERO
            for j in range(count):
                m0 += scores[j] * v0[j]
            out[first + i] = m0 / total


@njit(nogil=True, fastmath=FAST, error_model="numpy")
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
        norm: weight and bias of the last norm, (2, d).
        token: in front of the spins, (d,).
        table: features of both values of every spin, (M, 2, d).
        heads: which share the d features.
        floor: least probability of a value.
        uniforms: in [0, 1), (B, M).
        down: 1 for a spin -1, 0 for +1.
        fields: difference of the logits.
    """
    layers, d, size = len(shapes), len(token), uniforms.shape[1]
    blocks = (layers - 3) // 4
    keys = np.empty((TOGETHER, blocks, heads, d // heads, size), np.float32)
    values = np.empty_like(keys)
    x, narrow = np.empty((TOGETHER, d), np.float32), np.zeros(TOGETHER * WIDEST, np.float32)
    wide = np.zeros(TOGETHER * WIDEST, np.float32)
    scratch, bits = np.empty(size, np.float32), np.empty(size, np.int32)
    for begin in range(0, len(uniforms), TOGETHER):
        count = min(TOGETHER, len(uniforms) - begin)
        for r in range(count):
            x[r] = token
        for place in range(size):
            w = b = 0
            for layer in range(layers):
                kind, (inputs, outputs) = (layer % 4 if layer < 4 * blocks else 4 + layer - 4 * blocks), shapes[layer]
                if kind == 0 or kind == 2 or kind == 4:
                    for r in range(count):
                        _normed(x[r], narrow[r * WIDEST : r * WIDEST + d])
                        if kind == 4:
                            some = narrow[r * WIDEST : r * WIDEST + d]
                            some[:] = some * norm[0] + norm[1]
                _linear(narrow, weights, w, biases[b : b + outputs], inputs, wide)
                w, b = w + inputs * outputs, b + outputs
                for r in range(count):
                    found = wide[r * WIDEST : r * WIDEST + outputs]
                    if kind == 0:
                        out = narrow[r * WIDEST : r * WIDEST + d]
                        _attend(found, keys[r, layer // 4], values[r, layer // 4], place, scratch, bits, out)
                    elif kind == 1 or kind == 3:
                        x[r] += found
                    else:
                        if kind == 2 or kind == 4:
                            _gelu(found, outputs)
                        narrow[r * WIDEST : r * WIDEST + outputs] = found
            for r in range(count):
                row = begin + r
                field = np.float64(wide[r * WIDEST]) - np.float64(wide[r * WIDEST + 1])
                fields[row, place] = field
                up = floor + (1.0 - 2.0 * floor) / (1.0 + np.exp(min(max(-field, -700.0), 700.0)))
                drawn = 1 if uniforms[row, place] >= up else 0
                down[row, place] = drawn
                x[r] = table[place, drawn]
