"""The code that a report is made by, as a digest that comments, docstrings and layout do not change."""

from __future__ import annotations

import ast
import functools
import hashlib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLLOWED = (
    "reproduce.",
    "pipeline.analysis.",
    "pipeline.base.numbers.",
    "pipeline.base.plotting",
    "pipeline.base.html",
    "pipeline.base.palette",
)
"""What turns finished runs into a report; how runs are computed is in their own keys."""


def code_digest(*modules: str) -> str:
    """Digest of ``modules`` and of whatever they import, in turn, of the rooms that make reports."""
    total = hashlib.sha256()
    for name in sorted(closure(*modules)):
        total.update(f"{name} {_meaning(name)}".encode())
    return total.hexdigest()


def closure(*modules: str) -> set[str]:
    """``modules`` and what they import, directly or not."""
    found: set[str] = set()
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name not in found and _path(name).exists():
            found.add(name)
            waiting += [other for other in _imports(name) if other.startswith(FOLLOWED)]
    return found


def _path(module: str) -> Path:
    return ROOT / (module.replace(".", "/") + ".py")


@functools.cache
def _tree(module: str) -> ast.Module:
    return ast.parse(_path(module).read_text(encoding="utf-8"))


def _imports(module: str) -> Iterator[str]:
    for node in ast.walk(_tree(module)):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@functools.cache
def _meaning(module: str) -> str:
    """The syntax tree without docstrings and positions."""
    tree = ast.parse(_path(module).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        for part in ("body", "orelse", "finalbody"):
            statements = getattr(node, part, None)
            if isinstance(statements, list):
                kept = [s for s in statements if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))]
                setattr(node, part, kept or statements[:1])
    return ast.dump(tree)
