"""Reverse Kullback-Leibler divergence of pseudofermion flows over given links, with its gradient estimators."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from pipeline.gauge.pseudofermion.conditional import BoundFlow, PseudofermionFlows
from pipeline.gauge.pseudofermion.target import PseudofermionTarget

Gradient = Literal["reparametrised", "path"]


def reverse_kl(
    flows: PseudofermionFlows,
    target: PseudofermionTarget,
    links: Tensor,
    draws: int,
    generator: torch.Generator,
    gradient: Gradient = "reparametrised",
) -> tuple[Tensor, Tensor]:
    """Σ_i ⟨log q(φ_i|U) + S_i(φ_i, U)⟩ over fresh draws: the divergence but for log normalisers of the links alone.

    The conditional part of Eq. B1. In joint training, where the links come from a flow themselves, add
    ⟨log q(U) + S_g(U)⟩: gradients flow back into links that require them, through fields, log q and S alike.

    Where D D† has a small eigenvalue, S and its gradient are huge: norms a hundred times the usual one occur every few
    hundred steps, and without clipping undo what was learned.

    Args:
        flows: models of all monomials.
        target: their actions.
        links: (batch, ...), of the group.
        draws: N_pf.
        generator: of the draws.
        gradient: ``reparametrised``, of the value as it stands, or ``path``, which leaves out what parameters do to
            log q at fixed fields: zero on average, and its noise vanishes as q becomes p. Costs an inverse map.

    Returns:
        The loss, (), float64, and log(e^{-S_i}/q(φ_i|U)) of each draw, (monomials, batch, draws), detached.

    Raises:
        NotConverged: by conjugate gradients.
    """
    bound = flows(links)
    drawn = [flow.sample(draws, generator) for flow in bound]
    fields, log_q = tuple(each for each, _ in drawn), torch.stack([each for _, each in drawn])
    if gradient == "path":
        frozen = flows(links, frozen=True) if links.requires_grad else tuple(map(detached, bound))
        log_q = torch.stack([flow.log_prob(each) for flow, each in zip(frozen, fields, strict=True)])
    log_ratios = -target.actions(links, fields) - log_q
    return -log_ratios.mean(dim=(1, 2)).sum(), log_ratios.detach()


def detached(flow: BoundFlow) -> BoundFlow:
    """The same model as a constant of parameters and links."""
    couplings = tuple(
        replace(
            coupling,
            inner=None if coupling.inner is None else coupling.inner.detach(),
            outer=coupling.outer.detach(),
            scale=coupling.scale.detach(),
            transport=replace(coupling.transport, planes=coupling.transport.planes.detach()),
            transport_active=replace(coupling.transport_active, planes=coupling.transport_active.planes.detach()),
        )
        for coupling in flow.couplings
    )
    return replace(flow, couplings=couplings, log_jacobian=flow.log_jacobian.detach())
