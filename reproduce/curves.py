"""Curves of finished runs: metrics of the training, and fresh samples of its snapshots."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

from pipeline.analysis.along_training import curves_along_training
from pipeline.base.contracts import Shown
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
    columns = (curve.x, curve.y, curve.sigma, curve.x_width)
    x, y, sigma, x_width = (tuple(values[i] for i in chosen) if values else () for values in columns)
    return replace(curve, x=x, y=y, sigma=sigma, x_width=x_width)


def training_curves(found: Found, shown: Shown) -> Iterable[Curve]:
    """Each metric of the training against the step, as far as the run goes; those that the method shows have a unit."""
    if found.trained is None:
        return
    for name, (steps, values) in found.trained.series().items():
        unit = shown.unit if name in shown.metrics else "1"
        # Another run may have gone on with the training.
        there = sum(step < (math.inf if found.step is None else found.step) for step in steps)
        if there:
            yield Curve.of(f"train/{name}", "step", name, steps[:there], values[:there], unit=unit)


def snapshot_curves(found: Found, shown: Shown) -> list[Curve]:
    """What the method shows from fresh samples along the training; none without snapshots."""
    if found.trained is None or found.inferred is None or not found.snapshots:
        return []
    return curves_along_training(found.trained, [*found.snapshots, found.inferred], shown.along)
