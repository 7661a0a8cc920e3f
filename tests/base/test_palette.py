"""Colours of figures as people with fewer kinds of cones see them, and what a figure file is made of."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from pipeline.base import palette
from pipeline.base.plotting import COLUMN, PAGE, new_figure, save_figure

VISION = {
    "all cones": np.eye(3),
    "no red cones": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "no green cones": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
}
"""Linear RGB as it is seen: G. M. Machado, M. M. Oliveira, L. A. F. Fernandes (2009), severity 1."""
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
WHITE = np.array([0.9505, 1.0, 1.089])
LEAST = 20.0
"""Distance in CIELAB of two colours that nobody confuses in a figure."""


def lab(colour: str, seen: np.ndarray) -> np.ndarray:
    """CIELAB coordinates of ``#rrggbb``."""
    rgb = np.array([int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    x = TO_XYZ @ np.clip(seen @ linear, 0.0, 1.0) / WHITE
    f = np.where(x > 0.008856, np.cbrt(x), 7.787 * x + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def distance(one: str, other: str, seen: np.ndarray) -> float:
    return float(np.linalg.norm(lab(one, seen) - lab(other, seen)))


@pytest.mark.parametrize("vision", VISION)
def test_colours_of_the_cycle_are_told_apart_with_any_vision(vision: str) -> None:
    seen = VISION[vision]
    near = {(a, b): d for a, b in combinations(palette.CYCLE, 2) if (d := distance(a, b, seen)) < LEAST}
    assert not near


def test_the_usual_red_and_green_would_not_do() -> None:
    """matplotlib's own, C2 and C3: far apart for most people, hardly for those without green cones."""
    assert distance("#2ca02c", "#d62728", VISION["all cones"]) > 100
    assert distance("#2ca02c", "#d62728", VISION["no green cones"]) < LEAST


def test_figures_are_small_and_the_same_twice(tmp_path: Path) -> None:
    contents = []
    for name in ("one", "two"):
        figure, axes = new_figure(COLUMN, 2.0)
        (line,) = axes.plot([0, 1, 2], [1 / 3, 2 / 3, 1e-3])
        assert line.get_color() == palette.BLUE
        paths = save_figure(figure, tmp_path / name, ("svg", "png", "pdf"))
        contents.append([path.read_bytes() for path in paths])
    assert contents[0] == contents[1]
    svg, png, pdf = contents[0]
    assert f'width="{72 * COLUMN:g}pt"'.encode() in svg
    assert len(png) < 10_000
    assert pdf.startswith(b"%PDF")
    for dated in (b"<dc:date>", b"CreationDate", b"matplotlib.org"):
        assert dated not in pdf + png
    assert b"dc:date" not in svg
    assert PAGE > COLUMN
