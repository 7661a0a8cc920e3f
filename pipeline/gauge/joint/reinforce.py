"""The gradient of the reverse divergence by the score function, REINFORCE: of log q alone, never of an action.

∇⟨f⟩_q = ⟨(f - b) ∇ log q⟩ with f = log q + S, for ⟨∇ log q⟩ = 0 and any b that does not know the sample it is
subtracted of (Williams, Mach. Learn. 8, 229 (1992)). b is the mean of f over the other samples of the batch, which
leaves the estimate unbiased (Kool, van Hoof, Welling, ICLR workshop 2019; Białas, Korcyl, Stebel, Comput. Phys. Commun.
281, 108502 (2022), of lattice models).
"""

from __future__ import annotations

import torch
from torch import Tensor

from pipeline.gauge.action import wilson_action
from pipeline.gauge.joint.model import JointFlow
from pipeline.gauge.pseudofermion.target import PseudofermionTarget
from pipeline.gauge.systems import TwoFlavours


def score_function_kl(
    flow: JointFlow,
    target: PseudofermionTarget,
    system: TwoFlavours,
    batch: int,
    draws: int,
    generator: torch.Generator,
) -> Tensor:
    """⟨log q(U, φ) + S(U, φ)⟩ (Eq. B1), the value of :func:`pipeline.gauge.joint.model.joint_kl` from the same numbers.

    Its gradient takes samples and actions as constants. The score of φ_i over given links goes with its own
    log q(φ_i|U) + S_i alone: what the others are worth does not depend on φ_i. Costs inverse maps.

    Args:
        flow: the model.
        target: pseudofermion actions.
        system: gives β.
        batch: gauge configurations, at least 2.
        draws: N_pf for each of them.
        generator: on the device of the model.

    Returns:
        (), float64.

    Raises:
        ValueError: a batch of one, which has no others.
        NotConverged: by conjugate gradients.
        torch.linalg.LinAlgError: by dense solvers, for matrices with NaN or infinity in them.
    """
    with torch.no_grad():
        links, log_q = flow.marginal.sample_with_log_prob(batch, generator)
        fields, log_q_fields = flow.conditional.sample_with_log_prob(links, draws, generator)
        of_fields = log_q_fields + target.actions(links, fields)
        gauge = log_q + wilson_action(flow.marginal.group, system.beta).value(links)
        of_links = gauge + of_fields.mean(dim=2).sum(dim=0)
        weights, field_weights = above_others(of_links, dim=0), above_others(of_fields, dim=1)
    scores = (weights * flow.marginal.log_prob(links)).mean()
    field_scores = (field_weights * flow.conditional.log_prob(fields, links)).mean(dim=(1, 2)).sum()
    scored = scores + field_scores
    return of_links.mean() + (scored - scored.detach())


def above_others(values: Tensor, dim: int) -> Tensor:
    """Each value less the mean of all others along ``dim``; shape of ``values``.

    Raises:
        ValueError: there are no others.
    """
    n = values.shape[dim]
    if n < 2:
        raise ValueError("the control variate of a sample is the mean of the others: at least 2, not 1")
    return (values - values.mean(dim=dim, keepdim=True)) * (n / (n - 1))
