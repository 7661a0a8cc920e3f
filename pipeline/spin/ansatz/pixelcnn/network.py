"""Neural autoregressive quantum state on a square lattice (NAQS paper, Appendix B.1)."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.spin.ansatz.conditionals import number_of_outputs
from pipeline.spin.ansatz.pixelcnn import draw, flips
from pipeline.spin.ansatz.pixelcnn.causal import CausalNetwork
from pipeline.spin.ansatz.schema import PixelCNNConfig
from pipeline.spin.systems import SpinSystem

KERNEL = 3


class PixelCNN(CausalNetwork):
    """Masked convolutions in two branches; row-wise order; ``depth`` blocks of ``width`` channels.

    A block convolves the vertical branch (3×3 over the rows r-2..r, columns c-1..c+1), shifts the result down by one
    row, puts it beside the channels of the horizontal branch, and convolves both (3×3 over the rows r-2..r, columns
    c-2..c). The last horizontal convolution gives the outputs.

    What the paper says and what it leaves open:

    - The paper sets the (3, 3) weight of the horizontal convolutions to zero. Taken literally, in every block and for
      every channel, the conditional of a site would not depend on its depth-1 left neighbours. Here, as in the
      PixelCNN that it cites, the weight is masked once, for the spins in the first block: later horizontal channels
      at (r, c) and shifted vertical channels at (r, c) hold nothing but earlier spins.
    - It gives each conditional "2 output channels, real and imaginary part of the log-amplitude" without saying how
      these are two values of a spin. Here each value has its own log-magnitude, and with ``phase`` its own phase:
      4 channels, as in the authors' published code, or 2 without phases.
    - ours: ReLU after every convolution but the last, before the branches are joined; the initial weights, whose last
      layer is smaller by ``output_scale``, so that the first state is almost uniform and of almost one phase. The
      authors' code also has residual blocks, 1×1 convolutions and weight normalisation, which the paper does not.
    - ours, if asked for with ``magnetisation``: conditionals confined to a sector of Σ σz.

    The lattice may be any rectangle, and the zero padding is the same for open and periodic Hamiltonians.

    Args:
        config: depth, width, phase, spread, output_scale and magnetisation.
        system: rectangular lattice.
    """

    def __init__(self, config: PixelCNNConfig, system: SpinSystem) -> None:
        super().__init__(config, system)
        self.vertical, self.horizontal = nn.ModuleList(), nn.ModuleList()
        for block in range(config.depth):
            fan_in = config.width if block else 1
            last = block == config.depth - 1
            outputs = number_of_outputs(config.phase) if last else config.width
            self.vertical.append(nn.Conv2d(fan_in, config.width, KERNEL))
            self.horizontal.append(nn.Conv2d(fan_in + config.width, outputs, KERNEL))
        mask = torch.ones(1, 1 + config.width, KERNEL, KERNEL)
        mask[0, 0, -1, -1] = 0
        self._mask: Tensor
        self.register_buffer("_mask", mask, persistent=False)
        self._initialise(config)

    @torch.no_grad()
    def _initialise(self, config: PixelCNNConfig) -> None:
        """Weights under which the signal keeps its second moment through ReLU layers, zero biases.

        The convolutions look to one side and most of their taps lie in the padding for sites near the upper left
        corner, so that independent weights of variance 2/fan-in make the signal there die out with the depth: on
        6×6 sites twenty blocks leave 1e-7 of it. So from the second block on an orthogonal matrix takes each site's
        own channels along, and all other weights have ``spread`` times the variance 2/fan-in. Both inputs of the
        horizontal branch count alike, though the spins are one channel and the vertical branch has many.
        """
        for block, branches in enumerate(zip(self.vertical, self.horizontal, strict=True)):
            for layer, (y, x) in zip(branches, ((KERNEL - 1, KERNEL // 2), (KERNEL - 1, KERNEL - 1)), strict=True):
                assert isinstance(layer, nn.Conv2d)
                assert layer.bias is not None
                nn.init.zeros_(layer.bias)
                previous = config.width if block else 1
                inputs = [part for part in (layer.weight[:, :previous], layer.weight[:, previous:]) if part.numel()]
                for part in inputs:
                    nn.init.normal_(part, std=math.sqrt(2 / (len(inputs) * part[0].numel())))
                if layer is self.horizontal[-1]:
                    layer.weight.mul_(config.output_scale)
                elif block:
                    own = torch.empty(config.width, config.width)
                    layer.weight.mul_(math.sqrt(config.spread))
                    layer.weight[:, : config.width, y, x] = nn.init.orthogonal_(own, math.sqrt(2))

    def kernels(self) -> list[tuple[Tensor, Tensor, Tensor, Tensor]]:
        """(vertical weight, its bias, horizontal weight, its bias) of each block, masks applied."""
        kernels = []
        for block, (vertical, horizontal) in enumerate(zip(self.vertical, self.horizontal, strict=True)):
            assert isinstance(vertical, nn.Conv2d)
            assert isinstance(horizontal, nn.Conv2d)
            assert vertical.bias is not None
            assert horizontal.bias is not None
            weight = horizontal.weight if block else horizontal.weight * self._mask
            kernels.append((vertical.weight, vertical.bias, weight, horizontal.bias))
        return kernels

    def layers(self, spins: Tensor) -> Iterator[Tensor]:
        """One forward pass: what every convolution gives before its ReLU, (B, channel, y, x), from (B, N) spins ±1.

        Vertical and horizontal in turn, block by block. The last lattice row of the vertical ones, which nobody sees,
        is left out; the last horizontal ones are the outputs, see
        :func:`pipeline.spin.ansatz.conditionals.normalise`. The ReLU overwrites a tensor before the next one comes.
        """
        # the channel is the fastest index from here on, which convolutions on a CPU like best
        image = spins.to(self._mask.dtype).reshape(-1, self.length_y, self.length_x, 1).permute(0, 3, 1, 2)
        vertical = horizontal = image
        vertical = vertical[:, :, : max(1, self.length_y - 1)]
        for block, (v_weight, v_bias, h_weight, h_bias) in enumerate(self.kernels()):
            vertical = functional.conv2d(functional.pad(vertical, (1, 1, 2, 0)), v_weight, v_bias)
            yield vertical
            vertical = vertical.relu_()
            shifted = functional.pad(vertical[:, :, : self.length_y - 1], (2, 0, 3, 0))
            both = torch.cat([functional.pad(horizontal, (2, 0, 2, 0)), shifted], 1)
            horizontal = functional.conv2d(both, h_weight, h_bias)
            yield horizontal
            if block < self.depth - 1:
                horizontal = horizontal.relu_()

    def draw(self, uniforms: Tensor) -> Tensor:
        """Independent configurations (B, N) int8 ±1 from uniforms in [0, 1), (B, N) float64, one a site.

        Costs about one forward pass: see :mod:`pipeline.spin.ansatz.pixelcnn.draw`.
        """
        return draw.draw(self, uniforms).clone()

    def connected_log_amplitudes(self, spins: Tensor, masks: Tensor, wanted: Tensor | None = None) -> Tensor:
        """log ψ with the sites of every mask flipped, without gradients: (B, N), (K, N) bool → (B, K).

        Convolves again only what a flip can have changed: see :mod:`pipeline.spin.ansatz.pixelcnn.flips`.

        Args:
            spins: ±1.
            masks: sites to flip together.
            wanted: (B, K) bool; elements that are False have no meaning and cost nothing.
        """
        return flips.connected_log_amplitudes(self, spins, masks, wanted).clone()
