"""Cells, numbers and words that the artefacts of this paper share."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from pipeline.analysis.along_training import curves_along_training
from pipeline.analysis.verdict import relative_error
from pipeline.base.numbers.result import Curve
from reproduce.artefact import Cell, Column
from reproduce.naqs.judgement import with_exponent
from reproduce.tables import CellRow, Finished, Table

NIR, MCMC = "nir", "mcmc"
NAMES = {NIR: "NIR", MCMC: "MCMC"}
LEVELS = ("energy", "energy_1", "energy_2")
"""Of the three states, ascending."""

TARGET = 1e-3
"""Relative error of every level that trainings of this size are asked for."""


RANDOM = {NIR: "nir", MCMC: "nir/mcmc"}
"""Recipes of trainings that begin with random parameters."""

FERROMAGNET, ORDERED, DEEP = 2.0, 1.0, 0.1
"""Ours; the transition of large lattices is at 3.0444. Up to the first, trainings with NIR that begin with random
parameters fall onto aligned spins on 6 × 6 sites; up to the second the fourth level is close to the third and slow to
go; up to the third flipped spins hardly move.
"""


def annealed(g: float) -> dict[str, str]:
    """Recipes of trainings that begin in the paramagnet and come to ``g`` field by field; none above ferromagnets."""
    if g > FERROMAGNET:
        return {}
    name = "deep" if g <= DEEP else "ordered" if g <= ORDERED else "annealed"
    return {NIR: f"nir/{name}", MCMC: f"nir/mcmc_{name}"}


def field(g: float) -> str:
    """Transverse field of a cell, in units of J."""
    return f"system.field={g:g}"


def row(g: float) -> str:
    """``g2.5``."""
    return f"g{g:g}"


def columns(method: str, more: tuple[str, ...] = ()) -> tuple[Column, ...]:
    """The three levels, their sum, and what else is wanted."""
    return tuple(Column(method, name, name) for name in (*LEVELS, "trace", *more))


def other_lattice(table: Table, theirs: str) -> list[str]:
    """A sentence where the lattice is not that of the paper."""
    if not table.other_system:
        return []
    system = table.finished[0].task.run.system
    return [f"The lattice has {system.length_x} × {system.length_y} sites, the paper's {theirs}."]


def reference(where: str, physics: tuple[str, ...], settings: str) -> Cell:
    """The exact levels of a row, or those of DMRG."""
    return Cell(where, "reference", physics, columns("reference"), stages=("baseline",), settings=settings)


def deviation(line: CellRow | None) -> tuple[float, float | None] | None:
    """Signed relative distance from the reference, with its error; None where there is none."""
    if line is None or line.ours is None or not line.reference:
        return None
    sigma = None if line.ours_sigma is None else math.hypot(line.ours_sigma, line.reference_sigma or 0.0)
    return relative_error(line.ours, line.reference), None if sigma is None else sigma / abs(line.reference)


def error(line: CellRow | None) -> str:
    """:func:`deviation` as ``+2.7(6)e-4``."""
    found = deviation(line)
    return "–" if found is None else with_exponent(*found)


def along_training(table: Table, names: Sequence[str]) -> Iterator[tuple[Finished, dict[str, Curve]]]:
    """Every finished training, with estimates of its snapshots and of its end against the step, by name."""
    for done in table.finished:
        found = done.found
        if found.trained is None or found.inferred is None or done.result is None:
            continue
        curves = curves_along_training(found.trained, [*found.snapshots, found.inferred], names)
        yield done, {curve.y_name: curve for curve in curves if curve.x_name == "step"}
