"""What a coupling layer sees of a gauge field, for each group: the loops that it changes and the frozen ones."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from pipeline.gauge import su3, u1
from pipeline.gauge.flow.masks import Mask
from pipeline.gauge.group import Group

FEATURES = 4
"""Channels of what is frozen: real and imaginary part of plaquettes and of loops of 1 × 2."""


class Loops(Protocol):
    """The loops of a gauge group's fields."""

    def observe(self, links: Tensor, mask: Mask) -> tuple[Tensor, Tensor]:
        """Active loops and frozen features.

        Returns:
            The plaquettes at the active sites, walked from x along the active link first, so that they are
            proportional to it, (batch, V/4, ...); and Re Tr, Im Tr over N of frozen plaquettes and of frozen loops of
            1 × 2, zero elsewhere, (batch, L, L, 4). The features are gauge invariant and no function of active links.
        """
        ...

    def multiply(self, links: Tensor, mask: Mask, changes: Tensor) -> Tensor:
        """New links, the active ones multiplied by ``changes`` (batch, V/4, ...) from the left."""
        ...


def _masked(plaquettes: tuple[Tensor, Tensor], loops: tuple[Tensor, Tensor], mask: Mask) -> Tensor:
    """Features (batch, L, L, 4) of real and imaginary parts, (batch, L, L) each."""
    frozen = torch.stack([mask.frozen_plaquettes] * 2 + [mask.frozen_loops] * 2, dim=-1)
    return torch.stack([*plaquettes, *loops], dim=-1) * frozen


def _extents(mask: Mask) -> tuple[int, int]:
    """Sides of the loops with one link along μ and two across."""
    return (1, 2) if mask.direction == 0 else (2, 1)


class U1Loops:
    """Angles in radians; a product of elements is a sum."""

    def observe(self, links: Tensor, mask: Mask) -> tuple[Tensor, Tensor]:
        """See :class:`Loops`; loops (batch, V/4), not wrapped."""
        plaquettes, loops = u1.plaquette_angles(links), u1.loop_angles(links, *_extents(mask))
        features = _masked((plaquettes.cos(), plaquettes.sin()), (loops.cos(), loops.sin()), mask)
        active = plaquettes.flatten(1)[:, mask.sites]
        return (active if mask.direction == 0 else -active), features

    def multiply(self, links: Tensor, mask: Mask, changes: Tensor) -> Tensor:
        """See :class:`Loops`."""
        volume = links.shape[2] * links.shape[3]
        where = mask.sites + mask.direction * volume
        return links.flatten(1).index_add(1, where, changes).view(links.shape)


class SU3Loops:
    """Matrices, complex128."""

    def observe(self, links: Tensor, mask: Mask) -> tuple[Tensor, Tensor]:
        """See :class:`Loops`; loops (batch, V/4, 3, 3)."""
        plaquettes = su3.plaquettes(links)
        traces = torch.einsum("bxyii->bxy", plaquettes) / 3.0
        loops = _traces(links, *_extents(mask))
        features = _masked((traces.real, traces.imag), (loops.real, loops.imag), mask)
        active = plaquettes.flatten(1, 2)[:, mask.sites]
        return (active if mask.direction == 0 else active.mH), features

    def multiply(self, links: Tensor, mask: Mask, changes: Tensor) -> Tensor:
        """See :class:`Loops`."""
        volume = links.shape[2] * links.shape[3]
        where = mask.sites + mask.direction * volume
        flat = links.flatten(1, 3)
        return flat.index_copy(1, where, changes @ flat[:, where]).view(links.shape)


def _traces(links: Tensor, extent_0: int, extent_1: int) -> Tensor:
    """Tr W(x)/3 of the rectangle with corner x, (batch, L, L), without the last product of matrices."""
    line_0, line_1 = su3.line(links, 0, extent_0), su3.line(links, 1, extent_1)
    there = line_0 @ line_1.roll(-extent_0, dims=1)
    back = line_1 @ line_0.roll(-extent_1, dims=2)
    return (there * back.conj()).sum(dim=(-2, -1)) / 3.0


def loops_of(group: Group) -> Loops:
    """The loops of ``group``."""
    return U1Loops() if group.name == "u1" else SU3Loops()
