"""Restricted Boltzmann machine with real or complex parameters (Carleo and Troyer 2017)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pipeline.spin.networks import WaveFunction
from pipeline.spin.schema import RBMConfig, SpinSystem


class RBM(WaveFunction):
    """log ψ(x) = a·x + Σ_j log 2cosh(b_j + W_j·x).

    With real parameters all amplitudes are positive, as in the ground state of a stoquastic Hamiltonian. Complex ones
    are kept as two sets of real parameters, so that casts, optimizers and checkpoints treat them like any others.

    Args:
        config: hidden units per spin, deviation of the initial parameters, real or complex.
        system: gives the number of spins N.
    """

    def __init__(self, config: RBMConfig, system: SpinSystem) -> None:
        super().__init__()
        self.visible_bias, self.dense = _parameters(config, system.size)
        self.phase_visible_bias: nn.Parameter | None = None
        self.phase_dense: nn.Linear | None = None
        if config.parameters == "complex":
            self.phase_visible_bias, self.phase_dense = _parameters(config, system.size)

    def log_amplitude(self, spins: Tensor) -> Tensor:
        """log ψ(x), (B, N) → (B,), real or complex like the parameters."""
        x = spins.to(self.visible_bias.dtype)
        visible, theta = x @ self.visible_bias, self.dense(x)
        if self.phase_dense is not None and self.phase_visible_bias is not None:
            visible = torch.complex(visible, x @ self.phase_visible_bias)
            theta = torch.complex(theta, self.phase_dense(x))
            # log 2cosh θ = θ + log(1 + exp(-2θ)) with the sign of θ that makes Re θ >= 0
            theta = torch.where(theta.real < 0, -theta, theta)
            return visible + (theta + torch.log1p(torch.exp(-2.0 * theta))).sum(-1)
        # log 2cosh θ = |θ| + log(1 + exp(-2|θ|)), safe for large θ
        theta = theta.abs()
        return visible + (theta + nn.functional.softplus(-2.0 * theta)).sum(-1)


def _parameters(config: RBMConfig, n_sites: int) -> tuple[nn.Parameter, nn.Linear]:
    """Visible biases and the hidden layer, normally distributed."""
    visible_bias = nn.Parameter(config.deviation * torch.randn(n_sites))
    dense = nn.Linear(n_sites, config.alpha * n_sites)
    nn.init.normal_(dense.weight, std=config.deviation)
    nn.init.normal_(dense.bias, std=config.deviation)
    return visible_bias, dense
