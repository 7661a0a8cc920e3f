"""The choice between log-derivatives that are held and those that are not."""

from __future__ import annotations

from torch import Tensor

from pipeline.base.config.phases import holds_derivatives
from pipeline.base.run.ranks import ALONE, Ranks
from pipeline.spin.chunks import Chunks
from pipeline.spin.sr.dense import DenseLogDerivatives
from pipeline.spin.sr.layerwise import LayerwiseLogDerivatives
from pipeline.spin.sr.operator import LogDerivatives
from pipeline.spin.wave_function import WaveFunction


def derivatives_of(
    kind: str, ansatz: WaveFunction, spins: Tensor, weights: Tensor, chunks: Chunks, ranks: Ranks = ALONE
) -> LogDerivatives:
    """The operator of a batch, of the kind asked for.

    Args:
        kind: ``dense``; ``layerwise``; or ``auto``: dense up to 1 GiB, counting two real numbers for each element. The
            choice depends on sizes alone, so that a run makes the same one everywhere.
        ansatz, spins, weights, chunks, ranks: see :class:`pipeline.spin.sr.layerwise.LayerwiseLogDerivatives`.
    """
    if holds_derivatives(kind, len(spins), sum(p.numel() for p in ansatz.parameters() if p.requires_grad)):
        return DenseLogDerivatives.of(ansatz, spins, weights, chunks, ranks)
    return LayerwiseLogDerivatives(ansatz, spins, weights, chunks, ranks)
