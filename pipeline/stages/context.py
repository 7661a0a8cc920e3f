"""What the stages of one run share: typed configuration, store, progress, tracker."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.base.config.nodes import RunConfig
from pipeline.base.run.loop import LoopSettings
from pipeline.base.run.progress import Progress, Silent
from pipeline.base.run.tracking import Tracker
from pipeline.base.store.keys import digest
from pipeline.base.store.provenance import ROOT
from pipeline.base.store.store import Store
from pipeline.stages.compose import baseline_name


@dataclass
class Context:
    """One run in flight.

    Attributes:
        run: the checked configuration.
        label: how messages call this run.
        group: W&B group (artefact/cell, or ``runs``).
        progress: where loops report.
        notify: one line for the user.
        deviations: sentences about the scale that hold for this run; reports print them.
        repair: set damaged entries aside; False only looks.
    """

    run: RunConfig
    label: str = ""
    group: str = "runs"
    progress: Progress = field(default_factory=Silent)
    notify: Callable[[str], None] = print
    repair: bool = True
    deviations: list[str] = field(default_factory=list)
    _tracker: Tracker | None = None

    @property
    def results(self) -> Path:
        return Path(self.run.results_dir)

    @property
    def store(self) -> Store:
        return Store(self.results / "_store", self.notify, self.repair, (self.results, ROOT / "results"))

    def tracker(self) -> Tracker:
        """The W&B run of this run, opened at the first use."""
        if self._tracker is None:
            keys = stage_nodes(self.run)
            self._tracker = Tracker(
                self.run.tracker,
                self.results / "_wandb",
                group=self.group,
                name=self.label or digest(keys["train"]),
                run_id=digest({"train": keys["train"], "group": self.group}),
                settings=flat(keys),
                notify=self.notify,
            )
        return self._tracker

    def loop_settings(self, *, tracked: bool = True) -> LoopSettings:
        """Settings of a loop of this run."""
        return LoopSettings(
            checkpoint_seconds=self.run.checkpoint_seconds,
            time_limit_seconds=self.run.time_limit_seconds,
            label=self.label,
            progress=self.progress,
            tracker=self.tracker() if tracked else None,
            notify=self.notify,
        )

    def close(self) -> None:
        """End the W&B run, if one was opened."""
        if self._tracker is not None:
            self._tracker.close()


def stage_nodes(run: RunConfig) -> dict[str, dict[str, Any]]:
    """Which configuration nodes each stage's key hashes (infer adds the train key and the step).

    Left out of the train key: the number of steps and the snapshots, so that a run can be continued; and phases where
    there are none, so that only those who use them depend on them.
    """
    unhashed = {"steps", "snapshots"} | (set() if run.train.phases else {"phases"})
    train = {name: value for name, value in vars(run.train).items() if name not in unhashed}
    nodes: dict[str, dict[str, Any]] = {
        "train": {"system": run.system, "train": train},
        "infer": {"infer": run.infer},
        "baseline": {"system": run.system},
    }
    name = baseline_name(run) if "baseline" in run.stages else None
    if name is not None:
        nodes["baseline"] = {"system": run.system, "name": name, "baseline": run.baseline.candidates()[name]}
    return nodes


def train_key(run: RunConfig) -> str:
    """Key of the train stage."""
    return digest(stage_nodes(run)["train"])


def infer_key(run: RunConfig, step: int) -> str:
    """Key of the infer stage on the state after ``step`` updates."""
    return digest({**stage_nodes(run)["infer"], "train_key": train_key(run), "step": step})


def baseline_key(run: RunConfig) -> str:
    """Key of the baseline stage; never depends on ``auto``."""
    return digest(stage_nodes(run)["baseline"])


def flat(nodes: dict[str, Any]) -> dict[str, Any]:
    """JSON-serialisable settings for the tracker."""
    from pipeline.base.store.keys import plain

    settings: dict[str, Any] = plain(nodes)
    return settings
