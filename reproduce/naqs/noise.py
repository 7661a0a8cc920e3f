"""Errors on logarithmic axes: with their own errors, and clipped where they are noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

CARET = 7
"""Marker of matplotlib: a caret that points down, its tip on the value."""
NOISE = 2.0
"""A distance from the reference below this many standard errors is not one."""
CLIPPED = f"Carets that point down: less than {NOISE:g} σ above zero, drawn at {NOISE:g} σ, where the noise begins."


@dataclass(frozen=True)
class Point:
    """Where an error stands on a logarithmic axis: at its value with its bar, or at the noise without one."""

    height: float
    bar: float
    clipped: bool


def point(distance: float, sigma: float | None) -> Point:
    """Of a distance from the reference, signed or not; without a bar where its error is unknown."""
    if sigma is None or not math.isfinite(sigma):
        return Point(distance if distance > 0 else math.nan, 0.0, False)
    if distance < NOISE * sigma:
        return Point(NOISE * sigma, 0.0, True)
    # no error and no distance: nothing to draw on a logarithmic axis
    return Point(distance or math.nan, sigma, False)


def draw(
    axes: Any,
    x: Sequence[float],
    points: Sequence[Point],
    colour: str,
    marker: str,
    printed: bool = False,
    **style: Any,
) -> None:
    """Bars on what is above the noise, carets at the noise for the rest; one line through all. Open if ``printed``."""
    label = style.pop("label", None)
    face = "white" if printed else colour
    # what a legend shows of a series is a marker that is drawn
    seen = any(not p.clipped and math.isfinite(p.height) for p in points)
    axes.plot(x, [p.height for p in points], color=colour, marker="", **{"lw": 1, "ls": "", **style})
    kept = [(a, p) for a, p in zip(x, points, strict=True) if not p.clipped]
    axes.errorbar(
        [a for a, _ in kept],
        [p.height for _, p in kept],
        yerr=[p.bar for _, p in kept],
        fmt=marker,
        color=colour,
        mfc=face,
        label=label if seen else None,
        ms=4,
        alpha=style.get("alpha"),
        elinewidth=1,
        capsize=2,
    )
    low = [(a, p.height) for a, p in zip(x, points, strict=True) if p.clipped]
    axes.plot(
        [a for a, _ in low],
        [h for _, h in low],
        marker=CARET,
        color=colour,
        mfc=face,
        ms=5,
        ls="",
        label=label if low and not seen else None,
    )


def counted(points: Sequence[Point]) -> str:
    """``3 of 12 points are clipped.``; nothing where none is."""
    clipped = sum(p.clipped for p in points)
    return f"{clipped} of {len(points)} points are clipped." if clipped else ""
