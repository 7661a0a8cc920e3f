"""Quantum-number projection: a state summed over a symmetry group (ViT paper, Eq. 12)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor

from pipeline.spin.bits import distinct, pack, unpack
from pipeline.spin.representatives import Invariance, Representatives
from pipeline.spin.symmetry.characters import Permutation
from pipeline.spin.symmetry.groups import Transformation, representatives
from pipeline.spin.wave_function import DirectWaveFunction, EnvelopedWaveFunction, WaveFunction

FEW = 8
"""Configurations among which no images of each other are looked for."""


class Projected(WaveFunction):
    """ψ̃(σ) = 1/|G| Σ_g χ(g) ψ(gσ) of any state ψ with log ψ: the part of it with the quantum numbers χ.

    Amplitudes are added, with their phases, so that images may cancel; ψ̃ is not normalised, even if ψ is. The mean and
    not the sum: coset representatives of what leaves ψ unchanged give the same as the whole group
    (:func:`pipeline.spin.symmetry.groups.representatives`).

    Args:
        base: the state ψ, whose parameters are those of ψ̃.
        group: G: transformations of configurations with their characters ±1.
        invariances: generators of permutations p of the sites with ψ(σ_p) = ψ(σ) whatever the parameters.

    Attributes:
        images: number of configurations that the base is evaluated on for one of ψ̃.
    """

    def __init__(
        self, base: WaveFunction, group: Mapping[Transformation, int], invariances: Iterable[Permutation] = ()
    ) -> None:
        super().__init__()
        self.base = base
        self.signed = base.signed  # characters are ±1
        summed = representatives(group, invariances)
        self.images = len(summed)
        self._even = all(character > 0 for character in group.values())
        # moving the whole module would move the base, whose parameters an optimizer may hold already
        device = next(base.parameters()).device
        for name, elements in (("", summed), ("group_", group)):
            moves = torch.tensor([move for move, _ in elements], device=device)
            signs = torch.tensor([sign for _, sign in elements], dtype=torch.int8, device=device)
            characters = torch.tensor(list(elements.values()), dtype=torch.int8, device=device)
            self.register_buffer(f"_{name}permutations", moves, persistent=False)
            self.register_buffer(f"_{name}signs", signs, persistent=False)
            self.register_buffer(f"_{name}characters", characters, persistent=False)
        self._permutations: Tensor
        self._signs: Tensor
        self._characters: Tensor
        self._group_permutations: Tensor
        self._group_signs: Tensor
        self._group_characters: Tensor

    def log_amplitude(self, spins: Tensor) -> Tensor:
        """log ψ̃, (B, N) spins ±1 → (B,); complex where that of the base is, or a character is odd.

        Images of one configuration are neighbours: the base sees (B · images, N). Without gradients configurations that
        are images of each other are evaluated once.
        """
        if torch.is_grad_enabled():
            return self._evaluate(spins)
        return self._merged(spins, self.base.log_amplitude)

    @torch.no_grad()
    def evaluate(self, spins: Tensor) -> Tensor:
        """The same without derivatives, by what the base has for that."""
        return self._merged(spins, self.base.evaluate)

    def _merged(self, spins: Tensor, of_base: Callable[[Tensor], Tensor]) -> Tensor:
        """log ψ̃ from log ψ of the base, configurations that are images of each other evaluated once."""
        if len(spins) <= FEW:
            return self._evaluate(spins, of_base)
        words, factors = Representatives(self.invariance())(pack(spins))
        _, first, inverse = distinct(words)
        some = unpack(words[first], spins.shape[1]).to(spins.dtype)
        logs = self._evaluate(some, of_base)[inverse]
        return logs if factors is None else logs + factors.to(torch.promote_types(logs.dtype, torch.complex64))

    def invariance(self) -> Invariance:
        """The whole group, with iπ where a character is odd."""
        if self._even:
            return Invariance(self._group_permutations, self._group_signs)
        angles = math.pi * (self._group_characters < 0).double()
        return Invariance(self._group_permutations, self._group_signs, torch.complex(torch.zeros_like(angles), angles))

    def present(self, spins: Tensor) -> Tensor | None:
        """As the base says: its configurations are mapped to each other by the group."""
        return self.base.present(spins)

    def _evaluate(self, spins: Tensor, of_base: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        return self._mean(self._of_images(spins, of_base))

    def _of_images(self, spins: Tensor, of_base: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """log ψ of the images that are summed over, (B, N) → (B, images); by ``of_base`` if given."""
        images = spins[:, self._permutations] * self._signs[:, None].to(spins.dtype)
        return (of_base or self.base.log_amplitude)(images.flatten(0, 1)).view(len(spins), self.images)

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


class ProjectedByImages(Projected):
    """The same of a base that evaluates connected configurations in a way of its own: image by image."""

    def connected_log_amplitudes(self, spins: Tensor, masks: Tensor, wanted: Tensor | None = None) -> Tensor:
        """log ψ̃ with the sites of every mask flipped, from those of the base; (B, N), (K, N) bool → (B, K)."""
        found = []
        for permutation, sign in zip(self._permutations, self._signs, strict=True):
            images = spins[:, permutation] * sign.to(spins.dtype)
            found.append(self.base.connected_log_amplitudes(images, masks[:, permutation], wanted))
        return self._mean(torch.stack(found, -1))


class ProjectedDirect(ProjectedByImages, EnvelopedWaveFunction):
    """The same of a normalised base that can be drawn from.

    |ψ̃|² = |1/|G| Σ_g χ(g) ψ(gσ)|² is at most q = 1/|G| Σ_g |ψ(gσ)|², which is normalised: a draw of the base, moved by
    a random element of the group. Nothing is rejected where the base has the symmetry already.

    Args:
        base: the state ψ.
        group: see :class:`Projected`.
        invariances: empty; every element of the group counts.
    """

    def __init__(
        self, base: DirectWaveFunction, group: Mapping[Transformation, int], invariances: Iterable[Permutation] = ()
    ) -> None:
        super().__init__(base, group, invariances)
        assert self.images == len(group), "moves by cosets do not make the envelope"
        self.n_uniforms = base.n_uniforms + 1

    def draw_envelope(self, uniforms: Tensor) -> Tensor:
        """Draws of q, (B, N) int8 ±1; the last of the uniforms (B, n_uniforms) chooses the element of the group."""
        assert isinstance(self.base, DirectWaveFunction)
        spins = self.base.draw(uniforms[:, :-1])
        chosen = (uniforms[:, -1] * self.images).long()
        return spins.gather(1, self._permutations[chosen]) * self._signs[chosen][:, None]

    def terms(self, spins: Tensor) -> Tensor:
        """log ψ of all images, (B, N) → (B, |G|)."""
        return self._of_images(spins)

    def judge(self, terms: Tensor) -> tuple[Tensor, Tensor]:
        """log ψ̃ and log |ψ̃|²/q from ``terms`` (B, |G|), each (B,); the second is real."""
        logs = self._mean(terms)
        return logs, 2 * logs.real - (torch.logsumexp(2 * terms.real, -1) - math.log(self.images))
