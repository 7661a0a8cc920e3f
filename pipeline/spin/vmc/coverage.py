"""How much of |ψ|² a learnt proposal covers, where all configurations can be enumerated (NIR paper, Section 3.3)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pipeline.base.contracts import Record
from pipeline.base.numbers.result import Estimate
from pipeline.spin.vmc.schema import COVERAGES


def coverage(spins: Tensor, p: Tensor, log_q: Tensor) -> dict[str, float]:
    """Numbers of a proposal q by sums over all configurations, by the names of :data:`COVERAGES`.

    ``proposal_overlap`` Σ min(p, q), the share of either that the other has too; ``proposal_efficiency`` 1/Σ p²/q,
    effective samples a proposal of infinitely many, which few may not show; ``proposal_minority``, the smaller of the
    weights that q gives to both signs of Σ σz, over their sum, and ``minority``, the same of p.

    Args:
        spins: all configurations where ψ does not vanish, (n, K N).
        p: |ψ|² of each, (n,) float64, sum 1.
        log_q: (n,) float64; what is left of q lies where ψ vanishes.
    """
    signs = spins.sum(1, dtype=torch.int64).sign()
    squares = torch.where(p > 0, 2.0 * p.clamp(min=1e-300).log() - log_q, -torch.inf)
    numbers = (
        float(torch.minimum(p, log_q.exp()).sum()),
        float((-squares.logsumexp(0)).exp()),
        _minority(signs, log_q.exp()),
        _minority(signs, p),
    )
    return dict(zip(COVERAGES, numbers, strict=True))


def _minority(signs: Tensor, weights: Tensor) -> float:
    """Share of the smaller of the weights of both signs; 1/2 where neither has any."""
    up, down = (float(weights[signs == sign].sum()) for sign in (1, -1))
    return min(up, down) / (up + down) if up + down > 0 else 0.5


def estimates(records: Sequence[Record]) -> list[Estimate]:
    """Of the last record, for a proposal may settle in the first batch; sums have no error."""
    there = COVERAGES if records and COVERAGES[0] in records[-1] else ()
    return [Estimate(name, float(records[-1][name]), 0.0) for name in there]
