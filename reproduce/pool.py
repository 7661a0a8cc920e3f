"""A few preloaded worker processes, isolated from each other: one that dies fails its own task and is replaced."""

from __future__ import annotations

import multiprocessing as mp
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from pipeline.base.config.nodes import RunConfig
from pipeline.base.errors import Interrupted, UserError
from pipeline.base.run.children import sigint_for_us_alone
from pipeline.base.run.console import describe_crash
from pipeline.base.run.progress import Progress
from reproduce.plan import Task

PRELOADED = ["torch", "torch.fx.experimental.symbolic_shapes", "scipy.sparse.linalg", "pipeline.stages.run"]
"""What most workers need, imported once; the second is what the first gradient of a process imports."""

GRACE_SECONDS = 20.0
"""After an interrupt, how long workers may take to reach the end of a unit and checkpoint."""


@dataclass(frozen=True)
class Outcome:
    """How a task ended: ``reason`` is None when it finished."""

    reason: str | None
    seconds: float


class _Forward:
    """Progress of a worker, sent to the parent."""

    def __init__(self, connection: Connection) -> None:
        self._connection, self._last = connection, 0.0

    def update(self, label: str, done: int, total: int, metrics: Mapping[str, float]) -> None:
        now = time.monotonic()
        if done == total or now - self._last > 0.2:
            self._last = now
            self._connection.send(("progress", label, done, total, dict(metrics)))

    def close(self) -> None:
        pass


def workers_context() -> mp.context.ForkServerContext | mp.context.SpawnContext:
    """How workers start: where forking is safe from a server that has imported what they need, within milliseconds and
    with one copy of it in memory."""
    if sys.platform != "linux":
        return mp.get_context("spawn")
    context = mp.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


class _Worker:
    def __init__(self) -> None:
        context = workers_context()
        self.connection, child = context.Pipe()
        self.process = context.Process(target=_serve, args=(child,), daemon=True)
        resource_tracker.ensure_running()  # it would open the way for signals again in the middle of the start
        with sigint_for_us_alone():
            self.process.start()
        child.close()
        self.task: Task | None = None
        self.began = 0.0

    def give(self, task: Task) -> None:
        self.task, self.began = task, time.monotonic()
        self.connection.send((task.run, task.id, f"{task.artefact}/{task.cell.id}"))

    def stop(self) -> None:
        self.connection.close()
        self.process.join(timeout=5)
        if self.process.is_alive():
            self.process.kill()


def run_tasks(
    tasks: Sequence[Task], jobs: int, progress: Progress, notify: Callable[[str], None]
) -> dict[str, Outcome]:
    """Run tasks on ``jobs`` workers, exclusive ones alone and last; returns how each ended.

    Raises:
        Interrupted: SIGINT or SIGTERM; running tasks were given time to checkpoint.
    """
    outcomes: dict[str, Outcome] = {}
    shared = [t for t in tasks if not t.cell.exclusive]
    alone = [t for t in tasks if t.cell.exclusive]
    for batch, width in ((shared, jobs), (alone, 1)):
        if batch:
            outcomes |= _Pool(list(batch), min(width, len(batch)), progress, notify).run()
    return outcomes


class _Pool:
    def __init__(self, waiting: list[Task], width: int, progress: Progress, notify: Callable[[str], None]) -> None:
        self.waiting, self.total = waiting, len(waiting)
        self.progress, self.notify = progress, notify
        self.outcomes: dict[str, Outcome] = {}
        self.workers = [_Worker() for _ in range(width)]

    def run(self) -> dict[str, Outcome]:
        previous = signal.signal(signal.SIGTERM, _as_keyboard_interrupt)
        try:
            for worker in self.workers:
                self._feed(worker)
            while any(w.task for w in self.workers):
                for ready in wait([w.connection for w in self.workers if w.task]):
                    self._receive(next(w for w in self.workers if w.connection is ready))
        except KeyboardInterrupt:
            self._interrupt()
            done = len(self.outcomes)
            raise Interrupted(f"stopped after {done}/{self.total} runs; run the same command to go on") from None
        finally:
            signal.signal(signal.SIGTERM, previous)
            for worker in self.workers:
                worker.stop()
        return self.outcomes

    def _feed(self, worker: _Worker) -> None:
        worker.task = None
        if self.waiting:
            task = self.waiting.pop(0)
            try:
                worker.give(task)
            except OSError:
                self._replace(worker)

    def _receive(self, worker: _Worker) -> None:
        try:
            kind, *content = worker.connection.recv()
        except (EOFError, OSError):
            self._replace(worker)
            return
        if kind == "progress":
            self.progress.update(*content)
        elif kind == "say":
            self.notify(content[0])
        else:
            self._finish(worker, content[0])
            self._feed(worker)

    def _finish(self, worker: _Worker, reason: str | None) -> None:
        assert worker.task is not None
        seconds = time.monotonic() - worker.began
        self.outcomes[worker.task.id] = Outcome(reason, seconds)
        state = "done" if reason is None else f"FAILED: {reason}"
        self.notify(f"[{len(self.outcomes)}/{self.total}] {worker.task.id} {state} ({seconds:.0f} s)")

    def _replace(self, worker: _Worker) -> None:
        """A worker died under its task: the task has failed, a fresh worker takes the next one."""
        worker.process.join(timeout=5)
        code = worker.process.exitcode
        how = f"signal {-code}" if code is not None and code < 0 else f"exit status {code}"
        self._finish(worker, f"the worker process died ({how}); run again to resume from its checkpoint")
        if self.waiting:
            fresh = _Worker()
            self.workers[self.workers.index(worker)] = fresh
            self._feed(fresh)
        else:
            worker.task = None

    def _interrupt(self) -> None:
        """Pass the interrupt on (it may have reached the parent alone) and wait for the checkpoints."""
        self.notify("stopping; running tasks write a checkpoint")
        busy = [w for w in self.workers if w.task and w.process.is_alive()]
        for worker in busy:
            if worker.process.pid is not None:
                os.kill(worker.process.pid, signal.SIGUSR1)
        deadline = time.monotonic() + GRACE_SECONDS
        while busy and time.monotonic() < deadline:
            for ready in wait([w.connection for w in busy], timeout=0.5):
                worker = next(w for w in busy if w.connection is ready)
                try:
                    if worker.connection.recv()[0] == "end":
                        busy.remove(worker)
                except (EOFError, OSError):
                    busy.remove(worker)


def _as_keyboard_interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def _serve(connection: Connection) -> None:
    """Main loop of a worker: a run comes in, progress and the end go out."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C reaches the parent, which passes it on
    signal.signal(signal.SIGUSR1, lambda *_: signal.raise_signal(signal.SIGTERM))
    while True:
        try:
            run, label, group = connection.recv()
        except (EOFError, OSError):
            return
        signal.signal(signal.SIGTERM, _as_keyboard_interrupt)
        reason = _execute(run, label, group, connection)
        try:
            connection.send(("end", reason))
        except OSError:
            return  # the parent is gone; what was finished is in the store


def _execute(run: RunConfig, label: str, group: str, connection: Connection) -> str | None:
    """Run the stages; the reason of a failure, or None."""
    from pipeline.stages.context import Context
    from pipeline.stages.run import execute

    say = lambda text: connection.send(("say", text))  # noqa: E731
    try:
        execute(Context(run, label=label, group=group, progress=_Forward(connection), notify=say))
    except (UserError, Interrupted, OSError) as error:
        return str(error)
    except KeyboardInterrupt:
        return "interrupted"
    except Exception as error:
        return describe_crash(error, Path(run.results_dir) / "_logs")
    return None
