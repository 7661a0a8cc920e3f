"""Compiled loops outlive a process, as long as the source stays what it is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
BODY = """
from pipeline.spin.exact.worldlines import pick
assert pick(2**63, 10) == 5
print(sum(pick.stats.cache_hits.values()), sum(pick.stats.cache_misses.values()))
"""


def counts(home: Path, **environment: str) -> list[int]:
    """Hits and misses of the cache in a new process."""
    variables = {**os.environ, "XDG_CACHE_HOME": str(home), "PYTHONPATH": str(ROOT), **environment}
    done = subprocess.run([sys.executable, "-c", BODY], env=variables, capture_output=True, text=True, check=True)
    return [int(number) for number in done.stdout.split()]


def test_the_second_process_compiles_nothing(tmp_path: Path) -> None:
    assert counts(tmp_path) == [0, 1]
    assert counts(tmp_path) == [1, 0]
    (folder,) = (tmp_path / "neural-quantum-states" / "numba").iterdir()
    folder.rename(folder.with_name("another-source"))
    assert counts(tmp_path) == [0, 1]


def test_where_nothing_can_be_written_loops_are_compiled_every_time(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert [counts(tmp_path / "file")[0] for _ in range(2)] == [0, 0]
