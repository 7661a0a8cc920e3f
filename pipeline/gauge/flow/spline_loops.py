"""Splines on the circle and their gradients, element by element (numba), for CPUs.

What :class:`pipeline.gauge.flow.transformation.CircularSpline` does in some fifty operations of torch, of which each is
over before a second thread has begun. Formulas as in :mod:`pipeline.gauge.flow.spline`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.base.run.compiled import njit
from pipeline.base.run.slices import in_slices
from pipeline.gauge.flow.spline import FLOOR, UNIT_SLOPE

LEAST = 16
"""Configurations of a thread."""

LINEAR_FROM = 20.0
"""Where torch takes softplus(x) for x."""

TURN = 2.0 * math.pi


def forward(loops: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
    """P' - P and log |dP'/dP| of angles (batch, n) from (3 bins + 1, batch, n), with gradients."""
    found: tuple[Tensor, Tensor] = _Forward.apply(loops, parameters)  # type: ignore[no-untyped-call]
    return found


class _Forward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, loops: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        loops, parameters = loops.contiguous(), parameters.contiguous()
        ctx.save_for_backward(loops, parameters)
        changes, logs = torch.empty_like(loops), torch.empty_like(loops)
        arrays = _arrays(loops, parameters, changes, logs)
        in_slices(len(loops), LEAST, lambda first, last: _map(*arrays, first, last))
        return changes, logs

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        loops, parameters = ctx.saved_tensors
        of_changes, of_logs = (gradient.contiguous() for gradient in gradients)
        of_loops, of_parameters = torch.empty_like(loops), torch.empty_like(parameters)
        arrays = _arrays(loops, parameters, of_changes, of_logs, of_loops, of_parameters)
        in_slices(len(loops), LEAST, lambda first, last: _gradients(*arrays, first, last))
        return of_loops, of_parameters


def _arrays(*tensors: Tensor) -> list[Any]:
    return [tensor.detach().numpy() for tensor in tensors]


@njit(inline="always")
def _shares(parameters, begin, bins, b, i, shares):  # type: ignore[no-untyped-def]
    """softmax."""
    largest = parameters[begin, b, i]
    for k in range(1, bins):
        # A comparison with what is no number is false, and the sum below none either.
        largest = parameters[begin + k, b, i] if parameters[begin + k, b, i] > largest else largest
    total = 0.0
    for k in range(bins):
        shares[k] = math.exp(parameters[begin + k, b, i] - largest)
        total += shares[k]
    for k in range(bins):
        shares[k] /= total


@njit(inline="always")
def _slope(parameter):  # type: ignore[no-untyped-def]
    raised = parameter + UNIT_SLOPE
    return FLOOR + (raised if raised > LINEAR_FROM else math.log1p(math.exp(raised)))


@njit(inline="always")
def _rate(parameter):  # type: ignore[no-untyped-def]
    """Derivative of :func:`_slope`."""
    return 1.0 / (1.0 + math.exp(-(parameter + UNIT_SLOPE)))


@njit(inline="always")
def _knots(shares, place, bins):  # type: ignore[no-untyped-def]
    """Both ends of a bin; the last one ends at exactly 1."""
    left = 0.0
    for k in range(place):
        left += FLOOR + (1.0 - FLOOR * bins) * shares[k]
    return left, left + FLOOR + (1.0 - FLOOR * bins) * shares[place] if place < bins - 1 else 1.0


@njit(inline="always")
def _find(x, shares, bins):  # type: ignore[no-untyped-def]
    """The bin that x is in."""
    place, knot = 0, FLOOR + (1.0 - FLOOR * bins) * shares[0]
    while place < bins - 1 and x >= knot:
        place += 1
        knot += FLOOR + (1.0 - FLOOR * bins) * shares[place]
    return place


@njit(inline="always")
def _bin(loop, parameters, bins, b, i, widths, heights):  # type: ignore[no-untyped-def]
    """Of an angle: itself, x, its bin, that one's ends and slopes there."""
    angle = (loop + math.pi) % TURN - math.pi
    x = angle / TURN + 0.5
    x = 0.0 if x < 0.0 else 1.0 if x > 1.0 else x
    _shares(parameters, 0, bins, b, i, widths)
    _shares(parameters, bins, bins, b, i, heights)
    place = _find(x, widths, bins)
    left, right = _knots(widths, place, bins)
    low, high = _knots(heights, place, bins)
    d_0 = _slope(parameters[2 * bins + place, b, i])
    d_1 = _slope(parameters[2 * bins + (place + 1) % bins, b, i])
    return angle, x, place, left, right, low, high, d_0, d_1


@njit(nogil=True, error_model="numpy")
def _map(loops, parameters, changes, logs, first, last):  # type: ignore[no-untyped-def]
    bins = len(parameters) // 3
    widths, heights = np.empty(bins, loops.dtype), np.empty(bins, loops.dtype)
    for b in range(first, last):
        for i in range(loops.shape[1]):
            found = _bin(loops[b, i], parameters, bins, b, i, widths, heights)
            angle, x, _, left, right, low, high, d_0, d_1 = found
            width, height = right - left, high - low
            slope, xi = height / width, (x - left) / width
            rest = 1.0 - xi
            both = xi * rest
            below = slope + (d_0 + d_1 - 2.0 * slope) * both
            moved = low + height * (slope * xi * xi + d_0 * both) / below
            above = slope * slope * (d_1 * xi * xi + 2.0 * slope * both + d_0 * rest * rest)
            changes[b, i] = (moved - 0.5) * TURN + parameters[3 * bins, b, i] - angle
            logs[b, i] = math.log(above) - 2.0 * math.log(below)


@njit(inline="always")
def _of_logits(shares, place, bins, of_begin, of_end, start, b, i, result):  # type: ignore[no-untyped-def]
    """From gradients of a bin's ends to those of softmax's arguments; the first knot and the last are fixed."""
    scale = 1.0 - FLOOR * bins
    of_end = of_end if place < bins - 1 else 0.0
    mean = 0.0
    for k in range(place + 1):
        mean += shares[k] * (of_end if k == place else of_begin + of_end)
    for k in range(bins):
        of_share = of_begin + of_end if k < place else of_end if k == place else 0.0
        result[start + k, b, i] = scale * shares[k] * (of_share - mean)


@njit(nogil=True, error_model="numpy")
def _gradients(  # type: ignore[no-untyped-def]
    loops, parameters, of_changes, of_logs, of_loops, of_parameters, first, last
):
    bins = len(parameters) // 3
    widths, heights = np.empty(bins, loops.dtype), np.empty(bins, loops.dtype)
    for b in range(first, last):
        for i in range(loops.shape[1]):
            found = _bin(loops[b, i], parameters, bins, b, i, widths, heights)
            _, x, place, left, right, low, high, d_0, d_1 = found
            of_moved, of_log = TURN * of_changes[b, i], of_logs[b, i]
            width, height = right - left, high - low
            slope, xi = height / width, (x - left) / width
            rest = 1.0 - xi
            both, turn, bend = xi * rest, rest - xi, d_0 + d_1 - 2.0 * slope
            n, d = slope * xi * xi + d_0 * both, slope + bend * both
            p = d_1 * xi * xi + 2.0 * slope * both + d_0 * rest * rest
            rate, log_rate = slope * p / (d * d), 2.0 * ((d_1 * xi + slope * turn - d_0 * rest) / p - bend * turn / d)
            fraction, turn_2 = n / d, 1.0 - 2.0 * both
            of_xi = (of_moved * height * rate + of_log * log_rate) / width
            up, log_p, log_d = of_moved * height / d, of_log / p, 2.0 * of_log / d
            of_bend = (up * fraction + log_d) * both
            of_slope = up * (xi * xi - fraction * turn_2) + 2.0 * (of_log / slope + log_p * both) - log_d * turn_2
            of_slope = of_slope / width
            of_height, of_width = of_moved * fraction + of_slope, -of_slope * slope - of_xi * xi
            _of_logits(widths, place, bins, -of_xi - of_width, of_width, 0, b, i, of_parameters)
            _of_logits(heights, place, bins, of_moved - of_height, of_height, bins, b, i, of_parameters)
            for k in range(2 * bins, 3 * bins):
                of_parameters[k, b, i] = 0.0
            at, after = 2 * bins + place, 2 * bins + (place + 1) % bins
            of_parameters[at, b, i] += (up * both + log_p * rest * rest - of_bend) * _rate(parameters[at, b, i])
            of_parameters[after, b, i] += (log_p * xi * xi - of_bend) * _rate(parameters[after, b, i])
            of_parameters[3 * bins, b, i] = of_changes[b, i]
            of_loops[b, i] = of_xi / TURN - of_changes[b, i]
