"""Networks that tell a transformation its parameters, from what a mask leaves frozen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

KERNEL = 3
"""Sites along the side of a kernel."""

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "leaky_relu": functional.leaky_relu,
    "elu": functional.elu,
    "silu": functional.silu,
}


class ConvConditioner(nn.Module):
    """3 × 3 convolutions on a periodic lattice, an activation after each but the last.

    They know the lattice only by the features, so that a translation of those is one of the parameters. The last one is
    evaluated where it is asked for alone. Weights start normally distributed (Xavier) with ``gain``, biases as torch's
    own (Appendix B.1).

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
        widths = [features, *hidden, outputs]
        self.layers = nn.ModuleList(
            nn.Conv2d(into, out, KERNEL, dilation=dilation)
            for (into, out), dilation in zip(pairwise(widths), dilations, strict=True)
        )
        self.dilations, self.activation = tuple(dilations), ACTIVATIONS[activation]
        for layer in self.layers:
            assert isinstance(layer, nn.Conv2d)
            nn.init.xavier_normal_(layer.weight, gain=gain)

    def forward(self, features: Tensor, sites: Tensor) -> Tensor:
        """Outputs at some sites, in the dtype of the weights.

        Args:
            features: (batch, channels, L, L), of any real dtype.
            sites: positions x_0 L + x_1, (n,) int64.

        Returns:
            (batch, n, outputs).
        """
        *inner, last = self.layers
        assert isinstance(last, nn.Conv2d)
        found = features.to(last.weight.dtype)
        for layer, dilation in zip(inner, self.dilations, strict=False):
            found = self.activation(layer(functional.pad(found, (dilation,) * 4, mode="circular")))
        windows = found.flatten(2)[:, :, _windows(sites, found.shape[-1], self.dilations[-1])]
        return windows.permute(0, 2, 1, 3).flatten(2) @ last.weight.flatten(1).T + last.bias


def _windows(sites: Tensor, length: int, dilation: int) -> Tensor:
    """Positions of the sites that a kernel around each of ``sites`` looks at, row by row; (n, 9)."""
    steps = dilation * torch.arange(-1, 2, device=sites.device)
    x_0 = (sites[:, None] // length + steps) % length
    x_1 = (sites[:, None] % length + steps) % length
    return (x_0[:, :, None] * length + x_1[:, None, :]).flatten(1)
