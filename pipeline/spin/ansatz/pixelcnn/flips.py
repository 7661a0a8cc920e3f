"""Amplitudes of flipped configurations of a PixelCNN: only what a flip changes is convolved again.

Flipped sites in a box of the lattice change a box of the outputs of each convolution, which grows from block to block:
downwards, to both sides in the vertical branch, to the right in the horizontal one. Convolutions are linear, so that
the change of their outputs is the convolution of the change of their inputs, which vanishes around the box.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.spin.ansatz.pixelcnn.changes import CACHED_VALUES, Box, Outputs, Relu, evaluate, image_of, part
from pipeline.spin.ansatz.pixelcnn.convolutions import Convolutions

FEW = 4
"""Output channels up to which a product of matrices is faster: convolutions on a CPU make 16 at once."""


class Cone(NamedTuple):
    """Boxes that change: ``flips`` themselves, then in every block the outputs of both convolutions."""

    flips: Box
    vertical: list[Box]
    horizontal: list[Box]


def cone(flips: Box, depth: int, length_y: int, length_x: int) -> Cone:
    """What sites flipped inside ``flips`` can change in a network of ``depth`` blocks.

    The last row of the vertical branch is left out, since nothing depends on it.
    """
    found = Cone(flips, [], [])
    vertical = flips._replace(bottom=min(flips.bottom, length_y - 1))
    horizontal = flips
    for _ in range(depth):
        t, b, le, r = vertical
        vertical = Box(t, min(b + 2, length_y - 1) if b > t else t, max(le - 1, 0), min(r + 1, length_x))
        t, b, le, r = horizontal
        horizontal = Box(t, min(b + 2, length_y), le, min(r + 2, length_x))
        t, b, le, r = vertical
        below = Box(t + 1, min(b + 3, length_y) if b > t else t + 1, le, min(r + 2, length_x))
        horizontal = horizontal.join(below)
        found.vertical.append(vertical)
        found.horizontal.append(horizontal)
    return found


class _Base(NamedTuple):
    """Configurations before any flip: what goes into the ReLUs of both branches, and the outputs."""

    vertical: list[Relu]
    horizontal: list[Relu]
    outputs: Outputs


class _Patch(NamedTuple):
    """Values (y, x, B, channel) on a box of the lattice, out of which it may reach."""

    values: Tensor
    top: int
    left: int

    def box(self) -> Box:
        height, width = self.values.shape[:2]
        return Box(self.top, self.top + height, self.left, self.left + width)

    def on(self, box: Box) -> Tensor:
        """A view of the part in ``box``."""
        top, bottom, left, right = box
        return self.values[top - self.top : bottom - self.top, left - self.left : right - self.left]

    def add(self, other: _Patch) -> None:
        """Add ``other`` where it overlaps."""
        common = self.box().meet(other.box())
        self.on(common).add_(other.on(common))


class _Kernels(NamedTuple):
    """Weights of the first vertical convolution; then of each block: of what looks at the outputs of its vertical one,
    its own horizontal convolution first and the next vertical one behind, and of what looks at horizontal channels.
    """

    first: Tensor
    below: list[Tensor]
    beside: list[Tensor]


@torch.inference_mode()
def connected_log_amplitudes(network: Convolutions, spins: Tensor, masks: Tensor, wanted: Tensor | None) -> Tensor:
    """log ψ with the sites of every mask flipped, (B, N), (K, N) bool → (B, K); arbitrary where not ``wanted``."""
    chunk = CACHED_VALUES // (4 * network.depth * network.width * spins.shape[1])
    return evaluate(
        network,
        spins,
        masks,
        wanted,
        chunk,
        partial(cone, depth=network.depth, length_y=network.length_y, length_x=network.length_x),
        partial(_base, network),
        partial(_flipped, network, _kernels(network)),
    )


def _kernels(network: Convolutions) -> _Kernels:
    kernels = network.kernels()
    first, below, beside = _channels_last(kernels[0][0]), [], []
    for block, (vertical, _, horizontal, _) in enumerate(kernels):
        previous = horizontal.shape[1] - len(vertical)
        following = [kernel[0] for kernel in kernels[block + 1 : block + 2]]
        below.append(_channels_last(torch.cat([horizontal[:, previous:], *following])))
        beside.append(_channels_last(horizontal[:, :previous]))
    return _Kernels(first, below, beside)


def _channels_last(weight: Tensor) -> Tensor:
    return weight.contiguous(memory_format=torch.channels_last)


def _base(network: Convolutions, spins: Tensor) -> _Base:
    image = image_of(network, spins)
    layers, outputs = [], image
    for values in network.layers(spins):
        outputs = values.permute(2, 3, 0, 1).contiguous()
        layers.append(Relu.of(outputs))
    return _Base(layers[::2], layers[1:-1:2], Outputs.of(network.sector, outputs, image))


def _flipped(
    network: Convolutions, kernels: _Kernels, base: _Base, sign: Tensor, plan: Cone, rows: Tensor | None
) -> Tensor:
    """log ψ of flipped configurations: of all those of ``base`` or of ``rows`` (b,) of them."""
    flips = base.outputs.flips(sign, plan.flips, rows)
    horizontal, vertical = _Patch(flips, plan.flips.top, plan.flips.left), None
    if plan.flips.top < network.length_y - 1:
        above = horizontal._replace(values=flips[: network.length_y - 1 - plan.flips.top])
        vertical = _convolve(above, kernels.first, 0, -1)
    for block in range(network.depth):
        last, box = block == network.depth - 1, plan.horizontal[block]
        before = part(base.outputs.values if last else base.horizontal[block].low, box, rows)
        values = _Patch(before.clone() if rows is None else before, box.top, box.left)
        values.add(_convolve(horizontal, kernels.beside[block], 0, 0))
        if vertical is not None:
            seen = plan.vertical[block]
            change = _Patch(base.vertical[block].change(vertical.on(seen), seen, rows), seen.top, seen.left)
            # where the horizontal branch sees it, shifted down by one row; the next vertical one is not shifted, and
            # looks a column further to the right
            both = _convolve(change, kernels.below[block], 1, 0)
            channels = values.values.shape[-1]
            values.add(both._replace(values=both.values[..., :channels]))
            vertical = _Patch(both.values[..., channels:], both.top - 1, both.left - 1)
        horizontal = values
        if not last:
            torch.maximum(values.values, part(base.horizontal[block].high, box, rows), out=values.values)
    return base.outputs.log_amplitude(network.sector, horizontal.values, sign, box, rows)


def _in_lines(values: Tensor) -> bool:
    """Whether columns and configurations are convolved as one long axis, dilated: a CPU fills its vectors better so.

    Only single precision has such a kernel; others would copy every value for each of its nine taps.
    """
    return values.dtype == torch.float32 and values.device.type == "cpu"


def _convolve(change: _Patch, weight: Tensor, down: int, right: int) -> _Patch:
    """All outputs that look at ``change``; the first of them is ``down`` and ``right`` of its own first value."""
    values, size = change.values, weight.shape[-1]
    top, left = change.top + down, change.left + right
    height, width, batch, channels = values.shape
    shape = (height + size - 1, width + size - 1, batch, len(weight))
    if len(weight) > FEW:
        if not _in_lines(values):
            outputs = functional.conv2d(values.permute(2, 3, 0, 1), weight, padding=size - 1)
            return _Patch(outputs.permute(2, 3, 0, 1), top, left)
        line = values.reshape(1, height, width * batch, channels).permute(0, 3, 1, 2)
        outputs = functional.conv2d(line, weight, padding=(size - 1, batch * (size - 1)), dilation=(1, batch))
        return _Patch(outputs.permute(0, 2, 3, 1).reshape(shape), top, left)
    taps = weight.permute(0, 2, 3, 1).reshape(-1, channels) @ values.reshape(-1, channels).T
    taps = taps.reshape(len(weight), size, size, height, width, batch)
    outputs = taps.new_zeros(len(weight), *shape[:3])
    for y in range(size):
        for x in range(size):
            # output y looks with tap t at input y - (size - 1) + t
            to = (slice(None), slice(size - 1 - y, size - 1 - y + height), slice(size - 1 - x, size - 1 - x + width))
            outputs[to] += taps[:, y, x]
    return _Patch(outputs.permute(1, 2, 3, 0), top, left)
