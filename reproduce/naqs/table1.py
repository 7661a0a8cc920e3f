"""Table I: energy and ⟨|σz|⟩ of the transverse-field Ising model on an open 12 × 12 lattice, five fields."""

from __future__ import annotations

from pipeline.base.numbers.formatting import with_error
from reproduce.artefact import Artefact, Cell, Claim, Rendering, yes_no
from reproduce.naqs import shared
from reproduce.tables import Table

FIELDS = ("2.0", "2.5", "3.0", "3.5", "4.0")
"""Γ/J as printed."""


def row_name(field: str) -> str:
    """Name of a row in ``published.csv``."""
    return f"G{field}"


def cells() -> list[Cell]:
    """NAQS and two runs of quantum Monte Carlo at every field."""
    made = []
    for field in FIELDS:
        physics = ("system.coupling=1.0", f"system.field={field}")
        row = row_name(field)
        made += [shared.naqs_cell(row, physics), shared.qmc_cell(row, physics), shared.check_cell(row, physics)]
    return sorted(made, key=lambda cell: cell.stages == ("baseline",))


def render(table: Table) -> Rendering:
    """The paper's layout, ours beside each number, and the relative error of our NAQS."""
    header = ["Γ", "NAQS energy paper", "ours", "rel. error", "vs paper", "QMC energy paper", "ours", "vs paper"]
    header += ["NAQS ⟨|σz|⟩ paper", "ours", "QMC ⟨|σz|⟩ paper", "ours", "V-score"]
    caption = (
        "Relative error of the energy to our quantum Monte Carlo: NAQS as printed and ours. Bars combine both "
        "statistical errors; where a bar reaches the axis the difference is not significant."
    )
    rows = [(row_name(field), f"Γ = {field} J") for field in FIELDS]
    methods = [("naqs", True, "NAQS, paper"), ("naqs", False, "NAQS, ours"), ("qmc", True, "QMC, paper")]
    return Rendering(
        header,
        [[f"{field} J", *_line(table, row_name(field))] for field in FIELDS],
        claims(table),
        notes(table),
        lambda figure: shared.draw_errors(table, figure, rows, methods),
        caption=caption,
    )


def _line(table: Table, row: str) -> list[str]:
    found = []
    energy, quantum = table.row(row, "naqs"), table.row(row, "qmc")
    found += [shared.printed(table, row, "naqs", "energy"), shared.ours(energy), shared.error(energy)]
    found += [shared.verdict(energy), shared.printed(table, row, "qmc", "energy"), shared.ours(quantum)]
    found.append(shared.verdict(quantum))
    for method in ("naqs", "qmc"):
        found.append(shared.printed(table, row, method, "absolute_magnetisation"))
        found.append(shared.ours(table.row(row, method, "absolute_magnetisation")))
    score = table.row(row, "naqs", "v_score")
    return [*found, f"{score.ours:.1e}" if score and score.ours is not None else "–"]


def notes(table: Table) -> list[str]:
    """Conventions, and what the temperature of the quantum Monte Carlo can do."""
    return [
        "Energies per site in Pauli matrices with J = 1; ⟨|σz|⟩ is ⟨|Σ σz|⟩/N.",
        "The V-score is N Var(H)/E², zero for an eigenstate.",
        "The reference is our own quantum Monte Carlo, whose errors contain the autocorrelation time; the paper's QMC "
        "stands beside it.",
        *thermal(table),
    ]


MOST_MIXING = 0.2785
"""Largest x/(1 + e^x): two levels, Δ apart, have a thermal energy of at most this times the temperature."""


def thermal(table: Table) -> list[str]:
    """How far above the ground state energy the references can lie; nothing where none has been computed."""
    runs = {done.task.cell.row: done.result for done in table.finished if done.task.cell.method == "reference"}
    results = {row: result for row, result in runs.items() if result is not None}
    size = table.finished[0].task.run.system.size
    shifts = []
    for row, result in results.items():
        shift = result.estimate("beta_doubling_shift")
        shifts.append(f"{row} {with_error(shift.value / size, (shift.sigma or 0.0) / size)}")
    betas = sorted({float(result.extra["beta"]) for result in results.values()})
    return [
        f"The quantum Monte Carlo is at β = {beta:g}/J. Near and below the transition the two states of opposite "
        "parity are close, and if they are Δ ~ 1/β apart, their mixture has an energy Δ/(1 + exp βΔ) above the lower "
        f"one, at most 0.28/β = {MOST_MIXING / beta / size:.1e} a site."
        for beta in betas
    ] + (
        [f"Seen of it, E(β/2) - E(β) a site, which vanishes without it but is no bound: {'; '.join(shifts)}."]
        if shifts
        else []
    )


def claims(table: Table) -> list[Claim]:
    """What the text says about this table."""
    rows = [row_name(field) for field in FIELDS]
    errors = [(row, found) for row in rows if (found := table.row(row, "naqs")) and found.rel_error_ours is not None]
    magnetisation = [c for row in rows if (c := shared.agreement(table.row(row, "naqs", "absolute_magnetisation")))]
    return [
        Claim(
            "very high accuracy for both magnetisation and energy densities across the phase diagram",
            "Experiments, on Table I",
            yes_no([abs(found.rel_error_ours or 0.0) < 1e-3 for _, found in errors]),
            "relative error of our energies: "
            + "; ".join(f"{row} {found.rel_error_ours:+.1e}" for row, found in errors)
            + " (seen if below 1e-3)",
        ),
        Claim(
            "directly estimating ⟨|σz|⟩ correctly recovers it to a high precision",
            "Experiments, on Table I",
            yes_no([seen for seen, _ in magnetisation]),
            "ours against the printed NAQS: " + "; ".join(text for _, text in magnetisation),
        ),
        shared.qmc_agrees(table, rows, "energy", "energies"),
        shared.qmc_agrees(table, rows, "absolute_magnetisation", "⟨|σz|⟩"),
        shared.qmc_repeats(table, rows),
    ]


ARTEFACT = Artefact(
    "naqs",
    "table1",
    "Table I: transverse-field Ising model on an open 12 × 12 lattice, energy and ⟨|σz|⟩",
    cells,
    render,
    own={"naqs": "NAQS"},
    checks=("qmc-check",),
)
