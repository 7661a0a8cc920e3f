"""A few preloaded worker processes, isolated from each other: one that dies fails its own task and is replaced."""

from __future__ import annotations

import multiprocessing as mp
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from pipeline.base.config.nodes import RunConfig
from pipeline.base.errors import Interrupted, RankLost, UserError
from pipeline.base.run.children import environments, sigint_for_us_alone
from pipeline.base.run.console import describe_crash
from pipeline.base.run.progress import Progress
from reproduce.plan import Task, in_turn

PRELOADED = [
    "torch",
    "torch.fx.experimental.symbolic_shapes",
    "torch._dynamo",
    "scipy.sparse.linalg",
    "pipeline.stages.run",
]
"""What most workers need, imported once; the second is what the first gradient of a process imports, the third what the
first log-derivatives do, which takes seconds."""

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
    """A process that runs one task after the other; with ``ranks`` > 1 the first of so many, for one task alone."""

    def __init__(self, ranks: int = 1) -> None:
        first, *others = environments(ranks)
        self.connection, self.process = _start(_serve, first)
        self.others = [_start(_follow, environment) for environment in others]
        self.task: Task | None = None
        self.began = 0.0

    def give(self, task: Task) -> None:
        self.task, self.began = task, time.monotonic()
        for connection, _ in self.others:
            connection.send(task.run)
        self.connection.send((task.run, task.id, f"{task.artefact}/{task.cell.id}"))

    def failed_others(self, seconds: float = 0.0) -> str:
        """How processes other than the first ended that failed by themselves; empty if none has yet.

        Args:
            seconds: to wait for one that has not ended.
        """
        for rank, (connection, process) in enumerate(self.others, 1):
            try:
                reason = connection.recv() if connection.poll(seconds) else None
            except (EOFError, OSError):
                process.join(timeout=5)
                reason = None if process.exitcode == 0 else f"the process died ({_how(process)})"
            if reason:
                return f"rank {rank}: {reason}; run again to resume from the last checkpoint"
        return ""

    def stop(self) -> None:
        with suppress(OSError):  # it is gone
            self.connection.send(None)
        self.connection.close()
        for _, process in ((self.connection, self.process), *self.others):
            process.join(timeout=5)
            if process.is_alive():
                process.kill()


def _start(
    body: Callable[[Connection, Mapping[str, str]], None], environment: Mapping[str, str]
) -> tuple[Connection, BaseProcess]:
    """A process of ours, and this end of the pipe to it."""
    context = workers_context()
    connection, child = context.Pipe()
    process = context.Process(target=body, args=(child, environment), daemon=True)
    resource_tracker.ensure_running()  # it would open the way for signals again in the middle of the start
    with sigint_for_us_alone():
        process.start()
    child.close()
    return connection, process


def _how(process: BaseProcess) -> str:
    code = process.exitcode
    return f"signal {-code}" if code is not None and code < 0 else f"exit status {code}"


def run_tasks(
    tasks: Sequence[Task],
    jobs: int,
    progress: Progress,
    notify: Callable[[str], None],
    ended: Callable[[Task, Outcome], None] = lambda task, outcome: None,
    parts: Mapping[str, frozenset[str]] | None = None,
) -> dict[str, Outcome]:
    """Run tasks on ``jobs`` workers, exclusive ones and those of several ranks alone and last.

    Args:
        ended: called for each when it has ended, while the others go on.
        parts: of each run, by `Task.name`, what no two may compute at the same time; None: nothing.

    Returns:
        How each ended, by `Task.name`.

    Raises:
        Interrupted: SIGINT or SIGTERM; running tasks were given time to checkpoint.
    """
    outcomes: dict[str, Outcome] = {}
    shared, *alone = in_turn(tasks)
    total = len(tasks)
    for batch, width in ((shared, jobs), *((one, 1) for one in alone)):
        if batch:
            count = len(outcomes), total
            pool = _Pool(batch, min(width, len(batch)), count, progress, notify, ended, parts or {})
            outcomes |= pool.run()
    return outcomes


class _Pool:
    def __init__(
        self,
        waiting: list[Task],
        width: int,
        count: tuple[int, int],
        progress: Progress,
        notify: Callable[[str], None],
        ended: Callable[[Task, Outcome], None],
        parts: Mapping[str, frozenset[str]],
    ) -> None:
        self.waiting, (self.before, self.total) = waiting, count
        self.progress, self.notify, self.ended, self.parts = progress, notify, ended, parts
        self.several = len({task.artefact for task in waiting}) > 1
        self.alone = waiting[0].cell.exclusive or waiting[0].cell.ranks > 1
        self.outcomes: dict[str, Outcome] = {}
        self.workers = [_Worker(max(task.cell.ranks for task in waiting)) for _ in range(width)]

    def run(self) -> dict[str, Outcome]:
        previous = signal.signal(signal.SIGTERM, _as_keyboard_interrupt)
        try:
            self._feed()
            while any(w.task for w in self.workers):
                for ready in wait(self._heard()):
                    assert isinstance(ready, Connection)
                    self._receive(ready)
        except KeyboardInterrupt:
            self._interrupt()
            raise Interrupted(
                f"stopped after {self._done()}/{self.total} runs; run the same command to go on"
            ) from None
        finally:
            signal.signal(signal.SIGTERM, previous)
            for worker in self.workers:
                worker.stop()
        return self.outcomes

    def _done(self) -> int:
        return self.before + len(self.outcomes)

    def _feed(self) -> None:
        """Give each idle worker the next run of which no other computes a part, as far as there is one."""
        for worker in list(self.workers):
            if worker.task is not None or worker not in self.workers:
                continue
            busy = {part for other in self.workers if other.task for part in self._parts(other.task)}
            task = next((t for t in self.waiting if not busy & self._parts(t)), None)
            if task is None:
                return
            if not worker.process.is_alive():  # it died while it had nothing to do
                fresh = _Worker()
                self.workers[self.workers.index(worker)] = worker = fresh
            self.waiting.remove(task)
            try:
                worker.give(task)
            except OSError:
                self._replace(worker)

    def _parts(self, task: Task) -> frozenset[str]:
        return self.parts.get(task.name, frozenset())

    def _heard(self) -> list[Connection]:
        """Pipes that something may come from."""
        busy = [w for w in self.workers if w.task]
        return [c for w in busy for c in (w.connection, *(one for one, _ in w.others)) if not c.closed]

    def _receive(self, ready: Connection) -> None:
        worker = next((w for w in self.workers if w.connection is ready), None)
        if worker is None:
            self._lose(ready)
            return
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
            reason = content[0] and (worker.failed_others(1.0) or content[0])
            self._finish(worker, reason, content[1])

    def _lose(self, ready: Connection) -> None:
        """One of the other processes of a run has ended: if it failed, the first one might wait for it forever."""
        worker = next(w for w in self.workers if ready in [connection for connection, _ in w.others])
        if worker.task is None:
            return
        reason = worker.failed_others()
        if reason:
            worker.process.kill()
            self._finish(worker, reason)
        else:
            ready.close()

    def _finish(self, worker: _Worker, reason: str | None, found: str = "") -> None:
        """Say how the task of a worker ended, and with what number; idle workers go on with the next ones."""
        task, worker.task = worker.task, None
        assert task is not None
        if reason is not None:
            for _, process in worker.others:  # they would wait for the first one
                process.kill()
        outcome = Outcome(reason, time.monotonic() - worker.began)
        self.outcomes[task.name] = outcome
        state = f"done{f', {found}' if found else ''}" if reason is None else f"FAILED: {reason}"
        name = task.name if self.several else task.id
        self.notify(f"[{self._done()}/{self.total}] {name} {state} ({outcome.seconds:.0f} s)")
        if self.alone:  # what is made of it would disturb the next one
            self.ended(task, outcome)
        self._feed()
        if not self.alone:
            self.ended(task, outcome)

    def _replace(self, worker: _Worker) -> None:
        """A worker died under its task: the task has failed, a fresh worker takes the next one."""
        worker.process.join(timeout=5)
        how = _how(worker.process)
        if self.waiting:
            self.workers[self.workers.index(worker)] = _Worker()
        self._finish(worker, f"the worker process died ({how}); run again to resume from its checkpoint")

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


def _serve(connection: Connection, environment: Mapping[str, str]) -> None:
    """Main loop of a worker: a run comes in, progress and the end go out."""
    os.environ |= environment
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C reaches the parent, which passes it on
    signal.signal(signal.SIGUSR1, lambda *_: signal.raise_signal(signal.SIGTERM))
    while True:
        try:
            order = connection.recv()
        except (EOFError, OSError):
            return
        if order is None:
            return
        run, label, group = order
        signal.signal(signal.SIGTERM, _as_keyboard_interrupt)
        reason, found = _execute(run, label, group, connection)
        try:
            connection.send(("end", reason, found))
        except OSError:
            return  # the parent is gone; what was finished is in the store


def _follow(connection: Connection, environment: Mapping[str, str]) -> None:
    """What the other processes of a run do: their share of it, and say why they failed if it was by themselves."""
    from pipeline.stages.follow import follow

    os.environ |= environment
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(EOFError, OSError):
        run = connection.recv()
        reason = _reason(lambda: follow(run), run)
        connection.send(reason)


def _reason(body: Callable[[], object], run: RunConfig) -> str | None:
    """The reason of a failure, or None; also where another process of the run has failed, which says why itself."""
    try:
        body()
    except RankLost:
        return None
    except (UserError, OSError) as error:
        return str(error)
    except Exception as error:
        return describe_crash(error, Path(run.results_dir) / "_logs")
    return None


def _execute(run: RunConfig, label: str, group: str, connection: Connection) -> tuple[str | None, str]:
    """Run the stages; the reason of a failure or None, and the number that stands for the run."""
    from pipeline.stages.context import Context
    from pipeline.stages.follow import together
    from pipeline.stages.mirroring import mirror
    from pipeline.stages.report import headline
    from pipeline.stages.run import execute

    say = lambda text: connection.send(("say", text))  # noqa: E731
    try:
        with together(run) as ranks:
            context = Context(run, label=label, group=group, progress=_Forward(connection), notify=say, ranks=ranks)
            output = execute(context, lambda output: mirror(context, output))
        row = headline(output)
        return None, "" if row is None else " = ".join(row.cells()[:2])
    except (UserError, Interrupted, OSError) as error:
        return str(error), ""
    except KeyboardInterrupt:
        return "interrupted", ""
    except Exception as error:
        return describe_crash(error, Path(run.results_dir) / "_logs"), ""
