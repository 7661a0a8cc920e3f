"""The marginal model q(U) of gauge fields: coupling layers on Haar-distributed links (Eq. 21)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pipeline.base.numbers.rng import derive_seed
from pipeline.gauge.flow.conditioner import ConvConditioner
from pipeline.gauge.flow.coupling import Coupling
from pipeline.gauge.flow.loops import FEATURES, loops_of
from pipeline.gauge.flow.masks import mask
from pipeline.gauge.flow.schema import MarginalFlowSettings
from pipeline.gauge.flow.spectral import SpectralSpline
from pipeline.gauge.flow.transformation import CircularSpline, Transformation
from pipeline.gauge.group import Group, group_of
from pipeline.gauge.systems import GaugeSystem


class MarginalFlow(nn.Module):
    """q(U) = |det ∂f(z)/∂z|^{-1} with U = f(z) and z Haar-distributed (Eqs. 13, 14 and 21).

    Densities are with respect to the normalised Haar measure of all links, for which the base is 1. Links and densities
    are double precision, networks have the precision of their weights. With single precision :meth:`log_prob` of
    what was drawn is that of the draw up to 1e-6 or so, as networks round anew.

    Args:
        group: of the links.
        length: L.
        couplings: layers, in the order in which base samples pass them.
    """

    def __init__(self, group: Group, length: int, couplings: Sequence[Coupling]) -> None:
        super().__init__()
        self.group, self.length = group, length
        self.couplings = nn.ModuleList(couplings)

    def forward(self, links: Tensor) -> tuple[Tensor, Tensor]:
        """f and log|det ∂f/∂z| of each configuration, (batch,) float64; ``links`` as the group has them."""
        total = torch.zeros(len(links), dtype=torch.float64, device=links.device)
        for coupling in self.couplings:
            links, log_j = coupling(links)
            total = total + log_j
        return links, total

    def inverse(self, links: Tensor) -> tuple[Tensor, Tensor]:
        """f^{-1} and the logarithm of its own Jacobian."""
        total = torch.zeros(len(links), dtype=torch.float64, device=links.device)
        for coupling in reversed(self.couplings):
            assert isinstance(coupling, Coupling)
            links, log_j = coupling.inverse(links)
            total = total + log_j
        return links, total

    def sample_with_log_prob(self, batch: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """``batch`` configurations on the generator's device and log q of each, (batch,); both with gradients.

        Gradients are those of the re-parametrised sample: z stays as it was drawn.
        """
        links, log_j = self(self.group.random_links(batch, self.length, generator))
        return links, -log_j

    def sample_with_path_log_prob(self, batch: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The same samples and values of log q, whose gradient is that along the path of U = f(z) alone.

        What is left out, the derivative of log q with respect to the weights at fixed U, is zero in the mean: gradients
        of :func:`~pipeline.gauge.flow.weights.reverse_kl` are unbiased, and without noise where q = p (Roeder et al.,
        arXiv:1703.09194; Vaitl et al., arXiv:2207.08219). An inverse pass, forth and back, is the price.
        """
        links, log_q = self.sample_with_log_prob(batch, generator)
        with torch.enable_grad():
            fixed = links.detach().requires_grad_()
            (slope,) = torch.autograd.grad(self.inverse(fixed)[1].sum(), fixed)
        moved = (slope.conj() * (links - links.detach())).flatten(1).sum(dim=1)
        return links, log_q.detach() + (moved.real if moved.is_complex() else moved)

    def log_prob(self, links: Tensor) -> Tensor:
        """log q(U), (batch,) float64, by the inverse flow.

        Raises:
            ValueError: ``links`` are no configurations of the group on the lattice of the flow.
        """
        self.group.check(links)
        if links.shape[2] != self.length:
            raise ValueError(f"the flow is one of {self.length} x {self.length} sites, not {links.shape[2]}")
        return self.inverse(links)[1]


def transformation_of(group: Group, bins: int) -> Transformation:
    """What changes the loops of ``group``: splines on the circle, or on the eigenphases."""
    return CircularSpline(bins) if group.name == "u1" else SpectralSpline(bins)


def build_marginal_flow(settings: MarginalFlowSettings, system: GaugeSystem, seed: int) -> MarginalFlow:
    """A flow with initial weights that are a function of ``seed``, float32, on the CPU.

    Raises:
        ConfigError: the masks do not tile the lattice, or a kernel is larger than it.
    """
    settings.check(system)
    group = group_of(system)
    transformation = transformation_of(group, settings.bins)

    def layer(index: int) -> Coupling:
        conditioner = ConvConditioner(
            FEATURES,
            settings.hidden,
            transformation.parameters,
            settings.dilations,
            settings.activation,
            settings.gain,
        )
        return Coupling(mask(system.length, index), loops_of(group), conditioner, transformation)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "marginal flow parameters"))
        return MarginalFlow(group, system.length, [layer(index) for index in range(settings.layers)])
