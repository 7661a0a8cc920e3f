"""Compiled loops outlive a process, as long as the source stays what it is."""

from __future__ import annotations

import ast
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


def test_the_first_process_and_later_ones_round_alike() -> None:
    """Loops with free order of sums call nothing that would be compiled on its own, see :func:`compiled.njit`."""
    tree = ast.parse((ROOT / "pipeline/gauge/fermions/hopping_loops.py").read_text())
    compiled = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef) and node.decorator_list}
    inlined = {name for name, node in compiled.items() if 'inline="always"' in ast.unparse(node).replace("'", '"')}
    assert len(inlined) >= 5
    for name in compiled.keys() - inlined:
        calls = {
            node.func.id for node in ast.walk(compiled[name]) if isinstance(node, ast.Call) and hasattr(node.func, "id")
        }
        assert calls & compiled.keys() <= inlined, name
