"""Typed configuration of gauge theories (torch-free). Values live in ``conf/``; the checks live here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from omegaconf import MISSING

from pipeline.base import checks


@dataclass
class GaugeSystem:
    """Base of all lattice gauge theories; ``version`` enters the keys of everything computed for the system.

    Attributes:
        group: name of the gauge group, ``u1`` or ``su3``.
    """

    version: ClassVar[int] = 1
    group: ClassVar[str]

    @property
    def size(self) -> int:
        """Number of lattice sites V."""
        raise NotImplementedError


@dataclass
class U1PureGauge(GaugeSystem):
    """Compact U(1) on a periodic L × L lattice with the Wilson action S = -β Σ_x Re P(x), P = exp(iθ_P).

    Configurations have density e^{-S} / Z with respect to the flat measure Π dθ_μ(x)/2π. The constant β Σ_x 1 of
    the convention S = β Σ_x (1 - Re P(x)) is left out, so that S = -β V for the trivial configuration.

    Attributes:
        length: L, sites in each direction, at least 2 (on a single site every plaquette would be trivial).
        beta: β = 1/(a² g²), dimensionless, >= 0; 0 is strong coupling, where all links are independent.

    Raises:
        ConfigError: a value out of range; names ``system.length`` or ``system.beta``.
    """

    group: ClassVar[str] = "u1"

    kind: str = "u1_pure_gauge"
    length: int = MISSING
    beta: float = MISSING

    def __post_init__(self) -> None:
        checks.one_of("system.kind", self.kind, ["u1_pure_gauge"])
        checks.at_least("system.length", self.length, 2)
        checks.at_least("system.beta", self.beta, 0)

    @property
    def size(self) -> int:
        """V = L², the number of sites and, in two dimensions, of plaquettes."""
        return self.length**2
