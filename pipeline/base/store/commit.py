"""The commit point of a stage at work: ``progress.json`` names the state and record files that belong together.

It is replaced atomically, and holds digests of all that it names.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.base.store.entry import state_name
from pipeline.base.store.files import atomic_path, checksum, sha256, write_json


def drop_checkpoints(folder: Path) -> None:
    """Remove the checkpoints of a stage whose loops are all finished; what is left still resumes."""
    progress = json.loads((folder / "progress.json").read_text())
    if not (progress["state"] or "").startswith("state-"):
        progress["state"] = progress["state_sha256"] = None
        commit(folder, progress)
    for path in folder.glob("checkpoint-*.safetensors"):
        path.unlink()


def reopen(folder: Path, name: str, *, from_step: int | None = None) -> None:
    """Make a finished loop of a copied entry continue: from its last unit, or from a kept state.

    Used to train a finished run further, or again up to a step that was not kept.
    """
    progress = json.loads((folder / "progress.json").read_text())
    outcome = progress["finished"].pop(name)
    if from_step is not None:
        done = from_step
        progress["state"] = state_name(from_step) if from_step else None
        progress["state_sha256"] = sha256(folder / state_name(from_step)) if from_step else None
        outcome["seconds"] = outcome["seconds"] * from_step / max(1, outcome["done"])
    else:
        done = outcome["done"]
    progress["current"][name] = {"done": done, "seconds": outcome["seconds"]}
    _truncate(folder / "metrics.jsonl", name, done)
    commit(folder, progress)


def commit(folder: Path, progress: dict[str, Any]) -> None:
    """Write ``progress.json`` with a checksum of itself, of the states kept for good and of the metrics so far."""
    kept = progress.setdefault("kept", {})
    kept |= {path.name: sha256(path) for path in folder.glob("state-*.safetensors") if path.name not in kept}
    metrics = folder / "metrics.jsonl"
    content = metrics.read_bytes() if metrics.exists() else b""
    progress["metrics"] = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    progress.pop("checksum", None)
    write_json(folder / "progress.json", {**progress, "checksum": checksum(progress)})


def read_progress(folder: Path, notify: Callable[[str], None]) -> dict[str, Any]:
    """The commit point, if it and the files it names are intact; else a fresh start in an emptied folder."""
    fresh: dict[str, Any] = {
        "finished": {},
        "current": {},
        "records": {},
        "state": None,
        "state_sha256": None,
        "kept": {},
        "threads": None,
    }
    path = folder / "progress.json"
    if path.exists():
        try:
            progress: dict[str, Any] = json.loads(path.read_text())
            if progress.pop("checksum") == checksum(progress) and _intact(folder, progress):
                return progress
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            pass
        notify(f"the checkpoint in {folder.parent.name}/{folder.name} is damaged; starting this stage again")
    for leftover in folder.iterdir():
        leftover.unlink()
    return fresh


def _intact(folder: Path, progress: dict[str, Any]) -> bool:
    """Whether all that a commit point names is as it was; what came after it (a killed run's) is dropped."""
    named = {**progress["records"], **progress["kept"]}
    if progress["state"]:
        named[progress["state"]] = progress["state_sha256"]
    if not all(sha256(folder / name) == expected for name, expected in named.items()):
        return False
    metrics, size = folder / "metrics.jsonl", progress["metrics"]["size"]
    content = metrics.read_bytes()[:size] if metrics.exists() else b""
    if hashlib.sha256(content).hexdigest() != progress["metrics"]["sha256"]:
        return False
    if metrics.exists():
        os.truncate(metrics, size)
    for stray in (*folder.glob("records-*.npz"), *folder.glob("state-*.safetensors")):
        if stray.name not in named:
            stray.unlink()
    return True


def _truncate(path: Path, loop: str, done: int) -> None:
    """Drop metrics lines of ``loop`` from unit ``done`` on."""
    if not path.exists():
        return
    lines = [(json.loads(text), text) for text in path.read_text().splitlines()]
    with atomic_path(path) as temporary:
        temporary.write_text("".join(f"{text}\n" for line, text in lines if line["loop"] != loop or line["k"] < done))
