"""Settings of hybrid Monte Carlo (torch-free)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, ClassVar

from omegaconf import MISSING

from pipeline.base.config import checks
from pipeline.base.errors import ConfigError

INTEGRATORS = ("omelyan", "leapfrog")

DETERMINANTS = ("exact", "pseudofermions")

PRECISIONS = ("float64", "float32")


@dataclass
class FermionSettings:
    """How the determinant enters the force and the Metropolis test; theories without fermions ignore it.

    Attributes:
        determinant: ``exact``, from dense matrices (S = -log det D D†, Eq. 9), or ``pseudofermions``, drawn anew for
            each trajectory (Eq. 12).
        even_odd: take the Schur complement of Eq. 34 on even sites instead of D; needs an even L.
        hasenbusch: μ_1 < μ_2 < ... of Eq. 38, one more monomial than there are; pseudofermions only.
        tolerance: relative residual at which conjugate gradients stop. Trajectories of length 1 are reversible to about
            this.
        max_iterations: of conjugate gradients; a solve that needs more ends the run.

    Raises:
        ConfigError: a value out of range; names ``baseline.hmc.fermions.<field>``.
    """

    determinant: str = MISSING
    even_odd: bool = MISSING
    hasenbusch: list[float] = field(default_factory=list)
    tolerance: float = MISSING
    max_iterations: int = MISSING

    def __post_init__(self) -> None:
        checks.one_of("determinant", self.determinant, DETERMINANTS)
        increasing = all(low < high for low, high in pairwise([0.0, *self.hasenbusch]))
        if not increasing or any(map(math.isinf, self.hasenbusch)):
            allowed = "must be positive numbers in increasing order"
            raise ConfigError("hasenbusch", self.hasenbusch, allowed)
        if self.hasenbusch and self.determinant == "exact":
            allowed = "splits pseudofermions (baseline.hmc.fermions.determinant=pseudofermions)"
            raise ConfigError("hasenbusch", self.hasenbusch, allowed)
        checks.positive("tolerance", self.tolerance)
        checks.within("tolerance", self.tolerance, 1)
        checks.at_least("max_iterations", self.max_iterations, 1)


@dataclass
class HMCSettings:
    """Amounts and choices of hybrid Monte Carlo.

    Attributes:
        chains: configurations that evolve side by side.
        trajectory_length: τ, molecular-dynamics time of a trajectory (momenta with unit variance).
        integrator: ``omelyan`` or ``leapfrog``.
        integrator_steps: steps a trajectory before tuning; ε = τ/steps.
        target_acceptance: least acceptance to tune for, between 0.1 and 0.99; steps being whole, more may result.
        warmup: trajectories before measuring; the number of steps is tuned here and then frozen, for adapting
            it while measuring would spoil detailed balance.
        measurements: units of inference, at least 2.
        trajectories_per_measurement: trajectories from one measurement to the next.
        correlator: measure the pseudoscalar correlator and its mass; theories with fermions.
        condition_numbers: measure those of D D† and D_sc D_sc†, and of Hasenbusch's monomials where there are such,
            from all singular values; theories with fermions.
        keep_links: keep the configurations of all measurements in the ensemble (single precision).
        precision: of links, momenta and forces, ``float64`` or ``float32``; the Metropolis test is in double
            precision either way.
        fermions: see :class:`FermionSettings`.
        seed: every random number is a function of it and of the step or measurement it is drawn in.

    Raises:
        ConfigError: a value out of range; names ``baseline.hmc.<field>``.
    """

    neutral: ClassVar[dict[str, Any]] = {"precision": "float64"}

    chains: int = MISSING
    trajectory_length: float = MISSING
    integrator: str = MISSING
    integrator_steps: int = MISSING
    target_acceptance: float = MISSING
    warmup: int = MISSING
    measurements: int = MISSING
    trajectories_per_measurement: int = MISSING
    correlator: bool = MISSING
    condition_numbers: bool = MISSING
    keep_links: bool = MISSING
    precision: str = MISSING
    fermions: FermionSettings = MISSING
    seed: int = MISSING

    def __post_init__(self) -> None:
        checks.at_least("chains", self.chains, 1)
        checks.positive("trajectory_length", self.trajectory_length)
        checks.between("trajectory_length", self.trajectory_length, 1e-6, 1e3)
        checks.one_of("integrator", self.integrator, INTEGRATORS)
        checks.one_of("precision", self.precision, PRECISIONS)
        checks.at_least("integrator_steps", self.integrator_steps, 1)
        checks.between("target_acceptance", self.target_acceptance, 0.1, 0.99)
        checks.at_least("warmup", self.warmup, 0)
        checks.at_least("measurements", self.measurements, 2)
        checks.at_least("trajectories_per_measurement", self.trajectories_per_measurement, 1)
        checks.at_least("seed", self.seed, 0)
