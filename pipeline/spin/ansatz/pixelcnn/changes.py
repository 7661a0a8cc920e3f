"""What both kinds of PixelCNN share in evaluating flipped configurations by what a flip changes.

Arrays are (y, x, configuration, channel): a box of the lattice then consists of few long pieces of memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor

from pipeline.spin.ansatz.conditionals import choose
from pipeline.spin.ansatz.pixelcnn.sector import Sector

CACHED_VALUES = 2**27
"""Activations of unflipped configurations that are held at once, in numbers."""


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


class Relu(NamedTuple):
    """Values a before a ReLU, (y, x, B, channel), as min(a, 0) and min(-a, 0)."""

    low: Tensor
    high: Tensor

    @classmethod
    def of(cls, values: Tensor) -> Relu:
        """Of a."""
        return cls(values.clamp(max=0), values.neg().clamp_(max=0))

    def change(self, change: Tensor, box: Box, rows: Tensor | None) -> Tensor:
        """max(a + change, 0) - max(a, 0) = max(change + min(a, 0), min(-a, 0)), in ``box``, of ``rows``."""
        moved = change + part(self.low, box, rows)
        return torch.maximum(moved, part(self.high, box, rows), out=moved)


class Outputs(NamedTuple):
    """Configurations before any flip: spins (y, x, B), outputs (y, x, B, channel), log ψ_i (y, x, B), log ψ (B,)."""

    image: Tensor
    values: Tensor
    chosen: Tensor
    total: Tensor

    @classmethod
    def of(cls, sector: Sector | None, values: Tensor, image: Tensor) -> Outputs:
        """From ``values`` and spins."""
        chosen = _chosen(sector, values, image)
        return cls(image, values, chosen, chosen.sum((0, 1)))

    def flips(self, sign: Tensor, box: Box, rows: Tensor | None) -> Tensor:
        """The change of the spins in ``box`` where ``sign`` (y, x) is -1, (y, x, b, 1)."""
        return (part(self.image, box, rows) * (part(sign[..., None], box, None) - 1))[..., None]

    def log_amplitude(self, sector: Sector | None, new: Tensor, sign: Tensor, box: Box, rows: Tensor | None) -> Tensor:
        """log ψ (b,) of the flipped configurations, whose outputs are ``new`` in ``box`` and the old ones elsewhere."""
        if sector is None:
            after = choose(new, part(self.image * sign[..., None], box, rows))
            change = (after - part(self.chosen, box, rows)).sum((0, 1))
            return change + (self.total if rows is None else self.total[rows])
        # a flip changes how many spins are left at all later sites, wherever they are
        lattice = Box(0, self.image.shape[0], 0, self.image.shape[1])
        everywhere = self.values.clone() if rows is None else part(self.values, lattice, rows)
        everywhere[box.top : box.bottom, box.left : box.right] = new
        return _chosen(sector, everywhere, part(self.image * sign[..., None], lattice, rows)).sum((0, 1))


def part(values: Tensor, box: Box, rows: Tensor | None) -> Tensor:
    """The part of ``values`` (y, x, B, ...) in ``box``: a view, or a copy for ``rows`` (b,) of them."""
    found = values[box.top : box.bottom, box.left : box.right]
    return found if rows is None else found.index_select(2, rows)


def _chosen(sector: Sector | None, outputs: Tensor, image: Tensor) -> Tensor:
    """log ψ_i (y, x, B) of all sites of the lattice, from outputs (y, x, B, channel) and spins."""
    if sector is None:
        return choose(outputs, image)
    weighted = sector.weighted(outputs.flatten(0, 1), image.flatten(0, 1), 0)
    return choose(weighted, image.flatten(0, 1)).reshape(image.shape)


class Network(Protocol):
    """What is known here of a network.

    Attributes:
        length_y, length_x: extents of the lattice.
    """

    length_y: int
    length_x: int

    @property
    def dtype(self) -> torch.dtype:
        """Of the parameters."""
        ...


class Unflipped(Protocol):
    """What is held of configurations before any flip.

    Attributes:
        outputs: of the network.
    """

    @property
    def outputs(self) -> Outputs: ...


Base = TypeVar("Base", bound=Unflipped)
Plan = TypeVar("Plan")


def evaluate(
    network: Network,
    spins: Tensor,
    masks: Tensor,
    wanted: Tensor | None,
    chunk: int,
    plan_of: Callable[[Box], Plan],
    base_of: Callable[[Tensor], Base],
    flipped: Callable[[Base, Tensor, Plan, Tensor | None], Tensor],
) -> Tensor:
    """log ψ with the sites of every mask flipped, (B, N), (K, N) bool → (B, K); arbitrary where not ``wanted``.

    Args:
        network: of which they are amplitudes.
        spins, masks, wanted: see :meth:`pipeline.spin.wave_function.WaveFunction.connected_log_amplitudes`.
        chunk: most configurations at once.
        plan_of: what flips inside of a box change.
        base_of: what is held of configurations (B, N).
        flipped: log ψ (b,) of these, or of some rows (b,) of them, with the sites flipped where a sign (y, x) is -1.
    """
    flips = masks.reshape(-1, network.length_y, network.length_x)
    plans = [None if box is None else plan_of(box) for box in _boxes(flips)]
    signs = torch.where(flips, -1, 1).to(network.dtype)
    pieces = []
    for some in torch.arange(len(spins), device=spins.device).split(max(1, chunk)):
        base = base_of(spins[_rounded(some)])
        found = base.outputs.total[:, None].repeat(1, len(masks))
        for k, plan in enumerate(plans):
            if plan is None:
                continue
            if wanted is None:
                found[:, k] = flipped(base, signs[k], plan, None)
                continue
            rows = torch.nonzero(wanted[some, k]).flatten()
            if len(rows):
                found[rows, k] = flipped(base, signs[k], plan, _rounded(rows))[: len(rows)]
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


def image_of(network: Network, spins: Tensor) -> Tensor:
    """Spins (B, N) as (y, x, B), of the type of the network."""
    return spins.to(network.dtype).reshape(-1, network.length_y, network.length_x).permute(1, 2, 0).contiguous()
