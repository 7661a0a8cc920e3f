"""Figures that are the same file for the same data: no dates, fixed hash salt, fixed style."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

STYLE = {
    "svg.hashsalt": "neural-quantum-states",
    "svg.fonttype": "none",
    "figure.dpi": 150,
    "savefig.dpi": 150,
    "font.size": 9,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "axes.axisbelow": True,
}


def new_figure(width: float = 6.4, height: float = 4.0, rows: int = 1, columns: int = 1) -> tuple[Any, Any]:
    """A figure and its axes, sizes in inches, drawn without a display."""
    figure = empty_figure(width, height)
    return figure, figure.subplots(rows, columns)


def save_figure(figure: Any, path: Path, formats: Sequence[str] = ("svg", "png")) -> list[Path]:
    """Write ``path`` with each suffix, without dates or software versions in the metadata, and close the figure."""
    import matplotlib.pyplot as plt

    written = []
    for suffix in formats:
        target = path.with_suffix(f".{suffix}")
        figure.savefig(target, metadata={"Date": None} if suffix == "svg" else {"Software": None})
        written.append(target)
    plt.close(figure)
    return written


def empty_figure(width: float, height: float) -> Any:
    """A figure without axes, sizes in inches, drawn without a display: pyplot knows nothing of it."""
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.rcParams.update(STYLE)  # type: ignore[arg-type]
    return Figure(figsize=(width, height), layout="constrained")
