"""What autoregressive networks on a line of sites have in common: cached draws, and flips that spare the prefix."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.spin.ansatz.conditionals import choose, normalise, number_of_outputs
from pipeline.spin.ansatz.schema import SequentialConfig
from pipeline.spin.systems import SpinSystem
from pipeline.spin.wave_function import AutoregressiveWaveFunction


class CausalLayer(nn.Module):
    """Linear map of features (B, N, F) → (B, N, G) in which site i sees the sites up to i, or up to i-1 (exclusive).

    Attributes:
        bias: added to the result, (G,) or (N, G).
    """

    bias: nn.Parameter

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
        everything = torch.arange(len(spins), device=spins.device)
        for k, mask in enumerate(masks.cpu()):
            flipped = torch.nonzero(mask).flatten().tolist()
            rows = everything if wanted is None else torch.nonzero(wanted[:, k]).flatten()
            if flipped and len(rows):
                first, stop = flipped[0], flipped[-1] + 1
                change = self._change(inputs, outputs, rows, masks[k], first, stop)
                found[rows, k] += change - before[rows, first:].sum(1)
        return found

    def _change(
        self, inputs: list[Tensor], outputs: list[Tensor], rows: Tensor, mask: Tensor, first: int, stop: int
    ) -> Tensor:
        """Σ_{i >= first} log ψ_i of flipped configurations, (b,); sites first..stop-1 hold the flips."""
        n_sites = inputs[0].shape[1]
        new = torch.where(mask, -1, 1)[:, None] * inputs[0][rows]
        change = (new - inputs[0][rows])[:, first:stop]
        for k, layer in enumerate(self.layers):
            assert isinstance(layer, CausalLayer)
            stop = layer.reach(stop, n_sites)
            output = outputs[k][rows, first:]
            output[:, : stop - first] += layer.part(change, first, stop)
            if k < len(self.layers) - 1:
                changed = output[:, : stop - first]
                change = functional.selu(changed) - inputs[k + 1][rows, first:stop]
        return choose(output, new[:, first:, 0]).sum(1)


def widths(config: SequentialConfig) -> list[int]:
    """Features a site from the spins to the outputs."""
    return [1] + [config.features] * (config.layers - 1) + [number_of_outputs(config.phase)]
