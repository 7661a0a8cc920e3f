"""The shape of every sampler of |ψ|², and of what it returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor

from pipeline.base.contracts import State
from pipeline.spin.bits import first_rows, unique_spins
from pipeline.spin.wave_function import WaveFunction

Errors = Literal["exact", "independent", "chains", "weighted"]
"""What kind of statistical errors draws have: none, for weights are |ψ|² itself; those of independent draws from |ψ|²;
those of Markov chains; those of independent draws from another distribution, with weights."""


@dataclass(frozen=True)
class Batch:
    """Configurations with weights; ⟨O⟩ = Σ_x weights(x) O_loc(x).

    Attributes:
        spins: distinct configurations, (B, N) int8 of ±1: what is drawn several times is evaluated once.
        weights: (B,) float64, sum 1: exact |ψ|², the fraction of draws, or this times the importance weight.
        order: (chains, n) int64, the row of ``spins`` of every draw in the order of drawing, one chain a row (a single
            row for independent draws); None where nothing was drawn.
        log_weights: (B,) float64, log of the importance weight |ψ|²/q of a single draw of each row, up to a constant
            that is the same for all batches from one ψ; None where draws are from |ψ|².
        log_floor: log of the amplitude that smaller ones count as where weights are |ψ|² itself, a scalar: far below
            what adds to any mean, and yet large enough for its square and for quotients by it to be doubles. Local
            energies must be quotients by the same amplitudes (:func:`pipeline.spin.vmc.local_energy.local_energy`).
            None: nothing is raised.
        log_amplitudes: log ψ of every row, (B,) float64 or complex128, where the sampler knows it anyway, of the ψ
            that it was given, in the precision of its parameters; None where it does not, and with ``log_weights``.
        vanishing: draws of weight zero, which are in no row: local energies are no numbers where ψ vanishes.
        metrics: what the sampler says of this batch (``acceptance``, ...), logged as it comes.
    """

    spins: Tensor
    weights: Tensor
    order: Tensor | None = None
    log_weights: Tensor | None = None
    log_floor: Tensor | None = None
    log_amplitudes: Tensor | None = None
    vanishing: int = 0
    metrics: Mapping[str, float] = field(default_factory=dict)

    @staticmethod
    def of_draws(
        draws: Tensor, metrics: Mapping[str, float] | None = None, log_amplitudes: Tensor | None = None
    ) -> Batch:
        """From (chains, n, N) int8 draws of |ψ|² and, where it is known, log ψ of each of them, (chains, n)."""
        flat = draws.flatten(0, 1)
        spins, order, counts = unique_spins(flat)
        weights = counts.double() / len(flat)
        if log_amplitudes is not None:
            # equal draws may be rounded differently: the first one, on every device
            log_amplitudes = log_amplitudes.flatten()[first_rows(order, len(spins))]
        order = order.reshape(draws.shape[:2])
        return Batch(spins, weights, order, log_amplitudes=log_amplitudes, metrics=metrics or {})

    @staticmethod
    def of_weighted_draws(draws: Tensor, log_weights: Tensor, metrics: Mapping[str, float] | None = None) -> Batch:
        """From (n, N) int8 independent draws and their log|ψ|²/q, (n,): the same for equal draws."""
        spins, order, counts = unique_spins(draws)
        by_row = log_weights.new_zeros(len(spins), dtype=torch.float64).index_put((order,), log_weights.double())
        weights = torch.softmax(by_row + counts.double().log(), dim=0)
        return Batch(spins, weights, order[None], by_row, metrics=metrics or {})


class Sampler(Protocol):
    """Draws from |ψ|², or from another distribution with weights, or enumerates it.

    Constructed with (config, space, device, chunks, ranks): every rank draws the same random numbers, works on
    its share and comes back with the whole batch. All randomness of batch ``k`` comes from generators seeded by
    (seed, purpose, k), and whatever else a batch depends on is in ``state``: a run killed anywhere goes on with
    identical numbers.

    Attributes:
        errors: how estimates from its batches are to be treated.
    """

    errors: Errors

    def start(self, seed: int, purpose: str) -> State:
        """State before the first batch (chains; a proposal and its optimizer); part of every checkpoint."""
        ...

    def sample(self, ansatz: WaveFunction, state: Any, samples: int | None, seed: int, purpose: str, k: int) -> Batch:
        """Batch ``k``; advances ``state`` in place. ``samples``: None for the sampler's own number."""
        ...


@runtime_checkable
class Resampler(Protocol):
    """A sampler whose batches for updates are drawn again from weighted draws.

    Equal draws in such a batch are no independent ones, and say nothing of errors: estimates take all weighted draws.
    """

    def weighted(self, ansatz: WaveFunction, state: Any, samples: int | None, seed: int, purpose: str, k: int) -> Batch:
        """Draws with weights, worth about ``samples`` of |ψ|², independent of those of other ``k``."""
        ...

    def log_proposal(self, state: Any, spins: Tensor) -> Tensor:
        """log of the probability that a draw is one of these configurations, (n, N) → (n,) float64."""
        ...


class NoState:
    """Of samplers that remember nothing from one batch to the next."""

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, tree: dict[str, Any]) -> None:
        del tree
