"""The target of a marginal flow: e^{-S} of gauge fields alone, or with the determinant of two flavours (Eq. 9)."""

from __future__ import annotations

from torch import Tensor

from pipeline.gauge.action import wilson_action
from pipeline.gauge.fermions.actions import WilsonFermions
from pipeline.gauge.fermions.determinants import log_det
from pipeline.gauge.group import group_of
from pipeline.gauge.systems import GaugeSystem, TwoFlavours


def log_target(system: GaugeSystem, links: Tensor) -> Tensor:
    """-S_g + log det D D† of each configuration, (batch,) float64, with gradients; unnormalised log p(U).

    The determinant is that of a dense matrix, (N L²)³ operations and more memory than anything else: small lattices.
    """
    group = group_of(system)
    found = -wilson_action(group, system.beta).value(links)
    if isinstance(system, TwoFlavours):
        fermions = WilsonFermions(group, system.kappa, even_odd=system.length % 2 == 0)
        found = found + system.n_flavours * log_det(fermions.matrix(links))[1]
    return found
