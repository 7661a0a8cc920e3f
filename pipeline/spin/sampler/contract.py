"""The shape of every sampler of |ψ|², and of what it returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from pipeline.spin.bits import unique_spins
from pipeline.spin.wave_function import WaveFunction

SamplerState = dict[str, Any]
"""What a sampler carries from one batch to the next (chains); part of a method's state, hence of checkpoints."""


@dataclass(frozen=True)
class Batch:
    """Configurations with weights; ⟨O⟩ = Σ_x weights(x) O_loc(x).

    Attributes:
        spins: distinct configurations, (B, N) int8 of ±1: what is drawn several times is evaluated once.
        weights: (B,) float64, sum 1: exact |ψ|², or the fraction of draws.
        order: (chains, n) int64, the row of ``spins`` of every draw in the order of drawing, one chain a row (a single
            row for independent draws); None where nothing was drawn.
        acceptance: fraction of proposals that were accepted; None without proposals.
    """

    spins: Tensor
    weights: Tensor
    order: Tensor | None = None
    acceptance: float | None = None

    @staticmethod
    def of_draws(draws: Tensor, acceptance: float | None = None) -> Batch:
        """From (chains, n, N) int8 draws."""
        flat = draws.flatten(0, 1)
        spins, order, counts = unique_spins(flat)
        return Batch(spins, counts.double() / len(flat), order.reshape(draws.shape[:2]), acceptance)


class Sampler(Protocol):
    """Draws from |ψ|², or enumerates it.

    Constructed with (config, system, device, chunks). All randomness of batch ``k`` comes from generators seeded by
    (seed, purpose, k), and whatever else a batch depends on is in ``state``: a run killed anywhere goes on with
    identical numbers.

    Attributes:
        exact: weights are |ψ|² itself; there is no statistical error.
        chains: number of Markov chains; None: draws are independent (or there are none).
    """

    exact: bool
    chains: int | None

    def start(self, seed: int, purpose: str) -> SamplerState:
        """State before the first batch."""
        ...

    def sample(
        self, ansatz: WaveFunction, state: SamplerState, samples: int | None, seed: int, purpose: str, k: int
    ) -> Batch:
        """Batch ``k``; advances ``state`` in place. ``samples``: None for the sampler's own number."""
        ...
