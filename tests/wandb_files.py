"""What an offline run of W&B holds, read by W&B's own record format; the frames around records are LevelDB's log."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HEADER, BLOCK, FRAME = 7, 32768, 7
FULL, LAST = 1, 4


@dataclass
class OfflineRun:
    """One ``.wandb`` file.

    Attributes:
        history: what was logged, line by line.
        files: names of what is uploaded with it.
    """

    run_id: str = ""
    name: str = ""
    group: str = ""
    resumes: bool = False
    config: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)


def read_offline_run(path: Path) -> OfflineRun:
    """The run in a ``.wandb`` file."""
    from wandb.proto.wandb_internal_pb2 import Record

    found = OfflineRun()
    for data in _records(path.read_bytes()):
        record = Record()
        record.ParseFromString(data)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run = record.run
            found.run_id, found.name, found.group = run.run_id, run.display_name, run.run_group
            found.resumes = run.resume
            found.config = {item.key: json.loads(item.value_json) for item in run.config.update}
        elif kind == "history":
            found.history.append({_key(item): json.loads(item.value_json) for item in record.history.item})
        elif kind == "summary":
            found.summary |= {_key(item): json.loads(item.value_json) for item in record.summary.update}
        elif kind == "files":
            found.files += [item.path for item in record.files.files]
    return found


def _key(item: Any) -> str:
    return item.key or ".".join(item.nested_key)


def _records(data: bytes) -> Iterator[bytes]:
    """Whole records; one that was being written when its process was killed is left out."""
    assert data[:4] == b":W&B"
    position, parts = HEADER, b""
    while position + FRAME <= len(data):
        left = BLOCK - position % BLOCK
        _, length, kind = struct.unpack("<IHB", data[position : position + FRAME]) if left >= FRAME else (0, 0, 0)
        if kind == 0:  # the rest of a block is too short for a frame
            position += left
            continue
        parts += data[position + FRAME : position + FRAME + length]
        position += FRAME + length
        if kind in (FULL, LAST):
            yield parts
            parts = b""
