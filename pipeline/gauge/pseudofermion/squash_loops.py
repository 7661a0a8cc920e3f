"""Hyperbolic tangents as a fused loop (numba), for CPUs: several times faster than those of torch.

Lambert's continued fraction tanh x = x / (1 + x² / (3 + x² / (5 + ...))), cut off where single precision does not know
the difference: a quotient of two polynomials in x² with positive coefficients, which do not cancel.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from pipeline.base.run.compiled import njit
from pipeline.base.run.slices import in_slices

TERMS = 13
"""Of the continued fraction: a relative error of 4e-8 at LARGEST, much less below."""

LARGEST = np.float32(9.02)
"""Where tanh is one in single precision."""

LEAST_ROWS = 8
"""Of a thread."""

FAST = {"contract", "reassoc", "nsz"}
"""As of the loops of transport: NaN keeps its meaning."""


def _convergent(terms: int) -> tuple[Any, Any]:
    """Coefficients of numerator and denominator of tanh(x)/x in powers of x², the constant terms being one."""
    z = np.polynomial.Polynomial([0.0, 1.0])
    above, below = [0.0 * z, 0.0 * z + 1.0], [0.0 * z + 1.0, 0.0 * z + 1.0]
    for k in range(1, terms):
        for series in (above, below):
            series.append((2 * k + 1) * series[-1] + z * series[-2])
    constant = below[-1].coef[0]
    return tuple((series[-1].trim().coef / constant).astype(np.float32) for series in (above, below))


ABOVE, BELOW = _convergent(TERMS)


def squash(rows: Tensor, bias: Tensor) -> None:
    """See :func:`pipeline.gauge.pseudofermion.squash.squash`; float32, contiguous."""
    values, shifts = rows.detach().numpy(), bias.detach().contiguous().numpy()
    in_slices(
        len(values), LEAST_ROWS, lambda first, last: _squash(values[first:last], shifts[first:last], ABOVE, BELOW)
    )


@njit(nogil=True, fastmath=FAST, error_model="numpy")
def _squash(rows, bias, above, below):  # type: ignore[no-untyped-def]
    one = np.float32(1.0)
    for r in range(rows.shape[0]):
        shift = bias[r]
        for i in range(rows.shape[1]):
            # Comparisons that leave NaN what it is.
            x = rows[r, i] + shift
            x = LARGEST if x > LARGEST else x
            x = -LARGEST if x < -LARGEST else x
            square, a, b = x * x, above[6], below[6]
            for k in range(5, -1, -1):
                a, b = a * square + above[k], b * square + below[k]
            value = x * a / b
            value = one if value > one else value
            rows[r, i] = -one if value < -one else value
