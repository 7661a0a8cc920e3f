"""One colour and one marker a method in all artefacts; ours is filled, what a paper prints is open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.base.palette import BLACK, BLUE, GREY, INDIGO, ORANGE, PINK, RUST, SAND, SKY, VIOLET, WINE


@dataclass(frozen=True)
class Style:
    """How a method is drawn: a colour and a marker of matplotlib."""

    colour: str
    marker: str

    def of(self, printed: bool) -> dict[str, Any]:
        """Keywords of a series: filled for ours, open for what a paper prints."""
        return {"color": self.colour, "mfc": "white" if printed else self.colour}


METHODS = {
    "nqs+nf": Style(BLUE, "o"),
    "lowest-subspace": Style(BLUE, "2"),
    "subspace-floor": Style(BLUE, "1"),
    "union-floor": Style(BLUE, "_"),
    "mps": Style(ORANGE, "D"),
    "dense-ar": Style(PINK, "^"),
    "cnn-ar": Style(WINE, "v"),
    "annealed-ar": Style(RUST, "*"),
    "naqs": Style(INDIGO, "s"),
    "direct": Style(INDIGO, "o"),
    "naqs-projected": Style(INDIGO, "P"),
    "naqs-from-samples": Style(INDIGO, "D"),
    "peps": Style(ORANGE, "D"),
    "qmc": Style(GREY, "X"),
    "qmc-check": Style(GREY, "X"),
    "exhaustive": Style(GREY, "s"),
    "rbm": Style(SAND, "p"),
    "mcmc": Style(BLACK, "^"),
    "metropolis": Style(BLACK, "^"),
    "nir": Style(SKY, "o"),
    "forward": Style(SKY, "o"),
    "backward": Style(RUST, "s"),
    "vit": Style(VIOLET, "o"),
    "vit-marshall": Style(VIOLET, "s"),
    "flow": Style(ORANGE, "s"),
    "none": Style(PINK, "^"),
    "even-odd": Style(SKY, "o"),
    "hasenbusch": Style(INDIGO, "D"),
    "hasenbusch-1": Style(INDIGO, "D"),
    "hasenbusch-2": Style(WINE, "v"),
    "hasenbusch-3": Style(RUST, "*"),
    "hmc": Style(BLACK, "o"),
    "hmc-exact": Style(BLACK, "x"),
    "reweighting": Style(SKY, "^"),
    "reference": Style(GREY, "^"),
}
"""By the names of ``cells.csv``; parts of a method, and a sampler of several names, share its colour."""


def style(method: str) -> Style:
    """How a method is drawn; ``mcmc-k300`` and the like as ``mcmc``.

    Raises:
        KeyError: it has no colour yet.
    """
    return METHODS.get(method) or METHODS[method.partition("-")[0]]


def letters(figure: Any, panels: Sequence[Any] | None = None) -> None:
    """(a), (b), ... above the upper left corner of each panel; none where there is one panel."""
    panels = [axes for axes in figure.axes if axes.axison] if panels is None else panels
    for k, axes in enumerate(panels if len(panels) > 1 else ()):
        axes.set_title(f"({chr(ord('a') + k)})", loc="left", fontsize=9, fontweight="bold")
