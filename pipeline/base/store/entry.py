"""A finished entry of the stage store, as its readers see it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pipeline.base.numbers.formatting import duration, memory
from pipeline.base.numbers.result import Result
from pipeline.base.store.files import load_tree, read_json, read_plain, steadily
from pipeline.base.store.formats import PROVENANCE, RESULT, SOURCE, state_name
from pipeline.base.store.records import Records

ENSEMBLE = "ensemble.safetensors"
"""What is kept of configurations beside a result."""

METRICS = "metrics.jsonl"
"""What each unit of a loop measured."""


@dataclass(frozen=True)
class Entry:
    """A finished, verified entry. Only the files that its status lists are read.

    Another process may exchange it meanwhile for a longer one, which has all its states; readers wait for that.
    """

    path: Path
    status: dict[str, Any]

    def has(self, name: str) -> bool:
        """Whether a file belongs to the entry; others that lie in its folder do not."""
        return name in self.status["files"]

    @property
    def name(self) -> str:
        return f"{self.path.parent.name}/{self.path.name}"

    @property
    def seconds(self) -> float:
        """Compute time in seconds, without checkpointing, summed over interrupted pieces."""
        return float(self.status["seconds"])

    @property
    def finished(self) -> float:
        """When it was finished, in seconds since the epoch; 0 where it does not say."""
        try:
            return datetime.fromisoformat(self.status["finished"]).timestamp()
        except (KeyError, ValueError):
            return 0.0

    @property
    def device(self) -> str:
        """The device that computed it."""
        return str(self.status.get("device", "an unknown device"))

    @property
    def memory(self) -> str:
        """What it took of memory, for a reader."""
        size = self.status.get("peak_bytes")
        return "an unknown amount of memory" if size is None else f"{memory(size)} of memory"

    @property
    def cost(self) -> str:
        """Time, device and name, for a reader."""
        return f"{duration(self.seconds)} on {self.device} (`{self.name}`)"

    def result(self) -> Result:
        """The summarised result of an infer or baseline entry."""
        return steadily(lambda: Result.from_json(read_json(self._file(RESULT))))

    def provenance(self) -> dict[str, Any]:
        """Source, packages and hardware that the entry was computed with."""
        facts: dict[str, Any] = steadily(lambda: read_json(self._file(PROVENANCE)))
        return facts

    def sources(self) -> dict[str, str]:
        """Digests of the modules that it was computed with, see :mod:`pipeline.base.store.source`; empty if unknown."""
        if not self.has(SOURCE):
            return {}
        digests: dict[str, str] = steadily(lambda: read_json(self._file(SOURCE)))
        return digests

    def ensemble(self) -> dict[str, Any]:
        """What was kept of the configurations, arrays by name; empty where it kept nothing."""
        return steadily(lambda: load_tree(self._file(ENSEMBLE))) if self.has(ENSEMBLE) else {}

    def records(self) -> Records:
        """All records, in order, read as they are asked for."""
        names = sorted(name for name in self.status["files"] if name.startswith("records-") and name.endswith(".npz"))
        return steadily(lambda: Records([self._file(name) for name in names]))

    def state(self, step: int) -> dict[str, Any]:
        """The state tree after ``step`` updates.

        Raises:
            ValueError: the file says that it belongs to another entry.
        """
        return steadily(lambda: load_tree(self._file(state_name(step)), of=self.path.name))

    def state_steps(self) -> list[int]:
        """Steps whose full state is kept."""
        stems = [name.removesuffix(".safetensors").split("-") for name in self.status["files"]]
        return sorted(int(stem[1]) for stem in stems if len(stem) == 2 and stem[0] == "state" and stem[1].isdigit())

    def metrics(self) -> list[dict[str, Any]]:
        """Lines of ``metrics.jsonl``."""
        if not self.has(METRICS):
            return []
        text = steadily(lambda: read_plain(self._file(METRICS))).decode()
        return [json.loads(line) for line in text.splitlines()]

    def series(self) -> dict[str, tuple[list[int], list[float]]]:
        """Units and values of each metric, where it was measured: a step that was rejected has few."""
        found: dict[str, tuple[list[int], list[float]]] = {}
        for line in self.metrics():
            for name, value in line.items():
                if name not in ("loop", "k", "seconds"):
                    units, values = found.setdefault(name, ([], []))
                    units.append(line["k"])
                    values.append(value)
        return found

    def _file(self, name: str) -> Path:
        """Path of a file that belongs to the entry."""
        if not self.has(name):
            raise OSError(f"{self.name} has no {name}")
        return self.path / name
