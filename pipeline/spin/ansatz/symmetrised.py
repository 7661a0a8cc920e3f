"""Averages of a directly sampled state over a symmetry group (NAQS paper, Appendix B.2)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pipeline.spin.symmetry.groups import Transformation
from pipeline.spin.wave_function import DirectWaveFunction


class Symmetrised(DirectWaveFunction):
    """Mixture of |T| transformed copies of a state f, exactly normalised and invariant.

    Re log ψ(s) = ½ ln Σ_T e^{2 Re f(Ts)} / |T| and Im log ψ(s) = Im ln Σ_T e^{i Im f(Ts)} (Eqs. B1, B2): |ψ|² is
    the mean of the copies' probabilities, the phase the circular mean of theirs.

    Args:
        base: the state f, normalised.
        group: transformations of configurations, a group with the identity.
    """

    def __init__(self, base: DirectWaveFunction, group: Sequence[Transformation]) -> None:
        super().__init__()
        self.base = base
        self.n_uniforms = base.n_uniforms + 1
        self.register_buffer("_permutations", torch.tensor([move for move, _ in group]), persistent=False)
        self.register_buffer("_signs", torch.tensor([sign for _, sign in group], dtype=torch.int8), persistent=False)
        self._permutations: Tensor
        self._signs: Tensor

    def log_amplitude(self, spins: Tensor) -> Tensor:
        """log ψ, (B, N) spins ±1 → (B,); real where that of the base is."""
        images = spins[:, self._permutations] * self._signs[:, None].to(spins.dtype)
        return _mean(self.base.log_amplitude(images.flatten(0, 1)).reshape(len(spins), -1))

    def present(self, spins: Tensor) -> Tensor | None:
        """As the base says: its configurations are mapped to each other by the group."""
        return self.base.present(spins)

    def connected_log_amplitudes(self, spins: Tensor, masks: Tensor, wanted: Tensor | None = None) -> Tensor:
        """log ψ with the sites of every mask flipped, from those of the base; (B, N), (K, N) bool → (B, K)."""
        found = []
        for permutation, sign in zip(self._permutations, self._signs, strict=True):
            images = spins[:, permutation] * sign.to(spins.dtype)
            found.append(self.base.connected_log_amplitudes(images, masks[:, permutation], wanted))
        return _mean(torch.stack(found, -1))

    def draw(self, uniforms: Tensor) -> Tensor:
        """Configurations (B, N) int8 ±1: drawn from the base, then transformed as the last of the uniforms says.

        Args:
            uniforms: in [0, 1), (B, n_uniforms) float64.
        """
        spins = self.base.draw(uniforms[:, :-1])
        chosen = (uniforms[:, -1] * len(self._signs)).long()
        return spins.gather(1, self._permutations[chosen]) * self._signs[chosen][:, None]


def _mean(logs: Tensor) -> Tensor:
    """Eqs. B1 and B2 over the last index."""
    n_images = logs.new_tensor(logs.shape[-1], dtype=logs.real.dtype)
    magnitude = 0.5 * (torch.logsumexp(2.0 * logs.real, -1) - n_images.log())
    if not logs.is_complex():
        return magnitude
    return torch.complex(magnitude, torch.atan2(logs.imag.sin().sum(-1), logs.imag.cos().sum(-1)))
