"""Curves of finished runs: metrics of the training, and fresh samples of its snapshots."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.analysis.along_training import curves_along_training
from pipeline.base.result import Curve
from reproduce.plan import Found

MOST_POINTS = 30
"""Of a training's metric in ``curves.csv``, which is committed; all of them are in the store."""


def thinned(curve: Curve) -> Curve | None:
    """At most :data:`MOST_POINTS` evenly spaced points of a metric, its ends included; None if it never changes."""
    if len(set(curve.y)) < 2:
        return None
    last = len(curve.x) - 1
    chosen = sorted({round(k * last / (MOST_POINTS - 1)) for k in range(MOST_POINTS)})
    x, y = ([values[i] for i in chosen] for values in (curve.x, curve.y))
    return Curve.of(curve.name, curve.x_name, curve.y_name, x, y, unit=curve.unit)


def training_curves(found: Found) -> Iterable[Curve]:
    """Each metric of the training against the step."""
    if found.trained is None:
        return
    for name, (steps, values) in found.trained.series().items():
        unit = "total" if name.startswith(("energy", "floor")) else "1"
        yield Curve.of(f"train/{name}", "step", name, steps, values, unit=unit)


def snapshot_curves(found: Found) -> list[Curve]:
    """Energy and variance from fresh samples along the training; none without snapshots."""
    if found.trained is None or found.inferred is None or not found.snapshots:
        return []
    return curves_along_training(found.trained, [*found.snapshots, found.inferred])
