"""The Wilson-Dirac operator written out element by element, to compare with."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

SIGMA = (np.array([[0, 1], [1, 0]], dtype=complex), np.array([[0, -1j], [1j, 0]], dtype=complex))
SIGMA_Z = np.diag([1.0, -1.0]).astype(complex)


def wilson_dirac(links: NDArray[np.complex128], kappa: float) -> NDArray[np.complex128]:
    """Eq. 5 for one configuration: D(y, x) as a loop over y, μ and both neighbours x.

    Args:
        links: (2, L, L, N, N).
        kappa: κ.

    Returns:
        (n, n) in the order x_0, x_1, spin, colour.
    """
    length, colors = links.shape[1], links.shape[3]
    dirac = np.zeros((length, length, 2, colors, length, length, 2, colors), dtype=complex)
    for y in itertools.product(range(length), repeat=2):
        dirac[y[0], y[1], :, :, y[0], y[1]] += np.eye(2 * colors).reshape(2, colors, 2, colors)
        for mu in (0, 1):
            for step in (1, -1):
                unwrapped = list(y)
                unwrapped[mu] += step
                x = (unwrapped[0] % length, unwrapped[1] % length)
                sign = -1.0 if unwrapped[0] != x[0] else 1.0
                transport = links[mu, y[0], y[1]] if step == 1 else links[mu, x[0], x[1]].conj().T
                spin = np.eye(2) - step * SIGMA[mu]
                dirac[y[0], y[1], :, :, x[0], x[1]] -= kappa * sign * np.einsum("st,ij->sitj", spin, transport)
    return dirac.reshape(2 * colors * length**2, -1)


def even_order(length: int, colors: int) -> NDArray[np.int64]:
    """Rows of the even sites, x_0 + x_1 even, in that order."""
    sites = [y[0] * length + y[1] for y in itertools.product(range(length), repeat=2) if sum(y) % 2 == 0]
    return np.concatenate([np.arange(2 * colors * s, 2 * colors * (s + 1)) for s in sites])
