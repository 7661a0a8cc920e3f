"""Compiled loops on as many threads as torch has, each on a part of the batch.

For loops that release the interpreter lock and treat every member of a batch by itself, whose results therefore do not
depend on the number of threads. The threads are those of torch's own operations where they can be had (OpenMP): these
keep their cores busy for some time with waiting for the next operation, so that other threads would get half of them.
"""

from __future__ import annotations

import ctypes
import functools
import os
import queue
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch


def in_slices(count: int, least: int, work: Callable[[int, int], object]) -> None:
    """``work(first, last)`` of parts of 0, 1, ..., ``count`` - 1 that are as equal as can be; the caller takes one.

    Args:
        count: members of a batch.
        least: of them in a part, but for a batch with fewer.
        work: of the members from ``first`` up to but without ``last``.
    """
    parts = max(1, min(torch.get_num_threads(), count // least))
    if parts == 1:
        work(0, count)
        return
    waiting: queue.SimpleQueue[tuple[int, int]] = queue.SimpleQueue()
    for part in range(parts):
        waiting.put((part * count // parts, (part + 1) * count // parts))
    errors: list[BaseException] = []

    def take_all(_: object = None) -> None:
        # However many threads there turn out to be, nothing is left over.
        while True:
            try:
                first, last = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                work(first, last)
            except BaseException as error:  # of the caller, whichever thread it is in
                errors.append(error)

    openmp = _openmp() if os.getpid() == _PROCESS else None
    if openmp is not None:
        openmp(_FUNCTION(take_all), None, parts, 0)
    else:
        others = [_pool(parts - 1).submit(take_all) for _ in range(1, parts)]
        take_all()
        for other in others:
            other.result()
    if errors:
        raise errors[0]


_PROCESS = os.getpid()
"""A child that was forked has none of the threads."""

_FUNCTION = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


@functools.cache
def _openmp() -> Callable[..., None] | None:
    """What calls a function in several of the threads of torch: where torch is built so, and OpenMP has GNU's entry."""
    try:
        library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"))
        together = library.GOMP_parallel
    except (OSError, AttributeError):
        return None
    together.argtypes, together.restype = (_FUNCTION, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint), None
    found: Callable[..., None] = together
    return found


@functools.cache
def _pool(workers: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(workers, "slices")


if hasattr(os, "register_at_fork"):
    # A child has the pool, but none of its threads.
    os.register_at_fork(after_in_child=_pool.cache_clear)
