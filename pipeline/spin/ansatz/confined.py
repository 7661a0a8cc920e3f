"""States that are confined to one Σ σz: other configurations have no amplitude."""

from __future__ import annotations

import torch
from torch import Tensor


def in_sector(spins: Tensor, magnetisation: int) -> Tensor:
    """Which of ``spins`` (B, N) have this Σ σz, (B,) bool."""
    return spins.sum(-1, dtype=torch.int64) == magnetisation


def confined(logs: Tensor, spins: Tensor, magnetisation: int | None) -> Tensor:
    """log ψ of ``spins`` (B, N), (B,) → (B,): -∞ where Σ σz is another one than ``magnetisation``; None: any."""
    if magnetisation is None:
        return logs
    return torch.where(in_sector(spins, magnetisation), logs, torch.full_like(logs.real, -torch.inf).to(logs.dtype))
