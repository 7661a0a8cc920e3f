"""Committed results below the store: ``references/<key>.json``, ``checkpoints/<key>.safetensors``.

A reference that kept an ensemble has it in a ``.safetensors`` file beside its own, tied to it by a digest.

``make promote`` puts a finished entry there, and whoever clones the repository has it: the store unpacks it into an
ordinary entry when it is asked for a key that it does not have. Loading runs no code; contents are verified.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.base.errors import UserError
from pipeline.base.store.entry import ENSEMBLE, Entry
from pipeline.base.store.files import load_tree, save_tree, tree_digest, write_json

LIMIT_BYTES = 8 * 2**20
"""Of one promoted file: the repository keeps them for good."""


def find_promoted(layers: Sequence[Path], stage: str, key: str) -> Path | None:
    """The committed file of an entry in the first results folder of ``layers`` that has it."""
    return next((path for folder in layers if (path := promoted_path(folder, stage, key)).exists()), None)


def promoted_path(results: Path, stage: str, key: str) -> Path:
    """Where an entry is committed; the folder of a stage that cannot be promoted does not exist."""
    folder, suffix = {"baseline": ("references", "json"), "train": ("checkpoints", "safetensors")}.get(
        stage, (stage, "")
    )
    return results / folder / f"{key}.{suffix}"


def promote(entry: Entry, results: Path) -> Path:
    """Write the committed file of a finished baseline, or of the last state of a training, and return its path.

    What a baseline kept of its configurations goes into a second file beside it.

    Raises:
        UserError: an entry of another stage, or one above :data:`LIMIT_BYTES`.
    """
    stage = entry.path.parent.name
    status = {k: v for k, v in entry.status.items() if k not in ("files", "checksum", "promoted")}
    content: dict[str, Any] = {"status": status, "provenance": entry.provenance()}
    path = promoted_path(results, stage, entry.path.name)
    if stage not in ("baseline", "train"):
        raise UserError(f"{entry.name}: only baselines and trainings are promoted; inference is computed from them")
    path.parent.mkdir(parents=True, exist_ok=True)
    _refuse_large(entry, entry.path / ENSEMBLE)  # before it is read: it may be larger than memory
    written = [path]
    if stage == "baseline":
        content = json.loads(json.dumps({**content, "result": entry.result().to_json()}))  # tuples become lists
        if ensemble := entry.ensemble():
            written.append(ensemble_path(path))
            save_tree(written[-1], ensemble)
            content["ensemble_sha256"] = tree_digest(ensemble)
        write_json(path, {**content, "sha256": tree_digest(content)})
    else:
        metrics = entry.path / "metrics.jsonl"
        text = metrics.read_bytes() if metrics.exists() else b""
        content["state"] = entry.state(status["steps"])
        content["metrics"] = np.frombuffer(zlib.compress(text, 9), np.uint8)
        save_tree(path, {**content, "sha256": tree_digest(content)})
    try:
        _refuse_large(entry, *written)
    except UserError:
        for file in written:
            file.unlink()
        raise
    return path


def _refuse_large(entry: Entry, *files: Path) -> None:
    size = max((file.stat().st_size for file in files if file.exists()), default=0)
    if size > LIMIT_BYTES:
        raise UserError(f"{entry.name} takes {size / 2**20:.1f} MiB; at most {LIMIT_BYTES // 2**20} MiB are promoted")


def ensemble_path(path: Path) -> Path:
    """Where the ensemble of a committed reference is."""
    return path.with_suffix(".safetensors")


def read_promoted(path: Path) -> dict[str, Any] | None:
    """The verified content of a promoted file: status, provenance, and result (with its ensemble, if it has one) or
    state and metrics; None if damaged."""
    try:
        content = json.loads(path.read_text()) if path.suffix == ".json" else load_tree(path)
        if content.pop("sha256") != tree_digest(content):
            return None
        if "ensemble_sha256" in content:
            content["ensemble"] = load_tree(ensemble_path(path))
            if content.pop("ensemble_sha256") != tree_digest(content["ensemble"]):
                return None
    except Exception:  # whatever a damaged file makes a parser raise
        return None
    if "metrics" in content:
        content["metrics"] = zlib.decompress(content["metrics"].tobytes())
    return dict(content)
