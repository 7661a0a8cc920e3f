"""Processes that share a run: collectives of two and three of them against what one process knows."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pipeline.base.run.ranks import OneProcess, share

ROOT = Path(__file__).resolve().parents[3]

BODY = """
import torch
from pipeline.base.run import ranks as r

ranks = r.Processes("cpu")
n = ranks.rank
tree = ranks.broadcast({"a": [torch.arange(3), None], "b": 2.5} if n == 0 else None)
assert tree["b"] == 2.5 and tree["a"][0].tolist() == [0, 1, 2]
for dtype in (torch.float64, torch.float32, torch.int8, torch.int64, torch.bool, torch.complex128):
    everything = torch.arange(7 * 2).reshape(7, 2).to(dtype)
    mine = everything[r.share(ranks, 7)]
    found = ranks.gather(mine)
    assert found.dtype == dtype and torch.equal(found, everything), dtype
uneven = torch.cat([torch.full((k,), float(k)) for k in range(ranks.size)])
assert torch.equal(ranks.gather(torch.full((n, 1), float(n)))[:, 0], uneven)
value = torch.tensor([0.1 * (n + 1), 1.0], dtype=torch.float64)
total = torch.tensor([0.1 * ranks.size * (ranks.size + 1) / 2, float(ranks.size)], dtype=torch.float64)
assert torch.allclose(ranks.reduce(value), total)
assert value[0] == 0.1 * (n + 1)
assert ranks.reduce(torch.tensor([1j * n])).item() == 1j * sum(range(ranks.size))
back = ranks.all_to_all([torch.tensor([10 * n + j, -1]) for j in range(ranks.size)])
assert [int(piece[0]) for piece in back] == [10 * i + n for i in range(ranks.size)]
assert ranks.agree(1 << n) == 2**ranks.size - 1
assert ranks.agree(0) == 0
ranks.barrier()
r.close()
from pathlib import Path
Path(f"fine {n}").touch()
"""


def torchrun(processes: int, *words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """``torchrun`` of as many processes on this machine."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240)


@pytest.mark.parametrize("processes", [2, 3])
def test_collectives(processes: int, tmp_path: Path) -> None:
    script = tmp_path / "collectives.py"
    script.write_text(BODY)
    done = torchrun(processes, str(script), folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in tmp_path.glob("fine*")) == [f"fine {n}" for n in range(processes)]


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
    assert [row for part in parts for row in part] == list(range(count))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
