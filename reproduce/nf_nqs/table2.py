"""Table II: ground-state energies at N = 30, 40, 50 and three interaction strengths, L = N/2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reproduce.artefact import Artefact, Cell, Claim, Rendering
from reproduce.nf_nqs import claims as claims_on
from reproduce.nf_nqs import notes as notes_on
from reproduce.nf_nqs import plots, shared
from reproduce.nf_nqs.verdict import verdict
from reproduce.tables import Table

SIZES = (30, 40, 50)
STRENGTHS = ("0.10", "0.50", "1.00")
ROWS = tuple((n, v) for n in SIZES for v in STRENGTHS)
"""(N, V) with V as printed."""


def row_name(n: int, v: str) -> str:
    """Name of a row in ``published.csv``."""
    return f"N{n}-V{v}"


def cells() -> list[Cell]:
    """All methods and a reference for each row; the V = 1 rows are those of Table I and are not computed twice."""
    made = []
    for n, v in sorted(ROWS, reverse=True):
        physics = (f"system.n_sites={n}", f"system.range={n // 2}", f"system.coupling={float(v)}")
        made += shared.row_cells(row_name(n, v), physics)
    return sorted(made, key=lambda cell: cell.method == "reference")


def render(table: Table) -> Rendering:
    """The paper's layout with ours, the union floor and the reference added."""
    body = [[str(n), v, *shared.line(table, row_name(n, v), n)] for n, v in ROWS]
    notes = [
        "The caption says L = ⌈N/2⌉ and the text ⌊N/2⌋; the sizes of this table are even.",
        *notes_on.notes(table, [(row_name(n, v), n) for n, v in ROWS]),
    ]
    regimes = {f"V = {float(v):g}": [row_name(n, v) for n in SIZES] for v in reversed(STRENGTHS)}
    return Rendering(
        ["N", "V", *shared.HEADER],
        body,
        claims(table),
        notes,
        lambda figure: draw(table, figure),
        caption=shared.CAPTION + plots.WHISKERS + plots.PRINTED,
        verdict=verdict(table, regimes, _all_up()),
        keys=shared.KEYS,
        breaks=shared.BREAKS,
    )


def draw(table: Table, figure: Any) -> None:
    """Relative errors on a logarithmic axis, one group a row of the table."""
    plots.draw_errors(table, figure, [(row_name(n, v), f"N={n}\nV={float(v):g}") for n, v in ROWS])


def claims(table: Table) -> list[Claim]:
    """What Section IV.C says about this table."""
    names = [row_name(n, v) for n, v in ROWS]
    all_up = _all_up()
    return [
        _better_at_strong_coupling(table, all_up),
        claims_on.robust_at_full_range(table, [row_name(n, "1.00") for n in SIZES]),
        claims_on.comparable_with_mps(table, names),
        claims_on.below_mps(table, names),
        claims_on.below_autoregressive(table, names),
        claims_on.autoregressive_collapse(table, all_up),
        claims_on.beyond_aligned_states(table, all_up),
        claims_on.no_exact_values(table, names),
    ]


def _better_at_strong_coupling(table: Table, all_up: Mapping[str, float]) -> Claim:
    series = {f"N={n}": [row_name(n, v) for v in STRENGTHS] for n in SIZES}
    text = "consistent performance, particularly at higher interaction strengths"
    return claims_on.falling(text, "Section IV.C", "V", series, table, all_up)


def _all_up() -> dict[str, float]:
    """Energy of the all-up state, by row."""
    return {row_name(n, v): claims_on.all_up_energy(n, n // 2, float(v)) for n, v in ROWS}


ARTEFACT = Artefact(
    "nf_nqs",
    "table2",
    "Table II: ground state energies for N = 30, 40, 50 and interaction strength V, L = N/2",
    cells,
    render,
    own={"nqs+nf": "NQS+NF"},
    along=shared.ALONG,
)
