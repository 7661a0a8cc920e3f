"""Columns, verdicts on the text and the error plot that the artefacts of this paper share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipeline.base.numbers.formatting import relative, with_error
from reproduce.artefact import Cell, Column
from reproduce.tables import Table

OTHERS = (("mps", "MPS"), ("dense-ar", "Dense AR"), ("cnn-ar", "CNN AR"))
"""Columns of the paper beside its own method."""
OURS = (*OTHERS, ("annealed-ar", "annealed AR"))
"""What is run beside NQS+NF: the paper's columns and an autoregressive network that is trained not to collapse."""
SETTINGS = {
    "mps": "nf_nqs/mps",
    "dense-ar": "nf_nqs/dense_ar",
    "cnn-ar": "nf_nqs/cnn_ar",
    "annealed-ar": "nf_nqs/annealed",
}
"""Their recipes."""
LIGHT = {"mps": ("D", 0.05), "dense-ar": ("^", 0.07), "cnn-ar": ("v", 0.09), "annealed-ar": ("*", 0.11)}
"""Marker, and shift along x, of the methods that figures show in pale."""
HEADER = (
    "NQS+NF paper",
    "NQS+NF ours",
    "spread",
    "rel. error",
    "vs paper",
    "union floor",
    "floor rel. error",
    "reference",
    "kind",
    *(text for _, name in OTHERS for text in (f"{name} paper", f"{name} ours", f"{name} rel. error")),
    "annealed AR ours",
    "annealed AR rel. error",
)

CAPTION = (
    "Relative error of the energy to the reference, row by row: our NQS+NF with the spread over subspaces, the "
    "lowest energy that the union of our subspaces allows, and what the paper prints; pale, ours of the other methods. "
    "Filled markers lie above the reference, open ones below it (possible for Monte Carlo estimates only)."
)


def flow_cell(row: str, physics: tuple[str, ...]) -> Cell:
    """NQS+NF on a system; the union floor comes from the same subspaces."""
    columns = (
        Column("nqs+nf", "energy", "energy"),
        Column("lowest-subspace", "lowest_energy", "energy"),
        Column("subspace-floor", "subspace_floor", "energy"),
        Column("union-floor", "union_floor", "energy"),
        Column("nqs+nf", "unique_fraction", "unique_fraction"),
    )
    return Cell(row, "nqs+nf", physics, columns)


def other_cells(row: str, physics: tuple[str, ...], sizes: tuple[str, ...] = ()) -> list[Cell]:
    """The paper's other methods, and the autoregressive network that does not collapse, each with settings of its own.

    Args:
        sizes: what Section IV.B makes depend on N, for the paper's methods only.
    """
    made = []
    for method, settings in SETTINGS.items():
        columns = (
            Column(method, "energy", "energy"),
            Column(method, "absolute_magnetisation", "absolute_magnetisation"),
        )
        overrides = physics if method == "annealed-ar" else physics + sizes
        made.append(Cell(row, method, overrides, columns, settings=settings))
    return made


def row_cells(row: str, physics: tuple[str, ...]) -> list[Cell]:
    """All methods and the reference of one row."""
    return [flow_cell(row, physics), *other_cells(row, physics), reference_cell(row, physics)]


def reference_cell(row: str, physics: tuple[str, ...]) -> Cell:
    """The most exact baseline for a system."""
    return Cell(row, "reference", physics, (Column("reference", "energy", "energy"),), stages=("baseline",))


def line(table: Table, row: str) -> list[str]:
    """The cells of one row of a table, in the order of :data:`HEADER`."""
    ours, floor = table.row(row, "nqs+nf"), table.row(row, "union-floor")
    reference = table.reference(row, "energy")
    printed = table.number(row, "nqs+nf")
    return [
        printed.shown() if printed else "–",
        with_error(ours.ours, ours.ours_sigma) if ours else "–",
        f"{ours.ours_spread:.2g}" if ours and ours.ours_spread is not None else "–",
        relative(ours.rel_error_ours) if ours else "–",
        ours.vs_paper if ours else "not-run",
        with_error(floor.ours, None) if floor else "–",
        relative(floor.rel_error_ours) if floor else "–",
        with_error(reference.value, reference.sigma, 12) if reference else "–",
        table.reference_kind(row) or "–",
        *(text for method, _ in OTHERS for text in (_printed(table, row, method), *_other(table, row, method))),
        *_other(table, row, "annealed-ar"),
    ]


def _printed(table: Table, row: str, method: str) -> str:
    number = table.number(row, method)
    return number.shown() if number else "–"


def _other(table: Table, row: str, method: str) -> tuple[str, str]:
    """Our energy of a method beside NQS+NF, and its relative error."""
    ours = table.row(row, method)
    if ours is None or ours.ours is None:
        return (ours.vs_paper if ours else "–"), "–"
    return with_error(ours.ours, ours.ours_sigma), relative(ours.rel_error_ours)


def notes(table: Table) -> list[str]:
    """Conventions, and printed numbers below an exact reference."""
    found = [
        "Energies are totals in the Pauli convention. The paper's ± is the standard deviation over 20 subspaces, our "
        "`spread`; our error in brackets is the standard error of the mean.",
        "NQS+NF, subspace floor and union floor are exact Rayleigh quotients in closed subspaces, hence upper bounds.",
        "MPS, Dense AR and CNN AR are our implementations with the paper's settings; annealed AR is ours alone: a "
        "convolutional autoregressive network, averaged over the spin flip, that follows a field lowered in steps.",
        *_method_notes(table),
    ]
    for row in table.rows:
        if row.published is None or row.reference is None or row.method == "reference":
            continue
        sigma = (row.published_sigma or 0.0) + (row.reference_sigma or 0.0)
        if row.published < row.reference - max(sigma, 1e-9):
            found.append(
                f"The paper's {row.method} energy at {row.cell}, {row.published:g} ± {row.published_sigma or 0:g}, "
                f"lies below the reference {with_error(row.reference, row.reference_sigma)} ({row.reference_kind})."
            )
    return found


def _method_notes(table: Table) -> list[str]:
    """What the runs themselves say about the smoothing (one sentence a system size)."""
    flows = [done for done in table.finished if done.task.cell.method == "nqs+nf" and done.found.trained]
    said = [note for done in flows if done.result for note in done.result.notes]
    return list(dict.fromkeys(said))


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
        *((method, False, f"{name}, ours", LIGHT[method][0], f"C{k + 3}") for k, (method, name) in enumerate(OURS)),
    )
    for k, (method, printed, label, marker, colour) in enumerate(series):
        if not printed and not any((row := table.row(name, method)) and row.ours is not None for name, _ in rows):
            continue
        offset = (k - (len(series) - 1) / 2) * 0.08
        alpha = 0.4 if method in LIGHT and not printed else 1.0
        for i, (name, _) in enumerate(rows):
            _point(axes, table, name, method, printed, i + offset, marker, colour, alpha)
        axes.plot([], [], marker, color=colour, label=label, alpha=alpha)
    axes.set_yscale("log")
    axes.set_xticks(range(len(rows)), [label for _, label in rows])
    axes.grid(axis="x", visible=False)
    axes.set_ylabel(r"$|E - E_\mathrm{ref}| \, / \, |E_\mathrm{ref}|$")
    axes.legend(frameon=False, ncols=4, loc="upper center", bbox_to_anchor=(0.5, 1.2), fontsize=7)


def _point(
    axes: Any, table: Table, name: str, method: str, printed: bool, x: float, marker: str, colour: str, alpha: float
) -> None:
    row = table.row(name, method)
    value = (row.rel_error_published if printed else row.rel_error_ours) if row else None
    if row is None or value is None or value == 0 or row.reference is None:
        return
    width = row.published_sigma if printed else row.ours_spread
    height = abs(value)
    bar = None
    if width:
        half = width / abs(row.reference)
        bar = [[min(half, 0.9 * height)], [half]]
    face = colour if value > 0 or marker == "_" else "white"
    style = {"color": colour, "markerfacecolor": face, "alpha": alpha}
    axes.errorbar([x], [height], yerr=bar, fmt=marker, ms=5, lw=1, capsize=2, **style)
