"""Parts of a batch on the threads of the process."""

import threading

import pytest
import torch

from pipeline.base.run.slices import in_slices


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("count", [0, 1, 5, 8, 31])
def test_every_member_belongs_to_one_part(threads: int, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    parts = []
    in_slices(count, 4, lambda first, last: parts.append((first, last)))
    assert sorted(x for first, last in parts for x in range(first, last)) == list(range(count))
    assert len(parts) == max(1, min(threads, count // 4))
    assert len(parts) == 1 or min(last - first for first, last in parts) >= 4


def test_parts_run_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    both = threading.Barrier(2)
    in_slices(2, 1, lambda first, last: both.wait(10))


@pytest.mark.parametrize("broken", [0, 1])
def test_errors_reach_the_caller(broken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)

    def work(first: int, last: int) -> None:
        if first == broken:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        in_slices(2, 1, work)
