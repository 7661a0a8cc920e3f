"""Curves along a training from fresh samples of its snapshots, against steps and against seconds."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pipeline.base.numbers.result import Curve
from pipeline.base.store.entry import Entry


def seconds_at(trained: Entry, step: int) -> float:
    """Seconds of training until ``step`` updates were done, without measuring and checkpointing."""
    return max(
        (line["seconds"] for line in trained.metrics() if line["loop"] == "train" and line["k"] < step), default=0.0
    )


def curves_along_training(trained: Entry, inferred: Sequence[Entry], names: Sequence[str]) -> list[Curve]:
    """``<name>_along_training`` against ``step`` and against ``seconds``, for each name that was estimated.

    Args:
        trained: the training, which knows its clock.
        inferred: inferences on its states, in the order of their steps.
        names: estimates wanted.
    """
    steps = [int(entry.status["nodes"]["step"]) for entry in inferred]
    clock: dict[str, Sequence[float]] = {"step": steps, "seconds": [seconds_at(trained, step) for step in steps]}
    found = [{e.name: e for e in entry.result().estimates} for entry in inferred]
    curves = []
    for name in names:
        if found and all(name in estimates for estimates in found):
            estimates = [by_name[name] for by_name in found]
            # an unknown error is not an error of zero
            values, sigmas = [e.value for e in estimates], [math.nan if e.sigma is None else e.sigma for e in estimates]
            for x_name, x in clock.items():
                label = f"{name}_along_training"
                curves.append(Curve.of(label, x_name, name, x, values, sigmas, estimates[0].unit))
    return curves
