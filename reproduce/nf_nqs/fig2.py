"""Figure 2: percentage error against interaction length, N = 10, 15, 20, V = 1."""

from __future__ import annotations

from collections.abc import Callable

from reproduce.artefact import Artefact, Cell, Claim, Rendering
from reproduce.nf_nqs import claims as claims_on
from reproduce.nf_nqs import shared, small_chains
from reproduce.nf_nqs.small_chains import SIZES, Point
from reproduce.tables import Table

POINTS = tuple(Point(n, length, 1.0, float(length)) for n in SIZES for length in (1, n // 4, n // 2))
"""Section IV.A: L = 1, floor(N/4) and floor(N/2)."""


REGIMES: dict[str, Callable[[int], int]] = {
    "short": lambda n: 1,
    "intermediate": lambda n: n // 4,
    "long": lambda n: n // 2,
}


def cells() -> list[Cell]:
    """Every scale has all points."""
    return small_chains.all_cells(POINTS)


def render(table: Table) -> Rendering:
    """Percentage error against L."""
    caption = (
        "Percentage error of NQS+NF against the interaction length L, and of the union of the subspaces "
        "(dotted); beside it MPS, Dense AR, CNN AR and annealed AR, which is ours alone. A panel a size."
    )
    return small_chains.render(table, POINTS, "interaction length L", claims(table), caption)


def claims(table: Table) -> list[Claim]:
    """What Sections IV.C and V say about this figure."""
    return [
        small_chains.below_one_percent(table, POINTS),
        claims_on.competitive(
            table,
            "consistently demonstrated competitive accuracy across short (L = 1), intermediate (L = N/4), and long "
            "(L = N/2) interaction regimes",
            "Section IV.C",
            {name: [p.row for p in POINTS if p.length == part(p.n)] for name, part in REGIMES.items()},
        ),
        small_chains.improving(table, POINTS, "accuracy generally improved with increasing interaction length", "L"),
    ]


ARTEFACT = Artefact(
    "nf_nqs",
    "fig2",
    "Figure 2: percentage error against interaction length, N = 10, 15, 20, V = 1",
    cells,
    render,
    own={"nqs+nf": "NQS+NF"},
    along=shared.ALONG,
)
