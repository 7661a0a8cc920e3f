"""How far a loop is: a bar on a terminal, a plain line now and then elsewhere, messages from a worker."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from pipeline.base.run.console import say

PLAIN_INTERVAL = 15.0
"""Seconds between plain lines."""


class Progress(Protocol):
    """What the loop reports to."""

    def update(self, label: str, done: int, total: int, metrics: Mapping[str, float]) -> None: ...

    def close(self) -> None: ...


class Silent:
    """Reports nothing."""

    def update(self, label: str, done: int, total: int, metrics: Mapping[str, float]) -> None:
        """Ignore."""

    def close(self) -> None:
        """Nothing to close."""


class Lines:
    """A line at most every :data:`PLAIN_INTERVAL` seconds, and one at the end of a loop."""

    def __init__(self, write: Callable[[str], None] | None = None) -> None:
        self._write = write or say
        self._last = time.monotonic()

    def update(self, label: str, done: int, total: int, metrics: Mapping[str, float]) -> None:
        """Print ``label done/total name=value ...`` when it is time."""
        now = time.monotonic()
        if done == total or now - self._last >= PLAIN_INTERVAL:
            self._last = now
            self._write(f"{label} {done}/{total}{shown(metrics)}")

    def close(self) -> None:
        """Nothing to close."""


class Bar:
    """One rich progress bar a loop."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        columns: tuple[Any, ...] = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[metrics]}"),
        )
        self._progress = RichProgress(*columns, console=Console(stderr=True))
        self._tasks: dict[str, Any] = {}
        self._progress.start()

    def update(self, label: str, done: int, total: int, metrics: Mapping[str, float]) -> None:
        """Move the bar of ``label``."""
        if label not in self._tasks:
            self._tasks[label] = self._progress.add_task(label, total=total, metrics="")
        self._progress.update(self._tasks[label], completed=done, metrics=shown(metrics))

    def close(self) -> None:
        """Stop drawing."""
        self._progress.stop()


def shown(metrics: Mapping[str, float]) -> str:
    """The first three metrics as text."""
    return "".join(f"  {name}={value:.6g}" for name, value in list(metrics.items())[:3])


def make_progress(enabled: bool) -> Progress:
    """Bar on a terminal, lines elsewhere, nothing when disabled."""
    if not enabled:
        return Silent()
    return Bar() if sys.stderr.isatty() else Lines()
