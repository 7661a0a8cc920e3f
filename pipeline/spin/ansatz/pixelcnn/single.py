"""A PixelCNN with one branch: cheaper by the pass than the network of the NAQS paper, with residual connections."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.spin.ansatz.conditionals import number_of_outputs
from pipeline.spin.ansatz.pixelcnn import single_draw, single_flips
from pipeline.spin.ansatz.pixelcnn.causal import CausalNetwork
from pipeline.spin.ansatz.pixelcnn.single_flips import REACH, Tap
from pipeline.spin.ansatz.schema import PixelCNNConfig
from pipeline.spin.systems import SpinSystem

ACROSS = 2 * REACH + 1


class SinglePixelCNN(CausalNetwork):
    """``depth`` masked convolutions of ``width`` channels; row-wise order; h ← h + W * ReLU(h) between first and last.

    A kernel has two rows and five columns: at (r, c) it looks at (r-1, c-2..c+2) and at (r, c-2..c), the first one,
    which looks at spins, at (r, c-2..c-1). A channel at (r, c) then holds nothing but earlier spins, in every layer.
    A site sees k rows above it up to 2k columns to the right: earlier spins further to the right are out of sight (the
    blind spot of one branch), which ends after length_x/2 rows.

    The last convolution gives the outputs, see :func:`pipeline.spin.ansatz.conditionals.normalise`; the padding is
    zero, for open and periodic Hamiltonians.

    Args:
        config: depth, width, phase, spread, output_scale and magnetisation.
        system: rectangular lattice.
    """

    def __init__(self, config: PixelCNNConfig, system: SpinSystem) -> None:
        super().__init__(config, system)
        self.above, self.beside = nn.ModuleList(), nn.ModuleList()
        for layer in range(config.depth):
            fan_in, own = (config.width, 1) if layer else (1, 0)
            outputs = number_of_outputs(config.phase) if layer == config.depth - 1 else config.width
            self.above.append(nn.Conv2d(fan_in, outputs, (1, ACROSS)))
            self.beside.append(nn.Conv2d(fan_in, outputs, (1, REACH + own), bias=False))
        self._initialise(config)

    @torch.no_grad()
    def _initialise(self, config: PixelCNNConfig) -> None:
        """Variance 2/fan-in, times ``spread`` where the residual connection takes each site's own channels along."""
        for layer, pair in enumerate(zip(self.above, self.beside, strict=True)):
            last = layer == config.depth - 1
            scale = config.output_scale if last else math.sqrt(config.spread) if layer else 1.0
            fan_in = sum(part.weight[0].numel() for part in pair if isinstance(part, nn.Conv2d))
            for part in pair:
                assert isinstance(part, nn.Conv2d)
                nn.init.normal_(part.weight, std=scale * math.sqrt(2 / fan_in))
                if part.bias is not None:
                    nn.init.zeros_(part.bias)

    def taps(self) -> list[list[Tap]]:
        """Weights of each convolution by where a site contributes: the five below it, then those beside it."""
        found = []
        for above, beside in zip(self.above, self.beside, strict=True):
            assert isinstance(above, nn.Conv2d)
            assert isinstance(beside, nn.Conv2d)
            found.append(
                [
                    Tap(down, REACH - x, weight[:, :, 0, x].T.contiguous())
                    for down, weight in ((1, above.weight), (0, beside.weight))
                    for x in range(weight.shape[3])
                ]
            )
        return found

    def biases(self) -> list[Tensor]:
        """Of each convolution."""
        return [above.bias for above in self.above if isinstance(above, nn.Conv2d) and above.bias is not None]

    def layers(self, spins: Tensor) -> Iterator[Tensor]:
        """One forward pass: h before every ReLU and the outputs, (B, channel, y, x), from (B, N) spins ±1."""
        # the channel is the fastest index from here on, which convolutions on a CPU like best
        image = spins.to(self.dtype).reshape(-1, self.length_y, self.length_x, 1).permute(0, 3, 1, 2)
        hidden = self._convolved(0, image)
        yield hidden
        for layer in range(1, self.depth):
            moved = self._convolved(layer, hidden.relu())
            hidden = moved if layer == self.depth - 1 else hidden + moved
            yield hidden

    def _convolved(self, layer: int, image: Tensor) -> Tensor:
        above, beside = self.above[layer], self.beside[layer]
        upper: Tensor = above(functional.pad(image[:, :, : self.length_y - 1], (REACH, REACH, 1, 0)))
        left = image if layer else image[..., : self.length_x - 1]
        own: Tensor = beside(functional.pad(left, (REACH, 0, 0, 0)))
        return upper + own

    def draw(self, uniforms: Tensor) -> Tensor:
        """Independent configurations (B, N) int8 ±1 from uniforms in [0, 1), (B, N) float64, one a site.

        Costs about one forward pass: see :mod:`pipeline.spin.ansatz.pixelcnn.single_draw`.
        """
        return single_draw.draw(self, uniforms).clone()

    def connected_log_amplitudes(self, spins: Tensor, masks: Tensor, wanted: Tensor | None = None) -> Tensor:
        """log ψ with the sites of every mask flipped, without gradients: (B, N), (K, N) bool → (B, K).

        Convolves again only what a flip can have changed: see :mod:`pipeline.spin.ansatz.pixelcnn.single_flips`.

        Args:
            spins: ±1.
            masks: sites to flip together.
            wanted: (B, K) bool; elements that are False have no meaning and cost nothing.
        """
        return single_flips.connected_log_amplitudes(self, spins, masks, wanted).clone()
