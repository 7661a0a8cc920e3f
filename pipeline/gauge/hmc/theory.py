"""The action of a system, as hybrid Monte Carlo simulates it."""

from __future__ import annotations

import torch
from torch import Tensor

from pipeline.gauge.action import Action, SumOfActions, wilson_action
from pipeline.gauge.fermions.actions import ExactDeterminantAction, PseudofermionAction, WilsonFermions
from pipeline.gauge.fermions.monomials import hasenbusch
from pipeline.gauge.fermions.solver import Applications, ConjugateGradient
from pipeline.gauge.group import group_of
from pipeline.gauge.hmc.schema import FermionSettings
from pipeline.gauge.systems import GaugeSystem, TwoFlavours


def refreshed_action(
    system: GaugeSystem,
    settings: FermionSettings,
    links: Tensor,
    generator: torch.Generator,
    counted: Applications | None = None,
) -> Action:
    """Gauge action and fermion terms of ``system``; pseudofermions, if any, drawn anew over ``links``.

    Args:
        system: the theory.
        settings: how its determinant enters.
        links: of the group, in double precision.
        generator: of the pseudofermions, on the device of the links.
        counted: where conjugate gradients count what they apply.

    Raises:
        NotConverged: by conjugate gradients while drawing.
    """
    group = group_of(system)
    gauge = wilson_action(group, system.beta)
    if not isinstance(system, TwoFlavours):
        return gauge
    fermions = WilsonFermions(group, system.kappa, settings.even_odd)
    if settings.determinant == "exact":
        return SumOfActions((gauge, ExactDeterminantAction(fermions)))
    solver = ConjugateGradient(settings.tolerance, settings.max_iterations, counted)
    pseudofermions = PseudofermionAction(fermions, hasenbusch([0.0, *settings.hasenbusch]), solver)
    pseudofermions.refresh(links, generator)
    return SumOfActions((gauge, pseudofermions))
