"""Draws of an autoregressive state on a lattice, site after site, from what a network says of each."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from pipeline.spin.ansatz.pixelcnn.sector import Sector


class Rows(Protocol):
    """Activations of a network while it draws, row by row of the lattice.

    Attributes:
        spins: ±1, (B, length_x), the row that is being drawn; zeros behind its last site.
    """

    spins: Tensor

    def start(self, y: int) -> Tensor:
        """Begin row ``y`` with what the rows above it contribute; returns that part of the outputs, (length_x, B)."""
        ...

    def site(self, x: int, outputs: Tensor) -> Tensor:
        """The difference of the log-magnitudes of s = +1 and s = -1 at column ``x``, (B,); ``outputs`` of ``start``."""
        ...


def one_by_one(rows: Rows, length_y: int, length_x: int, sector: Sector | None, uniforms: Tensor) -> Tensor:
    """Configurations (B, N) int8 ±1, confined to a sector if there is one, from uniforms (B, N) float64."""
    # s = +1 where u < p(+1), with p(+1) = 1/(1 + exp(-2d)) for a difference d of log-magnitudes
    thresholds = 0.5 * torch.logit(uniforms).T.contiguous()
    up = rows.spins.new_ones(())
    down, drawn = -up, []
    ups = rows.spins.new_zeros(len(uniforms))
    for y in range(length_y):
        outputs = rows.start(y)
        for x in range(length_x):
            site, difference = y * length_x + x, rows.site(x, outputs)
            if sector is not None:
                difference = difference + sector.bias(ups, site)
            is_up = difference > thresholds[site]
            if sector is not None:
                ups += is_up
            rows.spins[:, x] = torch.where(is_up, up, down)
        drawn.append(rows.spins.to(torch.int8))
    return torch.cat(drawn, 1)
