"""Independent samples from a normalised ansatz: no Markov chain, no autocorrelation."""

from __future__ import annotations

import torch

from pipeline.base.numbers.rng import torch_generator
from pipeline.base.run.ranks import ALONE, Ranks, shared
from pipeline.spin.chunks import Chunks, in_chunks
from pipeline.spin.sampler.contract import Batch, Errors, NoState
from pipeline.spin.sampler.schema import DirectConfig
from pipeline.spin.space import Space
from pipeline.spin.wave_function import DirectWaveFunction, WaveFunction


class DirectSampler:
    """Draws by ``ansatz.draw`` (see :class:`pipeline.spin.sampler.contract.Sampler`).

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
        """
        del state
        if not isinstance(ansatz, DirectWaveFunction):
            raise TypeError(f"{type(ansatz).__name__} cannot be drawn from directly")
        generator = torch_generator(seed, purpose, k, self._device)
        # all numbers at once: what a generator returns depends on the size of the request, which memory must not change
        shape = (samples or self._samples, ansatz.n_uniforms)
        uniforms = torch.rand(shape, generator=generator, dtype=torch.float64, device=self._device)
        draws = shared(self._ranks, lambda rows: in_chunks(self._chunks, "draws", ansatz.draw, rows), uniforms)
        return Batch.of_draws(draws[None])
