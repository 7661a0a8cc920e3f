"""The choice between log-derivatives that are held and those that are not."""

from __future__ import annotations

import math

from torch import Tensor

from pipeline.base.config.phases import holds_derivatives
from pipeline.base.run.ranks import ALONE, Ranks
from pipeline.spin.chunks import Chunks
from pipeline.spin.sr.dense import DenseLogDerivatives
from pipeline.spin.sr.layerwise import LayerwiseLogDerivatives
from pipeline.spin.sr.operator import LogDerivatives
from pipeline.spin.sr.plan import plan_of
from pipeline.spin.wave_function import WaveFunction

SMALLEST_SHIFT = 1e-5
"""Below it XᵀX is wanted more exactly than products in single precision are."""

SAVED = 0.02
"""Nanoseconds of a core for an element of X in a product with a row of X: what half a product in single precision saves
over a whole one in double. This and the next two from steps of eight networks with 64 to 1024 configurations, which the
sum of them ranks rightly but for a tenth of a step."""

REPEATED = 9.0
"""The same for a parameter and a row where no rule gives the derivative: two more passes forward and one back."""

HANDLED = 7e5
"""For a layer, in Python: its hooks, its rule and its product."""


def derivatives_of(
    kind: str,
    ansatz: WaveFunction,
    spins: Tensor,
    weights: Tensor,
    chunks: Chunks,
    ranks: Ranks = ALONE,
    shift: float = math.inf,
) -> LogDerivatives:
    """The operator of a batch, of the kind asked for.

    Args:
        kind: ``dense``; ``layerwise``; or ``auto``: what :func:`cheaper_held` says up to 1 GiB, counting two real
            numbers for each element, and layerwise beyond. The choice depends on sizes and on the kind of device
            alone, so that a run makes the same one everywhere.
        ansatz, spins, weights, chunks, ranks: see :class:`pipeline.spin.sr.layerwise.LayerwiseLogDerivatives`.
        shift: the least that is added to XᵀX.
    """
    held = holds_derivatives(kind, len(spins), _count(ansatz))
    if held and (kind == "dense" or shift < SMALLEST_SHIFT or cheaper_held(ansatz, spins)):
        return DenseLogDerivatives.of(ansatz, spins, weights, chunks, ranks)
    return LayerwiseLogDerivatives(ansatz, spins, weights, chunks, ranks, shift=shift)


def cheaper_held(ansatz: WaveFunction, spins: Tensor) -> bool:
    """Whether a step of reconfiguration takes less time with the matrix of log-derivatives held.

    On a GPU it does: products in double precision are fast there, and calls are slow. On a CPU it does for small
    batches, and where the system has the size of the parameters, for which O is made in either case.

    Args:
        ansatz: with real parameters.
        spins: (M, N).
    """
    count, rows = _count(ansatz), 2 * len(spins)
    if spins.device.type != "cpu" or SAVED * rows**2 * count < HANDLED:
        return True
    plan = plan_of(ansatz, spins)
    rows = len(spins) * (2 if plan.is_complex else 1)
    passes = REPEATED * rows * sum(plan.rest.values()) + HANDLED * (len(plan.layers) + 2)
    return count < rows or SAVED * rows**2 * count < passes


def _count(ansatz: WaveFunction) -> int:
    return sum(p.numel() for p in ansatz.parameters() if p.requires_grad)
