"""Table I: energy and ⟨|σz|⟩ of the transverse-field Ising model on an open 12 × 12 lattice, five fields."""

from __future__ import annotations

import math

from pipeline.base.numbers.formatting import with_error
from pipeline.base.numbers.result import Result
from reproduce.artefact import Artefact, Cell, Claim, Rendering
from reproduce.naqs import shared
from reproduce.naqs.judgement import Accuracy, accuracy, as_accurate, magnitude, of_one_training, of_printed, tally
from reproduce.naqs.repeats import differences, doubts, enlargement, printed_against_both, qmc_repeats
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


NAMES = {"energy": "energies", SIZE: "⟨|σz|⟩"}
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
    sentences: list[str] = []
    for quantity, name in NAMES.items():
        found = accuracies(table, quantity)
        if not found:
            continue
        errors = [abs(one.ours) for one in found]
        trained = shared.trainings([table.row(row_name(field), "naqs", quantity) for field in FIELDS])
        shown = f"NAQS {name}" if sentences else f"NAQS ({trained} a field): {name}"
        sentences.append(
            f"{shown} are {magnitude(min(errors))} to {magnitude(max(errors))} off quantum Monte Carlo (the printed "
            f"ones {of_printed(found)}); as accurate as the paper: {tally([one.answer for one in found])}."
        )
    return [*sentences, *_of_printed(table)]


def _of_printed(table: Table) -> list[str]:
    """The paper's NAQS against our Monte Carlo, and whether that is to be believed."""
    rows = {row_name(field): field for field in FIELDS}
    pulls = {
        (name, rows[row]): pull
        for quantity, name in NAMES.items()
        for row, pull in printed_against_both(table, list(rows), "naqs", quantity).items()
    }
    off: dict[str, list[str]] = {}
    for (name, field), pull in pulls.items():
        if abs(pull) > FAR:
            off.setdefault(name, []).append(f"{field} ({pull:+.1f} σ)")
    near = len(pulls) - sum(map(len, off.values()))
    rest = "".join(f", {name} not at Γ = {', '.join(found)}" for name, found in off.items())
    doubt = doubts(table, list(rows), NAMES)
    told = f"; these runs disagree ({', '.join(doubt)}), so that pulls may be too large" if doubt else ""
    return [
        f"{near} of {len(pulls)} printed NAQS numbers are within {FAR:g} σ of our two QMC runs together{rest}{told}."
    ] * bool(pulls)


def notes(table: Table) -> list[str]:
    """Conventions, and what the temperature of the quantum Monte Carlo can do."""
    return [
        "Energies per site in Pauli matrices with J = 1; ⟨|σz|⟩ is ⟨|Σ σz|⟩/N.",
        "The V-score is N Var(H)/E², zero for an eigenstate.",
        "The reference is our own quantum Monte Carlo, whose errors contain the autocorrelation time; the paper's QMC "
        "stands beside it.",
        *_of_trainings(table),
        *_of_both_runs(table),
        *thermal(table),
    ]


def _of_trainings(table: Table) -> list[str]:
    """What one training of each state can decide."""
    if shared.trainings([table.row(row_name(field), "naqs") for field in FIELDS]) != shared.ONE:
        return []
    found = [one for quantity in NAMES for one in accuracies(table, quantity)]
    return [why] if (why := of_one_training(found)) else []


def _of_both_runs(table: Table) -> list[str]:
    """How the verdict compares printed numbers with our runs."""
    rows = [row_name(field) for field in FIELDS]
    pulls = {name: [p for _, p in differences(table, rows, quantity)] for quantity, name in NAMES.items()}
    scales = [f"{name} {enlargement(found):.2g}" for name, found in pulls.items() if found]
    return [
        "The verdict compares printed numbers with the weighted mean of our two QMC runs, its error times √(χ²/n) of "
        f"their n differences where that is above 1: {', '.join(scales)}. The table and the other sentences take the "
        "longer run alone, with its own error."
    ] * bool(scales)


MOST_MIXING = 0.2785
"""Largest x/(1 + e^x): two levels, Δ apart, have a thermal energy of at most this times the temperature."""
MOST_SHIFT = 0.4157
"""Largest x/(1 + e^(x/2)) - x/(1 + e^x): the same of E(β/2) - E(β)."""


def thermal(table: Table) -> list[str]:
    """How far above the ground state energy the references can lie; nothing where none has been computed."""
    results = _results(table, "reference")
    if not results:
        return []
    size = table.finished[0].task.run.system.size
    fields: dict[float, list[str]] = {}
    for row, result in results.items():
        fields.setdefault(float(result.extra["beta"]), []).append(row.removeprefix("G"))
    places = [f"{beta:g}/J (Γ = {', '.join(found)})" for beta, found in sorted(fields.items())]
    most = [f"{MOST_MIXING / beta / size:.1e} a site (β = {beta:g}/J)" for beta in sorted(fields)]
    shifts = {
        row: result.estimate("beta_doubling_shift").scaled(1 / size, "per site") for row, result in results.items()
    }
    shown = "; ".join(f"{row} {with_error(shift.value, shift.sigma or 0.0)}" for row, shift in shifts.items())
    return [
        f"The quantum Monte Carlo is at β = {' and '.join(places)}. Near and below the transition the two states of "
        "opposite parity are close, and if they are Δ ~ 1/β apart, their mixture has an energy Δ/(1 + exp βΔ) above "
        f"the lower one, at most 0.28/(βN) = {', '.join(most)}.",
        f"Seen of it, E(β/2) - E(β) a site, which vanishes without it but is no bound: {shown}.",
        *(_of_shift(table, row) for row, one in shifts.items() if one.sigma and abs(one.value) > FAR * one.sigma),
    ]


def _results(table: Table, method: str) -> dict[str, Result]:
    """Of the cells of a method, by row."""
    runs = {done.task.cell.row: done.result for done in table.finished if done.task.cell.method == method}
    return {row: result for row, result in runs.items() if result is not None}


def _of_shift(table: Table, row: str) -> str:
    """What a significant E(β/2) - E(β) means for the energy at β."""
    size = table.finished[0].task.run.system.size
    result, again = (_results(table, method).get(row) for method in ("reference", "qmc-check"))
    assert result is not None
    shift = result.estimate("beta_doubling_shift").scaled(1 / size, "per site")
    error = (result.estimate("energy").sigma or math.nan) / size
    most = MOST_SHIFT / float(result.extra["beta"]) / size
    text = (
        f"At Γ = {row.removeprefix('G')} that is {abs(shift.value) / (shift.sigma or math.nan):.1f} σ from zero and "
        f"{abs(shift.value) / error:.0f} times the quoted error of the reference, {error:.1e}; two levels can make "
        f"{most:.1e} of it at most"
    )
    if again is not None:
        other = again.estimate("beta_doubling_shift").scaled(1 / size, "per site")
        text += f", and the second run has {with_error(other.value, other.sigma)}"
    return text + ". Until a run at larger β tells, the energy there is not sure to its quoted error."


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
        qmc_repeats(table, rows),
        qmc_repeats(table, rows, SIZE, "⟨|σz|⟩"),
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
