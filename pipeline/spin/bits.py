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
    parts = []
    for begin, word in zip(range(0, n_sites, SITES_A_WORD), words.unbind(-1), strict=True):
        sites = torch.arange(min(SITES_A_WORD, n_sites - begin), device=words.device)
        # one byte a site as soon as may be
        parts.append((word[..., None] >> sites).bitwise_and_(1).to(torch.int8))
    return torch.cat(parts, -1).mul_(-2).add_(1)


def distinct(words: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Distinct rows of (P, W) words: their keys (U,), sorted; the first row of each, (U,); which of them each row is.

    Rows of several words are sorted by one word that is mixed from them, which is far quicker; should two different
    rows share it, that is noticed, and they are sorted as they are.
    """
    keys = mixed(words)
    found, inverse = torch.unique(keys, return_inverse=True)
    rows = first_rows(inverse, len(found))
    if words.shape[1] > 1 and not torch.equal(words[rows][inverse], words):
        _, inverse = torch.unique(words, dim=0, return_inverse=True)
        rows = first_rows(inverse, int(inverse.max()) + 1)
        rows = rows[keys[rows].argsort()]
        place = torch.zeros_like(rows)
        place[inverse[rows]] = torch.arange(len(rows), device=rows.device)
        found, inverse = keys[rows], place[inverse]
    return found, rows, inverse


def mixed(words: Tensor) -> Tensor:
    """One int64 for each row of (P, W) words; for W = 1, the word."""
    key = words[:, 0]
    for word in words.unbind(1)[1:]:
        # multiplications wrap around; odd numbers lose nothing
        key = (key ^ (key >> 31)) * 0x1E3779B97F4A7C15
        key = (key ^ (key >> 29)) + word * 0x3F58476D1CE4E5B9
    return key


def first_rows(inverse: Tensor, count: int) -> Tensor:
    """The first row of each of ``count`` groups, (U,) int64, from the group of every row, (P,)."""
    rows = torch.arange(len(inverse), device=inverse.device)
    return rows.new_full((count,), len(inverse)).scatter_reduce(0, inverse, rows, "amin")


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
