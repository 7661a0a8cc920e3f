"""What Figures 2 and 3 share: exactly solvable chains, percentage errors against one parameter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.base.numbers.formatting import with_error
from reproduce.artefact import Cell, Claim, Rendering, yes_no
from reproduce.nf_nqs import claims as claims_on
from reproduce.nf_nqs import shared
from reproduce.tables import Table

SIZES = (10, 15, 20)
SUBSPACE_SIZE_AT_10 = 150
"""Section IV.B: |S| = 150 for N = 10 and 5000 from N = 15 on; part of the paper's setting, not of a budget."""
CLAIMED_PERCENT = 1.0


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
    header = ["N", "L", "V", "energy", "spread", "error [%]", "union floor error [%]", "exact", "kind", "unique"]
    header += [f"{name} error [%]" for _, name in shared.OURS]
    body = [[str(p.n), str(p.length), f"{p.strength:g}", *_line(table, p.row)] for p in points]
    notes = [
        "The figure's points are not printed in the text, so that only its sentences can be compared.",
        "For N = 10 a subspace has 150 draws, and a batch of the paper's other methods 150 samples, at every scale, as "
        "in Section IV.B.",
        *shared.notes(table),
    ]
    return Rendering(
        header, body, claims, notes, lambda figure: _draw(table, figure, points, axis), (6.0, 4.2), caption
    )


def below_one_percent(table: Table, points: Sequence[Point]) -> Claim:
    """The sentence of the summary, point by point."""
    seen, above = [], []
    for point in points:
        error = claims_on.error(table, point.row)
        if error is not None:
            seen.append(100 * abs(error) < CLAIMED_PERCENT)
            above += [] if seen[-1] else [f"{point.row} {100 * error:.2g} %"]
    return Claim(
        "percentage energy errors below 1% even in highly entangled regimes",
        "Section V",
        yes_no(seen),
        "above 1 %: " + (", ".join(above) or "none"),
    )


def series(table: Table, points: Sequence[Point]) -> Mapping[str, list[float | None]]:
    """Relative errors by size, in the order of the points."""
    return {f"N={n}": [claims_on.error(table, p.row) for p in points if p.n == n] for n in SIZES}


def _line(table: Table, row: str) -> list[str]:
    ours, floor, reference = table.row(row, "nqs+nf"), table.row(row, "union-floor"), table.reference(row, "energy")
    fraction = table.row(row, "nqs+nf", "unique_fraction")
    return [
        with_error(ours.ours, ours.ours_sigma) if ours else "–",
        f"{ours.ours_spread:.2g}" if ours and ours.ours_spread is not None else "–",
        _percent(ours.rel_error_ours if ours else None),
        _percent(floor.rel_error_ours if floor else None),
        with_error(reference.value, None, 12) if reference else "–",
        table.reference_kind(row) or "–",
        f"{fraction.ours:.2g}" if fraction and fraction.ours is not None else "–",
        *(_percent(found.rel_error_ours if (found := table.row(row, method)) else None) for method, _ in shared.OURS),
    ]


def _percent(error: float | None) -> str:
    return "–" if error is None else f"{100 * error:+.2g}"


def _draw(table: Table, figure: Any, points: Sequence[Point], axis: str) -> None:
    axes = figure.subplots()
    for k, n in enumerate(SIZES):
        for method, style in (("nqs+nf", "o-"), ("union-floor", "_:")):
            rows = [(p.x, table.row(p.row, method)) for p in points if p.n == n]
            found = [(x, r) for x, r in rows if r and r.rel_error_ours and r.reference]
            x = [x * (1 + 0.02 * (k - 1)) for x, _ in found]
            y = [100 * abs(r.rel_error_ours or 0.0) for _, r in found]
            spread = [100 * (r.ours_spread or 0.0) / abs(r.reference or 1.0) for _, r in found]
            bars = [[min(s, 0.9 * height) for s, height in zip(spread, y, strict=True)], spread]
            label = f"N = {n}" + (", union floor" if method != "nqs+nf" else "")
            axes.errorbar(x, y, yerr=bars, fmt=style, color=f"C{k}", label=label, ms=5, lw=1, capsize=2)
    for method, name in shared.OURS:
        _draw_other(table, axes, points, method, name)
    axes.axhline(CLAIMED_PERCENT, color="grey", lw=1, ls="--", label="1 % (the paper's text)")
    axes.set_xscale("log")
    axes.set_yscale("log")
    ticks = sorted({p.x for p in points})
    axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
    axes.minorticks_off()
    axes.set_xlabel(axis)
    axes.set_ylabel("error [%]")
    axes.legend(frameon=False, fontsize=8, ncols=2)


def _draw_other(table: Table, axes: Any, points: Sequence[Point], method: str, name: str) -> None:
    """All sizes of a method beside NQS+NF, in pale markers of one shape."""
    marker, shift = shared.LIGHT[method]
    if not any((row := table.row(p.row, method)) and row.ours is not None for p in points):
        return
    for k, n in enumerate(SIZES):
        rows = [(p.x, table.row(p.row, method)) for p in points if p.n == n]
        found = [
            (x * (1 + 0.02 * (k - 1) + shift), 100 * abs(r.rel_error_ours)) for x, r in rows if r and r.rel_error_ours
        ]
        if found:
            axes.plot(*zip(*found, strict=True), marker, color=f"C{k}", alpha=0.35, ms=4, mfc="none", zorder=1)
    axes.plot([], [], marker, color="grey", alpha=0.6, ms=4, mfc="none", label=name)
