"""Runs the contenders of a case in turns, each in its own process."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

from benchmarks.cases import case
from benchmarks.contract import Contender
from benchmarks.worker import serve


@dataclass
class Row:
    """What was measured of one contender.

    Attributes:
        name, package: see :class:`benchmarks.contract.Contender`.
        version: of the package; empty where it is not installed.
        status: ``ok``, ``not installed`` or why it failed.
        parameters, multiply_adds: see :class:`benchmarks.contract.Work`.
        setup: seconds of imports and construction.
        wall, cpu: seconds of each run, the cold one first.
        parts: wall seconds of the parts of each run, where it has any.
        peak: bytes that building, compiling and all runs needed on top of what the process held after its imports.
    """

    name: str
    package: str
    version: str
    status: str
    parameters: int | None = None
    multiply_adds: int | None = None
    setup: float | None = None
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    parts: list[dict[str, float]] = field(default_factory=list)
    peak: int | None = None

    def warm(self, clock: str) -> float | None:
        """Median over the warm runs; ``clock``: wall or cpu."""
        runs: list[float] = getattr(self, clock)[1:]
        return statistics.median(runs) if runs else None

    def part(self, name: str) -> float | None:
        """Median seconds of a part over the warm runs."""
        runs = [parts[name] for parts in self.parts[1:] if name in parts]
        return statistics.median(runs) if runs else None

    def spread(self, clock: str) -> float | None:
        """Largest minus smallest of the warm runs' middle half."""
        runs: list[float] = getattr(self, clock)[1:]
        if len(runs) < 2:
            return None
        low, _, high = statistics.quantiles(runs, n=4, method="inclusive")
        return high - low

    def ratio(self, first: Row, clock: str) -> float | None:
        """Time of this contender over that of ``first``: median of the ratios of each round.

        Load that comes and goes hits both runs of a round alike.
        """
        pairs = list(zip(getattr(self, clock)[1:], getattr(first, clock)[1:], strict=False))
        return statistics.median(mine / its for mine, its in pairs) if pairs and all(b for _, b in pairs) else None


def measure(name: str, size: str, repeats: int, threads: int) -> list[Row]:
    """One cold run of every contender, then ``repeats`` rounds in which each runs once.

    Args:
        name, size: see :func:`benchmarks.cases.case`.
        repeats: warm rounds.
        threads: of every contender.
    """
    contenders = case(name, size).contenders
    rows = [_row(contender) for contender in contenders]
    with contextlib.ExitStack() as stack:
        processes: list[tuple[Row, _Process]] = []
        for number, row in enumerate(rows):
            if row.status == "ok":
                process = stack.enter_context(_process(name, size, number, threads))
                processes.append((row, process))
                built = process.ask(row, "build")
                row.setup, row.parameters = built.get("seconds"), built.get("parameters")
                row.multiply_adds = built.get("multiply_adds")
        for _ in range(1 + repeats):
            for row, process in processes:
                if row.status == "ok":
                    seconds = process.ask(row, "run")
                    for clock in ("wall", "cpu"):
                        getattr(row, clock).extend([seconds[clock]] if clock in seconds else [])
                    row.parts.extend([seconds["parts"]] if "parts" in seconds else [])
            processes = processes[1:] + processes[:1]
        for row, process in processes:
            if row.status == "ok":
                row.peak = process.ask(row, "peak").get("bytes")
    return rows


def _row(contender: Contender) -> Row:
    try:
        return Row(contender.name, contender.package, metadata.version(contender.package), "ok")
    except metadata.PackageNotFoundError:
        return Row(contender.name, contender.package, "", "not installed")


class _Process:
    def __init__(self, pipe: Any) -> None:
        self._pipe = pipe

    def ask(self, row: Row, request: str) -> dict[str, Any]:
        """The answer; a failure is noted in ``row``."""
        try:
            self._pipe.send(request)
            answer: dict[str, Any] = self._pipe.recv()
        except (EOFError, OSError):
            answer = {"error": "the process died"}
        if "error" in answer:
            row.status = f"failed: {answer['error']}"
        return answer


@contextlib.contextmanager
def _process(name: str, size: str, contender: int, threads: int) -> Iterator[_Process]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    child = context.Process(target=serve, args=(theirs, name, size, contender, threads), daemon=True)
    with _environment(threads):
        child.start()
    theirs.close()
    try:
        yield _Process(ours)
    finally:
        with contextlib.suppress(OSError):
            ours.send("stop")
        child.join(10)
        child.kill()


@contextlib.contextmanager
def _environment(threads: int) -> Iterator[None]:
    """Variables that the libraries read when they are imported."""
    wanted = {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    wanted |= {"JAX_PLATFORMS": "cpu", "NUMBA_NUM_THREADS": str(threads)}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
