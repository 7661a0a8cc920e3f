"""Typed configuration of joint flows, their training and their inference (torch-free)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from omegaconf import MISSING

from pipeline.base.config import checks
from pipeline.base.config.amounts import OPERATIONS_A_SECOND, RECORD_BYTES, SECONDS_A_CALL, WIDTHS
from pipeline.base.config.nodes import InferConfig, RunConfig
from pipeline.base.config.phases import AdamConfig, PhaseConfig
from pipeline.base.contracts import Cost, Shown
from pipeline.base.errors import ConfigError
from pipeline.gauge.flow.schema import MarginalFlowSettings
from pipeline.gauge.pseudofermion.schema import ConditionalFlowConfig, PreconditioningConfig
from pipeline.gauge.systems import TwoFlavours

GRADIENTS = ("reparametrised", "path", "reinforce")

COLORS = {"u1": 1, "su3": 3}


@dataclass
class JointFlowConfig:
    """q(U) Π_i q(φ_i|U), trained as a whole by reverse KL (Abbott et al. 2022, Eqs. 20 and B1).

    Attributes:
        batch: gauge configurations an update; ``samples`` of a phase replaces it.
        draws: N_pf in training, pseudofermions of each monomial over each configuration.
        gradient: ``reparametrised``; ``path``: without what parameters do to log q at fixed fields, which is zero in
            the mean; or ``reinforce``: of log q alone, by the score function with the mean of the other configurations
            as control variate, which needs no derivative of an action.
        gradient_clip: largest norm of the gradient of all parameters; null: no limit.
        chunk: configurations whose gradient is held in memory at once; null: all of the batch. Random numbers are drawn
            a chunk at a time, so that results depend on it.
        max_skipped: updates skipped in a row (solves that do not converge, NaN or infinity) that end the run.
        evaluate_every: updates from one estimate of joint and marginal quality to the next; 0: none.
        evaluate_configurations: fresh samples for it.
        exact_length: largest L at which exact determinants are computed, for the marginal quality.
        marginal: q(U).
        conditional: q(φ_i|U) of each monomial.
        preconditioning: which pseudofermions stand for the determinant.

    Raises:
        ConfigError: a value out of range; names the field.
    """

    version: ClassVar[int] = 1
    implementation: ClassVar[str] = "pipeline.gauge.joint.method:JointFlowTraining"
    shares_work: ClassVar[bool] = False
    shown: ClassVar[Shown] = Shown(
        "joint_ess", "effective sample size of a configuration", "1", ("joint_ess", "marginal_ess"), ("joint_ess",)
    )

    name: str = "joint_flow"
    batch: int = MISSING
    draws: int = MISSING
    gradient: str = MISSING
    gradient_clip: float | None = MISSING
    chunk: int | None = MISSING
    max_skipped: int = MISSING
    evaluate_every: int = MISSING
    evaluate_configurations: int = MISSING
    exact_length: int = MISSING
    marginal: MarginalFlowSettings = MISSING
    conditional: ConditionalFlowConfig = MISSING
    preconditioning: PreconditioningConfig = MISSING

    def __post_init__(self) -> None:
        for name in ("batch", "draws", "max_skipped"):
            checks.at_least(name, getattr(self, name), 1)
        checks.one_of("gradient", self.gradient, GRADIENTS)
        if self.gradient == "path" and self.marginal.layers == 0:
            raise ConfigError("gradient", self.gradient, "needs marginal.layers of at least 1")
        if self.gradient_clip is not None:
            checks.positive("gradient_clip", self.gradient_clip)
        if self.chunk is not None:
            checks.at_least("chunk", self.chunk, 1)
        self.check_batch("batch", self.batch)
        checks.at_least("evaluate_every", self.evaluate_every, 0)
        checks.at_least("evaluate_configurations", self.evaluate_configurations, 2)
        checks.at_least("exact_length", self.exact_length, 0)

    def parts(self, batch: int) -> list[int]:
        """Configurations whose gradient is held in memory at once, of a batch of so many."""
        whole, rest = divmod(batch, min(batch, self.chunk or batch))
        return [min(batch, self.chunk or batch)] * whole + [rest] * bool(rest)

    def check_batch(self, name: str, batch: int) -> None:
        """Raise ConfigError for ``name`` where a control variate would have to come from no other configuration."""
        if self.gradient == "reinforce" and min(self.parts(batch)) < 2:
            at_once = "" if self.chunk is None else f", and so must what chunk={self.chunk} leaves over"
            allowed = f"must be at least 2 configurations with gradient=reinforce{at_once}"
            raise ConfigError(name, batch, allowed)

    @property
    def monomials(self) -> int:
        """N_h + 1."""
        return len(self.preconditioning.hasenbusch) + 1

    def check(self, system: object) -> None:
        """Raise ConfigError for anything but two flavours on a lattice that all masks tile."""
        if not isinstance(system, TwoFlavours):
            allowed = "method=joint_flow is for gauge theories with two flavours: system=schwinger or system=su3_2d"
            kind = getattr(system, "kind", type(system).__name__)
            raise ConfigError("system", kind, allowed, whole=True)
        with checks.under("marginal"):
            self.marginal.check(system)
        with checks.under("conditional"):
            self.conditional.check_even_odd(self.preconditioning.even_odd)
        with checks.under("preconditioning"):
            self.preconditioning.check_length(system.length)

    def check_parts(self, run: RunConfig) -> None:
        """Raise ConfigError for a wave function, a sampler, or an optimizer that needs local energies."""
        train = run.train
        if train.ansatz is not None:
            raise ConfigError("ansatz", train.ansatz.name, "method=joint_flow has no wave function; use ansatz=none")
        if train.sampler is not None:
            raise ConfigError("sampler", train.sampler.name, "method=joint_flow samples by itself; use sampler=none")
        if not isinstance(train.optimizer, AdamConfig):
            allowed = "method=joint_flow is trained by adamw or adam"
            raise ConfigError("optimizer", train.optimizer.name, allowed)
        for number, phase in enumerate(train.phases):
            _check_phase(number, phase)
            if phase.samples is not None:
                with checks.under(f"train.phases[{number}]"):
                    self.check_batch("samples", phase.samples)
        time = run.infer.correlator_time
        if time is not None and time >= run.system.length:
            allowed = f"must be less than system.length = {run.system.length}"
            raise ConfigError("infer.correlator_time", time, allowed, whole=True)

    def cost(self, run: RunConfig) -> Cost:
        """Lower bounds of an update: the fields that the backward pass keeps, the samples of an evaluation, weights."""
        at_once = min(self.batch, self.chunk or self.batch)
        update = self.cost_of(run, at_once, self.draws, self.batch, kept=float(self.conditional.layers))
        if not self.evaluate_every:
            return update
        evaluation = self.cost_of(run, self.evaluate_configurations, 1, self.evaluate_configurations)
        return Cost(update.seconds, max(update.bytes, evaluation.bytes))

    def cost_of(self, run: RunConfig, at_once: int, draws: int, configurations: int, kept: float = 1.0) -> Cost:
        """Lower bounds for so many configurations with so many draws each, with parameters and their moments.

        Args:
            run: its system and precision.
            at_once: configurations in memory.
            draws: fields of each monomial.
            configurations: all of them.
            kept: layers whose fields are held.
        """
        system, width, flow = run.system, WIDTHS[run.train.dtype], self.conditional
        components = 2.0 * COLORS[system.group] * system.size * draws * self.monomials
        links = 2.0 * system.size * COLORS[system.group] ** 2
        channels = system.size * float(sum(self.marginal.hidden))
        # complex coefficients of five terms, for each feature of each convolution, from a convolution of their own
        transports = 10.0 * flow.features * flow.transports * flow.layers * self.monomials
        weights = transports * flow.hidden * flow.kernel**2
        held = at_once * width * (2.0 * components * kept + links + channels) + 4.0 * width * weights
        operations = configurations * 20.0 * components * flow.layers * flow.transports
        return Cost(seconds=SECONDS_A_CALL + operations / OPERATIONS_A_SECOND, bytes=held)


def _check_phase(number: int, phase: PhaseConfig) -> None:
    """Phases change the learning rate and the batch alone."""
    with checks.under(f"train.phases[{number}]"):
        if phase.optimizer is not None:
            key = next(name for name in ("adam", "sgd", "sr") if getattr(phase, name) is not None)
            raise ConfigError(key, "", "method=joint_flow keeps its optimizer; phases set lr, lr_end and samples")
        if phase.system:
            raise ConfigError("system", phase.system, "method=joint_flow stays with one system")
        if phase.projection is not None:
            raise ConfigError("projection", phase.projection, "method=joint_flow has no wave function to project")
        if phase.likelihood is not None:
            raise ConfigError("likelihood", "", "method=joint_flow learns from its own draws")


@dataclass
class JointInferConfig(InferConfig):
    """Weighted configurations: ``units`` batches of them.

    Attributes:
        configurations: gauge configurations a unit.
        draws: N_pf, pseudofermions of each monomial over each of them, that share the context (Section III E).
        metropolis: build a chain of independence Metropolis from the same proposals too.
        exact_length: largest L at which weights with exact determinants are computed besides.
        spectra: configurations a unit, the first ones, whose conditional models are held against their targets by
            dense matrices; 0: none.
        correlator_time: x_0 of the pseudoscalar correlator C(x_0) (Eq. C3) of each configuration; null: not measured.
    """

    version: ClassVar[int] = 2
    neutral: ClassVar[dict[str, Any]] = {"correlator_time": None}

    configurations: int = MISSING
    draws: int = MISSING
    metropolis: bool = MISSING
    exact_length: int = MISSING
    spectra: int = MISSING
    correlator_time: int | None = MISSING

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.at_least("configurations", self.configurations, 1)
        checks.at_least("draws", self.draws, 1)
        checks.at_least("exact_length", self.exact_length, 0)
        checks.at_least("spectra", self.spectra, 0)
        if self.spectra > self.configurations:
            allowed = f"must be at most infer.configurations = {self.configurations}, of which it takes the first ones"
            raise ConfigError("spectra", self.spectra, allowed)
        if self.correlator_time is not None:
            checks.at_least("correlator_time", self.correlator_time, 0)

    def cost(self, run: RunConfig) -> Cost:
        """Lower bounds of a unit, with the weights of all units."""
        method: JointFlowConfig = run.train.method
        cost = method.cost_of(run, self.configurations, 1, self.configurations * self.draws)
        kept = 8.0 * self.configurations * (method.monomials * float(self.draws) + 4.0) + RECORD_BYTES
        return Cost(cost.seconds, cost.bytes + kept * self.units)
