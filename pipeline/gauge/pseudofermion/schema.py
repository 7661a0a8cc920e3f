"""Settings of pseudofermion flows and of the densities they are trained to (torch-free)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import ClassVar

from omegaconf import MISSING

from pipeline.base.config import checks
from pipeline.base.errors import ConfigError, did_you_mean

PARTITIONS = ("spatial", "checkerboard", "rows", "columns", "spin")

SOLVERS = ("dense", "conjugate_gradient")


@dataclass
class PreconditioningConfig:
    """Which Gaussian integrals stand for det D D† (Abbott et al. 2022, Section III D).

    Attributes:
        even_odd: pseudofermions live on the even sites, with the Schur complement of Eq. 34; needs an even L.
        hasenbusch: μ_1 < μ_2 < ... of Eq. 38, one more monomial than there are.
        regulator: μ_0 of D D† + μ_0, in training only (Section IV A); below μ_1.
        solver: ``dense`` (Cholesky, small lattices) or ``conjugate_gradient``.
        tolerance: relative residual at which conjugate gradients stop.
        max_iterations: of conjugate gradients.

    Raises:
        ConfigError: a value out of range; names the field.
    """

    version: ClassVar[int] = 1

    even_odd: bool = MISSING
    hasenbusch: list[float] = field(default_factory=list)
    regulator: float = MISSING
    solver: str = MISSING
    tolerance: float = MISSING
    max_iterations: int = MISSING

    def __post_init__(self) -> None:
        checks.at_least("regulator", self.regulator, 0.0)
        checks.within("regulator", self.regulator, checks.MOST)
        rising = all(low < high for low, high in pairwise([self.regulator, *self.hasenbusch]))
        if not rising or any(map(math.isinf, self.hasenbusch)):
            allowed = f"must be numbers in increasing order, above the regulator {self.regulator:g}"
            raise ConfigError("hasenbusch", list(self.hasenbusch), allowed)
        checks.one_of("solver", self.solver, SOLVERS)
        checks.positive("tolerance", self.tolerance)
        checks.within("tolerance", self.tolerance, 1)
        checks.at_least("max_iterations", self.max_iterations, 1)

    def check_length(self, length: int) -> None:
        """Refuse even/odd preconditioning where even sites have even neighbours.

        Raises:
            ConfigError: L is odd; names ``even_odd``.
        """
        if self.even_odd and length % 2:
            raise ConfigError("even_odd", self.even_odd, f"needs an even lattice length, not {length}")


@dataclass
class ConditionalFlowConfig:
    """q(φ|U) of each monomial: a chain of pseudofermion layers, Eq. 28 (Appendix B.2).

    Attributes:
        layers: pseudofermion layers of each monomial; whole cycles of masks, see ``partition``.
        transports: n_PT, parallel transport convolutions in a layer; with even sites alone at least 2, as one of them
            connects even sites with odd ones only.
        features: H of the intermediate convolutions.
        hidden: N_hidden, channels of the first part of the context function, which all layers and monomials share.
        kernel: odd side of the context's convolutions in sites.
        gain: of the Xavier-normal initial weights (Appendix B.1: 0.5).
        partition: ways to split the field, taken in turn, each with its two halves active one after the other:
            ``checkerboard``, ``rows`` (of equal x_0), ``columns``, ``spin``; ``spatial`` is ``checkerboard`` on all
            sites and ``rows`` on even ones.

    Raises:
        ConfigError: a value out of range; names the field.
    """

    version: ClassVar[int] = 1

    layers: int = MISSING
    transports: int = MISSING
    features: int = MISSING
    hidden: int = MISSING
    kernel: int = MISSING
    gain: float = MISSING
    partition: list[str] = MISSING

    def __post_init__(self) -> None:
        checks.at_least("layers", self.layers, 1)
        for name in ("transports", "features", "hidden", "kernel"):
            checks.at_least(name, getattr(self, name), 1)
        if self.kernel % 2 == 0:
            raise ConfigError("kernel", self.kernel, "must be odd")
        checks.initial("gain", self.gain)
        if not self.partition:
            raise ConfigError("partition", list(self.partition), f"needs at least one of {', '.join(PARTITIONS)}")
        for name in self.partition:
            if name not in PARTITIONS:
                allowed = f"must be a list of {', '.join(PARTITIONS)}"
                raise ConfigError("partition", list(self.partition), allowed, did_you_mean(name, PARTITIONS))
        cycle = 2 * len(self.partition)
        if self.layers % cycle:
            allowed = f"masks tile the lattice in cycles of {cycle} (partition={list(self.partition)}); take a multiple"
            raise ConfigError("layers", self.layers, allowed)

    def check_even_odd(self, even_odd: bool) -> None:
        """Refuse what does not update every component of a field on even sites from others.

        Raises:
            ConfigError: names ``partition`` or ``transports``.
        """
        if even_odd and "checkerboard" in self.partition:
            allowed = "leaves nothing frozen on even sites alone"
            raise ConfigError("partition", list(self.partition), allowed, "take rows, columns or spin")
        if even_odd and self.transports < 2:
            raise ConfigError("transports", self.transports, "must be at least 2 to lead from even sites to even sites")
