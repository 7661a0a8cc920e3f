"""Molecular dynamics and the Metropolis test of HMC, for any action and any group (through its ``drift``)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.gauge.action import Action

Drift = Callable[[Tensor, Tensor, float], Tensor]
"""(links, momenta, time) -> links after free motion; :func:`pipeline.gauge.u1.drift` for angles."""

OMELYAN_LAMBDA = 0.1931833275037836
"""λ that minimises the leading error of 2MN: Omelyan, Mryglod, Folk, Comput. Phys. Commun. 151, 272 (2003)."""


def kinetic_energy(momenta: Tensor) -> Tensor:
    """Σ π²/2 of each configuration; ``momenta`` (batch, ...) -> (batch,)."""
    return 0.5 * momenta.flatten(1).square().sum(dim=1)


def omelyan(
    links: Tensor, momenta: Tensor, action: Action, drift: Drift, step_size: float, steps: int
) -> tuple[Tensor, Tensor]:
    """Second-order minimum-norm integrator with two force evaluations a step (Omelyan et al. 2003, "2MN").

    One step is e^{λεV} e^{εT/2} e^{(1-2λ)εV} e^{εT/2} e^{λεV}: V kicks the momenta, T moves the links. It is
    reversible and preserves volume; at fixed trajectory length its ΔH is O(ε²).

    Args:
        links, momenta: equal shapes, batch first; neither is changed.
        action: gives the force.
        drift: free motion on the group.
        step_size: ε in molecular-dynamics time, steps: their number, at least 1.

    Returns:
        Links and momenta at the time steps * step_size.
    """
    outer, inner = OMELYAN_LAMBDA * step_size, (1.0 - 2.0 * OMELYAN_LAMBDA) * step_size
    momenta = momenta + outer * action.force(links)
    for step in range(steps):
        links = drift(links, momenta, 0.5 * step_size)
        momenta = momenta + inner * action.force(links)
        links = drift(links, momenta, 0.5 * step_size)
        # The last kick of a step and the first of the next see the same links, so they share one force.
        kick = outer if step == steps - 1 else 2.0 * outer
        momenta = momenta + kick * action.force(links)
    return links, momenta


@dataclass(frozen=True)
class Trajectory:
    """One HMC update of a batch.

    Attributes:
        links: after the Metropolis test, shape of the links that went in.
        accepted: bool, (batch,).
        delta_h: ΔH = H(proposal) - H(start), (batch,), float64.
    """

    links: Tensor
    accepted: Tensor
    delta_h: Tensor


def trajectory(
    links: Tensor, action: Action, drift: Drift, length: float, steps: int, generator: torch.Generator
) -> Trajectory:
    """Refresh Gaussian momenta, integrate for the time ``length`` in ``steps`` steps, accept with min(1, e^{-ΔH}).

    Each configuration of the batch is tested by itself (Duane, Kennedy, Pendleton, Roweth, Phys. Lett. B 195, 216
    (1987)). All randomness comes from ``generator``: first the momenta, then one uniform number a configuration.
    """
    momenta = torch.randn(links.shape, dtype=links.dtype, device=links.device, generator=generator)
    uniform = torch.rand(links.shape[:1], dtype=links.dtype, device=links.device, generator=generator)
    start = kinetic_energy(momenta) + action.value(links)
    proposal, final_momenta = omelyan(links, momenta, action, drift, length / steps, steps)
    delta_h = kinetic_energy(final_momenta) + action.value(proposal) - start
    accepted = uniform.log() < -delta_h
    keep = accepted.view(-1, *[1] * (links.ndim - 1))
    return Trajectory(torch.where(keep, proposal, links), accepted, delta_h)
