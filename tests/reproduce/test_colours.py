"""One colour a method in all artefacts, ours filled and the paper's open, letters on panels."""

from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from pipeline.base import palette
from reproduce.arena import NAMES
from reproduce.colours import METHODS, letters, style
from reproduce.nf_nqs.shared import OURS
from reproduce.pseudofermion.flows import PRECONDITIONINGS
from tests.base.test_palette import LEAST, VISION, distance

FIGURES = Path(__file__).parents[2] / "reproduce"
FLOWS_AND_CHAINS = ["even-odd", "hasenbusch", "hasenbusch-3", "hmc", "reference"]
"""Bars of the cost of a configuration."""
RELATED = {frozenset({"vit", "vit-marshall"}), frozenset({"naqs", "direct"})}
"""The same network with and without a sign rule; the method and the sampler that it is."""


def test_methods_of_the_arena_are_told_apart_by_colour_and_marker() -> None:
    shown = [style(method) for method in NAMES]
    assert len(set(shown)) == len(shown)
    for one in NAMES:
        for other in NAMES:
            if one < other and frozenset({one, other}) not in RELATED:
                assert style(one).colour != style(other).colour, (one, other)


@pytest.mark.parametrize("vision", VISION)
def test_methods_of_the_arena_are_told_apart_with_any_vision(vision: str) -> None:
    near = {
        (one, other): apart
        for one, other in combinations(NAMES, 2)
        if frozenset({one, other}) not in RELATED
        and (apart := distance(style(one).colour, style(other).colour, VISION[vision])) < LEAST
    }
    assert not near


@pytest.mark.parametrize("vision", VISION)
def test_methods_of_one_paper_are_told_apart_with_any_vision(vision: str) -> None:
    for paper in (["nqs+nf", *dict(OURS)], ["nir", "mcmc", "direct"], ["hmc", *PRECONDITIONINGS], FLOWS_AND_CHAINS):
        colours = [style(method).colour for method in paper]
        for k, one in enumerate(colours):
            assert all(distance(one, other, VISION[vision]) > LEAST for other in colours[k + 1 :]), paper


def test_no_colour_is_green_and_none_is_typed_in_elsewhere() -> None:
    for name in ("GREEN", "RED"):
        assert not hasattr(palette, name)
    for path in FIGURES.rglob("*.py"):
        if path.name != "colours.py":
            text = path.read_text(encoding="utf-8")
            assert not re.search(r"color(?:=|\": )\"(?:C\d|#|green|red|tab:)", text), path


def test_samplers_of_several_names_share_a_style() -> None:
    assert style("mcmc-k300") == style("mcmc") == METHODS["mcmc"]
    with pytest.raises(KeyError):
        style("no such method")


def test_printed_numbers_are_open() -> None:
    assert style("mps").of(True)["mfc"] == "white"
    assert style("mps").of(False)["mfc"] == style("mps").of(True)["color"] == style("mps").colour


def test_panels_have_letters_where_there_are_several() -> None:
    figure = Figure()
    left, right = figure.subplots(1, 2)
    right.set_title("N = 20")
    letters(figure)
    assert [axes.get_title(loc="left") for axes in (left, right)] == ["(a)", "(b)"]
    assert right.get_title() == "N = 20"
    single = Figure()
    axes = single.subplots()
    axes.inset_axes((0.5, 0.5, 0.4, 0.4))
    letters(single)
    assert axes.get_title(loc="left") == ""
