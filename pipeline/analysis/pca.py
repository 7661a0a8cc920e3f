"""Principal components of samples, for figures of what a sampler reaches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class PrincipalComponents:
    """Directions of largest variance.

    Attributes:
        centre: (N,), the mean of the samples.
        axes: (count, N), orthonormal; the entry of largest size of each is positive.
        ratios: (count,), share of the total variance along each axis, in falling order.
    """

    centre: NDArray[np.float64]
    axes: NDArray[np.float64]
    ratios: NDArray[np.float64]

    def project(self, samples: ArrayLike) -> NDArray[np.float64]:
        """Coordinates (n, count) of samples (n, N) along the axes, from the centre."""
        coordinates: NDArray[np.float64] = (np.asarray(samples, dtype=float) - self.centre) @ self.axes.T
        return coordinates


def principal_components(samples: ArrayLike, count: int = 2) -> PrincipalComponents:
    """The first ``count`` principal components of samples (n, N), by a singular-value decomposition.

    Raises:
        ValueError: fewer samples or sites than components.
    """
    x = np.asarray(samples, dtype=float)
    if min(x.shape) < count:
        raise ValueError(f"{count} principal components need as many samples and sites, not {x.shape}")
    centre = x.mean(axis=0)
    _, singular, axes = np.linalg.svd(x - centre, full_matrices=False)
    axes = axes[:count]
    largest = np.abs(axes).argmax(axis=1)
    axes = axes * np.sign(axes[np.arange(count), largest])[:, None]
    variances = singular**2
    total = variances.sum()
    return PrincipalComponents(centre, axes, variances[:count] / total if total else np.zeros(count))
