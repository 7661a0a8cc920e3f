"""What autoregressive networks on a line of sites have in common: cached draws, and flips that spare the prefix."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import _disable_current_modes

from pipeline.spin.ansatz.conditionals import choose, normalise, number_of_outputs
from pipeline.spin.ansatz.schema import SequentialConfig
from pipeline.spin.systems import SpinSystem
from pipeline.spin.wave_function import AutoregressiveWaveFunction

SITES_AT_ONCE = 12
"""Outputs of so many sites are one matrix product: few zeros are in it."""

Part = Callable[[Tensor, int, int], Tensor]
"""What :meth:`CausalLayer.part` is."""


class CausalLayer(nn.Module):
    """Linear map of features (B, N, F) → (B, N, G) in which site i sees the sites up to i, or up to i-1 (exclusive).

    Attributes:
        bias: added to the result, (G,) or (N, G).
    """

    bias: nn.Parameter

    def prepared(self, n_sites: int) -> Part:
        """:meth:`part` without derivatives, for several calls with the same weights."""
        del n_sites
        return self.part

    def forward(self, features: Tensor) -> Tensor:
        """The whole line, (B, N, F) → (B, N, G)."""
        return self.part(features, 0, features.shape[1]) + self.bias

    def part(self, features: Tensor, first: int, stop: int) -> Tensor:
        """What sites first, first+1, ... (B, n, F) contribute to sites first..stop-1, without bias."""
        raise NotImplementedError

    def reach(self, stop: int, n_sites: int) -> int:
        """The first site that sites before ``stop`` contribute nothing to, nor any after it."""
        raise NotImplementedError

    def caches(self, batch: int, n_sites: int) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Where to draw site by site.

        Returns:
            Zeros (B, n_sites, F), to be filled with the features; for each site the view of them that it sees,
            (B, ...), and the matrix that takes this view to its outputs.
        """
        raise NotImplementedError

    def bias_of(self, site: int) -> Tensor:
        return self.bias[site] if self.bias.ndim == 2 else self.bias


@dataclass(frozen=True)
class Line:
    """The weights of a layer between all sites, for a CPU; whoever counts tensors of a batch does not see them.

    Attributes:
        matrix: (N F, N G), sites first.
        memory: site i sees no site before i - memory.
    """

    matrix: NDArray[Any]
    n_sites: int
    memory: int

    def part(self, features: Tensor, first: int, stop: int) -> Tensor:
        """As :meth:`CausalLayer.part`, by matrix products of some sites each."""
        batch, seen, fan_in = features.shape
        fan_out = self.matrix.shape[1] // self.n_sites
        rows, out = features.flatten(1), features.new_empty(batch, (stop - first) * fan_out)
        for begin in range(first, stop, SITES_AT_ONCE):
            end = min(stop, begin + SITES_AT_ONCE)
            oldest, newest = max(first, begin - self.memory), min(first + seen, end)
            some = rows[:, (oldest - first) * fan_in : (newest - first) * fan_in]
            weights = self.matrix[oldest * fan_in : newest * fan_in, begin * fan_out : end * fan_out]
            with _disable_current_modes():
                seen_by = torch.from_numpy(weights)
            out[:, (begin - first) * fan_out : (end - first) * fan_out] = some @ seen_by
        return out.view(batch, stop - first, fan_out)


class SequentialWaveFunction(AutoregressiveWaveFunction):
    """Causal layers with SELU in between; the first one is exclusive, the last one puts out the conditionals.

    Args:
        layers: causal layers; the sites are in their numerical order.
        config: phase, output_scale.
        system: gives the number of spins N.
    """

    def __init__(self, layers: Sequence[CausalLayer], config: SequentialConfig, system: SpinSystem) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.n_uniforms = system.size
        self.order = tuple(range(system.size))
        with torch.no_grad():
            for name, parameter in layers[-1].named_parameters():
                if name == "weight":
                    parameter.mul_(config.output_scale)

    def _features(self, spins: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Inputs and outputs of all layers, (B, N, features)."""
        inputs = [spins.to(next(self.parameters()).dtype)[..., None]]
        outputs: list[Tensor] = []
        for k, layer in enumerate(self.layers):
            if k:
                inputs.append(functional.selu(outputs[-1]))
            outputs.append(layer(inputs[-1]))
        return inputs, outputs

    def conditionals(self, spins: Tensor) -> Tensor:
        """log ψ_i(s | s_<i), (B, N) spins ±1 → (B, N, 2) for s = +1, -1; complex with ``phase``."""
        return normalise(self._features(spins)[1][-1])

    def draw(self, uniforms: Tensor) -> Tensor:
        """Independent configurations (B, N) int8 ±1 from uniforms in [0, 1), (B, N) float64, one a site.

        Every feature is computed once and kept: the cost is that of one forward pass.
        """
        return self._draw(uniforms).clone()

    @torch.inference_mode()
    def _draw(self, uniforms: Tensor) -> Tensor:
        batch, n_sites = uniforms.shape
        layers = [layer for layer in self.layers if isinstance(layer, CausalLayer)]
        kept, views, matrices = zip(*(layer.caches(batch, n_sites) for layer in layers), strict=True)
        thresholds = 0.5 * torch.logit(uniforms)
        for site in range(n_sites):
            for k, layer in enumerate(layers):
                outputs = torch.addmm(layer.bias_of(site), views[k][site], matrices[k][site])
                if k < len(layers) - 1:
                    kept[k + 1][:, site] = functional.selu(outputs)
            up = outputs[:, 0] - outputs[:, 1] > thresholds[:, site]
            kept[0][:, site, 0] = 2.0 * up - 1.0
        return kept[0][..., 0].to(torch.int8)

    def connected_log_amplitudes(self, spins: Tensor, masks: Tensor, wanted: Tensor | None = None) -> Tensor:
        """log ψ with the sites of every mask flipped, without gradients: (B, N), (K, N) bool → (B, K).

        Only the sites from the first flipped one on are evaluated, by what changes there in every layer.

        Args:
            spins: ±1.
            masks: sites to flip together.
            wanted: (B, K) bool; elements that are False have no meaning and cost nothing.
        """
        return self._connected(spins, masks, wanted).clone()

    @torch.inference_mode()
    def _connected(self, spins: Tensor, masks: Tensor, wanted: Tensor | None) -> Tensor:
        inputs, outputs = self._features(spins)
        before = choose(outputs[-1], inputs[0][..., 0])
        found = before.sum(1, keepdim=True).repeat(1, len(masks))
        parts = [layer.prepared(spins.shape[1]) for layer in self.layers if isinstance(layer, CausalLayer)]
        for k, mask in enumerate(masks.cpu()):
            flipped = torch.nonzero(mask).flatten().tolist()
            rows = slice(None) if wanted is None else torch.nonzero(wanted[:, k]).flatten()
            if flipped and len(before[rows]):
                sites = flipped[0], flipped[-1] + 1
                found[rows, k] += self._change(parts, inputs, outputs, before, rows, masks[k], sites)
        return found

    def _change(
        self,
        parts: Sequence[Part],
        inputs: list[Tensor],
        outputs: list[Tensor],
        before: Tensor,
        rows: Tensor | slice,
        mask: Tensor,
        sites: tuple[int, int],
    ) -> Tensor:
        """What flips add to log ψ, (b,); sites first..stop-1 hold them, ``before`` is what sites contribute without."""
        n_sites, (first, stop) = inputs[0].shape[1], sites
        new = torch.where(mask, -1, 1)[:, None] * inputs[0][rows]
        change = (new - inputs[0][rows])[:, first:stop]
        for k, layer in enumerate(self.layers):
            assert isinstance(layer, CausalLayer)
            stop = layer.reach(stop, n_sites)
            changed = outputs[k][rows, first:stop] + parts[k](change, first, stop)
            if k < len(self.layers) - 1:
                change = functional.selu(changed) - inputs[k + 1][rows, first:stop]
        return (choose(changed, new[:, first:stop, 0]) - before[rows, first:stop]).sum(1)


def widths(config: SequentialConfig) -> list[int]:
    """Features a site from the spins to the outputs."""
    return [1] + [config.features] * (config.layers - 1) + [number_of_outputs(config.phase)]
