"""Layers that several networks share."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


def dense_layers(widths: Sequence[int]) -> list[nn.Module]:
    """Linear + ReLU layers of the given widths (fan-in first), ready to be followed by an output layer."""
    layers: list[nn.Module] = []
    for fan_in, fan_out in itertools.pairwise(widths):
        layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
    return layers


def activation(name: str) -> nn.Module:
    """The activation that configurations call ``name``."""
    return {"relu": nn.ReLU, "gelu": nn.GELU}[name]()


class RowNorm(nn.LayerNorm):
    """Layer norm of the last axis, on a GPU by products and sums over whole tensors.

    torch's own kernel there gives a block of threads to each row, however short: it took 40 % of a step of a ViT whose
    rows have 72 features.
    """

    computes = nn.LayerNorm
    """What reconfiguration may take it for: it is no other function, see :mod:`pipeline.spin.sr.layers`."""

    def forward(self, input: Tensor) -> Tensor:
        """(..., d) → (..., d)."""
        return standardised(input, self.eps) * self.weight + self.bias if input.is_cuda else super().forward(input)


def standardised(x: Tensor, eps: float) -> Tensor:
    """(x - mean)/√(variance + ``eps``) of the last axis, in plain operations."""
    centred = x - x.mean(-1, keepdim=True)
    return centred * (centred.square().mean(-1, keepdim=True) + eps).rsqrt()


def log_cosh(real: Tensor, imaginary: Tensor) -> Tensor:
    """log cosh(u + iv) = |u| - ln 2 + log[(1 + e) cos v ± i (1 - e) sin v], e = exp(-2|u|), ± the sign of u.

    In real arithmetic: nothing overflows, neither the value nor its derivative tanh(u + iv), and the phase is the
    argument of cosh itself, in (-π, π].

    Args:
        real, imaginary: u and v, of one shape and dtype.

    Returns:
        Complex, of the same shape and precision; -∞ at the zeros ±iπ/2, ±3iπ/2, ... of cosh, as far as v meets them.
    """
    # not sign(u), whose zero at u = 0 would be lost in the derivatives of e and |u|
    sign = torch.where(real < 0, -1.0, 1.0).to(real.dtype)
    magnitude = sign * real
    e = torch.exp(-2.0 * magnitude)
    x, y = (1.0 + e) * imaginary.cos(), sign * (1.0 - e) * imaginary.sin()
    return torch.complex(magnitude - math.log(2.0) + 0.5 * (x * x + y * y).log(), torch.atan2(y, x))
