"""Tables of nearest neighbours on a periodic L × L lattice, and on its even and odd sites."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Where the fields that hop to T target sites come from; all int64.

    Attributes:
        sites: (T,), lattice site of each target: its forward links.
        forward, backward: (2, T), positions of x + μ and x - μ among the sources.
        behind: (2, T), lattice site of x - μ: its links lead back to the target.
    """

    sites: Tensor
    forward: Tensor
    backward: Tensor
    behind: Tensor


def _neighbours(length: int, targets: Tensor, sources: Tensor, device: torch.device) -> Neighbours:
    """Tables for lists of lattice sites; all neighbours of the targets must be among the sources."""
    position = torch.full((length**2,), -1)
    position[sources] = torch.arange(len(sources))
    x_0, x_1 = targets // length, targets % length
    ahead = torch.stack([(x_0 + 1) % length * length + x_1, x_0 * length + (x_1 + 1) % length])
    behind = torch.stack([(x_0 - 1) % length * length + x_1, x_0 * length + (x_1 - 1) % length])
    tables = (targets, position[ahead], position[behind], behind)
    return Neighbours(*(table.contiguous().to(device) for table in tables))


@dataclass(frozen=True)
class Hop:
    """Neighbours of a hop and, for its adjoint, of the hop back.

    Attributes:
        there: from sources to targets.
        back: from targets to sources.
    """

    there: Neighbours
    back: Neighbours


@functools.cache
def all_sites(length: int, device: torch.device) -> Hop:
    """Every site is target and source."""
    everywhere = torch.arange(length**2)
    neighbours = _neighbours(length, everywhere, everywhere, device)
    return Hop(neighbours, neighbours)


def parity_sites(length: int) -> tuple[Tensor, Tensor]:
    """Lattice sites with even and with odd x_0 + x_1, in rising order, (V/2,) each, int64.

    Raises:
        ValueError: ``length`` is odd, where the two kinds have neighbours of their own kind across the boundary.
    """
    if length % 2:
        raise ValueError(f"even/odd preconditioning needs an even lattice length, not {length}")
    site = torch.arange(length**2)
    odd = (site // length + site % length) % 2 == 1
    return site[~odd], site[odd]


@functools.cache
def even_odd(length: int, device: torch.device) -> tuple[Hop, Hop]:
    """Hops from even sites to odd ones, and from odd sites to even ones.

    Raises:
        ValueError: ``length`` is odd.
    """
    even, odd = parity_sites(length)
    to_even, to_odd = _neighbours(length, even, odd, device), _neighbours(length, odd, even, device)
    return Hop(to_odd, to_even), Hop(to_even, to_odd)
