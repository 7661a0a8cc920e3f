"""Independent samples from a normalised ansatz, or from below one: no Markov chain, no autocorrelation."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from pipeline.base.errors import NonFiniteError
from pipeline.base.numbers.rng import torch_generator
from pipeline.base.run.ranks import ALONE, Ranks, shared
from pipeline.spin.chunks import Chunks, in_chunks
from pipeline.spin.sampler.contract import Batch, Errors, NoState
from pipeline.spin.sampler.schema import DirectConfig
from pipeline.spin.space import Space
from pipeline.spin.wave_function import DirectWaveFunction, EnvelopedWaveFunction, WaveFunction

MARGIN = 1.1
"""How many more draws of an envelope than seem necessary are made, for acceptance fluctuates."""

LARGEST_ROUND = 4
"""Draws of an envelope made at once, over the samples asked for."""

MOST_PROPOSALS = 1000
"""Draws of an envelope for each sample, after which one gives up: ψ all but vanishes."""


class DirectSampler:
    """Draws by ``ansatz.draw``, or by rejection where it has an envelope instead.

    See :class:`pipeline.spin.sampler.contract.Sampler`, and :class:`pipeline.spin.wave_function.EnvelopedWaveFunction`.

    Args:
        config: samples a batch.
        space: any; the ansatz knows its sites.
        device: torch device name; random numbers are drawn there.
        chunks: keeps evaluations within memory.
        ranks: which share the work.
    """

    errors: Errors = "independent"

    def __init__(self, config: DirectConfig, space: Space, device: str, chunks: Chunks, ranks: Ranks = ALONE) -> None:
        del space
        self._samples, self._device, self._chunks, self._ranks = config.samples, device, chunks, ranks

    def start(self, seed: int, purpose: str) -> NoState:
        """Independent draws remember nothing."""
        del seed, purpose
        return NoState()

    def sample(
        self, ansatz: WaveFunction, state: NoState, samples: int | None, seed: int, purpose: str, k: int
    ) -> Batch:
        """``samples`` independent draws, equal ones merged.

        Raises:
            TypeError: an ansatz that cannot be drawn from.
            NonFiniteError: a projected state that all but vanishes.
        """
        del state
        generator, samples = torch_generator(seed, purpose, k, self._device), samples or self._samples
        if isinstance(ansatz, EnvelopedWaveFunction):
            return self._by_rejection(ansatz, samples, generator)
        if not isinstance(ansatz, DirectWaveFunction):
            raise TypeError(f"{type(ansatz).__name__} cannot be drawn from directly")
        return Batch.of_draws(self._in_chunks("draws", ansatz.draw, self._uniforms(samples, ansatz, generator))[None])

    def _by_rejection(self, ansatz: EnvelopedWaveFunction, samples: int, generator: torch.Generator) -> Batch:
        """The first ``samples`` draws of the envelope that are accepted: independent draws of |ψ|²."""
        drawn: list[Tensor] = []
        logs: list[Tensor] = []
        accepted = proposed = 0
        while accepted < samples:
            if proposed >= MOST_PROPOSALS * samples:
                raise NonFiniteError(
                    f"sampler=direct: of {proposed} proposals for {samples} samples {accepted} were accepted; the "
                    "state has hardly a part with the quantum numbers of the projection"
                )
            rate = (accepted + 1) / (proposed + 1)
            wanted = min(MARGIN * (samples - accepted) / rate, LARGEST_ROUND * samples)
            uniforms = self._uniforms(int(wanted) + 1, ansatz, generator)
            chances = torch.rand(len(uniforms), generator=generator, dtype=torch.float64, device=self._device)
            spins = self._in_chunks("draws", ansatz.draw_envelope, uniforms)
            log_psi, log_ratio = ansatz.judge(self._in_chunks("images", ansatz.terms, spins))
            # what is not a number is taken, so that whoever asks for local energies sees it
            taken = torch.nonzero(~(chances.log() >= log_ratio.double())).flatten()[: samples - accepted]
            drawn.append(spins[taken])
            logs.append(log_psi[taken])
            # those behind the last one that is taken were not looked at
            proposed += int(taken[-1]) + 1 if accepted + len(taken) == samples else len(spins)
            accepted += len(taken)
        return Batch.of_draws(torch.cat(drawn)[None], {"acceptance": accepted / proposed}, torch.cat(logs)[None])

    def _uniforms(
        self, samples: int, ansatz: DirectWaveFunction | EnvelopedWaveFunction, generator: torch.Generator
    ) -> Tensor:
        """All at once: what a generator gives depends on how many are asked for, which memory must not change."""
        shape = (samples, ansatz.n_uniforms)
        return torch.rand(shape, generator=generator, dtype=torch.float64, device=self._device)

    def _in_chunks(self, name: str, function: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
        return shared(self._ranks, lambda mine: in_chunks(self._chunks, name, function, mine), rows)
