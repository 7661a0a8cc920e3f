"""What a run came to, in its W&B mirror: our values, references, relative errors and verdicts; figure and report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.analysis.verdict import error_relative_to
from pipeline.stages.context import Context
from pipeline.stages.report import Row, headline, rows
from pipeline.stages.run import RunOutput


def mirror(context: Context, output: RunOutput, folder: Path | None = None) -> None:
    """Put a finished run into its mirror, if it has one.

    Args:
        folder: of its report.
    """
    tracker = context.mirrored
    if tracker is None:
        return
    summary: dict[str, Any] = {}
    for row in rows(output):
        summary |= _numbers(row)
    main = headline(output)
    if main is not None:
        summary["headline"] = main.estimate.name
    figures, pages = (sorted(folder.glob(pattern)) if folder else () for pattern in ("*.png", "report.*"))
    tracker.summarise(summary, figures, pages)


def _numbers(row: Row) -> dict[str, Any]:
    """``NAME``, ``NAME/sigma``, ``NAME/reference``, ... of each estimate, as far as they are known."""
    name, value, reference = row.estimate.name, row.estimate.value, row.reference
    found = {name: value, f"{name}/sigma": row.estimate.sigma, f"{name}/verdict": row.verdict if reference else None}
    if reference is not None:
        found |= {f"{name}/reference": reference.value, f"{name}/relative_error": error_relative_to(value, reference)}
    return {key: number for key, number in found.items() if number is not None}
