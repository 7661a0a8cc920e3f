"""Context functions of pseudofermion layers: gauge-invariant, functions of the links alone (Appendix B.2).

The inputs are Re Tr P(x), Im Tr P(x), x_0 mod 4 and x_1 mod 4 (Eqs. B2 and B3). A periodic convolution with ELU, shared
by all layers of all monomials, maps them to hidden channels; one convolution with tanh of each layer maps these to its
coefficients. Channels come first, then sites and configurations, so that a layer is one product of two matrices on the
neighbourhoods of sites, which are gathered once for all layers; or, where that is faster, one product for each of the
plane waves that the channels are taken apart into, see :mod:`pipeline.gauge.fourier`.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from pipeline.gauge import fourier
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


def gather(channels: Tensor, length: int, kernel: int, sites: Tensor | None = None) -> Tensor:
    """The neighbourhood of all sites or some as their channels, (C, V, batch) -> (C · kernel², sites, batch)."""
    table = neighbourhoods(length, kernel, channels.device)
    table = table if sites is None else table[:, sites]
    return channels.index_select(1, table.flatten()).reshape(-1, table.shape[1], channels.shape[2])


@dataclass(eq=False)
class Context:
    """What the layers of all monomials need to know of the links: computed once, for any number of draws.

    Attributes:
        matrices: links in the fundamental representation, (batch, 2, L, L, N, N), complex128.
        transport: to all V sites.
        hidden: hidden channels, (C, V, batch).
        kernel: of the layers.
    """

    matrices: Tensor
    transport: Transporters
    hidden: Tensor
    kernel: int
    _parts: dict[Mask, tuple[Tensor, Transporters, Tensor]] = field(default_factory=dict, repr=False)

    @functools.cached_property
    def channels(self) -> Tensor:
        """Hidden channels around each site and, last, one, (C · kernel² + 1, V, batch): a bias is a weight of that."""
        return _with_one(gather(self.hidden, self.length, self.kernel))

    @functools.cached_property
    def _spectrum(self) -> Tensor:
        return fourier.analyse(self.hidden)

    def coefficients(self, weight: Tensor) -> Tensor:
        """tanh of a convolution at all sites, (out, V, batch), for who multiplies by its slope: see :func:`squash`.

        Args:
            weight: (out, C · kernel² + 1), see :meth:`Convolution.parts`.
        """
        if fourier.worthwhile(self.hidden, len(weight), self.kernel):
            return fourier.convolve(self._spectrum, weight, self.kernel, squashed=True)
        # One product for all sites and configurations, whose weight gradient is another one.
        return squash(weight @ self.channels.flatten(1)).unflatten(1, self.hidden.shape[1:])

    def coefficients_at(self, mask: Mask, weight: Tensor) -> Tensor:
        """The same on active sites of a mask, (out, T, batch), with a gradient of its own."""
        channels = self.at(mask)[2]
        return (weight @ channels.flatten(1)).tanh().unflatten(1, channels.shape[1:])

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
            sites = on_device(mask.sites, self.hidden.device)
            channels = _with_one(gather(self.hidden, self.length, self.kernel, sites))
            self._parts[mask] = sites, self.transport.at(sites), channels
        return self._parts[mask]


def _with_one(channels: Tensor) -> Tensor:
    return torch.cat([channels, torch.ones_like(channels[:1])])


class SharedContext(nn.Module):
    """The first part of the context function, of all layers and monomials."""

    def __init__(self, group: Group, hidden: int, kernel: int, gain: float, generator: torch.Generator) -> None:
        """Args: see :class:`pipeline.gauge.pseudofermion.schema.ConditionalFlowConfig`."""
        super().__init__()
        self.group, self.kernel = group, kernel
        self.convolution = Convolution(INPUTS, hidden, kernel, gain, generator)

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
        return Context(matrices, transporters(matrices, dtype), hidden, self.kernel)


class Convolution(nn.Module):
    """A convolution on gathered neighbourhoods: weights (out, in · kernel²) and bias (out,)."""

    def __init__(self, inputs: int, outputs: int, kernel: int, gain: float, generator: torch.Generator) -> None:
        """Args: channels before gathering and after; side of the kernel; of the initial weights; no initial bias."""
        super().__init__()
        weight = torch.empty(outputs, inputs, kernel, kernel)
        nn.init.xavier_normal_(weight, gain=gain, generator=generator)
        self.weight = nn.Parameter(weight.flatten(1))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def parts(self, rows: int, frozen: bool = False) -> Sequence[Tensor]:
        """Weights of the first ``rows`` output channels and of the others, the biases as the last column.

        ``frozen``: as constants.
        """
        whole = torch.cat([self.weight, self.bias[:, None]], dim=1)
        return (whole.detach() if frozen else whole).split([rows, len(whole) - rows])

    def forward(self, around: Tensor, frozen: bool = False) -> Tensor:
        """(in · kernel², T, batch) -> (out, T, batch)."""
        weight, bias = (self.weight.detach(), self.bias.detach()) if frozen else (self.weight, self.bias)
        return torch.addmm(bias[:, None], weight, around.flatten(1)).unflatten(1, around.shape[1:])
