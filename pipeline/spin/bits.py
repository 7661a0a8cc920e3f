"""Spin configurations as integers: bit i of a word is 0 for spin +1 at site i."""

from __future__ import annotations

import torch
from torch import Tensor

from pipeline.spin.systems import SITES_A_WORD


def encode(spins: Tensor) -> Tensor:
    """Pack spins ±1, shape (..., N), into int64 words: bit i is 0 for spin +1 at site i. N <= 62."""
    if spins.shape[-1] > SITES_A_WORD:
        raise ValueError(f"{spins.shape[-1]} sites do not fit one word of {SITES_A_WORD} bits")
    weights = 2 ** torch.arange(spins.shape[-1], device=spins.device, dtype=torch.int64)
    return ((spins < 0).long() * weights).sum(-1)


def decode(codes: Tensor, n_sites: int) -> Tensor:
    """Inverse of :func:`encode`: (...,) int64 → (..., N) int8 of ±1."""
    shifts = torch.arange(n_sites, device=codes.device)
    return (1 - 2 * ((codes[..., None] >> shifts) & 1)).to(torch.int8)


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


def pack(spins: Tensor) -> Tensor:
    """(B, N) spins ±1 as (B, ⌈N/62⌉) int64 words, for comparisons."""
    parts = (spins < 0).long().split(62, dim=1)
    return torch.stack([(part << torch.arange(part.shape[1], device=spins.device)).sum(1) for part in parts], dim=1)
