"""Log-derivatives of a batch as an operator: what stochastic reconfiguration asks of them, held as a matrix or not."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from pipeline.base.run.ranks import ALONE, Ranks


class LogDerivatives(Protocol):
    """X = [Re, Im] of sqrt(w) (O - ⟨O⟩) of a batch, (P, R): a column a configuration, or two where log ψ is complex.

    O need not be held: ``push`` is one Jacobian-vector product, ``pull`` one vector-Jacobian product, and ``gram`` can
    be added up layer by layer. All results are float64; NaN where O is not finite.

    Attributes:
        is_complex: log ψ has phases: R = 2M, real parts first, for M configurations; else R = M.
        shape: (P, R).
        ranks: which share the configurations; all of them ask for the same, and all have the results.
    """

    is_complex: bool
    shape: tuple[int, int]
    ranks: Ranks

    def gram(self) -> Tensor:
        """XᵀX, (R, R)."""
        ...

    def metric(self) -> Tensor:
        """S = X Xᵀ, (P, P), the quantum geometric tensor; asked for only where P < R."""
        ...

    def push(self, direction: Tensor) -> Tensor:
        """Xᵀd of a change d of the parameters, (P,) → (R,): how log ψ changes over the batch."""
        ...

    def pull(self, coefficients: Tensor) -> Tensor:
        """X t, (R,) → (P,)."""
        ...


@runtime_checkable
class Scalable(LogDerivatives, Protocol):
    """An operator whose parameters can be measured in other units."""

    def scaled(self, scale: Tensor) -> LogDerivatives:
        """diag(u) X, for a number u > 0 each parameter, (P,) float64."""
        ...


def centred(values: Tensor, weights: Tensor) -> Tensor:
    """sqrt(w) (v - ⟨v⟩) of numbers or rows v (M, ...), real or complex, of weights w (M,), sum 1."""
    return around(values, mean_of(values, weights), weights)


def mean_of(values: Tensor, weights: Tensor, ranks: Ranks = ALONE) -> Tensor:
    """⟨v⟩ of numbers or rows v, of weights w whose sum over all ranks is 1."""
    return ranks.reduce((_column(weights, values).to(values.dtype) * values).sum(0))


def around(values: Tensor, mean: Tensor, weights: Tensor) -> Tensor:
    """sqrt(w) (v - mean)."""
    return (values - mean) * _column(weights, values).double().sqrt()


def _column(weights: Tensor, values: Tensor) -> Tensor:
    return weights.view(-1, *[1] * (values.ndim - 1))


def stacked(values: Tensor, is_complex: bool) -> Tensor:
    """Real and then imaginary parts where log ψ is complex, else real parts: (M, ...) → (R, ...) float64."""
    if is_complex:
        return torch.cat([values.real, values.imag]).double()
    return values.real.double()


def forces(local: Tensor, weights: Tensor, is_complex: bool) -> Tensor:
    """f = -2 [Re, Im] of sqrt(w) (E_loc - E), (M,) → (R,) float64: X f is minus the gradient of the energy."""
    return -2.0 * stacked(centred(local, weights), is_complex)
