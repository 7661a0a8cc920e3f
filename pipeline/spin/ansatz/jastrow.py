"""Jastrow wave function with real or complex parameters (Jastrow 1955, for spins)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pipeline.spin.ansatz.jastrow_config import JastrowConfig
from pipeline.spin.systems import SpinSystem
from pipeline.spin.wave_function import WaveFunction


class Jastrow(WaveFunction):
    """log ψ(x) = Σ_i a_i s_i + Σ_{i<j} W_ij s_i s_j, every pair with a coefficient of its own.

    Complex parameters are kept as two sets of real ones.

    Args:
        config: deviation of the initial parameters, real or complex.
        system: gives the number of spins N.

    Attributes:
        coefficients: (1 or 2, N + N(N-1)/2): a, then W by rows; real and then imaginary parts.
    """

    pairs: Tensor

    def __init__(self, config: JastrowConfig, system: SpinSystem) -> None:
        super().__init__()
        n = system.size
        parts = 2 if config.parameters == "complex" else 1
        self.coefficients = nn.Parameter(config.deviation * torch.randn(parts, n + n * (n - 1) // 2))
        self.register_buffer("pairs", torch.triu_indices(n, n, 1), persistent=False)

    def log_amplitude(self, spins: Tensor) -> Tensor:
        """log ψ(x), (B, N) → (B,), real or complex like the parameters."""
        x = spins.to(self.coefficients.dtype)
        products = torch.cat([x, x[:, self.pairs[0]] * x[:, self.pairs[1]]], dim=1)
        values = products @ self.coefficients.T
        return torch.complex(values[:, 0], values[:, 1]) if values.shape[1] == 2 else values[:, 0]
