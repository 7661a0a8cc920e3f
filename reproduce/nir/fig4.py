"""Figure 4: the three lowest levels of the transverse-field Ising model against the field, and their errors."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

from pipeline.base.config.nodes import SCALES
from pipeline.base.numbers.formatting import with_error
from reproduce.artefact import Artefact, Cell, Claim, Rendering, quoted
from reproduce.naqs.judgement import SIGMAS, Answer, magnitude, tally
from reproduce.naqs.noise import CLIPPED, Point, draw, point
from reproduce.nir import shared
from reproduce.nir.shared import LEVELS, NIR, TARGET
from reproduce.tables import Table

FIELDS = (0.5, 1.0, 2.0, 2.5, 3.0, 4.0, 6.0)
"""Ours: the paper computes "g in the range from 0 to 6" and prints no numbers."""

AT_LAPTOP = (1.0, 2.0, 3.0, 4.0, 6.0)
"""Those that ten minutes are to pay for."""

SETTINGS, ORDERED = shared.RANDOM[NIR], "nir/ordered"
"""Recipes; the second for fields up to :data:`shared.ORDERED`."""

CLOSED = 0.1
"""Of the gap at the largest field: a gap below it counts as closed."""


def cells() -> list[Cell]:
    """One training a field, and the reference; the largest fields, of the fastest trainings, first."""
    made = []
    for g in reversed(FIELDS):
        physics, scales = (shared.field(g),), () if g in AT_LAPTOP else ("long", "gpu", "paper")
        columns = shared.columns(NIR, ("v_score", "ess"))
        settings = ORDERED if g <= shared.ORDERED else SETTINGS
        cell = Cell(shared.row(g), NIR, physics, columns, settings=settings, scales=scales)
        if annealed := shared.annealed(g):
            made.append(replace(cell, settings=annealed[NIR], scales=("long",)))
            cell = replace(cell, scales=tuple(scale for scale in scales or SCALES if scale != "long"))
        made.append(cell)
        made.append(replace(shared.reference(shared.row(g), physics, SETTINGS), scales=scales))
    return made


def fields(table: Table) -> list[float]:
    """Those of the scale."""
    rows = {done.task.cell.row for done in table.finished}
    return [g for g in FIELDS if shared.row(g) in rows]


def render(table: Table) -> Rendering:
    """A line a field; levels, gap and errors."""
    header = ["g", *(f"E_{n}" for n in range(3)), *(f"error of E_{n}" for n in range(3)), "E_1 - E_0", "reference"]
    header += ["ESS / proposed"]
    return Rendering(
        header,
        [_line(table, g) for g in fields(table)],
        claims(table),
        notes(table),
        (lambda figure: draw_levels(figure, table)) if any(errors(table)) else None,
        figure_size=(7.0, 3.4),
        caption="(a) The three lowest levels, total energies less that of the lowest reference level (symbols; "
        "lines: the reference). (b) Relative errors of the levels, with standard errors. "
        f"{CLIPPED} Dotted: 10⁻³.",
        verdict=verdict(table),
        keys=1,
    )


def _line(table: Table, g: float) -> list[str]:
    lines = [table.row(shared.row(g), NIR, name) for name in LEVELS]
    levels = [with_error(x.ours, x.ours_sigma) if x and x.ours is not None else "–" for x in lines]
    ess = table.row(shared.row(g), NIR, "ess")
    worth = f"{ess.ours:.2f}" if ess and ess.ours is not None else "–"
    return [f"{g:g}", *levels, *map(shared.error, lines), _gap(table, g, NIR), _gap(table, g, "reference"), worth]


def gap(table: Table, g: float, method: str, level: int = 1) -> tuple[float, float | None] | None:
    """A level above the lowest, with an error that takes the two for independent; None where one is unknown."""
    low, high = (table.row(shared.row(g), method, LEVELS[n]) for n in (0, level))
    if low is None or high is None or low.ours is None or high.ours is None:
        return None
    known = low.ours_sigma is not None and high.ours_sigma is not None
    return high.ours - low.ours, math.hypot(low.ours_sigma or 0.0, high.ours_sigma or 0.0) if known else None


def _gap(table: Table, g: float, method: str) -> str:
    found = gap(table, g, method)
    return "–" if found is None else with_error(found[0], found[1])


def errors(table: Table) -> list[tuple[float, str, float, float | None]]:
    """Field, level, relative error and its standard error of everything that has one."""
    found = []
    for g in fields(table):
        for name in LEVELS:
            deviation = shared.deviation(table.row(shared.row(g), NIR, name))
            if deviation is not None:
                found.append((g, name, *deviation))
    return found


def claims(table: Table) -> list[Claim]:
    """What Section 4.4 says."""
    found = errors(table)
    within = [_below(abs(value) - TARGET, sigma) for _, _, value, sigma in found]
    worst = max(found, key=lambda one: abs(one[2]), default=None)
    sizes = "" if worst is None else f"largest relative error {magnitude(worst[2], worst[3])} (level {worst[1]}, "
    gaps = [(g, gap(table, g, NIR)) for g in fields(table)]
    shown = ", ".join(f"{with_error(*one)} at g = {g:g}" for g, one in gaps if one)
    above = ", ".join(with_error(*one) for g in fields(table) if (one := gap(table, g, NIR, 2)))
    return [
        quoted(
            "On the absolute scale, both methods show good agreement",
            "Section 4.4",
            tally(within),
            (f"{sizes}g = {worst[0]:g}); within {TARGET:g} by {SIGMAS:g} σ counts as agreement, ours" if worst else ""),
        ),
        quoted(
            "capture the closing and reopening of the energy gap",
            "Section 4.4",
            tally(_opens(table)),
            f"E_1 - E_0 is {shown}; E_2 - E_0 is {above} (seen if the first opens and the second has a minimum in "
            f"between, by {SIGMAS:g} σ each)"
            if shown
            else "",
        ),
    ]


def _opens(table: Table) -> list[Answer]:
    """Whether E_1 - E_0 is closed at small fields and opens, while E_2 - E_0 is smallest in between."""
    first, second = ([found for g in fields(table) if (found := gap(table, g, NIR, n))] for n in (1, 2))
    if len(second) < max(3, len(fields(table))):
        return []
    closed = (first[0][0] - CLOSED * first[-1][0], first[0][1])
    least = min(second, key=lambda one: one[0])
    signs = [
        _below(*closed),
        *(_less(a, b) for a, b in pairwise(first)),
        *(_less(least, end) for end in (second[0], second[-1])),
    ]
    return ["no" if "no" in signs else "undecided" if "undecided" in signs else "yes"]


def _less(a: tuple[float, float | None], b: tuple[float, float | None]) -> Answer:
    """Whether a value is below another, both with errors."""
    return _below(a[0] - b[0], None if a[1] is None or b[1] is None else math.hypot(a[1], b[1]))


def _below(value: float, sigma: float | None) -> Answer:
    """Whether ``value`` is negative by more than its error; what is an end of its own, 0, is not."""
    if sigma is None or (abs(value) <= SIGMAS * sigma and value != 0):
        return "undecided"
    return "yes" if value < 0 else "no"


def verdict(table: Table) -> list[str]:
    """How many levels are within the target, which are not, and what the gap does."""
    found = errors(table)
    if not found:
        return []
    good = [one for one in found if abs(one[2]) <= TARGET]
    sizes = sorted(abs(one[2]) for one in found)
    said = [
        f"{len(good)} of {len(found)} levels are within {TARGET:g} of the reference, half of all within "
        f"{sizes[len(sizes) // 2]:.1e}."
    ]
    bad = sorted((one for one in found if abs(one[2]) > TARGET), key=lambda one: -abs(one[2]))
    if bad:
        listed = ", ".join(f"{name} at g = {g:g} by {magnitude(value, s)}" for g, name, value, s in bad[:6])
        said.append(f"Farther off: {listed}{' and others' if len(bad) > 6 else ''}.")
    return [*said, *shared.other_lattice(table, "8 × 8")]


def notes(table: Table) -> list[str]:
    """Conventions."""
    said = [
        "Open boundaries and total energies in Pauli matrices; levels of a multiplet are counted each.",
        "Where the fourth level is close to the third, at small g, a short training leaves some of it in the third "
        "state: what is above the three levels decays in imaginary time with its distance from them.",
        "Levels are eigenvalues of one averaged matrix of fresh, weighted proposals; their noise repels them, only the "
        "sum is unbiased.",
        "The paper prints no numbers of this figure, but the size of its errors at 8 × 8: 10⁻⁷ at low and high g, 10⁻⁵ "
        "near the critical region.",
    ]
    if table.other_system:
        said.append("The lattice is not the paper's: shapes can be compared, numbers cannot.")
    return said


def draw_levels(figure: Any, table: Table) -> None:
    """Levels and errors against the field."""
    left, right = figure.subplots(1, 2)
    for n, name in enumerate(LEVELS):
        lines = [(g, table.row(shared.row(g), NIR, name), table.reference(shared.row(g), name)) for g in fields(table)]
        base = [table.reference(shared.row(g), LEVELS[0]) for g in fields(table)]
        exact = [(g, ref.value - low.value) for (g, _, ref), low in zip(lines, base, strict=True) if ref and low]
        left.plot(*zip(*exact, strict=True), "-", color=f"C{n}", lw=1)
        ours = [
            (g, line.ours - low.value, line.ours_sigma or 0.0)
            for (g, line, _), low in zip(lines, base, strict=True)
            if line and line.ours is not None and low
        ]
        x, y, bars = zip(*ours, strict=True)
        left.errorbar(x, y, bars, fmt="os^"[n], color=f"C{n}", ms=4, capsize=2, label=f"$E_{n}$")
        made: list[Point] = []
        places = []
        for g, level, value, sigma in errors(table):
            if level == name:
                places.append(g + 0.05 * (n - 1))
                made.append(point(abs(value), sigma))
        draw(right, places, made, f"C{n}", "os^"[n], label=f"$E_{n}$")
    right.axhline(TARGET, color="0.5", ls=":", lw=0.8)
    right.set_yscale("log")
    left.set_ylabel(r"$E_n - E_0^\mathrm{ref}$")
    right.set_ylabel("relative error")
    for axes in (left, right):
        axes.set_xlabel("$g$")
    left.legend(frameon=False, fontsize=8)


ARTEFACT = Artefact(
    "nir",
    "fig4",
    "Figure 4: three lowest levels of the transverse-field Ising model against the field",
    cells,
    render,
    own={NIR: "NIR"},
    labels={shared.row(g): f"g = {g:g}" for g in FIELDS},
)
