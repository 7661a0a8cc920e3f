"""Figure 3: percentage error against interaction strength, N = 10, 15, 20, L = floor(N/2)."""

from __future__ import annotations

from reproduce.artefact import Artefact, Cell, Claim, Rendering
from reproduce.nf_nqs import claims as claims_on
from reproduce.nf_nqs import shared, small_chains
from reproduce.nf_nqs.small_chains import SIZES, Point
from reproduce.tables import Table

POINTS = tuple(Point(n, n // 2, strength, strength) for n in SIZES for strength in (0.1, 0.5, 1.0))
"""Section IV.A: V = 0.1, 0.5 and 1."""


def cells() -> list[Cell]:
    """Every scale has all points."""
    return small_chains.all_cells(POINTS)


def render(table: Table) -> Rendering:
    """Percentage error against V."""
    caption = (
        "Percentage error of NQS+NF against the interaction strength V, and of the union of the subspaces "
        "(dotted); beside it MPS, Dense AR, CNN AR and annealed AR, which is ours alone. A panel a size."
    )
    return small_chains.render(table, POINTS, "interaction strength V", claims(table), caption)


def claims(table: Table) -> list[Claim]:
    """What Sections IV.C and V say about this figure."""
    return [
        small_chains.below_one_percent(table, POINTS),
        claims_on.competitive(
            table,
            "strong reliability across varying interaction strengths",
            "Section IV.C",
            {f"V = {v:g}": [p.row for p in POINTS if p.strength == v] for v in sorted({p.strength for p in POINTS})},
        ),
        small_chains.improving(table, POINTS, "excelling particularly at strong coupling (V = 1.0)", "V"),
    ]


ARTEFACT = Artefact(
    "nf_nqs",
    "fig3",
    "Figure 3: percentage error against interaction strength, N = 10, 15, 20, L = N/2",
    cells,
    render,
    own={"nqs+nf": "NQS+NF"},
    along=shared.ALONG,
)
