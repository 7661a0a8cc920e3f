"""Columns, verdicts on the text and the error plot that the artefacts of this paper share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.base.formatting import relative, with_error
from reproduce.artefact import Cell, Claim, Column
from reproduce.tables import Table

OTHERS = (("mps", "MPS"), ("dense-ar", "Dense AR"), ("cnn-ar", "CNN AR"))
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
    *(f"{name} paper" for _, name in OTHERS),
)

CAPTION = (
    "Relative error of the energy to the reference, row by row: our NQS+NF with the spread over subspaces, the "
    "lowest energy that the union of our subspaces allows, and what the paper prints. Filled markers lie above the "
    "reference, open ones below it (possible for Monte Carlo estimates only)."
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
        *(_other(table, row, method) for method, _ in OTHERS),
    ]


def _other(table: Table, row: str, method: str) -> str:
    number, ours = table.number(row, method), table.row(row, method)
    if number is None:
        return "–"
    state = f" ({ours.vs_paper})" if ours and ours.ours is None else ""
    return number.shown() + state


def error(table: Table, row: str, method: str = "nqs+nf") -> float | None:
    """Our relative error."""
    found = table.row(row, method)
    return found.rel_error_ours if found else None


def yes_no(seen: Sequence[bool]) -> str:
    """``yes``, ``no``, ``in k of n`` or ``not run``."""
    if not seen:
        return "not run"
    if all(seen):
        return "yes"
    return "no" if not any(seen) else f"in {sum(seen)} of {len(seen)}"


def notes(table: Table) -> list[str]:
    """Conventions, and printed numbers below an exact reference."""
    found = [
        "Energies are totals in the Pauli convention. The paper's ± is the standard deviation over 20 subspaces, our "
        "`spread`; our error in brackets is the standard error of the mean.",
        "NQS+NF, subspace floor and union floor are exact Rayleigh quotients in closed subspaces, hence upper bounds.",
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
    said = [note for done in table.finished if done.result and done.found.trained for note in done.result.notes]
    return list(dict.fromkeys(said))


def robust_at_full_range(table: Table, rows: Sequence[str]) -> Claim:
    """Seen where our error is below a tenth of that of the collapsed states that the autoregressive columns print."""
    seen, evidence = [], []
    for name in rows:
        ours = error(table, name)
        collapsed = [r.rel_error_published for m in ("dense-ar", "cnn-ar") if (r := table.row(name, m))]
        best = min((abs(e) for e in collapsed if e is not None), default=None)
        if ours is not None and best is not None:
            seen.append(abs(ours) < 0.1 * best)
            evidence.append(f"{name} {ours:.1e} against {best:.1e}")
    return Claim(
        "NF+NQS maintained robust performance in strongly entangled regimes (fully connected, L = N/2)",
        "Section IV.C",
        yes_no(seen),
        "ours against the collapsed product state: " + "; ".join(evidence) + " (seen if a tenth or less)",
    )


def comparable_with_mps(table: Table, rows: Sequence[str]) -> Claim:
    seen, evidence = [], []
    for name in rows:
        ours, mps = error(table, name), table.row(name, "mps")
        if ours is not None and mps is not None and mps.rel_error_published is not None:
            seen.append(abs(ours) <= max(2 * abs(mps.rel_error_published), 1e-4))
            evidence.append(f"{name} {ours:.1e} / {mps.rel_error_published:+.1e}")
    return Claim(
        "comparable ground state energy errors with state-of-the-art matrix product states",
        "abstract",
        yes_no(seen),
        "ours / printed MPS: " + "; ".join(evidence) + " (seen if within a factor 2, or below 1e-4)",
    )


def below_autoregressive(table: Table, rows: Sequence[str]) -> Claim:
    seen, paper = [], []
    for name in rows:
        numbers = [table.number(name, m) for m in ("dense-ar", "cnn-ar")]
        lowest = min((n.value for n in numbers if n), default=None)
        ours, printed = table.row(name, "nqs+nf"), table.number(name, "nqs+nf")
        if lowest is not None and ours and ours.ours is not None:
            seen.append(ours.ours < lowest)
        if lowest is not None and printed:
            paper.append(printed.value < lowest)
    return Claim(
        "lower energies than autoregressive NQS",
        "abstract",
        yes_no(seen),
        f"our energies against the printed autoregressive ones; in the paper's own table: {yes_no(paper)}",
    )


def falling(text: str, where: str, axis: str, series: Mapping[str, Sequence[float | None]]) -> Claim:
    """Seen, series by series, where the error falls from the first to the last point.

    Args:
        series: relative errors in the order of increasing ``axis``, by name.
    """
    seen, evidence = [], []
    for name, errors in series.items():
        values = [abs(e) for e in errors if e is not None]
        if len(values) == len(errors):
            seen.append(values[-1] < values[0])
            evidence.append(f"{name}: " + ", ".join(f"{e:.1e}" for e in values))
    return Claim(text, where, yes_no(seen), f"our relative errors for increasing {axis}: " + "; ".join(evidence))


def autoregressive_collapse(table: Table, all_up: dict[str, float]) -> Claim:
    """Ours once the columns are run; meanwhile, whether the printed numbers are energies of the all-up state.

    Args:
        all_up: -V times the number of bonds, by row.
    """
    numbers = [n for name in all_up for m in ("dense-ar", "cnn-ar") if (n := table.number(name, m))]
    other = [n for n in numbers if abs(n.value - all_up[n.cell]) > n.half_last_digit]
    listed = ", ".join(f"{n.cell} {n.method} {n.text}" for n in other)
    return Claim(
        "CNN-AR and Dense-AR consistently became trapped predicting trivial configurations (all-up or all-down)",
        "Section IV.C",
        "not run",
        f"our columns are not run yet; {len(numbers) - len(other)} of {len(numbers)} printed energies are that of the "
        f"all-up state, the others are higher: {listed or 'none'}",
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
    )
    for k, (method, printed, label, marker, colour) in enumerate(series):
        offset = (k - (len(series) - 1) / 2) * 0.11
        for i, (name, _) in enumerate(rows):
            _point(axes, table, name, method, printed, i + offset, marker, colour)
        axes.plot([], [], marker, color=colour, label=label)
    axes.set_yscale("log")
    axes.set_xticks(range(len(rows)), [label for _, label in rows])
    axes.grid(axis="x", visible=False)
    axes.set_ylabel(r"$|E - E_\mathrm{ref}| \, / \, |E_\mathrm{ref}|$")
    axes.legend(frameon=False, ncols=3, loc="upper center", bbox_to_anchor=(0.5, 1.17), fontsize=8)


def _point(axes: Any, table: Table, name: str, method: str, printed: bool, x: float, marker: str, colour: str) -> None:
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
    axes.errorbar([x], [height], yerr=bar, fmt=marker, color=colour, markerfacecolor=face, ms=5, lw=1, capsize=2)
