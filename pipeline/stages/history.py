"""What was run: every finished training and inference of results folders, with its numbers beside a reference.

Files are read and nothing is verified, written or computed: two thousand runs take two seconds, their commands as much.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.base.errors import UserError
from pipeline.base.numbers.result import Estimate, Result
from pipeline.base.places import COMMITTED
from pipeline.base.store.entry import Entry
from pipeline.base.store.files import read_json
from pipeline.base.store.formats import RESULT, STATUS, TRAINING, complaint
from pipeline.base.store.promoted import REFERENCES
from pipeline.stages.recall import VERSION, overrides_of
from pipeline.stages.register import BASELINES, SYSTEMS

BROKEN = (OSError, ValueError, KeyError, TypeError, AttributeError)
"""What files of somebody else's raise as they are read."""


@dataclass(frozen=True)
class Past:
    """One run: a training, or an inference from it.

    Attributes:
        folder: results folder that it is in.
        key: of the inference; of the training where there is none.
        train_key: of the training.
        system: kind; ``settings`` are its amounts by name, ``size`` what it has so many of (None: nothing).
        ansatz, sampler: names of the training's parts; None where it has none.
        steps: updates of the state; ``snapshot``: the training went further.
        quantity: name of ``estimate``, what stands for the run; empty without an inference.
        reference: the same quantity, of the most exact reference that is there.
        seconds: of the training and the inference.
        finished: seconds since the epoch.
        nodes, infer: what the keys hash.
    """

    folder: Path
    key: str
    train_key: str
    system: str
    settings: Mapping[str, Any]
    size: int | None
    method: str
    ansatz: str | None
    sampler: str | None
    seed: int
    steps: int
    snapshot: bool
    quantity: str
    estimate: Estimate | None
    reference: Estimate | None
    reference_kind: str
    seconds: float
    finished: float
    nodes: Mapping[str, Any]
    infer: Mapping[str, Any] | None

    @property
    def command(self) -> str:
        """What computes it, as it is typed; empty where a part of it is no more."""
        try:
            words = overrides_of(self.nodes, self.steps, self.infer)
        except (UserError, *BROKEN):
            return ""
        return " ".join(["nqs", *(f'"{word}"' if set(word) & set(" '{[") else word for word in words)])


def history(folders: Sequence[Path]) -> list[Past]:
    """All runs below results folders, the newest first; one that several have is that of the first.

    Args:
        folders: each with a ``_store``.
    """
    references = _References([*folders, COMMITTED])
    found: dict[str, Past] = {}
    for folder in folders:
        trainings = {entry.path.name: entry for entry in entries(folder, TRAINING)}
        asked = set()
        for entry in entries(folder, "infer"):
            nodes = entry.status["nodes"]
            training = trainings.get(nodes.get("train_key", ""))
            past = _past(folder, training, entry, references) if training else None
            if past is not None:
                asked.add(past.train_key)
                found.setdefault(past.key, past)
        for training in trainings.values():
            past = None if training.path.name in asked else _past(folder, training, None, references)
            if past is not None:
                found.setdefault(past.key, past)
    return sorted(found.values(), key=lambda past: -past.finished)


def entries(folder: Path, stage: str) -> Iterator[Entry]:
    """Finished entries of a stage in a results folder, as far as their status can be read."""
    for path in sorted((folder / "_store" / stage).glob(f"*/{STATUS}")):
        try:
            status = read_json(path)
            status.pop("checksum")
            if "." not in path.parent.name and complaint(stage, path.parent.name, status) is None:
                yield Entry(path.parent, status)
        except BROKEN:
            continue


def _past(folder: Path, training: Entry, inference: Entry | None, references: _References) -> Past | None:
    last = inference or training
    try:
        nodes = training.status["nodes"]
        system, parts = nodes["system"], nodes["train"]
        steps = training.status["steps"] if inference is None else inference.status["nodes"]["step"]
        main = inference.result().main if inference else None
        kind, reference = references.of(system, main)
        return Past(
            folder,
            last.path.name,
            training.path.name,
            system["kind"],
            {name: value for name, value in system.items() if name not in ("kind", VERSION)},
            size_of(system),
            parts["method"]["name"],
            (parts.get("ansatz") or {}).get("name"),
            (parts.get("sampler") or {}).get("name"),
            parts["seed"],
            steps,
            steps < training.status["steps"],
            main.name if main else "",
            main,
            reference,
            kind,
            training.seconds + (inference.seconds if inference else 0.0),
            last.finished,
            nodes,
            inference.status["nodes"]["infer"] if inference else None,
        )
    except BROKEN:
        return None


def size_of(node: Mapping[str, Any]) -> int | None:
    """``size`` of a system, from what a key hashes of it; None where it has none."""
    try:
        system = SYSTEMS[node["kind"]](**{name: value for name, value in node.items() if name != VERSION})
        return int(system.size)
    except (UserError, *BROKEN):
        return None


class _References:
    """References of results folders by system, the most exact kind first."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._found: dict[str, list[tuple[int, str, Result]]] = {}
        for folder in folders:
            for entry in entries(folder, "baseline"):
                self._add(entry.status, lambda entry=entry: read_json(entry.path / RESULT))
            for path in sorted((folder / REFERENCES).glob("*.json")):
                try:
                    content = read_json(path)
                    self._add(content["status"], lambda content=content: content["result"])
                except BROKEN:
                    continue

    def _add(self, status: Mapping[str, Any], read: Any) -> None:
        try:
            name, system = status["nodes"]["name"], status["nodes"]["system"]
            rank = BASELINES.index(name) if name in BASELINES else len(BASELINES)
            self._found.setdefault(_digest(system), []).append((rank, status["kind"], Result.from_json(read())))
        except BROKEN:
            return

    def of(self, system: Mapping[str, Any], estimate: Estimate | None) -> tuple[str, Estimate | None]:
        """Kind and number of the best reference for an estimate; nothing where there is none."""
        if estimate is None:
            return "", None
        wanted = estimate.against or estimate.name
        for _, kind, result in sorted(self._found.get(_digest(system), ()), key=lambda found: found[0]):
            for other in result.estimates:
                if other.name == wanted:
                    return kind, other
        return "", None


def _digest(system: Mapping[str, Any]) -> str:
    return json.dumps(system, sort_keys=True)
