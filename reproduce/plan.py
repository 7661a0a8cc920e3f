"""From cells to tasks: composed, keyed, and looked up in the store. Torch-free."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pipeline.base.config.compose import parse_override
from pipeline.base.config.nodes import RunConfig
from pipeline.base.errors import UserError
from pipeline.base.store.entry import Entry
from pipeline.stages.compose import compose_paper, compose_run
from pipeline.stages.context import Context
from pipeline.stages.cuts import differences
from pipeline.stages.keys import Keys
from pipeline.stages.run import look_up
from reproduce.artefact import Artefact, Cell

SHORT_SECONDS = 20.0
"""Runs of fewer seconds come first."""

PERSONAL_KEYS = ("results_dir", "progress", "tracker", "checkpoint_seconds", "time_limit_seconds")


@dataclass(frozen=True)
class Task:
    """One run (one seed) of a cell.

    Attributes:
        overrides: the complete command line of the run, without ``python -m pipeline``.
        cuts: what the scale and the user change from the paper, ``key: paper → here``.
    """

    artefact: str
    cell: Cell
    seed: int
    overrides: tuple[str, ...]
    run: RunConfig
    cuts: tuple[str, ...]

    @property
    def id(self) -> str:
        return f"{self.cell.id}#{self.seed}"

    @property
    def name(self) -> str:
        """`id` with the artefact: no two runs have the same."""
        return f"{self.artefact}/{self.id}"

    def parts(self, missing: Sequence[str]) -> frozenset[str]:
        """Keys of what is missing and that others may compute too, for which two runs would wait for each other."""
        keys = Keys(self.run)
        named = {"train": lambda: keys.train, "baseline": lambda: keys.baseline}
        return frozenset(key() for stage, key in named.items() if stage in missing)

    @property
    def command(self) -> str:
        """What reruns this task alone."""
        ranks = self.cell.ranks
        launcher = f"python -m torch.distributed.run --standalone --nproc-per-node={ranks}" if ranks > 1 else "python"
        return f"{launcher} -m pipeline " + " ".join(_quoted(o) for o in worth_repeating(self.overrides))

    def context(self, **options: Any) -> Context:
        """Stages' view of this task."""
        group = f"{self.artefact}/{self.cell.id}"
        return Context(self.run, label=self.id, group=group, processes=self.cell.ranks, **options)


@dataclass(frozen=True)
class Found:
    """Finished entries of a task; None where the stage was asked for but is not there.

    Attributes:
        snapshots: inferences on states along the training, in order.
        profiled: timings of a step.
        stale: names of entries that were computed with other source, with what of it has changed since.
    """

    trained: Entry | None
    inferred: Entry | None
    reference: Entry | None
    step: int | None
    missing: tuple[str, ...]
    snapshots: tuple[Entry, ...] = ()
    profiled: Entry | None = None
    stale: Mapping[str, str] = field(default_factory=dict)

    @property
    def entries(self) -> list[Entry]:
        found = (self.trained, *self.snapshots, self.inferred, self.reference, self.profiled)
        return [entry for entry in found if entry is not None]


def worth_repeating(overrides: Sequence[str]) -> list[str]:
    """Overrides without those that say where results go and how progress is shown: a report names no folders."""
    return [o for o in overrides if parse_override(o).key_or_group.split(".")[0] not in PERSONAL_KEYS]


def make_tasks(artefact: Artefact, scale: str, user: Sequence[str], only: Sequence[str] = ()) -> list[Task]:
    """Compose every run of an artefact at ``scale``.

    Args:
        user: overrides from the command line; they win over everything and count as cuts.
        only: cell ids, rows (``N30-L15``) or methods (``nqs+nf``); all cells when empty.

    Raises:
        ConfigError: a cell does not compose.
        UserError: ``only`` names no cell, or a user override is a group that cells choose.
    """
    there = [c for c in artefact.cells() if not c.scales or scale in c.scales]
    cells = [c for c in there if not only or any(_matches(c.id, o, artefact.id) for o in only)]
    if not cells:
        known = ", ".join(c.id for c in there)
        raise UserError(f"--only {' '.join(only)}: no such cell; have {known}")
    return [task for cell in cells for task in _tasks(artefact, cell, scale, tuple(user))]


def find(task: Task, notify: Callable[[str], None], repair: bool = True) -> Found:
    """Look a task's entries up, verified; damaged ones are named and, with ``repair``, set aside."""
    output = look_up(task.context(notify=notify, repair=repair))
    trained = output.trained
    return Found(
        trained.entry if trained else None,
        output.inferred,
        output.reference,
        trained.step if trained else None,
        output.missing,
        output.snapshots,
        output.last("profile"),
        output.stale,
    )


def reason(task: Task, found: Found) -> str:
    """Why a task would run, or that it is cached (with a warning when the source has changed since)."""
    if not found.missing:
        fresh = [e for e in found.entries if not e.status.get("promoted")]
        since = next(iter(found.stale.values()), None)
        return ("cached" if fresh else "promoted") + (f", but {since} has changed since" if since else "")
    context = task.context(notify=lambda _: None)
    key = context.keys.train if "train" in found.missing else None
    if key and (context.store.path("train", key + ".partial") / "progress.json").exists():
        return "resumes " + ", ".join(found.missing)
    return "runs " + ", ".join(found.missing)


def estimate_seconds(task: Task, found: Found, history: Mapping[str, float]) -> float | None:
    """Compute time that is still needed: from the committed report of this scale, or the baseline's own estimate."""
    if not found.missing:
        return 0.0
    if task.cell.id in history:
        return history[task.cell.id]
    name = Keys(task.run).baseline_name if found.missing == ("baseline",) else None
    return task.run.baseline.candidates()[name].cost(task.run.system).seconds if name else None


def past_seconds(folder: Path) -> dict[str, float]:
    """Seconds that each cell (mean over seeds) of a written report would take with nothing else on the cores.

    Without the seconds of a committed state, beside which the others were computed and will be again.
    What a run waited for cores that others had is left out, as far as its entries say how much of one it got.
    """
    try:
        runs = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["runs"]
        found: dict[str, list[float]] = {}
        for run in runs:
            own = [stage for stage in run["stages"] if not stage.get("promoted")] or run["stages"]
            if own and not run["failure"]:
                cell = run["run"].rpartition("#")[0]
                found.setdefault(cell, []).append(sum(_own_seconds(stage) for stage in own))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}  # no report, or none of ours: a plan does without
    return {cell: sum(seconds) / len(seconds) for cell, seconds in found.items()}


def _own_seconds(stage: Mapping[str, Any]) -> float:
    """Of a stage in a manifest; an accelerator works on while its process waits."""
    busy = stage.get("busy", 1.0) / max(1, stage["provenance"]["threads"])
    return float(stage["seconds"] * (min(1.0, busy) if stage.get("device", "cpu") == "cpu" else 1.0))


def soon_first(tasks: Sequence[Task], history: Mapping[str, float]) -> list[Task]:
    """Short runs, the shortest first, then the others as they are: the first numbers are there at once."""
    short = [task for task in tasks if history.get(task.cell.id, math.inf) <= SHORT_SECONDS]
    return sorted(short, key=lambda task: history[task.cell.id]) + [task for task in tasks if task not in short]


def in_turn(tasks: Sequence[Task]) -> list[list[Task]]:
    """Runs that may be computed side by side, then those that want the machine: timings, and each of several ranks."""
    timings = [t for t in tasks if t.cell.exclusive and t.cell.ranks == 1]
    ranks = [t for t in tasks if t.cell.ranks > 1]
    return [[t for t in tasks if t not in timings and t not in ranks], timings, *([t] for t in ranks)]


def _tasks(artefact: Artefact, cell: Cell, scale: str, user: tuple[str, ...]) -> list[Task]:
    """One a seed. Composing takes long: it is done for the first, and the others differ from it in the seed alone."""
    first = _task(artefact, cell, cell.seeds[0], scale, user)
    if any("seed" in override for override in user):  # set, or taken for another value
        return [first, *(_task(artefact, cell, seed, scale, user) for seed in cell.seeds[1:])]
    tasks = [first]
    for seed in cell.seeds[1:]:
        run = deepcopy(first.run)
        if "train" in cell.stages:
            run.train.seed = seed
        tasks.append(
            replace(first, seed=seed, run=run, overrides=(*_physics(artefact, cell, seed), f"scale={scale}", *user))
        )
    return tasks


def _task(artefact: Artefact, cell: Cell, seed: int, scale: str, user: tuple[str, ...]) -> Task:
    physics = _physics(artefact, cell, seed)
    overrides = (*physics, f"scale={scale}", *user)
    run = compose_run(overrides)
    return Task(artefact.id, cell, seed, overrides, run, differences(compose_paper(physics), run))


def _physics(artefact: Artefact, cell: Cell, seed: int) -> tuple[str, ...]:
    stages = f"stages=[{','.join(cell.stages)}]"
    trained = (f"train.seed={seed}",) if "train" in cell.stages else ()
    return (f"paper={cell.settings or artefact.paper}", *cell.overrides, stages, *trained)


def _matches(cell: str, wanted: str, artefact: str) -> bool:
    wanted = wanted.removeprefix(artefact + "/")
    return cell == wanted or cell.startswith(wanted + "/") or cell.endswith("/" + wanted)


def _quoted(override: str) -> str:
    return f"'{override}'" if any(c in override for c in "[]{}() ") else override
