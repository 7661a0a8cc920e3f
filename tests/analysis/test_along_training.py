"""Curves along training: the clock of the training, the numbers of the inferences."""

from __future__ import annotations

import json
import math
from pathlib import Path

from pipeline.analysis.along_training import curves_along_training, seconds_at
from pipeline.base.numbers.result import Estimate, Result
from pipeline.base.store.entry import Entry

NAMES = ("energy", "variance")


def trained(folder: Path) -> Entry:
    lines = [{"loop": "train", "k": k, "seconds": 1.5 * (k + 1), "energy": -1.0} for k in range(4)]
    folder.mkdir()
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return Entry(folder, {"files": {"metrics.jsonl": ""}})


def inferred(folder: Path, step: int, energy: float, *, variance: bool = True) -> Entry:
    estimates = [Estimate("energy", energy, 0.1, unit="total")]
    estimates += [Estimate("variance", 2 * abs(energy), None, unit="total^2")] if variance else []
    folder.mkdir()
    (folder / "result.json").write_text(json.dumps(Result(tuple(estimates)).to_json()))
    return Entry(folder, {"nodes": {"step": step}, "files": {"result.json": ""}})


def test_seconds_are_those_of_the_last_update_before_the_state(tmp_path: Path) -> None:
    entry = trained(tmp_path / "t")
    assert [seconds_at(entry, step) for step in (0, 1, 3, 4)] == [0.0, 1.5, 4.5, 6.0]


def test_energy_and_variance_against_steps_and_seconds(tmp_path: Path) -> None:
    entries = [inferred(tmp_path / "a", 0, -1.0), inferred(tmp_path / "b", 3, -4.0)]
    found = {(c.y_name, c.x_name): c for c in curves_along_training(trained(tmp_path / "t"), entries, NAMES)}
    assert set(found) == {(y, x) for y in ("energy", "variance") for x in ("step", "seconds")}
    assert found["energy", "step"].x == (0, 3)
    assert found["energy", "seconds"].x == (0.0, 4.5)
    assert found["energy", "seconds"].y == (-1.0, -4.0)
    assert found["energy", "step"].sigma == (0.1, 0.1)
    assert found["variance", "step"].y == (2.0, 8.0)
    assert found["variance", "step"].unit == "total^2"
    assert all(math.isnan(sigma) for sigma in found["variance", "step"].sigma), "unknown errors are not zero"


def test_what_was_not_estimated_everywhere_has_no_curve(tmp_path: Path) -> None:
    entries = [inferred(tmp_path / "a", 0, -1.0), inferred(tmp_path / "b", 3, -4.0, variance=False)]
    assert {c.y_name for c in curves_along_training(trained(tmp_path / "t"), entries, NAMES)} == {"energy"}
    assert curves_along_training(trained(tmp_path / "u"), [], NAMES) == []
