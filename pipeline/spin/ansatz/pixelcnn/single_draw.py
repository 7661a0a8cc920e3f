"""Direct sampling of a PixelCNN with one branch at about the cost of one forward pass.

What the row above contributes to a row is convolved at once, in all layers; the taps of the row itself remain to be
done site by site, one small matrix product a layer.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from pipeline.spin.ansatz.pixelcnn import single_flips
from pipeline.spin.ansatz.pixelcnn.single_flips import REACH
from pipeline.spin.ansatz.pixelcnn.sites import one_by_one


class Convolutions(single_flips.Convolutions, Protocol):
    """Masked convolutions one after the other; see :class:`pipeline.spin.ansatz.pixelcnn.single.SinglePixelCNN`."""

    def biases(self) -> list[Tensor]:
        """Of each convolution."""
        ...


@torch.inference_mode()
def draw(network: Convolutions, uniforms: Tensor) -> Tensor:
    """Configurations (B, N) int8 ±1 from uniforms (B, N) float64, one a site."""
    rows = _Rows(network, len(uniforms), uniforms.device)
    return one_by_one(rows, network.length_y, network.length_x, network.sector, uniforms)


class _Rows:
    """What goes into every convolution in the row that is being drawn, channels last, zeros on both sides.

    Attributes:
        spins: (B, length_x), the row that is being drawn.
    """

    def __init__(self, network: Convolutions, batch: int, device: torch.device) -> None:
        self.depth = network.depth
        length, channels = network.length_x, [1] + [network.width] * (network.depth - 1)
        self.row = [torch.zeros(batch, length + 2 * REACH, c, dtype=network.dtype, device=device) for c in channels]
        self.spins = self.row[0][:, REACH : REACH + length, 0]
        self.slots = [[row[:, REACH + x] for x in range(length)] for row in self.row]
        self._pack(network, length)
        self.contributed: list[Tensor] = []

    def _pack(self, network: Convolutions, length: int) -> None:
        """Kernels as they are needed; the last one gives the difference of the two log-magnitudes alone."""
        self.upper, self.beside, self.bias = [], [], []
        for layer, (taps, bias) in enumerate(zip(network.taps(), network.biases(), strict=True)):
            weights = [tap.weight for tap in taps]
            if layer == self.depth - 1:
                weights, bias = [w[:, :1] - w[:, 1:2] for w in weights], bias[:1] - bias[1:2]
            self.upper.append(torch.cat(weights[: 2 * REACH + 1]))
            self.beside.append(torch.cat(weights[2 * REACH + 1 :]))
            self.bias.append(bias)
        # the first convolution does not look at the site itself
        seen = [REACH] + [REACH + 1] * (self.depth - 1)
        self.windows = [
            [row[:, x : x + n].flatten(1) for x in range(length)] for row, n in zip(self.row, seen, strict=True)
        ]
        self.above = [
            row.as_strided((length, len(row), (2 * REACH + 1) * row.shape[2]), (row.shape[2], row.stride(0), 1))
            for row in self.row
        ]

    def start(self, y: int) -> Tensor:
        """What row ``y - 1``, which is complete, contributes to row ``y``; of the outputs (length_x, B)."""
        length, batch = len(self.windows[0]), len(self.spins)
        if y == 0:
            self.contributed = [bias.expand(length, batch, -1) for bias in self.bias]
        else:
            self.contributed = [
                torch.baddbmm(bias, above, upper.expand(length, -1, -1))
                for bias, above, upper in zip(self.bias, self.above, self.upper, strict=True)
            ]
            # behind the site that is drawn there is nothing: its own row is not masked by the kernels' shape alone
            for row in self.row:
                row.zero_()
        return self.contributed[-1][..., 0]

    def site(self, x: int, outputs: Tensor) -> Tensor:
        """Finish column ``x`` of every layer; the difference of the log-magnitudes of s = +1 and s = -1, (B,)."""
        hidden: Tensor | None = None
        for layer in range(self.depth - 1):
            before = self.contributed[layer][x]
            if hidden is not None:
                before = before + hidden
            hidden = torch.addmm(before, self.windows[layer][x], self.beside[layer])
            torch.clamp(hidden, min=0, out=self.slots[layer + 1][x])
        return torch.addmv(outputs[x], self.windows[-1][x], self.beside[-1][:, 0])
