"""Figures that are the same file for the same data: no dates, fixed hash salt, fixed style, a width of a journal."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pipeline.base.palette import CYCLE

COLUMN, PAGE = 3.4, 7.0
"""Widths of one and of two columns of a journal, in inches."""
DPI = 150
STYLE = {
    "svg.hashsalt": "neural-quantum-states",
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
    "figure.dpi": DPI,
    "savefig.dpi": DPI,
    "font.sans-serif": ["DejaVu Sans", "Arial"],
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.linewidth": 0.6,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.fontsize": 7.5,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "axes.axisbelow": True,
}
COLOURS = 128
"""Of a PNG: figures of a few hues and their edges, at a third of the bytes."""
WITHOUT_DATES: dict[str, dict[str, Any]] = {
    "svg": {"Date": None},
    "pdf": {"CreationDate": None, "Producer": None, "Creator": None},
    "png": {"Software": None},
}


def new_figure(width: float = PAGE, height: float = 4.0, rows: int = 1, columns: int = 1) -> tuple[Any, Any]:
    """A figure and its axes, sizes in inches, drawn without a display."""
    figure = empty_figure(width, height)
    return figure, figure.subplots(rows, columns)


def save_figure(figure: Any, path: Path, formats: Sequence[str] = ("svg", "png")) -> list[Path]:
    """Write ``path`` with each suffix, without dates or software versions in the metadata, and close the figure."""
    import matplotlib.pyplot as plt

    if figure.get_layout_engine() is not None:
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # laid out once for all formats
    written = []
    for suffix in formats:
        target, made = path.with_suffix(f".{suffix}"), io.BytesIO()
        figure.savefig(made, format=suffix, metadata=WITHOUT_DATES[suffix])
        target.write_bytes(SMALLER[suffix](made.getvalue()))
        written.append(target)
    plt.close(figure)
    return written


def _fewer_colours(png: bytes) -> bytes:
    """The same picture with as many colours as a figure needs."""
    from PIL import Image

    made = io.BytesIO()
    with Image.open(io.BytesIO(png)) as image:
        image.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(made, "png", optimize=True)
    return made.getvalue()


LONG_NUMBER = re.compile(rb"(?<![\w.#])-?\d+\.\d{3,}(?![\w.])")


def _fewer_digits(svg: bytes) -> bytes:
    """The same drawing to a hundredth of a point."""
    return LONG_NUMBER.sub(lambda found: f"{float(found[0]):.2f}".rstrip("0").rstrip(".").encode(), svg)


SMALLER: dict[str, Callable[[bytes], bytes]] = {"png": _fewer_colours, "svg": _fewer_digits, "pdf": bytes}


def empty_figure(width: float, height: float) -> Any:
    """A figure without axes, sizes in inches, drawn without a display: pyplot knows nothing of it."""
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.rcParams.update({**STYLE, "axes.prop_cycle": matplotlib.cycler(color=CYCLE)})  # type: ignore[arg-type, attr-defined]
    return Figure(figsize=(width, height), layout="constrained")
