"""Cells, answers and words that the artefacts of trained flows share."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pipeline.base.numbers.formatting import with_error
from pipeline.base.numbers.result import Curve, Estimate
from reproduce.artefact import Cell, Column
from reproduce.curves import thinned
from reproduce.naqs.judgement import Answer, difference_in_sigmas
from reproduce.tables import CellRow, Finished, Table

FLOW = "flow"
PRECONDITIONINGS: Mapping[str, tuple[str, str]] = {
    "none": ("pseudofermion/joint_plain", "no preconditioning"),
    "even-odd": ("pseudofermion/joint_even_odd", "even/odd"),
    "hasenbusch-1": ("pseudofermion/joint_hasenbusch_1", "even/odd, 1 Hasenbusch step"),
    "hasenbusch-2": ("pseudofermion/joint_hasenbusch_2", "even/odd, 2 Hasenbusch steps"),
    "hasenbusch-3": ("pseudofermion/joint", "even/odd, 3 Hasenbusch steps"),
}
"""Recipe of each of the five targets of Fig. 4, and what it is called, in the order of the paper."""

NAMES = {method: name for method, (_, name) in PRECONDITIONINGS.items()}
SMALL = ("smoke", "laptop")
LARGE = ("long", "gpu", "paper")
"""Scales at which two and three Hasenbusch steps are trained: on 4 × 4 sites there is no spectrum for so many."""

SMALL_LATTICE = "4 × 4 sites below scale `long`"


def columns(method: str, quantities: Sequence[str]) -> tuple[Column, ...]:
    """Estimates under their own names."""
    return tuple(Column(method, name, name) for name in quantities)


def trained(row: str, method: str, quantities: Sequence[str], seeds: tuple[int, ...]) -> list[Cell]:
    """One of the five targets; of scale ``gpu``, where each takes minutes of a large machine, one seed."""
    settings = PRECONDITIONINGS[method][0]
    scales = LARGE if method in ("hasenbusch-2", "hasenbusch-3") else (*SMALL, *LARGE)
    several = Cell(
        row,
        method,
        (),
        columns(method, quantities),
        seeds,
        settings=settings,
        scales=tuple(scale for scale in scales if scale != "gpu"),
    )
    return [several, replace(several, seeds=seeds[:1], scales=("gpu",))]


def finished(table: Table, method: str) -> list[Finished]:
    """Every seed of a method that has a result."""
    return [done for done in table.finished if done.task.cell.method == method and done.result]


def shown(line: CellRow | None) -> str:
    """``0.157(9)``, or a dash."""
    return "–" if line is None or line.ours is None else with_error(line.ours, line.ours_sigma)


def of_estimate(found: Estimate | None) -> str:
    """The same of one run."""
    return "–" if found is None else with_error(found.value, found.sigma)


def along(table: Table, method: str, metric: str) -> list[Curve]:
    """A metric of the training of every seed, with the points that are kept with the report."""
    wanted = f"train/{metric}"
    return [
        thinned(curve) for done, curve in table.curves() if done.task.cell.method == method and curve.name == wanted
    ]


def larger(more: CellRow | None, less: CellRow | None, sigmas: float, doubted: bool = False) -> Answer | None:
    """Whether one number is larger than another beyond ``sigmas`` combined errors; None where one is missing."""
    if more is None or less is None or more.ours is None or less.ours is None:
        return None
    pull = difference_in_sigmas(more.ours, more.ours_sigma, less.ours, less.ours_sigma)
    unknown = more.ours_sigma is None or less.ours_sigma is None
    if doubted or unknown or pull is None or abs(pull) <= sigmas:
        return "undecided"
    return "yes" if pull > 0 else "no"


def vanishes(found: Estimate | None, sigmas: float) -> Answer | None:
    """Whether a difference is zero within ``sigmas`` errors; None where there is none."""
    if found is None:
        return None
    if not found.reliable or not found.sigma:
        return "undecided"
    return "yes" if abs(found.value) <= sigmas * found.sigma else "no"


def of_lattice(table: Table) -> str:
    """Where the lattice is not the paper's, which one it is."""
    if not table.other_system or not table.finished:
        return ""
    lengths = sorted({d.task.run.system.length for d in table.finished if "train" in d.task.cell.stages})
    return " and ".join(f"{length} × {length}" for length in lengths)


@dataclass(frozen=True)
class Spread:
    """Mean of several curves at the same points with its standard error, NaN for a single one."""

    x: tuple[float, ...]
    mean: tuple[float, ...]
    sigma: tuple[float, ...]


def over(curves: Sequence[Curve]) -> Spread | None:
    """Of trainings of several seeds, where all have the same points."""
    if not curves or len({curve.x for curve in curves}) != 1:
        return None
    n = len(curves)
    means, sigmas = [], []
    for values in zip(*(curve.y for curve in curves), strict=True):
        mean = math.fsum(values) / n
        means.append(mean)
        variance = math.fsum((v - mean) ** 2 for v in values) / (n - 1) if n > 1 else math.nan
        sigmas.append(math.sqrt(variance / n))
    return Spread(curves[0].x, tuple(means), tuple(sigmas))
