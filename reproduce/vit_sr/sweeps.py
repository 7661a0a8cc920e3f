"""What Figure 4 sweeps, at each scale on a lattice of its size, and the errors of every training along both sweeps."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pipeline.analysis.power_law import PowerLaw, fit_exponential, fit_power_law
from pipeline.analysis.verdict import relative_error
from pipeline.base.numbers.result import Result
from pipeline.spin.symmetry.permutations import lattice_symmetries
from pipeline.spin.systems import SpinSystem
from pipeline.spin.terms import pauli_terms
from reproduce.artefact import Cell
from reproduce.tables import Table
from reproduce.vit_sr import shared

AXES = {"samples": "M", "parameters": "P"}
"""Panels of the figure in its order, with the letter of what is swept."""

QUANTITIES = {"energy": "relative error of the energy", "v_score": "V-score"}
"""To which a power law is fitted, of every training."""


@dataclass(frozen=True)
class Sweep:
    """Trainings of some scales.

    Attributes:
        scales: at which they are run.
        length: of the square lattice.
        networks: (d, h), what the number of parameters follows from.
        samples: values of M.
        settings: recipe of each panel.
        seeds: trainings of each point.
    """

    scales: tuple[str, ...]
    length: int
    networks: tuple[tuple[int, int], ...]
    samples: tuple[int, ...]
    settings: Mapping[str, str]
    seeds: tuple[int, ...] = (0,)

    def rows(self, axis: str) -> dict[str, tuple[str, ...]]:
        """What is set at each point of a panel, by the name of its row, from the smallest on."""
        if axis == "samples":
            return {f"M{m}": (f"train.sampler.samples={m}", f"train.sampler.chains={m}") for m in self.samples}
        return {f"d{d}": (f"train.ansatz.width={d}", f"train.ansatz.heads={h}") for d, h in self.networks}

    def cells(self) -> list[Cell]:
        """Trainings and the references of their rows."""
        physics, columns = shared.lattice(self.length), shared.columns(shared.VIT)
        made = []
        for axis, settings in self.settings.items():
            for row, swept in self.rows(axis).items():
                made.append(Cell(row, shared.VIT, (*physics, *swept), columns, self.seeds, settings=settings))
                made.append(shared.reference(row, self.length, settings))
        return [replace(cell, scales=self.scales) for cell in made]


PAPER = {"samples": "vit_sr/fig4", "parameters": "vit_sr/fig4"}
SMALL = {"samples": "vit_sr/fig4_samples", "parameters": "vit_sr/fig4_sizes"}

SWEEPS = (
    # networks as printed; of M the text prints 6000 and "up to 10^4", the other values are ours
    Sweep(("paper",), 10, ((40, 10), (60, 10), (72, 12), (140, 14)), (1000, 2000, 4000, 6000, 10000), PAPER),
    Sweep(("gpu", "long"), 6, ((8, 2), (12, 4), (18, 6), (24, 6), (36, 6)), (125, 250, 500, 1000, 2000), PAPER, (0, 1)),
    Sweep(("laptop",), 4, ((3, 1), (4, 1), (5, 1), (6, 1), (8, 1)), (64, 128, 256, 512, 1024), SMALL, (0, 1)),
    Sweep(("smoke",), 4, ((2, 1), (3, 1)), (4, 8), SMALL),
)


def sweep(scale: str) -> Sweep:
    """Of a scale."""
    return next(one for one in SWEEPS if scale in one.scales)


@dataclass(frozen=True)
class Point:
    """The trainings of one row.

    Attributes:
        x: P or M.
        values: a number each, in the order of the seeds: a relative error of the energy, signed, or a V-score.
    """

    row: str
    x: float
    values: tuple[float, ...]

    @property
    def positive(self) -> tuple[float, ...]:
        """Those with a logarithm."""
        return tuple(v for v in self.values if v > 0)

    @property
    def mean(self) -> float:
        """Geometric, of the positive ones; NaN without any."""
        return statistics.geometric_mean(self.positive) if self.positive else math.nan


def points(table: Table, axis: str, quantity: str = "energy") -> list[Point]:
    """Finished rows of a panel, from the smallest x on."""
    found = []
    for row in sweep(table.scale).rows(axis):
        done = [d for d in table.finished if (d.task.cell.row, d.task.cell.method) == (row, shared.VIT)]
        results = [d.result for d in done if d.result is not None]
        exact = table.reference(row, "energy")
        if not results or exact is None:
            continue
        values = tuple(
            relative_error(r.estimate("energy").value, exact.value)
            if quantity == "energy"
            else r.estimate(quantity).value
            for r in results
        )
        found.append(Point(row, _x(axis, row, results[0]), values))
    return sorted(found, key=lambda point: point.x)


def earlier(table: Table, axis: str) -> list[Point]:
    """The same trainings at their first snapshot, after half of the steps where recipes have one; empty without any."""
    rows, found = sweep(table.scale).rows(axis), dict[str, list[float]]()
    for done, curve in table.curves():
        row, exact = done.task.cell.row, table.reference(done.task.cell.row, "energy")
        along = (curve.name, curve.x_name) == ("energy_along_training", "step") and len(curve.y) > 1
        if row in rows and along and exact is not None:
            found.setdefault(row, []).append(relative_error(curve.y[0], exact.value))
    return [replace(p, values=tuple(found[p.row])) for p in points(table, axis) if p.row in found]


def _x(axis: str, row: str, result: Result) -> float:
    return float(row.removeprefix("M")) if axis == "samples" else result.estimate("parameters").value


def fit(found: Sequence[Point]) -> PowerLaw | None:
    """Through all trainings that have a logarithm."""
    return fit_power_law({p.x: p.positive for p in found if p.positive})


def rival(found: Sequence[Point]) -> PowerLaw | None:
    """An exponential through the same."""
    return fit_exponential({p.x: p.positive for p in found if p.positive})


def without_logarithm(found: Sequence[Point]) -> int:
    """Trainings that a fit cannot use: at or, by rounding or noise, below the reference."""
    return sum(len(p.values) - len(p.positive) for p in found)


def even_states(system: SpinSystem) -> int:
    """How many states with Σσz = 0 are even under all lattice symmetries and the flip of all spins: orbits of
    configurations. Of 16 sites or so: it goes through all of them."""
    import numpy as np

    size = system.size
    words = np.arange(2**size)
    words = words[2 * sum((words >> site) & 1 for site in range(size)) == size]
    images = [2**size - 1 - words]
    for permutation in lattice_symmetries(system, pauli_terms(system)).values():
        images.append(sum(((words >> a) & 1) << b for a, b in enumerate(permutation)))
    places = [np.searchsorted(words, image) for image in images]
    orbit, before = np.arange(len(words)), None
    while before is None or (orbit != before).any():  # everybody takes the smallest name among its images
        before = orbit.copy()
        for place in places:
            orbit = np.minimum(orbit, orbit[place])
    return len(set(orbit.tolist()))
