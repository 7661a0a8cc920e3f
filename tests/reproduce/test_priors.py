"""The extra figure of the two priors: where the rule fires, what uniform draws are, and what a cut training proves."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from matplotlib.figure import Figure

from pipeline.base.numbers.result import Curve, Estimate
from reproduce.nf_nqs import priors
from reproduce.nf_nqs.priors import PRIORS, Course, claims, courses, render, unique_rule, verdict


def course(prior: str, unique: tuple[float, ...], errors: tuple[float, ...], cut: bool = True, **more: Any) -> Course:
    fires = next((k for k, fraction in enumerate(unique) if fraction < 0.9), None)
    return Course(prior, 0, tuple(range(len(unique))), errors, unique, fires, cut, **more)


STUCK = course("bimodal", (1.0, 1.0, 1.0), (0.7, 0.6, 0.5))
LEARNS = course("normal", (1.0, 0.85, 0.1), (0.7, 1e-2, 1e-6))


def test_best_step_is_that_of_the_lowest_floor() -> None:
    assert course("normal", (1.0, 0.8, 0.1), (0.5, 1e-3, 1e-2)).best == 1


def test_the_rule_is_the_printed_one() -> None:
    assert unique_rule() == 0.9


@pytest.mark.parametrize(
    ("sites", "pairs", "expected"),
    [
        (1.0, 1.0, True),
        (1.0 + 2.9 * math.sqrt(2 / 30), 1.0, True),
        (1.0 + 3.1 * math.sqrt(2 / 30), 1.0, False),  # spins that are up more often than down
        (1.0, 1.0 + 3.1 * math.sqrt(2 / 435), False),  # spins that know of each other, though each is even
        (1.0, None, None),
        (None, None, None),
    ],
)
def test_uniform_draws_have_no_site_means_and_no_pairs(
    sites: float | None, pairs: float | None, expected: bool | None
) -> None:
    assert course("normal", (1.0,), (0.5,), sites=sites, pairs=pairs).uniform is expected


def test_a_unique_fraction_of_one_does_not_make_draws_uniform() -> None:
    uniform = claims([STUCK, LEARNS])[0]
    assert uniform.seen == "undecided"
    assert "were not recorded" in uniform.evidence
    known = claims(
        [
            course("normal", (1.0,), (0.5,), sites=0.97, pairs=1.01),
            course("normal", (1.0,), (0.5,), sites=9.0, pairs=1.0),
        ]
    )
    assert known[0].seen == "in 1 of 2"
    assert "normal 0.97 / 1.01, normal 9.00 / 1.00" in known[0].evidence
    assert "by construction" in known[0].evidence


def test_a_shorter_training_that_has_not_concentrated_decides_nothing() -> None:
    concentrates = claims([STUCK, LEARNS])[1]
    assert concentrates.seen == "undecided"
    assert "with the normal prior: yes" in concentrates.evidence
    whole = course("bimodal", (1.0, 1.0, 1.0), (0.7, 0.6, 0.5), cut=False)
    assert claims([whole, LEARNS])[1].seen == "no"
    assert claims([LEARNS])[1].seen == "not run"
    assert set(PRIORS) == {"bimodal", "normal"}


def test_converged_is_judged_by_the_accuracy_of_the_papers_own_energy() -> None:
    """-435.4 ± 0.1 over 20 subspaces: 0.055, or 1.3e-4 of the energy."""
    converged = claims([STUCK, LEARNS])[2]
    assert converged.seen == "undecided", "the paper's prior, whose training was cut"
    assert "with the normal prior, which is ours: no" in converged.evidence  # its floor falls by orders of magnitude
    assert "1.3e-04" in converged.evidence
    assert claims([course("bimodal", (1.0, 0.85, 0.1), (0.7, 1.2e-4, 1e-6))])[2].seen == "yes"


def test_flows_that_collapse_after_their_best_step_are_named() -> None:
    gone = [
        course("normal", (1.0, 0.3, last), (0.7, 4e-6, e), draws=4000)
        for last, e in ((7.5e-4, 1e-3), (1.25e-3, 1.1e-3))
    ]
    (said,) = verdict([*gone, course("normal", (1.0, 0.3, 0.2), (0.7, 4e-6, 1e-5))])
    assert "by the last step 2 of 3 have collapsed, 3 to 5 of 4000 draws are different" in said
    assert said.endswith("the floor has a relative error of +1.0e-03 to +1.1e-03.")
    (unknown,) = verdict([course("normal", (1.0, 0.3, 7.5e-4), (0.7, 4e-6, 1e-3))])
    assert "0.075 % of the draws are different" in unknown


def test_crosses_stand_on_lines_whose_points_are_thinned() -> None:
    assert priors._on_line(5, [(3, 1.0), (7, 0.5)]) == pytest.approx(0.75)
    assert [priors._on_line(at, [(3, 1.0), (7, 0.5)]) for at in (3, 7, 9)] == [1.0, 0.5, 0.5]


def test_verdict_of_each_prior() -> None:
    bimodal, normal = verdict([STUCK, LEARNS])
    assert "fires in 0 of 1 trainings of 3 steps" in bimodal
    assert bimodal.endswith("whether it would is undecided.")
    assert normal == (
        "Standard normal: the paper's rule fires in 1 of 1 trainings of 3 steps, the lowest floor has a relative error "
        "of +1.0e-06."
    )


def metrics(steps: int, thin: int = 1, **more: float) -> list[Curve]:
    """A training that concentrates at step 5 of ``steps``."""
    x = [float(k) for k in range(0, steps, thin)]
    values = {
        "floor_mean": [-4.0 - k / steps for k in x],
        "unique_fraction_max": [1.0 if k < 5 else 0.5 for k in x],
        "unique_fraction_mean": [1.0 if k < 5 else 0.4 for k in x],
        **{name: [value] * len(x) for name, value in more.items()},
    }
    return [Curve.of(f"train/{name}", "step", name, x, y) for name, y in values.items()]


def table_of(curves: list[Curve], kept: dict[str, Any] | None = None, lines: Sequence[dict[str, str]] = ()) -> Any:
    method = SimpleNamespace(draws=50, subspaces=2)
    task = SimpleNamespace(cell=SimpleNamespace(method="normal"), seed=1, cuts=("train.steps: 10000 → 10",))
    task.run = SimpleNamespace(train=SimpleNamespace(method=method), system=SimpleNamespace(size=30))
    done = SimpleNamespace(task=task)
    reference = Estimate("energy", -8.0, 0.0, unit="total")
    return SimpleNamespace(
        finished=[done],
        kept=kept or {},
        lines=list(lines),
        reference=lambda row, name: reference,
        curves=lambda: [(done, curve) for curve in curves],
    )


def test_a_course_is_read_off_the_metrics_of_its_training_and_kept_for_rendering_anew() -> None:
    (whole,) = courses(table_of(metrics(10, site_mean_rms=0.1, pair_mean_rms=0.2)))
    assert (whole.prior, whole.seed, whole.fires, whole.best, whole.cut, whole.whole) == ("normal", 1, 5, 9, True, True)
    assert whole.errors[0] == 0.5
    assert (whole.sites, whole.pairs) == pytest.approx((1.0, 4.0))
    assert whole.uniform is False
    table = table_of(metrics(10, site_mean_rms=0.1, pair_mean_rms=0.2))
    kept = json.loads(json.dumps(render(table).kept))
    assert courses(table_of([], kept)) == [whole]
    assert render(table_of([], kept)).body == render(table).body
    assert not any("Of some trainings" in note for note in render(table).notes)


def test_thinned_metrics_of_an_older_report_say_that_they_are_not_all() -> None:
    table = table_of(metrics(10, thin=3))
    (thin,) = courses(table)
    assert (thin.steps, thin.fires, thin.whole, thin.uniform) == ((0, 3, 6, 9), 2, False, None)
    assert any("only every few steps are known" in note for note in render(table).notes)
    constant = [c for c in metrics(10, thin=3) if not c.name.startswith("train/unique")]
    ends = [
        Curve.of(f"train/{n}", "step", n, [0.0, 9.0], [1.0, 1.0])
        for n in ("unique_fraction_max", "unique_fraction_mean")
    ]
    (flat,) = courses(table_of([*constant, *ends]))
    assert (flat.unique, flat.fires) == ((1.0,) * 4, None)


def test_thinned_metrics_are_completed_from_the_table_of_their_report() -> None:
    line = {"prior": "standard normal", "seed": "1", "steps": "10", "paper's rule fires at step": "5"}
    line |= {"floor error there": "+4.4e-01", "best step": "8", "floor error, best": "+3.0e-01"}
    line |= {"unique fraction, best": "0.4", "unique fraction, last": "0.4"}
    table = table_of(metrics(10, thin=3), lines=[line])
    (course,) = courses(table)
    assert course.steps == (0, 3, 5, 6, 8, 9)
    assert (course.steps[course.fires or 0], course.steps[course.best]) == (5, 8)
    assert course.unique == (1.0, 1.0, None, 0.4, 0.4, 0.4)
    (shown,) = render(table).body
    assert shown[4:9] == ["5", "+4.4e-01", "8", "+3.0e-01", "0.4"]
    render(table).draw(Figure())  # type: ignore[misc]
    assert courses(table_of([], json.loads(json.dumps(render(table).kept)))) == [course]
    never = courses(table_of(metrics(10, thin=3), lines=[{**line, "paper's rule fires at step": "never"}]))
    assert never[0].fires is None


def test_the_figure_starts_from_the_cells_of_both_priors() -> None:
    assert {cell.method for cell in priors.cells()} == {"bimodal", "normal", "reference"}
