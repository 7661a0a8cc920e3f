"""Cells as jobs of submitit, one each: submitted, waited for, and found again by the next command."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from itertools import groupby
from pathlib import Path
from typing import Any

from pipeline.base.errors import Interrupted, UserError
from pipeline.base.run.children import end, sigint_for_us_alone
from pipeline.base.store.files import write_json
from reproduce.cell_job import CellJob
from reproduce.launchers import JobOptions, by_scale, command, import_path, resources
from reproduce.plan import Task

SUBMITTED = "submitted.json"
"""Cells with the ids of their jobs, in the folder of all jobs of an artefact at a scale."""

ALIVE = ("PENDING", "RUNNING", "REQUEUED", "SUSPENDED", "CONFIGURING", "COMPLETING", "PREEMPTED")
UNKNOWN, LISTED_SECONDS = "UNKNOWN", 600.0
"""State of a job that the batch system does not list: just submitted, or, after so long, gone."""

POLL_SECONDS, ASK_SECONDS = 0.2, 30.0
"""How often to look for results, which are files, and how often to ask the batch system for jobs that left none."""


def run_jobs(
    tasks: Sequence[Task],
    folder: Path,
    options: JobOptions,
    scale: str,
    width: int | None,
    user: Sequence[str],
    notify: Callable[[str], None],
) -> dict[str, str]:
    """Run tasks as jobs, one a cell, and wait for them; returns reasons of those that failed.

    Args:
        folder: of the jobs: scripts, logs, what they came to.
        width: most jobs at a time; None: as many as there are cells.
        user: overrides that only hold where a job runs.

    Raises:
        UserError: no submitit, or no Slurm on this machine, or timings that this machine would not find.
        Interrupted: SIGINT or SIGTERM; jobs of a cluster go on, those of this machine have written checkpoints.
    """
    _check(tasks, options)
    cells = [list(group) for _, group in groupby(tasks, lambda task: task.cell.id)]
    jobs = _Jobs(cells, folder, options, scale, width or len(cells), user, notify)
    try:
        return jobs.run()
    except KeyboardInterrupt:
        raise Interrupted(jobs.stop()) from None


def _check(tasks: Sequence[Task], options: JobOptions) -> None:
    try:
        import submitit  # noqa: F401
    except ImportError:
        raise UserError(f"--launcher {options.launcher}: needs submitit: pip install hydra-submitit-launcher") from None
    if options.launcher != "slurm":
        return
    missing = [name for name in ("sbatch", "srun") if shutil.which(name) is None]
    if missing:
        hint = "start it on a login node of the cluster, or try --launcher submitit_local"
        raise UserError(f"--launcher slurm: this machine has no {' and no '.join(missing)}: {hint}")
    timed = [task.cell.id for task in tasks if "profile" in task.run.stages]
    if timed:
        raise UserError(f"--launcher slurm: {timed[0]} is a timing, kept by the hardware: run this command in a job")


class _Jobs:
    def __init__(
        self,
        cells: list[list[Task]],
        folder: Path,
        options: JobOptions,
        scale: str,
        width: int,
        user: Sequence[str],
        notify: Callable[[str], None],
    ) -> None:
        # those that nothing may disturb come last, on this machine one by one
        self.waiting = sorted(cells, key=lambda cell: _alone(cell[0]))
        self.total, self.width = len(cells), width
        self.folder, self.options, self.scale, self.user, self.notify = folder, options, scale, user, notify
        self.running: dict[str, tuple[list[Task], Any]] = {}
        self.reasons: dict[str, str] = {}
        self.local = options.launcher == "submitit_local"

    def run(self) -> dict[str, str]:
        self.folder.mkdir(parents=True, exist_ok=True)
        asked = time.monotonic()
        with _found_by_jobs():
            self._adopt()
            while self.waiting or self.running:
                while self.waiting and self._free():
                    self._submit(self.waiting.pop(0))
                time.sleep(POLL_SECONDS)
                ask = time.monotonic() - asked > ASK_SECONDS
                asked = time.monotonic() if ask else asked
                for cell in [name for name, (_, job) in self.running.items() if job.done(force_check=ask)]:
                    self._finish(cell)
        return self.reasons

    def stop(self) -> str:
        """End what runs on this machine; what a cluster has goes on."""
        if not self.local:
            return f"{len(self.running)} job(s) go on; run the same command to wait for them, scancel ends them"
        self.notify("stopping; running jobs write a checkpoint")
        end([int(job.job_id) for _, job in self.running.values()])
        done = self.total - len(self.running) - len(self.waiting)
        return f"stopped after {done}/{self.total} jobs; run the same command to go on"

    def _free(self) -> bool:
        """Whether the next cell may begin."""
        if not self.local:
            return len(self.running) < self.width
        alone = _alone(self.waiting[0][0]) or any(_alone(tasks[0]) for tasks, _ in self.running.values())
        return len(self.running) < (1 if alone else self.width)

    def _submit(self, tasks: list[Task]) -> None:
        import submitit

        cluster = "local" if self.local else "slurm"
        again = {f"{cluster}_max_num_timeout": by_scale()["goes_on"]}
        executor = submitit.AutoExecutor(self.folder / "%j", cluster=cluster, **again)
        executor.update_parameters(**resources(tasks, self.scale, self.options, self.user))
        with sigint_for_us_alone() if self.local else nullcontext():
            job = executor.submit(CellJob({task.id: command(task, self.user) for task in tasks}))
        self.running[tasks[0].cell.id] = (tasks, job)
        self.notify(f"{tasks[0].cell.id}: job {job.job_id}, log {_shown(job.paths.stderr)}")
        self._note()

    def _adopt(self) -> None:
        """Go on waiting for jobs that an earlier command has submitted and that are still at work."""
        if self.local:
            return
        import submitit

        known = _submitted(self.folder / SUBMITTED)
        for tasks in list(self.waiting):
            cell = tasks[0].cell.id
            if not (self.folder / known.get(cell, "gone")).is_dir():
                continue
            job: Any = submitit.SlurmJob(self.folder / known[cell], known[cell])
            if _alive(job):
                self.waiting.remove(tasks)
                self.running[cell] = (tasks, job)
                self.notify(f"{cell}: job {job.job_id} of an earlier command is at work")

    def _note(self) -> None:
        """Write down which jobs are at work, for the next command."""
        if not self.local:
            write_json(self.folder / SUBMITTED, {cell: job.job_id for cell, (_, job) in self.running.items()})

    def _finish(self, cell: str) -> None:
        tasks, job = self.running.pop(cell)
        reasons = _reasons(tasks, job)
        self.reasons |= reasons
        done = self.total - len(self.running) - len(self.waiting)
        state = f"FAILED: {next(iter(reasons.values()))}" if reasons else "done"
        self.notify(f"[{done}/{self.total}] {cell} {state}")
        self._note()


def _submitted(path: Path) -> dict[str, str]:
    """Cells with the ids of their jobs; nothing where the file cannot be read as that."""
    with suppress(OSError, ValueError):
        found = json.loads(path.read_text())
        if isinstance(found, dict):
            return {cell: name for cell, name in found.items() if isinstance(name, str) and name}
    return {}


def _alive(job: Any) -> bool:
    """Whether a job of an earlier command is at work, or will be."""
    state = job.watcher.get_state(job.job_id, mode="force").split()[0].upper()
    if state != UNKNOWN:
        return state in ALIVE
    with suppress(OSError):  # submitit writes the file as it submits
        return time.time() - job.paths.submitted_pickle.stat().st_mtime < LISTED_SECONDS
    return True


def _reasons(tasks: Sequence[Task], job: Any) -> dict[str, str]:
    """Reasons that a job gives; where it has left none, the state that the batch system gives for it."""
    from submitit.core.utils import FailedJobError, UncompletedJobError

    try:
        found: dict[str, str] = job.result()
    except (UncompletedJobError, FailedJobError):
        state = job.state if job.state not in ("FINISHED", "COMPLETED") else "ended without a result"
        lost = f"job {job.job_id}: {state.lower()}, log {_shown(job.paths.stderr)}; run the same command to go on"
        return {task.id: lost for task in tasks}
    return found


def _alone(task: Task) -> bool:
    """Whether nothing else may run on the machine meanwhile."""
    return task.cell.exclusive or task.cell.ranks > 1


def _shown(path: Path) -> str:
    with suppress(ValueError):
        return os.fspath(path.relative_to(Path.cwd()))
    return os.fspath(path)


@contextmanager
def _found_by_jobs() -> Iterator[None]:
    """Jobs inherit the environment of whoever submits them: inside the block they find our modules."""
    outer = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = import_path()
    try:
        yield
    finally:
        if outer is None:
            os.environ.pop("PYTHONPATH")
        else:
            os.environ["PYTHONPATH"] = outer
