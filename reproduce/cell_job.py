"""What a batch job does: the runs of a cell, one after the other, and on after its time limit."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import FrameType, TracebackType
from typing import Any

from pipeline.stages.limit import LIMIT, LimitOfJob

STOPPED = "the job was stopped; run the same command to go on"
LIMITED = "the job met its time limit; run the same command to go on"


@dataclass(frozen=True)
class CellJob:
    """Runs of a cell, for submitit to keep and call.

    Attributes:
        commands: words that start each run, by its name. What is finished by then takes a moment.
    """

    commands: Mapping[str, Sequence[str]]

    def __call__(self) -> dict[str, str]:
        """Reasons of runs that did not end well, by name; submitit queues the job again where it met its limit."""
        reasons: dict[str, str] = {}
        with _Relay() as relay:
            for name, words in self.commands.items():
                reason = relay.run(words) if not relay.received else STOPPED
                if reason:
                    reasons[name] = reason
        if relay.limit.met(relay.received):
            relay.limit.queue_again()
            return dict.fromkeys(reasons, LIMITED)
        return reasons

    def checkpoint(self) -> Any:
        """What submitit queues again: the same job, since each run has its own checkpoints."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


class _Relay:
    """Signals of the batch system passed on to the run that is at work, which then writes a checkpoint."""

    def __init__(self) -> None:
        self.received: list[int] = []
        self.limit = LimitOfJob()
        self._process: subprocess.Popen[str] | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> _Relay:
        for number in (signal.SIGTERM, signal.SIGUSR1, LIMIT):
            self._previous[number] = signal.signal(number, self._heed)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _heed(self, number: int, frame: FrameType | None) -> None:
        self.received.append(number)
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def run(self, words: Sequence[str]) -> str:
        """Why a command did not end well; empty where it did. What it says goes to the log of the job too."""
        print("$ " + " ".join(words[1:]), flush=True)
        said: list[str] = []
        with subprocess.Popen(words, stderr=subprocess.PIPE, text=True, errors="replace") as self._process:
            if self.received:  # it came before there was anybody to pass it on to
                self._process.send_signal(signal.SIGTERM)
            assert self._process.stderr is not None
            for line in self._process.stderr:
                sys.stderr.write(line)
                said = [*said[-50:], line.strip()]
        status, self._process = self._process.returncode, None
        if self.received:
            return STOPPED
        return _reason(status, said) if status else ""


def _reason(status: int, said: Sequence[str]) -> str:
    """The line of a command that says why it has failed: torchrun adds many of its own."""
    lines = [line for line in said if line]
    errors = [line for line in lines if line.startswith(("error:", "rank "))]
    how = f"signal {-status}" if status < 0 else f"exit status {status}"
    return (errors or lines or [how])[-1].removeprefix("error: ")
