"""Table II: energy of the Heisenberg antiferromagnet on an open 10 × 10 lattice."""

from __future__ import annotations

from reproduce.artefact import Artefact, Cell, Claim, Rendering, yes_no
from reproduce.naqs import shared
from reproduce.tables import Table

ROW = "10x10"
PHYSICS = ("system=square_heisenberg", "system.length_x=10", "system.length_y=10", "system.j1=1.0", "system.j2=0.0")
METHODS = {"peps": "PEPS", "naqs": "NAQS", "qmc": "QMC"}


def cells() -> list[Cell]:
    """NAQS and two runs of quantum Monte Carlo; the PEPS energy is from the literature."""
    made = (shared.naqs_cell, shared.qmc_cell, shared.check_cell)
    return [cell(ROW, PHYSICS, "spin-1/2") for cell in made]


def render(table: Table) -> Rendering:
    """The paper's row with ours below it."""
    names = list(METHODS)
    found = {method: table.row(ROW, method) for method in names}
    body = [
        ["energy, paper", *(shared.printed(table, ROW, method, "energy") for method in names)],
        ["energy, ours", *(shared.ours(found[method]) for method in names)],
        ["relative error, paper", *(_printed_error(table, method) for method in names)],
        ["relative error, ours", *(shared.error(found[method]) for method in names)],
        ["vs paper", *(shared.verdict(found[method]) for method in names)],
    ]
    methods = [("peps", True, "PEPS, paper"), ("naqs", True, "NAQS, paper"), ("naqs", False, "NAQS, ours")]
    return Rendering(
        ["", *METHODS.values()],
        body,
        claims(table),
        notes(table),
        lambda figure: shared.draw_errors(table, figure, [(ROW, "10 × 10")], [*methods, ("qmc", True, "QMC, paper")]),
        figure_size=(5.0, 4.0),
        caption="Relative error of the energy to our quantum Monte Carlo, with combined statistical errors.",
    )


def _printed_error(table: Table, method: str) -> str:
    row = table.row(ROW, method)
    return f"{row.rel_error_published:+.1e}" if row and row.rel_error_published is not None else "–"


def notes(table: Table) -> list[str]:
    """Conventions."""
    score = table.row(ROW, "naqs", "v_score")
    found = [
        "Energies per site for spins S = σ/2, as the table prints them; Eq. (8) is written in Pauli matrices, whose "
        "energies are four times as large.",
        "The PEPS and QMC energies of the paper are those of its Ref. [24] (Liu et al.).",
    ]
    if score and score.ours is not None:
        found.append(f"V-score of our state, N Var(H)/E²: {score.ours:.1e}.")
    return found


def claims(table: Table) -> list[Claim]:
    """What the text says about this table."""
    naqs, peps = table.row(ROW, "naqs"), table.row(ROW, "peps")
    has = naqs is not None and naqs.rel_error_ours is not None
    better = [naqs.ours < peps.published] if naqs and peps and naqs.ours is not None and peps.published else []
    printed = {m: _printed_error(table, m) for m in ("peps", "naqs")}
    return [
        Claim(
            "a relative error of 4.5(4)e-5 for NAQS against 8.7(6)e-5 for PEPS",
            "Experiments, on Table II",
            yes_no([abs(naqs.rel_error_ours or 1.0) < 1e-4] if naqs is not None and has else []),
            f"printed energies against our QMC: PEPS {printed['peps']}, NAQS {printed['naqs']}; our NAQS "
            f"{shared.error(naqs)} (seen if below 1e-4)",
        ),
        Claim(
            "NAQS meaningfully improve upon the accuracy of the best known variational methods (PEPS)",
            "Experiments, on Table II",
            yes_no(better),
            f"our NAQS {shared.ours(naqs)} against the printed PEPS energy",
        ),
        shared.qmc_agrees(table, [ROW], "energy", "energy"),
        shared.qmc_repeats(table, [ROW]),
    ]


ARTEFACT = Artefact(
    "naqs",
    "table2",
    "Table II: Heisenberg antiferromagnet on an open 10 × 10 lattice",
    cells,
    render,
    literature=("peps",),
    own={"naqs": "NAQS"},
    checks=("qmc-check",),
)
