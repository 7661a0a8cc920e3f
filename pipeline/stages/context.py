"""What the stages of one run share: typed configuration, store, progress, tracker."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from pipeline.base.config.nodes import RunConfig
from pipeline.base.places import COMMITTED
from pipeline.base.run.loop import LoopSettings
from pipeline.base.run.progress import Progress, Silent
from pipeline.base.run.ranks import OneProcess, Ranks
from pipeline.base.run.tracking import Tracker
from pipeline.base.store.keys import digest, plain
from pipeline.base.store.store import Store
from pipeline.stages.keys import Keys, Nodes, baseline_nodes, train_nodes
from pipeline.stages.recompute import outdated_before


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
        ranks: who shares the work of methods; this process is the first of them.
        processes: how many share the run, where that is not how many ``ranks`` there are now: to look results up.
        recompute_before: entries that were finished before this moment (seconds since the epoch) are computed again.
    """

    run: RunConfig
    label: str = ""
    group: str = "runs"
    progress: Progress = field(default_factory=Silent)
    notify: Callable[[str], None] = print
    repair: bool = True
    deviations: list[str] = field(default_factory=list)
    ranks: Ranks = field(default_factory=OneProcess)
    processes: int | None = None
    recompute_before: float = field(default_factory=outdated_before)
    _tracker: Tracker | None = None

    @cached_property
    def keys(self) -> Keys:
        """Keys of the run's stages."""
        return Keys(self.run, self.processes)

    @property
    def results(self) -> Path:
        return Path(self.run.results_dir)

    @property
    def store(self) -> Store:
        return Store(self.results / "_store", self.notify, self.repair, (self.results, COMMITTED))

    def tracker(self) -> Tracker:
        """The W&B run of this run, opened at the first use."""
        if self._tracker is None:
            config = self.run.tracker
            group = config.group or self.group
            self._tracker = Tracker(
                replace(config, mode=config.at(self.run.scale)),
                self.results / "_wandb",
                group=group,
                name=run_name(self.run),
                run_id=digest({**self._all_nodes(), "group": group}),
                settings={**self._settings(), "label": self.label},
                notify=self.notify,
            )
        return self._tracker

    def _all_nodes(self) -> Nodes:
        """What tells one run from another, amounts that no key hashes included.

        Runs that share a training, or go on with one, are different runs; one that was killed goes on as itself.
        """
        nodes = {"system": self.run.system, "train": vars(self.run.train), "infer": self.run.infer}
        return {**nodes, "baseline": baseline_nodes(self.keys), "profile": self.run.profile}

    def _settings(self) -> Nodes:
        """What the keys hash, JSON-serialisable."""
        keys = self.keys
        nodes = {"train": train_nodes(keys), "infer": {"infer": self.run.infer}, "baseline": baseline_nodes(keys)}
        settings: Nodes = plain(nodes)
        return settings

    def loop_settings(self, *, tracked: bool = True, alone: bool = False) -> LoopSettings:
        """Settings of a loop of this run; ``alone``: the other ranks have no part in it."""
        return LoopSettings(
            checkpoint_seconds=self.run.checkpoint_seconds,
            time_limit_seconds=self.run.time_limit_seconds,
            label=self.label,
            progress=self.progress,
            tracker=self.tracker() if tracked else None,
            notify=self.notify,
            ranks=OneProcess() if alone else self.ranks,
        )

    @property
    def mirrored(self) -> Tracker | None:
        """The W&B run, if one was opened: a run that has computed nothing has none."""
        return self._tracker

    def close(self) -> None:
        """End the W&B run, if one was opened."""
        if self._tracker is not None:
            self._tracker.close()


def run_name(run: RunConfig) -> str:
    """System with its numbers, ansatz, sampler and seed: ``chain_tfim n_sites=12 range=1 rbm metropolis #0``."""
    numbers = [f"{k}={v:g}" for k, v in vars(run.system).items() if isinstance(v, int | float) and type(v) is not bool]
    parts = [getattr(part, "name", "") for part in (run.train.ansatz, run.train.sampler)]
    return " ".join(word for word in (str(run.system.kind), *numbers, *parts, f"#{run.train.seed}") if word)
