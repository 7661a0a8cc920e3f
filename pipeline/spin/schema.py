"""Typed configuration of everything on spins (torch-free). Values live in ``conf/``; the checks live here.

Systems (:mod:`pipeline.spin.systems`), samplers and optimizers are offered here as well.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

from omegaconf import MISSING

from pipeline.base import checks
from pipeline.base.errors import ConfigError
from pipeline.base.schema import InferConfig, RunConfig
from pipeline.base.training import AdamConfig, SGDConfig, SRConfig
from pipeline.spin.sampler.schema import DirectConfig, ExhaustiveConfig, MetropolisConfig, SamplerConfig
from pipeline.spin.systems import (
    ChainHeisenberg,
    ChainTFIM,
    HeisenbergSystem,
    OpenChainTFIM,
    SpinSystem,
    SquareHeisenberg,
    SquareTFIM,
)
from pipeline.spin.terms import pauli_terms

__all__ = [
    "AdamConfig",
    "AnsatzConfig",
    "ChainHeisenberg",
    "ChainTFIM",
    "DirectConfig",
    "ExhaustiveConfig",
    "HeisenbergSystem",
    "MAX_PACKED_SITES",
    "MLPConfig",
    "MetropolisConfig",
    "OpenChainTFIM",
    "RBMConfig",
    "SGDConfig",
    "SRConfig",
    "SamplerConfig",
    "SpinSystem",
    "SquareHeisenberg",
    "SquareTFIM",
    "SubspaceFlowConfig",
    "SubspaceInferConfig",
    "VMCConfig",
    "VMCInferConfig",
]

MAX_PACKED_SITES = 62
"""A basis state of this many spins fits one signed 64-bit word."""


@dataclass
class AnsatzConfig:
    """Base of all ansätze.

    Attributes:
        log_domain: log ψ is available, which ratios of amplitudes need.
        direct: |ψ|² can be drawn from without a Markov chain.
        any_size: the parameters do not depend on the number of sites.
    """

    log_domain: ClassVar[bool] = False
    direct: ClassVar[bool] = False
    any_size: ClassVar[bool] = False

    def check(self, system: SpinSystem) -> None:
        """Raise ConfigError when the ansatz cannot live on ``system``."""


@dataclass
class MLPConfig(AnsatzConfig):
    """Dense real wave function.

    Attributes:
        hidden: widths of the hidden layers.
        initialisation: ``torch`` (the library's default) or ``orthogonal`` (variance kept from layer to layer).
    """

    version: ClassVar[int] = 1

    _target_: str = "pipeline.spin.ansatz.mlp.MLP"
    hidden: list[int] = MISSING
    initialisation: str = MISSING

    def __post_init__(self) -> None:
        _widths("train.ansatz.hidden", self.hidden)
        checks.one_of("train.ansatz.initialisation", self.initialisation, ("torch", "orthogonal"))


@dataclass
class SubspaceFlowConfig:
    """NF+NQS: a normalising flow proposes subspaces, an NQS gives them amplitudes.

    Attributes:
        subspaces: |B|, independent subspaces an update.
        draws: |S|, samples a subspace before duplicates are removed.
        flow_layers, flow_hidden: number of coupling layers, widths of their hidden layers.
        prior: ``bimodal`` (paper) or ``normal``; prior_width is the standard deviation of the two modes.
        points: N_MC, smoothing points a region; region_centre and region_width are their mean and deviation.
        regions: regions a subspace in the flow loss, drawn from p_θ (an unbiased estimate of Eq. 12); null: all.
        gradient_clip: largest gradient norm of either network.
        stop: ``unique`` (paper: all unique fractions below unique_threshold), ``floor`` (keep the state with the
            lowest mean subspace floor; once the paper's rule has fired, stop after ``patience`` steps without a new
            one) or ``never``.
        chunk: largest number of flow or NQS evaluations held in memory at once; sums are split by it, so that the
            last bits depend on it.
    """

    version: ClassVar[int] = 1

    _target_: str = "pipeline.spin.subspace_flow.SubspaceFlow"
    subspaces: int = MISSING
    draws: int = MISSING
    flow_layers: int = MISSING
    flow_hidden: list[int] = MISSING
    prior: str = MISSING
    prior_width: float = MISSING
    points: int = MISSING
    region_centre: float = MISSING
    region_width: float = MISSING
    regions: int | None = MISSING
    gradient_clip: float = MISSING
    stop: str = MISSING
    unique_threshold: float = MISSING
    patience: int = MISSING
    chunk: int = MISSING

    def __post_init__(self) -> None:
        key = "train.method."
        for name in ("subspaces", "draws", "flow_layers", "points", "patience", "chunk"):
            checks.at_least(key + name, getattr(self, name), 1)
        if self.regions is not None:
            checks.at_least(key + "regions", self.regions, 1)
        for name in ("prior_width", "region_width", "gradient_clip"):
            checks.positive(key + name, getattr(self, name))
        checks.between(key + "region_centre", self.region_centre, 0, 1)
        checks.between(key + "unique_threshold", self.unique_threshold, 0, 1)
        checks.one_of(key + "prior", self.prior, ("bimodal", "normal"))
        checks.one_of(key + "stop", self.stop, ("unique", "floor", "never"))
        _widths(key + "flow_hidden", self.flow_hidden)

    def check(self, system: object) -> None:
        """Raise ConfigError for anything but a spin system of 2..62 sites."""
        _must_be_spins("subspace_flow", system)
        assert isinstance(system, SpinSystem)
        if not 2 <= system.size <= MAX_PACKED_SITES:
            allowed = f"method=subspace_flow packs a state into one word: 2 to {MAX_PACKED_SITES} sites"
            raise ConfigError("system", f"{system.size} sites", allowed)

    def check_parts(self, run: RunConfig) -> None:
        """Raise ConfigError for a sampler (the flow is the sampler) and for phases."""
        sampler = run.train.sampler
        if sampler is not None:
            raise ConfigError(
                "sampler", type(sampler).__name__, "method=subspace_flow samples by its flow; use sampler=none"
            )
        if run.train.phases:
            raise ConfigError("train.phases", None, "method=subspace_flow has none: its settings are constant")
        if isinstance(run.train.optimizer, SRConfig):
            raise ConfigError("optimizer", "sr", "method=subspace_flow has no local energies for it; use adam or sgd")


@dataclass
class SubspaceInferConfig(InferConfig):
    """Inference of NF+NQS: ``units`` fresh subspaces, each with a freshly initialised NQS trained in it.

    Attributes:
        draws: |S|, samples a subspace before duplicates are removed.
        ansatz: the fresh NQS; null: the same architecture as in training.
        iterations: Adam updates of the NQS.
        lr: initial learning rate; multiplied by ``plateau_factor`` when the energy has not decreased for
            ``plateau_patience`` updates.
    """

    version: ClassVar[int] = 1

    draws: int = MISSING
    ansatz: MLPConfig | None = None
    iterations: int = MISSING
    lr: float = MISSING
    plateau_factor: float = MISSING
    plateau_patience: int = MISSING

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.at_least("infer.draws", self.draws, 1)
        checks.at_least("infer.iterations", self.iterations, 1)
        checks.positive("infer.lr", self.lr)
        if not 0 < self.plateau_factor < 1:
            raise ConfigError("infer.plateau_factor", self.plateau_factor, "must lie between 0 and 1, ends excluded")
        checks.at_least("infer.plateau_patience", self.plateau_patience, 0)


def _widths(key: str, widths: list[int]) -> None:
    """Hidden widths: at least one layer, each at least one unit wide."""
    if not widths or min(widths) < 1:
        raise ConfigError(key, widths, "must be a non-empty list of positive widths")


@dataclass
class RBMConfig(AnsatzConfig):
    """Restricted Boltzmann machine.

    Attributes:
        alpha: hidden units a spin.
        deviation: standard deviation of the initial parameters.
        parameters: ``real`` (positive amplitudes) or ``complex``.
    """

    version: ClassVar[int] = 3
    log_domain: ClassVar[bool] = True

    _target_: str = "pipeline.spin.ansatz.rbm.RBM"
    alpha: int = MISSING
    deviation: float = MISSING
    parameters: str = MISSING

    def __post_init__(self) -> None:
        checks.at_least("train.ansatz.alpha", self.alpha, 1)
        checks.positive("train.ansatz.deviation", self.deviation)
        checks.one_of("train.ansatz.parameters", self.parameters, ("real", "complex"))


@dataclass
class VMCConfig:
    """Variational Monte Carlo with the covariance gradient; sampler, ansatz and optimizer are its parts.

    Attributes:
        sign_rule: ``none``, or ``stoquastic``: H is conjugated by Π σz over some sites so that its off-diagonal
            elements are <= 0 (Marshall's rule on a bipartite lattice) and its ground state positive; energies and
            whatever is diagonal in σz stay what they are.
        gradient_clip: largest norm of the gradient; null: no limit.
        max_rejected: steps rejected in a row (NaN or infinity in them) that end the run.
        memory_gib: working memory of one evaluation of the network; configurations are evaluated in chunks that keep
            to it, which are halved where the machine does not have it. The last bits depend on it. Null: what suits
            the caches of a CPU, or a part of a GPU's memory.
    """

    version: ClassVar[int] = 2

    _target_: str = "pipeline.spin.vmc.VariationalMonteCarlo"
    sign_rule: str = MISSING
    gradient_clip: float | None = MISSING
    max_rejected: int = MISSING
    memory_gib: float | None = MISSING

    def __post_init__(self) -> None:
        checks.one_of("train.method.sign_rule", self.sign_rule, ("none", "stoquastic"))
        if self.gradient_clip is not None:
            checks.positive("train.method.gradient_clip", self.gradient_clip)
        checks.at_least("train.method.max_rejected", self.max_rejected, 1)
        if self.memory_gib is not None:
            checks.positive("train.method.memory_gib", self.memory_gib)

    def check(self, system: object) -> None:
        """Raise ConfigError for anything but a spin system, or where no sign rule is known."""
        _must_be_spins("vmc", system)
        assert isinstance(system, SpinSystem)
        if self.sign_rule == "stoquastic" and not _has_stoquastic_form(system):
            allowed = "no rotation is known that makes this Hamiltonian stoquastic (frustrated couplings); use none"
            raise ConfigError("train.method.sign_rule", self.sign_rule, allowed)

    def check_parts(self, run: RunConfig) -> None:
        """Raise ConfigError for parts that do not fit each other, of the training or of the inference."""
        ansatz, sampler = run.train.ansatz, run.train.sampler
        if not isinstance(sampler, SamplerConfig):
            raise ConfigError("sampler", "none", "method=vmc needs one, such as sampler=exhaustive")
        if not ansatz.log_domain:
            raise ConfigError(
                "ansatz", type(ansatz).__name__, "does not give log ψ, which method=vmc needs; use ansatz=rbm"
            )
        sampler.check_ansatz(ansatz)
        for number, phase in enumerate(run.train.phases):
            if phase.samples is not None:
                sampler.check_samples(f"train.phases[{number}].samples", phase.samples)
            if phase.system:
                self._check_changed(run, f"train.phases[{number}].system", phase.system)
        run.infer.check_parts(run)

    def _check_changed(self, run: RunConfig, key: str, changes: dict[str, int | float]) -> None:
        """Raise ConfigError when a phase cannot be trained on the system with ``changes``."""
        known = {f.name: type(getattr(run.system, f.name)) for f in fields(run.system)}
        known = {name: kind for name, kind in known.items() if kind in (int, float)}
        for name, value in changes.items():
            if name not in known:
                raise ConfigError(f"{key}.{name}", value, f"must be one of {', '.join(known)}")
            if known[name] is int and type(value) is not int:
                raise ConfigError(f"{key}.{name}", value, "must be an integer")
        try:
            system = replace(run.system, **changes)
        except ConfigError as error:
            raise ConfigError(key, changes, f"no such system: {error}") from error
        try:
            for part in (self, run.train.ansatz, run.train.sampler):
                part.check(system)
        except ConfigError as error:
            raise ConfigError(key, changes, f"cannot be trained on: {error}") from error
        if system.size != run.system.size and not run.train.ansatz.any_size:
            raise ConfigError(key, changes, f"the parameters of {type(run.train.ansatz).__name__} fit one size only")


@dataclass
class VMCInferConfig(InferConfig):
    """Inference of VMC: ``units`` fresh batches from a sampler.

    Attributes:
        samples: samples a batch; null: the sampler's own.
        sampler: node of another sampler than that of the training (``infer_sampler=metropolis``); null: the same.
        keep_samples: keep every sample in the records, packed into bits.
    """

    version: ClassVar[int] = 2

    samples: int | None = MISSING
    sampler: Any = None
    keep_samples: bool = MISSING

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.samples is not None:
            checks.at_least("infer.samples", self.samples, 1)
        if self.sampler is not None and not isinstance(self.sampler, SamplerConfig):
            raise ConfigError("infer.sampler", self.sampler, "is chosen by its group", "as in infer_sampler=metropolis")

    def check_parts(self, run: RunConfig) -> None:
        """Raise ConfigError when the sampler of the inference fits neither the system nor the ansatz."""
        sampler: SamplerConfig = self.sampler or run.train.sampler
        if self.sampler is not None:
            sampler.check(run.system, "infer.sampler")
            sampler.check_ansatz(run.train.ansatz, "infer.sampler")
        if self.samples is not None:
            sampler.check_samples("infer.samples", self.samples)
        if self.keep_samples and not sampler.draws:
            raise ConfigError("infer.keep_samples", self.keep_samples, "sampler=exhaustive draws no samples to keep")


def _has_stoquastic_form(system: SpinSystem) -> bool:
    from pipeline.spin.exact.symmetries import stoquastic_form

    return stoquastic_form(pauli_terms(system)) is not None


def _must_be_spins(method: str, system: object) -> None:
    if not isinstance(system, SpinSystem):
        raise ConfigError("method", method, f"works on spin systems, not on {getattr(system, 'kind', system)}")
