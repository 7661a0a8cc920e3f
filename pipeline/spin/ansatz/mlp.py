"""Dense real wave function with a bounded output (NF+NQS paper, Section IV.B)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pipeline.spin.ansatz.layers import dense_layers
from pipeline.spin.ansatz.schema import MLPConfig
from pipeline.spin.systems import SpinSystem

LAST_LAYER_SCALE = 0.3
"""Keeps the initial outputs in the linear part of the tanh."""


class MLP(nn.Module):
    """ψ(x) = tanh(W_out relu(... relu(W_1 x))): real, signed, no exponential.

    Args:
        config: widths of the hidden layers and initialisation.
        system: gives the number of spins N.
    """

    def __init__(self, config: MLPConfig, system: SpinSystem) -> None:
        super().__init__()
        widths = [system.size, *config.hidden]
        self.network = nn.Sequential(*dense_layers(widths), nn.Linear(widths[-1], 1), nn.Tanh())
        if config.initialisation == "orthogonal":
            self._orthogonal()

    @torch.no_grad()
    def _orthogonal(self) -> None:
        """Orthogonal weights with the gain of a ReLU, zero biases, and a last layer small enough not to saturate.

        The library's default shrinks the signal by about 1/√6 a layer, so that a deep network starts out constant
        and needs several times as many updates.
        """
        linear = [layer for layer in self.network if isinstance(layer, nn.Linear)]
        for layer in linear:
            nn.init.orthogonal_(layer.weight, nn.init.calculate_gain("relu"))
            nn.init.zeros_(layer.bias)
        linear[-1].weight.mul_(LAST_LAYER_SCALE)

    def forward(self, spins: Tensor) -> Tensor:
        """Amplitudes ψ(x), (B, N) → (B,), in the dtype of the weights."""
        return self.network(spins.to(next(self.parameters()).dtype)).squeeze(-1)
