"""Where runs are looked for, and the one that a key or a path means."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.base.errors import UserError
from pipeline.base.places import COMMITTED, VARIABLE, results_folder, results_folders
from pipeline.base.run.console import say
from pipeline.base.store.entry import Entry
from pipeline.base.store.formats import TRAINING
from pipeline.base.store.promoted import CHECKPOINTS
from pipeline.base.store.store import Store
from pipeline.stages.history import entries

NAMED = 3
"""Keys that a message names."""

STAGES = (TRAINING, "infer", "baseline")


@dataclass(frozen=True)
class Found:
    """A training, verified.

    Attributes:
        step: whose state was meant.
        infer: the node ``infer`` of the inference that was meant; None: none was.
    """

    train: Entry
    step: int
    infer: Mapping[str, Any] | None


def folders_of_runs(results: str | Path | None) -> list[Path]:
    """Results folders with runs: the one that is named, else all that are seen from here.

    Raises:
        UserError: none has any; it says where was looked.
    """
    if results is not None:
        path = Path(results)
        if not ((path / "_store").is_dir() or (path / CHECKPOINTS).is_dir()):
            raise UserError(
                f"results={path}: no runs there (no folder _store); nqs.run(..., results={str(path)!r}) makes one"
            )
        return [path]
    folders = results_folders()
    if not folders:
        raise UserError(
            f"no runs: neither {results_folder()} nor a folder results above {Path.cwd()} has any; nqs.run(...) makes "
            f"one, {VARIABLE} or results=... names the results folder of another project"
        )
    return folders


def find(key: str | Path, results: str | Path | None) -> Found:
    """The training that ``key`` means: a key, the beginning of one, or a path.

    Raises:
        UserError: it means none, or several.
    """
    text = str(key)
    path = Path(text)
    if not text.strip() or text == ".":
        raise UserError("nqs.load: needs a key or a path")
    if isinstance(key, Path) or path.exists():
        if not path.exists():
            raise UserError(f"{path}: no such file or folder")
        text, folders = _of_path(path)
    else:
        # a state that comes with the repository needs no run of one's own
        shipped = [COMMITTED] if results is None and (COMMITTED / CHECKPOINTS).is_dir() else []
        folders = [*(results_folders() if shipped else folders_of_runs(results)), *shipped]
    stage, _, beginning = text.rpartition("/")
    matching = [one for one in _known(folders) if one[2].startswith(beginning) and (not stage or one[1] == stage)]
    exact = [one for one in matching if one[2] == beginning]
    # the same run may be in several folders: that of the nearest
    names = dict.fromkeys(f"{one[1]}/{one[2]}" for one in exact or matching)
    if not beginning or not names:
        raise UserError(f"{text}: no such run{_nearest(beginning, folders)}")
    if len(names) > 1:
        shown = ", ".join(list(names)[:NAMED]) + (" ..." if len(names) > NAMED else "")
        raise UserError(f"{text}: means {shown}; give more of the key")
    return _training(*(exact or matching)[0], folders)


def _of_path(path: Path) -> tuple[str, list[Path]]:
    """The key that a path is of, and the results folder around it."""
    path = path.resolve()
    if path.is_file():
        path = path.with_suffix("") if path.parent.name == CHECKPOINTS else path.parent
    parent, above = path.parent.name, path.parent.parent.name
    if above == "_store" and parent in STAGES:
        return f"{parent}/{path.name}", [path.parents[2]]
    if parent in ("_runs", CHECKPOINTS):
        return f"{TRAINING}/{path.name}" if parent == CHECKPOINTS else path.name, [path.parents[1]]
    allowed = (
        "is no run: an entry below results/_store/train or infer, a report below results/_runs, or a checkpoint is"
    )
    raise UserError(f"{path}: {allowed}")


def _known(folders: list[Path]) -> list[tuple[Path, str, str]]:
    """Folder, stage and key of everything that is there."""
    found = [
        (folder, stage, entry.path.name) for folder in folders for stage in STAGES for entry in entries(folder, stage)
    ]
    for folder in folders:
        found += [(folder, TRAINING, path.stem) for path in sorted((folder / CHECKPOINTS).glob("*.safetensors"))]
    return found


def _nearest(beginning: str, folders: list[Path]) -> str:
    """The keys that resemble one, else the newest."""
    there = [one for one in _known(folders) if one[1] != "baseline"]
    if not there:
        return f" in {', '.join(map(str, folders))}: there is none at all"
    names = list(dict.fromkeys(one[2] for one in there))
    # as much of each as was typed
    beginnings = {name[: len(beginning)]: name for name in reversed(names)}
    close = difflib.get_close_matches(beginning, beginnings, n=NAMED)
    if close:
        return f"; the nearest are {', '.join(beginnings[one] for one in close)}"
    return f"; there are {len(names)}, such as {', '.join(names[:NAMED])}: nqs.runs() lists them"


def _training(folder: Path, stage: str, key: str, folders: list[Path]) -> Found:
    if stage == "baseline":
        raise UserError(f"baseline/{key} is a reference: it has numbers and no state")
    store = Store(folder / "_store", say, repair=False, promoted=(folder, *folders))
    wanted, step, infer = key, None, None
    if stage == "infer":
        entry = store.find("infer", key)
        if entry is None:
            raise UserError(f"infer/{key} is damaged; the same command computes it anew")
        nodes = entry.status["nodes"]
        wanted, step, infer = nodes["train_key"], nodes["step"], nodes["infer"]
    train = store.find(TRAINING, wanted)
    if train is None:
        raise UserError(f"{TRAINING}/{wanted} is not there, or damaged; the same command computes it anew")
    if infer is None:
        infer = _latest_inference(folder, wanted)
    return Found(train, train.status["steps"] if step is None else step, infer)


def _latest_inference(folder: Path, train_key: str) -> Mapping[str, Any] | None:
    """How the state was asked last, and so will be asked again."""
    of_training = [e for e in entries(folder, "infer") if e.status["nodes"].get("train_key") == train_key]
    latest = max(of_training, key=lambda entry: entry.finished, default=None)
    return None if latest is None else latest.status["nodes"]["infer"]
