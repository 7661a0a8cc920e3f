"""Floors and rooms of the house: who may import whom, read from the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FLOORS = (
    ("pipeline.base",),
    ("pipeline.spin", "pipeline.gauge"),
    ("pipeline.analysis",),
    ("pipeline.stages",),
    ("pipeline.__main__", "reproduce", "benchmarks", "nqs"),
)
"""From the ground up; what stands on one floor does not know its neighbour."""

Imports = Mapping[str, set[str]]


def modules(root: Path, packages: tuple[str, ...] = ("pipeline", "reproduce", "benchmarks", "nqs")) -> dict[str, Path]:
    """Files by module name; a package is its ``__init__``."""
    found = {}
    for path in (path for package in packages for path in (root / package).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(source: str, known: Mapping[str, Path]) -> Iterator[str]:
    """Modules of ours that a file names in any import: at its top, inside functions, for type checkers alone."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                if name in known:
                    yield name
                elif node.module in known:
                    yield node.module


def imports(root: Path) -> Imports:
    """What each module imports."""
    known = modules(root)
    return {name: set(imported(path.read_text(encoding="utf-8"), known)) - {name} for name, path in known.items()}


def floor(module: str) -> tuple[int, str] | None:
    """Height of a module, and the building on that floor that it stands in."""
    for height, buildings in enumerate(FLOORS):
        for building in buildings:
            if module == building or module.startswith(building + "."):
                return height, building
    return None


def upward(graph: Imports) -> list[str]:
    """Imports of a higher floor, or of another building on the same one."""
    found = []
    for module, others in graph.items():
        for other in others:
            here, there = floor(module), floor(other)
            if here and there and (there[0] > here[0] or (there[0] == here[0] and there[1] != here[1])):
                found.append(f"{module} imports {other}")
    return sorted(found)


def room(module: str) -> str:
    """A folder of a building, or a file beside the folders: ``pipeline.spin.vmc``, ``pipeline.spin.terms``."""
    return ".".join(module.split(".")[:3])


def rooms(graph: Imports) -> Imports:
    """What each room imports."""
    found: dict[str, set[str]] = {}
    for module, others in graph.items():
        found.setdefault(room(module), set()).update(room(other) for other in others)
    return {name: others - {name} for name, others in found.items()}


def circle(graph: Imports) -> list[str] | None:
    """A circle of imports, or None."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        found: list[str] = error.args[1]
        return found
    return None


def test_nothing_is_imported_upward() -> None:
    assert upward(imports(ROOT)) == []


def test_no_circle_of_files() -> None:
    assert circle(imports(ROOT)) is None


def test_no_circle_of_rooms() -> None:
    graph = rooms({name: others for name, others in imports(ROOT).items() if name.startswith("pipeline.")})
    assert circle(graph) is None


def test_files_are_read_as_they_import(tmp_path: Path) -> None:
    files = {
        "pipeline/__init__.py": "",
        "pipeline/base/__init__.py": "",
        "pipeline/base/one.py": "def f():\n    from pipeline.spin import two\n",
        "pipeline/spin/__init__.py": "",
        "pipeline/spin/two.py": (
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from pipeline.spin.three import A\n"
        ),
        "pipeline/spin/three.py": "import pipeline.spin.two\nclass A: ...\n",
        "pipeline/gauge/__init__.py": "",
        "pipeline/gauge/four.py": "import pipeline.spin.two\n",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    graph = imports(tmp_path)
    assert upward(graph) == [
        "pipeline.base.one imports pipeline.spin.two",
        "pipeline.gauge.four imports pipeline.spin.two",
    ]
    assert set(circle(graph) or []) == {"pipeline.spin.two", "pipeline.spin.three"}


def test_no_file_is_longer_than_one_idea() -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in modules(ROOT).values()}
    assert {path.name: length for path, length in lengths.items() if length > 400} == {}
