"""Curves of finished runs: metrics of the training, and fresh samples of its snapshots."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from pipeline.analysis.along_training import curves_along_training
from pipeline.base.numbers.result import Curve
from reproduce.plan import Found

MOST_POINTS = 20
"""Of a training's metric in ``curves.csv``, which is committed; all of them are in the store."""

MOST_HISTORY = 200
"""Of any other curve of a run there, such as a chain's charge against trajectories."""


def thinned(curve: Curve) -> Curve:
    """The curve as it is committed: evenly spaced points, its ends included; of one that never changes the ends."""
    last = len(curve.x) - 1
    most = MOST_POINTS if curve.name.startswith("train/") else MOST_HISTORY
    if len(set(curve.y)) == 1:
        most = 2
    if len(curve.x) <= most:
        return curve
    chosen = sorted({round(k * last / (most - 1)) for k in range(most)})
    x, y, sigma = (tuple(values[i] for i in chosen) if values else () for values in (curve.x, curve.y, curve.sigma))
    return replace(curve, x=x, y=y, sigma=sigma)


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
