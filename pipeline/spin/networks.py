"""Building blocks that several networks share, and builders from configuration."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from hydra.utils import get_class
from torch import Tensor, nn


def dense_layers(widths: Sequence[int]) -> list[nn.Module]:
    """Linear + ReLU layers of the given widths (fan-in first), ready to be followed by an output layer."""
    layers: list[nn.Module] = []
    for fan_in, fan_out in itertools.pairwise(widths):
        layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
    return layers


class WaveFunction(nn.Module):
    """An ansatz that gives log ψ; samplers and local energies need nothing else."""

    def forward(self, spins: Tensor) -> Tensor:
        """Amplitudes ψ(x), unnormalised, for methods that want them as such; (B, N) → (B,)."""
        return self.log_amplitude(spins).exp()

    def log_amplitude(self, spins: Tensor) -> Tensor:
        """log ψ(x), (B, N) spins ±1 → (B,)."""
        raise NotImplementedError


def build_ansatz(config: Any, n_sites: int, seed: int) -> nn.Module:
    """The ansatz that ``config._target_`` names, initialised on the CPU from ``seed`` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network: nn.Module = get_class(config._target_)(config, n_sites)
    return network


def build_optimizer(config: Any, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """The optimizer that ``config._target_`` names, with the node's other entries as keyword arguments."""
    options = {name: value for name, value in vars(config).items() if name != "_target_"}
    optimizer: torch.optim.Optimizer = get_class(config._target_)(parameters, **options)
    return optimizer
