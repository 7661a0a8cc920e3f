"""Histograms of weighted and correlated samples: fractions, their covariance, bootstraps, and whether two agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Numbers = NDArray[np.float64]

FEWEST_IN_BIN = 25.0
"""Effective samples of either histogram in a bin of the test, so that fractions are nearly normal; bins with fewer are
joined to the next."""

CARRIED = 0.2
"""So many times these must :func:`carried` say: else few squares of weights make the estimate of the variance."""

RANGE = 1e-3
"""Fraction of a sample beyond either end of its bins of equal width."""


@dataclass(frozen=True)
class Sample:
    """An observable of each configuration.

    Attributes:
        values: (n,) float64.
        weights: (n,) float64, not negative, known up to a factor.
        units: (n,) int64, which of 0 ... K-1 a configuration belongs to: what shares one may be correlated, such as a
            chain; weights are part of what is random.
    """

    values: Numbers
    weights: Numbers
    units: NDArray[np.int64]

    @staticmethod
    def weighted(values: ArrayLike, log_weights: ArrayLike | None = None) -> Sample:
        """Independent samples, of any shape; without weights of equal ones.

        Raises:
            ValueError: no samples, or other numbers of values and weights; weights that are no finite numbers.
        """
        x = np.asarray(values, dtype=float).ravel()
        log_w = np.zeros(x.size) if log_weights is None else np.asarray(log_weights, dtype=float).ravel()
        if not x.size or log_w.size != x.size:
            raise ValueError(f"{log_w.size} weights of {x.size} samples")
        if not np.isfinite(log_w).all():
            raise ValueError("weights must be finite")
        return Sample(x, np.exp(log_w - log_w.max()), np.arange(x.size))

    @staticmethod
    def of_chains(values: ArrayLike) -> Sample:
        """Independent chains, (chains, n): each is a unit."""
        x = np.asarray(values, dtype=float)
        return Sample(x.ravel(), np.ones(x.size), np.repeat(np.arange(len(x)), x.shape[1]))

    @property
    def effective(self) -> float:
        """(Σ w)² / Σ w², effective samples as far as weights go."""
        return _effective(self.weights)

    @property
    def degrees(self) -> float:
        """Of freedom of its covariance: units less one, or samples that carry it, :func:`carried`, if fewer."""
        return min(float(self.units.max()) + 1.0, carried(self.weights)) - 1.0

    @property
    def mean(self) -> tuple[float, float]:
        """Σ w x / Σ w and its standard error by linear propagation between units."""
        w = self.weights / self.weights.sum()
        value, k = float(w @ self.values), int(self.units.max()) + 1
        deviations = np.bincount(self.units, w * (self.values - value), k)
        return value, float(np.sqrt((deviations**2).sum() * (k / max(k - 1, 1))))

    def binned(self, edges: ArrayLike) -> NDArray[np.int64]:
        """Number of the bin of each value; what lies beyond the first or the last edge is in the bin there."""
        inner = np.asarray(edges, dtype=float)[1:-1]
        return np.searchsorted(inner, self.values, side="right")

    def sums(self, edges: ArrayLike) -> Numbers:
        """Σ w of each unit in each bin, (K, bins)."""
        bins, k = len(np.asarray(edges)) - 1, int(self.units.max()) + 1
        flat = np.bincount(self.units * bins + self.binned(edges), self.weights, k * bins)
        found: Numbers = flat.reshape(k, bins).astype(np.float64)
        return found

    def fractions(self, edges: ArrayLike) -> Numbers:
        """Σ w in each bin over Σ w, (bins,)."""
        found: Numbers = self.sums(edges).sum(axis=0) / self.weights.sum()
        return found

    def effective_in_bins(self, edges: ArrayLike) -> Numbers:
        """(Σ w)² / Σ w² of each bin, (bins,); 0 of an empty one."""
        where, bins = self.binned(edges), len(np.asarray(edges)) - 1
        first, second = (np.bincount(where, self.weights**power, bins) for power in (1, 2))
        return np.divide(first**2, second, out=np.zeros(bins), where=second > 0.0)

    def covariance(self, edges: ArrayLike) -> Numbers:
        """Of the fractions, (bins, bins): by linear propagation, between units, the noise of Σ w included.

        The fractions add up to one, so that rows do to zero.
        """
        sums = self.sums(edges)
        total, k = sums.sum(), len(sums)
        deviations = (sums - sums.sum(axis=1, keepdims=True) * (sums.sum(axis=0) / total)) / total
        found: Numbers = deviations.T @ deviations * (k / max(k - 1, 1))
        return found

    def bootstrap(self, edges: ArrayLike, count: int, generator: np.random.Generator) -> Numbers:
        """Fractions of ``count`` samples of as many units, drawn with replacement; (count, bins)."""
        sums = self.sums(edges)
        k = len(sums)
        drawn = np.stack([np.bincount(generator.integers(0, k, k), minlength=k) @ sums for _ in range(count)])
        found: Numbers = drawn / drawn.sum(axis=1, keepdims=True)
        return found


def _effective(weights: Numbers) -> float:
    return float(weights.sum() ** 2 / (weights**2).sum()) if weights.any() else 0.0


def carried(weights: Numbers) -> float:
    """(Σ w²)² / Σ w⁴: so many equal terms would make a sum of the variance Σ w² as well known; 0 of no weight.

    The degrees of freedom of Satterthwaite (Biometrics Bull. 2, 110 (1946)). With heavy tails much fewer than effective
    samples: the largest weights make most of the estimate of a covariance, and the rarer ones are not in it.
    """
    squares = weights**2
    fourth = float((squares**2).sum())
    return float(squares.sum() ** 2) / fourth if fourth > 0.0 else 0.0


def equal_edges(sample: Sample, bins: int) -> Numbers:
    """Edges of ``bins`` bins of equal width over all but the extremes of ``sample``, see :data:`RANGE`."""
    low, high = np.quantile(sample.values, [RANGE, 1.0 - RANGE])
    if low == high:
        low, high = low - 0.5, high + 0.5
    return np.linspace(low, high, bins + 1)


def integer_edges(sample: Sample) -> Numbers:
    """Edges half way between integers, from the smallest to the largest value."""
    return np.arange(np.round(sample.values.min()), np.round(sample.values.max()) + 2.0) - 0.5


@dataclass(frozen=True)
class Comparison:
    """Whether two samples are of one distribution, as far as a histogram tells.

    Attributes:
        chi2: Δᵀ (C_1 + C_2)^{-1} Δ of the differences of fractions, without one bin, as fractions add up to one; None
            where that matrix is singular.
        dof: bins less one.
        p: probability of a larger ``chi2`` for equal distributions; None where there is one bin, or too few units.
        bins: that were compared, after joining.
    """

    chi2: float | None
    dof: int
    p: float | None
    bins: int


def joined(edges: ArrayLike, samples: Sequence[Sample], fewest: float = FEWEST_IN_BIN) -> Numbers:
    """The edges that leave at least ``fewest`` effective samples of each in every bin, at least one bin.

    And :data:`CARRIED` times as many by :func:`carried`, which are fewer where weights have heavy tails.
    """
    every = np.asarray(edges, dtype=float)
    found = [every[0]]
    for edge in every[1:]:
        low = float(found[-1])
        inside = [_weights_between(sample, low, float(edge), every) for sample in samples]
        if min(min(_effective(w), carried(w) / CARRIED) for w in inside) >= fewest:
            found.append(edge)
    if len(found) == 1:
        found.append(every[-1])
    found[-1] = every[-1]
    return np.array(found)


def _weights_between(sample: Sample, low: float, high: float, edges: Numbers) -> Numbers:
    """Weights in a bin; the first and the last one have no outer edge."""
    inside = np.ones(sample.values.size, dtype=bool)
    if low > edges[0]:
        inside &= sample.values >= low
    if high < edges[-1]:
        inside &= sample.values < high
    return sample.weights[inside]


def compare(first: Sample, second: Sample, edges: ArrayLike, fewest: float = FEWEST_IN_BIN) -> Comparison:
    """χ² of two independent histograms with the covariances of both, which are estimates themselves.

    ``p`` is that of Hotelling's T² with the degrees of freedom of Nel and van der Merwe (Commun. Stat. A 15, 3719
    (1986)), which for many units is that of χ². Bins with few samples are joined first (:func:`joined`).
    """
    from scipy import stats

    kept = joined(edges, (first, second), fewest)
    d = len(kept) - 2
    if d < 1:
        return Comparison(None, 0, None, 1)
    difference = (first.fractions(kept) - second.fractions(kept))[:-1]
    parts = [sample.covariance(kept)[:-1, :-1] for sample in (first, second)]
    total = parts[0] + parts[1]
    if np.linalg.matrix_rank(total) < d:
        return Comparison(None, d, None, d + 1)
    chi2 = float(difference @ np.linalg.solve(total, difference))
    root = np.linalg.inv(total)
    # in units of the total covariance, so that the weight of a bin does not depend on how much it holds
    shares = [root @ part for part in parts]
    spread = sum(
        (np.trace(share @ share) + np.trace(share) ** 2) / max(sample.degrees, 1.0)
        for share, sample in zip(shares, (first, second), strict=True)
    )
    degrees = float((d + d**2) / spread)
    left = degrees - d + 1.0
    p = float(stats.f.sf(chi2 * left / (degrees * d), d, left)) if left > 0.0 else None
    return Comparison(chi2, d, p, d + 1)
