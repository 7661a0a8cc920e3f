"""Typed configuration of variational Monte Carlo, its training and its inference (torch-free)."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

from omegaconf import MISSING

from pipeline.base.config import checks
from pipeline.base.config.amounts import OPERATIONS_A_SECOND, RECORD_BYTES, SECONDS_A_CALL, WIDTHS, states
from pipeline.base.config.nodes import InferConfig, RunConfig
from pipeline.base.config.phases import Schedule, SRConfig
from pipeline.base.contracts import Cost, Shown
from pipeline.base.errors import ConfigError, did_you_mean
from pipeline.base.store.provenance import processes
from pipeline.spin.ansatz.schema import AnsatzConfig
from pipeline.spin.hints import sign_hint
from pipeline.spin.sampler.schema import SamplerConfig, reach
from pipeline.spin.symmetry.stoquastic import marshall_form, stoquastic_form
from pipeline.spin.systems import SpinSystem, must_be_spins
from pipeline.spin.terms import pauli_terms
from pipeline.spin.vmc.likelihood_schema import check_likelihoods, cost_of_chains

DIVERGENCES = ("divergence", "divergence_floor")
"""Estimates of ``infer.divergence``: of the draws of the sampler, and of as many independent draws from |ψ|² itself."""

COVERAGES = ("proposal_overlap", "proposal_efficiency", "proposal_minority", "minority")
"""Estimates of ``infer.coverage``, see :func:`pipeline.spin.vmc.coverage.coverage`."""

MOST_ENUMERATED = 22
"""Spins of all copies whose configurations a divergence is taken over."""


@dataclass
class VMCConfig:
    """Variational Monte Carlo with the covariance gradient; sampler, ansatz and optimizer are its parts.

    Attributes:
        sign_rule: ``none``, or ``stoquastic``: H is conjugated by Π σz over some sites so that its off-diagonal
            elements are <= 0 (Marshall's rule on a bipartite lattice) and its ground state positive; ``marshall``: by Π
            σz over one sublattice of the nearest neighbours, whatever the other couplings. Energies and whatever is
            diagonal in σz stay what they are.
        gradient_clip: largest norm of the gradient; null: no limit.
        local_energy_clip: largest distance of a drawn local energy from the median, in mean absolute deviations, that
            an update sees (:func:`pipeline.spin.vmc.update.clipped`); null: no limit. Estimates see all of them, and
            exact weights have nothing to clip.
        carry_sampler: what a sampler carries on (where chains are, a proposal that was trained) goes on in a phase on
            another system of the same lattice, whose state differs little; false: it starts anew.
        max_rejected: steps rejected in a row (NaN or infinity in them) that end the run.
        memory_gib: working memory of one evaluation of the network; configurations are evaluated in chunks that keep
            to it, which are halved where the machine does not have it. The last bits depend on it. Null: what suits
            the caches of a CPU, or a part of a GPU's memory.
    """

    version: ClassVar[int] = 2
    implementation: ClassVar[str] = "pipeline.spin.vmc.method:VariationalMonteCarlo"
    neutral: ClassVar[dict[str, Any]] = {"local_energy_clip": None, "carry_sampler": False}
    shares_work: ClassVar[bool] = True
    shown: ClassVar[Shown] = Shown(
        "energy", "energy (total, Pauli)", "total", ("energy",), ("energy", "variance"), ("cross_entropy",)
    )

    name: str = "vmc"
    sign_rule: str = MISSING
    gradient_clip: float | None = MISSING
    local_energy_clip: float | None = None
    carry_sampler: bool = False
    max_rejected: int = MISSING
    memory_gib: float | None = MISSING

    def __post_init__(self) -> None:
        checks.one_of("sign_rule", self.sign_rule, ("none", "stoquastic", "marshall"))
        if self.gradient_clip is not None:
            checks.positive("gradient_clip", self.gradient_clip)
        if self.local_energy_clip is not None:
            checks.positive("local_energy_clip", self.local_energy_clip)
        checks.at_least("max_rejected", self.max_rejected, 1)
        if self.memory_gib is not None:
            checks.positive("memory_gib", self.memory_gib)

    def shown_with(self, ansatz: AnsatzConfig) -> Shown:
        """What is drawn of a training: of several states the trace of their energies."""
        if ansatz.states == 1:
            return self.shown
        return Shown("trace", "sum of the energies (total, Pauli)", "total", ("trace",), ("trace", "variance"))

    def check(self, system: object) -> None:
        """Raise ConfigError for anything but a spin system, or where no sign rule is known."""
        spins = must_be_spins("vmc", system)
        if self.sign_rule == "stoquastic" and stoquastic_form(pauli_terms(spins)) is None:
            allowed = "no rotation is known that makes this Hamiltonian stoquastic (frustrated couplings); use none"
            raise ConfigError("sign_rule", self.sign_rule, allowed)
        if self.sign_rule == "marshall" and marshall_form(spins) is None:
            raise ConfigError("sign_rule", self.sign_rule, "nearest neighbours form rings of odd length; use none")

    def cost(self, run: RunConfig) -> Cost:
        """Lower bounds of an update: network and moments, the largest batch, and what reconfiguration makes of it.

        Of one of the processes that share the run: rows of log-derivatives and time are shared out.
        """
        train, copies, ranks = run.train, run.train.ansatz.states, processes()
        size = copies * run.system.size
        width, weights = WIDTHS[train.dtype], copies * train.ansatz.weights(run.system.size)
        samples = [None, *(phase.samples for phase in train.phases if phase.samples is not None)]
        batches = [train.sampler.cost(size, number) for number in samples]
        rows = min(max(train.sampler.rows(size, number) for number in samples), states(size))
        held = 3.0 * width * weights + width * copies * train.ansatz.activations(run.system.size)
        brought = [train.optimizer, *(phase.sr for phase in train.phases if phase.sr)]
        if any(isinstance(optimizer, SRConfig) for optimizer in brought):
            held += 8.0 * min(rows, weights) ** 2
        if any(isinstance(optimizer, SRConfig) and optimizer.holds(rows, weights) for optimizer in brought):
            held += 8.0 * rows * weights / ranks
        if self.memory_gib is not None:
            held += self.memory_gib * 2.0**30
        seconds = max(batch.seconds for batch in batches) + SECONDS_A_CALL
        seconds += rows * 6.0 * weights / OPERATIONS_A_SECOND
        drawn = cost_of_chains(run)
        held += drawn.bytes + max(batch.bytes for batch in batches)
        return Cost(seconds=max(seconds / ranks, drawn.seconds), bytes=held)

    def magnetisation_of(self, run: RunConfig) -> int | None:
        """Σ σz of all configurations that the training can reach; None: any."""
        if not isinstance(run.train.sampler, SamplerConfig) or not isinstance(run.system, SpinSystem):
            return None
        return reach(run.train.sampler, run.train.ansatz, run.system)

    def projection_of(self, run: RunConfig) -> list[str]:
        """Symmetries that the state is projected on after the last step."""
        names, schedule = run.train.ansatz.projection, Schedule(run.train.optimizer, run.train.phases)
        last = schedule.projections[schedule.at(max(0, run.train.steps - 1)).projection]
        return list(names if last is None else last)

    def check_parts(self, run: RunConfig) -> None:
        """Raise ConfigError for parts that do not fit each other, of the training or of the inference."""
        ansatz, sampler = run.train.ansatz, run.train.sampler
        if ansatz is None:
            raise ConfigError("ansatz", "none", "method=vmc needs one, such as ansatz=rbm")
        if not isinstance(sampler, SamplerConfig):
            raise ConfigError("sampler", "none", "method=vmc needs one, such as sampler=exhaustive")
        if not ansatz.log_domain:
            raise ConfigError("ansatz", ansatz.name, "does not give log ψ, which method=vmc needs; use ansatz=rbm")
        with checks.under("train.sampler"):
            sampler.check_ansatz(ansatz)
            sampler.check_copies(run.system, ansatz.states)
        with checks.under("train.ansatz"):
            ansatz.check_states(run.system, reach(sampler, ansatz, run.system))
        self._check_batches(run)
        for number, phase in enumerate(run.train.phases):
            if phase.samples is not None:
                with checks.under(f"train.phases[{number}]"):
                    sampler.check_samples(phase.samples)
            if phase.system:
                self._check_changed(run, f"train.phases[{number}].system", phase.system)
        self._check_projections(run)
        check_likelihoods(run)
        self._check_carried(run)
        run.infer.check_parts(run)

    def hints(self, run: RunConfig) -> list[str]:
        """What to know before the training: an ansatz without signs where H needs them, a sampler that starts anew."""
        return [*self._sign_hints(run), *run.infer.hints(run)]

    def _sign_hints(self, run: RunConfig) -> list[str]:
        if self.sign_rule == "stoquastic":
            return []
        phases = [replace(run.system, **phase.system) for phase in run.train.phases if phase.system]
        if self.sign_rule == "marshall" and all(stoquastic_form(pauli_terms(s)) for s in (run.system, *phases)):
            return []
        instead = f"train.ansatz.{run.train.ansatz.positive_unless}"
        hint = sign_hint(run.train.ansatz, [run.system, *phases], "train.method.sign_rule=stoquastic", instead)
        return [hint] if hint else []

    def _check_projections(self, run: RunConfig) -> None:
        """Raise ConfigError where a phase cannot be projected as it asks."""
        ansatz, names = run.train.ansatz, run.train.ansatz.projection
        for number, phase in enumerate(run.train.phases):
            names = names if phase.projection is None else phase.projection
            # on the system of the phase, and on that of the inference
            for changes in ({}, phase.system):
                system = replace(run.system, **changes)
                with checks.under(f"train.phases[{number}]"):
                    ansatz.check_projection(system, names)
                with checks.under("train.ansatz"):
                    ansatz.check_states(system, reach(run.train.sampler, ansatz, system), names)

    def _check_carried(self, run: RunConfig) -> None:
        """Raise ConfigError where nothing could be carried on."""
        if self.carry_sampler and not any(phase.system for phase in run.train.phases):
            raise ConfigError("train.method.carry_sampler", True, "no phase is on another system: chains go on anyway")

    def _check_batches(self, run: RunConfig) -> None:
        """Raise ConfigError where stochastic reconfiguration would have a single draw."""
        train, brings = run.train, [isinstance(run.train.optimizer, SRConfig)]
        batches = {"train.sampler.samples": getattr(train.sampler, "samples", None)}
        for number, phase in enumerate(train.phases):
            brings.append(phase.sr is not None)
            batches[f"train.phases[{number}].samples"] = phase.samples
        for key, samples in batches.items() if any(brings) else ():
            if samples == 1:
                allowed = "stochastic reconfiguration needs at least 2: centred derivatives of one draw are zero"
                raise ConfigError(key, samples, allowed, whole=True)

    def _check_changed(self, run: RunConfig, key: str, changes: dict[str, int | float]) -> None:
        """Raise ConfigError when a phase cannot be trained on the system with ``changes``."""
        known = {f.name: type(getattr(run.system, f.name)) for f in fields(run.system)}
        known = {name: kind for name, kind in known.items() if kind in (int, float)}
        for name, value in changes.items():
            if name not in known:
                may = f"a phase can change {', '.join(known)}"
                raise ConfigError(f"{key}.{name}", value, may, did_you_mean(name, known))
            if known[name] is int and type(value) is not int:
                raise ConfigError(f"{key}.{name}", value, "must be an integer")
        with checks.under(key):
            system = replace(run.system, **changes)
        parts = {"train.method": self, "train.ansatz": run.train.ansatz, "train.sampler": run.train.sampler}
        try:
            for path, part in parts.items():
                with checks.under(path):
                    part.check(system)
            with checks.under("train.sampler"):
                run.train.sampler.check_copies(system, run.train.ansatz.states)
        except ConfigError as error:
            raise ConfigError(key, changes, f"cannot be trained on: {error}") from error
        if system.size != run.system.size and not run.train.ansatz.any_size:
            raise ConfigError(key, changes, f"the parameters of ansatz={run.train.ansatz.name} fit one size only")


@dataclass
class VMCInferConfig(InferConfig):
    """Inference of VMC: ``units`` fresh batches from a sampler.

    Attributes:
        samples: samples a batch; null: the sampler's own.
        sampler: node of another sampler than that of the training (``infer_sampler=metropolis``); null: the same.
        chains: ``fresh`` starts the sampler anew; ``training`` goes on where the training left it, with chains that
            have burned in, or with a proposal that was trained.
        keep_samples: keep every sample in the records, packed into bits.
        divergence: compare draws of each batch with |ψ|² of all configurations (Jensen-Shannon divergence).
        coverage: compare what a learnt proposal covers with |ψ|² of all configurations.
    """

    version: ClassVar[int] = 3
    neutral: ClassVar[dict[str, Any]] = {"divergence": False, "coverage": False}

    samples: int | None = MISSING
    sampler: Any = None
    chains: str = MISSING
    keep_samples: bool = MISSING
    divergence: bool = False
    coverage: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.samples is not None:
            checks.at_least("samples", self.samples, 1)
        checks.one_of("chains", self.chains, ("fresh", "training"))
        if self.sampler is not None and not isinstance(self.sampler, SamplerConfig):
            raise ConfigError("sampler", self.sampler, "is chosen by its group", "as in infer_sampler=metropolis")

    def cost(self, run: RunConfig) -> Cost:
        """Lower bounds of a batch, with the network and what is kept of all batches."""
        copies, sampler = run.train.ansatz.states, self.sampler or run.train.sampler
        size = copies * run.system.size
        batch: Cost = sampler.cost(size, self.samples)
        numbers = run.train.ansatz.weights(run.system.size) + run.train.ansatz.activations(run.system.size)
        held = WIDTHS[run.train.dtype] * copies * numbers
        kept = self.units * RECORD_BYTES
        if self.keep_samples:
            kept += self.units * sampler.rows(size, self.samples) * size / 8.0
        return Cost(seconds=batch.seconds + SECONDS_A_CALL, bytes=batch.bytes + held + kept)

    def check_parts(self, run: RunConfig) -> None:
        """Raise ConfigError when the sampler of the inference fits neither the system nor the ansatz."""
        sampler: SamplerConfig = self.sampler or run.train.sampler
        if self.sampler is not None:
            with checks.under("infer.sampler"):
                sampler.check(run.system)
                sampler.check_ansatz(run.train.ansatz)
                sampler.check_copies(run.system, run.train.ansatz.states)
            self._check_reach(run)
        if self.samples is not None:
            with checks.under("infer"):
                sampler.check_samples(self.samples)
        if self.chains == "training":
            self._check_going_on(run)
        else:
            with checks.under("infer.sampler" if self.sampler is not None else "train.sampler"):
                sampler.check_fresh()
        if self.keep_samples and not sampler.draws:
            raise ConfigError("infer.keep_samples", self.keep_samples, "sampler=exhaustive draws no samples to keep")
        if self.divergence and not sampler.draws:
            raise ConfigError("infer.divergence", True, "sampler=exhaustive draws nothing to compare with |ψ|²")
        if self.coverage and not sampler.learns:
            allowed = f"sampler={sampler.name} has no proposal that learns |ψ|²; sampler=nir has"
            raise ConfigError("infer.coverage", True, allowed)
        for key in ("divergence", "coverage"):
            if getattr(self, key):
                self._check_enumerated(f"infer.{key}", run)

    def _check_enumerated(self, key: str, run: RunConfig) -> None:
        """Raise ConfigError where there are too many configurations to compare with."""
        spins = run.train.ansatz.states * run.system.size
        if spins > MOST_ENUMERATED:
            allowed = f"would enumerate 2^{spins} configurations of all copies; at most 2^{MOST_ENUMERATED}"
            raise ConfigError(key, True, allowed)

    def hints(self, run: RunConfig) -> list[str]:
        """What to know of a sampler that starts anew, where it could go on instead."""
        if self.chains == "training" or self.sampler is not None or self._elsewhere(run) is not None:
            return []
        hint = run.train.sampler.hint_of_fresh()
        return [hint] if hint else []

    def _check_reach(self, run: RunConfig) -> None:
        """Raise ConfigError where the inference would draw what the training never saw, or leave out what it saw."""
        trained, here = (reach(sampler, run.train.ansatz, run.system) for sampler in (run.train.sampler, self.sampler))
        if trained == here or (trained is not None and not self.sampler.draws):
            return  # a sum over all configurations is taken over the sector
        if trained is not None:
            why = (
                f"the training explored Σ σz = {trained} only (train.sampler.rule=exchange), and this draws outside too"
            )
            use = "infer_sampler=exhaustive, which keeps to it, or infer_sampler=metropolis infer.sampler.rule=exchange"
        else:
            why = f"the training explored every Σ σz, and exchanges stay at Σ σz = {here}"
            use = "infer.sampler.rule=local, or train.sampler.rule=exchange with sampler=metropolis"
        key, value = (
            ("infer.sampler.rule", self.sampler.rule)
            if self.sampler.name == "metropolis"
            else ("infer_sampler", self.sampler.name)
        )
        raise ConfigError(key, value, f"{why}: that would be another state; use {use}")

    def _check_going_on(self, run: RunConfig) -> None:
        """Raise ConfigError where the training leaves nothing that the inference could go on with."""
        if self.sampler is not None:
            allowed = "the training had another sampler; use fresh, or leave out infer_sampler"
            raise ConfigError("infer.chains", self.chains, allowed)
        schedule = Schedule(run.train.optimizer, run.train.phases)
        if any(schedule.at(step - 1).likelihood for step in _kept(run)):
            allowed = "a phase that learns from configurations of the ground state moves no chains; use fresh"
            raise ConfigError("infer.chains", self.chains, allowed)
        step = self._elsewhere(run)
        if step is not None:
            allowed = f"after {step} steps the training is in a phase on another system; use fresh"
            raise ConfigError("infer.chains", self.chains, allowed)

    def _elsewhere(self, run: RunConfig) -> int | None:
        """Fewest steps after which a state is kept that the training has on another system; None: never."""
        schedule = Schedule(run.train.optimizer, run.train.phases)
        return next((step for step in _kept(run) if schedule.at(step - 1).system), None)


def _kept(run: RunConfig) -> list[int]:
    """Numbers of steps after which a state is kept, ascending; not that of the start."""
    return sorted({*run.train.snapshots, run.train.steps} - {0})
