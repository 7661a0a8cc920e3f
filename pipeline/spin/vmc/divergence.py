"""How far draws are from |ψ|² itself, where all configurations can be enumerated (NIR paper, Section 4.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pipeline.base.contracts import Record
from pipeline.base.numbers.result import Estimate
from pipeline.base.numbers.rng import torch_generator
from pipeline.base.numbers.statistics import independent_mean
from pipeline.spin.bits import pack
from pipeline.spin.sampler.contract import Batch, Resampler, Sampler
from pipeline.spin.vmc.schema import DIVERGENCES
from pipeline.spin.wave_function import WaveFunction


def jensen_shannon(p: Tensor, q: Tensor) -> float:
    """½ Σ p ln(p/m) + ½ Σ q ln(q/m) with m = (p + q)/2, in nats: between 0 and ln 2.

    Args:
        p, q: probabilities of the same configurations, (n,) float64 that sum to 1.
    """
    middle = 0.5 * (p + q)
    terms = torch.xlogy(p, p / middle.clamp(min=1e-300)) + torch.xlogy(q, q / middle.clamp(min=1e-300))
    return max(0.5 * float(terms.sum()), 0.0)


@dataclass(frozen=True)
class Draws:
    """What is asked for: draws ``k`` of ``samples`` from ψ, with the random numbers of (seed, purpose, k).

    Attributes:
        batch: of a sampler that draws again from weighted draws, how many at a time; the last one may be smaller.
    """

    ansatz: WaveFunction
    samples: int
    batch: int
    seed: int
    purpose: str
    k: int


def divergences(exact: Batch, drawn: Batch, sampler: Sampler, state: Any, draws: Draws) -> dict[str, float]:
    """Jensen-Shannon divergence of the empirical distribution of draws and |ψ|², and that of independent draws.

    Args:
        exact: all configurations with |ψ|².
        drawn: by ``sampler``; those of one that draws again from weighted draws are made here, in batches of which
            each has proposals of its own, as an update of ψ would see them. Its proposal learns nothing from them.
        state: of the sampler.
        draws: their number, where they are made here.
    """
    numbers = pack(exact.spins)[:, 0]
    order = numbers.argsort()
    known = numbers[order]
    p = exact.weights[order]
    if isinstance(sampler, Resampler):
        counts, total = _resampled(sampler, state, draws, known)
    else:
        assert drawn.order is not None
        counts, total = _counted(drawn, drawn.weights * drawn.order.numel(), known), drawn.order.numel()
    generator = torch_generator(draws.seed, f"{draws.purpose}: floor", draws.k, str(p.device))
    floor = torch.bincount(torch.multinomial(p, total, True, generator=generator), minlength=len(p)).double()
    return dict(zip(DIVERGENCES, (jensen_shannon(p, counts / total), jensen_shannon(p, floor / total)), strict=True))


def _resampled(sampler: Resampler, state: Any, draws: Draws, known: Tensor) -> tuple[Tensor, int]:
    """How often each configuration is drawn, (n,) float64, and how many draws there are."""
    counts, left, number = known.new_zeros(len(known), dtype=torch.float64), draws.samples, 0
    while left > 0:
        size, purpose = min(draws.batch, left), f"{draws.purpose}: batch {number}"
        batch = sampler.weighted(draws.ansatz, state, size, draws.seed, purpose, draws.k)
        generator = torch_generator(draws.seed, f"{purpose}, drawn again", draws.k, str(known.device))
        chosen = torch.multinomial(batch.weights, size, True, generator=generator)
        counts += _counted(batch, torch.bincount(chosen, minlength=len(batch.weights)).double(), known)
        left, number = left - size, number + 1
    return counts, draws.samples


def _counted(batch: Batch, counts: Tensor, known: Tensor) -> Tensor:
    """Counts of the rows of a batch as counts of all configurations, which are sorted by their numbers."""
    place = torch.searchsorted(known, pack(batch.spins)[:, 0])
    return known.new_zeros(len(known), dtype=torch.float64).index_add(0, place, counts)


def estimates(records: Sequence[Record]) -> list[Estimate]:
    """Means over batches, with standard errors where there are enough; none where divergences were not asked for."""
    there = DIVERGENCES if records and DIVERGENCES[0] in records[0] else ()
    return [independent_mean([record[name] for record in records]).estimate(name) for name in there]
