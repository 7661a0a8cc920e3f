"""Molecular dynamics and the Metropolis test of HMC, for any action and gauge group."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.gauge.action import Action
from pipeline.gauge.group import Group

OMELYAN_LAMBDA = 0.1931833275037836
"""λ that minimises the leading error of 2MN: Omelyan, Mryglod, Folk, Comput. Phys. Commun. 151, 272 (2003)."""


@dataclass(frozen=True)
class Scheme:
    """One step of a reversible second-order integrator: kicks of the momenta (V) around drifts of the links (T).

    With k kicks before the last, a step is e^{κ_0 εV} Π_i e^{εT/k} e^{κ_i εV}. Schemes that read the same from both
    ends are reversible, and all preserve volume; at fixed trajectory length their ΔH is O(ε²).

    Attributes:
        kicks: κ_i, symmetric, adding up to 1. The last kick of a step and the first of the next see the same links
            and share one force: a step costs ``len(kicks) - 1`` forces.
    """

    kicks: tuple[float, ...]

    @property
    def forces(self) -> int:
        """Force evaluations a step."""
        return len(self.kicks) - 1


SCHEMES: Mapping[str, Scheme] = {
    "leapfrog": Scheme((0.5, 0.5)),
    "omelyan": Scheme((OMELYAN_LAMBDA, 1.0 - 2.0 * OMELYAN_LAMBDA, OMELYAN_LAMBDA)),
}
"""Leapfrog (Störmer, Verlet), and the minimum-norm "2MN" of Omelyan et al.: twice the forces, a tenth of the ΔH."""


def kinetic_energy(momenta: Tensor) -> Tensor:
    """Σ π²/2 of each configuration; ``momenta`` (batch, ...) -> (batch,), float64."""
    return 0.5 * momenta.flatten(1).double().square().sum(dim=1)


def in_double(links: Tensor) -> Tensor:
    """The same numbers in double precision, float64 or complex128."""
    return links.to(torch.complex128 if links.is_complex() else torch.float64)


def integrate(
    links: Tensor, momenta: Tensor, action: Action, group: Group, scheme: Scheme, step_size: float, steps: int
) -> tuple[Tensor, Tensor]:
    """Molecular dynamics under H = Σ π²/2 + S for the time ``steps`` * ``step_size``.

    Args:
        links: batch of configurations, as ``group`` has them; not changed.
        momenta: their momenta, coefficients of the algebra; not changed.
        action: gives the force.
        group: gives free motion.
        step_size: ε in molecular-dynamics time.
        steps: their number, at least 1.

    Returns:
        Links and momenta at the end.
    """
    first, *rest = (kick * step_size for kick in scheme.kicks)
    drift = step_size / scheme.forces
    momenta = momenta + first * action.force(links)
    for step in range(steps):
        for i, kick in enumerate(rest):
            links = group.drift(links, momenta, drift)
            shared = i == len(rest) - 1 and step < steps - 1
            momenta = momenta + (kick + first if shared else kick) * action.force(links)
    return links, momenta


@dataclass(frozen=True)
class Trajectory:
    """One HMC update of a batch.

    Attributes:
        links: after the Metropolis test, shape of the links that went in.
        accepted: bool, (batch,).
        delta_h: ΔH = H(proposal) - H(start), (batch,), float64; +inf where it is ``broken``.
        broken: bool, (batch,): NaN or infinity on the way. Rejected, for their density cannot be told.
    """

    links: Tensor
    accepted: Tensor
    delta_h: Tensor
    broken: Tensor


def trajectory(
    links: Tensor,
    action: Action,
    group: Group,
    scheme: Scheme,
    length: float,
    steps: int,
    generator: torch.Generator,
) -> Trajectory:
    """Refresh the Gaussian momenta, integrate for the time ``length`` in ``steps`` steps, accept with min(1, e^{-ΔH}).

    Each configuration of the batch is tested by itself (Duane, Kennedy, Pendleton, Roweth, Phys. Lett. B 195, 216
    (1987)). All randomness comes from ``generator``: the momenta, then one uniform number a configuration.
    ``links`` must be finite; pseudofermions of ``action`` are refreshed by the caller. Single precision of the links is
    that of molecular dynamics alone: H is that of the same links in double precision, so that what rounding spoils is
    reversibility, by about 1e-6 of a link.
    """
    momenta = group.random_momenta(links, generator)
    uniform = torch.rand(links.shape[:1], dtype=torch.float64, device=links.device, generator=generator)
    start = kinetic_energy(momenta) + action.value(in_double(links))
    proposal, final_momenta = integrate(links, momenta, action, group, scheme, length / steps, steps)
    lost = ~(proposal.flatten(1).isfinite().all(dim=1) & final_momenta.flatten(1).isfinite().all(dim=1))
    proposal = group.reproject(_choose(lost, links, proposal))
    delta_h = kinetic_energy(final_momenta) + action.value(in_double(proposal)) - start
    broken = lost | ~delta_h.isfinite()
    delta_h = delta_h.masked_fill(broken, torch.inf)
    accepted = uniform.log() < -delta_h
    return Trajectory(_choose(accepted, proposal, links), accepted, delta_h, broken)


def _choose(condition: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    """Configuration by configuration, for ``condition`` (batch,)."""
    return torch.where(condition.view(-1, *[1] * (yes.ndim - 1)), yes, no)
