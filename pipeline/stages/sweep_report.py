"""``make report SWEEP=...``: a sweep on a page, with tables for further analysis, plots and extrapolations."""

from __future__ import annotations

import argparse
import csv
import math
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pipeline.analysis.extrapolation import FEW_SEEDS
from pipeline.analysis.sweeps import Extrapolation, Point, averaged, finite_size, zero_variance
from pipeline.analysis.verdict import error_relative_to, shown_error, vs_reference
from pipeline.base.errors import UserError
from pipeline.base.extras import missing
from pipeline.base.numbers.formatting import relative, with_error
from pipeline.base.numbers.result import Estimate
from pipeline.base.run.console import guarded
from pipeline.stages.sweep_figure import draw_axis, draw_extrapolations, numeric_axes, short
from pipeline.stages.sweep_points import Found, of_folder, of_query, sweeps_of

COLUMNS = (
    *("quantity", "unit", "value", "sigma", "spread", "runs"),
    *("reference", "reference_sigma", "relative_error", "verdict"),
)


def main(arguments: Sequence[str]) -> int:
    """Write a report; without a sweep, list those that there are."""
    return guarded(lambda: _run(list(arguments)))


def _run(words: list[str]) -> int:
    parser = argparse.ArgumentParser("make report", description=__doc__)
    parser.add_argument("sweep", nargs="*", help="folder of a sweep, or a query: key=value[,value] ...")
    parser.add_argument("--results", default="results", help="results_dir (default: results)")
    parser.add_argument(
        "--power", type=float, help="p of finite-size extrapolations in 1/L^p (default: 1 of open systems, else 2)"
    )
    options = parser.parse_args(words)
    results = Path(options.results)
    if options.power is not None and (not math.isfinite(options.power) or options.power <= 0):
        raise UserError(f"--power {options.power:g}: must be positive")
    if not options.sweep:
        return _list(results)
    found = _found(options.sweep, results)
    folder = write(found, (found.results or results) / "_sweeps" / found.name, options.power)
    print(f"report: {folder / 'report.md'}")
    return 0


def _found(words: Sequence[str], results: Path) -> Found:
    queries = [word for word in words if "=" in word and not Path(word).is_dir()]
    if len(queries) == len(words):
        return of_query(queries, results)
    if len(words) > 1:
        raise UserError(f"{' '.join(words)}: one folder of a sweep, or a query of key=value words alone")
    return of_folder(Path(words[0]))


def _list(results: Path) -> int:
    folders = sweeps_of(results)
    if not folders:
        raise UserError(f"no sweep below {results}/_hydra/sweep: start one by python -m pipeline -m ..., or query keys")
    print("\n".join(str(folder) for folder in folders))
    return 0


def write(found: Found, folder: Path, power: float | None = None) -> Path:
    """Write ``report.md``, the same as ``report.html``, ``table.csv`` (means over seeds), ``runs.csv`` and figures.

    Args:
        power: of 1/L in finite-size extrapolations; None: that of each system.

    Returns:
        Their folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    means = averaged(found.points)
    _csv(folder / "table.csv", means)
    _csv(folder / "runs.csv", found.points)
    figures = [draw_axis(means, key, folder / f"by_{short(key)}") for key in numeric_axes(means)]
    lines = {"finite_size": finite_size(means, power), "zero_variance": zero_variance(means)}
    figures += [draw_extrapolations(each, folder / name) for name, each in lines.items() if each]
    page = _page(found, means, figures, [e for each in lines.values() for e in each])
    (folder / "report.md").write_text(page, encoding="utf-8")
    if not missing("markdown_it"):
        from pipeline.base.html import from_markdown

        (folder / "report.html").write_text(from_markdown(page), encoding="utf-8")
    return folder


def _page(found: Found, means: Sequence[Point], figures: Sequence[Path], fits: Sequence[Extrapolation]) -> str:
    parts = [f"# Sweep: {found.title}", "", *_verdict(found, means), ""]
    if means:
        parts += ["## Table", "", _table(means), ""]
    for figure in figures:
        parts += [f"![{figure.stem}]({figure.name})", ""]
    if fits:
        parts += ["## Extrapolations", "", _fits(fits), "", *[f"- {note}" for note in FIT_NOTES], ""]
    if found.missing:
        parts += ["## Missing", "", *[f"- `{label}`: {why}" for label, why in found.missing.items()], ""]
        parts += ["The same command goes on:", "", f"    {found.command}", ""] if found.command else []
    return "\n".join([*parts, "## Errors", "", *[f"- {note}" for note in NOTES], ""])


NOTES = (
    "Numbers of trained states come from fresh samples after training. An error in brackets is the standard error of "
    "the last digits; over several seeds it is the standard error over seeds, and `spread` in the tables their "
    "standard deviation. Bars in figures are standard errors, dashed lines references, in the colour of their series.",
    "`table.csv` has means over seeds, `runs.csv` every run, with all estimates.",
)
FIT_NOTES = (
    "Least squares, weighted by the errors of both coordinates where all are known and none of the values is zero; "
    "times √(χ²/freedom) where that is larger than one. Without errors, the scatter around the line with Student's "
    "factor.",
    f"Over fewer than {FEW_SEEDS} seeds the spread is taken to be the same at all points of a line, that of all of "
    "them together, with Student's factor for the degrees of freedom of the seeds and of the scatter around the line. "
    "Where only some points are means over seeds, the scatter alone is used.",
    "Sizes go to infinity as 1/L^p: p = 2 is the leading correction of a critical ring, p = 1 that of open ends and "
    "edges, and what `--power` says goes before. Systems with a gap converge faster.",
    "Value and variance of one run come from the same samples and are taken as independent.",
    "The reference of an infinite system is that of the finite ones, extrapolated by the same line.",
)


def _verdict(found: Found, means: Sequence[Point]) -> list[str]:
    done = found.total - len(found.missing)
    said = [f"{done} of {found.total} runs are finished." if found.missing else f"All {done} runs are finished."]
    broken = [p for p in means if p.main and vs_reference(p.main, p.against(p.main), len(means)) == "BELOW-BOUND"]
    if broken:
        said.insert(0, f"**BELOW-BOUND: {len(broken)} values lie below exact values. This is a bug.**")
    errors = [error_relative_to(p.main.value, p.against(p.main)) for p in means if p.main]
    known = sorted(abs(error) for error in errors if error is not None)
    if known:
        said.append(f"Relative errors lie between {known[0]:.1e} and {known[-1]:.1e}.")
    return [" ".join(said)]


def _table(means: Sequence[Point]) -> str:
    from tabulate import tabulate

    keys = list(means[0].axes)
    head = [*map(short, keys), "runs", "quantity", "value", "reference", "relative error", "verdict"]
    body = []
    for point in means:
        main = point.main
        if main is None:
            continue
        reference = point.against(main)
        shown = with_error(reference.value, reference.sigma, 12) if reference else "–"
        verdict = vs_reference(main, reference, len(means)) if reference else "–"
        numbers = [with_error(main.value, main.sigma), shown, shown_error(main.value, reference), verdict]
        body.append([*[point.axes[key] for key in keys], point.runs, main.name, *numbers])
    return tabulate(body, headers=head, tablefmt="github", disable_numparse=True)


def _fits(fits: Iterable[Extrapolation]) -> str:
    from tabulate import tabulate

    head = ["series", "line", "points", "at zero", "slope", "χ²/freedom", "reference", "relative error", "doubt"]
    body = []
    for fit in fits:
        line, at_zero = fit.line, fit.intercept
        quality = f"{line.chi_squared / line.freedom:.2g}" if line.freedom and not math.isnan(line.chi_squared) else "–"
        series = ", ".join(f"{short(key)}={value}" for key, value in fit.series.items()) or "all"
        reference = with_error(fit.reference.value, fit.reference.sigma) if fit.reference else "–"
        error = relative(error_relative_to(at_zero.value, fit.reference))
        numbers = [with_error(at_zero.value, at_zero.sigma), with_error(line.slope, line.slope_sigma), quality]
        body.append(
            [
                series,
                f"{fit.quantity} against {fit.against}",
                len(fit.x),
                *numbers,
                reference,
                error,
                at_zero.doubt or "–",
            ]
        )
    return tabulate(body, headers=head, tablefmt="github", disable_numparse=True)


def _csv(path: Path, points: Sequence[Point]) -> None:
    """A line for each estimate of each point; what is unknown is empty. Verdicts are of as many as there are points."""
    keys = list(points[0].axes) if points else []
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*keys, *COLUMNS])
        for point in points:
            for estimate in point.estimates.values():
                writer.writerow([*[point.axes[key] for key in keys], *_numbers(point, estimate, len(points))])


def _numbers(point: Point, e: Estimate, tests: int) -> list[Any]:
    r = point.against(e)
    named = [r.value, r.sigma, error_relative_to(e.value, r), vs_reference(e, r, tests)] if r else [None] * 4
    return [e.name, e.unit, e.value, e.sigma, e.spread, point.runs, *named]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
