"""Noise of gradient estimators: what is measured, and the table."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from benchmarks import gradients
from benchmarks.gradients import Noise, text
from pipeline.gauge.joint.schema import GRADIENTS


def test_all_estimators_are_measured_at_all_states(tmp_path: Path) -> None:
    assert gradients.main(["--size", "tiny", "--out", str(tmp_path)]) == 0
    with open(tmp_path / "gradients.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["updates"], row["gradient"]) for row in rows] == [(u, g) for u in "01" for g in GRADIENTS]
    for row in rows:
        assert float(row["cost"]) == pytest.approx(float(row["variance"]) * float(row["seconds"]))
        assert float(row["norm"]) > 0


def test_costs_are_relative_to_the_reparametrised_gradient_of_the_same_state() -> None:
    found = [Noise(u, g, 1.0, v, 0.5, 0.5 * v) for u, v in ((0, 2.0), (9, 8.0)) for g in GRADIENTS[:1]]
    found.append(Noise(9, "path", 1.0, 2.0, 1.0, 2.0))
    written = text(found, 3, 1)
    assert "| 9 | path | 1 | 2 | 1 | 2 | 0.5 |" in written
    assert "| 9 | reparametrised | 1 | 8 | 0.5 | 4 | 1 |" in written
