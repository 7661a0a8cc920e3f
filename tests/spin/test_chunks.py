"""Sizes of chunks from what evaluations take."""

from __future__ import annotations

import torch

from pipeline.spin.chunks import Chunks

KIB = 2**-20
"""GiB."""


def sizes(count: int, made_once: int, budget: float, single: bool) -> list[int]:
    """Chunks of ``count`` items of 1 KiB each, beside tensors of ``made_once`` KiB that all of them share."""
    begun: list[int] = []

    def evaluate(rows: int) -> torch.Tensor:
        return torch.zeros(made_once, 256).sum() + torch.zeros(rows, 256)[:, 0]

    def body(begin: int, size: int) -> int:
        begun.append(min(size, count - begin))
        return begin + begun[-1]

    one = (lambda: evaluate(1)) if single else None
    Chunks(budget * KIB).run("work", count, body, lambda: evaluate(2), 2, gradients=True, single=one)
    return begun


def test_what_is_made_once_counts_once() -> None:
    """Of 100 KiB, 60 go to the shared tensor; rows take their 1 KiB and the few bytes of their sum."""
    assert sizes(45, 60, 100, single=True) == [39, 6]
    assert sizes(9, 60, 100, single=False) == [3, 3, 3]
    assert sizes(100, 0, 50, single=True) == sizes(100, 0, 50, single=False)


def test_shared_tensors_beyond_the_budget_leave_one_at_a_time() -> None:
    assert sizes(3, 200, 100, single=True) == [1, 1, 1]
