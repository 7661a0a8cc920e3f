"""Direct sampling of a PixelCNN at about the cost of one forward pass.

What depends on finished rows is convolved for a whole row at once: the vertical branch, and those parts of the
horizontal convolutions that look at shifted vertical channels or at the two rows above. Only the three taps of each
horizontal convolution in the row itself remain to be done site by site, one small matrix product a layer.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.spin.ansatz.pixelcnn.convolutions import Convolutions
from pipeline.spin.ansatz.pixelcnn.sites import one_by_one

LEFT = 2
"""Columns of zeros on the left of every row; rows of the vertical branch have one on the right as well."""


@torch.inference_mode()
def draw(network: Convolutions, uniforms: Tensor) -> Tensor:
    """Configurations (B, N) int8 ±1 from uniforms (B, N) float64, one a site."""
    rows = _Rows(network, len(uniforms), uniforms.device)
    return one_by_one(rows, network.length_y, network.length_x, network.sector, uniforms)


class _Rows:
    """Activations of the row that is being drawn and of those above it that it depends on, channels last.

    Attributes:
        spins: (B, length_x), the row that is being drawn.
    """

    def __init__(self, network: Convolutions, batch: int, device: torch.device) -> None:
        self.length, self.depth = network.length_x, network.depth
        self.channels = [1] + [network.width] * (network.depth - 1)

        def zeros(*shape: int) -> Tensor:
            return torch.zeros(batch, *shape, dtype=network.dtype, device=device)

        width = LEFT + self.length
        # row y lies in slot y % 3 of the vertical branch and in slot y % 2 of the horizontal one
        self.vertical = [zeros(3, width + 1, c) for c in (*self.channels, network.width)]
        self.above = [zeros(2, width, c) for c in self.channels]
        self.row = [zeros(width, c) for c in self.channels]
        self.spins = self.row[0][:, LEFT:, 0]
        self.slots = [[row[:, LEFT + x] for x in range(self.length)] for row in self.row]
        self.windows = [[row[:, x : x + 3].flatten(1) for x in range(self.length)] for row in self.row]
        self._pack(network)

    def _pack(self, network: Convolutions) -> None:
        """Kernels as they are needed; the last block gives the difference of the two log-magnitudes alone."""
        kernels = network.kernels()
        self.first_vertical, self.joint = _slotted(kernels[0][0]), []
        self.upper, self.taps, self.bias, self.vertical_bias = [], [], [], [kernel[1] for kernel in kernels]
        for block, (_, _, weight, bias) in enumerate(kernels):
            if block == self.depth - 1:
                weight, bias = weight[:1] - weight[1:2], bias[:1] - bias[1:2]
            c = self.channels[block]
            # two convolutions look at the same three rows of the vertical branch
            both = [weight[:, c:]] + [kernel[0] for kernel in kernels[block + 1 : block + 2]]
            self.joint.append(_slotted(torch.cat(both)))
            self.upper.append(_slotted(weight[:, :c, :2]))
            self.taps.append(weight[:, :c, 2].permute(2, 1, 0).reshape(3 * c, -1).contiguous())
            self.bias.append(bias)

    def start(self, y: int) -> Tensor:
        """Begin row ``y`` with what the rows above it contribute; returns that part of the outputs, (length_x, B)."""
        biases = [bias.expand(len(self.spins), self.length, -1) for bias in self.bias]
        above = self._from_above(y) if y else biases
        for row, contribution in zip(self.row[1:], above, strict=False):
            row[:, LEFT:] = contribution
        return above[-1][..., 0].T.contiguous()

    def _from_above(self, y: int) -> list[Tensor]:
        """Bias, shifted vertical channels and the two rows above, for every horizontal convolution of row ``y``."""
        for rows, row in zip(self.above, self.row, strict=True):
            rows[:, (y - 1) % 2] = row
        self.vertical[0][:, (y - 1) % 3, LEFT:-1, 0] = self.spins
        vertical = _convolve(self.vertical[0][:, :, 1:], self.first_vertical[y % 3], self.vertical_bias[0])
        found = []
        for block, bias in enumerate(self.bias):
            rows = self.vertical[block + 1]
            rows[:, (y - 1) % 3, LEFT:-1] = vertical.relu_()
            both = _convolve(rows, self.joint[block][y % 3])
            upper = _convolve(self.above[block], self.upper[block][y % 2], bias)
            found.append(upper.add_(both[:, :-1, : len(bias)]))
            if block < self.depth - 1:
                # a window that begins at column c-1 is that of the vertical branch at column c
                vertical = both[:, 1:, len(bias) :] + self.vertical_bias[block + 1]
        return found

    def site(self, x: int, outputs: Tensor) -> Tensor:
        """Finish column ``x`` of every layer; the difference of the log-magnitudes of s = +1 and s = -1, (B,)."""
        for block in range(1, self.depth):
            self.slots[block][x].addmm_(self.windows[block - 1][x], self.taps[block - 1]).relu_()
        return torch.addmv(outputs[x], self.windows[-1][x], self.taps[-1][:, 0])


def _slotted(weight: Tensor) -> list[Tensor]:
    """``weight`` (out, in, rows, 3) for each row that may be drawn, modulo rows: its rows in the order of the slots."""
    rows = weight.shape[2]
    orders = [[(slot - y) % rows for slot in range(rows)] for y in range(rows)]
    return [weight[:, :, order].contiguous(memory_format=torch.channels_last) for order in orders]


def _convolve(rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """One row from as many as ``weight`` is high: (B, rows, x, channel) → (B, x, channel)."""
    return functional.conv2d(rows.permute(0, 3, 1, 2), weight, bias)[:, :, 0].transpose(1, 2)
