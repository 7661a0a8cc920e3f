"""Monotonic rational-quadratic splines on the unit interval and on the circle.

Durkan et al., Neural Spline Flows, NeurIPS 2019 (arXiv:1906.04032), Eqs. 4-8; on the circle Rezende et al., ICML 2020
(arXiv:2002.02428): the slopes at the two ends are one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

FLOOR = 1e-3
"""Smallest width and height of a bin, of a total of 1, and smallest slope at a knot: what keeps the map invertible."""

UNIT_SLOPE = math.log(math.expm1(1.0 - FLOOR))
"""Where softplus(x) + FLOOR = 1: parameters that are all zero make the identity."""


@dataclass(frozen=True)
class Spline:
    """Increasing maps of [0, 1] onto itself, one for each element of the trailing shape.

    Between knots k and k+1, at the fraction ξ of the bin and with s = h/w its mean slope, the map is
    y_k + h [s ξ² + d_k ξ(1-ξ)] / [s + (d_k + d_{k+1} - 2s) ξ(1-ξ)].

    Attributes:
        knots: (3, bins + 1, ...): x and y, from 0 to 1, and slopes, positive.
    """

    knots: Tensor

    @property
    def x(self) -> Tensor:
        """(bins + 1, ...)."""
        return self.knots[0]

    @property
    def y(self) -> Tensor:
        """(bins + 1, ...)."""
        return self.knots[1]

    @property
    def slopes(self) -> Tensor:
        """At the knots, (bins + 1, ...)."""
        return self.knots[2]

    @staticmethod
    def interval(parameters: Tensor) -> Spline:
        """From unconstrained numbers (3 bins + 1, ...): widths and heights (softmax), slopes (softplus)."""
        bins = len(parameters) // 3
        sizes, slopes = parameters.split([2 * bins, bins + 1])
        return Spline(torch.cat([_positions(sizes.unflatten(0, (2, bins))), _slopes(slopes).unsqueeze(0)]))

    @staticmethod
    def circle(parameters: Tensor) -> Spline:
        """From unconstrained numbers (3 bins, ...), the last slope being the first: smooth where 1 meets 0."""
        bins = len(parameters) // 3
        sizes, free = parameters.split([2 * bins, bins])
        slopes = _slopes(free)
        slopes = torch.cat([slopes, slopes[:1]])
        return Spline(torch.cat([_positions(sizes.unflatten(0, (2, bins))), slopes.unsqueeze(0)]))

    def forward(self, x: Tensor, *, clamped: bool = False) -> tuple[Tensor, Tensor]:
        """y and log dy/dx.

        Args:
            x: (...), in [0, 1].
            clamped: that is known. To look would make an accelerator wait.

        Raises:
            ValueError: see :func:`check_domain`.
        """
        if not clamped:
            check_domain(x)
        return self._map(x, False)

    def inverse(self, y: Tensor, *, clamped: bool = False) -> tuple[Tensor, Tensor]:
        """x and log dx/dy: the root of a quadratic equation in ξ, in that of its two forms which does not cancel.

        Args:
            y: (...), in [0, 1].
            clamped: see :meth:`forward`.

        Raises:
            ValueError: see :func:`check_domain`.
        """
        if not clamped:
            check_domain(y)
        return self._map(y, True)

    def _map(self, value: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
        found: tuple[Tensor, Tensor] = _Map.apply(value, self.knots, inverse)  # type: ignore[no-untyped-call]
        return found


def check_domain(values: Tensor) -> None:
    """Refuse values that a spline does not map; NaN passes, to be met where it comes from.

    Raises:
        ValueError: naming the first value that is not in [0, 1].
    """
    outside = (values < 0.0) | (values > 1.0)
    if outside.any():
        raise ValueError(f"a spline maps [0, 1]; {values[outside][0].item():g} is outside")


def _positions(logits: Tensor) -> Tensor:
    """0, cumulative sums of softmax with a floor, and exactly 1: (2, bins, ...) -> (2, bins + 1, ...)."""
    bins = logits.shape[1]
    parts = FLOOR + (1.0 - FLOOR * bins) * logits.softmax(dim=1)
    ends = torch.zeros_like(logits[:, :1])
    return torch.cat([ends, parts[:, :-1].cumsum(dim=1), ends + 1.0], dim=1)


def _slopes(parameters: Tensor) -> Tensor:
    return FLOOR + functional.softplus(parameters + UNIT_SLOPE)


class _Map(torch.autograd.Function):
    """The map and log of its slope, or the inverse map and log of its own; differentiable once."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, knots: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
        position = (value >= knots[1 if inverse else 0, 1:-1]).sum(dim=0)
        both_ends = torch.stack([position, position + 1])
        (left, right), (low, high), (d_0, d_1) = knots.gather(1, both_ends.expand(3, *both_ends.shape))
        width, height = right - left, high - low
        slope = height / width
        if inverse:
            xi = _root((value - low) / height, slope, d_0, d_1)
            moved = left + width * xi
        else:
            xi = (value - left) / width
            moved = low + _rise(xi, slope, height, d_0, d_1)
        log_slope = _log_slope(xi, slope, d_0, d_1)
        ctx.save_for_backward(xi, slope, width, d_0, d_1, both_ends)
        ctx.inverse, ctx.shape = inverse, knots.shape
        return moved, -log_slope if inverse else log_slope

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        xi, slope, width, d_0, d_1, both_ends = ctx.saved_tensors
        of_moved, of_log = gradients
        of_value, of_ends = _gradients(xi, slope, width, d_0, d_1, of_moved, of_log, ctx.inverse)
        of_knots = of_ends.new_zeros(ctx.shape).scatter_add_(1, both_ends.expand(of_ends.shape), of_ends)
        return of_value, of_knots, None


def _root(rise: Tensor, slope: Tensor, d_0: Tensor, d_1: Tensor) -> Tensor:
    """ξ where the map has risen to a fraction ``rise`` of the bin's height."""
    bend = rise * (d_0 + d_1 - 2.0 * slope)
    a, b, c = slope - d_0 + bend, d_0 - bend, -slope * rise
    root = (b.square() - 4.0 * a * c).clamp(min=0.0).sqrt()
    falls = b < 0.0
    return torch.where(falls, root - b, -2.0 * c) / torch.where(falls, 2.0 * a, b + root)


def _rise(xi: Tensor, slope: Tensor, height: Tensor, d_0: Tensor, d_1: Tensor) -> Tensor:
    """h [s ξ² + d_k ξ(1-ξ)] / [s + (d_k + d_{k+1} - 2s) ξ(1-ξ)]."""
    both = xi * (1.0 - xi)
    return height * (slope * xi.square() + d_0 * both) / (slope + (d_0 + d_1 - 2.0 * slope) * both)


def _log_slope(xi: Tensor, slope: Tensor, d_0: Tensor, d_1: Tensor) -> Tensor:
    """log of s² [d_{k+1} ξ² + 2 s ξ(1-ξ) + d_k (1-ξ)²] / [s + (d_k + d_{k+1} - 2s) ξ(1-ξ)]²."""
    rest = 1.0 - xi
    both = xi * rest
    numerator = slope.square() * (d_1 * xi.square() + 2.0 * slope * both + d_0 * rest.square())
    return numerator.log() - 2.0 * (slope + (d_0 + d_1 - 2.0 * slope) * both).log()


def _gradients(
    xi: Tensor,
    slope: Tensor,
    width: Tensor,
    d_0: Tensor,
    d_1: Tensor,
    of_moved: Tensor,
    of_log: Tensor,
    inverse: bool,
) -> tuple[Tensor, Tensor]:
    """Gradients of the argument and of x, y and slope at both ends of its bin, (3, 2, ...).

    Written with N and D of the map low + h N/D and P of its slope s²P/D²: fewer operations than the chain has.
    """
    rest = 1.0 - xi
    both, turn, bend = xi * rest, rest - xi, d_0 + d_1 - 2.0 * slope
    xi_2, rest_2 = xi.square(), rest.square()
    n, d = slope * xi_2 + d_0 * both, slope + bend * both
    p = d_1 * xi_2 + 2.0 * slope * both + d_0 * rest_2
    # of the map and of its logarithmic slope by ξ
    rate, log_rate = slope * p / d.square(), 2.0 * ((d_1 * xi + slope * turn - d_0 * rest) / p - bend * turn / d)
    height, fraction, turn_2 = slope * width, n / d, 1.0 - 2.0 * both
    if inverse:
        # x(y) is implicit in y = f(x): gradients of f with those of its value that keep it.
        of_log = -of_log
        of_value = (of_moved + of_log * log_rate / width) / (slope * rate)
        of_moved = -of_value
    of_xi = (of_moved * height * rate + of_log * log_rate) / width
    up, log_p, log_d = of_moved * height / d, of_log / p, 2.0 * of_log / d
    of_bend = (up * fraction + log_d) * both
    of_d_0, of_d_1 = up * both + log_p * rest_2 - of_bend, log_p * xi_2 - of_bend
    of_slope = up * (xi_2 - fraction * turn_2) + 2.0 * (of_log / slope + log_p * both) - log_d * turn_2
    of_slope = of_slope / width
    of_height, of_width = of_moved * fraction + of_slope, -of_slope * slope - of_xi * xi
    ends = [-of_xi - of_width, of_width, of_moved - of_height, of_height, of_d_0, of_d_1]
    return of_value if inverse else of_xi, torch.stack(ends).unflatten(0, (3, 2))
