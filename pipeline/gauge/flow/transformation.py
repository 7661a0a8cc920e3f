"""How one loop of a coupling layer is changed, given parameters: neither masks nor networks are known here."""

from __future__ import annotations

import importlib.util
import math
from typing import Protocol

from torch import Tensor

from pipeline.gauge import u1
from pipeline.gauge.flow.spline import Spline


class Transformation(Protocol):
    """A bijection of conjugacy classes of the group, lifted to the group: L -> L' with (ΩLΩ†)' = Ω L' Ω†.

    What is returned is the change C = L' L†, by which the link that the loop begins with is to be multiplied.
    """

    @property
    def parameters(self) -> int:
        """Real parameters a loop; zeros make the identity."""
        ...

    def forward(self, loops: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """C and log J, the logarithm of the density of L' with respect to L under the Haar measure.

        Args:
            loops: one element of the group each, (..., *element).
            parameters: (:attr:`parameters`, ...), of the real dtype of ``loops``.

        Returns:
            (..., *element) and (...).
        """
        ...

    def inverse(self, loops: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """L L'† and -log J from L'."""
        ...


class CircularSpline:
    """A spline on the circle and a rotation after it, for U(1): angles in radians, changes P' - P in radians.

    Args:
        bins: of the spline.
    """

    def __init__(self, bins: int) -> None:
        self.parameters = 3 * bins + 1
        """Widths, heights and slopes of the bins, and the rotation."""

    def forward(self, loops: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """P' - P and log |dP'/dP|."""
        if compiled(loops):
            from pipeline.gauge.flow import spline_loops

            return spline_loops.forward(loops, parameters)
        spline, shift = self._parts(parameters)
        angle = u1.wrap(loops)
        moved, log_slope = spline.forward(_to_unit(angle), clamped=True)
        return _to_angle(moved) + shift - angle, log_slope

    def inverse(self, loops: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """P - P' and log |dP/dP'|."""
        spline, shift = self._parts(parameters)
        angle = u1.wrap(loops - shift)
        moved, log_slope = spline.inverse(_to_unit(angle), clamped=True)
        return _to_angle(moved) - angle - shift, log_slope

    def _parts(self, parameters: Tensor) -> tuple[Spline, Tensor]:
        return Spline.circle(parameters[:-1]), parameters[-1]


def compiled(loops: Tensor) -> bool:
    """Whether loops compiled by numba do the work of many angles, (batch, n): on a CPU that has numba."""
    many = loops.ndim == 2 and loops.device.type == "cpu"
    return many and importlib.util.find_spec("numba") is not None


def _to_unit(angle: Tensor) -> Tensor:
    # Rounding may lead past the ends.
    return (angle / (2.0 * math.pi) + 0.5).clamp(0.0, 1.0)


def _to_angle(unit: Tensor) -> Tensor:
    return (unit - 0.5) * (2.0 * math.pi)
