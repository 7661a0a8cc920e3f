"""Loops compiled by numba, kept on disk for the next process that runs the same source."""

from __future__ import annotations

import ast
import functools
import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numba

from pipeline.base.cache import folder_of
from pipeline.base.places import ROOT


def njit(*arguments: Any, **options: Any) -> Any:
    """``numba.njit`` whose result outlives the process; for functions that are no closures over other compiled ones.

    With ``fastmath``, what a function calls must be of ``inline="always"``: a function that comes from the disk brings
    its own copy of what it calls, which may have been optimised in another way than the one that a fresh process uses.
    """
    if arguments:
        return _compiled(arguments[0], options)
    return lambda function: _compiled(function, options)


def _compiled(function: Callable[..., Any], options: dict[str, Any]) -> Any:
    path = folder(Path(function.__code__.co_filename))
    if path is None:
        return numba.njit(function, **options)
    numba.config.CACHE_DIR = str(path)  # type: ignore[attr-defined]
    return numba.njit(function, cache=True, **options)


def in_threads(work: Callable[[int, int], object], rows: int, step: int, threads: int) -> None:
    """Call ``work(begin, end)`` on shares of the rows, one a thread; for loops that let go of the interpreter.

    Args:
        work: treats some rows, independently of the others.
        rows: how many there are.
        step: what all shares but the last are multiples of.
        threads: as many at once, at most.
    """
    size = step * max(1, -(-rows // (step * threads)))
    bounds = [(begin, min(begin + size, rows)) for begin in range(0, rows, size)]
    if len(bounds) < 2:
        work(0, rows)
        return
    with ThreadPoolExecutor(len(bounds)) as pool:
        list(pool.map(lambda bound: work(*bound), bounds))


@functools.cache
def folder(source: Path) -> Path | None:
    """Where the compiled loops of a file are kept; None where nothing can be written.

    A folder of its own for every state of the file and of what it imports: numba's own check looks at the file of a
    function alone, not at what the function calls in other files.
    """
    total = hashlib.sha256()
    for path in sorted(_with_imports(source)):
        total.update(path.name.encode() + b"\0" + path.read_bytes())
    return folder_of(f"numba/{source.stem}", total.hexdigest()[:16])


def _with_imports(source: Path) -> set[Path]:
    """A file and all files of ours that it imports, directly or not."""
    found, new = set(), {source}
    while new:
        found |= new
        new = {path for file in new for path in _imports(file)} - found
    return found


def _imports(source: Path) -> set[Path]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(source.read_bytes())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {path for name in names if (path := ROOT / f"{name.replace('.', '/')}.py").is_file()}
