"""Quantum-number projection: a state summed over a symmetry group (ViT paper, Eq. 12)."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from pipeline.spin.symmetry.groups import Transformation
from pipeline.spin.wave_function import WaveFunction


class Projected(WaveFunction):
    """ψ̃(σ) = 1/|G| Σ_g χ(g) ψ(gσ) of any state ψ with log ψ: the part of it with the quantum numbers χ.

    Amplitudes are added, with their phases, so that images may cancel; ψ̃ is not normalised, even if ψ is. The mean and
    not the sum: coset representatives of what leaves ψ unchanged give the same as the whole group
    (:func:`pipeline.spin.symmetry.groups.representatives`).

    Args:
        base: the state ψ, whose parameters are those of ψ̃.
        group: transformations of configurations with their characters ±1.
    """

    def __init__(self, base: WaveFunction, group: Mapping[Transformation, int]) -> None:
        super().__init__()
        self.base = base
        # moving the whole module would move the base, whose parameters an optimizer may hold already
        device = next(base.parameters()).device
        signs = torch.tensor([sign for _, sign in group], dtype=torch.int8, device=device)
        characters = torch.tensor(list(group.values()), dtype=torch.int8, device=device)
        permutations = torch.tensor([move for move, _ in group], device=device)
        self.register_buffer("_permutations", permutations, persistent=False)
        self.register_buffer("_signs", signs, persistent=False)
        self.register_buffer("_characters", characters, persistent=False)
        self._even = all(character > 0 for character in group.values())
        self._permutations: Tensor
        self._signs: Tensor
        self._characters: Tensor

    def log_amplitude(self, spins: Tensor) -> Tensor:
        """log ψ̃, (B, N) spins ±1 → (B,); complex where that of the base is, or a character is odd.

        Images of one configuration are neighbours: the base sees (B |G|, N).
        """
        images = spins[:, self._permutations] * self._signs[:, None].to(spins.dtype)
        logs = self.base.log_amplitude(images.flatten(0, 1))
        return self._mean(logs.reshape(len(spins), -1))

    def present(self, spins: Tensor) -> Tensor | None:
        """As the base says: its configurations are mapped to each other by the group."""
        return self.base.present(spins)

    def connected_log_amplitudes(self, spins: Tensor, masks: Tensor, wanted: Tensor | None = None) -> Tensor:
        """log ψ̃ with the sites of every mask flipped; image by image where the base has a way of its own."""
        if type(self.base).connected_log_amplitudes is WaveFunction.connected_log_amplitudes:
            return super().connected_log_amplitudes(spins, masks, wanted)
        found = []
        for permutation, sign in zip(self._permutations, self._signs, strict=True):
            images = spins[:, permutation] * sign.to(spins.dtype)
            found.append(self.base.connected_log_amplitudes(images, masks[:, permutation], wanted))
        return self._mean(torch.stack(found, -1))

    def _mean(self, logs: Tensor) -> Tensor:
        """log of the mean of χ exp(logs) over the last index; -∞ where all vanish or they cancel."""
        if self._even and not logs.is_complex():
            return torch.logsumexp(logs, -1) - math.log(logs.shape[-1])
        largest = logs.real.detach().amax(-1, keepdim=True)
        # where every image vanishes there is no scale, and -∞ - -∞ would be NaN
        largest = torch.where(largest == -torch.inf, 0.0, largest)
        mean = ((logs - largest).exp() * self._characters.to(logs.real.dtype)).mean(-1)
        if not mean.is_complex():
            mean = torch.complex(mean, torch.zeros_like(mean))
        return mean.log() + largest[..., 0]
