"""Figures of a sweep: what stands for its runs against each swept number, with errors and reference curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.analysis.sweeps import Extrapolation, Point, Value, per_site
from pipeline.analysis.verdict import error_relative_to
from pipeline.base.palette import CYCLE
from pipeline.base.plotting import PAGE, new_figure, save_figure

FORMATS = ("svg", "png", "pdf")

DECADE = 10.0
"""A wider range of positive numbers gets a logarithmic axis."""


def numeric_axes(points: Sequence[Point]) -> list[str]:
    """Keys of at least two different numbers."""
    keys = points[0].axes if points else {}
    return [key for key in keys if all(_is_number(p.axes[key]) for p in points) and _many(points, key)]


def _is_number(value: Value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _many(points: Sequence[Point], key: str) -> bool:
    return len({point.axes[key] for point in points}) > 1


def draw_axis(points: Sequence[Point], key: str, path: Path) -> Path:
    """One figure against ``key``: values over reference curves, below them relative errors where there are references.

    Returns:
        The PNG file; an SVG and a PDF lie beside it.
    """
    points = per_site(points)
    series = series_of(points, key)
    errors = any(_error(point) is not None for point in points)
    figure, axes = new_figure(PAGE, 5.6 if errors else 3.8, 2 if errors else 1)
    upper, lower = (axes[0], axes[1]) if errors else (axes, None)
    curves: dict[tuple[tuple[float, float], ...], str] = {}
    for index, (label, group) in enumerate(series):
        look = _look(index)
        x = [float(point.axes[key] or 0) for point in group]
        mains = [point.main for point in group]
        y = [e.value if e else float("nan") for e in mains]
        upper.errorbar(x, y, yerr=[(e.sigma or 0.0) if e else 0.0 for e in mains], label=label, **look)
        curves[tuple(_reference_curve(group, x))] = look["color"]
        if lower is not None:
            found = [(at, _error(point), point) for at, point in zip(x, group, strict=True)]
            known = [(at, abs(error), point) for at, error, point in found if error]
            widths = [_error_width(point) for _, _, point in known]
            lower.errorbar([at for at, _, _ in known], [error for _, error, _ in known], yerr=widths, **look)
    _draw_references(upper, curves)
    _finish(upper, lower, key, points, len(series))
    return save_figure(figure, path, FORMATS)[1]


def series_of(points: Sequence[Point], key: str) -> list[tuple[str, list[Point]]]:
    """Points that differ in nothing but ``key``, in its order, with the settings that they share as a label."""
    groups: dict[str, list[Point]] = {}
    for point in points:
        label = ", ".join(f"{short(k)}={v}" for k, v in point.axes.items() if k != key)
        groups.setdefault(label, []).append(point)
    return [(label, sorted(group, key=lambda p: float(p.axes[key] or 0))) for label, group in groups.items()]


def short(key: str) -> str:
    """The last word of a key, with the one before where that is none of the sections."""
    words = [word for word in key.split(".") if word not in ("train", "infer", "system", "name", "kind")]
    return ".".join(words[-2:]) or key


def _look(index: int) -> dict[str, Any]:
    colour = CYCLE[index % len(CYCLE)]
    full = index < len(CYCLE)
    return {"color": colour, "marker": "o", "ms": 4, "lw": 1, "capsize": 2, "mfc": colour if full else "white"}


def _reference_curve(group: Sequence[Point], x: Sequence[float]) -> list[tuple[float, float]]:
    known = [(at, p.against(p.main)) for at, p in zip(x, group, strict=True) if p.main is not None]
    return [(at, reference.value) for at, reference in known if reference is not None]


def _draw_references(axes: Any, curves: Mapping[tuple[tuple[float, float], ...], str]) -> None:
    """Dashed, in the colour of the series; one that all series share is black."""
    drawn = {curve: colour for curve, colour in curves.items() if curve}
    for curve, colour in drawn.items():
        shared = "black" if len(drawn) == 1 else colour
        axes.plot(*zip(*curve, strict=True), color=shared, ls="--", lw=1, zorder=4)


def _error(point: Point) -> float | None:
    return error_relative_to(point.main.value, point.against(point.main)) if point.main else None


def _error_width(point: Point) -> float:
    reference = point.against(point.main) if point.main else None
    if point.main is None or point.main.sigma is None or reference is None:
        return 0.0
    return point.main.sigma / abs(reference.value)


def _finish(upper: Any, lower: Any, key: str, points: Sequence[Point], count: int) -> None:
    last = upper if lower is None else lower
    numbers = [float(point.axes[key] or 0) for point in points]
    if min(numbers) > 0 and max(numbers) / min(numbers) > DECADE:
        for axes in (upper, lower):
            if axes is not None:
                axes.set_xscale("log")
    main = next((point.main for point in points if point.main), None)
    unit = " per site" if main and main.unit == "per site" else ""
    upper.set_ylabel(main.name.replace("_", " ") + unit if main else "")
    upper.plot([], [], color="black", ls="--", lw=1, label="reference") if lower is not None else None
    if lower is not None:
        lower.set_yscale("log")
        lower.set_ylabel("relative error")
    last.set_xlabel(key)
    if count > 1 or lower is not None:
        upper.legend(frameon=False, fontsize=7, ncols=1 + (count > len(CYCLE) // 2))


def draw_extrapolations(found: Sequence[Extrapolation], path: Path) -> Path:
    """Lines and their points in one figure, each with its intercept at zero and its reference as a dashed line."""
    figure, axes = new_figure()
    for index, each in enumerate(found):
        look = _look(index)
        axes.errorbar(each.x, [e.value for e in each.y], yerr=[e.sigma or 0.0 for e in each.y], **look | {"ls": ""})
        end = max(each.x)
        axes.plot([0, end], [each.line(0), each.line(end)], color=look["color"], lw=1)
        intercept = each.intercept
        label = ", ".join(f"{short(k)}={v}" for k, v in each.series.items())
        axes.errorbar([0], [intercept.value], yerr=[intercept.sigma or 0.0], label=label, **look | {"mfc": "white"})
        if each.reference is not None:
            axes.axhline(each.reference.value, color=look["color"], ls="--", lw=1)
    axes.set_xlabel(found[0].against)
    axes.set_ylabel(found[0].quantity)
    if len(found) > 1:
        axes.legend(frameon=False, fontsize=7)
    return save_figure(figure, path, FORMATS)[1]
