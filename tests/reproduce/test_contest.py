"""The contest at equal budgets: what counts as beaten, what is off the budget, and what is said of both."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from pipeline.base.numbers.result import Estimate, Result
from reproduce.arena import NAMES
from reproduce.artefact import all_artefacts, collections, load_artefact, papers
from reproduce.colours import style
from reproduce.contest import equal
from reproduce.contest.standing import BUDGETS, NF, Standing, below, realised, spent, standings, unbeaten
from reproduce.naqs.judgement import ranked_below
from reproduce.plan import make_tasks
from reproduce.published import published

BUDGET = BUDGETS["laptop"]


def one(method: str, *errors: float, seconds: float = BUDGET, doubt: str = "", row: str = "ring") -> Standing:
    return Standing(row, method, errors, (1e-3,) * len(errors), (seconds,) * len(errors), 100, doubt)


def done(method: str, energy: float, seed: int = 0, row: str = "ring", **status: Any) -> Any:
    """A finished run whose stages took 8 and 2 seconds on the clock."""
    task = SimpleNamespace(cell=SimpleNamespace(row=row, method=method), seed=seed)
    train, infer = (SimpleNamespace(seconds=s, status=status) for s in (8.0, 2.0))
    found = SimpleNamespace(trained=train, inferred=infer, step=50 + seed)
    estimates = (Estimate("energy", energy, 0.1), Estimate("v_score", 1e-2 * (seed + 1), 0.0))
    return SimpleNamespace(task=task, found=found, result=Result(estimates))


class Finished:
    """The part of a table that standings read."""

    scale = "laptop"

    def __init__(self, *runs: Any) -> None:
        self.finished = list(runs)

    def reference(self, row: str, quantity: str) -> Estimate:
        assert (row, quantity) == ("ring", "energy")
        return Estimate("energy", -20.0, 0.0)


def test_the_interval_of_three_seeds_is_that_of_student() -> None:
    """4.303: the 97.5 % quantile of t with two degrees of freedom, from a table."""
    found = one("rbm", 1e-3, 2e-3, 6e-3)
    sigma = statistics.stdev(found.errors) / math.sqrt(3)
    assert found.sigma == pytest.approx(sigma)
    assert found.interval == pytest.approx(4.3027 * sigma, rel=1e-4)
    assert (one("rbm", 1e-3).sigma, one("rbm", 1e-3).interval) == (None, None)
    assert one("rbm", 1e-3, 1e-3).interval == 0.0


def test_a_difference_counts_beyond_the_scatter_of_few_seeds() -> None:
    """Three of three below three, whatever their scatter; of two seeds 4.303 errors: t of two degrees of freedom."""
    low = one("rbm", 1.0, 2.0, 3.0)
    for lowest, counts in ((2.9, False), (3.1, True)):
        high = one("mps", lowest, 9.0, 1e3)
        assert below(low, high) == counts
        assert not below(high, low)
    for factor, counts in ((4.2, False), (4.4, True)):
        pair = one("rbm", 1.0, 3.0), one("mps", 1.0 + factor * math.sqrt(2.0), 3.0 + factor * math.sqrt(2.0))
        assert below(*pair) == counts
    exact = [one("rbm", e, e, e) for e in (1e-3, 2e-3)]
    assert below(*exact)
    assert not below(one("rbm", 1e-9), one("mps", 1.0, 1.1)), "one training says nothing of its scatter"


def test_a_sign_does_not_win() -> None:
    under, over = one("mps", -3.0, -3.1, -2.9), one("rbm", 1.0, 1.1, 0.9)
    assert below(over, under)
    assert unbeaten([under, over]) == [over]


def test_doubted_errors_neither_win_nor_beat() -> None:
    good, bad, lucky = one("rbm", 1.0, 1.1, 0.9), one("mps", 9.0, 9.1, 8.9), one("nir", 0.1, 0.1, 0.1, doubt="few")
    assert unbeaten([good, bad, lucky]) == [good]
    assert unbeaten([bad, lucky]) == []


def test_seconds_are_own_work_of_the_training_and_of_flows_with_their_inference() -> None:
    assert spent(done("rbm", -19.0)) == 8.0
    assert spent(done("rbm", -19.0, busy=0.25)) == 2.0
    assert spent(done("rbm", -19.0, busy=1.7)) == 8.0
    assert spent(done(NF, -19.0, busy=0.5)) == 5.0


def test_standings_are_relative_to_the_exact_energy_and_need_all_seeds() -> None:
    failed = done("mps", -19.0)
    failed.result = None
    runs = [done("rbm", -19.0), done("rbm", -18.0, 1), done("nir", -20.0), done("mps", -20.0, 1), failed]
    first, second = standings(Finished(done("reference", -20.0), *runs))  # type: ignore[arg-type]
    assert (first.method, first.errors) == ("nir", (0.0,))
    assert (second.method, second.errors, second.steps) == ("rbm", (0.05, 0.1), 51)
    assert second.v_score == pytest.approx(0.015)


@pytest.mark.parametrize(("seconds", "off"), [(0.69, True), (0.71, False), (1.29, False), (1.31, True)])
def test_who_is_off_the_budget_is_named_and_not_left_out(seconds: float, off: bool) -> None:
    found = [one("rbm", 1e-3, 2e-3, seconds=seconds * BUDGET), one("mps", 9.0, 9.1), one("nir", 9.0, 9.1)]
    assert found[0].off(BUDGET) == off
    assert not found[0].off(None)
    (said, who) = equal.verdict(found, BUDGET)
    assert (f"RBM on the Ising ring, 16 sites, critical {seconds:.2f}" in said) == off
    assert "best is RBM" in who
    line = equal._line(found[0], found, BUDGET)
    assert line[-1] == f"{seconds:.2f}" + (" OFF" if off else "")
    assert line[2] == "best"


def test_a_faster_machine_puts_nobody_off_the_budget() -> None:
    speeds = {"rbm": 0.3, "mps": 0.3, "nir": 0.3, "dense-ar": 0.2}
    found = [one(method, 1e-3, 2e-3, seconds=speed * BUDGET) for method, speed in speeds.items()]
    here = realised(found, BUDGET)
    assert here == pytest.approx(0.3 * BUDGET)
    assert [standing.method for standing in found if standing.off(here)] == ["dense-ar"]
    said = equal.verdict(found, BUDGET)[0]
    assert f"their median, {0.3 * BUDGET:.1f} s, is the budget" in said
    assert "in units of it: Dense AR on the Ising ring, 16 sites, critical 0.67." in said
    assert realised(found, None) is None
    assert realised([], BUDGET) is None


def test_without_a_budget_nothing_is_judged() -> None:
    assert "mean nothing" in equal.verdict([one("rbm", 1e-3, 2e-3)], None)[0]
    assert equal.verdict([], None) == []
    assert equal._line(one("rbm", 1e-3), [], None)[-1] == "–"


def test_what_is_too_dear_for_a_scale_is_named() -> None:
    (note,) = [n for n in equal.notes([one("rbm", 1e-3)], BUDGET) if n.startswith("Left out")]
    assert f"deep ViT, NQS+NF on the {equal.LABELS['ring']}" in note
    there = [one(method, 1e-3) for method in equal.RECIPES["ring"]]
    assert not [n for n in equal.notes(there, BUDGET) if n.startswith("Left out")]


def test_the_figure_has_a_panel_a_system_with_the_best_at_the_top() -> None:
    found = [one("rbm", 1e-3, 2e-3, seconds=2.0 * BUDGET), one("mps", 9.0, 9.1), one("vit", 1e-2, 2e-2, row="j1j2")]
    figure = Figure()
    equal.draw(figure, found, BUDGET)
    first, second, *rest = figure.axes
    assert [label.get_text() for label in first.get_yticklabels()] == ["RBM", "MPS"]
    assert [text.get_text() for text in first.texts] == ["× 2"]
    assert second.get_title() == equal.LABELS["j1j2"]
    assert not any(axes.axison for axes in rest)


def test_every_method_of_every_system_has_a_name_a_colour_and_the_system_of_its_row() -> None:
    for scale in ("smoke", "laptop", "long"):
        tasks = make_tasks(load_artefact("contest/equal"), scale, ())
        systems = {task.cell.row: task.run.system for task in tasks if task.cell.method == "reference"}
        assert {system.size for system in systems.values()} == {16}
        for task in tasks:
            assert task.run.system == systems[task.cell.row]
            assert task.cell.method == "reference" or (task.cell.method in NAMES and style(task.cell.method))
        methods = {(task.cell.row, task.cell.method) for task in tasks}
        assert scale != "long" or all((row, m) in methods for row, recipes in equal.RECIPES.items() for m in recipes)


def test_no_prior_of_signs_where_none_is_known() -> None:
    tasks = make_tasks(load_artefact("contest/equal"), "long", (), ["j1j2"])
    rules = {getattr(task.run.train.method, "sign_rule", "none") for task in tasks if "train" in task.cell.stages}
    assert rules == {"none"}


def test_who_sums_over_all_configurations_is_named() -> None:
    tasks = make_tasks(load_artefact("contest/equal"), "long", (), ["heisenberg", "j1j2"])
    for task in (task for task in tasks if "train" in task.cell.stages):
        summed = equal.RECIPES[task.cell.row][task.cell.method] in equal.SUMMED
        assert (getattr(task.run.train.sampler, "name", "") == "exhaustive") == summed, task.cell.id
        assert bool(getattr(task.run.train.ansatz, "projection", [])) >= summed
    said = equal.verdict([one("vit", 1e-4, 2e-4, 1e-4, row="j1j2"), one("rbm", 0.1, 0.2, 0.1, row="j1j2")], BUDGET)
    assert any("unlike the others, deep ViT sums over all configurations" in line for line in said)
    assert not any("unlike" in line for line in equal.verdict([one("rbm", 1e-4, 2e-4, 1e-4)], BUDGET))


def test_scales_are_tenfold_and_so_are_their_steps() -> None:
    assert BUDGETS["long"] == 10 * BUDGETS["laptop"]
    assert BUDGETS["paper"] == 10 * BUDGETS["long"]
    steps = {
        scale: {t.cell.id: t.run.train.steps for t in make_tasks(load_artefact("contest/equal"), scale, ())}
        for scale in ("laptop", "long", "paper")
    }
    for small, large in (("laptop", "long"), ("long", "paper")):
        shared = [name for name in steps[small] if not name.endswith("/reference")]
        assert all(steps[large][name] == 10 * steps[small][name] for name in shared)


def test_a_collection_of_our_own_is_no_paper() -> None:
    assert "contest" in collections()
    assert "contest" not in papers()
    assert "contest/equal" in all_artefacts()
    assert published("contest") == ()


@pytest.mark.parametrize(
    ("low", "high", "told"),
    [
        ((1.0, 2.0, 3.0), (4.0, 5.0, 1e3), True),
        ((1.0, 2.0, 4.5), (4.0, 5.0, 6.0), False),
        ((4.0, 5.0, 6.0), (1.0, 2.0, 3.0), False),
        ((1.0, 1.0, 1.0), (1.0, 1.0, 1.0), False),
        ((1.0, 2.0), (4.0, 5.0, 6.0), None),
        ((1.0, 2.0, 3.0, 5.5), (4.0, 5.0, 6.0, 7.0, 8.0), True),
    ],
)
def test_ranks_of_seeds(low: Sequence[float], high: Sequence[float], told: bool | None) -> None:
    """1 of 20 arrangements of six has three below three; 4 of 126 of nine have two pairs in the wrong order or less."""
    assert ranked_below(low, high) is told


def test_ranks_err_in_one_of_twenty() -> None:
    """Of sets that do not differ, however skewed they are."""
    generator = np.random.default_rng(8)
    draws = generator.lognormal(sigma=2.0, size=(1000, 2, 3))
    wrong = float(np.mean([ranked_below(*pair) for pair in draws.tolist()]))
    assert wrong == pytest.approx(0.05, abs=3 * math.sqrt(0.05 * 0.95 / 1000))
