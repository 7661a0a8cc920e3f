"""Configurations transformed by an element of a symmetry group each."""

from __future__ import annotations

from torch import Tensor


def moved(spins: Tensor, permutations: Tensor, signs: Tensor) -> Tensor:
    """Configurations s' with s'_i = sign · s_permutation[i], an element for each; all copies of a row alike.

    Args:
        spins: (B, K, N), K copies.
        permutations: (B, N) int64.
        signs: (B,), of the dtype of ``spins``.
    """
    return spins.gather(2, permutations[:, None].expand_as(spins)) * signs[:, None, None]
