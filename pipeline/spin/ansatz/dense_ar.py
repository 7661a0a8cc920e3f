"""Dense autoregressive wave function: masked linear layers (a baseline of the NF+NQS paper, Section IV.B)."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from pipeline.spin.ansatz.schema import DenseARConfig
from pipeline.spin.ansatz.sequential import CausalLayer, Part, SequentialWaveFunction, widths
from pipeline.spin.systems import SpinSystem


class MaskedDense(CausalLayer):
    """Every pair of sites has its own matrix of weights, those from later sites are absent.

    Weights have variance 1/fan-in of their site, which SELU asks for; biases vanish, one a site and feature.
    """

    def __init__(self, n_sites: int, fan_in: int, fan_out: int, exclusive: bool) -> None:
        super().__init__()
        self.exclusive = exclusive
        # seen by site i (first index) of site j (second)
        mask = torch.ones(n_sites, n_sites).tril(-1 if exclusive else 0)[:, :, None, None]
        self._mask: Tensor
        self.register_buffer("_mask", mask, persistent=False)
        sources = mask.sum(1, keepdim=True).clamp(min=1) * fan_in
        self.weight = nn.Parameter(torch.randn(n_sites, n_sites, fan_in, fan_out) / sources.sqrt() * mask)
        self.bias = nn.Parameter(torch.zeros(n_sites, fan_out))

    def part(self, features: Tensor, first: int, stop: int) -> Tensor:
        last = first + features.shape[1]
        return self._product(
            features, self._matrix(self.weight[first:stop, first:last], first, last, stop), stop - first
        )

    def prepared(self, n_sites: int) -> Part:
        whole = self._matrix(self.weight.detach(), 0, n_sites, n_sites)
        fan_in, fan_out = self.weight.shape[2:]

        def part(features: Tensor, first: int, stop: int) -> Tensor:
            last = first + features.shape[1]
            matrix = whole[first * fan_in : last * fan_in, first * fan_out : stop * fan_out]
            return self._product(features, matrix, stop - first)

        return part

    def _matrix(self, weight: Tensor, first: int, last: int, stop: int) -> Tensor:
        """From sites first..last-1 to sites first..stop-1, sites before features: (n F, n' G)."""
        masked = weight * self._mask[first:stop, first:last]
        return masked.permute(1, 2, 0, 3).flatten(2, 3).flatten(0, 1)

    @staticmethod
    def _product(features: Tensor, matrix: Tensor, n_sites: int) -> Tensor:
        """(B, n, F) → (B, ``n_sites``, G)."""
        return (features.flatten(1) @ matrix).unflatten(1, (n_sites, -1))

    def reach(self, stop: int, n_sites: int) -> int:
        return n_sites

    def caches(self, batch: int, n_sites: int) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        features = self.weight.new_zeros(batch, n_sites, self.weight.shape[2])
        seen = [site if self.exclusive else site + 1 for site in range(n_sites)]
        views = [features[:, :stop].flatten(1) for stop in seen]
        return features, views, [self.weight[site, :stop].flatten(0, 1) for site, stop in enumerate(seen)]


class DenseAR(SequentialWaveFunction):
    """Masked dense layers with ``features`` a site.

    The NF+NQS paper's baseline is NetKet's ``ARNNDense`` with "six layers with each layer having 2N hidden nodes": six
    linear layers of which the last puts out the conditionals, SELU between them, real and positive ψ, and 2 features
    a site in each of the five hidden ones. (NetKet's own setting counts features a site; 2N of them there would be
    2N² nodes.) Any lattice; sites in their numerical order.

    Args:
        config: layers, features, phase, output_scale.
        system: gives the number of spins N.
    """

    def __init__(self, config: DenseARConfig, system: SpinSystem) -> None:
        pairs = itertools.pairwise(widths(config))
        layers = [MaskedDense(system.size, a, b, exclusive=k == 0) for k, (a, b) in enumerate(pairs)]
        super().__init__(layers, config, system)
