"""Products of small matrices in compiled loops (numba), an independent one in every lane."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.base.run.compiled import njit
from pipeline.base.run.lanes import fma, lanes, load, store

Array = NDArray[np.float32]

DOWN, ACROSS = 2, 4
"""Of the block of the product whose sums stay in registers: six reads serve eight multiply-adds."""

ZERO = np.float32(0.0)


@njit(nogil=True, error_model="numpy", inline="always")
def _block(
    a: Array,
    p: int,
    pr: int,
    pn: int,
    b: Array,
    q: int,
    qc: int,
    qn: int,
    inner: int,
    c: Array,
    r: int,
    cr: int,
    cc: int,
    add: bool,
) -> None:
    """Two rows and four columns of :func:`product`, from ``p``, ``q`` and ``r`` on."""
    r1 = r + cr
    if add:
        s0, s1, s2, s3 = load(c, r), load(c, r + cc), load(c, r + 2 * cc), load(c, r + 3 * cc)
        t0, t1, t2, t3 = load(c, r1), load(c, r1 + cc), load(c, r1 + 2 * cc), load(c, r1 + 3 * cc)
    else:
        s0 = s1 = s2 = s3 = t0 = t1 = t2 = t3 = lanes(ZERO)
    for _ in range(inner):
        x, y = load(a, p), load(a, p + pr)
        z = load(b, q)
        s0, t0 = fma(x, z, s0), fma(y, z, t0)
        z = load(b, q + qc)
        s1, t1 = fma(x, z, s1), fma(y, z, t1)
        z = load(b, q + 2 * qc)
        s2, t2 = fma(x, z, s2), fma(y, z, t2)
        z = load(b, q + 3 * qc)
        s3, t3 = fma(x, z, s3), fma(y, z, t3)
        p += pn
        q += qn
    store(c, r, s0), store(c, r + cc, s1), store(c, r + 2 * cc, s2), store(c, r + 3 * cc, s3)
    store(c, r1, t0), store(c, r1 + cc, t1), store(c, r1 + 2 * cc, t2), store(c, r1 + 3 * cc, t3)


@njit(nogil=True, error_model="numpy", inline="always")
def _single(a: Array, p: int, pn: int, b: Array, q: int, qn: int, inner: int, c: Array, r: int, add: bool) -> None:
    """One element."""
    total = load(c, r) if add else lanes(ZERO)
    for _ in range(inner):
        total = fma(load(a, p), load(b, q), total)
        p += pn
        q += qn
    store(c, r, total)


@njit(nogil=True, error_model="numpy")
def product(
    a: Array,
    a_at: tuple[int, int, int],
    b: Array,
    b_at: tuple[int, int, int],
    c: Array,
    c_at: tuple[int, int, int],
    shape: tuple[int, int, int],
    add: bool,
) -> None:
    """C = A B, or C += A B.

    Args:
        a, b, c: flat arrays, (..., lanes); what they are is in ``a_at``, ``b_at`` and ``c_at``.
        a_at: where A begins, and the distances from one row and from one column to the next, in numbers.
        b_at: the same of B, the distance of its columns first.
        c_at: of C, rows first.
        shape: rows of A, columns of B, and what is summed over.
        add: whether to what is there.
    """
    (p, pr, pn), (q, qc, qn), (r, cr, cc), (rows, columns, inner) = a_at, b_at, c_at, shape
    wide, high = columns - columns % 4, rows - rows % 2
    for j in range(0, wide, 4):
        for i in range(0, high, 2):
            _block(a, p + i * pr, pr, pn, b, q + j * qc, qc, qn, inner, c, r + i * cr + j * cc, cr, cc, add)
    for i in range(rows):
        for j in range(wide if i < high else 0, columns):
            _single(a, p + i * pr, pn, b, q + j * qc, qn, inner, c, r + i * cr + j * cc, add)
