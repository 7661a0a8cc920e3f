"""What an artefact, or all of them, would run, and how long: ``--plan``."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from heapq import heapreplace

from pipeline.base.numbers.formatting import duration
from pipeline.base.run.console import say
from pipeline.stages.keys import Keys
from reproduce.artefact import Artefact
from reproduce.plan import Task, estimate_seconds, find, in_turn, reason, soon_first


def default_jobs(tasks: Sequence[Task]) -> int:
    """One a core; one on a GPU, which a single run fills."""
    from pipeline.base.run.device import cuda_driver_sees_a_gpu

    if any(t.run.device != "cpu" for t in tasks) and cuda_driver_sees_a_gpu():
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // max((t.run.threads for t in tasks), default=1))


@dataclass(frozen=True)
class Planned:
    """A run of a plan: seconds that it will take, None where nobody knows."""

    task: Task
    seconds: float | None


def print_plan(
    artefact: Artefact, tasks: Sequence[Task], history: Mapping[str, float], jobs: int | None = None
) -> dict[str, Planned]:
    """A line a run, and the sum on ``jobs`` workers; runs by what names them, in the order of the work."""
    from tabulate import tabulate

    body, found = [], {}
    for task in tasks:
        there = find(task, say, repair=False)
        found[task.id] = Planned(task, estimate_seconds(task, there, history))
        body.append([task.id, reason(task, there), _shown(found[task.id].seconds), len(task.cuts)])
    print(tabulate(body, headers=["run", "state", "compute time", "cuts"], disable_numparse=True))
    ordered = {run_name(task): found[task.id] for task in soon_first(tasks, history)}
    print(f"{artefact.id}: {summed(list(ordered.values()), jobs or default_jobs(tasks))}")
    return ordered


def together(known: Mapping[str, Planned], found: Mapping[str, Planned]) -> dict[str, Planned]:
    """Runs of several plans, shared ones once; one plan may know how long such a run takes and another not."""
    return {**known, **{name: run for name, run in found.items() if run.seconds is not None or name not in known}}


def summed(planned: Sequence[Planned], width: int) -> str:
    """``about 3 min of compute, and 2 run(s) of unknown length; on 2 worker(s) about 2 min``."""
    total, unknown = sum(one.seconds or 0.0 for one in planned), sum(one.seconds is None for one in planned)
    more = f", and {unknown} run(s) of unknown length" if unknown else ""
    wall = elapsed(planned, width)
    return f"about {duration(total)} of compute{more}; on {width} worker(s) about {duration(wall)}"


def elapsed(planned: Sequence[Planned], width: int) -> float:
    """Seconds to the end of the last run on ``width`` workers, each of which takes the next one when it is free."""
    seconds = {one.task.name: one.seconds or 0.0 for one in planned}
    shared, *alone = in_turn([one.task for one in planned])
    free = [0.0] * width
    for task in shared:
        heapreplace(free, free[0] + seconds[task.name])
    return max(free) + sum(seconds[task.name] for batch in alone for task in batch)


def _shown(seconds: float | None) -> str:
    return "unknown" if seconds is None else "–" if seconds == 0 else f"~{duration(seconds)}"


def run_name(task: Task) -> str:
    """The same for runs that several artefacts share."""
    keys = Keys(task.run)
    if "train" in task.cell.stages:
        return f"{keys.train} {keys.infer(0) if 'infer' in task.cell.stages else ''} {task.cell.ranks}"
    return keys.baseline if "baseline" in task.cell.stages else task.name
