"""Figure 4 of the deep ViT paper: what is swept, errors along it, fits and what is said of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from pipeline.base.config.nodes import SCALES
from pipeline.base.errors import UserError
from pipeline.base.numbers.result import Curve, Estimate
from pipeline.spin.systems import SquareHeisenberg
from reproduce.plan import make_tasks
from reproduce.published import published
from reproduce.tables import CellRow
from reproduce.vit_sr import fig4, sweeps
from reproduce.vit_sr.sweeps import Point, sweep
from tests.reproduce.rows import Rows, done

EXACT = -33.83169340558
SQUARE = SquareHeisenberg(length_x=4, length_y=4, periodic=True, j1=1.0, j2=0.5)
SMALL = sweep("laptop")


class Swept(Rows):
    """A table of trainings with given relative errors."""

    scale = "laptop"

    def __init__(
        self, errors: Mapping[str, Sequence[float]], half: Mapping[str, Sequence[float]] | None = None
    ) -> None:
        finished, rows = [], []
        for row, values in errors.items():
            size = 2404.0 if row[0] == "M" else 100.0 * float(row[1:])
            for value in values:
                energy = Estimate("energy", EXACT * (1 - value), 0.0)
                one = done(row, "vit", [], [energy, Estimate("v_score", 10 * value), Estimate("parameters", size)])
                one.task.run = type("Run", (), {"train": type("Train", (), {"sampler": None})(), "system": SQUARE})()
                finished.append(one)
            rows.append(CellRow("vit_sr/fig4", row, "vit", "parameters", "", ours=size))
            rows.append(CellRow("vit_sr/fig4", row, "vit", "energy", "", ours=-0.5, ours_sigma=0.01))
        self.half = half or {}
        super().__init__(rows, published("vit_sr"), dict.fromkeys(errors, EXACT), finished)

    def curves(self) -> list[tuple[Any, Curve]]:
        """After half of the steps, and then after all."""
        name, steps = "energy_along_training", (75, 150)
        return [
            (done(row, "vit"), Curve.of(name, "step", "energy", steps, (EXACT * (1 - value), EXACT)))
            for row, values in self.half.items()
            for value in values
        ]

    def reference(self, cell: str, quantity: str) -> Estimate | None:
        return Estimate(quantity, EXACT, 0.0) if cell in self.references else None


def law(axis: str, exponent: float, scatter: float = 0.1, seeds: int = 3) -> dict[str, list[float]]:
    rng = np.random.default_rng(7)
    xs = {row: float(row[1:]) for row in SMALL.rows(axis)}
    return {row: (2 * x**-exponent * np.exp(scatter * rng.standard_normal(seeds))).tolist() for row, x in xs.items()}


def test_every_scale_has_a_sweep_of_its_own() -> None:
    assert sorted(scale for one in sweeps.SWEEPS for scale in one.scales) == sorted(SCALES)
    cells = fig4.cells()
    for scale in SCALES:
        here = [cell.id for cell in cells if scale in cell.scales]
        assert len(here) == len(set(here)) >= 8


def test_cells_of_another_scale_are_not_there() -> None:
    with pytest.raises(UserError, match=r"--only d140: no such cell; have M4/vit, M4/reference, M8/vit"):
        make_tasks(fig4.ARTEFACT, "smoke", (), ["d140"])


def test_the_paper_s_networks_have_the_printed_numbers_of_parameters() -> None:
    """P of the Methods, by the formula that the networks of Figure 3 are counted with."""
    from reproduce.vit_sr.scaling import Sizes

    printed = {n.cell: n.value for n in published("vit_sr") if n.artefact == "vit_sr/fig4"}
    counted = {f"d{d}": Sizes(100, 6000, 2, 8, d, h, 1, 100).parameters for d, h in sweep("paper").networks}
    assert counted == printed


def test_states_that_all_symmetries_leave() -> None:
    """Burnside: the mean number of configurations that an element of the group leaves as they are."""
    sites = np.arange(16).reshape(4, 4)
    ups = np.array(list(combinations(range(16), 8)))
    up = np.zeros((len(ups), 16), dtype=bool)
    np.put_along_axis(up, ups, True, axis=1)
    point = [np.rot90(m, k) for m in (sites, sites.T) for k in range(4)]
    group = [np.roll(p, (x, y), (0, 1)).ravel() for p in point for x in range(4) for y in range(4)]
    changed = [up[:, g] ^ up for g in group]
    fixed = sum(int((~c.any(1)).sum() + c.all(1).sum()) for c in changed)
    assert sweeps.even_states(SQUARE) == fixed / (2 * len(group)) == 107


def test_points_are_errors_of_every_training_against_what_is_swept() -> None:
    table: Any = Swept({"d8": [0.02, 0.04], "d4": [0.3, 0.1], "M64": [0.5, -1e-9]})
    by_size = sweeps.points(table, "parameters")
    assert [(p.row, p.x) for p in by_size] == [("d4", 400.0), ("d8", 800.0)]
    assert by_size[0].values == pytest.approx((0.3, 0.1))
    assert by_size[1].mean == pytest.approx(math.sqrt(0.02 * 0.04))
    (only,) = sweeps.points(table, "samples")
    assert (only.x, len(only.values), len(only.positive)) == (64.0, 2, 1)
    assert sweeps.without_logarithm([only]) == 1
    assert [p.values for p in sweeps.points(table, "samples", "v_score")] == [pytest.approx((5.0, -1e-8))]


@pytest.mark.parametrize(
    ("means", "answer"),
    [
        ((0.3, 0.1, 0.03), "yes"),
        ((0.3, 0.1, 0.095, 0.03), "yes"),
        ((0.3, 0.1, 0.2, 0.01), "no"),
        ((0.1, 0.2, 0.4), "no"),
        ((0.3, 0.29, 0.3), "undecided"),
        ((0.1, 0.0), "undecided"),
    ],
)
def test_whether_the_error_falls(means: Sequence[float], answer: str) -> None:
    found = [Point("", 2.0**k, tuple(mean * (1 + 0.1 * s) for s in (-1, 0, 1))) for k, mean in enumerate(means)]
    assert fig4.falls(found) == answer


def test_a_law_is_found_and_said() -> None:
    table: Any = Swept(law("samples", 1.2) | law("parameters", 2.0))
    fitted = sweeps.fit(sweeps.points(table, "samples"))
    assert fitted is not None
    assert fitted.exponent == pytest.approx(1.2, abs=3 * fitted.sigma)
    assert fig4.describes(fitted) == "yes"
    seen = [claim.seen for claim in fig4.claims(table)]
    assert seen == ["yes", "yes", "yes", "yes"]
    said = " ".join(fig4.verdict(table))
    assert f"with an exponent of {fig4.exponent(fitted)}: a power law is compatible with the points" in said
    assert "The lattice is 4 × 4, not the paper's" in said
    shown = fig4.render(table)
    assert [line[1] for line in shown.body] == [
        *SMALL.rows("samples"),
        "exponent b",
        "χ² (chance)",
        *SMALL.rows("parameters"),
        "exponent b",
        "χ² (chance)",
    ]
    assert {curve.curve.name for curve in shown.curves} >= {"mean/relative_error", "power_law/v_score"}


def test_points_that_no_law_describes_are_said_to_be_none() -> None:
    bent = {row: [2.0 * 0.99, 2.0, 2.0 * 1.01] for row in SMALL.rows("samples")} | {"M1024": [1e-3, 1.01e-3, 0.99e-3]}
    table: Any = Swept(bent)
    assert fig4.describes(sweeps.fit(sweeps.points(table, "samples"))) == "no"
    assert "does not describe the points, and the exponent is a mean slope" in " ".join(fig4.verdict(table))
    assert fig4.claims(table)[2].seen == "no"


@pytest.mark.parametrize(
    ("factors", "seen"),
    [((1.0, 1.2, 1.4, 1.1, 1.3), "yes"), ((1.1, 2.0, 3.0, 2.0, 9.0), "in 1 of 5"), ((9.0,) * 5, "no")],
)
def test_whether_steps_limit_the_error(factors: Sequence[float], seen: str) -> None:
    full = law("parameters", 2.0)
    half = {row: [factor * v for v in values] for factor, (row, values) in zip(factors, full.items(), strict=True)}
    table: Any = Swept(full, half)
    assert [p.row for p in sweeps.earlier(table, "parameters")] == list(full)
    claim = next(c for c in fig4.claims(table) if c.location == "ours")
    assert claim.seen == seen
    assert ", ".join(f"{factor:.2g}" for factor in factors) in claim.evidence
    assert fig4.holds(table, "parameters") == ("yes" if seen == "yes" else "undecided")
    assert ("That exponent is not one of P alone" in " ".join(fig4.verdict(table))) == (seen != "yes")
    assert not sweeps.earlier(table, "samples")


def test_a_law_that_an_exponential_describes_as_well_is_undecided() -> None:
    table: Any = Swept(law("samples", 1.2, scatter=0.7, seeds=2))
    found = sweeps.points(table, "samples")
    assert fig4.describes(sweeps.fit(found)) == "yes"
    assert fig4.describes(sweeps.rival(found)) != "no"
    assert fig4.claims(table)[2].seen == "undecided"
    assert "undecided (it would be compatible, and so would an exponential)" in " ".join(fig4.verdict(table))


def test_what_a_fit_leaves_out_is_counted() -> None:
    full: Any = Swept(law("samples", 1.0))
    assert "All points and all trainings are in them" in " ".join(fig4.notes(full))
    at_the_reference: Any = Swept(law("samples", 1.0) | {"M1024": [0.0, 1e-3]})
    assert "1 training(s) at or below the reference" in " ".join(fig4.notes(at_the_reference))


@pytest.mark.parametrize("errors", [{}, {"M64": [0.1]}, {"M64": [0.1], "M128": [0.05]}, {"M64": [-0.1]}])
def test_little_or_nothing_is_rendered_too(errors: Mapping[str, Sequence[float]]) -> None:
    table: Any = Swept(errors)
    shown = fig4.render(table)
    assert len(shown.claims) == 4
    if shown.draw is not None:
        from pipeline.base.plotting import empty_figure

        shown.draw(empty_figure(4, 3))
