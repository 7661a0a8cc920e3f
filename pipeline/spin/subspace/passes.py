"""Values and gradients of a network on configurations that stay the same from update to update."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

from pipeline.spin.ansatz.mlp import MLP


class Passes(Protocol):
    """A forward pass and the backward pass that belongs to it."""

    def values(self) -> Tensor:
        """Amplitudes of all configurations, (n,) float64, without derivatives."""
        ...

    def backward(self, slope: Tensor) -> None:
        """Set ``grad`` of every parameter to Σ_x slope_x ∂ψ(x)/∂θ, at the parameters of the last :meth:`values`.

        Args:
            slope: derivatives by the amplitudes, (n,) float64.
        """
        ...


def passes(network: nn.Module, spins: Tensor) -> Passes:
    """The passes of ``network`` on ``spins`` (n, N), ±1 of any dtype: by hand where its layers are known."""
    return DensePasses(network, spins) if isinstance(network, MLP) else RecordedPasses(network, spins)


class RecordedPasses:
    """Passes by torch's automatic differentiation, see :class:`Passes`.

    Args:
        network: amplitudes (n,) of spins (n, N).
        spins: (n, N), ±1 of any dtype.
    """

    def __init__(self, network: nn.Module, spins: Tensor) -> None:
        self.network = network
        self.inputs = spins.to(next(network.parameters()).dtype)
        self._output = self.inputs.new_zeros(0)

    def values(self) -> Tensor:
        """See :class:`Passes`."""
        self._output = self.network(self.inputs)
        return self._output.detach().double()

    def backward(self, slope: Tensor) -> None:
        """See :class:`Passes`."""
        self.network.zero_grad()
        self._output.backward(slope.to(self._output.dtype))


class DensePasses:
    """Passes of an MLP in memory that stays, see :class:`Passes`.

    The same products as those of automatic differentiation. What is not a product, a tenth of the arithmetic, would
    otherwise take a third of the time: every activation and its slope would be memory of their own, fetched anew
    in each update.

    Args:
        network: in float32 or float64, on any device.
        spins: (n, N), ±1 of any dtype.
    """

    def __init__(self, network: MLP, spins: Tensor) -> None:
        self.layers = [layer for layer in network.network if isinstance(layer, nn.Linear)]
        weight = self.layers[0].weight
        inputs = spins.to(weight.dtype)
        self.outputs = [inputs, *(inputs.new_empty(len(inputs), layer.out_features) for layer in self.layers)]
        self.slopes = [torch.empty_like(output) for output in self.outputs[1:-1]]
        for layer in self.layers:
            layer.weight.grad, layer.bias.grad = torch.empty_like(layer.weight), torch.empty_like(layer.bias)

    @torch.no_grad()
    def values(self) -> Tensor:
        """See :class:`Passes`."""
        for i, layer in enumerate(self.layers):
            output = torch.addmm(layer.bias, self.outputs[i], layer.weight.T, out=self.outputs[i + 1])
            output.tanh_() if layer is self.layers[-1] else output.relu_()
        return self.outputs[-1][:, 0].double()

    @torch.no_grad()
    def backward(self, slope: Tensor) -> None:
        """See :class:`Passes`."""
        last = self.outputs[-1]
        behind = slope.to(last.dtype)[:, None] * (1.0 - last.square())
        for i in range(len(self.layers) - 1, -1, -1):
            layer = self.layers[i]
            assert layer.weight.grad is not None
            assert layer.bias.grad is not None
            torch.mm(behind.T, self.outputs[i], out=layer.weight.grad)
            torch.sum(behind, 0, out=layer.bias.grad)
            if i > 0:
                before = torch.mm(behind, layer.weight, out=self.slopes[i - 1])
                behind = torch.ops.aten.threshold_backward.grad_input(before, self.outputs[i], 0, grad_input=before)
