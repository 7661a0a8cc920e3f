"""Compiled loops on as many threads as torch has, each on a part of the batch.

For loops that release the interpreter lock and treat every member of a batch by itself, whose results therefore do not
depend on the number of threads.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

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
    ends = [part * count // parts for part in range(parts + 1)]
    waiting = [_pool(parts - 1).submit(work, ends[part], ends[part + 1]) for part in range(1, parts)]
    try:
        work(ends[0], ends[1])
    finally:
        for each in waiting:
            each.result()


@functools.cache
def _pool(workers: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(workers, "slices")


if hasattr(os, "register_at_fork"):
    # A child has the pool, but none of its threads.
    os.register_at_fork(after_in_child=_pool.cache_clear)
