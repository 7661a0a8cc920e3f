"""Monotonic rational-quadratic splines on the unit interval and on the circle.

Durkan et al., Neural Spline Flows, NeurIPS 2019 (arXiv:1906.04032), Eqs. 4-8; on the circle Rezende et al., ICML 2020
(arXiv:2002.02428): the slopes at the two ends are one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

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
        x, y: knots, (bins + 1, ...), from 0 to 1.
        slopes: at the knots, positive, (bins + 1, ...).
    """

    x: Tensor
    y: Tensor
    slopes: Tensor

    @staticmethod
    def interval(parameters: Tensor) -> Spline:
        """From unconstrained numbers (3 bins + 1, ...): widths and heights (softmax), slopes (softplus)."""
        return Spline._of(parameters, (len(parameters) - 1) // 3)

    @staticmethod
    def circle(parameters: Tensor) -> Spline:
        """From unconstrained numbers (3 bins, ...), the last slope being the first: smooth where 1 meets 0."""
        bins = len(parameters) // 3
        return Spline._of(torch.cat([parameters, parameters[2 * bins : 2 * bins + 1]]), bins)

    @staticmethod
    def _of(parameters: Tensor, bins: int) -> Spline:
        widths, heights, slopes = parameters.split([bins, bins, bins + 1])
        return Spline(_knots(widths), _knots(heights), FLOOR + functional.softplus(slopes + UNIT_SLOPE))

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
        left, width, low, height, d_0, d_1 = self._bin(self.x, x)
        slope = height / width
        xi = (x - left) / width
        return _value(xi, slope, low, height, d_0, d_1), _log_derivative(xi, slope, d_0, d_1)

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
        left, width, low, height, d_0, d_1 = self._bin(self.y, y)
        slope = height / width
        rise = (y - low) / height
        bend = rise * (d_0 + d_1 - 2.0 * slope)
        a, b, c = slope - d_0 + bend, d_0 - bend, -slope * rise
        root = (b.square() - 4.0 * a * c).clamp(min=0.0).sqrt()
        falls = b < 0.0
        xi = torch.where(falls, root - b, -2.0 * c) / torch.where(falls, 2.0 * a, b + root)
        return left + width * xi, -_log_derivative(xi, slope, d_0, d_1)

    def _bin(self, knots: Tensor, value: Tensor) -> tuple[Tensor, ...]:
        """Left end, width, low end, height and both slopes of the bin of ``value`` among ``knots`` (x or y)."""
        position = (value.detach() >= knots.detach()[1:-1]).sum(dim=0, keepdim=True)

        def at(values: Tensor, where: Tensor) -> Tensor:
            return values.gather(0, where).squeeze(0)

        after = position + 1
        left, low = at(self.x, position), at(self.y, position)
        width, height = at(self.x, after) - left, at(self.y, after) - low
        return left, width, low, height, at(self.slopes, position), at(self.slopes, after)


def check_domain(values: Tensor) -> None:
    """Refuse values that a spline does not map; NaN passes, to be met where it comes from.

    Raises:
        ValueError: naming the first value that is not in [0, 1].
    """
    outside = (values < 0.0) | (values > 1.0)
    if outside.any():
        raise ValueError(f"a spline maps [0, 1]; {values[outside][0].item():g} is outside")


def _knots(logits: Tensor) -> Tensor:
    """0, cumulative sums of softmax with a floor, and exactly 1: (bins, ...) -> (bins + 1, ...)."""
    bins = len(logits)
    parts = FLOOR + (1.0 - FLOOR * bins) * logits.softmax(dim=0)
    ends = torch.zeros_like(logits[:1])
    return torch.cat([ends, parts[:-1].cumsum(dim=0), ends + 1.0])


def _value(xi: Tensor, slope: Tensor, low: Tensor, height: Tensor, d_0: Tensor, d_1: Tensor) -> Tensor:
    both = xi * (1.0 - xi)
    return low + height * (slope * xi.square() + d_0 * both) / (slope + (d_0 + d_1 - 2.0 * slope) * both)


def _log_derivative(xi: Tensor, slope: Tensor, d_0: Tensor, d_1: Tensor) -> Tensor:
    """log of s² [d_{k+1} ξ² + 2 s ξ(1-ξ) + d_k (1-ξ)²] / [s + (d_k + d_{k+1} - 2s) ξ(1-ξ)]²."""
    rest = 1.0 - xi
    both = xi * rest
    numerator = slope.square() * (d_1 * xi.square() + 2.0 * slope * both + d_0 * rest.square())
    return numerator.log() - 2.0 * (slope + (d_0 + d_1 - 2.0 * slope) * both).log()
