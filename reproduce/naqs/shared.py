"""Cells, table lines and verdicts that the artefacts of this paper share."""

from __future__ import annotations

from typing import Any

from pipeline.analysis.verdict import relative_error
from pipeline.base.numbers.formatting import relative, with_error
from reproduce.artefact import Cell, Claim, Column, yes_no
from reproduce.tables import CellRow, Table


def naqs_cell(row: str, physics: tuple[str, ...], convention: str = "pauli") -> Cell:
    """The autoregressive state on a system, energies per site."""
    columns = (
        Column("naqs", "energy", "energy", "per site", convention),
        Column("naqs", "absolute_magnetisation", "absolute_magnetisation"),
        Column("naqs", "v_score", "v_score"),
    )
    return Cell(row, "naqs", physics, columns)


def qmc_cell(row: str, physics: tuple[str, ...], convention: str = "pauli", settings: str | None = None) -> Cell:
    """Quantum Monte Carlo: the reference, and the paper's own column of that name."""
    columns = (
        Column("qmc", "energy", "energy", "per site", convention),
        Column("qmc", "absolute_magnetisation", "absolute_magnetisation"),
    )
    return Cell(row, "reference", physics, columns, stages=("baseline",), settings=settings)


def check_cell(row: str, physics: tuple[str, ...], convention: str = "pauli") -> Cell:
    """Quantum Monte Carlo once more, with other random numbers and fewer of them."""
    columns = (Column("qmc-check", "energy", "energy", "per site", convention),)
    return Cell(row, "qmc-check", physics, columns, stages=("baseline",), settings="naqs/check")


def printed(table: Table, row: str, method: str, quantity: str) -> str:
    """A number of the paper as printed."""
    number = table.number(row, method, quantity)
    return number.shown() if number else "–"


def ours(row: CellRow | None) -> str:
    """Our value with its error."""
    return with_error(row.ours, row.ours_sigma) if row and row.ours is not None else "–"


def error(row: CellRow | None) -> str:
    """Our signed relative error to the reference."""
    return relative(row.rel_error_ours) if row and row.rel_error_ours is not None else "–"


def verdict(row: CellRow | None) -> str:
    """Ours against the paper's number."""
    return row.vs_paper if row else "not-run"


def agreement(found: CellRow | None, sigmas: float = 3.0) -> tuple[bool, str] | None:
    """Whether ours and the printed number agree within combined errors, and by how many; None without both."""
    if found is None or found.ours is None or found.published is None:
        return None
    combined = ((found.ours_sigma or 0.0) ** 2 + (found.published_sigma or 0.0) ** 2) ** 0.5
    pull = (found.ours - found.published) / combined if combined else 0.0
    return abs(pull) <= sigmas, f"{found.cell} {pull:+.1f} σ"


def qmc_agrees(table: Table, rows: list[str], quantity: str, name: str) -> Claim:
    """Our Monte Carlo against the paper's, within three combined errors."""
    checks = [c for row in rows if (c := agreement(table.row(row, "qmc", quantity)))]
    return Claim(
        f"QMC {name} as printed (ours against the paper's, independent programs)",
        "Tables",
        yes_no([seen for seen, _ in checks]),
        "; ".join(text for _, text in checks),
    )


def qmc_repeats(table: Table, rows: list[str]) -> Claim:
    """Two independent runs of our Monte Carlo, within three combined errors."""
    pulls = []
    for row in rows:
        one, other = table.row(row, "qmc"), table.row(row, "qmc-check")
        if one and other and one.ours is not None and other.ours is not None:
            sigma = ((one.ours_sigma or 0.0) ** 2 + (other.ours_sigma or 0.0) ** 2) ** 0.5
            pulls.append((row, (other.ours - one.ours) / sigma if sigma else 0.0))
    return Claim(
        "a second, shorter run of our QMC has the same energy (ours)",
        "ours",
        yes_no([abs(pull) <= 3.0 for _, pull in pulls]),
        "; ".join(f"{row} {pull:+.1f} σ" for row, pull in pulls),
    )


def draw_errors(table: Table, figure: Any, rows: list[tuple[str, str]], methods: list[tuple[str, bool, str]]) -> None:
    """Relative errors to our QMC on a logarithmic axis; ``methods`` are (name, printed, label)."""
    axes = figure.subplots()
    for k, (method, is_printed, label) in enumerate(methods):
        x, heights, bars = [], [], []
        for i, (name, _) in enumerate(rows):
            row, quantum = table.row(name, method), table.row(name, "qmc")
            value = (row.published if is_printed else row.ours) if row else None
            if row is None or value is None or quantum is None or quantum.ours is None:
                continue
            sigma = (row.published_sigma if is_printed else row.ours_sigma) or 0.0
            x.append(i + 0.1 * (k - (len(methods) - 1) / 2))
            heights.append(abs(relative_error(value, quantum.ours)))
            bars.append(((sigma**2 + (quantum.ours_sigma or 0.0) ** 2) ** 0.5) / abs(quantum.ours))
        low = [min(bar, 0.9 * height) for bar, height in zip(bars, heights, strict=True)]
        axes.errorbar(
            x, heights, yerr=[low, bars], fmt="os^D"[k % 4], color=f"C{k}", label=label, ms=5, lw=1, capsize=2
        )
    axes.set_yscale("log")
    axes.set_xticks(range(len(rows)), [label for _, label in rows])
    axes.set_ylabel(r"$|E - E_\mathrm{QMC}| \, / \, |E_\mathrm{QMC}|$")
    axes.legend(frameon=False, fontsize=8)
