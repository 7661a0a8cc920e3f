"""Typed configuration of everything on spins (torch-free). Values live in ``conf/``; the checks live here.

The systems themselves are in :mod:`pipeline.spin.systems` and are offered here as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from omegaconf import MISSING

from pipeline.base import checks
from pipeline.base.errors import ConfigError
from pipeline.base.schema import InferConfig
from pipeline.spin.systems import (
    ChainHeisenberg,
    ChainTFIM,
    HeisenbergSystem,
    OpenChainTFIM,
    SpinSystem,
    SquareHeisenberg,
    SquareTFIM,
)

__all__ = [
    "AdamConfig",
    "AnsatzConfig",
    "ChainHeisenberg",
    "ChainTFIM",
    "ExhaustiveConfig",
    "HeisenbergSystem",
    "MAX_PACKED_SITES",
    "MLPConfig",
    "OpenChainTFIM",
    "RBMConfig",
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
    """Base of all ansätze; ``log_domain`` says whether log ψ is available, which ratios of amplitudes need."""

    log_domain: ClassVar[bool] = False


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
class AdamConfig:
    """Adam with a constant learning rate ``lr``; ``betas`` are the decay rates of its two moments."""

    version: ClassVar[int] = 1

    _target_: str = "torch.optim.Adam"
    lr: float = MISSING
    betas: tuple[float, float] = MISSING

    def __post_init__(self) -> None:
        checks.positive("train.optimizer.lr", self.lr)
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise ConfigError("train.optimizer.betas", list(self.betas), "must be two numbers in [0, 1)")


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

    def check_parts(self, ansatz: AnsatzConfig, sampler: object) -> None:
        """Raise ConfigError for a sampler: the flow is the sampler."""
        del ansatz
        if sampler is not None:
            raise ConfigError(
                "sampler", type(sampler).__name__, "method=subspace_flow samples by its flow; use sampler=none"
            )


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
    """Real restricted Boltzmann machine: ``alpha`` hidden units a spin, initial weights of ``deviation``."""

    version: ClassVar[int] = 1
    log_domain: ClassVar[bool] = True

    _target_: str = "pipeline.spin.ansatz.rbm.RBM"
    alpha: int = MISSING
    deviation: float = MISSING

    def __post_init__(self) -> None:
        checks.at_least("train.ansatz.alpha", self.alpha, 1)
        checks.positive("train.ansatz.deviation", self.deviation)


@dataclass
class ExhaustiveConfig:
    """Every configuration with its exact weight, up to ``max_sites`` spins."""

    version: ClassVar[int] = 1

    _target_: str = "pipeline.spin.sampler.exhaustive.ExhaustiveSampler"
    max_sites: int = MISSING

    def check(self, system: SpinSystem) -> None:
        """Raise ConfigError when ``system`` has too many configurations to enumerate."""
        if system.size > self.max_sites:
            raise ConfigError(
                "train.sampler", "exhaustive", f"would enumerate 2^{system.size} states (max_sites={self.max_sites})"
            )


@dataclass
class VMCConfig:
    """Variational Monte Carlo with the covariance gradient; sampler, ansatz and optimizer are its parts."""

    version: ClassVar[int] = 1

    _target_: str = "pipeline.spin.vmc.VariationalMonteCarlo"

    def check(self, system: object) -> None:
        """Raise ConfigError for anything but a spin system."""
        _must_be_spins("vmc", system)

    def check_parts(self, ansatz: AnsatzConfig, sampler: object) -> None:
        """Raise ConfigError without a sampler, or for an ansatz that does not give log ψ."""
        if sampler is None:
            raise ConfigError("sampler", "none", "method=vmc needs one, such as sampler=exhaustive")
        if not ansatz.log_domain:
            raise ConfigError(
                "ansatz", type(ansatz).__name__, "does not give log ψ, which method=vmc needs; use ansatz=rbm"
            )


@dataclass
class VMCInferConfig(InferConfig):
    """Inference of VMC: ``units`` batches from the sampler."""

    version: ClassVar[int] = 1


def _must_be_spins(method: str, system: object) -> None:
    if not isinstance(system, SpinSystem):
        raise ConfigError("method", method, f"works on spin systems, not on {getattr(system, 'kind', system)}")
