"""Which links a coupling layer changes, and which loops may tell it how: no one of them contains an active link."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.gauge.flow.schema import PERIOD

CYCLE = 2 * PERIOD
"""Layers after which every link has been active once: both directions, four offsets each."""


@dataclass(frozen=True, eq=False)
class Mask:
    """The pattern of one coupling layer, after Albergo et al., Phys. Rev. D 106, 014514 (2022), Appendix.

    Active links are U_μ(x) with x_μ = offset + 2 (x_ν mod 2) mod 4, ν being the other direction: an eighth of all. Each
    is in two plaquettes, at x, where the layer says what becomes of it (active, a quarter of all plaquettes), and
    at x - ν (passive, another quarter); a plaquette has one active link at most. The other half are frozen.

    Attributes:
        direction: μ.
        sites: (V/4,) int64, positions x_0 L + x_1 of the active links, which are those of the active plaquettes.
        frozen_plaquettes: (L, L) bool, at x where P(x) contains no active link.
        frozen_loops: (L, L) bool, at x where no link of the loop with corner x, one link along μ and two along ν,
            is active: three quarters. Loops with two links along μ always contain one.
    """

    direction: int
    sites: Tensor
    frozen_plaquettes: Tensor
    frozen_loops: Tensor

    def to(self, device: torch.device) -> Mask:
        """The same mask on ``device``; itself where it is there already."""
        return self if self.sites.device == device else _moved(self, device)


@functools.cache
def _moved(found: Mask, device: torch.device) -> Mask:
    """Copied once a device."""
    tables = (table.to(device) for table in (found.sites, found.frozen_plaquettes, found.frozen_loops))
    return Mask(found.direction, *tables)


def check_length(length: int) -> None:
    """Refuse a lattice that the pattern does not tile.

    Raises:
        ValueError: ``length`` is not a positive multiple of 4.
    """
    if length < PERIOD or length % PERIOD:
        below = max(PERIOD, length - length % PERIOD)
        near = f"{below} or {below + PERIOD}" if length > PERIOD else f"{PERIOD}"
        raise ValueError(
            f"the masks of a flow tile lattices whose length is a multiple of {PERIOD}, not {length}: {near}"
        )


@functools.cache
def mask(length: int, layer: int) -> Mask:
    """The mask of layer 0, 1, ..., on the CPU: direction 0 four times, direction 1 four times, the offset growing by 1.

    Raises:
        ValueError: see :func:`check_length`.
    """
    check_length(length)
    direction, offset = layer // PERIOD % 2, layer % PERIOD
    along, across = torch.meshgrid(torch.arange(length), torch.arange(length), indexing="ij")
    if direction == 1:
        along, across = across, along
    active = (along - offset - 2 * (across % 2)) % PERIOD == 0
    return Mask(
        direction=direction,
        sites=active.flatten().nonzero()[:, 0],
        frozen_plaquettes=(along - offset) % 2 == 1,
        frozen_loops=~active,
    )
