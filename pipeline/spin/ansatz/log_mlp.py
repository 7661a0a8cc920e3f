"""Multilayer perceptron with layer norms that gives log ψ (NIR paper, Section 4.2)."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn

from pipeline.spin.ansatz.layers import RowNorm, activation
from pipeline.spin.ansatz.log_mlp_config import LogMLPConfig
from pipeline.spin.systems import SpinSystem
from pipeline.spin.wave_function import WaveFunction


class LogMLP(WaveFunction):
    """Hidden layers of a linear map, layer norm and activation each, and a linear map to one or two outputs (u, v).

    Args:
        config: shape of the network, and what its outputs are.
        system: gives the number of spins N.
    """

    def __init__(self, config: LogMLPConfig, system: SpinSystem) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for fan_in, fan_out in itertools.pairwise([system.size, *[config.width] * config.depth]):
            layers += [nn.Linear(fan_in, fan_out), RowNorm(fan_out), activation(config.activation)]
        outputs = 1 if config.amplitudes == "positive" else 2
        self.network = nn.Sequential(*layers, nn.Linear(config.width, outputs))
        self.signed = config.amplitudes == "signed"

    def log_amplitude(self, spins: Tensor) -> Tensor:
        """log ψ, (B, N) spins ±1 → (B,): u; u + iv; or u + log|v| + iπ where v < 0, which is -∞ at v = 0."""
        values = self.network(spins.to(next(self.parameters()).dtype))
        if values.shape[1] == 1:
            return values[:, 0]
        u, v = values.unbind(1)
        if not self.signed:
            return torch.complex(u, v)
        return torch.complex(u + v.abs().log(), math.pi * (v < 0).to(v.dtype))
