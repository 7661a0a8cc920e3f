"""Typed configuration of NF+NQS, its training and its inference (torch-free)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from omegaconf import MISSING

from pipeline.base.config import checks
from pipeline.base.config.amounts import (
    EMPTY_LAYER,
    OPERATIONS_A_SECOND,
    RECORD_BYTES,
    SECONDS_A_CALL,
    WIDTHS,
    states,
)
from pipeline.base.config.nodes import InferConfig, RunConfig
from pipeline.base.config.phases import SRConfig
from pipeline.base.contracts import Cost, Shown
from pipeline.base.errors import ConfigError
from pipeline.spin.ansatz.schema import MLPConfig, _widths, dense_weights
from pipeline.spin.hints import sign_hint
from pipeline.spin.systems import SITES_A_WORD, must_be_spins


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
    implementation: ClassVar[str] = "pipeline.spin.subspace.method:SubspaceFlow"
    shares_work: ClassVar[bool] = False
    shown: ClassVar[Shown] = Shown(
        "energy", "energy (total, Pauli)", "total", ("floor_mean", "energy_mean", "energy_min"), ("energy",)
    )

    name: str = "subspace_flow"
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
        for name in ("subspaces", "draws", "flow_layers", "points", "patience", "chunk"):
            checks.at_least(name, getattr(self, name), 1)
        if self.regions is not None:
            checks.at_least("regions", self.regions, 1)
        checks.between("prior_width", self.prior_width, 1e-6, 1e3)  # densities in single precision
        checks.between("region_width", self.region_width, 1e-15, 1e3)
        checks.positive("gradient_clip", self.gradient_clip)
        checks.between("region_centre", self.region_centre, 0, 1)
        checks.between("unique_threshold", self.unique_threshold, 0, 1)
        checks.one_of("prior", self.prior, ("bimodal", "normal"))
        checks.one_of("stop", self.stop, ("unique", "floor", "never"))
        _widths("flow_hidden", self.flow_hidden)

    def check(self, system: object) -> None:
        """Raise ConfigError for anything but a spin system of 2..62 sites."""
        spins = must_be_spins("subspace_flow", system)
        if not 2 <= spins.size <= SITES_A_WORD:
            allowed = f"method=subspace_flow packs a state into one word: 2 to {SITES_A_WORD} sites"
            raise ConfigError("system", f"{spins.size} sites", allowed, whole=True)

    def cost(self, run: RunConfig) -> Cost:
        """Lower bounds of an update: both networks and moments, the draws, the subspaces, the points of all regions."""
        size, width = run.system.size, WIDTHS[run.train.dtype]
        half = size // 2
        coupling = EMPTY_LAYER + dense_weights([size - half, *self.flow_hidden, 2 * half])
        flow, nqs = self.flow_layers * coupling, run.train.ansatz.weights(size)
        drawn = self.draws * (width * (4.0 * size + max(self.flow_hidden)) + size)
        regions = self.subspaces * float(self.regions or 1)
        points = regions * self.points * size * width
        at_once = min(float(self.chunk), regions * self.points) * width * self.flow_layers * sum(self.flow_hidden)
        operations = 2.0 * flow * (self.subspaces * float(self.draws) + 3.0 * regions * self.points)
        networks = 4.0 * width * (flow + nqs)
        # the flow is the identity at first, whose draws are uniform: most differ, as far as there are states
        subspaces = self.subspaces * min(0.5 * self.draws, states(size) / 2.0) * (size + 24.0)
        held = networks + drawn + points + at_once + subspaces
        return Cost(seconds=SECONDS_A_CALL * self.subspaces + operations / OPERATIONS_A_SECOND, bytes=held)

    def check_parts(self, run: RunConfig) -> None:
        """Raise ConfigError for a sampler (the flow is the sampler), for phases and for several states."""
        if run.train.ansatz is None:
            raise ConfigError("ansatz", "none", "method=subspace_flow needs one, such as ansatz=mlp")
        if run.train.ansatz.states > 1:
            raise ConfigError("train.ansatz.states", run.train.ansatz.states, "method=subspace_flow has one state")
        sampler = run.train.sampler
        if sampler is not None:
            raise ConfigError("sampler", sampler.name, "method=subspace_flow samples by its flow; use sampler=none")
        if run.train.phases:
            raise ConfigError("train.phases", None, "method=subspace_flow has none: its settings are constant")
        if isinstance(run.train.optimizer, SRConfig):
            raise ConfigError("optimizer", "sr", "method=subspace_flow has no local energies for it; use adam or sgd")

    def hints(self, run: RunConfig) -> list[str]:
        """What to know before the training: an ansatz without signs on a Hamiltonian that needs them."""
        hint = sign_hint(run.train.ansatz, [run.system], "", "ansatz=mlp")
        return [hint] if hint else []


@dataclass
class SubspaceInferConfig(InferConfig):
    """Inference of NF+NQS: ``units`` fresh subspaces, each with a freshly initialised NQS trained in it.

    Attributes:
        draws: |S|, samples a subspace before duplicates are removed.
        ansatz: the fresh NQS; null: the same architecture as in training.
        iterations: Adam updates of the NQS.
        lr: initial learning rate of Adam.
        matrix_lr: initial learning rate of weight matrices between hidden layers, whose steps are then momentum made
            orthogonal (Muon, see :class:`pipeline.base.descent.Muon`); null: Adam for them too.
        schedule: ``plateau`` (paper: learning rates are multiplied by ``plateau_factor`` when the energy has not
            decreased for ``plateau_patience`` updates) or ``cosine`` (half a period, to zero at the last update).
    """

    version: ClassVar[int] = 2
    neutral: ClassVar[dict[str, Any]] = {"matrix_lr": None, "schedule": "plateau"}

    draws: int = MISSING
    ansatz: MLPConfig | None = None
    iterations: int = MISSING
    lr: float = MISSING
    matrix_lr: float | None = None
    schedule: str = "plateau"
    plateau_factor: float = MISSING
    plateau_patience: int = MISSING

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.at_least("draws", self.draws, 1)
        checks.at_least("iterations", self.iterations, 1)
        checks.positive("lr", self.lr)
        checks.within("lr", self.lr, checks.MOST_LR)
        if self.matrix_lr is not None:
            checks.positive("matrix_lr", self.matrix_lr)
            checks.within("matrix_lr", self.matrix_lr, checks.MOST_LR)
        checks.one_of("schedule", self.schedule, ("plateau", "cosine"))
        if not 0 < self.plateau_factor < 1:
            raise ConfigError("plateau_factor", self.plateau_factor, "must lie between 0 and 1, ends excluded")
        checks.at_least("plateau_patience", self.plateau_patience, 0)

    def cost(self, run: RunConfig) -> Cost:
        """Lower bounds of a subspace: the draws, the trace and its network, with what is kept of all subspaces."""
        size, width = run.system.size, WIDTHS[run.train.dtype]
        ansatz, method = self.ansatz or run.train.ansatz, run.train.method
        networks = 4.0 * width * ansatz.weights(size)
        drawn = self.draws * (width * (4.0 * size + max(method.flow_hidden)) + size)
        held = networks + drawn + 32.0 * self.iterations + RECORD_BYTES * self.units
        return Cost(seconds=SECONDS_A_CALL * self.iterations, bytes=held)
