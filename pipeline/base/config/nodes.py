"""Typed nodes of the configuration that every method shares (torch-free).

Values live in ``conf/``; a field here has no default unless leaving it out is meaningful.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from pipeline.base.config import checks
from pipeline.base.config.phases import PhaseConfig, Schedule
from pipeline.base.contracts import Shown
from pipeline.base.errors import ConfigError

MOST_THREADS = 1024
"""More are a slip: torch starts them all."""

SCALES = ("smoke", "laptop", "long", "gpu", "paper")
"""Seconds a cell; ten minutes a table; 90 minutes a cell on two cores; an hour a cell on a GPU; nothing cut."""


@dataclass
class TrainConfig:
    """What the train stage hashes, with ``system``; the number of steps and the snapshots stay out of the key.

    Attributes:
        method, ansatz, sampler, optimizer: component nodes, each typed by its group's schema; null where unused.
        steps: most updates; training may stop earlier by the method's own rule.
        snapshots: steps whose full state is kept, for inference along training.
        seed: seed of initial parameters and of every step's randomness.
        dtype: float32 or float64, of the networks.
        phases: batch size, learning rate and optimizer along training; empty: constant. Their lengths need not add up
            to ``steps``: training may end before the last phase, and after it the last settings stay.
    """

    method: Any = MISSING
    ansatz: Any = None
    sampler: Any = None
    optimizer: Any = None
    steps: int = MISSING
    snapshots: list[int] = field(default_factory=list)
    seed: int = MISSING
    dtype: str = MISSING
    phases: list[PhaseConfig] = field(default_factory=list)

    def __post_init__(self) -> None:
        checks.at_least("steps", self.steps, 0)
        checks.at_least("seed", self.seed, 0)
        checks.one_of("dtype", self.dtype, ("float32", "float64"))
        for step in self.snapshots:
            if not 0 <= step <= self.steps:
                raise ConfigError("snapshots", step, f"must lie between 0 and train.steps = {self.steps}")
        if self.phases:
            schedule = Schedule(self.optimizer, self.phases)
            if self.steps > schedule.steps and schedule.final_lr == 0:
                allowed = f"the phases end after {schedule.steps} steps with a learning rate of 0: more change nothing"
                raise ConfigError("steps", self.steps, allowed)

    @property
    def shown(self) -> Shown:
        """What the method shows of its training with this ansatz."""
        depends = getattr(self.method, "shown_with", None)
        found: Shown = depends(self.ansatz) if depends else self.method.shown
        return found


@dataclass
class InferConfig:
    """What the infer stage hashes, with the train key and the step; methods add their own amounts.

    Attributes:
        units: number of independent calls of ``measure`` (subspaces, batches, ensemble chunks).
        seed: seed of the fresh samples.
    """

    units: int = MISSING
    seed: int = MISSING

    def __post_init__(self) -> None:
        checks.at_least("units", self.units, 1)
        checks.at_least("seed", self.seed, 0)


@dataclass
class ProfileConfig:
    """How long the profile stage looks: ``steps`` timed updates after ``warmup`` untimed ones."""

    steps: int = MISSING
    warmup: int = MISSING

    def __post_init__(self) -> None:
        checks.at_least("steps", self.steps, 2)
        checks.at_least("warmup", self.warmup, 0)


@dataclass
class TrackerConfig:
    """Mirror of the metrics in Weights & Biases; never needed, never able to hurt a run.

    Attributes:
        mode: ``offline`` writes a local W&B run, ``online`` also syncs it, ``disabled`` does neither; ``auto`` is
            offline, and disabled at scale smoke.
        project: W&B project name.
        group: of the run; empty: that of the command, ``runs`` or the cell of an artefact.
    """

    mode: str = MISSING
    project: str = MISSING
    group: str = ""

    def __post_init__(self) -> None:
        checks.one_of("mode", self.mode, ("auto", "offline", "online", "disabled"))

    def at(self, scale: str | None) -> str:
        """The mode of a run at ``scale``: smoke runs are mirrored where that was asked for."""
        if self.mode != "auto":
            return self.mode
        return "disabled" if scale == "smoke" else "offline"


@dataclass
class RunConfig:
    """One run: a seed of a method on a system, with its reference.

    Attributes:
        paper, scale: the recipe, as typed (``nf_nqs``, ``nf_nqs/mps``), and its scale; ``none`` and null without one.
        deviations: what the scale changes besides amounts: a sentence for each key that deviates; reports print them.
        uncut: scales at which the recipe has nothing to cut and therefore no file.
        stages: which stages to run, among them report.
        profile: amounts of the profile stage; nothing else depends on them.
        device: auto, cpu or cuda.
        threads: torch threads of a fresh run; a checkpoint's own thread count wins on resume.
        checkpoint_seconds: wall-clock time between checkpoints.
        time_limit_seconds: stop tidily (resumable) after this much time in one stage; null for no limit.
        results_dir: where the store and the reports live.
        progress: show progress.
    """

    paper: str = MISSING
    scale: str | None = None
    deviations: dict[str, str] = field(default_factory=dict)
    uncut: list[str] = field(default_factory=list)
    stages: list[str] = MISSING
    device: str = MISSING
    threads: int = MISSING
    checkpoint_seconds: float = MISSING
    time_limit_seconds: float | None = None
    results_dir: str = MISSING
    progress: bool = MISSING
    system: Any = MISSING
    train: TrainConfig = MISSING
    infer: Any = MISSING
    baseline: Any = MISSING
    profile: ProfileConfig = MISSING
    tracker: TrackerConfig = MISSING

    def __post_init__(self) -> None:
        if not self.results_dir.strip() or not self.results_dir.isprintable():
            raise ConfigError("results_dir", repr(self.results_dir), "must name a folder, in printable characters")
        checks.one_of("device", self.device, ("auto", "cpu", "cuda"))
        checks.at_least("threads", self.threads, 1)
        checks.within("threads", self.threads, MOST_THREADS)
        checks.at_least("checkpoint_seconds", self.checkpoint_seconds, 0)
        if self.time_limit_seconds is not None:
            checks.positive("time_limit_seconds", self.time_limit_seconds)
