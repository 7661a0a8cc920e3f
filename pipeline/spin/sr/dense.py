"""Log-derivatives held as a matrix: fast, as long as it fits into memory, or the memories of all ranks."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from pipeline.base.run.ranks import ALONE, Ranks, able, share
from pipeline.spin.chunks import Chunks
from pipeline.spin.sr.derivatives import log_derivatives
from pipeline.spin.sr.gram import add_product, reduced, transposed
from pipeline.spin.sr.operator import around, mean_of, stacked
from pipeline.spin.wave_function import WaveFunction

COLUMNS = 4096
"""Parameters whose derivatives are centred at once: copies of all of them would be what takes most memory."""


class DenseLogDerivatives:
    """See :class:`pipeline.spin.sr.operator.LogDerivatives`.

    Every rank holds the columns of X, here as rows, of its own configurations. For XᵀX they are transposed among the
    ranks, a few parameters at a time (ViT paper, Eq. 17 and Fig. 2); X t is a sum over ranks (Eq. 18).

    Args:
        derivatives: O of the configurations of this rank, (m, P), real or complex.
        weights: w of those of all ranks, (M,), sum 1.
        ranks: which hold the others, see :func:`pipeline.base.run.ranks.share`; at most M.
    """

    def __init__(self, derivatives: Tensor, weights: Tensor, ranks: Ranks = ALONE) -> None:
        self.ranks, self.is_complex, self._samples = ranks, derivatives.is_complex(), len(weights)
        self._parts = 2 if self.is_complex else 1
        self._mine = share(ranks, self._samples)
        own, columns = derivatives.shape
        own_weights = weights[self._mine]
        mean = mean_of(derivatives, own_weights, ranks)
        self._rows = derivatives.new_empty((self._parts * own, columns), dtype=torch.float64)
        for begin in range(0, columns, COLUMNS):
            some = slice(begin, begin + COLUMNS)
            self._rows[:, some] = stacked(around(derivatives[:, some], mean[some], own_weights), self.is_complex)
        self.shape = (columns, self._parts * self._samples)

    @staticmethod
    def of(
        ansatz: WaveFunction, spins: Tensor, weights: Tensor, chunks: Chunks, ranks: Ranks = ALONE
    ) -> DenseLogDerivatives:
        """Of all trainable parameters of ``ansatz`` over configurations ``spins`` (M, N)."""
        ranks = able(ranks, len(spins))
        rows = log_derivatives(ansatz, spins[share(ranks, len(spins))], chunks)
        return DenseLogDerivatives(rows, weights, ranks)

    def scaled(self, scale: Tensor) -> DenseLogDerivatives:
        """See :class:`pipeline.spin.sr.operator.Scalable`."""
        other = copy.copy(self)
        other._rows = self._rows * scale
        return other

    def gram(self) -> Tensor:
        if self.ranks.size == 1:
            return self._rows @ self._rows.T
        total = self._rows.new_zeros((self.shape[1], self.shape[1]))
        for columns in transposed(self._by_part(), self._samples, self.ranks):
            add_product(total, columns)
            del columns  # before the next ones come
        return reduced(total, self.ranks)

    def metric(self) -> Tensor:
        return reduced(self._rows.T @ self._rows, self.ranks)

    def push(self, direction: Tensor) -> Tensor:
        own = self._rows @ direction
        if self.ranks.size == 1:
            return own
        return self.ranks.gather(own.view(self._parts, -1).T).T.flatten()

    def pull(self, coefficients: Tensor) -> Tensor:
        own = coefficients.unflatten(0, (self._parts, -1))[:, self._mine].flatten(0, 1)
        return self.ranks.reduce(self._rows.T @ own)

    def _by_part(self) -> Tensor:
        """The rows as (parts, m, P)."""
        return self._rows.view(self._parts, -1, self._rows.shape[1])
