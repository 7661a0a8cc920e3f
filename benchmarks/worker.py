"""The process of one contender: builds it, then runs it whenever it is told to."""

from __future__ import annotations

import contextlib
import os
import time
import traceback
from importlib import import_module
from multiprocessing.connection import Connection
from typing import Any

from pipeline.base.run.memory import PeakMemory


def serve(pipe: Connection, case: str, size: str, contender: int, threads: int) -> None:
    """Answers every request with a dictionary, ``{"error": ...}`` where something failed.

    Requests: ``build`` → seconds, parameters, multiply_adds; ``run`` → wall and cpu seconds, and those of parts;
    ``peak`` → bytes so far on top of what the process held when the library was imported and nothing built or
    compiled; ``stop`` → nothing.

    Args:
        pipe: requests and answers.
        case, size, contender: which one, see :func:`benchmarks.cases.case`.
        threads: the process is kept on as many cores, since not every library obeys environment variables.
    """
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    answers = _Answers(case, size, contender, threads)
    with contextlib.suppress(EOFError):
        while (request := pipe.recv()) != "stop":
            try:
                pipe.send(getattr(answers, request)())
            except Exception as error:
                traceback.print_exc()
                pipe.send({"error": f"{type(error).__name__}: {error}"})


class _Answers:
    def __init__(self, case: str, size: str, contender: int, threads: int) -> None:
        self._which, self._threads = (case, size, contender), threads

    def build(self) -> dict[str, Any]:
        from benchmarks.cases import case

        name, size, contender = self._which
        begin = time.perf_counter()
        import torch

        torch.set_num_threads(self._threads)
        chosen = case(name, size).contenders[contender]
        import_module(chosen.package)
        self._memory = PeakMemory()
        self._work = chosen.build()
        seconds = time.perf_counter() - begin
        work = self._work
        return {"seconds": seconds, "parameters": work.parameters, "multiply_adds": work.multiply_adds}

    def run(self) -> dict[str, Any]:
        wall, cpu = time.perf_counter(), time.process_time()
        result = self._work.run()
        seconds = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
        return seconds | ({"parts": result} if isinstance(result, dict) else {})

    def peak(self) -> dict[str, Any]:
        return {"bytes": self._memory.bytes()}
