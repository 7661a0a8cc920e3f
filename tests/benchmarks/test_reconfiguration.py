"""Seconds and memory of SR against sizes: measured points, and the exponents that are read off them."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest

from benchmarks import reconfiguration
from benchmarks.reconfiguration import KINDS, Point, exponent, measure, text


def test_exponents_are_those_of_power_laws() -> None:
    x = [1.0, 2.0, 4.0, 8.0]
    assert exponent(x, [3 * v**1.5 for v in x]) == pytest.approx((1.5, 0.0), abs=1e-12)
    slope, error = exponent(x, [v**2 * noise for v, noise in zip(x, (1.1, 0.9, 1.1, 0.9), strict=True)])
    assert abs(slope - 2) < 3 * error
    assert math.isnan(exponent([2.0, 2.0], [1.0, 1.0])[0])


def test_both_kinds_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def here(size: str, repeats: int, threads: int) -> list[Point]:
        return [measure(kind, "parameters", 4, 5, repeats, threads) for kind in KINDS]

    monkeypatch.setattr(reconfiguration, "run", here)
    assert reconfiguration.main(["--size", "tiny", "--repeats", "1", "--threads", "1", "--out", str(tmp_path)]) == 0
    with open(tmp_path / "reconfiguration.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["kind"] for row in rows] == list(KINDS)
    assert all(float(row["seconds"]) > 0 and float(row["cpu_seconds"]) > 0 for row in rows)
    assert rows[0]["parameters"] == str(reconfiguration._parameters(4))
    assert (tmp_path / "reconfiguration.png").stat().st_size > 0
    assert len({row["parameters"] for row in rows}) == 1


def test_the_table_says_what_grows_how_fast() -> None:
    points = [Point("dense", "samples", 10, m, 1.0, 1e-6 * m**2, 1600 * m) for m in (10, 20, 40)]
    written = text(points, 2)
    assert "| dense | samples | 2.00 ± 0.00 | 1.00 ± 0.00 |" in written
    assert "| dense | 10 | 20 | 1 | 0.0004 | 0 | 10.00 |" in written  # of 16 bytes an element
