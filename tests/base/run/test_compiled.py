"""Compiled loops outlive a process, as long as the source stays what it is."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.base.run import compiled

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
    (folder,) = (tmp_path / "neural-quantum-states" / "numba" / "worldlines").iterdir()
    folder.rename(folder.with_name("another-source"))
    assert counts(tmp_path) == [0, 1]


def test_where_nothing_can_be_written_loops_are_compiled_every_time(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert [counts(tmp_path / "file")[0] for _ in range(2)] == [0, 0]


def test_only_what_a_file_imports_makes_its_loops_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(compiled, "ROOT", tmp_path)
    files = {
        "loops": "from pipeline.spin.exact import deep\nfrom pipeline.base.near import a\n",
        "spin/exact/deep": "import pipeline.base.far\n",
        "base/near": "a = 1\n",
        "base/far": "from pipeline.loops import x\n",
        "base/other": "a = 1\n",
    }
    for name, text in files.items():
        path = tmp_path / "pipeline" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    seen = []
    for name in ("base/other", "loops", "spin/exact/deep", "base/near", "base/far"):
        compiled.folder.cache_clear()
        seen.append(compiled.folder(tmp_path / "pipeline/loops.py"))
        (tmp_path / "pipeline" / f"{name}.py").write_text(files[name] + "b = 2\n")
    compiled.folder.cache_clear()
    assert seen[0] == seen[1]
    assert len({*seen, compiled.folder(tmp_path / "pipeline/loops.py")}) == 5
    compiled.folder.cache_clear()


def test_the_first_process_and_later_ones_round_alike() -> None:
    """Loops with free order of sums call nothing that would be compiled on its own, see :func:`compiled.njit`."""
    tree = ast.parse((ROOT / "pipeline/gauge/fermions/hopping_loops.py").read_text())
    loops = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef) and node.decorator_list}
    inlined = {name for name, node in loops.items() if 'inline="always"' in ast.unparse(node).replace("'", '"')}
    assert len(inlined) >= 5
    for name in loops.keys() - inlined:
        calls = {
            node.func.id for node in ast.walk(loops[name]) if isinstance(node, ast.Call) and hasattr(node.func, "id")
        }
        assert calls & loops.keys() <= inlined, name
