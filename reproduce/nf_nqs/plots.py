"""Relative errors on logarithmic axes: every whisker is a standard error, and one that reaches zero is an arrow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from reproduce.nf_nqs.judging import relative_sigma
from reproduce.nf_nqs.shared import LIGHT, OURS
from reproduce.tables import CellRow, Table

ARROW = 0.5
"""Length of an arrow, as a part of the error that it starts from."""
WHISKERS = (
    "Whiskers are standard errors, those of the reference included; an arrow stands for one that reaches zero, which a "
    "logarithmic axis does not show. Filled markers lie above the reference, open ones below it (possible for Monte "
    "Carlo estimates only)."
)
PRINTED = (
    " Of the paper's NQS+NF the standard error is its ± over √20, and rounding; of what is printed ± 0, half of the "
    "last digit."
)


def draw_errors(table: Table, figure: Any, rows: Sequence[tuple[str, str]]) -> None:
    """Relative errors of ours, the floors and the printed numbers; rows are (name, tick label)."""
    axes = figure.subplots()
    series = (
        ("nqs+nf", False, "NQS+NF, ours", "o", "C0"),
        ("union-floor", False, "union floor, ours", "_", "C2"),
        ("nqs+nf", True, "NQS+NF, paper", "s", "C1"),
        ("mps", True, "MPS, paper", "D", "C3"),
        ("dense-ar", True, "Dense AR, paper", "^", "C4"),
        ("cnn-ar", True, "CNN AR, paper", "v", "C5"),
        *((method, False, f"{name}, ours", LIGHT[method], f"C{k + 3}") for k, (method, name) in enumerate(OURS)),
    )
    for k, (method, is_printed, label, marker, colour) in enumerate(series):
        if not is_printed and not any((row := table.row(name, method)) and row.ours is not None for name, _ in rows):
            continue
        offset = (k - (len(series) - 1) / 2) * 0.08
        alpha = 0.4 if method in LIGHT and not is_printed else 1.0
        for i, (name, _) in enumerate(rows):
            row = table.row(name, method)
            if row is not None:
                value = row.rel_error_published if is_printed else row.rel_error_ours
                draw_point(axes, i + offset, value, _sigma(table, row, is_printed), marker, colour, alpha)
        axes.plot([], [], marker, color=colour, label=label, alpha=alpha)
    axes.set_yscale("log")
    axes.set_xticks(range(len(rows)), [label for _, label in rows])
    axes.grid(axis="x", visible=False)
    axes.set_ylabel(r"$|E - E_\mathrm{ref}| \, / \, |E_\mathrm{ref}|$")
    axes.legend(frameon=False, ncols=4, loc="upper center", bbox_to_anchor=(0.5, 1.2), fontsize=7)


def _sigma(table: Table, row: CellRow, is_printed: bool) -> float | None:
    number = table.number(row.cell, row.method, row.quantity) if is_printed else None
    sigma = number.effective_sigma if number else None
    return relative_sigma(row, sigma if is_printed else row.ours_sigma)


def draw_point(
    axes: Any,
    x: float,
    value: float | None,
    sigma: float | None,
    marker: str,
    colour: str,
    alpha: float = 1.0,
    size: float = 5,
) -> None:
    """The size of a relative error with its whisker.

    Args:
        value: signed; an open marker where it is negative, nothing where it is unknown or exactly zero.
        sigma: drawn in full upwards; downwards too, or as an arrow where the whisker would reach zero.
    """
    if value is None or value == 0:
        return
    height = abs(value)
    face = colour if value > 0 or marker == "_" else "white"
    style = {"color": colour, "markerfacecolor": face, "alpha": alpha}
    if not sigma:
        axes.plot([x], [height], marker, ms=size, **style)
        return
    reaches_zero = sigma >= height
    bar = [[ARROW * height if reaches_zero else sigma], [sigma]]
    axes.errorbar([x], [height], yerr=bar, fmt=marker, ms=size, lw=1, capsize=0 if reaches_zero else 2, **style)
    if reaches_zero:
        axes.plot([x], [(1 - ARROW) * height], marker="v", ms=3, color=colour, alpha=alpha)
