"""Trainings along which symmetries are restored one by one: their phases, traces and energies from fresh samples."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.spin.units import energy_factor
from reproduce.tables import Finished, Table

MOST_POINTS = 400
"""Of a trace that is kept with the report: means of so many stretches of steps."""

NAMES = {
    (): "patches only",
    ("translations",): "translations",
    ("translations", "rotations"): "translations, rotations",
    ("translations", "rotations", "reflections", "spin_flip"): "all, with reflections and parity",
}
"""Of projections, in the order in which the paper restores them."""


@dataclass(frozen=True)
class Phase:
    """A stretch of steps with one projection; ``energy`` per site at its end, from fresh samples (NaN: none)."""

    name: str
    first: int
    last: int
    energy: float
    sigma: float


@dataclass(frozen=True)
class Course:
    """One training: phases, and the energy per site of its batches, each over ``width`` steps."""

    seed: int
    phases: tuple[Phase, ...]
    steps: tuple[float, ...]
    energies: tuple[float, ...]

    def kept(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "seed": self.seed,
            "phases": [list(vars(phase).values()) for phase in self.phases],
            "steps": list(self.steps),
            "energies": list(self.energies),
        }

    @staticmethod
    def of_kept(tree: Mapping[str, Any]) -> Course:
        """Inverse of :meth:`kept`."""
        phases = tuple(Phase(*values) for values in tree["phases"])
        return Course(tree["seed"], phases, tuple(tree["steps"]), tuple(tree["energies"]))


def courses(table: Table, row: str, method: str) -> list[Course]:
    """Every finished training of a cell; as kept by the report where it is rendered anew."""
    if "courses" in table.kept:
        return [Course.of_kept(tree) for tree in table.kept["courses"]]
    done = [one for one in table.finished if (one.task.cell.row, one.task.cell.method) == (row, method)]
    return [_course(one) for one in done if one.found.trained is not None and one.result is not None]


def _course(done: Finished) -> Course:
    trained, run = done.found.trained, done.task.run
    assert trained is not None
    factor = energy_factor("per site", "spin-1/2", run.system.size)
    steps, energies = trained.series()["energy"]
    x, y = _means(steps, [factor * e for e in energies])
    states = {
        int(entry.status["nodes"]["step"]): entry for entry in (*done.found.snapshots, done.found.inferred) if entry
    }
    phases, first, names = [], 0, tuple(run.train.ansatz.projection)
    for phase in run.train.phases:
        names = names if phase.projection is None else tuple(phase.projection)
        last = min(first + phase.steps, run.train.steps)
        if last <= first:
            break
        energy = states[last].result().estimate("energy") if last in states else None
        value, sigma = (math.nan, math.nan) if energy is None else (energy.value, energy.sigma or math.nan)
        phases.append(Phase(NAMES.get(names, ", ".join(names)), first, last, factor * value, factor * sigma))
        first = last
    return Course(done.task.seed, tuple(_joined(phases)), x, y)


def _joined(phases: Sequence[Phase]) -> list[Phase]:
    """Stretches of one projection, one after the other, as one."""
    found: list[Phase] = []
    for phase in phases:
        if found and found[-1].name == phase.name:
            phase = Phase(phase.name, found.pop().first, phase.last, phase.energy, phase.sigma)
        found.append(phase)
    return found


def _means(x: Sequence[float], y: Sequence[float]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Means over equal stretches, at most :data:`MOST_POINTS` of them."""
    width = max(1, math.ceil(len(x) / MOST_POINTS))
    pieces = [slice(k, k + width) for k in range(0, len(x), width)]
    return tuple(tuple(math.fsum(values[p]) / len(values[p]) for p in pieces) for values in (x, y))  # type: ignore[return-value]
