"""Log-derivatives held as a matrix: fast, as long as it fits into memory."""

from __future__ import annotations

import copy

from torch import Tensor

from pipeline.base.run.ranks import ALONE, Ranks, shared
from pipeline.spin.chunks import Chunks
from pipeline.spin.sr.derivatives import log_derivatives
from pipeline.spin.sr.operator import centred, stacked
from pipeline.spin.wave_function import WaveFunction


class DenseLogDerivatives:
    """See :class:`pipeline.spin.sr.operator.LogDerivatives`.

    Args:
        derivatives: O, (M, P), real or complex.
        weights: w, (M,), sum 1.
    """

    def __init__(self, derivatives: Tensor, weights: Tensor) -> None:
        self.is_complex = derivatives.is_complex()
        self._rows = stacked(centred(derivatives, weights), self.is_complex)
        self.shape = (self._rows.shape[1], self._rows.shape[0])

    @staticmethod
    def of(
        ansatz: WaveFunction, spins: Tensor, weights: Tensor, chunks: Chunks, ranks: Ranks = ALONE
    ) -> DenseLogDerivatives:
        """Of all trainable parameters of ``ansatz`` over configurations ``spins`` (M, N).

        The ranks share the backward passes; each then holds the whole matrix.
        """
        rows = shared(ranks, lambda some: log_derivatives(ansatz, some, chunks), spins)
        return DenseLogDerivatives(rows, weights)

    def scaled(self, scale: Tensor) -> DenseLogDerivatives:
        """See :class:`pipeline.spin.sr.operator.Scalable`."""
        other = copy.copy(self)
        other._rows = self._rows * scale
        return other

    def gram(self) -> Tensor:
        return self._rows @ self._rows.T

    def metric(self) -> Tensor:
        return self._rows.T @ self._rows

    def push(self, direction: Tensor) -> Tensor:
        return self._rows @ direction

    def pull(self, coefficients: Tensor) -> Tensor:
        return self._rows.T @ coefficients
