"""A finished entry of the stage store, as its readers see it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.base.numbers.formatting import duration
from pipeline.base.numbers.result import Result
from pipeline.base.store.files import load_tree
from pipeline.base.store.records import Records

ENSEMBLE = "ensemble.safetensors"
"""What is kept of configurations beside a result."""


@dataclass(frozen=True)
class Entry:
    """A finished, verified entry."""

    path: Path
    status: dict[str, Any]

    @property
    def name(self) -> str:
        return f"{self.path.parent.name}/{self.path.name}"

    @property
    def seconds(self) -> float:
        """Compute time in seconds, without checkpointing, summed over interrupted pieces."""
        return float(self.status["seconds"])

    @property
    def cost(self) -> str:
        """Time, device and name, for a reader."""
        return f"{duration(self.seconds)} on {self.status['device']} (`{self.name}`)"

    def result(self) -> Result:
        """The summarised result of an infer or baseline entry."""
        return Result.from_json(json.loads((self.path / "result.json").read_text()))

    def provenance(self) -> dict[str, Any]:
        """Source, packages and hardware that the entry was computed with."""
        facts: dict[str, Any] = json.loads((self.path / "provenance.json").read_text())
        return facts

    def ensemble(self) -> dict[str, Any]:
        """What was kept of the configurations, arrays by name; empty where it kept nothing."""
        path = self.path / ENSEMBLE
        return load_tree(path) if path.exists() else {}

    def records(self) -> Records:
        """All records, in order, read as they are asked for."""
        return Records.of(self.path)

    def state(self, step: int) -> dict[str, Any]:
        """The state tree after ``step`` updates."""
        return load_tree(self.path / state_name(step))

    def state_steps(self) -> list[int]:
        """Steps whose full state is kept."""
        return sorted(int(path.stem.split("-")[1]) for path in self.path.glob("state-*.safetensors"))

    def metrics(self) -> list[dict[str, Any]]:
        """Lines of ``metrics.jsonl``."""
        path = self.path / "metrics.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

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


def state_name(step: int) -> str:
    """File name of the state after ``step`` updates."""
    return f"state-{step:08d}.safetensors"
