"""One configuration for all that symmetries map onto each other: the smallest of their words."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.spin.bits import pack, unpack

EXACT_SITES = 52
"""Sites whose bits a sum of doubles holds exactly."""

BLOCK = 2**20
"""Images whose words are held at once: 8 MiB, for the caches."""


@dataclass(frozen=True)
class Invariance:
    """Transformations g under which ψ(g s) = e^{c_g} ψ(s) for every s.

    Where they are no group, nothing is wrong, but fewer configurations share a representative.

    Attributes:
        permutations: (G, N) int64 on the device of the ansatz: (g s)_i = sign_g · s_permutations[g, i].
        signs: (G,) of ±1, any dtype: -1 flips all spins.
        log_factors: c_g, (G,) real or complex; None: all of them zero, ψ is invariant.
    """

    permutations: Tensor
    signs: Tensor
    log_factors: Tensor | None = None


class Representatives:
    """The smallest image of configurations under an :class:`Invariance`.

    Images are compared by the words of :func:`pipeline.spin.bits.pack`, :data:`EXACT_SITES` bits of them at a time,
    and all words of a part are one product of matrices: bits of configurations times powers of two, moved as g moves
    the sites. Doubles hold the sums exactly.

    Args:
        invariance: G transformations of N sites.
    """

    def __init__(self, invariance: Invariance) -> None:
        self._invariance = invariance
        self._n_sites = invariance.permutations.shape[1]
        self._parts = [_weights(invariance, begin) for begin in range(0, self._n_sites, EXACT_SITES)]

    def __call__(self, words: Tensor) -> tuple[Tensor, Tensor | None]:
        """Representatives of configurations.

        Args:
            words: (P, W) int64, see :func:`pipeline.spin.bits.pack`.

        Returns:
            Their words (P, W), and log ψ(configuration) - log ψ(representative), (P,), or None: it is zero.
        """
        rows = max(1, BLOCK // len(self._invariance.permutations))
        found = [self._block(block) for block in words.split(rows)]
        factors = [factor for _, factor in found if factor is not None]
        return torch.cat([smallest for smallest, _ in found]), torch.cat(factors) if factors else None

    def _block(self, words: Tensor) -> tuple[Tensor, Tensor | None]:
        spins = unpack(words, self._n_sites)
        bits = (spins < 0).double()
        (weights, offsets), *others = self._parts
        images = torch.addmm(offsets, bits, weights)
        if not others and self._invariance.log_factors is None:
            return images.amin(1, keepdim=True).long(), None
        least, chosen = images.min(1)
        if others:
            # few: most configurations have a smallest first part
            tied = ((images == least[:, None]).sum(1) > 1).nonzero()[:, 0]
            smallest = images[tied] == least[tied, None]
            for weights, offsets in others:
                more = torch.where(smallest, torch.addmm(offsets, bits[tied], weights), torch.inf)
                smallest = more == more.amin(1, keepdim=True)
            chosen[tied] = smallest.to(torch.uint8).argmax(1)
        signs = self._invariance.signs.to(spins.dtype)
        found = spins.gather(1, self._invariance.permutations[chosen]) * signs[chosen, None]
        factors = self._invariance.log_factors
        return pack(found), None if factors is None else -factors[chosen]


def _weights(invariance: Invariance, begin: int) -> tuple[Tensor, Tensor]:
    """Weights (N, G) and offsets (G,) that give the part of the images' words from site ``begin`` on, float64."""
    sources = invariance.permutations[:, begin : begin + EXACT_SITES]
    signs = invariance.signs.to(torch.float64)[:, None]
    powers = 2.0 ** torch.arange(sources.shape[1], dtype=torch.float64, device=sources.device)
    weights = torch.zeros(invariance.permutations.shape, dtype=torch.float64, device=sources.device)
    weights = weights.scatter(1, sources, signs * powers)
    # a flipped bit is 1 minus the bit
    return weights.T.contiguous(), torch.where(signs < 0, powers, 0.0).sum(1)
