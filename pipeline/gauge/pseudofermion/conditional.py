"""Conditional models q(φ|U) of pseudofermions: Gaussians whose covariance is a gauge-covariant function of the links.

φ = F χ with χ from e^{-χ†χ}/π^n and F a chain of the layers of :mod:`pipeline.gauge.pseudofermion.coupling`, so that
log q(φ|U) = -χ†χ - n log π - log J and the covariance is F F† (Abbott et al. 2022, Eqs. 22-23).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pipeline.gauge.group import Group
from pipeline.gauge.pseudofermion.context import Context, SharedContext
from pipeline.gauge.pseudofermion.coupling import BoundCoupling, Coupling, log_jacobian
from pipeline.gauge.pseudofermion.masks import SPINS, kept_field_sites, mask_cycle, on_device
from pipeline.gauge.pseudofermion.schema import ConditionalFlowConfig
from pipeline.gauge.pseudofermion.transport import to_field, to_planes


@dataclass(frozen=True, eq=False)
class BoundFlow:
    """q(φ|U) of one monomial over fixed links. Coefficients are there already: any number of draws shares them.

    Fields are complex, as those of :mod:`pipeline.gauge.fermions.dirac`: (batch, n, sites, 2, N).

    Attributes:
        couplings: layers, the first to act on χ first.
        sites: lattice sites of the field, (sites,).
        length: L.
        log_jacobian: log J of χ -> φ, (batch,), float64.
    """

    couplings: tuple[BoundCoupling, ...]
    sites: Tensor
    length: int
    log_jacobian: Tensor

    @property
    def _planes(self) -> Tensor:
        return self.couplings[0].transport.planes

    def base(self, draws: int, generator: torch.Generator) -> Tensor:
        """χ with density e^{-χ†χ}/π^n, (batch, draws, sites, 2, N), in the precision of the layers."""
        planes = self._planes
        shape = (planes.shape[-1], draws, len(self.sites), SPINS, planes.shape[2])
        return torch.randn(shape, dtype=planes.dtype.to_complex(), device=planes.device, generator=generator)

    def push(self, base: Tensor) -> tuple[Tensor, Tensor]:
        """φ = F χ and log q(φ|U); differentiable in parameters and links.

        Args:
            base: χ, (batch, n, sites, 2, N).

        Returns:
            Fields, complex128, in the shape of ``base``; (batch, n), float64.
        """
        planes = to_planes(base, self.sites, self.length, self._planes.dtype)
        for coupling in self.couplings:
            planes = coupling.forward(planes)
        return to_field(planes, self.sites), self._log_density(base)

    def pull(self, fields: Tensor) -> Tensor:
        """χ = F^{-1} φ in the precision of the layers, shape of ``fields``."""
        planes = to_planes(fields, self.sites, self.length, self._planes.dtype)
        for coupling in reversed(self.couplings):
            planes = coupling.inverse(planes)
        return to_field(planes, self.sites, self._planes.dtype.to_complex())

    def sample(self, draws: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Fields, (batch, draws, sites, 2, N) complex128, and log q(φ|U), (batch, draws) float64; see :meth:`push`."""
        return self.push(self.base(draws, generator))

    def log_prob(self, fields: Tensor) -> Tensor:
        """log q(φ|U), (batch, n), float64; differentiable in fields, parameters and links."""
        return self._log_density(self.pull(fields))

    def _log_density(self, base: Tensor) -> Tensor:
        parts = torch.view_as_real(base).flatten(2)
        norm = parts.square().sum(dim=2, dtype=torch.float64)
        return -norm - parts.shape[2] / 2 * math.log(math.pi) - self.log_jacobian[:, None]


class ConditionalFlow(nn.Module):
    """q(φ|U) of one monomial: pseudofermion layers on top of a shared context."""

    def __init__(self, config: ConditionalFlowConfig, length: int, even_odd: bool, generator: torch.Generator) -> None:
        """Args: as of :class:`PseudofermionFlows`."""
        super().__init__()
        self.even_odd = even_odd
        masks = mask_cycle(tuple(config.partition), length, even_odd)
        self.couplings = nn.ModuleList(
            Coupling(
                masks[layer % len(masks)],
                config.hidden,
                config.kernel,
                config.transports,
                config.features,
                config.gain,
                generator,
            )
            for layer in range(config.layers)
        )

    def forward(self, context: Context, frozen: bool = False) -> BoundFlow:
        """The model over the links of ``context``; ``frozen``: the parameters count as constants."""
        couplings = tuple(coupling(context, frozen) for coupling in self.couplings)
        sites = on_device(kept_field_sites(context.length, self.even_odd), context.hidden.device)
        return BoundFlow(couplings, sites, context.length, log_jacobian(couplings))


class PseudofermionFlows(nn.Module):
    """Independent models q(φ_i|U) of all monomials (Eq. 39), with the first part of the context function in common.

    Attributes:
        shared: that part.
        monomials: one model each.
    """

    def __init__(
        self,
        config: ConditionalFlowConfig,
        group: Group,
        length: int,
        even_odd: bool,
        monomials: int,
        generator: torch.Generator,
    ) -> None:
        """Args:
            config: architecture.
            group: of the links.
            length: L.
            even_odd: fields on even sites.
            monomials: N_h + 1.
            generator: of the initial weights.

        Raises:
            ConfigError: masks that do not tile the lattice, or too few transports.
        """
        super().__init__()
        config.check_even_odd(even_odd)
        self.shared = SharedContext(group, config.hidden, config.kernel, config.gain, generator)
        self.monomials = nn.ModuleList(ConditionalFlow(config, length, even_odd, generator) for _ in range(monomials))

    def forward(self, links: Tensor, frozen: bool = False) -> tuple[BoundFlow, ...]:
        """The models over ``links`` of the group, with the context computed once.

        Args:
            links: of the group; gradients flow back to them.
            frozen: the parameters count as constants, as path gradients ask for; links and fields do not.
        """
        context = self.shared(links, frozen)
        return tuple(model(context, frozen) for model in self.monomials)

    def sample_with_log_prob(
        self, links: Tensor, draws: int, generator: torch.Generator
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        """Draws of all monomials over the same links.

        Args:
            links: of the group.
            draws: N_pf for each monomial and configuration.
            generator: on the device of the links.

        Returns:
            Fields of each monomial, (batch, draws, sites, 2, N) complex128; log q(φ_i|U), (monomials, batch, draws).
        """
        drawn = [flow.sample(draws, generator) for flow in self(links)]
        return tuple(fields for fields, _ in drawn), torch.stack([log_q for _, log_q in drawn])

    def log_prob(self, fields: Sequence[Tensor], links: Tensor) -> Tensor:
        """log q(φ_i|U) of fields of each monomial, (monomials, batch, n), float64."""
        return torch.stack([flow.log_prob(each) for flow, each in zip(self(links), fields, strict=True)])
