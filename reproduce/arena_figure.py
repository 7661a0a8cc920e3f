"""Error against time in the arena, a panel a family of systems."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from reproduce.arena import NAMES, Entry, others, shown
from reproduce.colours import style

COLUMNS = 3
PANEL = 2.1
"""Height of a row of panels, in inches."""


def height(entries: Sequence[Entry]) -> float:
    """Of the figure, in inches."""
    families = len(dict.fromkeys(entry.family for entry in others(entries)))
    return 0.5 + PANEL * max(1, math.ceil(families / COLUMNS))


def draw(figure: Any, entries: Sequence[Entry]) -> None:
    """A point a method and system; reports with equal budgets have figures of their own."""
    from matplotlib.lines import Line2D

    chosen = [e for found in shown(others(entries)).values() for e in found]
    families = list(dict.fromkeys(e.family for e in chosen))
    rows = max(1, math.ceil(len(families) / COLUMNS))
    panels = figure.subplots(rows, COLUMNS, squeeze=False, sharey=True, sharex=True)
    for axes in panels.flat[len(families) :]:
        axes.set_axis_off()
    for axes, name in zip(panels.flat, families, strict=False):
        for entry in (e for e in chosen if e.family == name):
            _point(axes, entry)
        axes.set_xscale("log")
        axes.set_yscale("log")
    for k, axes in enumerate(panels.flat[: len(families)]):
        name = families[k].replace(", sum", ",\n     sum")
        axes.set_title(f"({chr(ord('a') + k)}) {name}", fontsize=7, loc="left")
        if k + COLUMNS >= len(families):
            axes.set_xlabel("seconds as recorded (wall)")
            axes.tick_params(labelbottom=True)
    for axes in panels[:, 0]:
        axes.set_ylabel("relative error")
    there = [m for m in NAMES if any(e.method == m for e in chosen)]
    handles = [
        Line2D([], [], marker=style(m).marker, ls="", ms=4.5, label=NAMES[m], color=style(m).colour) for m in there
    ]
    figure.legend(handles=handles, frameon=False, loc="outside lower center", ncols=5, fontsize=7)


def _point(axes: Any, entry: Entry) -> None:
    """With its standard error, or an arrow where that is larger than the error."""
    if not entry.size:
        return
    sigma, shown_as = entry.error_sigma or 0.0, style(entry.method)
    low = min(sigma, 0.5 * entry.size)
    axes.errorbar(
        [entry.seconds],
        [entry.size],
        [[low], [sigma]],
        fmt=shown_as.marker,
        color=shown_as.colour,
        ms=4,
        lw=0.7,
        alpha=0.85,
    )
    if sigma >= entry.size:
        axes.plot([entry.seconds], [0.5 * entry.size], marker="v", ms=2.5, color=shown_as.colour)
