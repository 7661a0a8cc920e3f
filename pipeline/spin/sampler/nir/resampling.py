"""Proposals with their importance weights, and what is drawn again from them (NIR paper, Section 3.1)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pipeline.spin.bits import first_rows, unique_spins
from pipeline.spin.sampler.contract import Batch

LOWEST = -100.0
"""log of the smallest |ψ|² relative to the largest of a batch, as far as the backward divergence sees it."""


@dataclass(frozen=True)
class Proposals:
    """Independent draws from q.

    Attributes:
        spins: in the order of drawing, (n, M) int8 ±1.
        log_q: (n,) float64.
        log_psi: log ψ, (n,) float64 or complex128; real part -∞ where ψ vanishes.
    """

    spins: Tensor
    log_q: Tensor
    log_psi: Tensor

    @staticmethod
    def joined(some: list[Proposals]) -> Proposals:
        """One after the other."""
        parts = [(one.spins, one.log_q, one.log_psi) for one in some]
        spins, log_q, log_psi = (torch.cat(list(part)) for part in zip(*parts, strict=True))
        return Proposals(spins, log_q, log_psi)

    def first(self, count: int) -> Proposals:
        """Those that were drawn first."""
        return Proposals(self.spins[:count], self.log_q[:count], self.log_psi[:count])

    @property
    def log_weights(self) -> Tensor:
        """log |ψ|²/q, (n,) float64, up to the norm of ψ."""
        return 2.0 * self.log_psi.real - self.log_q

    @property
    def log_probability(self) -> Tensor:
        """log |ψ|², (n,) float64, not normalised, never far below the largest: what a backward divergence can take."""
        log_p = 2.0 * self.log_psi.real
        return log_p.maximum(log_p.max() + LOWEST)

    def broken(self) -> Tensor:
        """Which of them ψ is not a finite number on, (m,) int64."""
        return (~(self.log_psi.real < torch.inf)).nonzero()[:, 0]

    def effective(self) -> float:
        """(Σ w)² / Σ w², between 0 (ψ vanishes everywhere) and n."""
        log_w = self.log_weights
        if not bool((log_w > -torch.inf).any()):
            return 0.0
        return float((2.0 * log_w.logsumexp(0) - (2.0 * log_w).logsumexp(0)).exp())

    def divergence(self, kind: str) -> float:
        """Kullback-Leibler divergence of |ψ|² and q from these draws, ``forward`` (Eq. 9) or ``backward`` (Eq. 10).

        The second would be infinite where ψ vanishes: |ψ|² counts as at least :data:`LOWEST` times its largest.
        """
        log_w = self.log_weights
        mean = log_w.logsumexp(0) - math.log(len(log_w))
        if kind == "backward":
            return float((mean - self.log_probability + self.log_q).mean())
        weights, there = torch.softmax(log_w, 0), log_w > -torch.inf
        return float((weights[there] * log_w[there]).sum() - mean)

    def resampled(self, samples: int, generator: torch.Generator) -> Tensor:
        """Which proposals are drawn again, with replacement, with probabilities proportional to their weights.

        Args:
            samples: how many.
            generator: on the device of the proposals.

        Returns:
            (samples,) int64; never one on which ψ vanishes.
        """
        total = torch.softmax(self.log_weights, 0).cumsum(0)
        uniforms = torch.rand(samples, generator=generator, dtype=torch.float64, device=total.device)
        # the last sum may be a rounding error from 1, and uniforms do not reach 1
        return torch.searchsorted(total, uniforms * total[-1], right=True).clamp(max=len(total) - 1)

    def weighted(self) -> Batch:
        """All of them with their weights; those on which ψ vanishes are counted, and have no row."""
        _, order, counts = unique_spins(self.spins)
        log_w = self.log_weights[first_rows(order, len(counts))][order]  # equal draws may be rounded differently
        there = log_w > -torch.inf
        batch = Batch.of_weighted_draws(self.spins[there], log_w[there])
        return replace(batch, vanishing=int((~there).sum()))

    def drawn(self, rows: Tensor) -> Batch:
        """Some of them, (m,) int64, as if they had been drawn from |ψ|²."""
        return Batch.of_draws(self.spins[rows][None], log_amplitudes=self.log_psi[rows][None])
