"""Spin configurations as integers: bit i of a word is 0 for spin +1 at site i."""

from __future__ import annotations

import torch
from torch import Tensor

from pipeline.spin.systems import SITES_A_WORD


def pack(spins: Tensor) -> Tensor:
    """Words (..., ⌈N/62⌉) int64 of spins ±1, (..., N): bit i of a word is 0 for spin +1 at its site i."""
    parts = (spins < 0).long().split(SITES_A_WORD, dim=-1)
    shifted = [(part << torch.arange(part.shape[-1], device=spins.device)).sum(-1) for part in parts]
    return torch.stack(shifted, dim=-1)


def unpack(words: Tensor, n_sites: int) -> Tensor:
    """Inverse of :func:`pack`: (..., ⌈N/62⌉) int64 → (..., N) int8 of ±1."""
    sites = torch.arange(n_sites, device=words.device)
    bits = (words[..., sites // SITES_A_WORD] >> (sites % SITES_A_WORD)) & 1
    return (1 - 2 * bits).to(torch.int8)


def unique_spins(spins: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Distinct rows of (B, N) int8 spins ±1, the row of each input among them, and how often each occurs."""
    words = pack(spins)
    if words.shape[1] == 1:
        found, order, counts = torch.unique(words[:, 0], return_inverse=True, return_counts=True)
    else:
        found, order, counts = torch.unique(words, dim=0, return_inverse=True, return_counts=True)
    rows = torch.zeros(len(found), dtype=torch.int64, device=spins.device)
    rows[order] = torch.arange(len(spins), device=spins.device)
    return spins[rows], order, counts
