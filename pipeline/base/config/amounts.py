"""What a unit of work needs at least, from its configuration alone (torch-free); see :mod:`pipeline.stages.amounts`.

Estimates are lower bounds, and floats: amounts may be absurd.
"""

from __future__ import annotations

WIDTHS = {"float32": 4.0, "float64": 8.0}
"""Bytes of a number."""

EMPTY_LAYER = 500.0
"""Numbers that would fit where a layer of a network keeps what is not its parameters."""

OPERATIONS_A_SECOND = 1e13
"""No machine here is faster on matrices of the size of a layer."""

SECONDS_A_CALL = 1e-4
"""Of an update of a network, forwards and backwards, whatever its size."""

RECORD_BYTES = 500.0
"""Of what is kept of a unit of inference."""


def states(size: int) -> float:
    """Number of states of ``size`` units of two states each, 2^N, as far as floats go."""
    return 2.0 ** min(size, 1000)
