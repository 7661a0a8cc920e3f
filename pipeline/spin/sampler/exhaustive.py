"""All configurations with their exact weights: no statistical error, small systems only."""

from __future__ import annotations

import torch
from torch import Tensor

from pipeline.spin.networks import WaveFunction
from pipeline.spin.schema import ExhaustiveConfig
from pipeline.spin.subspace import decode


class ExhaustiveSampler:
    """Enumerates the basis once.

    Args:
        config: limits the number of sites.
        n_sites: number of spins N.
        device: torch device name.
    """

    exact = True

    def __init__(self, config: ExhaustiveConfig, n_sites: int, device: str) -> None:
        self.spins = decode(torch.arange(2**n_sites, device=device), n_sites)

    @torch.no_grad()
    def sample(self, ansatz: WaveFunction, seed: int, purpose: str, k: int) -> tuple[Tensor, Tensor]:
        """Configurations (2^N, N) int8 and normalised weights |ψ|² / Σ|ψ|² (2^N,) float64.

        The arguments (seed, purpose, k) are there for samplers that draw; enumeration needs no randomness.
        """
        return self.spins, torch.softmax(2.0 * ansatz.log_amplitude(self.spins).double(), dim=0)
