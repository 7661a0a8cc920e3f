"""Processes that share a run: collectives of two and three of them against what one process knows."""

from __future__ import annotations

import pytest
import torch

from pipeline.base.errors import UserError
from pipeline.base.run.ranks import OneProcess, Processes, able, share, shares
from tests.children import start_ranks


@pytest.mark.parametrize("processes", [2, 3])
def test_collectives(processes: int) -> None:
    for done in [process.wait() for process in start_ranks(processes, "tests.base.run.collectives", [])]:
        assert done.returncode == 0, done.stderr


def test_one_process_is_the_trivial_case() -> None:
    ranks = OneProcess()
    rows = torch.arange(3.0)
    assert ranks.broadcast(rows) is ranks.gather(rows) is ranks.reduce(rows) is rows
    assert ranks.all_to_all([rows])[0] is rows
    assert ranks.agree(5) == 5
    assert share(ranks, 7) == slice(0, 7)


@pytest.mark.parametrize("count", [0, 1, 2, 7, 8])
@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_shares_are_a_partition(count: int, size: int) -> None:
    class Some(OneProcess):
        def __init__(self, rank: int) -> None:
            self.rank, self.size = rank, size

    parts = [range(count)[share(Some(rank), count)] for rank in range(size)]
    assert [share(Some(rank), count) for rank in range(size)] == shares(Some(0), count)
    assert able(Some(0), count).size == (size if size <= count else 1)
    assert [row for part in parts for row in part] == list(range(count))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_more_processes_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    with pytest.raises(UserError, match="2 processes of this run on this machine want a GPU each; it has 1"):
        Processes("cuda")
