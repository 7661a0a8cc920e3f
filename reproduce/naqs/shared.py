"""Cells, table lines and checks that the artefacts of this paper share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from pipeline.analysis.verdict import relative_error
from pipeline.base.numbers.formatting import with_error
from reproduce.artefact import Cell, Claim, Column
from reproduce.colours import style
from reproduce.naqs.judgement import consistent, difference_in_sigmas, with_exponent
from reproduce.naqs.noise import CLIPPED, Point, counted, draw, point
from reproduce.naqs.repeats import OURS
from reproduce.tables import CellRow, Table

ONE = "one training"
PROJECTED = "naqs-projected"
FROM_SAMPLES = "naqs-from-samples"
Series = tuple[str, bool, str]
"""A method, whether its printed numbers are meant, and a label."""


def naqs_cell(row: str, physics: tuple[str, ...], convention: str = "pauli") -> Cell:
    """The autoregressive state on a system, energies per site."""
    return Cell(row, "naqs", physics, _naqs_columns("naqs", convention))


def projected_cell(row: str, physics: tuple[str, ...], convention: str = "pauli") -> Cell:
    """Ours: the same network in one sector, projected on the symmetries at the end of its training."""
    return Cell(row, PROJECTED, physics, _naqs_columns(PROJECTED, convention), settings="naqs/projected")


def from_samples_cell(row: str, physics: tuple[str, ...], convention: str = "pauli") -> Cell:
    """Ours: a projected network that has learnt from configurations of quantum Monte Carlo."""
    return Cell(row, FROM_SAMPLES, physics, _naqs_columns(FROM_SAMPLES, convention), settings="naqs/from_samples")


def _naqs_columns(method: str, convention: str) -> tuple[Column, ...]:
    return (
        Column(method, "energy", "energy", "per site", convention),
        Column(method, "absolute_magnetisation", "absolute_magnetisation"),
        Column(method, "v_score", "v_score"),
    )


def qmc_cell(row: str, physics: tuple[str, ...], convention: str = "pauli", settings: str | None = None) -> Cell:
    """Quantum Monte Carlo: the reference, and the paper's own column of that name."""
    columns = (
        Column("qmc", "energy", "energy", "per site", convention),
        Column("qmc", "absolute_magnetisation", "absolute_magnetisation"),
    )
    return Cell(row, "reference", physics, columns, stages=("baseline",), settings=settings)


def check_cell(row: str, physics: tuple[str, ...], convention: str = "pauli") -> Cell:
    """Quantum Monte Carlo once more, with other random numbers and fewer of them."""
    columns = (
        Column("qmc-check", "energy", "energy", "per site", convention),
        Column("qmc-check", "absolute_magnetisation", "absolute_magnetisation"),
    )
    return Cell(row, "qmc-check", physics, columns, stages=("baseline",), settings="naqs/check")


def printed(table: Table, row: str, method: str, quantity: str) -> str:
    """A number of the paper with its printed digits, ``-2.4096022(2)`` or ``4.5(4)e-5``."""
    number = table.number(row, method, quantity)
    if number is None:
        return "–"
    unit = 2 * number.half_last_digit
    if not number.sigma or number.sigma >= 1000 * unit:
        return number.shown()
    mantissa, e, exponent = number.text.partition("e")
    return f"{mantissa}({round(number.sigma / unit)}){e}{exponent}"


def ours(row: CellRow | None) -> str:
    """Our value with its error."""
    return with_error(row.ours, row.ours_sigma) if row and row.ours is not None else "–"


def error(row: CellRow | None, of_printed: bool = False) -> str:
    """Signed relative error to the reference, with its combined standard error, ``+2.7(6)e-4``."""
    value = (row.published if of_printed else row.ours) if row else None
    if row is None or value is None or not row.reference or (of_printed and row.rel_error_published is None):
        return "–"
    own = row.published_sigma if of_printed else row.ours_sigma
    sigma = None if own is None else math.hypot(own, row.reference_sigma or 0.0) / abs(row.reference)
    return with_exponent(relative_error(value, row.reference), sigma)


def trainings(rows: Sequence[CellRow | None]) -> str:
    """``one training``, or the least number of seeds of the rows."""
    fewest = min((row.seeds for row in rows if row is not None and row.ours is not None), default=1)
    return ONE if fewest < 2 else f"{fewest} trainings"


def verdict(row: CellRow | None) -> str:
    """Ours against the paper's number."""
    return row.vs_paper if row else "not-run"


def qmc_agrees(table: Table, rows: list[str], quantity: str, name: str) -> Claim:
    """Our Monte Carlo against the paper's."""
    pulls = []
    for row in rows:
        found = table.row(row, "qmc", quantity)
        if found is None or found.ours is None or found.published is None or table.other_system:
            continue
        pull = difference_in_sigmas(found.ours, found.ours_sigma, found.published, found.published_sigma)
        pulls += [(row, pull)] if pull is not None else []
    return consistent(f"our QMC {name} against the paper's QMC, another program", OURS, pulls)


def distances(table: Table, rows: list[tuple[str, str]], series: Series) -> list[tuple[int, Point]]:
    """Place of each row and the relative distance of its energy from our QMC there, clipped at the noise."""
    method, is_printed, _ = series
    found = []
    for i, (name, _) in enumerate(rows):
        row, quantum = table.row(name, method), table.row(name, "qmc")
        value = (row.published if is_printed else row.ours) if row else None
        if row is None or value is None or quantum is None or not quantum.ours or (is_printed and table.other_system):
            continue
        own = row.published_sigma if is_printed else row.ours_sigma
        sigma = None if own is None else math.hypot(own, quantum.ours_sigma or 0.0) / abs(quantum.ours)
        found.append((i, point(abs(relative_error(value, quantum.ours)), sigma)))
    return found


def caption(table: Table, rows: list[tuple[str, str]], series: list[Series]) -> str:
    """Of :func:`draw_errors`."""
    points = [found for one in series for _, found in distances(table, rows, one)]
    return (
        "Distance of the energy from our quantum Monte Carlo, relative, with combined standard errors. "
        f"{CLIPPED} {counted(points)}"
    ).strip()


def draw_errors(table: Table, figure: Any, rows: list[tuple[str, str]], series: list[Series]) -> None:
    """Relative errors to our QMC on a logarithmic axis; ``rows`` are (name, label)."""
    axes = figure.subplots()
    for k, one in enumerate(series):
        found = distances(table, rows, one)
        x = [i + 0.1 * (k - (len(series) - 1) / 2) for i, _ in found]
        shown = style(one[0])
        draw(axes, x, [p for _, p in found], shown.colour, shown.marker, one[1], label=one[2])
    axes.set_yscale("log")
    axes.set_xticks(range(len(rows)), [label for _, label in rows])
    axes.set_xlim(-0.5, len(rows) - 0.5)
    axes.set_ylabel(r"$|E - E_\mathrm{QMC}| \, / \, |E_\mathrm{QMC}|$")
    axes.legend(frameon=False, fontsize=8)
