"""Hybrid Monte Carlo of gauge theories as a baseline; torch is imported only when a run starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from pipeline.base.contracts import Cost, Exactness, Metrics, Record
from pipeline.base.later import np
from pipeline.base.numbers import rng
from pipeline.base.numbers.result import Result
from pipeline.gauge.hmc import ensemble
from pipeline.gauge.hmc.cost import memory_bytes, trajectory_seconds
from pipeline.gauge.hmc.schema import HMCSettings
from pipeline.gauge.hmc.state import HMCState
from pipeline.gauge.systems import GaugeSystem, TwoFlavours

if TYPE_CHECKING:
    import torch

    from pipeline.gauge.fermions.solver import Applications
    from pipeline.gauge.hmc.integrator import Trajectory

TUNING_MEMORY = 20
"""Warm-up trajectories over which the step-size tuning averages, so that the time before equilibrium is forgotten."""

MOST_STEPS = 1000
"""Tuning never asks for more steps a trajectory: where they do not help, neither would more, only take forever."""


@dataclass
class HMC(HMCSettings):
    """Hybrid Monte Carlo, Metropolis-tested, on independent chains from hot starts; see :class:`HMCSettings`."""

    kind: ClassVar[str] = "HMC"
    exactness: ClassVar[Exactness] = "stochastic"
    version: ClassVar[int] = 2

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
        """Hot start on the CPU, the same for every precision but for rounding, bound to ``system``."""
        import torch

        from pipeline.gauge.group import group_of

        generator = rng.torch_generator(self.seed, "baseline.hmc.init")
        links = group_of(system).random_links(self.chains, system.length, generator)
        if self.precision == "float32":
            links = links.to(torch.complex64 if links.is_complex() else torch.float32)
        return HMCState(system, links, self.integrator_steps)

    def step(self, state: HMCState, k: int) -> Metrics:
        """Warm-up trajectory ``k`` on all chains, then retuning of the number of steps.

        Tuning inverts acceptance = erfc(sqrt(⟨ΔH⟩)/2) (Gupta et al., Phys. Lett. B 242, 437 (1990)) with
        sqrt(⟨ΔH⟩) ∝ ε², true of any second-order integrator near equilibrium and at small ε.

        Returns:
            Means over chains after the trajectory: ``acceptance`` min(1, e^{-ΔH}), ``plaquette`` and, over those where
            ΔH is known, ``delta_h`` and ``exp_minus_delta_h``; ``broken``, the number of chains rejected for NaN or
            infinity; and the ``integrator_steps`` it took.
        """
        from scipy import special

        metrics = self._metrics(state, self._advance(state, self._generator(state, "warmup", k)))
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
            ``broken`` bool, ``exp_minus_delta_h`` (unknown, 0 here, where broken), and with pseudofermions
            ``dirac_applications``, how often conjugate gradients applied D, D_sc or their conjugates. After the last,
            see :func:`pipeline.gauge.observables.fermion_observables`; ``links`` in single precision, if kept.
            ``volume``: V.
        """
        import torch

        from pipeline.gauge import observables
        from pipeline.gauge.hmc.integrator import in_double

        generator = self._generator(state, "measure", k)
        along = [self._observed_trajectory(state, generator) for _ in range(self.trajectories_per_measurement)]
        record: dict[str, Any] = {name: np.stack([one[name] for one in along], axis=1) for name in along[0]}
        record |= observables.fermion_observables(
            in_double(state.links),
            state.system,
            correlator=self.correlator,
            condition_numbers=self.condition_numbers,
            shifts=self.fermions.hasenbusch,
        )
        if self.keep_links:
            single = torch.complex64 if state.links.is_complex() else torch.float32
            record["links"] = state.links.to(single).cpu().numpy()
        return record | {"volume": state.system.size}

    def summarise(self, records: Sequence[Record]) -> Result:
        """Means over chains and trajectories, errors from the integrated autocorrelation time; masses by jackknife.

        Raises:
            ValueError: fewer than two trajectories.
        """
        return ensemble.summarise(records)

    def ensemble(self, record: Record) -> ensemble.Series:
        """Observables, and links if kept, of configurations; see :func:`pipeline.gauge.hmc.ensemble.kept`."""
        return ensemble.kept(record)

    def _generator(self, state: HMCState, purpose: str, k: int) -> torch.Generator:
        """On the device of the links."""
        return rng.torch_generator(self.seed, f"baseline.hmc.{purpose}", k, str(state.links.device))

    def _observed_trajectory(self, state: HMCState, generator: torch.Generator) -> dict[str, Any]:
        from pipeline.gauge import observables
        from pipeline.gauge.fermions.solver import Applications
        from pipeline.gauge.hmc.integrator import in_double

        counted = Applications()
        outcome = self._advance(state, generator, counted)
        costs = {} if counted.counts is None else {"dirac_applications": counted.counts.cpu().numpy()}
        return (
            observables.gauge_observables(in_double(state.links), state.system)
            | costs
            | {
                "accepted": outcome.accepted.cpu().numpy(),
                "broken": outcome.broken.cpu().numpy(),
                "exp_minus_delta_h": _weight(outcome.delta_h).cpu().numpy(),
            }
        )

    def _advance(self, state: HMCState, generator: torch.Generator, counted: Applications | None = None) -> Trajectory:
        from pipeline.gauge.group import group_of
        from pipeline.gauge.hmc import integrator, theory

        links = integrator.in_double(state.links)
        action = theory.refreshed_action(state.system, self.fermions, links, generator, counted)
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
            "broken": float(outcome.broken.sum()),
            "integrator_steps": float(state.integrator_steps),
        }
        sound = ~outcome.broken
        if sound.any():
            metrics["delta_h"] = float(outcome.delta_h[sound].mean())
            metrics["exp_minus_delta_h"] = float(weight[sound].mean())
        return metrics


def _weight(delta_h: torch.Tensor) -> torch.Tensor:
    """e^{-ΔH}; out of equilibrium ΔH can be hugely negative, and a diagnostic must not overflow and stop the run."""
    return (-delta_h.clamp(min=-500.0)).exp()
