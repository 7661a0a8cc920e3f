"""Networks that tell a transformation its parameters, from what a mask leaves frozen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.gauge import fourier
from pipeline.gauge.flow.periodic import KERNEL, convolution, convolution_at

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "leaky_relu": functional.leaky_relu,
    "elu": functional.elu,
    "silu": functional.silu,
}


class ConvConditioner(nn.Module):
    """3 × 3 convolutions on a periodic lattice, an activation after each but the last.

    They know the lattice only by the features, so that a translation of those is one of the parameters. The last one is
    evaluated where it is asked for alone, or everywhere where plane waves are the faster way of all of them, see
    :mod:`pipeline.gauge.fourier`. Weights start normally distributed (Xavier) with ``gain``, biases as torch's own
    (Appendix B.1).

    Args:
        features: channels that go in.
        hidden: channels between the convolutions, at least one number.
        outputs: channels that come out.
        dilations: distance between the sites of a kernel, one number for each convolution.
        activation: one of :data:`ACTIVATIONS`.
        gain: 0 makes a network without weights, that knows nothing of the features.
    """

    def __init__(
        self,
        features: int,
        hidden: Sequence[int],
        outputs: int,
        dilations: Sequence[int],
        activation: str,
        gain: float,
    ) -> None:
        super().__init__()
        widths = pairwise([features, *hidden, outputs])
        self.layers = nn.ModuleList(nn.Conv2d(into, out, KERNEL) for into, out in widths)
        self.dilations, self.activation = tuple(dilations), ACTIVATIONS[activation]
        for layer in self._convolutions():
            nn.init.xavier_normal_(layer.weight, gain=gain)

    def forward(self, features: Tensor, sites: Tensor) -> Tensor:
        """Outputs at some sites, in the dtype of the weights.

        Args:
            features: (batch, L, L, channels), of any real dtype.
            sites: positions x_0 L + x_1, (n,) int64.

        Returns:
            (outputs, batch, n).
        """
        *inner, last = self._convolutions()
        field = features.to(last.weight.dtype)
        channels_first = field.permute(3, 1, 2, 0).flatten(1, 2)
        if fourier.worthwhile(channels_first, min(len(layer.weight) for layer in self._convolutions()), KERNEL):
            return self._by_waves(channels_first, sites)
        for layer, dilation in zip(inner, self.dilations, strict=False):
            field = self.activation(convolution(field, layer.weight, _bias(layer), dilation))
        return convolution_at(field, last.weight, _bias(last), self.dilations[-1], sites)

    def _by_waves(self, field: Tensor, sites: Tensor) -> Tensor:
        """The same of (channels, V, batch)."""
        for number, (layer, dilation) in enumerate(zip(self._convolutions(), self.dilations, strict=True)):
            weight = torch.cat([layer.weight.flatten(1), _bias(layer)[:, None]], dim=1)
            field = self.activation(field) if number else field
            field = fourier.convolve(fourier.analyse(field), weight, KERNEL, dilation)
        return field[:, sites].transpose(1, 2)

    def _convolutions(self) -> list[nn.Conv2d]:
        return [layer for layer in self.layers if isinstance(layer, nn.Conv2d)]


def _bias(layer: nn.Conv2d) -> Tensor:
    assert layer.bias is not None
    return layer.bias
