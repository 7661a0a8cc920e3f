"""All configurations with their exact weights: no statistical error, small systems only."""

from __future__ import annotations

import torch

from pipeline.base.run.ranks import ALONE, Ranks, shared
from pipeline.spin.bits import unpack
from pipeline.spin.chunks import Chunks, in_chunks
from pipeline.spin.sampler.contract import Batch, Errors, NoState
from pipeline.spin.sampler.schema import ExhaustiveConfig
from pipeline.spin.space import Space
from pipeline.spin.wave_function import WaveFunction

LOG_SMALLEST = -150.0
"""log of the smallest |ψ|/‖ψ‖ that is told apart from smaller ones. Where ψ vanishes, or is smaller than doubles can
square, Hψ need not: |Hψ|² = |ψ|² |E_loc|² counts in the variance, and 0 times infinity would be NaN."""


class ExhaustiveSampler:
    """Enumerates the basis once (see :class:`pipeline.spin.sampler.contract.Sampler`).

    Args:
        config: limits the number of sites.
        space: gives the number of spins and the sector that counts.
        device: torch device name.
        chunks: keeps evaluations within memory.
        ranks: which share the work.
    """

    errors: Errors = "exact"

    def __init__(
        self, config: ExhaustiveConfig, space: Space, device: str, chunks: Chunks, ranks: Ranks = ALONE
    ) -> None:
        del config
        self._chunks, self._ranks = chunks, ranks
        spins = unpack(torch.arange(2**space.size, device=device)[:, None], space.size)
        if space.sector is not None:
            spins = spins[(spins.view(-1, space.copies, space.sites).sum(2) == space.sector).all(1)]
        self.spins = spins

    def start(self, seed: int, purpose: str) -> NoState:
        """Nothing changes from batch to batch."""
        del seed, purpose
        return NoState()

    def sample(
        self, ansatz: WaveFunction, state: NoState, samples: int | None, seed: int, purpose: str, k: int
    ) -> Batch:
        """All configurations of the ansatz and their weights |ψ|² / Σ|ψ|²; enumeration needs no randomness.

        No weight vanishes: amplitudes below e^-150 ‖ψ‖, or below the rounding of the ansatz, count as that.
        """
        del state, samples, seed, purpose, k
        present = ansatz.present(self.spins)
        spins = self.spins if present is None else self.spins[present]
        log_psi = shared(
            self._ranks, lambda rows: in_chunks(self._chunks, "amplitudes", ansatz.log_amplitude, rows), spins
        )
        logs = log_psi.real.double()
        floor = 0.5 * torch.logsumexp(2.0 * logs, dim=0) + max(LOG_SMALLEST, ansatz.log_rounding)
        weights = torch.softmax(2.0 * logs.maximum(floor), dim=0)
        known = log_psi.to(torch.complex128 if log_psi.is_complex() else torch.float64)
        return Batch(spins, weights, log_floor=floor, log_amplitudes=known)
