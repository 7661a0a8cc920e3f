"""One-dimensional convolutional autoregressive wave function (a baseline of the NF+NQS paper, Section IV.B)."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.spin.ansatz.schema import ConvARConfig
from pipeline.spin.ansatz.sequential import CausalLayer, SequentialWaveFunction, widths
from pipeline.spin.systems import SpinSystem


class CausalConvolution(CausalLayer):
    """Convolution over the last ``kernel`` sites, zeros before the first; weights of variance 1/fan-in, no biases."""

    def __init__(self, fan_in: int, fan_out: int, kernel: int, exclusive: bool) -> None:
        super().__init__()
        self.kernel, self.exclusive = kernel, exclusive
        self.weight = nn.Parameter(torch.randn(fan_out, fan_in, kernel) / math.sqrt(fan_in * kernel))
        self.bias = nn.Parameter(torch.zeros(fan_out))

    def part(self, features: Tensor, first: int, stop: int) -> Tensor:
        left = self.kernel if self.exclusive else self.kernel - 1
        right = stop - first - features.shape[1] - int(self.exclusive)
        padded = functional.pad(features.transpose(1, 2), (left, right))
        return functional.conv1d(padded, self.weight).transpose(1, 2)

    def reach(self, stop: int, n_sites: int) -> int:
        return min(n_sites, stop + self.kernel - 1 + int(self.exclusive))

    def caches(self, batch: int, n_sites: int) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        left = self.kernel if self.exclusive else self.kernel - 1
        padded = self.weight.new_zeros(batch, left + n_sites, self.weight.shape[1])
        views = [padded[:, site : site + self.kernel].flatten(1) for site in range(n_sites)]
        matrix = self.weight.permute(2, 1, 0).flatten(0, 1).contiguous()
        return padded[:, left:], views, [matrix] * n_sites


class ConvAR(SequentialWaveFunction):
    """Causal convolutions with ``features`` channels.

    The NF+NQS paper's baseline is NetKet's ``ARNNConv1D`` with "four convolutional blocks, each with 512 kernels of
    size ⌊N/2⌋": four convolutions of which the last puts out the conditionals, SELU between them, real and positive ψ.
    Any lattice; sites in their numerical order.

    Args:
        config: layers, features, kernel (null: ⌊N/2⌋), phase, output_scale.
        system: gives the number of spins N.
    """

    def __init__(self, config: ConvARConfig, system: SpinSystem) -> None:
        kernel = config.kernel or max(1, system.size // 2)
        pairs = itertools.pairwise(widths(config))
        layers = [CausalConvolution(a, b, kernel, exclusive=k == 0) for k, (a, b) in enumerate(pairs)]
        super().__init__(layers, config, system)
