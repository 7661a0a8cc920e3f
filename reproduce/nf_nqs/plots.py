"""Relative errors on logarithmic axes: every whisker is a standard error, and one that reaches zero is an arrow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from reproduce.colours import style
from reproduce.nf_nqs.judging import relative_sigma
from reproduce.nf_nqs.shared import OURS
from reproduce.tables import CellRow, Table

ARROW = 0.5
"""Length of an arrow, as a part of the error that it starts from."""
WHISKERS = (
    "Whiskers are standard errors, those of the reference included; an arrow stands for one that reaches zero, which a "
    "logarithmic axis does not show. Filled: ours, open: the paper's. A bar through a marker: it lies below the "
    "reference (possible for Monte Carlo estimates only)."
)
PRINTED = (
    " Of the paper's NQS+NF the standard error is its ± over √20, and rounding; of what is printed ± 0, half of the "
    "last digit."
)


SERIES = (
    ("union-floor", False),
    *((method, printed) for method in ("nqs+nf", "mps", "dense-ar", "cnn-ar") for printed in (False, True)),
    ("annealed-ar", False),
)
"""What stands beside each other in a row of a table: method, and whether the printed number."""
NAMES = {"nqs+nf": "NQS+NF", "union-floor": "union floor of NQS+NF", **dict(OURS)}


def draw_errors(table: Table, figure: Any, rows: Sequence[tuple[str, str]]) -> None:
    """Relative errors of ours, the floors and the printed numbers; rows are (name, tick label)."""
    axes = figure.subplots()
    for k, (method, is_printed) in enumerate(SERIES):
        offset = (k - (len(SERIES) - 1) / 2) * 0.08
        for i, (name, _) in enumerate(rows):
            row = table.row(name, method)
            if row is not None:
                value = row.rel_error_published if is_printed else row.rel_error_ours
                draw_point(axes, i + offset, value, _sigma(table, row, is_printed), method, is_printed)
    axes.set_yscale("log")
    axes.set_xticks(range(len(rows)), [label for _, label in rows])
    axes.grid(axis="x", visible=False)
    for i in range(len(rows) - 1):
        axes.axvline(i + 0.5, color="0.85", lw=0.6)
    axes.set_xlim(-0.5, len(rows) - 0.5)
    axes.set_ylabel(r"$|E - E_\mathrm{ref}| \, / \, |E_\mathrm{ref}|$")
    here = [m for m in NAMES if any((row := table.row(name, m)) and row.ours is not None for name, _ in rows)]
    legend(figure, here, printed=True)


def legend(figure: Any, methods: Sequence[str], printed: bool, *more: Any) -> None:
    """Names of methods in one line above all panels; that ours is filled and the paper's open, where both are there."""
    from matplotlib.lines import Line2D

    shown: dict[str, Any] = {"ls": "", "ms": 5}
    lines = [Line2D([], [], marker=style(m).marker, label=NAMES[m], **style(m).of(False), **shown) for m in methods]
    if printed:
        lines += [
            Line2D([], [], marker="o", color="0.4", mfc=face, label=label, **shown)
            for face, label in (("0.4", "ours"), ("white", "paper"))
        ]
    figure.legend(handles=[*lines, *more], frameon=False, loc="outside upper center", ncols=4, fontsize=7)


def _sigma(table: Table, row: CellRow, is_printed: bool) -> float | None:
    number = table.number(row.cell, row.method, row.quantity) if is_printed else None
    sigma = number.effective_sigma if number else None
    return relative_sigma(row, sigma if is_printed else row.ours_sigma)


def draw_point(
    axes: Any,
    x: float,
    value: float | None,
    sigma: float | None,
    method: str,
    printed: bool = False,
    size: float = 4.5,
) -> None:
    """The size of a relative error with its whisker, open where it is ``printed``.

    Args:
        value: signed; with a bar through the marker where it is negative, nothing where it is unknown or exactly zero.
        sigma: drawn in full upwards; downwards too, or as an arrow where the whisker would reach zero.
    """
    if value is None or value == 0:
        return
    height, marker, shown = abs(value), style(method).marker, style(method).of(printed)
    if value < 0:
        axes.plot([x], [height], marker="_", ms=2.2 * size, color=shown["color"], zorder=3)
    if not sigma:
        axes.plot([x], [height], marker, ms=size, **shown)
        return
    reaches_zero = sigma >= height
    bar = [[ARROW * height if reaches_zero else sigma], [sigma]]
    axes.errorbar([x], [height], yerr=bar, fmt=marker, ms=size, lw=1, capsize=0 if reaches_zero else 2, **shown)
    if reaches_zero:
        axes.plot([x], [(1 - ARROW) * height], marker="v", ms=2.5, color=shown["color"])
