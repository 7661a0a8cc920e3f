"""The joint model q(U, φ) = q(U) Π_i q(φ_i|U) and what its samples weigh (Abbott et al. 2022, Eqs. 20, 39 and 40)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pipeline.base.numbers.rng import torch_generator
from pipeline.gauge.action import wilson_action
from pipeline.gauge.flow.marginal import MarginalFlow, build_marginal_flow
from pipeline.gauge.flow.theory import log_target
from pipeline.gauge.flow.weights import reverse_kl
from pipeline.gauge.group import group_of
from pipeline.gauge.joint.schema import JointFlowConfig
from pipeline.gauge.pseudofermion import loss
from pipeline.gauge.pseudofermion.conditional import PseudofermionFlows
from pipeline.gauge.pseudofermion.target import PseudofermionTarget
from pipeline.gauge.systems import TwoFlavours

DRAWS_AT_ONCE = 16
"""Pseudofermions of each monomial and configuration in memory."""

EXACT_BYTES = 2**26
"""Determinants are computed of so many configurations at a time that their dense matrices take this much."""


class JointFlow(nn.Module):
    """q(U) and the models q(φ_i|U) of all monomials, trained together.

    Attributes:
        marginal: q(U).
        conditional: q(φ_i|U).
    """

    def __init__(self, marginal: MarginalFlow, conditional: PseudofermionFlows) -> None:
        super().__init__()
        self.marginal, self.conditional = marginal, conditional


def build_joint_flow(config: JointFlowConfig, system: TwoFlavours, seed: int) -> JointFlow:
    """A model with initial parameters that are a function of ``seed``, float32, on the CPU.

    Raises:
        ConfigError: masks that do not tile the lattice.
    """
    marginal = build_marginal_flow(config.marginal, system, seed)
    generator = torch_generator(seed, "pseudofermion flow parameters")
    even_odd, group = config.preconditioning.even_odd, group_of(system)
    conditional = PseudofermionFlows(config.conditional, group, system.length, even_odd, config.monomials, generator)
    return JointFlow(marginal, conditional)


def joint_kl(
    flow: JointFlow,
    target: PseudofermionTarget,
    system: TwoFlavours,
    batch: int,
    draws: int,
    generator: torch.Generator,
    gradient: loss.Gradient,
) -> Tensor:
    """⟨log q(U, φ) + S(U, φ)⟩ over fresh samples, (), float64: D_KL(q‖p) - log Z (Eq. B1), with its gradient.

    Args:
        flow: the model.
        target: pseudofermion actions, with the regulator in training.
        system: gives β.
        batch: gauge configurations.
        draws: N_pf for each of them.
        generator: on the device of the model.
        gradient: see :func:`pipeline.gauge.pseudofermion.loss.reverse_kl`; of both parts.

    Raises:
        NotConverged: by conjugate gradients.
        torch.linalg.LinAlgError: by dense solvers, for matrices with NaN or infinity in them.
    """
    path = gradient == "path"
    sample = flow.marginal.sample_with_path_log_prob if path else flow.marginal.sample_with_log_prob
    links, log_q = sample(batch, generator)
    of_links = reverse_kl(-wilson_action(flow.marginal.group, system.beta).value(links), log_q)
    of_fields, _ = loss.reverse_kl(flow.conditional, target, links, draws, generator, gradient)
    return of_links + of_fields


@dataclass(frozen=True)
class WeightedSample:
    """Gauge configurations with all that their weights are made of.

    Attributes:
        links: (batch, ...), of the group.
        log_gauge: log(e^{-S_g(U)}/q(U)), (batch,) float64.
        log_ratios: log(e^{-S_i}/q(φ_i|U)), (monomials, batch, draws) float64.
        log_marginal: log(det D D† e^{-S_g}/q(U)), (batch,) float64; None where not asked for.
        log_volume: n log π of all fields of a configuration, n complex components in all: ∫dφ e^{-S} is det D D† π^n.
    """

    links: Tensor
    log_gauge: Tensor
    log_ratios: Tensor
    log_marginal: Tensor | None
    log_volume: float


@torch.no_grad()
def weighted_sample(
    flow: JointFlow,
    target: PseudofermionTarget,
    system: TwoFlavours,
    batch: int,
    draws: int,
    generator: torch.Generator,
    exact: bool,
) -> WeightedSample:
    """Fresh configurations with N_pf = ``draws`` pseudofermions over each; the context is computed once for all draws.

    Args:
        flow: the model.
        target: pseudofermion actions; without the regulator for weights of the theory itself.
        system: the theory.
        batch: gauge configurations.
        draws: of each monomial and configuration.
        generator: on the device of the model.
        exact: compute determinants too.

    Raises:
        NotConverged: by conjugate gradients.
    """
    links, log_q = flow.marginal.sample_with_log_prob(batch, generator)
    bound = flow.conditional(links)
    parts = []
    for first in range(0, draws, DRAWS_AT_ONCE):
        drawn = [model.sample(min(DRAWS_AT_ONCE, draws - first), generator) for model in bound]
        fields, log_q_fields = zip(*drawn, strict=True)
        parts.append(-target.actions(links, fields) - torch.stack(log_q_fields))
    log_gauge = -wilson_action(flow.marginal.group, system.beta).value(links) - log_q
    log_marginal = _log_target(system, links) - log_q if exact else None
    log_volume = sum(each[0, 0].numel() for each in fields) * math.log(math.pi)
    return WeightedSample(links, log_gauge, torch.cat(parts, dim=2), log_marginal, log_volume)


def _log_target(system: TwoFlavours, links: Tensor) -> Tensor:
    components = 2 * group_of(system).n_colors * system.size
    at_once = max(1, EXACT_BYTES // (16 * components**2))
    return torch.cat([log_target(system, part) for part in links.split(at_once)])
