"""Processes of the command line that start within milliseconds: children of a server that has imported torch already.

A process that is started from nothing spends three seconds on importing torch; a test of what happens to a process that
is killed starts a dozen. ``multiprocessing`` keeps a server for this (its method ``forkserver``).
"""

from __future__ import annotations

import multiprocessing as mp
import os
import runpy
import signal
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.base.run.children import environments
from reproduce.pool import PRELOADED

_SERVER = mp.get_context("forkserver")


@dataclass
class Finished:
    """How a process ended, with what it wrote."""

    returncode: int
    stdout: str
    stderr: str


class Child:
    """``python -m <module> <words>`` in a process of its own.

    Attributes:
        pid: of the process.
    """

    def __init__(
        self,
        module: str,
        words: Sequence[str],
        environment: Mapping[str, str] | None = None,
        own_group: bool = False,
    ) -> None:
        _SERVER.set_forkserver_preload(PRELOADED)
        self._folder = tempfile.TemporaryDirectory()
        outputs = [str(Path(self._folder.name) / name) for name in ("stdout", "stderr")]
        self._outputs = [Path(path) for path in outputs]
        arguments = (module, list(words), dict(environment or {}), own_group, outputs)
        self._process = _SERVER.Process(target=_body, args=arguments)
        self._process.start()
        assert self._process.pid is not None
        self.pid: int = self._process.pid

    def poll(self) -> int | None:
        """Exit status, negative for a signal; None as long as it runs."""
        return self._process.exitcode

    def written(self) -> int:
        """Characters on both streams so far: more of them, and the process is alive."""
        return sum(path.stat().st_size for path in self._outputs if path.exists())

    def send_signal(self, number: signal.Signals) -> None:
        """Signal the process, once it heeds signals as a command does that is started from a shell."""
        deadline = time.monotonic() + 60
        while not self._outputs[1].exists() and self.poll() is None and time.monotonic() < deadline:
            time.sleep(0.001)
        if self.poll() is None:
            os.kill(self.pid, number)

    def wait(self, timeout: float = 120) -> Finished:
        """Wait for the end.

        Raises:
            TimeoutError: it has not ended within ``timeout`` seconds; it is killed.
        """
        self._process.join(timeout)
        code = self.poll()
        if code is None:
            self._process.kill()
            self._process.join()
        said = [path.read_text() if path.exists() else "" for path in self._outputs]
        if code is None:
            raise TimeoutError(f"still runs after {timeout} s: {said[1][-2000:]}")
        return Finished(code, *said)


def run(module: str, *words: str, **options: Mapping[str, str]) -> Finished:
    """A process from its start to its end."""
    return Child(module, words, **options).wait()  # type: ignore[arg-type]


def start_ranks(processes: int, module: str, words: Sequence[str]) -> list[Child]:
    """As many processes of one run, in the environment that ``torchrun`` gives to those that it starts."""
    return [Child(module, words, environment=rank) for rank in environments(processes)]


def _body(module: str, words: list[str], environment: dict[str, str], own_group: bool, outputs: Sequence[str]) -> None:
    """What the child does: as little else as can be than what ``python -m`` would do."""
    if own_group:
        os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM):  # what ``nohup make test &`` ignores is not for the command
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    # an artefact of the same test run may have begun the server, in a block that keeps SIGINT from its workers
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    for descriptor, path in zip((1, 2), outputs, strict=True):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, descriptor)
        os.close(file)
    sys.stdin = open(os.devnull)  # noqa: SIM115
    sys.stdout, sys.stderr = (os.fdopen(n, "w", buffering=1, closefd=False) for n in (1, 2))
    os.environ |= environment
    sys.argv = [module, *words]
    sys.warnoptions[:] = ["ignore"]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
