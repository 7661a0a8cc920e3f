"""Curves of a report are those of its runs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.base.contracts import Shown
from reproduce.curves import training_curves


@pytest.mark.parametrize(("step", "shown"), [(3, [0, 2]), (2, [0]), (9, [0, 2, 4]), (None, [0, 2, 4])])
def test_metrics_end_where_the_run_does(step: int | None, shown: list[int]) -> None:
    """Whatever else another run has added to the same training; metrics of update k stand at k, the first is 0."""
    series = {"loss": ([0, 2, 4], [5.0, 4.0, 3.0]), "late": ([4], [1.0])}
    found: Any = SimpleNamespace(trained=SimpleNamespace(series=lambda: series), step=step)
    curves = {curve.name: curve for curve in training_curves(found, Shown("loss", "loss", "total", ("loss",), ()))}
    assert list(curves["train/loss"].x) == shown
    assert list(curves["train/loss"].y) == [5.0, 4.0, 3.0][: len(shown)]
    assert ("train/late" in curves) == (4 in shown)
