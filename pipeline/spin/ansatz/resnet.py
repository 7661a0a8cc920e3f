"""Residual convolutional wave function on a torus (NIR paper, Section 4.5)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pipeline.spin.ansatz.confined import confined, in_sector
from pipeline.spin.ansatz.layers import RowNorm, activation
from pipeline.spin.ansatz.resnet_config import ResNetConfig
from pipeline.spin.lattice import Lattice
from pipeline.spin.symmetry.groups import symmetry_group
from pipeline.spin.systems import SpinSystem
from pipeline.spin.wave_function import WaveFunction


class NormedConvolution(nn.Module):
    """Convolution with circular padding, LayerNorm over the channels of each site, activation.

    Channels come last, as the norm wants them; on a CPU that is the faster way to convolve few channels, too.

    Args:
        lattice: torus.
        channels: in and out.
        kernel: odd extent.
        name: of the activation.
    """

    def __init__(self, lattice: Lattice, channels: tuple[int, int], kernel: int, name: str) -> None:
        super().__init__()
        length_x, length_y = lattice.extents
        reach = kernel // 2
        x, y = (torch.arange(-reach, length + reach) % length for length in (length_x, length_y))
        self.register_buffer("_padded", (y[:, None] * length_x + x).flatten(), persistent=False)
        self._padded: Tensor
        self._shape = (len(y), len(x))
        self.convolution = nn.Conv2d(*channels, kernel)
        self.convolution.weight = nn.Parameter(
            self.convolution.weight.detach().contiguous(memory_format=torch.channels_last)
        )
        self.norm, self.activation = RowNorm(channels[1]), activation(name)

    def forward(self, x: Tensor) -> Tensor:
        """(R, N, C) → (R, N, C')."""
        rows, sites, channels = x.shape
        padded = x.index_select(1, self._padded).view(rows, *self._shape, channels).permute(0, 3, 1, 2)
        y: Tensor = self.convolution(padded).permute(0, 2, 3, 1).reshape(rows, sites, -1)
        y = self.activation(self.norm(y))
        return y


class ResidualBlock(nn.Module):
    """x + two convolutions of x."""

    def __init__(self, lattice: Lattice, config: ResNetConfig) -> None:
        super().__init__()
        channels = (config.width, config.width)
        self.first = NormedConvolution(lattice, channels, config.kernel, config.activation)
        self.second = NormedConvolution(lattice, channels, config.kernel, config.activation)

    def forward(self, x: Tensor) -> Tensor:
        """(R, N, C) → (R, N, C)."""
        y: Tensor = x + self.second(self.first(x))
        return y


class ResNet(WaveFunction):
    """log ψ(σ) = two outputs, real and imaginary part, of the mean over all sites of a residual network.

    Args:
        config: blocks, channels, kernel; symmetries over which log ψ is averaged.
        system: on a torus.
    """

    def __init__(self, config: ResNetConfig, system: SpinSystem) -> None:
        super().__init__()
        lattice = system.lattice
        assert lattice is not None, "the configuration was checked"
        self._first_up, self._magnetisation = config.first_up, config.magnetisation
        self.input = NormedConvolution(lattice, (1, config.width), config.kernel, config.activation)
        self.blocks = nn.Sequential(*(ResidualBlock(lattice, config) for _ in range(config.depth)))
        self.output = nn.Linear(config.width, 2)
        moves, signs = zip(*symmetry_group(system, config.averaged), strict=True)
        self.register_buffer("_permutations", torch.tensor(moves), persistent=False)
        self.register_buffer("_signs", torch.tensor(signs, dtype=torch.int8), persistent=False)
        self._permutations: Tensor
        self._signs: Tensor

    def log_amplitude(self, spins: Tensor) -> Tensor:
        """log ψ(x), (B, N) spins ±1 → (B,) complex."""
        images = (spins[:, self._permutations] * self._signs[:, None].to(spins.dtype)).flatten(0, 1)
        if self._first_up:
            images = images * images[:, :1]
        x = self.input(images.to(self.output.weight.dtype)[..., None])
        outputs = self.output(self.blocks(x).mean(1)).view(len(spins), len(self._signs), 2).mean(1)
        return confined(torch.complex(outputs[:, 0], outputs[:, 1]), spins, self._magnetisation)

    def present(self, spins: Tensor) -> Tensor | None:
        """Configurations in the sector."""
        return None if self._magnetisation is None else in_sector(spins, self._magnetisation)
