"""Restricted Boltzmann machine with real parameters (Carleo and Troyer 2017)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pipeline.spin.networks import WaveFunction
from pipeline.spin.schema import RBMConfig, SpinSystem


class RBM(WaveFunction):
    """log ψ(x) = a·x + Σ_j log 2cosh(b_j + W_j·x): positive amplitudes, for stoquastic Hamiltonians.

    Args:
        config: hidden units per spin and the deviation of the initial parameters.
        system: gives the number of spins N.
    """

    def __init__(self, config: RBMConfig, system: SpinSystem) -> None:
        super().__init__()
        hidden = config.alpha * system.size
        self.visible_bias = nn.Parameter(config.deviation * torch.randn(system.size))
        self.dense = nn.Linear(system.size, hidden)
        nn.init.normal_(self.dense.weight, std=config.deviation)
        nn.init.normal_(self.dense.bias, std=config.deviation)

    def log_amplitude(self, spins: Tensor) -> Tensor:
        """log ψ(x), real; (B, N) → (B,)."""
        x = spins.to(self.visible_bias.dtype)
        theta = self.dense(x).abs()
        # log 2cosh θ = |θ| + log(1 + exp(-2|θ|)), safe for large θ
        return x @ self.visible_bias + (theta + nn.functional.softplus(-2.0 * theta)).sum(-1)
