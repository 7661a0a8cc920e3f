"""Context functions of pseudofermion layers: gauge-invariant, functions of the links alone (Appendix B.2).

The inputs are Re Tr P(x), Im Tr P(x), x_0 mod 4 and x_1 mod 4 (Eqs. B2 and B3). A periodic convolution with ELU, shared
by all layers of all monomials, maps them to hidden channels; one convolution with tanh of each layer maps these to its
coefficients. Channels come first, then sites and configurations, so that a layer is one product of two matrices on the
neighbourhoods of sites, which are gathered once for all layers.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from pipeline.gauge.group import Group
from pipeline.gauge.pseudofermion.masks import Mask, on_device
from pipeline.gauge.pseudofermion.squash import squash
from pipeline.gauge.pseudofermion.transport import Transporters, transporters

INPUTS = 4

PERIOD = 4
"""Of the constant inputs I_μ(x) = x_μ mod 4 (Eq. B3)."""


def plaquette_traces(matrices: Tensor) -> Tensor:
    """Tr P(x) of Eq. 3, (batch, L, L), complex128, from links in the fundamental representation."""
    u_0, u_1 = matrices[:, 0], matrices[:, 1]
    there, back = (u_0, u_1.roll(-1, dims=1)), (u_1, u_0.roll(-1, dims=2))
    if matrices.shape[-1] == 1:
        # Products of numbers are several times faster than those of 1 × 1 matrices.
        return ((there[0] * there[1]) * (back[0] * back[1]).conj())[..., 0, 0]
    return ((there[0] @ there[1]) * (back[0] @ back[1]).conj()).sum(dim=(-2, -1))


def context_inputs(matrices: Tensor, dtype: torch.dtype) -> Tensor:
    """The four input channels of Eq. B2, (4, V, batch), real ``dtype``."""
    traces = plaquette_traces(matrices).flatten(1).T
    length = matrices.shape[2]
    site = torch.arange(length**2, device=matrices.device)
    constants = torch.stack([site // length % PERIOD, site % length % PERIOD])[..., None].expand(-1, -1, len(matrices))
    return torch.cat([torch.stack([traces.real, traces.imag]).to(dtype), constants.to(dtype)])


@functools.cache
def neighbourhoods(length: int, kernel: int, device: torch.device) -> Tensor:
    """Lattice sites of the periodic kernel × kernel square around each site, (kernel², V), int64."""
    reach = torch.arange(kernel) - kernel // 2
    x = torch.arange(length)
    around = (x + reach[:, None]) % length
    return (around[:, None, :, None] * length + around[None, :, None, :]).reshape(kernel**2, length**2).to(device)


def gather(channels: Tensor, length: int, kernel: int) -> Tensor:
    """The neighbourhood of each site as its channels, (C, V, batch) -> (C · kernel², V, batch)."""
    table = neighbourhoods(length, kernel, channels.device)
    return channels.index_select(1, table.flatten()).reshape(-1, *channels.shape[1:])


@dataclass(eq=False)
class Context:
    """What the layers of all monomials need to know of the links: computed once, for any number of draws.

    Attributes:
        matrices: links in the fundamental representation, (batch, 2, L, L, N, N), complex128.
        transport: to all V sites.
        channels: hidden channels around each site and, last, one, (C + 1, V, batch): biases are weights of the last.
    """

    matrices: Tensor
    transport: Transporters
    channels: Tensor
    _parts: dict[Mask, tuple[Tensor, Transporters, Tensor]] = field(default_factory=dict, repr=False)

    @property
    def length(self) -> int:
        """L."""
        return self.matrices.shape[2]

    @property
    def batch(self) -> int:
        """Number of gauge configurations."""
        return self.matrices.shape[0]

    @property
    def colors(self) -> int:
        """N."""
        return self.matrices.shape[-1]

    def at(self, mask: Mask) -> tuple[Tensor, Transporters, Tensor]:
        """Active sites of a mask, transporters to them and the channels there, kept for all layers that have it."""
        if mask not in self._parts:
            sites = on_device(mask.sites, self.channels.device)
            self._parts[mask] = sites, self.transport.at(sites), self.channels.index_select(1, sites)
        return self._parts[mask]


class SharedContext(nn.Module):
    """The first part of the context function, of all layers and monomials."""

    def __init__(self, group: Group, hidden: int, kernel: int, gain: float, generator: torch.Generator) -> None:
        """Args: see :class:`pipeline.gauge.pseudofermion.schema.ConditionalFlowConfig`."""
        super().__init__()
        self.group, self.kernel = group, kernel
        self.convolution = Convolution(INPUTS, hidden, kernel, gain, generator)

    @property
    def channels(self) -> int:
        """C of :class:`Context`."""
        return self.convolution.bias.shape[0] * self.kernel**2

    def forward(self, links: Tensor, frozen: bool = False) -> Context:
        """Context over ``links`` of the group, differentiable in them.

        Args:
            links: of the group.
            frozen: the parameters count as constants.
        """
        matrices = self.group.matrices(links)
        dtype, length = self.convolution.bias.dtype, matrices.shape[2]
        around = gather(context_inputs(matrices, dtype), length, self.kernel)
        hidden = nn.functional.elu(self.convolution(around, frozen))
        channels = gather(hidden, length, self.kernel)
        channels = torch.cat([channels, torch.ones_like(channels[:1])])
        return Context(matrices, transporters(matrices, dtype), channels)


class Convolution(nn.Module):
    """A convolution on gathered neighbourhoods: weights (out, in · kernel²) and bias (out,)."""

    def __init__(self, inputs: int, outputs: int, kernel: int, gain: float, generator: torch.Generator) -> None:
        """Args: channels before gathering and after; side of the kernel; of the initial weights; no initial bias."""
        super().__init__()
        weight = torch.empty(outputs, inputs, kernel, kernel)
        nn.init.xavier_normal_(weight, gain=gain, generator=generator)
        self.weight = nn.Parameter(weight.flatten(1))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def parts(self, rows: Sequence[int], frozen: bool = False) -> Sequence[Tensor]:
        """Weights of so many output channels each, the biases as the last column; ``frozen``: as constants."""
        whole = torch.cat([self.weight, self.bias[:, None]], dim=1)
        return (whole.detach() if frozen else whole).split(list(rows))

    def forward(self, around: Tensor, frozen: bool = False) -> Tensor:
        """(in · kernel², T, batch) -> (out, T, batch)."""
        weight, bias = (self.weight.detach(), self.bias.detach()) if frozen else (self.weight, self.bias)
        return torch.addmm(bias[:, None], weight, around.flatten(1)).unflatten(1, around.shape[1:])


def convolve(channels: Tensor, weight: Tensor, *, squashed: bool = False) -> Tensor:
    """Outputs (out, T, batch) on the channels of a :class:`Context`; ``squashed``: see :func:`squash`.

    Args:
        channels: (C + 1, T, batch).
        weight: see :meth:`Convolution.parts`.
    """
    # One product for all sites and configurations, whose weight gradient is another one.
    outputs = weight @ channels.flatten(1)
    return (squash(outputs) if squashed else outputs).unflatten(1, channels.shape[1:])
