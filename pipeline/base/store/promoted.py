"""Committed results below the store: ``references/<key>.json``, ``checkpoints/<key>.safetensors``.

A reference that kept an ensemble has it in a ``.safetensors`` file beside its own, tied to it by a digest.

``make promote`` puts a finished entry there, and whoever clones the repository has it: the store unpacks it into an
ordinary entry when it is asked for a key that it does not have. Loading runs no code; contents are verified.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.base.errors import UserError
from pipeline.base.later import np
from pipeline.base.store.commit import commit, save_state
from pipeline.base.store.entry import ENSEMBLE, METRICS, Entry
from pipeline.base.store.files import (
    exists,
    load_tree,
    read_json,
    read_plain,
    save_tree,
    sha256,
    tree_digest,
    write_json,
)
from pipeline.base.store.formats import (
    FORMAT,
    PROVENANCE,
    RESULT,
    SOURCE,
    TRAINING,
    complaint,
    complaint_of_provenance,
    complaint_of_result,
    known,
    state_name,
)

LIMIT_BYTES = 8 * 2**20
"""Of one promoted file: the repository keeps them for good."""

METRICS_BYTES = 2**28
"""Most that the metrics of a promoted training may unpack to."""

REFERENCES, CHECKPOINTS = "references", "checkpoints"


class UnusableError(ValueError):
    """Why a committed file is not used, as the end of a sentence about it."""


def find_promoted(layers: Sequence[Path], stage: str, key: str) -> list[Path]:
    """The committed files of an entry in the results folders of ``layers`` that have one."""
    return [path for folder in layers if exists(path := promoted_path(folder, stage, key))]


def promoted_path(results: Path, stage: str, key: str) -> Path:
    """Where an entry is committed; the folder of a stage that cannot be promoted does not exist."""
    folder, suffix = {"baseline": (REFERENCES, "json"), TRAINING: (CHECKPOINTS, "safetensors")}.get(stage, (stage, ""))
    return results / folder / f"{key}.{suffix}"


def promote(entry: Entry, results: Path) -> Path:
    """Write the committed file of a finished baseline, or of the last state of a training, and return its path.

    What a baseline kept of its configurations goes into a second file beside it. What was committed before is replaced
    only when all that replaces it is written and small enough.

    Raises:
        UserError: an entry of another stage, or one above :data:`LIMIT_BYTES`.
    """
    stage = entry.path.parent.name
    status = {k: v for k, v in entry.status.items() if k not in ("files", "checksum", "promoted")}
    content: dict[str, Any] = {"status": status, "provenance": entry.provenance()}
    path = promoted_path(results, stage, entry.path.name)
    if stage not in ("baseline", TRAINING):
        raise UserError(f"{entry.name}: only baselines and trainings are promoted; inference is computed from them")
    if sources := entry.sources():
        content["sources"] = sources
    path.parent.mkdir(parents=True, exist_ok=True)
    _refuse_large(entry, entry.path / ENSEMBLE)  # before it is read: it may be larger than memory
    with _replacements(entry) as new:
        if stage == "baseline":
            content["result"] = entry.result().to_json()
            content = json.loads(json.dumps(content))  # tuples become lists
            if ensemble := entry.ensemble():
                save_tree(new(ensemble_path(path)), ensemble)
                content["ensemble_sha256"] = tree_digest(ensemble)
            write_json(new(path), {**content, "sha256": tree_digest(content)})
        else:
            content["state"] = entry.state(status["steps"])
            text = read_plain(entry.path / METRICS) if entry.has(METRICS) else b""
            content["metrics"] = np.frombuffer(zlib.compress(text, 9), np.uint8)
            save_tree(new(path), {**content, "sha256": tree_digest(content)})
    return path


@contextmanager
def _replacements(entry: Entry) -> Iterator[Any]:
    """Files that take their places together at the end, if none is too large; else what was there stays."""
    written: dict[Path, Path] = {}

    def new(path: Path) -> Path:
        written[path] = path.with_name(f".{path.name}.{os.getpid()}.new")
        return written[path]

    try:
        yield new
        _refuse_large(entry, *written.values())
        for path, temporary in written.items():
            os.replace(temporary, path)
        for path in [path for path in written if ensemble_path(path) not in written]:
            ensemble_path(path).unlink(missing_ok=True)  # of an entry that kept one, promoted before
    finally:
        for temporary in written.values():
            temporary.unlink(missing_ok=True)


def _refuse_large(entry: Entry, *files: Path) -> None:
    size = max((file.stat().st_size for file in files if file.exists()), default=0)
    if size > LIMIT_BYTES:
        raise UserError(f"{entry.name} takes {size / 2**20:.1f} MiB; at most {LIMIT_BYTES // 2**20} MiB are promoted")


def ensemble_path(path: Path) -> Path:
    """Where the ensemble of a committed reference is."""
    return path.with_suffix(".safetensors")


def read_promoted(path: Path) -> dict[str, Any]:
    """The verified content of a promoted file, of the stage and key that its place says.

    Returns:
        status, provenance, sources (of format 2), and result (with its ensemble, if it has one) or state and metrics.

    Raises:
        UnusableError: damaged, of another key, or of a format that is not known.
    """
    stage = "baseline" if path.suffix == ".json" else TRAINING
    try:
        content = read_json(path) if path.suffix == ".json" else load_tree(path)
        if content.pop("sha256") != tree_digest(content):
            raise UnusableError("is damaged")
        if "ensemble_sha256" in content:
            content["ensemble"] = load_tree(ensemble_path(path))
            if content.pop("ensemble_sha256") != tree_digest(content["ensemble"]):
                raise UnusableError("is damaged")
        _check(stage, path.stem, content)
        if stage == TRAINING:
            content["metrics"] = _inflated(content["metrics"].tobytes())
        return dict(content)
    except UnusableError:
        raise
    except Exception as error:  # whatever a damaged file makes a parser raise
        raise UnusableError("is damaged") from error


def _check(stage: str, key: str, content: dict[str, Any]) -> None:
    """Whether an intact file holds what an entry needs.

    Raises:
        UnusableError: it does not.
    """
    status = content["status"]
    if isinstance(status, dict) and not known(status):
        raise UnusableError(f"has format {status['format']!r}, which is not known here (up to {FORMAT})")
    needed = {RESULT if stage == "baseline" else state_name(status["steps"]): "", PROVENANCE: ""}
    wrong = complaint(stage, key, {**status, "files": needed}) or complaint_of_provenance(content["provenance"])
    if wrong is None and stage == "baseline":
        wrong = complaint_of_result(content["result"])
    if wrong is None and stage == TRAINING and not isinstance(content["state"], dict):
        wrong = "its state cannot be read"
    if wrong is None and not isinstance(content.get("sources", {}), dict):
        wrong = "its sources cannot be read"
    if wrong is not None:
        raise UnusableError(f"is damaged ({wrong})")


def _inflated(data: bytes) -> bytes:
    """The metrics of a training; a few bytes that unpack to more than memory holds are no metrics."""
    unpacker = zlib.decompressobj()
    text = unpacker.decompress(data, METRICS_BYTES)
    if unpacker.unconsumed_tail or not unpacker.eof:
        raise UnusableError("is damaged (its metrics cannot be unpacked)")
    return text


def unpack(content: dict[str, Any], folder: Path) -> None:
    """Write the files of an ordinary entry from the content of a promoted file into an empty folder."""
    write_json(folder / PROVENANCE, content["provenance"])
    if "sources" in content:
        write_json(folder / SOURCE, content["sources"])
    if "result" in content:
        write_json(folder / RESULT, content["result"])
        if "ensemble" in content:
            save_tree(folder / ENSEMBLE, content["ensemble"])
    else:
        _unpack_training(content, folder)


def _unpack_training(content: dict[str, Any], folder: Path) -> None:
    """The last state, the metrics and a finished loop's progress, so that the training can be continued."""
    status = content["status"]
    name = state_name(status["steps"])
    save_state(folder, name, content["state"])
    (folder / METRICS).write_bytes(content["metrics"])
    outcome = {"done": status["steps"], "stopped": status["stopped"], "seconds": status["seconds"]}
    progress = {"finished": {TRAINING: outcome}, "current": {}, "records": {}, "state": name, "kept": {}}
    commit(folder, {**progress, "state_sha256": sha256(folder / name), "threads": content["provenance"]["threads"]})
