"""Which components of a pseudofermion field a layer updates (Abbott et al. 2022, Eqs. 27-32)."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.base.errors import ConfigError
from pipeline.gauge import neighbours

SPINS = 2


@dataclass(frozen=True, eq=False)
class Mask:
    """The active components of one layer; what else the field has is frozen.

    Attributes:
        sites: active lattice sites x = L x_0 + x_1, rising, (n,) int64, on the CPU.
        spin: the one active spin component; None for both.
    """

    sites: Tensor
    spin: int | None

    @property
    def spins(self) -> int:
        """Number of active spin components."""
        return SPINS if self.spin is None else 1

    def components(self, length: int) -> Tensor:
        """Which components are active, (V, spin) bool."""
        active = torch.zeros(length**2, SPINS, dtype=torch.bool)
        active[self.sites, slice(None) if self.spin is None else self.spin] = True
        return active


def field_sites(length: int, even_odd: bool) -> Tensor:
    """Lattice sites of the field, rising: all, or the even ones; int64.

    Raises:
        ValueError: even sites on an odd length.
    """
    return neighbours.parity_sites(length)[0] if even_odd else torch.arange(length**2)


@functools.cache
def on_device(sites: Tensor, device: torch.device) -> Tensor:
    """The same sites, copied once a device: of a mask that is kept, or of :func:`kept_field_sites`."""
    return sites.to(device)


@functools.cache
def kept_field_sites(length: int, even_odd: bool) -> Tensor:
    """One copy of :func:`field_sites` for all who ask."""
    return field_sites(length, even_odd)


@functools.cache
def mask_cycle(partition: tuple[str, ...], length: int, even_odd: bool) -> tuple[Mask, ...]:
    """The masks of as many layers as update every component once for each entry of ``partition``.

    Args:
        partition: names as in :class:`pipeline.gauge.pseudofermion.schema.ConditionalFlowConfig`. First halves of all
            of them come first: spatial and spin partitioning alternate.
        length: L.
        even_odd: the field lives on even sites.

    Raises:
        ConfigError: a partition does not tile the lattice; names ``partition``.
        ValueError: even sites on an odd length.
    """
    support = field_sites(length, even_odd)
    halves = [_halves(name, support, length, even_odd) for name in partition]
    for name, pair in zip(partition, halves, strict=True):
        check_tiling(name, pair, support, length)
    return tuple(pair[which] for which in (0, 1) for pair in halves)


def _halves(name: str, support: Tensor, length: int, even_odd: bool) -> tuple[Mask, Mask]:
    if name == "spin":
        return Mask(support, 0), Mask(support, 1)
    x_0, x_1 = support // length, support % length
    if name == "checkerboard" or (name == "spatial" and not even_odd):
        kind = x_0 + x_1
    else:
        kind = x_1 if name == "columns" else x_0
    return Mask(support[kind % 2 == 0], None), Mask(support[kind % 2 == 1], None)


def check_tiling(name: str, masks: Sequence[Mask], support: Tensor, length: int) -> None:
    """Refuse masks that do not make every component of the field active once, or that leave nothing frozen.

    Raises:
        ConfigError: names ``partition``.
    """
    field = torch.zeros(length**2, SPINS, dtype=torch.long)
    field[support] = 1
    parts = torch.stack([mask.components(length) for mask in masks]).long()
    if (parts.sum(dim=0) != field).any():
        raise ConfigError("partition", name, "does not tile the lattice: its masks must update each component once")
    if any(not part.any() for part in parts):
        where = f"{len(support)} sites" if len(support) == length**2 else f"{len(support)} even sites"
        raise ConfigError("partition", name, f"does not split a field on {where} of a lattice of length {length}")
