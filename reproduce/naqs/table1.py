"""Table I: energy and ⟨|σz|⟩ of the transverse-field Ising model on an open 12 × 12 lattice, five fields."""

from __future__ import annotations

from pipeline.base.numbers.formatting import with_error
from reproduce.artefact import Artefact, Cell, Claim, Rendering
from reproduce.naqs import shared
from reproduce.naqs.judgement import Accuracy, accuracy, as_accurate, magnitude, tally
from reproduce.tables import Table

SIZE = "absolute_magnetisation"
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


FAR = 3.0
"""Standard errors beyond which a printed number is named."""
QUANTITIES = (("naqs", "energy"), ("qmc", "energy"), ("naqs", SIZE), ("qmc", SIZE))
"""Columns of the paper's table."""


def render(table: Table) -> Rendering:
    """The paper's layout: below each line ours, its relative error to our Monte Carlo, and the verdict."""
    header = ["Γ", "", "NAQS energy", "QMC energy", "NAQS ⟨|σz|⟩", "QMC ⟨|σz|⟩", "V-score"]
    rows = [(row_name(field), f"Γ = {field} J") for field in FIELDS]
    series = [("naqs", True, "NAQS, paper"), ("naqs", False, "NAQS, ours"), ("qmc", True, "QMC, paper")]
    return Rendering(
        header,
        [line for field in FIELDS for line in _lines(table, field)],
        [*claims(table), *checks(table)],
        notes(table),
        lambda figure: shared.draw_errors(table, figure, rows, series),
        caption=shared.caption(table, rows, series),
        verdict=verdict(table),
        keys=2,
    )


def _lines(table: Table, field: str) -> list[list[str]]:
    row = row_name(field)
    found = [table.row(row, *column) for column in QUANTITIES]
    score = table.row(row, "naqs", "v_score")
    return [
        [f"{field} J", "paper", *(shared.printed(table, row, *column) for column in QUANTITIES), "–"],
        ["", "ours", *(shared.ours(one) for one in found), shared.ours(score)],
        ["", "paper to our QMC", *(shared.error(one, of_printed=True) for one in found), "–"],
        ["", "ours to our QMC", *(shared.error(one) for one in found), "–"],
        ["", "ours vs paper", *(shared.verdict(one) for one in found), "–"],
    ]


def accuracies(table: Table, quantity: str) -> list[Accuracy]:
    """Of our NAQS at every field that was run."""
    rows = [table.row(row_name(field), "naqs", quantity) for field in FIELDS]
    return [one for row in rows if (one := accuracy(row))]


def verdict(table: Table) -> list[str]:
    """How our NAQS stands to the paper's accuracy, in energy and in magnetisation; then what the paper printed."""
    sentences = []
    for name, quantity in (("energies", "energy"), ("⟨|σz|⟩", SIZE)):
        found = accuracies(table, quantity)
        if not found:
            continue
        errors = [abs(one.ours) for one in found]
        printed = magnitude(max(one.claimed for one in found))
        sentences.append(
            f"NAQS {name}: ours deviate from quantum Monte Carlo by {magnitude(min(errors))} to "
            f"{magnitude(max(errors))}, relative, the printed ones by at most {printed}; as accurate as the paper: "
            f"{tally([one.answer for one in found])}."
        )
    return [*sentences, *_of_printed(table)]


def _of_printed(table: Table) -> list[str]:
    """The paper's NAQS against our Monte Carlo."""
    pulls: dict[str, float] = {}
    for name, quantity in (("E", "energy"), ("⟨|σz|⟩", SIZE)):
        for field in FIELDS:
            pull = shared.printed_against_reference(table.row(row_name(field), "naqs", quantity))
            pulls |= {} if pull is None else {f"{name} at Γ = {field}": pull}
    off = [f"{where} {pull:+.1f} σ" for where, pull in pulls.items() if abs(pull) > FAR]
    rest = f"; the others: {', '.join(off)}." if off else "."
    return [
        f"The printed NAQS numbers against our quantum Monte Carlo: {len(pulls) - len(off)} of {len(pulls)} within "
        f"{FAR:g} σ{rest}"
    ] * bool(pulls)


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
    """What the text says about this table, judged by the accuracy of the printed numbers themselves."""
    energies, sizes = (accuracies(table, quantity) for quantity in ("energy", SIZE))
    answer, evidence = as_accurate(energies)
    both, more = as_accurate(sizes)
    return [
        Claim(
            "very high accuracy for both magnetisation and energy densities across the phase diagram: energies",
            "Experiments, on Table I",
            answer,
            f"relative deviation of ours from our QMC: {evidence}",
        ),
        Claim(
            "directly estimating ⟨|σz|⟩ correctly recovers it to a high precision",
            "Experiments, on Table I",
            both,
            f"relative deviation of ours from our QMC: {more}",
        ),
    ]


def checks(table: Table) -> list[Claim]:
    """Of our own reference, which are no claims of the paper."""
    rows = [row_name(field) for field in FIELDS]
    return [
        shared.qmc_agrees(table, rows, "energy", "energies"),
        shared.qmc_agrees(table, rows, SIZE, "⟨|σz|⟩"),
        shared.qmc_repeats(table, rows),
    ]


ARTEFACT = Artefact(
    "naqs",
    "table1",
    "Table I: transverse-field Ising model on an open 12 × 12 lattice, energy and ⟨|σz|⟩",
    cells,
    render,
    literature=("qmc-literature",),
    own={"naqs": "NAQS"},
    checks=("qmc-check",),
)
