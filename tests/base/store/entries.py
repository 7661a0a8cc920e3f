"""Small entries of a store, and what may lie in their place."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.base.numbers.result import Curve, Estimate, Result
from pipeline.base.store.entry import Entry
from pipeline.base.store.files import checksum, read_json, save_tree, sha256, write_json
from pipeline.base.store.formats import state_name
from pipeline.base.store.keys import digest
from pipeline.base.store.store import Store

RESULT = Result((Estimate("energy", -1.1, 0.1),), (Curve.of("c", "x", "y", [1, 2], [0.1, 0.3]),), ("note",))
NODES, OTHER = {"a": 1}, {"a": 2}
KEY, OTHER_KEY = digest(NODES), digest(OTHER)


def make(store: Store, nodes: dict[str, Any] = NODES, stage: str = "baseline", value: float = -1.1) -> Entry:
    with store.work(stage, digest(nodes)) as work:
        facts: dict[str, Any] = {"device": "cpu"}
        if stage == "train":
            save_tree(work.path / state_name(3), {"weights": np.full(2, value)})
            facts |= {"steps": 3, "stopped": None}
        else:
            write_json(work.path / "result.json", Result((Estimate("energy", value),)).to_json())
            facts |= {"kind": "made up", "peak_bytes": 1}
        return work.finish(nodes=nodes, seconds=1.0, facts=facts)


def found(root: Path, key: str = KEY, stage: str = "baseline") -> tuple[Entry | None, list[str]]:
    said: list[str] = []
    return Store(root, said.append).find(stage, key), said


def rewrite(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change ``status.json``, with checksums as they should be."""
    status = read_json(folder / "status.json")
    status.pop("checksum")
    change(status)
    status["files"] = {name: sha256(folder / name) for name in status["files"] if (folder / name).exists()}
    write_json(folder / "status.json", {**status, "checksum": checksum(status)})


def without(*names: str) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        for name in names:
            content.pop(name)

    return change


def having(name: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        content[name] = value

    return change


KINDS = ["folder", "full folder", "pipe", "link", "loop", "dangling"]


def put(path: Path, kind: str, mine: Path) -> None:
    """Something that is no plain file."""
    if kind in ("folder", "full folder"):
        path.mkdir()
        if kind == "full folder":
            (path / "x").write_text("")
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to({"link": mine / "thesis.tex", "loop": path, "dangling": mine / "nothing"}[kind])


def untouched(mine: Path) -> bool:
    return {path.name: path.read_text() for path in mine.iterdir()} == {"thesis.tex": "years of work"}
