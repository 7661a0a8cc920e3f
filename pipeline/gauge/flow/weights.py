"""What samples of a flow are worth: importance weights, the loss they make, and the Markov chain of their proposals."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.base.later import ArrayLike, NDArray, np
from pipeline.base.numbers.result import Estimate
from pipeline.base.numbers.statistics import (
    FEWEST_SAMPLES,
    doubt_of_equals,
    doubt_of_few,
    doubt_of_weights,
    effective_sample_size,
    jackknife,
)

if TYPE_CHECKING:  # reports read this file without torch, whose import takes seconds
    from torch import Tensor

BLOCKS = 20
"""Blocks of weights whose scatter gives the error of an effective sample size."""


def reverse_kl(log_target: Tensor, log_prob: Tensor) -> Tensor:
    """Mean of log q - log p̃ over samples of q (Eq. B1): D_KL(q‖p) - log Z, a scalar with gradients.

    Args:
        log_target: log p̃ = -S, unnormalised, (batch,) float64.
        log_prob: log q, (batch,) float64.
    """
    return (log_prob - log_target).mean()


def ess(log_weights: ArrayLike) -> Estimate:
    """Effective sample size of a configuration, (Σ w)² / (n Σ w²) (Eq. 15), and its error by the jackknife over blocks.

    Where the variance of w² is infinite, as that of heavy tails is, so is the true error, which no sample shows: few
    effective samples put the error in doubt. It is unknown where one block holds all the weight.

    Args:
        log_weights: log w of independent samples up to a constant, (n,).

    Raises:
        ValueError: no samples.
    """
    log_w = np.asarray(log_weights, dtype=float).ravel()
    if log_w.size == 0:
        raise ValueError("effective sample size of no samples")
    value, n = effective_sample_size(log_w), log_w.size
    if n < 2 * BLOCKS:
        return Estimate("ess", value, n=n, doubt=f"only {n} samples")
    w = np.exp(log_w - log_w.max())[: n - n % BLOCKS].reshape(BLOCKS, -1)
    moments = np.stack([w.mean(axis=1), (w**2).mean(axis=1)], axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        sigma = float(jackknife(moments, lambda mean: mean[0] ** 2 / mean[1])[1])
    return _estimate("ess", value, sigma, n, value * n)


def log_partition(log_weights: ArrayLike) -> Estimate:
    """log Z = log of the mean of w = p̃/q over independent samples of q, and its error by the δ method.

    The mean is unbiased, its logarithm too low by σ²/2. Few effective samples put both in doubt: they do not show how
    heavy the tail of the weights is.

    Args:
        log_weights: log w, (n,).

    Raises:
        ValueError: no samples.
    """
    log_w = np.asarray(log_weights, dtype=float).ravel()
    n = log_w.size
    if n == 0:
        raise ValueError("partition function of no samples")
    largest = log_w.max()
    value = float(largest + np.log(np.exp(log_w - largest).mean()))
    if n < FEWEST_SAMPLES:
        return Estimate("log_partition", value, n=n, doubt=doubt_of_few(n))
    share = effective_sample_size(log_w)
    return _estimate("log_partition", value, math.sqrt(max(0.0, 1.0 / share - 1.0) / (n - 1)), n, share * n)


def _estimate(name: str, value: float, sigma: float, n: int, effective: float) -> Estimate:
    """Of weights worth ``effective`` samples; an error that is zero, or no finite number, is unknown."""
    doubt = doubt_of_few(n) or doubt_of_weights(effective)
    if math.isfinite(sigma) and sigma > 0.0:
        return Estimate(name, value, sigma, "standard-error", n=n, doubt=doubt)
    return Estimate(name, value, n=n, doubt=doubt or (doubt_of_equals(n) if sigma == 0.0 else "no finite error"))


def kl_divergence(log_weights: ArrayLike) -> float:
    """D_KL(q‖p) >= 0, with log Z from the same samples of q: log of the mean of w minus the mean of log w; (n,)."""
    log_w = np.asarray(log_weights, dtype=float).ravel()
    return log_partition(log_w).value - float(log_w.mean())


@dataclass(frozen=True)
class Chain:
    """A Markov chain of independence Metropolis.

    Attributes:
        positions: of the proposals that the chain consists of, (n,) int64, not falling; entry 0 is the start.
        accepted: whether proposal i was, (n,) bool; the first one, the start, always is.
    """

    positions: NDArray[np.int64]
    accepted: NDArray[np.bool_]

    @property
    def acceptance(self) -> float:
        """Fraction of proposals accepted, the start not being one; 1 of none."""
        return float(self.accepted[1:].mean()) if len(self.accepted) > 1 else 1.0


def independence_metropolis(log_weights: ArrayLike, generator: np.random.Generator) -> Chain:
    """Chain with the density p from independent proposals of q, accepted with min(1, w'/w) (Eq. 16).

    An unbiased estimate of w in place of w leaves p the marginal of the chain (pseudomarginal Monte Carlo), as long
    as the estimate of a state stays what it was when proposed, as it does here.

    Args:
        log_weights: log w of the proposals in the order of the chain, (n,), at least one; -infinity is never accepted.
        generator: draws one number a proposal.

    Raises:
        ValueError: no proposals, or a weight that is NaN or +infinity, or a start of weight zero.
    """
    log_w = np.asarray(log_weights, dtype=float).ravel()
    if log_w.size == 0:
        raise ValueError("a chain needs at least one proposal")
    if np.isnan(log_w).any() or np.isposinf(log_w).any() or np.isneginf(log_w[0]):
        raise ValueError("weights of a chain must be finite numbers, or zero where it does not start")
    # u < w'/w, with one threshold a proposal: the state's own log w is all that a step must know.
    thresholds = (log_w - np.log1p(-generator.random(log_w.size))).tolist()
    values = log_w.tolist()
    accepted = np.zeros(log_w.size, dtype=bool)
    accepted[0] = True
    current = values[0]
    for i in range(1, log_w.size):
        if thresholds[i] > current:
            accepted[i], current = True, values[i]
    positions = np.maximum.accumulate(np.where(accepted, np.arange(log_w.size), 0))
    return Chain(positions, accepted)
