"""Amplitudes of flipped configurations of a PixelCNN with one branch: only what a flip changes is convolved again.

Flipped sites in a box change a box of what every convolution puts out, which grows by a row downwards and by two
columns to either side. Every site that has changed is multiplied once with each tap of the kernel, and added to where
the tap looks from: products of matrices that leave out what lies outside of the lattice, masked weights and all
zeros around the box.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from pipeline.spin.ansatz.pixelcnn.changes import CACHED_VALUES, Box, Network, Outputs, Relu, evaluate, image_of, part
from pipeline.spin.ansatz.pixelcnn.sector import Sector

REACH = 2
"""Columns that a kernel sees to either side."""

TOGETHER = 128
"""Configurations at once: what changes in a layer then stays in the caches."""


class Tap(NamedTuple):
    """A weight (in, out) by which a site contributes ``down`` rows below it and ``right`` columns right of it."""

    down: int
    right: int
    weight: Tensor


class Convolutions(Network, Protocol):
    """Masked convolutions one after the other; see :class:`pipeline.spin.ansatz.pixelcnn.single.SinglePixelCNN`.

    Attributes:
        depth, width: convolutions, and channels between them.
        sector: to which configurations are confined; None: all.
    """

    depth: int
    width: int
    sector: Sector | None

    def taps(self) -> list[list[Tap]]:
        """Of each convolution, those of the row above first."""
        ...

    def layers(self, spins: Tensor) -> Iterator[Tensor]:
        """What every ReLU is given, (B, channel, y, x), and the outputs."""
        ...


class _Base(NamedTuple):
    """Configurations before any flip: what goes into the ReLUs, and the outputs."""

    relus: list[Relu]
    outputs: Outputs


def cone(flips: Box, depth: int, length_y: int, length_x: int) -> list[Box]:
    """``flips``, and what they can change in the outputs of each of ``depth`` convolutions."""
    found = [flips]
    for _ in range(depth):
        top, bottom, left, right = found[-1]
        # without a row below, nothing changes to the left
        left = max(left - REACH, 0) if top < length_y - 1 else left
        found.append(Box(top, min(bottom + 1, length_y), left, min(right + REACH, length_x)))
    return found


@torch.inference_mode()
def connected_log_amplitudes(network: Convolutions, spins: Tensor, masks: Tensor, wanted: Tensor | None) -> Tensor:
    """log ψ with the sites of every mask flipped, (B, N), (K, N) bool → (B, K); arbitrary where not ``wanted``."""
    return evaluate(
        network,
        spins,
        masks,
        wanted,
        min(TOGETHER, CACHED_VALUES // (2 * network.depth * network.width * spins.shape[1])),
        partial(cone, depth=network.depth, length_y=network.length_y, length_x=network.length_x),
        partial(_base, network),
        partial(_flipped, network, network.taps()),
    )


def _base(network: Convolutions, spins: Tensor) -> _Base:
    *hidden, outputs = (values.permute(2, 3, 0, 1).contiguous() for values in network.layers(spins))
    return _Base([Relu.of(h) for h in hidden], Outputs.of(network.sector, outputs, image_of(network, spins)))


def _flipped(
    network: Convolutions, taps: list[list[Tap]], base: _Base, sign: Tensor, plan: list[Box], rows: Tensor | None
) -> Tensor:
    """log ψ of flipped configurations: of all those of ``base`` or of ``rows`` (b,) of them."""
    inputs, before = base.outputs.flips(sign, plan[0], rows), None
    for layer in range(network.depth - 1):
        here, there = plan[layer], plan[layer + 1]
        height, width = there.bottom - there.top, there.right - there.left
        values = inputs.new_zeros(height, width, inputs.shape[2], network.width)
        if before is not None:
            part(values, _within(here, there), None).copy_(before)
        _accumulate(inputs, here, taps[layer], values, there)
        inputs, before = base.relus[layer].change(values, there, rows), values
    box = plan[-1]
    outputs = part(base.outputs.values, box, rows) + _last(inputs, plan[-2], taps[-1], box)
    return base.outputs.log_amplitude(network.sector, outputs, sign, box, rows)


def _within(inner: Box, outer: Box) -> Box:
    """Where ``inner`` lies in ``outer``, counted from the corner of the latter."""
    top, bottom, left, right = inner
    return Box(top - outer.top, bottom - outer.top, left - outer.left, right - outer.left)


def _pairs(taps: list[Tap], here: Box, there: Box) -> Iterator[tuple[int, Box, Box]]:
    """What of ``here`` contributes to ``there`` by each tap, and to which part, both counted from their corners."""
    top, bottom, left, right = here
    for number, tap in enumerate(taps):
        seen = Box(top + tap.down, bottom + tap.down, left + tap.right, right + tap.right).meet(there)
        if seen.top < seen.bottom and seen.left < seen.right:
            back = Box(seen.top - tap.down, seen.bottom - tap.down, seen.left - tap.right, seen.right - tap.right)
            yield number, _within(back, here), _within(seen, there)


def _accumulate(inputs: Tensor, here: Box, taps: list[Tap], values: Tensor, there: Box) -> None:
    """Add what ``inputs`` on the box ``here`` contribute to ``values`` on ``there``, row by row of the lattice."""
    for number, source, target in _pairs(taps, here, there):
        to, given = part(values, target, None), part(inputs, source, None)
        height, width, batch, channels = to.shape
        # columns and configurations are one axis
        to = to.view(height, width * batch, channels)
        to.baddbmm_(given.view(height, width * batch, -1), taps[number].weight.expand(height, -1, -1))


def _last(inputs: Tensor, here: Box, taps: list[Tap], there: Box) -> Tensor:
    """The same of few channels, (y, x, b, channel) on ``there``: one product for all taps, then sums."""
    height, width, batch, channels = inputs.shape
    weight = torch.cat([tap.weight for tap in taps], 1)
    products = (weight.T @ inputs.reshape(-1, channels).T).view(len(taps), -1, height, width, batch)
    values = inputs.new_zeros(products.shape[1], there.bottom - there.top, there.right - there.left, batch)
    for number, source, target in _pairs(taps, here, there):
        given = products[number, :, source.top : source.bottom, source.left : source.right]
        values[:, target.top : target.bottom, target.left : target.right] += given
    return values.permute(1, 2, 3, 0)
