"""Table I: ground-state energies at N = 30, 40, 50 and three interaction lengths, V = 1."""

from __future__ import annotations

from typing import Any

from reproduce.artefact import Artefact, Cell, Claim, Rendering
from reproduce.nf_nqs import claims as claims_on
from reproduce.nf_nqs import notes as notes_on
from reproduce.nf_nqs import plots, shared
from reproduce.nf_nqs.verdict import verdict
from reproduce.tables import Table

ROWS = ((30, 1), (30, 8), (30, 15), (40, 1), (40, 10), (40, 20), (50, 1), (50, 13), (50, 25))
"""(N, L) as printed. The text says the middle length is floor(N/4), which would be 7, 10, 12."""


def row_name(n: int, length: int) -> str:
    """Name of a row in ``published.csv``."""
    return f"N{n}-L{length}"


def cells() -> list[Cell]:
    """All methods and a reference for each row; large systems first, so that no worker is left with a long last run."""
    made = []
    for n, length in sorted(ROWS, reverse=True):
        physics = (f"system.n_sites={n}", f"system.range={length}", "system.coupling=1.0")
        made += shared.row_cells(row_name(n, length), physics)
    return sorted(made, key=lambda cell: cell.method == "reference")


def render(table: Table) -> Rendering:
    """The paper's layout with ours, the union floor and the reference added."""
    header = ["N", "L", *shared.HEADER]
    body = []
    for n, length in ROWS:
        body.append([str(n), str(length), *shared.line(table, row_name(n, length), n)])
    regimes = {
        "L = N/2": [row_name(n, length) for n, length in ROWS if length == n // 2],
        "the middle lengths": [row_name(n, length) for n, length in ROWS if 1 < length < n // 2],
        "L = 1": [row_name(n, length) for n, length in ROWS if length == 1],
    }
    return Rendering(
        header,
        body,
        claims(table),
        notes(table),
        lambda figure: draw(table, figure),
        caption=shared.CAPTION + plots.WHISKERS + plots.PRINTED,
        verdict=verdict(table, regimes, _all_up()),
        keys=shared.KEYS,
        breaks=shared.BREAKS,
    )


def draw(table: Table, figure: Any) -> None:
    """Relative errors on a logarithmic axis, one group a row of the table."""
    plots.draw_errors(table, figure, [(row_name(n, length), f"N={n}\nL={length}") for n, length in ROWS])


def notes(table: Table) -> list[str]:
    """Where definitions differ."""
    return [
        "Table I prints L = 8, 10, 13 in its middle rows, while Section IV.A says ⌊N/4⌋ = 7, 10, 12. Its collapsed "
        "energies −N·L (−240, −400, −650) belong to the printed L, which is what is used here.",
        *notes_on.notes(table, [(row_name(n, length), n) for n, length in ROWS]),
    ]


def claims(table: Table) -> list[Claim]:
    """What Sections IV.C and V say about this table."""
    names = [row_name(n, length) for n, length in ROWS]
    full = [row_name(n, length) for n, length in ROWS if length == n // 2]
    all_up = _all_up()
    return [
        claims_on.robust_at_full_range(table, full),
        claims_on.comparable_with_mps(table, names),
        claims_on.below_mps(table, names),
        claims_on.below_autoregressive(table, names),
        claims_on.autoregressive_collapse(table, all_up),
        claims_on.beyond_aligned_states(table, all_up),
        claims_on.no_exact_values(table, names),
    ]


def _all_up() -> dict[str, float]:
    """Energy of the all-up state, by row."""
    return {row_name(n, length): claims_on.all_up_energy(n, length, 1.0) for n, length in ROWS}


ARTEFACT = Artefact(
    "nf_nqs",
    "table1",
    "Table I: ground state energies for N = 30, 40, 50 and interaction length L, V = 1",
    cells,
    render,
    own={"nqs+nf": "NQS+NF"},
    along=shared.ALONG,
)
