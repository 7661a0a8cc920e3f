"""Amplitudes of flipped configurations of a PixelCNN: only what a flip changes is convolved again.

Flipped sites in a box of the lattice change a box of the outputs of each convolution, which grows from block to block:
downwards, to both sides in the vertical branch, to the right in the horizontal one. Convolutions are linear, so that
the change of their outputs is the convolution of the change of their inputs, which vanishes around the box.

Arrays are (y, x, configuration, channel): a box of the lattice then consists of few long pieces of memory.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.spin.ansatz.conditionals import choose
from pipeline.spin.ansatz.pixelcnn.convolutions import Convolutions

CACHED_VALUES = 2**27
"""Activations of unflipped configurations that are held at once, in numbers."""

FEW = 4
"""Output channels up to which a product of matrices is faster: convolutions on a CPU make 16 at once."""


class Box(NamedTuple):
    """Rows top..bottom-1 and columns left..right-1 of the lattice; empty if top >= bottom."""

    top: int
    bottom: int
    left: int
    right: int

    def join(self, other: Box) -> Box:
        """The smallest box around both."""
        if other.top >= other.bottom:
            return self
        return Box(
            min(self.top, other.top),
            max(self.bottom, other.bottom),
            min(self.left, other.left),
            max(self.right, other.right),
        )

    def meet(self, other: Box) -> Box:
        """What lies in both."""
        return Box(
            max(self.top, other.top),
            min(self.bottom, other.bottom),
            max(self.left, other.left),
            min(self.right, other.right),
        )


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


class _Relu(NamedTuple):
    """Values a before a ReLU, (y, x, B, channel), as min(a, 0) and min(-a, 0)."""

    low: Tensor
    high: Tensor


class _Base(NamedTuple):
    """Configurations before any flip: spins (y, x, B), layers (y, x, B, channel), log ψ_i (y, x, B), log ψ (B,)."""

    image: Tensor
    vertical: list[_Relu]
    horizontal: list[_Relu]
    outputs: Tensor
    chosen: Tensor
    total: Tensor


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
    flips = masks.reshape(-1, network.length_y, network.length_x)
    cones = [cone(box, network.depth, network.length_y, network.length_x) if box else None for box in _boxes(flips)]
    signs = torch.where(flips, -1, 1).to(network.dtype)
    kernels = _kernels(network)
    chunk = max(1, CACHED_VALUES // (4 * network.depth * network.width * spins.shape[1]))
    pieces = []
    for some in torch.arange(len(spins), device=spins.device).split(chunk):
        base = _base(network, spins[_rounded(some)])
        found = base.total[:, None].repeat(1, len(masks))
        for k, plan in enumerate(cones):
            if plan is None:
                continue
            if wanted is None:
                found[:, k] = _flipped(network, kernels, base, signs[k], plan, None)
                continue
            rows = torch.nonzero(wanted[some, k]).flatten()
            if len(rows):
                found[rows, k] = _flipped(network, kernels, base, signs[k], plan, _rounded(rows))[: len(rows)]
        pieces.append(found[: len(some)])
    return torch.cat(pieces)


def _rounded(rows: Tensor) -> Tensor:
    """``rows`` with the last one repeated up to one of eight lengths an octave.

    Convolutions on a CPU are compiled for every new shape, which takes longer than the few that are added.
    """
    unit = 1 << max(0, len(rows).bit_length() - 4)
    return torch.cat([rows, rows[-1:].expand(-len(rows) % unit)])


def _boxes(flips: Tensor) -> list[Box | None]:
    """The smallest box around the flipped sites of every mask (K, y, x); None where there are none."""
    boxes: list[Box | None] = []
    for mask in flips.cpu():
        ys, xs = (torch.nonzero(mask.any(axis)).flatten().tolist() for axis in (1, 0))
        boxes.append(Box(ys[0], ys[-1] + 1, xs[0], xs[-1] + 1) if ys else None)
    return boxes


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
    image = spins.to(network.dtype).reshape(-1, network.length_y, network.length_x).permute(1, 2, 0).contiguous()
    layers, outputs = [], image
    for values in network.layers(spins):
        outputs = values.permute(2, 3, 0, 1).contiguous()
        layers.append(_Relu(outputs.clamp(max=0), outputs.neg().clamp_(max=0)))
    chosen = _chosen(network, outputs, image)
    return _Base(image, layers[::2], layers[1:-1:2], outputs, chosen, chosen.sum((0, 1)))


def _chosen(network: Convolutions, outputs: Tensor, image: Tensor) -> Tensor:
    """log ψ_i (y, x, B) of all sites of the lattice, from outputs (y, x, B, channel) and spins."""
    if network.sector is None:
        return choose(outputs, image)
    weighted = network.sector.weighted(outputs.flatten(0, 1), image.flatten(0, 1), 0)
    return choose(weighted, image.flatten(0, 1)).reshape(image.shape)


def _flipped(
    network: Convolutions, kernels: _Kernels, base: _Base, sign: Tensor, plan: Cone, rows: Tensor | None
) -> Tensor:
    """log ψ of flipped configurations: of all those of ``base`` or of ``rows`` (b,) of them."""
    flips = (_part(base.image, plan.flips, rows) * (_part(sign[..., None], plan.flips, None) - 1))[..., None]
    horizontal, vertical = _Patch(flips, plan.flips.top, plan.flips.left), None
    if plan.flips.top < network.length_y - 1:
        above = horizontal._replace(values=flips[: network.length_y - 1 - plan.flips.top])
        vertical = _convolve(above, kernels.first, 0, -1)
    for block in range(network.depth):
        last, box = block == network.depth - 1, plan.horizontal[block]
        before = _part(base.outputs if last else base.horizontal[block].low, box, rows)
        values = _Patch(before.clone() if rows is None else before, box.top, box.left)
        values.add(_convolve(horizontal, kernels.beside[block], 0, 0))
        if vertical is not None:
            change = _through_relu(vertical.on(plan.vertical[block]), base.vertical[block], plan.vertical[block], rows)
            # where the horizontal branch sees it, shifted down by one row; the next vertical one is not shifted, and
            # looks a column further to the right
            both = _convolve(change, kernels.below[block], 1, 0)
            channels = values.values.shape[-1]
            values.add(both._replace(values=both.values[..., :channels]))
            vertical = _Patch(both.values[..., channels:], both.top - 1, both.left - 1)
        horizontal = values
        if not last:
            torch.maximum(values.values, _part(base.horizontal[block].high, box, rows), out=values.values)
    return _total(network, base, horizontal.values, sign, box, rows)


def _total(network: Convolutions, base: _Base, outputs: Tensor, sign: Tensor, box: Box, rows: Tensor | None) -> Tensor:
    """log ψ of the flipped configurations, whose outputs differ from those of ``base`` in ``box`` alone."""
    if network.sector is None:
        after = choose(outputs, _part(base.image * sign[..., None], box, rows))
        change = (after - _part(base.chosen, box, rows)).sum((0, 1))
        return change + (base.total if rows is None else base.total[rows])
    # a flip changes how many spins are left at all later sites, wherever they are
    lattice = Box(0, network.length_y, 0, network.length_x)
    everywhere = base.outputs.clone() if rows is None else _part(base.outputs, lattice, rows)
    everywhere[box.top : box.bottom, box.left : box.right] = outputs
    return _chosen(network, everywhere, _part(base.image * sign[..., None], lattice, rows)).sum((0, 1))


def _part(values: Tensor, box: Box, rows: Tensor | None) -> Tensor:
    """The part of ``values`` (y, x, B, ...) in ``box``: a view, or a copy for ``rows`` (b,) of them."""
    part = values[box.top : box.bottom, box.left : box.right]
    return part if rows is None else part.index_select(2, rows)


def _through_relu(change: Tensor, before: _Relu, box: Box, rows: Tensor | None) -> _Patch:
    """max(a + change, 0) - max(a, 0) = max(change + min(a, 0), min(-a, 0)), in ``box``; ``change`` is overwritten."""
    change += _part(before.low, box, rows)
    return _Patch(torch.maximum(change, _part(before.high, box, rows)), box.top, box.left)


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
