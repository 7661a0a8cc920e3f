"""Typed configuration of gauge theories (torch-free). Values live in ``conf/``; the checks live here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from omegaconf import MISSING

from pipeline.base.config import checks


@dataclass
class GaugeSystem:
    """A lattice gauge theory on a periodic L × L lattice, with the Wilson action S = -(β/N) Σ_x Re tr P(x) (Eq. 2).

    Configurations have density e^{-S} / Z, times the fermions' determinants, with respect to the Haar measure of the
    links. The constant β Σ_x 1 of the convention S = β Σ_x (1 - Re tr P(x) / N) is left out, so that S = -β V for the
    trivial configuration.

    Attributes:
        length: L, sites in each direction, at least 2 (on a single site every plaquette would be trivial).
        beta: β = 2N/(a² g²), 1/(a² g²) for U(1); dimensionless, >= 0. At 0 all links are independent (strong coupling).

    Raises:
        ConfigError: a value out of range; names ``system.<field>``.
    """

    version: ClassVar[int] = 1
    """Enters the keys of everything computed for the system."""

    group: ClassVar[str]
    """Name of the gauge group: ``u1`` or ``su3``."""

    kind: str = MISSING
    length: int = MISSING
    beta: float = MISSING

    def __post_init__(self) -> None:
        checks.at_least("length", self.length, 2)
        checks.at_least("beta", self.beta, 0)
        checks.within("beta", self.beta, checks.MOST)

    @property
    def size(self) -> int:
        """V = L², the number of sites and, in two dimensions, of plaquettes."""
        return self.length**2


@dataclass
class PureGauge(GaugeSystem):
    """Gauge fields alone."""


@dataclass
class U1PureGauge(PureGauge):
    """Compact U(1) gauge fields alone, P = exp(iθ_P); see :class:`GaugeSystem`."""

    group: ClassVar[str] = "u1"

    kind: str = "u1_pure_gauge"

    def __post_init__(self) -> None:
        checks.one_of("kind", self.kind, ["u1_pure_gauge"])
        super().__post_init__()


@dataclass
class SU3PureGauge(PureGauge):
    """SU(3) gauge fields alone; see :class:`GaugeSystem`."""

    group: ClassVar[str] = "su3"

    kind: str = "su3_pure_gauge"

    def __post_init__(self) -> None:
        checks.one_of("kind", self.kind, ["su3_pure_gauge"])
        super().__post_init__()


@dataclass
class TwoFlavours(GaugeSystem):
    """Gauge fields with two degenerate flavours of Wilson fermions, antiperiodic in time: e^{-S} det(D D†) (Eq. 9).

    Attributes:
        kappa: κ = 1/(4 + 2 m_0), hopping parameter of Eq. 5, > 0. Free fermions are massless at 1/4; with gauge fields
            the critical value is larger.
    """

    n_flavours: ClassVar[int] = 2

    kappa: float = MISSING

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.positive("kappa", self.kappa)
        checks.within("kappa", self.kappa, checks.MOST)


@dataclass
class Schwinger(TwoFlavours):
    """The Schwinger model, U(1) with two flavours; see :class:`TwoFlavours`."""

    group: ClassVar[str] = "u1"

    kind: str = "schwinger"

    def __post_init__(self) -> None:
        checks.one_of("kind", self.kind, ["schwinger"])
        super().__post_init__()


@dataclass
class SU3TwoD(TwoFlavours):
    """SU(3) in two dimensions with two flavours; see :class:`TwoFlavours`."""

    group: ClassVar[str] = "su3"

    kind: str = "su3_2d"

    def __post_init__(self) -> None:
        checks.one_of("kind", self.kind, ["su3_2d"])
        super().__post_init__()
