"""The hopping term, its gradient and conjugate gradients as fused loops over sites (numba), for CPUs.

One pass reads each neighbour and writes each result once, where elementwise operations on whole fields are bound by
memory traffic; and a solution iterates on one small system, which stays in the cache, for as long as it needs. Loops
over colours have a length known when they are compiled, once for each gauge group: that of a tuple, which is a type.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.base.run.compiled import njit
from pipeline.gauge.neighbours import Hop, Neighbours

FAST = {"contract", "reassoc", "nsz"}
"""Fused multiply-adds and free order of sums; NaN and infinity keep their meaning, for trajectories that fail."""


def hop(field: Tensor, links: Tensor, there: Neighbours, sign: float, factor: float, base: Tensor | None) -> Tensor:
    """base + factor · H ψ; see :func:`pipeline.gauge.fermions.hopping.hop`."""
    batch, fields, _, spins, colors = field.shape
    result = torch.empty((batch, fields, len(there.sites), spins, colors), dtype=field.dtype)
    # Without a base, its place is taken by a field that is never read.
    below = _array(result if base is None else base)
    arrays = _array(field), _array(links), _tables(there)
    _hops(*arrays, sign, factor, base is not None, below, result.numpy(), (0,) * colors)
    return result


def link_gradient(
    gradient: Tensor, field: Tensor, links: Tensor, there: Neighbours, sign: float, factor: float
) -> Tensor:
    """∂S/∂Re U + i ∂S/∂Im U of a real S with the gradient ``gradient`` (same convention) in factor · H ψ."""
    result = torch.zeros(links.shape, dtype=links.dtype)
    arrays = _array(gradient), _array(field), _array(links)
    _link_gradients(*arrays, _tables(there), sign, factor, result.numpy(), (0,) * links.shape[-1])
    return result


def conjugate_gradients(
    field: Tensor,
    links: Tensor,
    hops: tuple[Hop, ...],
    kappa: float,
    shift: float,
    tolerance: float,
    max_iterations: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Solution of (A A† + μ) x = b from zero, one system after the other.

    Args:
        field: b, (batch, k, sites, 2, N).
        links: (batch, 2, V, N, N).
        hops: those that A consists of, see :class:`pipeline.gauge.fermions.dirac.FermionMatrix`; one or two.
        kappa: κ.
        shift: μ.
        tolerance: of |b - (A A† + μ) x| / |b|, by the residual of the recursion.
        max_iterations: a system that needs more is left where it is.

    Returns:
        x; the relative residuals, (batch, k), NaN as x is for systems with NaN or infinity; and the iterations, int64.
    """
    result = torch.zeros(field.shape, dtype=field.dtype)
    residuals = torch.zeros(field.shape[:2], dtype=torch.float64)
    iterations = torch.zeros(field.shape[:2], dtype=torch.int64)
    _solutions(
        _array(field),
        _array(links),
        _tables(hops[0].there),
        _tables(hops[-1].there),
        len(hops) == 2,
        kappa,
        shift,
        tolerance,
        max_iterations,
        result.numpy(),
        residuals.numpy(),
        iterations.numpy(),
        (0,) * field.shape[-1],
    )
    return result, residuals, iterations


def _array(tensor: Tensor) -> Any:
    return tensor.detach().resolve_conj().contiguous().numpy()


def _tables(there: Neighbours) -> tuple[Any, ...]:
    # An unsigned index needs no test for Python's counting from the end.
    tables = (there.sites, there.forward, there.backward, there.behind)
    return tuple(table.numpy().view(np.uint64) for table in tables)


@njit(inline="always")
def _product(a, b):  # type: ignore[no-untyped-def]
    """Re a†b."""
    total = 0.0
    for x, y in zip(a.flat, b.flat):  # noqa: B905 - numba knows no strict
        total += x.real * y.real + x.imag * y.imag
    return total


@njit(inline="always")
def _advance(step, shift, direction, image, solution, residual):  # type: ignore[no-untyped-def]
    """x += α p and r -= α (M p + μ p) in place; returns |r|²."""
    total = 0.0
    for index in np.ndindex(direction.shape):
        p = direction[index]
        solution[index] += _times(step, p)
        r = residual[index] - _times(step, image[index] + _times(shift, p))
        residual[index] = r
        total += r.real * r.real + r.imag * r.imag
    return total


@njit(inline="always")
def _update(ratio, residual, direction):  # type: ignore[no-untyped-def]
    """p = r + β p in place."""
    for index in np.ndindex(direction.shape):
        direction[index] = residual[index] + _times(ratio, direction[index])


@njit(inline="always")
def _times(real, z):  # type: ignore[no-untyped-def]
    """real · z, where numba would make a complex number of ``real`` first."""
    return complex(real * z.real, real * z.imag)


@njit(inline="always")
def _turn(real, z):  # type: ignore[no-untyped-def]
    """i real · z."""
    return complex(-real * z.imag, real * z.real)


@njit(inline="always")
def _hop_field(psi, links, tables, sign, factor, has_base, base, result, colors):  # type: ignore[no-untyped-def]
    """One field over one configuration."""
    sites, forward, backward, behind = tables
    for t in range(len(sites)):
        x, x_0, x_1 = sites[t], behind[0, t], behind[1, t]
        f_0, f_1, b_0, b_1 = forward[0, t], forward[1, t], backward[0, t], backward[1, t]
        for i in range(len(colors)):
            ahead_0 = ahead_1 = behind_0 = behind_1 = psi.dtype.type(0)
            for j in range(len(colors)):
                ahead_0 += links[0, x, i, j] * (psi[f_0, 0, j] - _times(sign, psi[f_0, 1, j]))
                ahead_1 += links[1, x, i, j] * (psi[f_1, 0, j] + _turn(sign, psi[f_1, 1, j]))
                h = psi[b_0, 0, j] + _times(sign, psi[b_0, 1, j])
                behind_0 += links[0, x_0, j, i].conjugate() * h
                h = psi[b_1, 0, j] - _turn(sign, psi[b_1, 1, j])
                behind_1 += links[1, x_1, j, i].conjugate() * h
            upper = _times(factor, ahead_0 + ahead_1 + behind_0 + behind_1)
            lower = _times(sign * factor, behind_0 - ahead_0 + _turn(1.0, behind_1 - ahead_1))
            if has_base:
                upper += base[t, 0, i]
                lower += base[t, 1, i]
            result[t, 0, i] = upper
            result[t, 1, i] = lower


@njit(nogil=True, fastmath=FAST)
def _hops(field, links, tables, sign, factor, has_base, base, result, colors):  # type: ignore[no-untyped-def]
    for b in range(field.shape[0]):
        for k in range(field.shape[1]):
            _hop_field(field[b, k], links[b], tables, sign, factor, has_base, base[b, k], result[b, k], colors)


@njit(nogil=True, fastmath=FAST)
def _link_gradients(gradient, field, links, tables, sign, factor, result, colors):  # type: ignore[no-untyped-def]
    sites, forward, backward, behind = tables
    for b in range(field.shape[0]):
        for k in range(field.shape[1]):
            psi, g = field[b, k], gradient[b, k]
            for t in range(len(sites)):
                x, x_0, x_1 = sites[t], behind[0, t], behind[1, t]
                f_0, f_1, b_0, b_1 = forward[0, t], forward[1, t], backward[0, t], backward[1, t]
                for i in range(len(colors)):
                    upper, lower = _times(factor, g[t, 0, i]), _times(sign * factor, g[t, 1, i])
                    ahead_0, ahead_1 = upper - lower, upper + _turn(1.0, lower)
                    behind_0, behind_1 = (upper + lower).conjugate(), (upper - _turn(1.0, lower)).conjugate()
                    for j in range(len(colors)):
                        h = psi[f_0, 0, j] - _times(sign, psi[f_0, 1, j])
                        result[b, 0, x, i, j] += ahead_0 * h.conjugate()
                        h = psi[f_1, 0, j] + _turn(sign, psi[f_1, 1, j])
                        result[b, 1, x, i, j] += ahead_1 * h.conjugate()
                        h = psi[b_0, 0, j] + _times(sign, psi[b_0, 1, j])
                        result[b, 0, x_0, j, i] += behind_0 * h
                        h = psi[b_1, 0, j] - _turn(sign, psi[b_1, 1, j])
                        result[b, 1, x_1, j, i] += behind_1 * h


@njit(inline="always")
def _multiply(psi, links, first, last, two, kappa, sign, middle, result, colors):  # type: ignore[no-untyped-def]
    """A ψ (sign 1) or A† ψ (-1)."""
    if two:
        _hop_field(psi, links, first, sign, kappa, False, middle, middle, colors)
        _hop_field(middle, links, last, sign, -kappa, True, psi, result, colors)
    else:
        _hop_field(psi, links, last, sign, -kappa, True, psi, result, colors)


@njit(nogil=True, fastmath=FAST)
def _solutions(  # type: ignore[no-untyped-def]
    field, links, first, last, two, kappa, shift, tolerance, cap, result, residuals, iterations, colors
):
    residual, direction = np.empty_like(field[0, 0]), np.empty_like(field[0, 0])
    half, image = np.empty_like(field[0, 0]), np.empty_like(field[0, 0])
    middle = np.empty((len(first[0]), field.shape[3], field.shape[4]), field.dtype)
    for b in range(field.shape[0]):
        for k in range(field.shape[1]):
            residual[:], direction[:] = field[b, k], field[b, k]
            start = norm = _product(residual, residual)
            for _ in range(cap):
                # Ends at once where the norm is NaN, and at infinity by the NaN that follows.
                if not norm > tolerance**2 * start:
                    break
                iterations[b, k] += 1
                _multiply(direction, links[b], first, last, two, kappa, -1.0, middle, half, colors)
                _multiply(half, links[b], first, last, two, kappa, 1.0, middle, image, colors)
                # p†M p = |A†p|², whose rounding errors are smaller than those of the product itself.
                step = norm / (_product(half, half) + shift * _product(direction, direction))
                before, norm = norm, _advance(step, shift, direction, image, result[b, k], residual)
                _update(norm / before, residual, direction)
            if not np.isfinite(norm):
                result[b, k], residuals[b, k] = np.nan, np.nan
            elif start > 0.0:
                residuals[b, k] = np.sqrt(norm / start)
