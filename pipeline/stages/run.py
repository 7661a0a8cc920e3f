"""One run: the stages of the table in order, looked up or computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pipeline.analysis.along_training import curves_along_training
from pipeline.base.config.nodes import RunConfig
from pipeline.base.errors import ConfigError
from pipeline.base.extras import advice
from pipeline.base.extras import missing as not_installed
from pipeline.base.numbers.result import Curve, Result
from pipeline.base.store.entry import Entry
from pipeline.stages.amounts import announcement, run_with_baseline, too_much
from pipeline.stages.cached import Stage, cached, find, stale
from pipeline.stages.context import Context
from pipeline.stages.hints import hints
from pipeline.stages.recompute import OPTION
from pipeline.stages.table import STAGES
from pipeline.stages.train import Start, Trained, trained


@dataclass(frozen=True)
class RunOutput:
    """Entries of one run.

    Attributes:
        entries: of each stage that the run needs, by name: one; where it starts from the training, one for each
            snapshot and then that of the last state. None where an entry is not there.
        stale: names of the entries that were computed with other source, with what of it has changed since.
    """

    run: RunConfig
    entries: Mapping[str, tuple[Entry | None, ...]]
    stale: Mapping[str, str] = field(default_factory=dict)

    @property
    def missing(self) -> tuple[str, ...]:
        """Stages that were asked for and are not all there."""
        return tuple(name for name, found in self.entries.items() if name in self.run.stages and None in found)

    @property
    def trained(self) -> Trained | None:
        """The training, as this run sees it."""
        entry = self.last("train")
        return trained(self.run, entry) if entry else None

    @property
    def inferred(self) -> Entry | None:
        """The inference on the last state."""
        return self.last("infer")

    @property
    def reference(self) -> Entry | None:
        """The baseline."""
        return self.last("baseline")

    @property
    def snapshots(self) -> tuple[Entry, ...]:
        """Inferences along the training that are there, in order."""
        return tuple(entry for entry in self.entries.get("infer", ())[:-1] if entry is not None)

    @property
    def result(self) -> Result | None:
        """What the method found."""
        return self.inferred.result() if self.inferred else None

    @property
    def training_curve(self) -> Curve | None:
        """What the method shows, from fresh samples against the training step, where snapshots were asked for."""
        if self.trained is None or self.inferred is None or not self.snapshots:
            return None
        names = (self.run.train.shown.quantity,)
        return curves_along_training(self.trained.entry, [*self.snapshots, self.inferred], names)[0]

    def last(self, stage: str) -> Entry | None:
        """The last entry of a stage; None where it was not asked for or is not there."""
        return self.entries.get(stage, (None,))[-1]


Obtain = Callable[[Context, Stage, Start | None], Entry | None]


def execute(context: Context, finish: Callable[[RunOutput], None] = lambda output: None) -> RunOutput:
    """Every stage that ``stages`` asks for, computed as far as the store does not have it.

    One line says which of the entries are of other source than there is today.

    Args:
        finish: what to do with the output while the run's mirror is open.
    """
    if any(stage.trains for stage in STAGES if stage.name in context.run.stages):
        for hint in hints(context.run):
            context.notify(f"hint: {hint}")
    try:
        _look_at_amounts(context)
        output = _walk(context, cached)
        finish(output)
    finally:
        context.close()
    if output.stale:
        context.notify(said_of_stale(output.stale))
    return output


def said_of_stale(stale: Mapping[str, str]) -> str:
    """A line about results of other source."""
    names = list(stale)
    shown = ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
    reasons = list(dict.fromkeys(stale.values()))
    it, was = ("it", "was") if len(names) == 1 else ("them", "were")
    return f"{shown} {was} computed before {'; '.join(reasons[:NAMED])} changed; {OPTION} computes {it} anew"


NAMED = 3
"""Entries that a line names."""


def look_up(context: Context) -> RunOutput:
    """What the store has of a run."""
    return _walk(context, find)


def _look_at_amounts(context: Context) -> None:
    """Refuse what this machine cannot do, and announce units that are long, of stages that are not there yet.

    Raises:
        ConfigError: with the key that asks for too much, or for a reference whose package is not installed.
    """
    run = run_with_baseline(context.run, context.keys.baseline_name)
    asked = [stage.name for stage in STAGES if stage.name in run.stages and stage.wanted(context.keys)]
    wrong = {name: _uninstalled(run, name) or too_much(run, name) for name in asked}
    lines = {name: announcement(run, name) for name in asked}
    if not any((*wrong.values(), *lines.values())):
        return
    missing = look_up(context).missing
    for name in asked:
        error, line = wrong[name], lines[name]
        if name in missing and error is not None:
            raise error
        if name in missing and line is not None:
            context.notify(line)


PACKAGES = {"quspin": "quspin", "dmrg": "tenpy"}
"""What references are computed by that the base installation does not have."""


def _uninstalled(run: RunConfig, stage: str) -> ConfigError | None:
    """Why a reference cannot be computed here, though it may be read."""
    package = PACKAGES.get(run.baseline.use) if stage == "baseline" else None
    if package is None or not not_installed(package):
        return None
    allowed = f"needs {package}, which is not installed: {advice('exact')}"
    return ConfigError("baseline.use", run.baseline.use, allowed, "or baseline=none")


def _walk(context: Context, obtain: Obtain) -> RunOutput:
    """The entries of all stages that the run needs: those that it names, and the training that others start from."""
    run, entries = context.run, dict[str, tuple[Entry | None, ...]]()
    of_other_source: dict[str, str] = {}
    asked = [stage for stage in STAGES if stage.name in run.stages]
    for stage in STAGES:
        needed = stage in asked or (stage.name == "train" and any(other.on_training for other in asked))
        if needed and stage.wanted(context.keys):
            starts = _starts(run, entries["train"][0]) if stage.on_training else (None,)
            entries[stage.name] = tuple(obtain(context, stage, start) for start in starts) or (None,)
            for entry, start in zip(entries[stage.name], starts, strict=False):
                if entry is not None and (since := stale(context, stage, entry, start)) is not None:
                    of_other_source[entry.name] = since
    return RunOutput(run, entries, of_other_source)


def _starts(run: RunConfig, entry: Entry | None) -> tuple[Start, ...]:
    """States of a training to start from: snapshots, then the last one; none without the training."""
    found = trained(run, entry) if entry else None
    return tuple(Start(found.entry, step) for step in (*found.snapshots, found.step)) if found else ()
