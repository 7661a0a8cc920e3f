"""Amplitudes of flipped configurations of a PixelCNN: only what a flip can have changed is convolved again.

Flipped sites in a box of the lattice change a box of the outputs of each convolution, which grows from block to block:
downwards, to both sides in the vertical branch, to the right in the horizontal one. Around that box the activations of
the configuration itself are used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.spin.ansatz.conditionals import choose

if TYPE_CHECKING:
    from pipeline.spin.ansatz.pixelcnn import PixelCNN

CACHED_VALUES = 2**27
"""Activations of unflipped configurations that are held at once, in numbers."""

Kernels = list[tuple[Tensor, Tensor, Tensor, Tensor]]


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
    """Activations of configurations before any flip, (B, y, x, channel), and log ψ_i of their own spins (B, y, x)."""

    image: Tensor
    vertical: list[Tensor]
    horizontal: list[Tensor]
    chosen: Tensor


@torch.inference_mode()
def connected_log_amplitudes(network: PixelCNN, spins: Tensor, masks: Tensor, wanted: Tensor | None) -> Tensor:
    """log ψ with the sites of every mask flipped, (B, N), (K, N) bool → (B, K); arbitrary where not ``wanted``."""
    flips = masks.reshape(-1, network.length_y, network.length_x)
    cones = [cone(box, network.depth, network.length_y, network.length_x) if box else None for box in _boxes(flips)]
    signs = torch.where(flips, -1, 1).to(network._mask.dtype)
    kernels = network.kernels()
    chunk = max(1, CACHED_VALUES // (3 * network.depth * network.width * spins.shape[1]))
    pieces = []
    for some in torch.arange(len(spins), device=spins.device).split(chunk):
        base = _base(network, spins[_rounded(some)])
        found = base.chosen.sum((1, 2))[:, None].repeat(1, len(masks))
        for k, plan in enumerate(cones):
            if plan is None:
                continue
            if wanted is None:
                found[:, k] += _change(network, kernels, base, signs[k], plan, None)
                continue
            rows = torch.nonzero(wanted[some, k]).flatten()
            if len(rows):
                change = _change(network, kernels, base, signs[k], plan, _rounded(rows))
                found[rows, k] += change[: len(rows)]
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


def _base(network: PixelCNN, spins: Tensor) -> _Base:
    image = spins.to(network._mask.dtype).reshape(-1, network.length_y, network.length_x)
    vertical, horizontal, outputs = network.activations(spins)
    chosen = choose(outputs.permute(0, 2, 3, 1), image)
    return _Base(image, [v.permute(0, 2, 3, 1) for v in vertical], [h.permute(0, 2, 3, 1) for h in horizontal], chosen)


def _change(network: PixelCNN, kernels: Kernels, base: _Base, sign: Tensor, plan: Cone, rows: Tensor | None) -> Tensor:
    """log ψ of flipped configurations minus that before; of all those of ``base`` or of ``rows`` (b,) of them."""
    image = (base.image if rows is None else base.image[rows]) * sign
    above = below = plan.flips
    horizontal = image[:, below.top : below.bottom, below.left : below.right, None]
    vertical = horizontal[:, : network.length_y - 1 - above.top]
    for block, (v_weight, v_bias, h_weight, h_bias) in enumerate(kernels):
        box, c = plan.vertical[block], horizontal.shape[-1]
        if box.bottom > box.top:
            window = _window(base.vertical[block], box, rows)
            _paste(window, vertical, above.top - box.top + 2, above.left - box.left + 1)
            vertical, above = _convolve(window, v_weight, v_bias).relu_(), box
        box = plan.horizontal[block]
        window = _window(base.horizontal[block], box, rows)
        _paste(window[..., :c], horizontal, below.top - box.top + 2, below.left - box.left + 2)
        if plan.vertical[block].bottom > plan.vertical[block].top:
            # shifted down by one row
            _paste(window[..., c:], vertical, above.top - box.top + 3, above.left - box.left + 2)
        horizontal, below = _convolve(window, h_weight, h_bias), box
        if block < network.depth - 1:
            horizontal = horizontal.relu_()
    part = (slice(None), slice(below.top, below.bottom), slice(below.left, below.right))
    before = base.chosen[part] if rows is None else base.chosen[part][rows]
    return (choose(horizontal, image[part]) - before).sum((1, 2))


def _window(activations: Tensor, box: Box, rows: Tensor | None) -> Tensor:
    """A copy of what a convolution needs for the outputs in ``box``; both paddings put output y at rows y..y+2."""
    window = activations[:, box.top : box.bottom + 2, box.left : box.right + 2]
    return window.clone(memory_format=torch.contiguous_format) if rows is None else window.index_select(0, rows)


def _paste(window: Tensor, values: Tensor, y: int, x: int) -> None:
    """Write ``values`` (B, h, w, channel) into ``window`` from row ``y`` and column ``x`` on."""
    window[:, y : y + values.shape[1], x : x + values.shape[2]] = values


def _convolve(window: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Valid convolution, channels last in and out."""
    return functional.conv2d(window.permute(0, 3, 1, 2), weight, bias).permute(0, 2, 3, 1)
