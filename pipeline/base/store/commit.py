"""The commit point of a stage at work: ``progress.json`` names the state and record files that belong together.

It is replaced atomically, and holds digests of all that it names.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.base.store.files import (
    atomic_path,
    checksum,
    is_plain,
    load_tree,
    read_json,
    read_plain,
    remove,
    save_tree,
    sha256,
    write_json,
)
from pipeline.base.store.formats import FORMAT, SOURCE, fits, known, plain_name, state_name

PROGRESS, METRICS = "progress.json", "metrics.jsonl"

MOST_THREADS = 1024


def key_of(folder: Path) -> str:
    """The key that a folder of the store is for, whatever is done in it (``<key>``, ``<key>.partial``)."""
    return folder.name.split(".")[0]


def save_state(folder: Path, name: str, tree: dict[str, Any]) -> None:
    """Write a state file that says which key it belongs to."""
    save_tree(folder / name, tree, of=key_of(folder))


def load_state(folder: Path, name: str) -> dict[str, Any]:
    """The tree of a state file; ValueError where it belongs to another key."""
    return load_tree(folder / name, of=key_of(folder))


def drop_checkpoints(folder: Path) -> None:
    """Remove the checkpoints of a stage whose loops are all finished; what is left still resumes."""
    progress = read_json(folder / PROGRESS)
    if not (progress["state"] or "").startswith("state-"):
        progress["state"] = progress["state_sha256"] = None
        commit(folder, progress)
    for path in folder.glob("checkpoint-*.safetensors"):
        path.unlink()


def reopen(folder: Path, name: str, *, from_step: int | None = None) -> None:
    """Make a finished loop of a copied entry continue: from its last unit, or from a kept state.

    Used to train a finished run further, or again up to a step that was not kept.

    Raises:
        KeyError, ValueError, TypeError: what the entry says of its loop does not make sense.
    """
    progress = read_json(folder / PROGRESS)
    outcome = progress["finished"].pop(name)
    if from_step is not None:
        done = from_step
        progress["state"] = state_name(from_step) if from_step else None
        progress["state_sha256"] = sha256(folder / state_name(from_step)) if from_step else None
        outcome["seconds"] = outcome["seconds"] * from_step / max(1, outcome["done"])
    else:
        done = outcome["done"]
    progress["current"][name] = {"done": done, "seconds": outcome["seconds"]}
    _truncate(folder / METRICS, name, done)
    commit(folder, progress)


def commit(folder: Path, progress: dict[str, Any]) -> None:
    """Write ``progress.json`` with a checksum of itself, of the states kept for good and of the metrics so far."""
    kept = progress.setdefault("kept", {})
    kept |= {path.name: sha256(path) for path in folder.glob("state-*.safetensors") if path.name not in kept}
    content = _content(folder / METRICS)
    progress["metrics"] = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    progress |= {"format": FORMAT, "key": key_of(folder)}
    progress.pop("checksum", None)
    write_json(folder / PROGRESS, {**progress, "checksum": checksum(progress)})


def read_progress(folder: Path, notify: Callable[[str], None]) -> dict[str, Any]:
    """The commit point, if it is that of this folder and the files it names are intact; else a fresh start."""
    path = folder / PROGRESS
    if not path.exists() and not path.is_symlink():
        return begin_anew(folder)
    try:
        progress: dict[str, Any] = read_json(path)
        if progress.pop("checksum") != checksum(progress):
            raise ValueError("its checksum differs")
        _check(folder, progress)
        _drop_what_came_after(folder, progress)
        return progress
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        return begin_anew(folder, notify, str(error) if isinstance(error, ValueError | OSError) else "not readable")


def begin_anew(folder: Path, notify: Callable[[str], None] | None = None, reason: str = "") -> dict[str, Any]:
    """A fresh start in an emptied folder; with ``notify`` that of a damaged checkpoint.

    The source that the folder names is that of a start which has just begun, and stays; that of damage may be older.
    """
    if notify is not None:
        where = f"{folder.parent.name}/{folder.name}"
        notify(f"the checkpoint in {where} is damaged ({reason}); starting this stage again")
    for leftover in folder.iterdir():
        if notify is not None or leftover.name != SOURCE:
            remove(leftover)
    return {
        "finished": {},
        "current": {},
        "records": {},
        "state": None,
        "state_sha256": None,
        "kept": {},
        "threads": None,
    }


def _check(folder: Path, progress: dict[str, Any]) -> None:
    """Whether a commit point is one of this folder, says what can be, and all that it names is as it was.

    Raises:
        ValueError: not so; in words.
    """
    if not known(progress):
        raise ValueError(f"its format {progress['format']!r} is not known")
    if progress.get("key", key_of(folder)) != key_of(folder):
        raise ValueError(f"it is of {progress['key']}")
    threads = progress["threads"]
    if threads is not None and not (type(threads) is int and 1 <= threads <= MOST_THREADS):
        raise ValueError(f"threads={threads!r}")
    named = {**progress["records"], **progress["kept"]}
    if progress["state"]:
        named[progress["state"]] = progress["state_sha256"]
    for name, expected in named.items():
        if not plain_name(name) or sha256(folder / name) != expected:
            raise ValueError(f"the checksum of {name} differs")
    content = _content(folder / METRICS)[: progress["metrics"]["size"]]
    if hashlib.sha256(content).hexdigest() != progress["metrics"]["sha256"]:
        raise ValueError("the checksum of the metrics differs")
    _check_counts(progress, content)


def _check_counts(progress: dict[str, Any], metrics: bytes) -> None:
    """Whether each loop has done as many units as it wrote lines, and the state is that after one of them."""
    lines = Counter(json.loads(line)["loop"] for line in metrics.splitlines())
    loops: dict[str, dict[str, Any]] = {**progress["current"], **progress["finished"]}
    for name, loop in loops.items():
        if type(loop["done"]) is not int or loop["done"] != lines[name]:
            raise ValueError(f"{name} has done {loop['done']!r} and written {lines[name]} lines")
        if not fits(loop["seconds"], float) or not loop["seconds"] >= 0:
            raise ValueError(f"{name} took {loop['seconds']!r} s")
    for name, loop in progress["finished"].items():
        if set(loop) != {"done", "stopped", "seconds"} or not fits(loop["stopped"], str | None):
            raise ValueError(f"the end of {name} cannot be read")
    after = (progress["state"] or "0").removesuffix(".safetensors").split("-")[-1]
    begun = {loop["done"] for name, loop in progress["current"].items() if name not in progress["finished"]} - {0}
    if begun - {int(after)} or (progress["state"] and int(after) not in {loop["done"] for loop in loops.values()}):
        raise ValueError(f"{progress['state']} is not the state after its loops")


def _drop_what_came_after(folder: Path, progress: dict[str, Any]) -> None:
    """Remove what a killed run wrote after the commit point."""
    named = {*progress["records"], *progress["kept"], progress["state"]}
    metrics = folder / METRICS
    if is_plain(metrics):
        os.truncate(metrics, progress["metrics"]["size"])
    else:
        remove(metrics)
    for stray in (*folder.glob("records-*.npz"), *folder.glob("state-*.safetensors")):
        if stray.name not in named:
            remove(stray)


def _content(metrics: Path) -> bytes:
    return read_plain(metrics) if is_plain(metrics) else b""


def _truncate(path: Path, loop: str, done: int) -> None:
    """Drop metrics lines of ``loop`` from unit ``done`` on."""
    if not path.exists():
        return
    lines = [(json.loads(text), text) for text in read_plain(path).decode().splitlines()]
    with atomic_path(path) as temporary:
        temporary.write_text("".join(f"{text}\n" for line, text in lines if line["loop"] != loop or line["k"] < done))
