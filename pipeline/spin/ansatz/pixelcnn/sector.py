"""Autoregressive states confined to one Σ σz: the configurations that a network weighs are those of the sector.

Without a network, all configurations of a sector are equally likely if a spin is drawn up with the probability
n_up / (n_up + n_down), where n_up and n_down of the sector's spins are left to be placed. These numbers multiply the
two values' probabilities here, so that a state that starts uniform is uniform within the sector, and a value that is
used up has probability zero.
"""

from __future__ import annotations

import torch
from torch import Tensor


class Sector:
    """The configurations of N spins ±1 with Σ σz = ``magnetisation``, drawn site by site.

    Attributes:
        up, down: spins of either kind.
    """

    def __init__(self, n_sites: int, magnetisation: int) -> None:
        self.up, self.down = (n_sites + magnetisation) // 2, (n_sites - magnetisation) // 2

    def weighted(self, outputs: Tensor, spins: Tensor, dim: int) -> Tensor:
        """``outputs`` (..., 2 or 4) of a network with ½ log n_up and ½ log n_down added to the log-magnitudes.

        Args:
            outputs: see :func:`pipeline.spin.ansatz.conditionals.normalise`.
            spins: ±1, of the shape of ``outputs`` without its last index.
            dim: runs over the sites, in the order in which they are drawn.
        """
        is_up = (spins > 0).to(outputs.dtype)
        ups = is_up.cumsum(dim) - is_up
        shape = [-1 if d == dim % spins.dim() else 1 for d in range(spins.dim())]
        place = torch.arange(spins.shape[dim], device=spins.device, dtype=outputs.dtype).reshape(shape)
        left = torch.stack([self.up - ups, self.down - (place - ups)], -1).clamp(min=0)
        # neither is left: no configuration of the sector begins like this, and an earlier conditional vanishes
        left = torch.where(left.sum(-1, keepdim=True) > 0, left, 1.0)
        return torch.cat([outputs[..., :2] + 0.5 * left.log(), outputs[..., 2:]], -1)

    def bias(self, ups: Tensor, site: int) -> Tensor:
        """½ log n_up / n_down at place ``site``, (B,), after ``ups`` (B,) up spins."""
        return 0.5 * ((self.up - ups).log() - (self.down - (site - ups)).log())
