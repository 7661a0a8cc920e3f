"""Mirror of metrics in Weights & Biases. It may be absent, fail or hang at any moment: the run goes on without it."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.base.config.nodes import TrackerConfig
from pipeline.base.extras import advice

PENDING = 10_000
"""Lines that wait for W&B to take them; further ones are dropped."""

FINISH_SECONDS = 20.0
"""How long the end of a run waits for W&B: it opens in two seconds or so, and finishes in less than one."""


class Tracker:
    """Logs to one W&B run, through a process of its own and never waiting for it.

    What goes wrong is said once; offline, nobody outside this machine is contacted.

    Args:
        config: mode and project; ``disabled`` starts nothing.
        folder: all W&B files go here (``results/_wandb``).
        group, name, run_id: how the run appears. What was begun under the same id goes on, also where each piece has an
            offline folder of its own; under a sweep of W&B (``wandb agent``) the id is the agent's.
        settings: hyperparameters shown with the run.
        notify: gets the one line about a failure, or about what was dropped.
    """

    def __init__(
        self,
        config: TrackerConfig,
        folder: Path,
        *,
        group: str,
        name: str,
        run_id: str,
        settings: Mapping[str, Any],
        notify: Callable[[str], None],
    ) -> None:
        self._notify = notify
        self._lines: queue.Queue[str | None] = queue.Queue(PENDING)
        self._dropped = 0
        self._process: subprocess.Popen[str] | None = None
        if config.mode == "disabled":
            return
        opening = {
            "project": config.project,
            "mode": config.mode,
            "dir": str(folder),
            "group": group,
            "name": name,
            "id": _agents_id() or run_id,
            "resume": "allow",
            "config": dict(settings),
            "settings": {"init_timeout": FINISH_SECONDS, "console": "off", "x_disable_stats": True},
        }
        self._lines.put(json.dumps(opening, default=str))
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._process = _start(environment(folder, config.mode))
        except OSError as error:
            self._say(str(error))
            return
        self._writer = threading.Thread(target=self._write, args=(self._process,), daemon=True)
        self._writer.start()

    def log(self, stage: str, k: int, metrics: Mapping[str, float]) -> None:
        """Mirror one line of metrics as ``stage/name``, unless too many wait already."""
        if self._process is None:
            return
        if self._process.poll() is not None:
            self._fail(self._process)
            return
        self._put({"log": {f"{stage}/k": k, **{f"{stage}/{name}": value for name, value in metrics.items()}}})

    def summarise(self, summary: Mapping[str, Any], figures: Sequence[Path] = (), files: Sequence[Path] = ()) -> None:
        """Show what the run came to: numbers and words by name, figures and whole files."""
        if self._process is not None:
            self._put({"summary": dict(summary)})
            self._put({"figures": {path.stem: str(path.absolute()) for path in figures}})
            self._put({"files": [str(path.absolute()) for path in files]})

    def _put(self, line: Mapping[str, Any]) -> None:
        try:
            self._lines.put_nowait(json.dumps(line))
        except queue.Full:
            self._dropped += 1

    def close(self) -> None:
        """End the W&B run, within :data:`FINISH_SECONDS`; what does not end is left to itself."""
        process = self._process
        if process is None:
            return
        deadline = time.monotonic() + FINISH_SECONDS
        try:
            self._lines.put(None, timeout=FINISH_SECONDS)
            self._writer.join(max(0.0, deadline - time.monotonic()))
            status = process.wait(max(0.0, deadline - time.monotonic()))
        except (queue.Full, subprocess.TimeoutExpired):
            process.kill()
            process.wait()
            self._process = None
            self._say(f"it did not end within {FINISH_SECONDS:g} s")
            return
        if status:
            self._fail(process)
            return
        self._process = None
        if self._dropped:
            self._notify(f"W&B was too slow for {self._dropped} lines of metrics; they are in metrics.jsonl as always")

    def _write(self, process: subprocess.Popen[str]) -> None:
        """Hand lines over one by one, waiting where the process does not take them; None is the last."""
        assert process.stdin is not None
        try:
            while (line := self._lines.get()) is not None:
                process.stdin.write(line + "\n")
                process.stdin.flush()
        except OSError:  # it has gone, which its exit status tells
            pass
        with contextlib.suppress(OSError):
            process.stdin.close()

    def _fail(self, process: subprocess.Popen[str]) -> None:
        """The process has ended before its time: say why, as far as it could."""
        self._process = None
        assert process.stdout is not None
        self._say(process.stdout.read() or f"its process ended with status {process.returncode}")

    def _say(self, reason: str) -> None:
        if "No module named 'wandb'" in reason:
            reason = f"it is not installed: {advice('wandb')}, or tracker=none"
        self._notify(f"W&B is not available ({reason}); metrics go to metrics.jsonl as always")


def _agents_id() -> str | None:
    """The id that a sweep's agent gave to the run that it started; None outside of a sweep of W&B."""
    return os.environ.get("WANDB_RUN_ID") if os.environ.get("WANDB_SWEEP_ID") else None


def environment(folder: Path, mode: str) -> dict[str, str]:
    """Variables for wandb, which reads them as it is imported: where its files go, and whom it may contact."""
    ours = {f"WANDB_{name}_DIR": str(folder / name.lower()) for name in ("CACHE", "CONFIG", "DATA", "ARTIFACT")}
    ours |= {"WANDB_SILENT": "true", **os.environ}
    if mode == "offline":
        # its reports of errors and its telemetry go out even so
        ours |= {"WANDB_ERROR_REPORTING": "false", "WANDB_MODE": "offline"}
    return ours


def _start(environment: Mapping[str, str]) -> subprocess.Popen[str]:
    """The process, in a session of its own: it ends when its input does, not at the terminal's signals."""
    script = Path(__file__).with_name("mirror.py")
    return subprocess.Popen(
        [sys.executable, "-P", str(script)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=dict(environment),
        encoding="utf-8",
        start_new_session=True,
    )
