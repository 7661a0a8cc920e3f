"""Hybrid Monte Carlo of gauge theories as a baseline; torch is imported only when a run starts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from omegaconf import MISSING
from scipy import special

from pipeline.base import checks, rng
from pipeline.base.contracts import Cost, Exactness, Metrics, Record
from pipeline.base.errors import ConfigError
from pipeline.base.result import Result
from pipeline.gauge import ensemble
from pipeline.gauge.hmc_cost import memory_bytes, trajectory_seconds
from pipeline.gauge.hmc_state import HMCState
from pipeline.gauge.schema import GaugeSystem, TwoFlavours

if TYPE_CHECKING:
    import torch

    from pipeline.gauge.integrator import Trajectory

INTEGRATORS = ("omelyan", "leapfrog")

DETERMINANTS = ("exact", "pseudofermions")

TUNING_MEMORY = 20
"""Warm-up trajectories over which the step-size tuning averages, so that the time before equilibrium is forgotten."""

MOST_STEPS = 1000
"""Tuning never asks for more steps a trajectory: where they do not help, neither would more, only take forever."""


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
        checks.one_of("baseline.hmc.fermions.determinant", self.determinant, DETERMINANTS)
        increasing = all(low < high for low, high in pairwise([0.0, *self.hasenbusch]))
        if not increasing or any(map(math.isinf, self.hasenbusch)):
            allowed = "must be positive numbers in increasing order"
            raise ConfigError("baseline.hmc.fermions.hasenbusch", self.hasenbusch, allowed)
        if self.hasenbusch and self.determinant == "exact":
            allowed = "splits pseudofermions (baseline.hmc.fermions.determinant=pseudofermions)"
            raise ConfigError("baseline.hmc.fermions.hasenbusch", self.hasenbusch, allowed)
        checks.positive("baseline.hmc.fermions.tolerance", self.tolerance)
        checks.at_least("baseline.hmc.fermions.max_iterations", self.max_iterations, 1)


@dataclass
class HMC:
    """Hybrid Monte Carlo, Metropolis-tested, on independent chains from hot starts.

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
        condition_numbers: measure those of D D† and D_sc D_sc†, from all singular values; theories with fermions.
        keep_links: keep the configurations of all measurements in the ensemble (single precision).
        fermions: see :class:`FermionSettings`.
        seed: every random number is a function of it and of the step or measurement it is drawn in.

    Raises:
        ConfigError: a value out of range; names ``baseline.hmc.<field>``.
    """

    kind: ClassVar[str] = "HMC"
    exactness: ClassVar[Exactness] = "stochastic"
    version: ClassVar[int] = 2

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
    fermions: FermionSettings = MISSING
    seed: int = MISSING

    def __post_init__(self) -> None:
        checks.at_least("baseline.hmc.chains", self.chains, 1)
        checks.positive("baseline.hmc.trajectory_length", self.trajectory_length)
        checks.one_of("baseline.hmc.integrator", self.integrator, INTEGRATORS)
        checks.at_least("baseline.hmc.integrator_steps", self.integrator_steps, 1)
        checks.between("baseline.hmc.target_acceptance", self.target_acceptance, 0.1, 0.99)
        checks.at_least("baseline.hmc.warmup", self.warmup, 0)
        checks.at_least("baseline.hmc.measurements", self.measurements, 2)
        checks.at_least("baseline.hmc.trajectories_per_measurement", self.trajectories_per_measurement, 1)
        checks.at_least("baseline.hmc.seed", self.seed, 0)

    def supports(self, system: Any) -> str | None:
        """None for a gauge theory that the settings fit; otherwise why not and what would be needed."""
        if not isinstance(system, GaugeSystem):
            return f"HMC needs an action and a force, which exist for gauge theories, not for {type(system).__name__}"
        if isinstance(system, TwoFlavours) and self.fermions.even_odd and system.length % 2:
            return (
                f"even/odd preconditioning needs an even system.length, not {system.length} "
                "(or baseline.hmc.fermions.even_odd=false)"
            )
        return None

    def cost(self, system: GaugeSystem) -> Cost:
        """Force evaluations, with the number of steps taken as configured (tuning may change it)."""
        trajectories = self.warmup + self.measurements * self.trajectories_per_measurement
        return Cost(trajectories * trajectory_seconds(self, system), memory_bytes(self, system))

    def init(self, system: GaugeSystem) -> HMCState:
        """Hot start on the CPU in double precision, bound to ``system``."""
        from pipeline.gauge.group import group_of

        generator = rng.torch_generator(self.seed, "baseline.hmc.init")
        links = group_of(system).random_links(self.chains, system.length, generator)
        return HMCState(system, links, self.integrator_steps)

    def step(self, state: HMCState, k: int) -> Metrics:
        """Warm-up trajectory ``k`` on all chains, then retuning of the number of steps.

        Tuning inverts acceptance = erfc(sqrt(⟨ΔH⟩)/2) (Gupta et al., Phys. Lett. B 242, 437 (1990)) with
        sqrt(⟨ΔH⟩) ∝ ε², true of any second-order integrator near equilibrium and at small ε.

        Returns:
            Means over chains after the trajectory: ``acceptance`` min(1, e^{-ΔH}), ``plaquette``, ``delta_h`` (where it
            is finite), ``exp_minus_delta_h``; ``broken``, the number of chains rejected for NaN or infinity; and the
            ``integrator_steps`` it took.
        """
        metrics = self._metrics(state, self._advance(state, rng.torch_generator(self.seed, "baseline.hmc.warmup", k)))
        # Limits keep the inverse finite where all chains reject; the estimate mends itself with more steps.
        acceptance = min(max(metrics["acceptance"], 0.01), 1.0)
        step_size = self.trajectory_length / state.integrator_steps
        gain = 1.0 / min(state.trajectories, TUNING_MEMORY)
        state.violation += gain * (float(special.erfcinv(acceptance)) / step_size**2 - state.violation)
        largest_step = np.sqrt(special.erfcinv(self.target_acceptance) / max(state.violation, 1e-12))
        # ε² fails at large steps, where n steps may be judged enough at n+1 and too few at n: growing only, in the
        # second half, ends such a flicker on the safe side.
        fewest = state.integrator_steps if 2 * k >= self.warmup else 1
        wanted = int(np.ceil(self.trajectory_length / largest_step))
        state.integrator_steps = max(fewest, min(wanted, MOST_STEPS))
        return metrics

    def measure(self, state: HMCState, k: int) -> Record:
        """``trajectories_per_measurement`` (T) trajectories on all chains.

        Returns:
            After each trajectory, (chains, T): ``plaquette``, ``topological_charge`` (U(1)), ``accepted`` and
            ``broken`` bool, ``exp_minus_delta_h``. After the last, see
            :func:`pipeline.gauge.observables.fermion_observables`; ``links`` in single precision, if they are kept.
            ``volume``: V.
        """
        import torch

        from pipeline.gauge import observables

        generator = rng.torch_generator(self.seed, "baseline.hmc.measure", k)
        along = [self._observed_trajectory(state, generator) for _ in range(self.trajectories_per_measurement)]
        record: dict[str, Any] = {name: np.stack([one[name] for one in along], axis=1) for name in along[0]}
        record |= observables.fermion_observables(
            state.links, state.system, correlator=self.correlator, condition_numbers=self.condition_numbers
        )
        if self.keep_links:
            single = torch.complex64 if state.links.is_complex() else torch.float32
            record["links"] = state.links.to(single).numpy()
        return record | {"volume": state.system.size}

    def summarise(self, records: Sequence[Record]) -> Result:
        """Means over chains and trajectories, errors from the integrated autocorrelation time; masses by jackknife.

        Raises:
            ValueError: fewer than two trajectories.
        """
        return ensemble.summarise(records)

    def ensemble(self, records: Sequence[Record]) -> dict[str, Any]:
        """Observables, and links if kept, of every configuration; see :func:`pipeline.gauge.ensemble.kept`."""
        return ensemble.kept(records)

    def _observed_trajectory(self, state: HMCState, generator: torch.Generator) -> dict[str, Any]:
        from pipeline.gauge import observables

        outcome = self._advance(state, generator)
        return observables.gauge_observables(state.links, state.system) | {
            "accepted": outcome.accepted.numpy(),
            "broken": outcome.broken.numpy(),
            "exp_minus_delta_h": _weight(outcome.delta_h).numpy(),
        }

    def _advance(self, state: HMCState, generator: torch.Generator) -> Trajectory:
        from pipeline.gauge import integrator, theory
        from pipeline.gauge.group import group_of

        action = theory.refreshed_action(state.system, self.fermions, state.links, generator)
        outcome = integrator.trajectory(
            state.links,
            action,
            group_of(state.system),
            integrator.SCHEMES[self.integrator],
            self.trajectory_length,
            state.integrator_steps,
            generator,
        )
        state.links = outcome.links
        state.trajectories += 1
        return outcome

    def _metrics(self, state: HMCState, outcome: Trajectory) -> dict[str, float]:
        from pipeline.gauge.group import group_of

        weight = _weight(outcome.delta_h)
        metrics = {
            "acceptance": float(weight.clamp(max=1.0).mean()),
            "plaquette": float(group_of(state.system).mean_plaquette(state.links).mean()),
            "exp_minus_delta_h": float(weight.mean()),
            "broken": float(outcome.broken.sum()),
            "integrator_steps": float(state.integrator_steps),
        }
        sound = outcome.delta_h[~outcome.broken]
        return metrics | ({"delta_h": float(sound.mean())} if len(sound) else {})


def _weight(delta_h: torch.Tensor) -> torch.Tensor:
    """e^{-ΔH}; out of equilibrium ΔH can be hugely negative, and a diagnostic must not overflow and stop the run."""
    return (-delta_h.clamp(min=-500.0)).exp()
