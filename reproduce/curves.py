"""Curves of finished runs: metrics of the training, and fresh samples of its snapshots."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.analysis.along_training import curves_along_training
from pipeline.base.result import Curve
from reproduce.plan import Found


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
