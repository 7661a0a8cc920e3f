"""Layers that several networks share."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from torch import nn


def dense_layers(widths: Sequence[int]) -> list[nn.Module]:
    """Linear + ReLU layers of the given widths (fan-in first), ready to be followed by an output layer."""
    layers: list[nn.Module] = []
    for fan_in, fan_out in itertools.pairwise(widths):
        layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
    return layers
