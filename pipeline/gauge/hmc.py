"""Hybrid Monte Carlo of gauge theories as a baseline; torch is imported only when a run starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from omegaconf import MISSING
from scipy import special

from pipeline.base import checks, rng
from pipeline.base.contracts import Cost, Exactness, Metrics, Record
from pipeline.base.result import Bound, Curve, Estimate, Result
from pipeline.base.statistics import correlated_mean, short_series
from pipeline.gauge.schema import U1PureGauge

if TYPE_CHECKING:
    import torch

    from pipeline.gauge.integrator import Trajectory

TUNING_MEMORY = 20
"""Warm-up trajectories over which the step-size tuning averages, so that the time before equilibrium is forgotten."""

MOST_STEPS = 1000
"""Tuning never asks for more steps a trajectory: where they do not help, neither would more, only take forever."""


@dataclass
class HMCState:
    """Everything that changes during a run, for one fixed ``system``.

    Attributes:
        system: what is simulated; not part of the state dict, since ``init`` knows it.
        links: (chains, 2, L, L), float64 angles in [-π, π).
        integrator_steps: steps a trajectory; changed by warm-up only.
        violation: running estimate of sqrt(⟨ΔH⟩)/(2ε²), from which the number of steps follows.
        trajectories: done so far, warm-up included.
    """

    system: U1PureGauge
    links: torch.Tensor
    integrator_steps: int
    violation: float = 0.0
    trajectories: int = 0

    def state_dict(self) -> dict[str, Any]:
        """A copy of all that changes; independent of what the state does later."""
        return {
            "links": self.links.clone(),
            "integrator_steps": self.integrator_steps,
            "violation": self.violation,
            "trajectories": self.trajectories,
        }

    def load_state_dict(self, tree: dict[str, Any]) -> None:
        """Restore bit for bit.

        Raises:
            ValueError: the links are of another lattice or number of chains.
        """
        if tree["links"].shape != self.links.shape:
            raise ValueError(f"links of shape {tuple(tree['links'].shape)} do not fit {tuple(self.links.shape)}")
        self.links = tree["links"].to(device=self.links.device, dtype=self.links.dtype).clone()
        self.integrator_steps = int(tree["integrator_steps"])
        self.violation = float(tree["violation"])
        self.trajectories = int(tree["trajectories"])


@dataclass
class HMC:
    """Hybrid Monte Carlo with the Omelyan integrator, Metropolis-tested, on independent chains from hot starts.

    Attributes:
        chains: configurations that evolve side by side.
        trajectory_length: τ, molecular-dynamics time of a trajectory (momenta with unit variance).
        integrator_steps: steps a trajectory before tuning; ε = τ/steps.
        target_acceptance: least acceptance to tune for, between 0.1 and 0.99; steps being whole, more may result.
        warmup: trajectories before measuring; the number of steps is tuned here and then frozen, for adapting
            it while measuring would spoil detailed balance.
        measurements: units of inference, at least 2.
        trajectories_per_measurement: trajectories from one measurement to the next.
        seed: every random number is a function of it and of the step or measurement it is drawn in.

    Raises:
        ConfigError: a value out of range; names ``baseline.hmc.<field>``.
    """

    kind: ClassVar[str] = "HMC"
    exactness: ClassVar[Exactness] = "stochastic"
    version: ClassVar[int] = 1

    chains: int = MISSING
    trajectory_length: float = MISSING
    integrator_steps: int = MISSING
    target_acceptance: float = MISSING
    warmup: int = MISSING
    measurements: int = MISSING
    trajectories_per_measurement: int = MISSING
    seed: int = MISSING

    def __post_init__(self) -> None:
        checks.at_least("baseline.hmc.chains", self.chains, 1)
        checks.positive("baseline.hmc.trajectory_length", self.trajectory_length)
        checks.at_least("baseline.hmc.integrator_steps", self.integrator_steps, 1)
        checks.between("baseline.hmc.target_acceptance", self.target_acceptance, 0.1, 0.99)
        checks.at_least("baseline.hmc.warmup", self.warmup, 0)
        checks.at_least("baseline.hmc.measurements", self.measurements, 2)
        checks.at_least("baseline.hmc.trajectories_per_measurement", self.trajectories_per_measurement, 1)
        checks.at_least("baseline.hmc.seed", self.seed, 0)

    def supports(self, system: Any) -> str | None:
        """None for :class:`U1PureGauge`; otherwise why not and what would be needed."""
        if isinstance(system, U1PureGauge):
            return None
        return f"HMC needs an action and a force, which exist for U1PureGauge only, not for {type(system).__name__}"

    def cost(self, system: U1PureGauge) -> Cost:
        """Force evaluations times links, with the number of steps taken as configured (tuning may change it)."""
        trajectories = self.warmup + self.measurements * self.trajectories_per_measurement
        links = 2.0 * self.chains * system.size
        # Measured on one core: a fixed price for launching the tensor operations, then a price a link.
        seconds_per_force = 1e-4 + 1.4e-8 * links
        seconds = trajectories * (2 * self.integrator_steps + 3) * seconds_per_force
        return Cost(seconds=seconds, bytes=80.0 * links)

    def init(self, system: U1PureGauge) -> HMCState:
        """Hot start on the CPU in float64, bound to ``system``."""
        from pipeline.gauge import u1

        generator = rng.torch_generator(self.seed, "baseline.hmc.init")
        return HMCState(system, u1.random_links(self.chains, system.length, generator), self.integrator_steps)

    def step(self, state: HMCState, k: int) -> Metrics:
        """Warm-up trajectory ``k`` on all chains, then retuning of the number of steps.

        Tuning inverts acceptance = erfc(sqrt(⟨ΔH⟩)/2) (Gupta et al., Phys. Lett. B 242, 437 (1990)) with
        sqrt(⟨ΔH⟩) ∝ ε², true of any second-order integrator near equilibrium and at small ε.

        Returns:
            Means over chains after the trajectory: ``acceptance`` min(1, e^{-ΔH}), ``plaquette``, ``delta_h``,
            ``exp_minus_delta_h``; and the ``integrator_steps`` it took.
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
        """``trajectories_per_measurement`` trajectories on all chains, then the observables of where they end.

        Returns:
            ``plaquette`` float64, ``topological_charge`` int64, and averages over the trajectories of this
            measurement, ``acceptance`` and ``exp_minus_delta_h``, float64; all of shape (chains,). ``volume``: V.
        """
        from pipeline.gauge import u1

        generator = rng.torch_generator(self.seed, "baseline.hmc.measure", k)
        outcomes = [self._advance(state, generator) for _ in range(self.trajectories_per_measurement)]
        return {
            "plaquette": u1.mean_plaquette(state.links).numpy(),
            "topological_charge": u1.topological_charge(state.links).round().long().numpy(),
            "acceptance": np.mean([o.accepted.double().numpy() for o in outcomes], axis=0),
            "exp_minus_delta_h": np.mean([_weight(o.delta_h).numpy() for o in outcomes], axis=0),
            "volume": state.system.size,
        }

    def summarise(self, records: Sequence[Record]) -> Result:
        """Means over chains and measurements, errors from the integrated autocorrelation time.

        Returns:
            Estimates ``plaquette`` ⟨Re P⟩, ``topological_susceptibility`` ⟨Q²⟩/V, ``acceptance`` and
            ``exp_minus_delta_h`` ⟨e^{-ΔH}⟩ (1 in equilibrium); the curve ``plaquette`` (mean over chains); a note
            for each reason to distrust the errors.

        Raises:
            ValueError: fewer than two records.
        """
        # Shape (chains, measurements), as the autocorrelation analysis expects it.
        series = {name: np.stack([r[name] for r in records], axis=1) for name in records[0] if name != "volume"}
        charge = series["topological_charge"]
        estimates = (
            _estimate("plaquette", series["plaquette"], "stochastic"),
            _estimate("topological_susceptibility", charge**2 / records[0]["volume"], "stochastic"),
            _estimate("acceptance", series["acceptance"], "none"),
            _estimate("exp_minus_delta_h", series["exp_minus_delta_h"], "stochastic"),
        )
        return Result(estimates, (_plaquette_curve(series["plaquette"]),), _notes(estimates[:2], charge))

    def _advance(self, state: HMCState, generator: torch.Generator) -> Trajectory:
        from pipeline.gauge import integrator, u1
        from pipeline.gauge.action import U1WilsonAction

        action = U1WilsonAction(state.system.beta)
        outcome = integrator.trajectory(
            state.links, action, u1.drift, self.trajectory_length, state.integrator_steps, generator
        )
        # Free motion lets angles grow without limit, and their rounding errors with them.
        state.links = u1.wrap(outcome.links)
        state.trajectories += 1
        return outcome

    def _metrics(self, state: HMCState, outcome: Trajectory) -> dict[str, float]:
        from pipeline.gauge import u1

        weight = _weight(outcome.delta_h)
        return {
            "acceptance": float(weight.clamp(max=1.0).mean()),
            "plaquette": float(u1.mean_plaquette(state.links).mean()),
            "delta_h": float(outcome.delta_h.mean()),
            "exp_minus_delta_h": float(weight.mean()),
            "integrator_steps": float(state.integrator_steps),
        }


def _weight(delta_h: torch.Tensor) -> torch.Tensor:
    """e^{-ΔH}; out of equilibrium ΔH can be hugely negative, and a diagnostic must not overflow and stop the run."""
    return (-delta_h.clamp(min=-500.0)).exp()


def _notes(observables: Sequence[Estimate], charge: NDArray[np.int64]) -> tuple[str, ...]:
    """What makes the errors untrustworthy: series short against their memory, or a charge that never moves."""
    notes = short_series(observables, charge.shape[1])
    if (charge == charge[:, :1]).all():
        notes.append("The topological charge never changed: its sectors are frozen and its error means nothing.")
    return tuple(notes)


def _estimate(name: str, series: NDArray[Any], bound: Bound) -> Estimate:
    mean = correlated_mean(series)
    return Estimate(name, mean.value, mean.sigma, "standard-error", mean.spread, "1", bound, mean.n, mean.tau)


def _plaquette_curve(plaquette: NDArray[np.float64]) -> Curve:
    chains, measurements = plaquette.shape
    sigma = plaquette.std(axis=0, ddof=1) / np.sqrt(chains) if chains > 1 else ()
    return Curve.of("plaquette", "measurement", "plaquette", range(measurements), plaquette.mean(axis=0), sigma)
