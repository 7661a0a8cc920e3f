"""What samplers and methods know of an ansatz: log ψ, connected amplitudes and, where there are any, draws."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from pipeline.spin.representatives import Invariance


class WaveFunction(nn.Module):
    """An ansatz that gives log ψ, real or complex; samplers and local energies need nothing else.

    Attributes:
        walks: whether it has a ``walk``, which must then be cheaper than evaluating every proposal.
        log_rounding: log of the |ψ|/‖ψ‖ below which amplitudes are what is left by rounding, of sums that cancel.
        signed: ψ is real: the imaginary part of log ψ, where there is one, is a multiple of π without derivatives.
    """

    walks = False
    log_rounding = -math.inf
    signed = False

    def forward(self, spins: Tensor) -> Tensor:
        """Amplitudes ψ(x), unnormalised, for methods that want them as such; (B, N) → (B,)."""
        return self.log_amplitude(spins).exp()

    def log_amplitude(self, spins: Tensor) -> Tensor:
        """log ψ(x), (B, N) spins ±1 → (B,); complex where the ansatz has phases."""
        raise NotImplementedError

    def evaluate(self, spins: Tensor) -> Tensor:
        """log ψ(x) where no derivatives are asked for, neither backward nor forward ones, (B, N) → (B,).

        An ansatz that has a faster way then overrides this; the values are those of :meth:`log_amplitude` up to
        rounding.
        """
        return self.log_amplitude(spins)

    def batch_log_amplitude(self, spins: Tensor) -> Tensor:
        """log ψ(x) where derivatives of single configurations are not asked for, (B, N) → (B,).

        An ansatz of which configurations share parts overrides this, to evaluate these once.
        """
        return self.log_amplitude(spins)

    def connected_log_amplitudes(self, spins: Tensor, masks: Tensor, wanted: Tensor | None = None) -> Tensor:
        """log ψ of every configuration with the sites of every mask flipped: (B, N), (K, N) bool → (B, K).

        An ansatz that can reuse what it computed for ``spins`` overrides this.

        Args:
            spins: configurations ±1.
            masks: sites to flip.
            wanted: (B, K) bool, True where the value is needed; what the others come back as has no meaning. None: all.
        """
        if wanted is None:
            flipped = torch.where(masks, -spins[:, None, :], spins[:, None, :])
            return self.log_amplitude(flipped.flatten(0, 1)).reshape(len(spins), len(masks))
        rows, groups = torch.nonzero(wanted, as_tuple=True)
        values = self.log_amplitude(torch.where(masks[groups], -spins[rows], spins[rows]))
        return values.new_zeros(wanted.shape).index_put((rows, groups), values)

    def present(self, spins: Tensor) -> Tensor | None:
        """Which of ``spins`` (B, N) the ansatz is defined on, (B,) bool; None: on all. Elsewhere ψ = 0, always."""
        del spins
        return None

    def invariance(self) -> Invariance | None:
        """Symmetries that ψ has whatever its parameters, up to rounding; None: none are known.

        Of configurations that they map onto each other local energies evaluate one. Not asked of an ansatz with
        :meth:`connected_log_amplitudes` of its own.
        """
        return None

    def walk(self, spins: Tensor, sites: Tensor, thresholds: Tensor) -> tuple[Tensor, Tensor]:
        """Metropolis proposals of single flips, one after the other; for an ansatz with ``walks``.

        Args:
            spins: where the chains start, (C, N) int8.
            sites: (S, C) int64, what is flipped in each of S proposals.
            thresholds: (S, C) float64; a proposal x → x' is accepted if log|ψ(x')/ψ(x)| is larger.

        Returns:
            Where the chains end, (C, N) int8, and which proposals were accepted, (S, C) bool.
        """
        raise NotImplementedError


class DirectWaveFunction(WaveFunction):
    """A normalised ansatz, Σ|ψ|² = 1, whose |ψ|² can be drawn from without a Markov chain.

    Attributes:
        n_uniforms: random numbers that one configuration takes (N, or more with symmetrisation).
    """

    n_uniforms: int

    def draw(self, uniforms: Tensor) -> Tensor:
        """Independent configurations (B, N) int8 ±1 from uniforms in [0, 1), (B, n_uniforms) float64."""
        raise NotImplementedError


class EnvelopedWaveFunction(WaveFunction):
    """An ansatz with |ψ|² <= q for a normalised distribution q that can be drawn from: its envelope.

    Draws of q that are kept with the probability |ψ|²/q follow |ψ|² exactly, which need not be normalised (rejection
    sampling).

    Attributes:
        n_uniforms: random numbers that one draw of the envelope takes.
    """

    n_uniforms: int

    def draw_envelope(self, uniforms: Tensor) -> Tensor:
        """Independent draws of q, (B, N) int8 ±1, from uniforms in [0, 1), (B, n_uniforms) float64."""
        raise NotImplementedError

    def terms(self, spins: Tensor) -> Tensor:
        """What both ψ and q are made of, (B, N) spins ±1 → (B, T), real or complex."""
        raise NotImplementedError

    def judge(self, terms: Tensor) -> tuple[Tensor, Tensor]:
        """log ψ and log |ψ|²/q <= 0 of the configurations that ``terms`` (B, T) belong to, each (B,)."""
        raise NotImplementedError


class AutoregressiveWaveFunction(DirectWaveFunction):
    """ψ(s) = Π_i ψ_i(s_i | s_<i) with Σ_s |ψ_i(s | ·)|² = 1 (NAQS paper, Eqs. 2 and 3).

    Attributes:
        order: sites in the order of the product; a permutation of range(N).
    """

    order: tuple[int, ...]

    def conditionals(self, spins: Tensor) -> Tensor:
        """log ψ_i(s | s_<i) for s = +1 (index 0) and s = -1 (index 1): (B, N) → (B, N, 2), by site, real or complex."""
        raise NotImplementedError

    def log_amplitude(self, spins: Tensor) -> Tensor:
        """log ψ(x) = Σ_i log ψ_i(s_i | s_<i), (B, N) spins ±1 → (B,)."""
        chosen = (spins < 0).long()[..., None]
        return self.conditionals(spins).gather(-1, chosen).squeeze(-1).sum(-1)
