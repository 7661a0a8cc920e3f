"""The source that a result depends on: of the parts that its configuration names, and of all that these import.

A key holds names and versions of parts, never their code, so that files may move and be tidied. An entry therefore
keeps a digest of each module beside its numbers, and whoever uses it can tell what has changed since.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from pipeline.base.places import ROOT

INERT = (
    *("pipeline.base.config.checks", "pipeline.base.config.components", "pipeline.base.config.nodes"),
    *("pipeline.base.contracts", "pipeline.base.errors", "pipeline.base.run", "pipeline.base.store"),
)
"""What parts import to complain, to be found, to be run and to be stored; no number depends on it."""

Sources = Mapping[str, str]
"""Digests by name of module."""


def sources(nodes: Any) -> dict[str, str]:
    """Digests of all modules that the parts in ``nodes`` are made of.

    Comments, docstrings and blank lines do not count. A module is read once a process.

    Args:
        nodes: configuration dataclasses, in dictionaries and lists of any depth.
    """
    found: dict[str, str] = {}
    waiting = sorted(set(_parts(nodes)))
    while waiting:
        name = waiting.pop()
        if name not in found and (path := _path(name)) is not None:
            found[name], imported = _read(path)
            waiting += [other for other in imported if not _inert(other)]
    return dict(sorted(found.items()))


def today(modules: Iterable[str]) -> dict[str, str]:
    """Digests of the named modules as they are now, of those that are still there."""
    paths = {name: _path(name) for name in modules}
    return {name: _read(path)[0] for name, path in paths.items() if path is not None}


def changed(then: Sources, now: Sources) -> list[str]:
    """Modules whose source is not what it was, the new ones and those that are gone; a file that moved is none."""
    before, after = set(then.values()), set(now.values())
    if before == after:
        return []
    differing = [name for name, digest in now.items() if then.get(name) != digest and digest not in before]
    gone = [name for name, digest in then.items() if name not in now and digest not in after]
    return sorted({*differing, *gone})


SOMETHING = "the source of pipeline/"
"""What has changed since a result was computed that does not name its modules."""

NAMED = 2
"""Files that a message names."""


def listed(modules: Sequence[str]) -> str:
    """Files of modules, for a reader: the first of many."""
    if not modules:
        return SOMETHING
    shown = ", ".join(f"{name.replace('.', '/')}.py" for name in modules[:NAMED])
    return shown + (f" and {len(modules) - NAMED} more" if len(modules) > NAMED else "")


def _parts(node: Any) -> Iterator[str]:
    """Modules of the parts that a configuration names: where each is declared and where it is implemented."""
    if is_dataclass(node) and not isinstance(node, type):
        yield type(node).__module__
        implementation = getattr(type(node), "implementation", None)
        if isinstance(implementation, str):
            yield implementation.partition(":")[0]
        for field in fields(node):
            yield from _parts(getattr(node, field.name))
    elif isinstance(node, dict | list | tuple):
        for item in node.values() if isinstance(node, dict) else node:
            yield from _parts(item)


def _inert(name: str) -> bool:
    return any(name == inert or name.startswith(inert + ".") for inert in INERT)


def _path(name: str) -> Path | None:
    """The file of a module of ours, or of a part that somebody else brought; it is not imported."""
    base = ROOT.joinpath(*name.split("."))
    if name.split(".")[0] != "pipeline":
        file = getattr(sys.modules.get(name), "__file__", None)
        return Path(file) if file and file.endswith(".py") else None
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


@functools.cache
def _read(path: Path) -> tuple[str, tuple[str, ...]]:
    """Digest of a file, and the modules of ours that it names in any import."""
    text = path.read_text(encoding="utf-8")
    nodes = list(ast.walk(ast.parse(text)))
    spoken: set[int] = set()
    for node in nodes:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            spoken.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    lines = [line.rstrip() for number, line in enumerate(text.splitlines(), 1) if number not in spoken]
    code = "\n".join(line for line in lines if line and not line.lstrip().startswith("#"))
    return hashlib.sha256(code.encode()).hexdigest()[:16], tuple(dict.fromkeys(_imported(nodes)))


def _imported(nodes: Iterable[ast.AST]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("pipeline."))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pipeline"):
            assert node.module is not None
            named = [f"{node.module}.{alias.name}" for alias in node.names]
            modules = [name for name in named if _path(name) is not None]
            yield from modules if len(modules) == len(named) else [*modules, node.module]
