"""Fourier transforms of small periodic lattices as loops (numba), for CPUs: eight configurations at a time.

Waves along each direction by a matrix of L × L numbers, then sums and differences of two of their products: what
:class:`pipeline.gauge.waves.Waves` has in its tables. Rows are shared among threads and treated each by itself, so
that results do not depend on the number of threads.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from pipeline.base.run.compiled import njit
from pipeline.base.run.lanes import LANES, fma, larger, load, smaller, spread, store
from pipeline.base.run.slices import in_slices
from pipeline.gauge.waves import Waves

ABREAST = 4
"""Waves of other sites that are summed at once: as many independent sums. Of what L is a multiple of."""

LEAST_ROWS = 4
"""Of a thread."""

TANH_ABOVE = (
    *(4.89352455891786e-3, 6.37261928875436e-4, 1.48572235717979e-5, 5.12229709037114e-8, -8.60467152213735e-11),
    *(2.00018790482477e-13, -2.76076847742355e-16),
)
TANH_BELOW = (4.89352518554385e-3, 2.26843463243900e-3, 1.18534705686654e-4, 1.19825839466702e-6)
"""x P(x²)/Q(x²) of tanh in single precision, lowest powers first, as the Eigen library has it: errors below 4e-7."""

FLAT_FROM = 7.90531110763549805
"""Where tanh in single precision is one."""


def analyse(field: Tensor, waves: Waves) -> Tensor:
    """Components along orthonormal waves, (rows, V, batch) -> (V/2, 2, rows, batch); ``batch`` a multiple of 8."""
    rows, volume, batch = field.shape
    result = field.new_empty((volume // 2, 2, rows, batch))
    source, target = (each.detach().contiguous().view(-1).numpy() for each in (field, result))
    tables = waves.matrix, waves.analysis, waves.analysis_factors

    def work(first: int, last: int) -> None:
        _analyse(source, *tables, rows, first, last, batch, target)

    in_slices(rows, LEAST_ROWS, work)
    return result


def synthesise(spectrum: Tensor, waves: Waves, bias: Tensor | None, tanh: bool) -> Tensor:
    """Inverse and adjoint of :func:`analyse`.

    Args:
        spectrum: (V/2, 2, rows, batch).
        waves: of the lattice.
        bias: added to all numbers of a row, (rows,).
        tanh: of the result, in its place.
    """
    half, _, rows, batch = spectrum.shape
    result = spectrum.new_empty((rows, 2 * half, batch))
    shift = spectrum.new_zeros(rows) if bias is None else bias
    source, shifts, target = (each.detach().contiguous().view(-1).numpy() for each in (spectrum, shift, result))
    tables = waves.transposed, waves.synthesis, waves.synthesis_factors
    squashed = tanh and spectrum.dtype == torch.float32
    rational = tuple(np.array(numbers, source.dtype) for numbers in (TANH_ABOVE, TANH_BELOW, (-FLAT_FROM, FLAT_FROM)))

    def work(first: int, last: int) -> None:
        _synthesise(source, *tables, shifts, squashed, *rational, rows, first, last, batch, target)

    in_slices(rows, LEAST_ROWS, work)
    return result.tanh_() if tanh and not squashed else result


@njit(inline="always")
def _along(source, step, across, matrix, length, target, up, right):  # type: ignore[no-untyped-def]
    """Σ_x matrix(k, x) source(x, y) of all k and y; steps of x and y in the source, of k and y in the target."""
    for y in range(0, length, ABREAST):
        begin, end = y * across, y * right
        for k in range(length):
            row = k * length
            m = spread(matrix, row)
            s_0, s_1 = m * load(source, begin), m * load(source, begin + across)
            s_2, s_3 = m * load(source, begin + 2 * across), m * load(source, begin + 3 * across)
            for x in range(1, length):
                m, place = spread(matrix, row + x), begin + x * step
                s_0, s_1 = fma(m, load(source, place), s_0), fma(m, load(source, place + across), s_1)
                s_2 = fma(m, load(source, place + 2 * across), s_2)
                s_3 = fma(m, load(source, place + 3 * across), s_3)
            place = end + k * up
            store(target, place, s_0)
            store(target, place + right, s_1)
            store(target, place + 2 * right, s_2)
            store(target, place + 3 * right, s_3)


@njit(inline="always")
def _four(source, at, step):  # type: ignore[no-untyped-def]
    return load(source, at), load(source, at + step), load(source, at + 2 * step), load(source, at + 3 * step)


@njit(inline="always")
def _eight(source, step, across, matrix, target, up, right):  # type: ignore[no-untyped-def]
    """The same for eight sites: sums and differences of opposite ones make even and odd waves."""
    one, half, root = spread(matrix, 0), spread(matrix, 8), spread(matrix, 9)
    for y in range(8):
        at, to = y * across, y * right
        x_0, x_1, x_2, x_3 = _four(source, at, step)
        x_4, x_5, x_6, x_7 = _four(source, at + 4 * step, step)
        a_0, a_1, a_2, a_3 = x_0 + x_4, x_1 + x_5, x_2 + x_6, x_3 + x_7
        b_0, b_1, b_2, b_3 = half * (x_0 - x_4), x_1 - x_5, half * (x_2 - x_6), x_3 - x_7
        even, odd, less, more = a_0 + a_2, a_1 + a_3, root * (b_1 - b_3), root * (b_1 + b_3)
        store(target, to, one * (even + odd))
        store(target, to + up, b_0 + less)
        store(target, to + 2 * up, b_2 + more)
        store(target, to + 3 * up, half * (a_0 - a_2))
        to += 4 * up
        store(target, to, half * (a_1 - a_3))
        store(target, to + up, b_0 - less)
        store(target, to + 2 * up, more - b_2)
        store(target, to + 3 * up, one * (even - odd))


@njit(inline="always")
def _eight_back(source, step, across, matrix, target, up, right):  # type: ignore[no-untyped-def]
    """The transposed of :func:`_eight`."""
    one, half, root = spread(matrix, 0), spread(matrix, 1), spread(matrix, 9)
    for y in range(8):
        at, to = y * across, y * right
        y_0, c_1, s_1, c_2 = _four(source, at, step)
        s_2, c_3, s_3, y_4 = _four(source, at + 4 * step, step)
        even, odd, u, v = one * (y_0 + y_4), one * (y_0 - y_4), half * c_2, half * s_2
        less, more = root * (c_1 - c_3), root * (s_1 + s_3)
        a_0, a_1, a_2, a_3 = even + u, odd + v, even - u, odd - v
        b_0, b_1, b_2, b_3 = half * (c_1 + c_3), less + more, half * (s_1 - s_3), more - less
        store(target, to, a_0 + b_0)
        store(target, to + up, a_1 + b_1)
        store(target, to + 2 * up, a_2 + b_2)
        store(target, to + 3 * up, a_3 + b_3)
        to += 4 * up
        store(target, to, a_0 - b_0)
        store(target, to + up, a_1 - b_1)
        store(target, to + 2 * up, a_2 - b_2)
        store(target, to + 3 * up, a_3 - b_3)


@njit(nogil=True)
def _analyse(field, matrix, table, factors, rows, first, last, batch, result):  # type: ignore[no-untyped-def]
    volume = table.shape[0]
    length, line = int(np.sqrt(volume)), int(np.sqrt(volume)) * LANES
    here, there = np.empty(volume * LANES, field.dtype), np.empty(volume * LANES, field.dtype)
    for r in range(first, last):
        for b in range(0, batch, LANES):
            # Sites of a row are far from each other: read once.
            for x in range(volume):
                store(there, x * LANES, load(field, (r * volume + x) * batch + b))
            if length == 8:
                _eight(there, LANES, line, matrix, here, LANES, line)
                _eight(here, line, LANES, matrix, there, line, LANES)
            else:
                _along(there, LANES, line, matrix, length, here, LANES, line)
                _along(here, line, LANES, matrix, length, there, line, LANES)
            for w in range(volume):
                of_first = spread(factors, 2 * w) * load(there, table[w, 0] * LANES)
                total = fma(spread(factors, 2 * w + 1), load(there, table[w, 1] * LANES), of_first)
                store(result, (w * rows + r) * batch + b, total)


@njit(inline="always")
def _tanh(x, numerator, denominator, ends):  # type: ignore[no-untyped-def]
    x = larger(spread(ends, 0), smaller(spread(ends, 1), x))
    square = x * x
    above = fma(spread(numerator, 6), square, spread(numerator, 5))
    for power in range(4, -1, -1):
        above = fma(above, square, spread(numerator, power))
    below = fma(spread(denominator, 3), square, spread(denominator, 2))
    below = fma(fma(below, square, spread(denominator, 1)), square, spread(denominator, 0))
    return x * above / below


@njit(nogil=True)
def _synthesise(  # type: ignore[no-untyped-def]
    spectrum, matrix, table, factors, bias, tanh, numerator, denominator, ends, rows, first, last, batch, result
):
    volume = table.shape[0]
    length, line = int(np.sqrt(volume)), int(np.sqrt(volume)) * LANES
    here, there = np.empty(volume * LANES, spectrum.dtype), np.empty(volume * LANES, spectrum.dtype)
    for r in range(first, last):
        shift = spread(bias, r)
        for b in range(0, batch, LANES):
            for w in range(volume):
                store(there, w * LANES, load(spectrum, (w * rows + r) * batch + b))
            for w in range(volume):
                of_first = spread(factors, 2 * w) * load(there, table[w, 0] * LANES)
                store(here, w * LANES, fma(spread(factors, 2 * w + 1), load(there, table[w, 1] * LANES), of_first))
            if length == 8:
                _eight_back(here, line, LANES, matrix, there, line, LANES)
                _eight_back(there, LANES, line, matrix, here, LANES, line)
            else:
                _along(here, line, LANES, matrix, length, there, line, LANES)
                _along(there, LANES, line, matrix, length, here, LANES, line)
            for x in range(volume):
                value = load(here, x * LANES) + shift
                if tanh:
                    value = _tanh(value, numerator, denominator, ends)
                store(result, (r * volume + x) * batch + b, value)
