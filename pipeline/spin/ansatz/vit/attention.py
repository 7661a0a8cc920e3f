"""Multi-head factored attention with translation-invariant weights (ViT paper, Eq. 11)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class FactoredAttention(nn.Module):
    """y_{i,q} = Σ_j α^{μ(q)}_{i-j} x_{j,q}: each head mixes the patches of its own features, whatever these are.

    Head μ(q) = ⌈q h/d⌉ has consecutive features. i - j is a difference of places on the torus of patches, so that
    translations of the patches translate the outputs.

    Args:
        grid: extents of the torus of patches, (n,) or (n_x, n_y); patch = y * n_x + x.
        heads: h, divides the number of features.

    Attributes:
        alpha: (h, n), one weight a head and difference.
    """

    def __init__(self, grid: Sequence[int], heads: int) -> None:
        super().__init__()
        differences = _differences(grid)
        n = len(differences)
        self.alpha = nn.Parameter(nn.init.xavier_uniform_(torch.empty(heads, n)))
        self.register_buffer("_differences", differences, persistent=False)
        # of each difference, the n pairs (i, j) that have it, as i * n + j
        self.register_buffer("_pairs", differences.flatten().argsort(stable=True), persistent=False)
        self._differences: Tensor
        self._pairs: Tensor

    def forward(self, values: Tensor) -> Tensor:
        """The mixed features, (R, n, d) → (R, n, d): one product of (n, n) and (n, R d/h) matrices a head."""
        rows, n, width = values.shape
        heads = len(self.alpha)
        mixing = self.alpha.index_select(1, self._differences.flatten()).view(heads, n, n)
        by_head = values.reshape(rows, n, heads, width // heads).permute(2, 1, 0, 3).reshape(heads, n, -1)
        mixed = torch.bmm(mixing, by_head).view(heads, n, rows, width // heads)
        return mixed.permute(2, 1, 0, 3).reshape(rows, n, width)

    def weights(self, features: int) -> Tensor:
        """What each feature of patch j contributes to the same one of patch i, (n, n, d)."""
        heads, n = self.alpha.shape
        mixing = self.alpha.index_select(1, self._differences.flatten()).view(heads, n, n)
        return mixing.permute(1, 2, 0).repeat_interleave(features // heads, 2)

    def per_sample_gradient(self, inputs: Tensor, signals: Tensor) -> dict[str, Tensor]:
        """∂L_r/∂α of every row by itself, where L is a sum of L_r.

        Args:
            inputs: what :meth:`forward` was given, (R, n, d).
            signals: ∂L/∂(what it returned), (R, n, d).

        Returns:
            By name of the parameter, (R, *its shape).
        """
        rows, n, width = inputs.shape
        heads = len(self.alpha)
        x, g = (t.reshape(rows, n, heads, width // heads).transpose(1, 2) for t in (inputs, signals))
        # Σ over the head's features of g_i x_j, then over the pairs of one difference
        pairs = torch.matmul(g, x.transpose(2, 3)).flatten(2)
        return {"alpha": pairs.index_select(2, self._pairs).view(rows, heads, n, n).sum(-1)}


class MultiHeadFactoredAttention(nn.Module):
    """A = W (α · (V x)), with biases in V and W: features mixed in each patch, patches in each head, then heads.

    Args:
        grid: extents of the torus of patches.
        width: d.
        heads: h, divides d.
    """

    def __init__(self, grid: Sequence[int], width: int, heads: int) -> None:
        super().__init__()
        self.values = nn.Linear(width, width)
        self.mixing = FactoredAttention(grid, heads)
        self.output = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(R, n, d) → (R, n, d)."""
        mixed: Tensor = self.output(self.mixing(self.values(x)))
        return mixed


def _differences(grid: Sequence[int]) -> Tensor:
    """The number of the patch at place i - j on the torus, (n, n) int64."""
    coordinates, rest = [], torch.arange(torch.Size(grid).numel())
    for extent in grid:
        coordinates.append(rest % extent)
        rest = rest // extent
    found, stride = torch.zeros(len(rest), len(rest), dtype=torch.int64), 1
    for extent, place in zip(grid, coordinates, strict=True):
        found += stride * ((place[:, None] - place[None, :]) % extent)
        stride *= extent
    return found
