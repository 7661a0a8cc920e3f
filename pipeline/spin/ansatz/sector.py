"""Autoregressive states confined to one Σ σz: a spin that would leave no way to reach it has probability zero.

As in Hibat-Allah et al., Phys. Rev. Research 2, 023358 (2020), Sec. III: once all up spins of the sector have been
used, the conditionals of the remaining sites are those of a down spin, and the other way round.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor


class Full(NamedTuple):
    """For every site, whether the earlier ones hold all up, or all down, spins of the sector; bool."""

    up: Tensor
    down: Tensor


class Sector:
    """The configurations of N spins ±1 with Σ σz = ``magnetisation``, drawn site by site.

    Attributes:
        up, down: spins of either kind.
    """

    def __init__(self, n_sites: int, magnetisation: int) -> None:
        self.up, self.down = (n_sites + magnetisation) // 2, (n_sites - magnetisation) // 2

    def full(self, spins: Tensor, dim: int) -> Full:
        """What earlier sites leave over; ``dim`` runs over the sites in the order in which they are drawn."""
        is_up = (spins > 0).to(torch.int32)
        seen = is_up.cumsum(dim)
        length = torch.arange(1, spins.shape[dim] + 1, device=spins.device, dtype=torch.int32)
        length = length.reshape([-1 if d == dim % spins.dim() else 1 for d in range(spins.dim())])
        return Full(seen - is_up >= self.up, length - seen - (1 - is_up) >= self.down)

    def constrain(self, conditionals: Tensor, spins: Tensor) -> Tensor:
        """log ψ_i(s | s_<i) within the sector from those without it, (B, N, 2) for s = +1, -1; spins (B, N)."""
        full = self.full(spins, -1)
        forced = torch.where((full.up | full.down)[..., None], conditionals.new_zeros(()), conditionals)
        return torch.where(torch.stack(full, -1), conditionals.new_full((), -math.inf), forced)

    def sum(self, chosen: Tensor, spins: Tensor) -> Tensor:
        """log ψ (B,) from the log ψ_i(s_i | s_<i) without the sector, (N, B), of spins (N, B); -inf out of it."""
        full = self.full(spins, 0)
        total = torch.where(full.up | full.down, chosen.new_zeros(()), chosen).sum(0)
        return torch.where((spins > 0).sum(0) == self.up, total, chosen.new_full((), -math.inf))

    def choose(self, wanted_up: Tensor, ups: Tensor, site: int) -> Tensor:
        """What is drawn at place ``site``, (B,) bool, after ``ups`` (B,) up spins, where there is a choice."""
        return (wanted_up & (ups < self.up)) | (site - ups >= self.down)
