"""What Figures 2 and 3 share: exactly solvable chains, percentage errors against one parameter."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from pipeline.base.numbers.formatting import with_error
from reproduce.artefact import Cell, Claim, Rendering
from reproduce.colours import style
from reproduce.nf_nqs import claims as claims_on
from reproduce.nf_nqs import notes as notes_on
from reproduce.nf_nqs import shared
from reproduce.nf_nqs.judging import of_text, relative_sigma
from reproduce.nf_nqs.plots import WHISKERS, draw_point, legend
from reproduce.tables import Table

SIZES = (10, 15, 20)
SLOT = 0.03
"""Widest distance of two methods of one tick, in decades of the axis."""
SUBSPACE_SIZE_AT_10 = 150
"""Section IV.B: |S| = 150 for N = 10 and 5000 from N = 15 on; part of the paper's setting, not of a budget."""


@dataclass(frozen=True)
class Point:
    """One point of a figure: ring of ``n`` sites, interaction ``length`` and ``strength``, at ``x`` on the axis."""

    n: int
    length: int
    strength: float
    x: float

    @property
    def row(self) -> str:
        return f"N{self.n}-L{self.length}-V{self.strength:g}"

    def cells(self) -> list[Cell]:
        """NQS+NF, the methods beside it, and exact diagonalisation as in the paper."""
        physics = (f"system.n_sites={self.n}", f"system.range={self.length}", f"system.coupling={self.strength}")
        sizes = (f"train.method.draws={SUBSPACE_SIZE_AT_10}", f"infer.draws={SUBSPACE_SIZE_AT_10}")
        samples = (f"train.sampler.samples={SUBSPACE_SIZE_AT_10}",)
        flow = shared.flow_cell(self.row, physics + (sizes if self.n == 10 else ()))
        others = shared.other_cells(self.row, physics, samples if self.n == 10 else ())
        return [flow, *others, shared.reference_cell(self.row, (*physics, "baseline=quspin"))]


def all_cells(points: Sequence[Point]) -> list[Cell]:
    """Large systems first, references last."""
    made = [cell for point in sorted(points, key=lambda p: -p.n) for cell in point.cells()]
    return sorted(made, key=lambda cell: cell.method == "reference")


def render(table: Table, points: Sequence[Point], axis: str, claims: Sequence[Claim], caption: str) -> Rendering:
    """A table of the points, and percentage error against the parameter with one series a size."""
    header = ["N", "L", "V", "exact", "kind", "NQS+NF", "spread", "error [%]"]
    header += ["union floor error [%]", "union states (share)", *(f"{name} error [%]" for _, name in shared.OURS)]
    body = [[str(p.n), str(p.length), f"{p.strength:g}", *_line(table, p)] for p in points]
    notes = [
        "The figure's points are not printed in the text, so that only its sentences can be compared.",
        "For N = 10 a subspace has 150 draws, and a batch of the paper's other methods 150 samples, at every scale, as "
        "in Section IV.B.",
        *notes_on.notes(table, [(p.row, p.n) for p in points]),
    ]
    return Rendering(
        header,
        body,
        claims,
        notes,
        lambda figure: _draw(table, figure, points, axis),
        (7.0, 3.6),
        f"{caption} Both axes are logarithmic; what belongs to one tick is spread around it. {WHISKERS}",
        verdict=_verdict(table, points),
        keys=3,
        breaks=(8, 10),
    )


def claimed_percent() -> float:
    """The error below which the paper's text puts its small chains."""
    return of_text("percentage_error_below").value


def below_one_percent(table: Table, points: Sequence[Point]) -> Claim:
    """The sentence of the summary, point by point."""
    return claims_on.across(
        table,
        "percentage energy errors below 1% even in highly entangled regimes",
        "Section V",
        {f"N = {n}": [p.row for p in points if p.n == n] for n in SIZES},
        claimed_percent(),
    )


def improving(table: Table, points: Sequence[Point], text: str, axis: str) -> Claim:
    """Whether the error falls along the axis, size by size."""
    series = {f"N={n}": [p.row for p in points if p.n == n] for n in SIZES}
    all_up = {p.row: claims_on.all_up_energy(p.n, p.length, p.strength) for p in points}
    return claims_on.falling(text, "Section IV.C", axis, series, table, all_up)


def _verdict(table: Table, points: Sequence[Point]) -> list[str]:
    """How many points are below the paper's 1 %, which are not, and how far off the other methods are."""
    percent = claimed_percent()
    errors = {p.row: 100 * abs(e) for p in points if (e := claims_on.error(table, p.row)) is not None}
    named = {p.row: f"N = {p.n}, L = {p.length}, V = {p.strength:g}" for p in points}
    found = []
    if errors:
        above = [f"{named[row]}: {_percent(table, row, 'nqs+nf')} %" for row, e in errors.items() if e >= percent]
        found.append(
            f"NQS+NF ({notes_on.trainings(table)}): {len(errors) - len(above)} of {len(errors)} points have errors "
            f"below the {percent:g} % of the paper's text" + (f"; above are {'; '.join(above)}." if above else ".")
        )
    worst = []
    for method, name in shared.OURS:
        others = {p.row: abs(e) for p in points if (e := claims_on.error(table, p.row, method)) is not None}
        if others:
            largest = _percent(table, max(others, key=lambda row: others[row]), method)
            worst.append(
                f"{largest} % of {name}" + (", which is ours alone" if (method, name) == claims_on.ANNEALED else "")
            )
    if worst:
        found.append(f"The largest errors of our runs of other methods at these points are {', '.join(worst)}.")
    return found


def _line(table: Table, point: Point) -> list[str]:
    row = point.row
    ours, reference = table.row(row, "nqs+nf"), table.reference(row, "energy")
    return [
        with_error(reference.value, None, 12) if reference else "–",
        table.reference_kind(row) or "–",
        with_error(ours.ours, ours.ours_sigma) if ours else "–",
        f"{ours.ours_spread:.2g}" if ours and ours.ours_spread is not None else "–",
        _percent(table, row, "nqs+nf"),
        _percent(table, row, "union-floor"),
        shared.union_states(table, row, point.n),
        *(_percent(table, row, method) for method, _ in shared.OURS),
    ]


def _percent(table: Table, row: str, method: str) -> str:
    """A percentage error with its standard error; the union floor has none."""
    error, sigma = claims_on.error(table, row, method), claims_on.error_sigma(table, row, method)
    sigma = None if method == "union-floor" else sigma
    return with_error(None if error is None else 100 * error, None if sigma is None else 100 * sigma, 2)


def places(points: Sequence[Point]) -> dict[tuple[str, str], float]:
    """Where on the axis each method of each point stands: those of one tick side by side, as wide as there is room.

    The union floor stands where NQS+NF does, of whose subspaces it is.
    """
    ticks = sorted({p.x for p in points})
    room = min((math.log10(high / low) for low, high in pairwise(ticks)), default=1.0)
    gaps = {
        tick: min([abs(math.log10(tick / other)) for other in ticks if other != tick], default=room) for tick in ticks
    }
    methods = ["nqs+nf", *(method for method, _ in shared.OURS)]
    found = {}
    for tick in ticks:
        slots = [(p.row, method) for p in sorted(points, key=lambda p: p.n) if p.x == tick for method in methods]
        step = min(SLOT, 0.9 * gaps[tick] / len(slots))
        for k, slot in enumerate(slots):
            found[slot] = tick * 10 ** (step * (k - (len(slots) - 1) / 2))
    return found


def _draw(table: Table, figure: Any, points: Sequence[Point], axis: str) -> None:
    """A panel a size: every method in its colour, NQS+NF and its union floor joined by lines."""
    from matplotlib.lines import Line2D

    panels = figure.subplots(1, len(SIZES), sharey=True)
    there = [m for m in ("nqs+nf", "union-floor", *dict(shared.OURS)) if _is_there(table, points, m)]
    for axes, n in zip(panels, SIZES, strict=True):
        own = [p for p in points if p.n == n]
        at = places(own)
        for method in there:
            _draw_method(table, axes, own, method, at)
        axes.axhline(claimed_percent(), color="grey", lw=1, ls="--")
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xticks([p.x for p in own], [f"{p.x:g}" for p in own])
        axes.minorticks_off()
        axes.set_title(f"N = {n}", fontsize=8)
        axes.set_xlabel(axis)
    panels[0].set_ylabel("error [%]")
    claimed = Line2D([], [], color="grey", lw=1, ls="--", label=f"{claimed_percent():g} % (the paper's text)")
    legend(figure, there, False, claimed)


def _is_there(table: Table, points: Sequence[Point], method: str) -> bool:
    return any((row := table.row(p.row, method)) and row.ours is not None for p in points)


LINES = {"nqs+nf": "-", "union-floor": ":"}
"""What is joined, and how."""


def _draw_method(
    table: Table, axes: Any, points: Sequence[Point], method: str, at: Mapping[tuple[str, str], float]
) -> None:
    """Percentage errors of one size with their whiskers."""
    found = [(at[p.row, "nqs+nf" if method in LINES else method], table.row(p.row, method)) for p in points]
    known = [(x, row) for x, row in found if row is not None and row.rel_error_ours]
    for x, row in known:
        sigma = relative_sigma(row, row.ours_sigma)
        draw_point(axes, x, 100 * (row.rel_error_ours or 0.0), None if sigma is None else 100 * sigma, method)
    if method in LINES and known:
        heights = [100 * abs(row.rel_error_ours or 0.0) for _, row in known]
        axes.plot([x for x, _ in known], heights, LINES[method], color=style(method).colour, lw=1)
