"""One-dimensional convolutional autoregressive wave function (a baseline of the NF+NQS paper, Section IV.B)."""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.spin.ansatz.schema import ConvARConfig
from pipeline.spin.ansatz.sequential import CausalLayer, Line, Part, SequentialWaveFunction, widths
from pipeline.spin.systems import SpinSystem

LARGEST_LINE = 2**21
"""Elements of the matrix of a whole line that the caches of a CPU still hold, more or less."""


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

    def prepared(self, n_sites: int) -> Part:
        fan_out, fan_in, kernel = self.weight.shape
        if self.weight.device.type != "cpu" or n_sites**2 * fan_in * fan_out > LARGEST_LINE:
            return self.part
        weight = self.weight.detach().numpy().transpose(2, 1, 0)[::-1]
        matrix = np.zeros((n_sites, fan_in, n_sites, fan_out), weight.dtype)
        for site in range(n_sites):
            # what the sites from this one on, or from the next one on, see of it
            behind = matrix[site, :, site + int(self.exclusive) :][:, :kernel]
            behind[...] = weight[: behind.shape[1]].transpose(1, 0, 2)
        return Line(matrix.reshape(n_sites * fan_in, -1), n_sites, kernel - 1 + int(self.exclusive)).part

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
