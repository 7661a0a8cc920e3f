"""What an artefact, or all of them, would run, and how long: ``--plan``."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from pipeline.base.numbers.formatting import duration
from pipeline.base.run.console import say
from pipeline.stages.keys import Keys
from reproduce.artefact import Artefact
from reproduce.plan import Task, estimate_seconds, find, reason


def default_jobs(tasks: Sequence[Task]) -> int:
    """One a core; one on a GPU, which a single run fills."""
    from pipeline.base.run.device import cuda_driver_sees_a_gpu

    if any(t.run.device != "cpu" for t in tasks) and cuda_driver_sees_a_gpu():
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // max((t.run.threads for t in tasks), default=1))


def print_plan(artefact: Artefact, tasks: Sequence[Task], history: Mapping[str, float]) -> dict[str, float | None]:
    """A line a run, and the sum; seconds of each run by what names it, None where nobody knows."""
    from tabulate import tabulate

    body, found = [], {}
    for task in tasks:
        there = find(task, say, repair=False)
        seconds = estimate_seconds(task, there, history)
        found[_name(task)] = seconds
        shown = "unknown" if seconds is None else "–" if seconds == 0 else f"~{duration(seconds)}"
        body.append([task.id, reason(task, there), shown, len(task.cuts)])
    print(tabulate(body, headers=["run", "state", "compute time", "cuts"], disable_numparse=True))
    print(f"{artefact.id}: {summed(found, default_jobs(tasks))}")
    return found


def summed(found: Mapping[str, float | None], width: int) -> str:
    """``about 3 min of compute, and 2 run(s) of unknown length; on 2 worker(s) about 2 min``."""
    total, unknown = sum(seconds or 0.0 for seconds in found.values()), sum(s is None for s in found.values())
    more = f", and {unknown} run(s) of unknown length" if unknown else ""
    return f"about {duration(total)} of compute{more}; on {width} worker(s) about {duration(total / width)}"


def _name(task: Task) -> str:
    """The same for runs that several artefacts share."""
    keys = Keys(task.run)
    if "train" in task.cell.stages:
        return f"{keys.train} {keys.infer(0) if 'infer' in task.cell.stages else ''} {task.cell.ranks}"
    return keys.baseline if "baseline" in task.cell.stages else f"{task.artefact}/{task.id}"
