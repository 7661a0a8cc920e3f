"""Deep Vision Transformer wave function (Rende et al., "A simple linear algebra identity", Algorithm 1)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pipeline.spin.ansatz.confined import confined, in_sector
from pipeline.spin.ansatz.layers import activation, log_cosh
from pipeline.spin.ansatz.vit.attention import MultiHeadFactoredAttention
from pipeline.spin.ansatz.vit.config import ViTConfig
from pipeline.spin.lattice import Lattice
from pipeline.spin.systems import SpinSystem
from pipeline.spin.wave_function import WaveFunction


class Block(nn.Module):
    """x + MHFA(LayerNorm x), then the same with a feed-forward network d → 2d → d."""

    def __init__(self, config: ViTConfig, grid: Sequence[int]) -> None:
        super().__init__()
        d = config.width
        self.attention_norm, self.feed_forward_norm = nn.LayerNorm(d), nn.LayerNorm(d)
        self.attention = MultiHeadFactoredAttention(grid, d, config.heads)
        self.feed_forward = nn.Sequential(nn.Linear(d, 2 * d), activation(config.activation), nn.Linear(2 * d, d))

    def forward(self, x: Tensor) -> Tensor:
        """(R, n, d) → (R, n, d)."""
        x = x + self.attention(self.attention_norm(x))
        y: Tensor = x + self.feed_forward(self.feed_forward_norm(x))
        return y


class Head(nn.Module):
    """log ψ = Σ_α log cosh(b_α + w_α·z) with complex b and w, kept as two real layers, each with a norm of its own.

    Args:
        width: d.
        scale: initial weights of the norms.
    """

    def __init__(self, width: int, scale: float) -> None:
        super().__init__()
        self.real, self.imaginary = nn.Linear(width, width), nn.Linear(width, width)
        self.real_norm, self.imaginary_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        for norm in (self.real_norm, self.imaginary_norm):
            nn.init.constant_(norm.weight, scale)

    def forward(self, z: Tensor) -> Tensor:
        """(R, d) → (R,) complex."""
        return log_cosh(self.real_norm(self.real(z)), self.imaginary_norm(self.imaginary(z))).sum(-1)


class ViT(WaveFunction):
    """log ψ(σ): patches are embedded, n_l blocks mix them, their sum goes through a complex layer.

    Linear layers and the weights of the attention begin with Xavier's uniform distribution, biases with zero.

    Args:
        config: patches, depth, width, heads.
        system: with a periodic lattice that the patches fill.
    """

    def __init__(self, config: ViTConfig, system: SpinSystem) -> None:
        super().__init__()
        lattice = system.lattice
        assert lattice is not None, "the configuration was checked"
        grid = [extent // config.patch for extent in lattice.extents]
        places = patches(lattice, config.patch)
        self._magnetisation = config.magnetisation
        self.register_buffer("_places", places, persistent=False)
        self._places: Tensor
        self.embedding = nn.Linear(places.shape[1], config.width)
        self.blocks = nn.ModuleList(Block(config, grid) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width)
        self.head = Head(config.width, config.output_scale)
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)

    def log_amplitude(self, spins: Tensor) -> Tensor:
        """log ψ(x), (B, N) spins ±1 → (B,) complex."""
        n, sites = self._places.shape
        inputs = spins.to(self.embedding.weight.dtype).index_select(1, self._places.flatten())
        x = self.embedding(inputs.view(-1, n, sites))
        for block in self.blocks:
            x = block(x)
        return confined(self.head(self.norm(x).sum(1)), spins, self._magnetisation)

    def present(self, spins: Tensor) -> Tensor | None:
        """Configurations in the sector."""
        return None if self._magnetisation is None else in_sector(spins, self._magnetisation)


def patches(lattice: Lattice, patch: int) -> Tensor:
    """Sites of each patch, (n, b²) int64, or (n, b) on a ring; patches and their sites numbered row by row."""
    sites = torch.arange(lattice.size)
    if len(lattice.extents) == 1:
        return sites.view(-1, patch)
    length_x, length_y = lattice.extents
    blocks = sites.view(length_y // patch, patch, length_x // patch, patch)
    return blocks.permute(0, 2, 1, 3).reshape(-1, patch * patch)
