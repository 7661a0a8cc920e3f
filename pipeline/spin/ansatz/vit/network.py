"""Deep Vision Transformer wave function (Rende et al., "A simple linear algebra identity", Algorithm 1)."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.spin.ansatz.confined import confined, in_sector
from pipeline.spin.ansatz.layers import RowNorm, activation, log_cosh
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
        self.attention_norm, self.feed_forward_norm = RowNorm(d), RowNorm(d)
        self.attention = MultiHeadFactoredAttention(grid, d, config.heads)
        self.feed_forward = nn.Sequential(nn.Linear(d, 2 * d), activation(config.activation), nn.Linear(2 * d, d))

    def forward(self, x: Tensor) -> Tensor:
        """(R, n, d) → (R, n, d)."""
        x = x + self.attention(self.attention_norm(x))
        y: Tensor = x + self.feed_forward(self.feed_forward_norm(x))
        return y

    def advance(self, x: Tensor) -> None:
        """The same in place, (R, n, d) contiguous, without derivatives: for a CPU, see :meth:`ViT.evaluate`.

        Norms are folded into the layers behind them, biases into products with a feature that is always 1.
        """
        from pipeline.spin.ansatz import compiled_layers as loops

        first, activation, second = self.feed_forward
        assert isinstance(first, nn.Linear)
        assert isinstance(second, nn.Linear)
        rows, attention = x.view(-1, x.shape[2]), self.attention
        values = loops.standardised(rows, self.attention_norm.eps) @ _behind(self.attention_norm, attention.values)
        mixed = loops.mixed(values.view_as(x), attention.mixing.weights(x.shape[2]))
        rows.addmm_(mixed.flatten(0, 1), _with_bias(attention.output.weight, attention.output.bias))
        # a feature that is 1 before and activation(1) after the activation carries the second bias
        one = rows.new_ones(1)
        weight = functional.pad(_behind(self.feed_forward_norm, first), (0, 1))
        weight[-1, -1] = 1.0
        hidden = loops.standardised(rows, self.feed_forward_norm.eps) @ weight
        hidden = hidden.relu_() if isinstance(activation, nn.ReLU) else activation(hidden)
        rows.addmm_(hidden, _with_bias(second.weight, second.bias / activation(one)))


def _with_bias(weight: Tensor, bias: Tensor) -> Tensor:
    """The matrix (in + 1, out) of a linear layer whose last input is 1."""
    return torch.cat([weight.T, bias[None]])


def _behind(norm: nn.LayerNorm, layer: nn.Linear) -> Tensor:
    """The matrix (in + 1, out) of a linear layer behind the affine part of a norm."""
    return _with_bias(layer.weight * norm.weight, layer.bias + layer.weight @ norm.bias)


class Head(nn.Module):
    """log ψ = Σ_α log cosh(b_α + w_α·z) with complex b and w, kept as two real layers, each with a norm of its own.

    Args:
        width: d.
        scale: initial weights of the norms.
    """

    def __init__(self, width: int, scale: float) -> None:
        super().__init__()
        self.real, self.imaginary = nn.Linear(width, width), nn.Linear(width, width)
        self.real_norm, self.imaginary_norm = RowNorm(width), RowNorm(width)
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
        self.norm = RowNorm(config.width)
        self.head = Head(config.width, config.output_scale)
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)

    def log_amplitude(self, spins: Tensor) -> Tensor:
        """log ψ(x), (B, N) spins ±1 → (B,) complex."""
        x = self._embedded(spins)
        for block in self.blocks:
            x = block(x)
        return confined(self.head(self.norm(x).sum(1)), spins, self._magnetisation)

    @torch.no_grad()
    def evaluate(self, spins: Tensor) -> Tensor:
        """The same without derivatives, on a CPU in single precision twice as fast; up to rounding.

        Layers are a few tens of features wide there, and what surrounds their products counts.
        """
        if not _compiled(self.embedding.weight):
            return self.log_amplitude(spins)
        from pipeline.spin.ansatz import compiled_layers as loops

        x = self._embedded(spins)
        for block in self.blocks:
            assert isinstance(block, Block)
            block.advance(x)
        summed = torch.addcmul(x.shape[1] * self.norm.bias, loops.standardised_sum(x, self.norm.eps), self.norm.weight)
        return confined(self.head(summed), spins, self._magnetisation)

    def _embedded(self, spins: Tensor) -> Tensor:
        """(B, N) → (B, n, d)."""
        n, sites = self._places.shape
        inputs = spins.to(self.embedding.weight.dtype).index_select(1, self._places.flatten())
        x: Tensor = self.embedding(inputs.view(-1, n, sites))
        return x

    def present(self, spins: Tensor) -> Tensor | None:
        """Configurations in the sector."""
        return None if self._magnetisation is None else in_sector(spins, self._magnetisation)


def _compiled(weight: Tensor) -> bool:
    """Whether compiled loops can evaluate a network with such parameters."""
    plain = weight.device.type == "cpu" and weight.dtype == torch.float32
    return plain and importlib.util.find_spec("numba") is not None


def patches(lattice: Lattice, patch: int) -> Tensor:
    """Sites of each patch, (n, b²) int64, or (n, b) on a ring; patches and their sites numbered row by row."""
    sites = torch.arange(lattice.size)
    if len(lattice.extents) == 1:
        return sites.view(-1, patch)
    length_x, length_y = lattice.extents
    blocks = sites.view(length_y // patch, patch, length_x // patch, patch)
    return blocks.permute(0, 2, 1, 3).reshape(-1, patch * patch)
