"""The one loop: progress, metrics, checkpoints, resume, NaN guard, early stop and time limit live here alone.

It drives training steps, units of inference and Monte Carlo baselines alike. ``progress.json`` in the working folder
is the commit point: it names the state and record files that belong together, and is replaced atomically.
"""

from __future__ import annotations

import json
import math
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from pipeline.base.contracts import State
from pipeline.base.errors import Interrupted, NonFiniteError, TimeLimit
from pipeline.base.run.progress import Progress, Silent
from pipeline.base.run.ranks import OneProcess, Ranks
from pipeline.base.run.terminal import heeded
from pipeline.base.run.tracking import Tracker
from pipeline.base.store.commit import begin_anew, commit, load_state, read_progress, save_state
from pipeline.base.store.files import copy_tree, sha256
from pipeline.base.store.formats import state_name
from pipeline.base.store.records import save_records

MOST_PENDING_BYTES = 2**26
"""Arrays of records held in memory before they are written with a checkpoint, however short ago the last one was."""


SIGNAL, TIME, LAST = 1, 2, 4
"""Reasons to end a loop after a unit, on which all ranks agree."""


@dataclass(frozen=True)
class Outcome:
    """How a loop ended: units done, why it stopped before the last one (or None), seconds of compute."""

    done: int
    stopped: str | None
    seconds: float


@dataclass
class LoopSettings:
    """What the loop needs besides the physics; nothing in here can change a number.

    Attributes:
        checkpoint_seconds: wall-clock time between checkpoints.
        time_limit_seconds: checkpoint and stop after this long in one loop.
        label: shown in progress messages.
        ranks: who shares the units; this process is the first of them (see :func:`follow` for the others).
    """

    checkpoint_seconds: float = 60.0
    time_limit_seconds: float | None = None
    label: str = ""
    progress: Progress = field(default_factory=Silent)
    tracker: Tracker | None = None
    notify: Callable[[str], None] = print
    ranks: Ranks = field(default_factory=OneProcess)


class Loop:
    """Loops of one stage, run one after the other in ``folder``; a finished loop is skipped on resume.

    Args:
        folder: the stage's ``.partial`` folder.
        state: object that the bodies change in place; restored here when there is a checkpoint.
        settings: see :class:`LoopSettings`.
    """

    def __init__(self, folder: Path, state: State, settings: LoopSettings) -> None:
        self.folder, self.state, self.settings = folder, state, settings
        self._progress = read_progress(folder, settings.notify)
        if self._progress["state"]:
            self._restore(self._progress["state"])
        self._restore_threads()

    def run(
        self,
        name: str,
        body: Callable[[Any, int], Mapping[str, Any]],
        count: int,
        *,
        keep_records: bool = False,
        snapshots: Iterable[int] = (),
        converged: Callable[[Any], str | None] | None = None,
    ) -> Outcome:
        """Call ``body(state, k)`` for k = done .. count-1 and return how it ended.

        Args:
            name: of this loop within the stage; prefix of its lines in ``metrics.jsonl``.
            body: returns metrics, or a record with ``keep_records`` (its scalars are logged as metrics).
            count: number of units.
            keep_records: store what ``body`` returns in ``records-*.npz``.
            snapshots: numbers of finished units after which the full state is kept for good.
            converged: reason to stop early, asked after each unit.

        Raises:
            NonFiniteError: NaN or infinity in the metrics; the last checkpoint stays.
            Interrupted: SIGINT, SIGTERM or a user's signal, after a checkpoint.
            TimeLimit: the time limit, after a checkpoint.
        """
        if name in self._progress["finished"]:
            return Outcome(**self._progress["finished"][name])
        run = _Run(self, name, count, keep_records, set(snapshots))
        with _signals() as interrupted:
            run.keep_snapshot()
            if converged and run.done:
                # a checkpoint may have been written after the rule fired and before the loop was marked finished
                run.stopped = converged(self.state)
            if run.done < count and run.stopped is None:
                self._call_the_others(name, run.done)
            while run.done < count and run.stopped is None:
                began = time.perf_counter()
                values = body(self.state, run.done)
                run.seconds += time.perf_counter() - began
                run.accept(values)
                run.stopped = converged(self.state) if converged else None
                run.keep_snapshot()
                reasons = self.settings.ranks.agree(run.reasons(bool(interrupted)))
                if reasons & SIGNAL:
                    run.checkpoint()
                    said = f"{self.settings.label} {name}: stopped after {run.done}/{count}; run again to go on"
                    raise Interrupted(said, next(iter(interrupted), None))
                if reasons & TIME:
                    run.checkpoint()
                    limit = self.settings.time_limit_seconds
                    raise TimeLimit(f"{self.settings.label} {name}: time limit of {limit:g} s after {run.done}/{count}")
                if run.checkpoint_due():
                    run.checkpoint()
            outcome = run.finish()
        return outcome

    def _call_the_others(self, name: str, done: int) -> None:
        """Tell the other ranks what is done from which unit on, and from which state."""
        ranks = self.settings.ranks
        if ranks.size > 1:
            ranks.broadcast((name, done, self.state.state_dict()))

    def _restore(self, name: str) -> None:
        """Take over a checkpoint; one that does not fit the state (another network's) is damage like any other."""
        untouched = copy_tree(self.state.state_dict())
        try:
            self.state.load_state_dict(load_state(self.folder, name))
        except MemoryError:
            raise
        except Exception as error:  # whatever the parts of a state raise at what is not theirs
            self.state.load_state_dict(untouched)
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            self._progress = begin_anew(self.folder, self.settings.notify, f"{name} does not fit: {reason}")

    def _restore_threads(self) -> None:
        """A resumed run takes the thread count it began with: 1 and 2 threads differ in the last bit."""
        import sys

        torch = sys.modules.get("torch")
        if torch is None:
            return
        if self._progress["threads"] is None:
            self._progress["threads"] = torch.get_num_threads()
        torch.set_num_threads(self._progress["threads"])


class _Run:
    """Book-keeping of one loop in flight."""

    def __init__(self, loop: Loop, name: str, count: int, keep_records: bool, snapshots: set[int]) -> None:
        self.loop, self.name, self.count = loop, name, count
        self.keep_records, self.snapshots = keep_records, snapshots
        current = loop._progress["current"].get(name, {"done": 0, "seconds": 0.0})
        self.done: int = current["done"]
        self.seconds: float = current["seconds"]
        self.stopped: str | None = None
        self.pending: list[dict[str, Any]] = []
        self.pending_bytes = 0
        self.began = self.last_checkpoint = time.monotonic()
        self.metrics_file = open(loop.folder / "metrics.jsonl", "a")  # noqa: SIM115 - open as long as the loop runs

    def accept(self, values: Mapping[str, Any]) -> None:
        """Check, log and keep what the body returned; one more unit is done."""
        scalars = {k: float(v) for k, v in values.items() if isinstance(v, int | float) and not isinstance(v, bool)}
        for metric, value in scalars.items():
            if not math.isfinite(value):
                self.metrics_file.close()
                raise NonFiniteError(
                    f"{self.loop.settings.label} {self.name}: {metric} is {value} at unit {self.done}; "
                    "everything up to the last checkpoint is kept"
                )
        line = {"loop": self.name, "k": self.done, "seconds": self.seconds, **scalars}
        self.metrics_file.write(json.dumps(line) + "\n")
        if self.keep_records:
            self.pending.append(dict(values))
            self.pending_bytes += sum(getattr(value, "nbytes", 0) for value in values.values())
        if self.loop.settings.tracker is not None:
            self.loop.settings.tracker.log(self.name, self.done, scalars)
        self.done += 1
        label = f"{self.loop.settings.label} {self.name}".strip()
        self.loop.settings.progress.update(label, self.done, self.count, scalars)

    def keep_snapshot(self) -> None:
        """Keep the full state of this step, if it was asked for."""
        path = self.loop.folder / state_name(self.done)
        if self.done in self.snapshots and not path.exists():
            save_state(self.loop.folder, path.name, self.loop.state.state_dict())

    def reasons(self, interrupted: bool) -> int:
        """Why this rank would end the loop now."""
        if self.stopped is not None:
            return LAST
        limit = self.loop.settings.time_limit_seconds
        out_of_time = limit is not None and time.monotonic() - self.began >= limit
        last = self.done == self.count
        return SIGNAL * interrupted | TIME * (out_of_time and not last) | LAST * last

    def checkpoint_due(self) -> bool:
        overdue = time.monotonic() - self.last_checkpoint >= self.loop.settings.checkpoint_seconds
        return overdue or self.pending_bytes >= MOST_PENDING_BYTES

    def checkpoint(self) -> None:
        """State, records and metrics to disk; then the commit point; then what is no longer needed goes."""
        progress, folder = self.loop._progress, self.loop.folder
        self.metrics_file.flush()
        if self.pending:
            name = f"records-{self.name}-{self.done - len(self.pending):08d}.npz"
            save_records(folder / name, self.pending)
            progress["records"][name] = sha256(folder / name)
            self.pending, self.pending_bytes = [], 0
        state = f"checkpoint-{self.name}-{self.done:08d}.safetensors"
        save_state(folder, state, self.loop.state.state_dict())
        progress["state"], progress["state_sha256"] = state, sha256(folder / state)
        progress["current"][self.name] = {"done": self.done, "seconds": self.seconds}
        commit(folder, progress)
        for path in folder.glob("checkpoint-*.safetensors"):
            if path.name != state:
                path.unlink()
        self.last_checkpoint = time.monotonic()

    def finish(self) -> Outcome:
        """Last checkpoint; the loop is marked finished."""
        outcome = Outcome(self.done, self.stopped, self.seconds)
        self.loop._progress["finished"][self.name] = vars(outcome)
        self.checkpoint()
        self.metrics_file.close()
        return outcome


def follow(ranks: Ranks, state: State, bodies: Mapping[str, Callable[[Any, int], object]]) -> None:
    """What every rank but the first does: its share of the units of each loop, until the first says that all is over.

    Args:
        ranks: this rank is not 0.
        state: like that of the first rank, which sends what is in it.
        bodies: of the loops, by name.
    """
    while (order := ranks.broadcast(None)) is not None:
        name, k, tree = order
        state.load_state_dict(tree)
        with _signals(pass_on=False) as interrupted:  # the first rank heard of it, and says when all is over
            reasons = 0
            while not reasons:
                bodies[name](state, k)
                reasons, k = ranks.agree(SIGNAL * bool(interrupted)), k + 1


@contextmanager
def _signals(pass_on: bool = True) -> Iterator[list[int]]:
    """Collect the signals that end a command so that the loop can stop between units; a second one stops at once.

    One that comes when the loop is over is passed on to whoever heeded signals before, if ``pass_on``.
    """
    seen: list[int] = []

    def handler(number: int, frame: FrameType | None) -> None:
        if seen:
            raise KeyboardInterrupt
        seen.append(number)

    try:
        # what is ignored stays ignored: a worker leaves the terminal's SIGINT to its parent, which passes it on
        previous = {number: signal.signal(number, handler) for number in heeded()}
    except ValueError:  # not in the main thread: signals go elsewhere
        yield seen
        return
    try:
        yield seen
    finally:
        for number, old in previous.items():
            signal.signal(number, old)
    if seen and pass_on:
        signal.raise_signal(seen[0])
