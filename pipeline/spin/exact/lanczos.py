"""The lowest eigenpairs of a sparse Hermitian matrix, each with its multiplicity, reproducible to the bit."""

from __future__ import annotations

import math
from typing import Any

from pipeline.base.later import NDArray, np

DENSE_LIMIT = 64
"""Up to this many basis states LAPACK is used: Lanczos needs room for its Krylov space."""

Pair = tuple[float, NDArray[Any]]
"""Eigenvalue and normalised eigenvector, shape (states,)."""


def lowest(matrix: Any, levels: int, bound: float = math.inf) -> list[Pair]:
    """The ``levels`` lowest eigenpairs, ascending, degenerate ones as often as they occur.

    A Krylov space holds one state of a degenerate level but for rounding. States are therefore found one by one, each
    as the lowest that is orthogonal to those before it.

    Args:
        matrix: scipy CSR, shape (states, states), float64 or complex128, Hermitian.
        levels: K, at most the number of states.
        bound: once an eigenvalue reaches it, no more are looked for, and that one is the last of the list.
    """
    states = matrix.shape[0]
    if states <= max(DENSE_LIMIT, 4 * levels):
        values, vectors = np.linalg.eigh(matrix.toarray())
        return [(float(values[k]), vectors[:, k]) for k in range(levels)]
    if not matrix.count_nonzero():
        # Lanczos cannot start on H = 0, of which every state is an eigenstate.
        return [(0.0, vector) for vector in np.eye(levels, states)]
    found: list[Pair] = []
    while len(found) < levels and (not found or found[-1][0] < bound):
        found.append(_next(matrix, [vector for _, vector in found]))
    return sorted(found, key=lambda pair: pair[0])


def _next(matrix: Any, found: list[NDArray[Any]]) -> Pair:
    """Lowest eigenpair orthogonal to the eigenvectors ``found``, which are lifted by the width of the spectrum."""
    from scipy.sparse.linalg import LinearOperator, eigsh

    operator = matrix
    if found:
        lift, vectors = 2 * float(abs(matrix).sum(axis=1).max()), np.column_stack(found)

        def product(state: NDArray[Any]) -> NDArray[Any]:
            moved: NDArray[Any] = matrix @ state + lift * (vectors @ (vectors.conj().T @ state))
            return moved

        operator = LinearOperator(matrix.shape, matvec=product, dtype=matrix.dtype)
    # A generic start, orthogonal to nothing; ARPACK draws from ``rng`` when it has to start anew.
    draw = np.random.default_rng(len(found))
    start = draw.standard_normal(matrix.shape[0])
    values, vectors_found = eigsh(operator, k=1, which="SA", v0=start, rng=draw)
    return float(values[0]), vectors_found[:, 0]
