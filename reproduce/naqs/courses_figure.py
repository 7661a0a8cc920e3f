"""The panels of Figure 3."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from pipeline.base.numbers.result import Estimate
from reproduce.colours import style
from reproduce.naqs import noise
from reproduce.naqs.courses import LABELS, Course, distance

LINES = dict(zip(LABELS, ["-", "-", "--", "-.", ":"], strict=True))
SHADES = dict(zip(LABELS, [1.0, 1.0, 0.8, 0.65, 0.5], strict=True))
"""Chains of different length are one method, and told apart by line and shade."""


def points(course: Course, goal: Estimate | None) -> list[noise.Point]:
    """Errors of a training to an energy, NaN for that energy itself; none without one."""
    if goal is None:
        return []
    energies = [course.energy(k) for k in range(len(course.energies))]
    # its distance to itself is exactly 0, without an error
    return [noise.Point(math.nan, 0.0, False) if e == goal else noise.point(*distance(e, goal)) for e in energies]


def points_in_all(found: Sequence[Course], *goals: Estimate | None) -> list[noise.Point]:
    """Of all trainings to all energies, once each, as far as they are drawn."""
    every = [point for goal in goals for course in found for point in points(course, goal)]
    return [point for point in every if math.isfinite(point.height)]


def draw(found: Sequence[Course], size: int, best: Estimate | None, exact: Estimate | None, figure: Any) -> None:
    """Rows: error to ``exact``, error to ``best``, variance; columns: iterations, seconds."""
    axes = figure.subplots(3, 2, sharex="col", sharey="row")
    for course in found:
        colour, marker = style(course.method).colour, style(course.method).marker
        line, alpha = LINES[course.method], SHADES[course.method]
        variances = [variance / size for variance in course.variances]
        bars = [sigma / size for sigma in course.variance_sigmas] or None
        # zero seconds have no place on a logarithmic axis
        for column, x in enumerate((course.steps, [s or math.nan for s in course.seconds])):
            for row, goal in enumerate((exact, best)):
                if made := points(course, goal):
                    noise.draw(axes[row, column], x, made, colour, marker, ls=line, alpha=alpha, label=course.label)
            shown = {"fmt": marker, "ls": line, "color": colour, "alpha": alpha, "ms": 3, "lw": 1}
            axes[2, column].errorbar(x, variances, yerr=bars, elinewidth=1, capsize=2, **shown)
    titles = ("error to quantum Monte Carlo", "error to lowest found", "Var(H)/N")
    for row, label in enumerate(titles):
        axes[row, 0].set_ylabel(label)
        axes[row, 0].set_yscale("log")
    axes[2, 0].set_xlabel("iteration")
    axes[2, 1].set_xlabel("seconds of training")
    axes[2, 1].set_xscale("log")
    if named := axes[0, 0].get_legend_handles_labels()[0]:
        figure.legend(handles=named, frameon=False, loc="outside upper center", ncols=5, fontsize=8)
