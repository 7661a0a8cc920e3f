"""Marginal effective sample sizes on the lattice of Fig. 4: trained flows beside pure gauge fields."""

from __future__ import annotations

import math

from reproduce.artefact import Column
from reproduce.pseudofermion import flows
from reproduce.tables import Table

ROW, LATTICE = "schwinger-L8", "Schwinger, L = 8"
WIDE, REWEIGHTING = "wide", "reweighting"
"""The flow with three steps and wider networks, of scale ``gpu``, and pure gauge fields that are reweighted: on the
lattice of Fig. 4, what a marginal ESS is, and what it has to be better than."""

OURS_ALONE = {
    "hasenbusch-3": "flow, even/odd, 3 Hasenbusch steps",
    WIDE: "the same of scale `gpu`",
    REWEIGHTING: "reweighted pure gauge",
}


def column(method: str) -> Column:
    """What a cell of the lattice gives."""
    return Column(method, "marginal_ess", "marginal_ess")


def line(table: Table, method: str) -> list[list[str]]:
    """Marginal ESS on the lattice of Fig. 4, which the paper shows as a curve."""
    row = table.row(ROW, method, "marginal_ess")
    shown = [flows.shown(row), "–", "–"]
    return [] if row is None else [[LATTICE, OURS_ALONE[method], "marginal ess", *shown]]


def verdict(table: Table) -> list[str]:
    """Flows beside the pure gauge fields that need no training, each by its own statistics."""
    rows = {method: table.row(ROW, method, "marginal_ess") for method in OURS_ALONE}
    there = {method: row for method, row in rows.items() if row is not None and row.ours is not None}
    if not there:
        return []
    listed = ", ".join(f"{OURS_ALONE[method]} {flows.shown(row)}" for method, row in there.items())
    said = f"Marginal ESS on the 8 × 8 lattice: {listed}"
    untrained = there.get(REWEIGHTING)
    pulls = [
        f"{(row.ours - untrained.ours) / math.hypot(row.ours_sigma, untrained.ours_sigma):+.1f} σ"
        for method, row in there.items()
        if method != REWEIGHTING and row.ours is not None and row.ours_sigma
        if untrained is not None and untrained.ours is not None and untrained.ours_sigma
    ]
    beside = f"; flows less reweighting, one training each: {', '.join(pulls)} of the samples" if pulls else ""
    return [said + beside + "."]
