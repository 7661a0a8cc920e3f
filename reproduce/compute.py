"""Runs of artefacts: what the store does not have is computed, of one artefact or of several in one pool."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.base.errors import UserError
from pipeline.base.places import COMMITTED
from pipeline.base.run.console import say
from pipeline.base.run.progress import make_progress
from pipeline.stages.run import said_of_stale
from reproduce.artefact import Artefact
from reproduce.plan import Found, Task, find, soon_first
from reproduce.planned import default_jobs
from reproduce.recorded import Written
from reproduce.tables import Finished

Launch = Callable[[Sequence[Task]], dict[str, str]]
"""What runs tasks elsewhere; gives the reasons of those that failed, by their ids."""


@dataclass(frozen=True)
class Work:
    """Runs of one artefact.

    Attributes:
        folder: of its report.
        history: seconds that cells took before, as far as they are known.
    """

    artefact: Artefact
    tasks: Sequence[Task]
    folder: Path
    history: Mapping[str, float]


def compute(work: Work, jobs: int | None, launch: Launch | None = None) -> list[Finished]:
    """Run what the store does not have; every task comes back, finished or with the reason why not.

    Args:
        jobs: runs side by side; None: as many as the machine has cores for.
        launch: in the place of workers of ours.
    """
    finished: list[Finished] = []
    if launch is None:
        compute_all([work], jobs, lambda _, done: finished.extend(done))
        return finished
    found = {task.name: find(task, say) for task in work.tasks}
    todo = soon_first([task for task in work.tasks if found[task.name].missing], work.history)
    reasons: dict[str, str] = {}
    if todo:
        say(f"{len(work.tasks) - len(todo)} of {len(work.tasks)} runs are cached; {len(todo)} to do")
        reasons = launch(todo)
        found |= {task.name: find(task, say) for task in todo}
    return _finished(work, found, {task.name: reasons.get(task.id) for task in todo})


def compute_all(works: Sequence[Work], jobs: int | None, done: Callable[[Work, list[Finished]], None]) -> None:
    """Run what the store does not have of several artefacts, one after the other but without a pause between them.

    Args:
        jobs: runs side by side; None: as many as the machine has cores for.
        done: called for each artefact when its last run has ended, while those of others go on; where it fails, that is
            said, and it is called again in the end, when the first error of all is raised.
    """
    found = {task.name: find(task, say) for work in works for task in work.tasks}
    todo = [t for work in works for t in soon_first([t for t in work.tasks if found[t.name].missing], work.history)]
    of = {task.name: work for work in works for task in work.tasks}
    parts = {task.name: task.parts(found[task.name].missing) for task in todo}
    left = {work.artefact.id: sum(of[task.name] is work for task in todo) for work in works}
    reasons: dict[str, str | None] = {}
    written: list[Work] = []

    def write(work: Work) -> Exception | None:
        """The report of an artefact, or why there is none: that is no reason for others to have none."""
        try:
            for task in work.tasks:
                if task.name in reasons:
                    found[task.name] = find(task, say)
            done(work, _finished(work, found, reasons))
        except Exception as error:
            return error
        written.append(work)
        return None

    def ended(task: Task, reason: str | None) -> None:
        work = of[task.name]
        reasons[task.name] = reason
        left[work.artefact.id] -= 1
        if not left[work.artefact.id] and (error := write(work)) is not None:
            say(f"{work.artefact.id}: no report yet: {error}")

    if todo:
        _run(todo, len(of), jobs, ended, parts)
    errors = [write(work) for work in works if work not in written]
    if first := next((error for error in errors if error is not None), None):
        raise first


def _run(
    todo: Sequence[Task],
    total: int,
    jobs: int | None,
    ended: Callable[[Task, str | None], None],
    parts: Mapping[str, frozenset[str]],
) -> None:
    from reproduce.pool import run_tasks

    width = jobs or default_jobs(todo)
    say(f"{total - len(todo)} of {total} runs are cached; {len(todo)} to do on {width} worker(s)")
    progress = make_progress(todo[0].run.progress)
    try:
        run_tasks(todo, width, progress, say, lambda task, outcome: ended(task, outcome.reason), parts)
    finally:
        progress.close()


def _finished(work: Work, found: Mapping[str, Found], reasons: Mapping[str, str | None]) -> list[Finished]:
    stale = {name: since for task in work.tasks for name, since in found[task.name].stale.items()}
    if stale:
        say(said_of_stale(stale))
    return [
        Finished(task, found[task.name], reasons.get(task.name) or _incomplete(found[task.name].missing))
        for task in work.tasks
    ]


def collect(tasks: Sequence[Task], written: Written) -> list[Finished]:
    """What the store has of every task, else what the report has; those that neither has are named and left out.

    Raises:
        UserError: nothing is left.
    """
    finished = []
    for task in tasks:
        found = find(task, say, repair=False)
        references = [folder / "references" for folder in (Path(task.run.results_dir), COMMITTED)]
        done = written.finished(task, references) if found.missing else Finished(task, found, None)
        if done is None:
            say(f"{task.id} is in neither the store nor the report: left out")
        else:
            finished.append(done)
    if not finished:
        raise UserError("--render: none of these runs is in the store or in the report")
    return finished


def _incomplete(missing: Sequence[str]) -> str | None:
    return f"{', '.join(missing)} did not finish" if missing else None
