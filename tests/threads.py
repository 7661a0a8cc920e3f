"""Ranks as threads of one process: what distributed code computes, within milliseconds.

One of them works at a time, from one collective to the next: not all of torch may be used by several threads.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import reduce
from operator import or_
from threading import Barrier, BrokenBarrierError, Lock
from typing import Any, TypeVar

import torch
from torch import Tensor

Found = TypeVar("Found")


class Threads:
    """One of several threads (see :class:`pipeline.base.run.ranks.Ranks`); what is sent are copies, as of processes.

    Attributes:
        sent: bytes given to the others in ``all_to_all``.
    """

    def __init__(self, rank: int, barrier: Barrier, turn: Lock, slots: list[Any]) -> None:
        self.rank, self.size = rank, len(slots)
        self._barrier, self._turn, self._slots = barrier, turn, slots
        self.sent = 0

    def _exchange(self, value: Any) -> list[Any]:
        self._slots[self.rank] = value
        self._turn.release()
        try:
            self._barrier.wait(60)
            found = list(self._slots)
            self._barrier.wait(60)
        finally:
            self._turn.acquire()
        return found

    def broadcast(self, value: Any) -> Any:
        return self._exchange(value)[0]

    def gather(self, rows: Tensor) -> Tensor:
        return torch.cat(self._exchange(rows.clone()))

    def reduce(self, values: Tensor) -> Tensor:
        return torch.stack(self._exchange(values.clone())).sum(0)

    def all_to_all(self, pieces: list[Tensor]) -> list[Tensor]:
        assert len(pieces) == self.size
        assert len({piece.shape for row in self._exchange(pieces) for piece in row}) == 1
        self.sent += sum(p.numel() * p.element_size() for j, p in enumerate(pieces) if j != self.rank)
        return [row[self.rank] for row in self._exchange([piece.clone() for piece in pieces])]

    def agree(self, reasons: int) -> int:
        return reduce(or_, self._exchange(reasons))

    def barrier(self) -> None:
        self._exchange(None)


def in_threads(size: int, body: Callable[[Threads], Found]) -> list[Found]:
    """What ``body`` returns on every rank, in their order; the first error of any of them is raised."""
    barrier, turn, slots = Barrier(size), Lock(), [None] * size

    def guarded(rank: int) -> Found:
        with turn:
            try:
                return body(Threads(rank, barrier, turn, slots))
            except BaseException:
                barrier.abort()
                raise

    with ThreadPoolExecutor(size) as pool:
        ended = [pool.submit(guarded, rank) for rank in range(size)]
    errors = [error for one in ended if (error := one.exception()) is not None]
    for error in sorted(errors, key=lambda error: isinstance(error, BrokenBarrierError)):
        raise error
    return [one.result() for one in ended]
