"""Figures 2 and 3 of NAQS: what is said about them, what they share with Table I, what reaches curves.csv."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pipeline.base.config.folders import CONF
from pipeline.base.config.recipes import scales
from pipeline.base.numbers.formatting import with_error
from pipeline.base.numbers.result import Curve, Estimate
from pipeline.base.store.keys import plain
from pipeline.stages.keys import Keys
from pipeline.stages.run import execute
from reproduce.artefact import load_artefact
from reproduce.naqs import courses, courses_figure, fig2, fig3, noise, rivalry
from reproduce.naqs.chains import Chain, Samples, samples_of
from reproduce.naqs.courses import Course
from reproduce.plan import find, make_tasks
from reproduce.published import published
from reproduce.recorded import read_report
from reproduce.tables import CellRow, Finished, Table


def spins(fraction_up: float, n: int, seed: int = 0) -> NDArray[np.int8]:
    """n oriented configurations of 100 sites with |m| about 0.8; the first ones up."""
    generator = np.random.default_rng(seed)
    signs = np.where(np.arange(n) < fraction_up * n, 1, -1)
    return (signs[:, None] * np.where(generator.random((n, 100)) < 0.9, 1, -1)).astype(np.int8)


def chain(start: int, samples: NDArray[np.int8]) -> Chain:
    return Chain.of(f"from {start}", "mcmc-up" if start > 0 else "mcmc-down", start, samples, 0.3)


def direct(samples: NDArray[np.int8]) -> Chain:
    return Chain.of("direct sampling", "direct", None, samples)


def answers(*chains: Chain, symmetric: bool = False) -> list[str]:
    return [claim.seen for claim in fig2.claims(Samples(chains), symmetric)]


STUCK = (chain(1, spins(1.0, 200, 1)), chain(-1, spins(0.0, 200, 2)))


def test_claims_on_stuck_chains_and_fair_direct_samples() -> None:
    assert answers(direct(spins(0.5, 400)), *STUCK) == ["yes", "yes", "yes", "not run", "by construction"]
    assert "200 of 400 samples up" in fig2.claims(Samples((direct(spins(0.5, 400)),)), False)[1].evidence


def test_what_holds_by_construction_says_so_and_can_still_be_contradicted() -> None:
    """A state that is averaged over the spin flip has even odds whatever it was trained to."""
    assert answers(direct(spins(0.5, 400)), *STUCK, symmetric=True)[:3] == ["yes", *["by construction"] * 2]
    assert answers(direct(spins(0.8, 400)), *STUCK, symmetric=True)[:3] == ["yes", "no", "no"]


def test_claims_on_a_chain_that_turns_and_on_lopsided_direct_samples() -> None:
    found = (direct(spins(0.8, 400)), chain(1, spins(0.5, 200, 1)), STUCK[1])
    half = "yes in 1, no in 1 of 2"
    assert answers(*found) == [half, "no", "no", "not run", "by construction in 1, no in 1 of 2"]
    assert answers() == ["not run"] * 5


@pytest.mark.parametrize(("vs_paper", "seen"), [("agrees", "yes"), ("higher", "no"), ("undecided", "undecided")])
def test_the_printed_number_of_the_chains_is_judged_as_in_the_header(vs_paper: Any, seen: str) -> None:
    (number,) = [n for n in published("naqs") if n.artefact == "naqs/fig2"]
    together = CellRow("a", "G2.0", "mcmc", fig2.SIZE, "1", ours=0.793, ours_sigma=0.003, vs_paper=vs_paper)
    claim = fig2.claims(Samples(STUCK), True, together, number)[3]
    assert claim.seen == seen
    assert "0.793(3), printed 0.78 ± 0.005 of rounding: +2.2 σ" in claim.evidence


def test_fractions_of_up_are_judged_by_the_binomial_error() -> None:
    assert answers(direct(spins(0.5 + 2.9 * 0.025, 400)))[1] == "yes"
    assert answers(direct(spins(0.5 + 3.2 * 0.025, 400)))[1] == "no"


def course(
    method: str,
    energies: Sequence[float],
    seconds: Sequence[float],
    variance: float = 1.0,
    sigma: float = 0.01,
    seed: int = 0,
) -> Course:
    n = len(energies)
    steps = tuple(10.0 * k for k in range(n))
    return Course(method, steps, tuple(seconds), tuple(energies), (sigma,) * n, (variance,) * n, (0.1,) * n, seed)


def won(seed: int) -> list[Course]:
    """Direct sampling ends lower and earlier."""
    return [
        course("direct", (-1.0, -9.0, -10.0 - 0.01 * seed), (0, 1, 2), 1.0 + 0.1 * seed, seed=seed),
        course("mcmc-k10", (-1.0, -4.0, -8.0 - 0.01 * seed), (0, 1.5, 3), 4.0 + 0.1 * seed, seed=seed),
        course("mcmc-k300", (-1.0, -7.0, -9.5 - 0.01 * seed), (0, 20, 40), 2.0 + 0.1 * seed, seed=seed),
    ]


def test_one_training_each_decides_nothing_but_the_cost() -> None:
    """However far apart they are: how much trainings differ by their seed is not known."""
    claims = rivalry.claims(won(0))
    assert [claim.seen for claim in claims] == ["undecided", "undecided", "undecided", "yes"]
    assert "MCMC, k = 300 took 40 s, direct sampling is compatible after 2.0 s" in claims[0].evidence
    assert all("one training each" in claim.evidence for claim in claims[:3])
    assert [claim.seen for claim in rivalry.claims([])] == ["not run"] * 4
    best = courses.lowest(won(0))
    assert best is not None
    assert (best.value, best.sigma) == (-10.0, 0.01)


def test_several_trainings_each_decide() -> None:
    claims = rivalry.claims(won(0) + won(1) + won(2))
    assert [claim.seen for claim in claims] == ["yes"] * 4
    assert not any("one training each" in claim.evidence for claim in claims)


def test_several_trainings_that_differ_more_by_seed_than_by_sampler_do_not() -> None:
    """Means 0.2 apart with a spread of 1 over seeds, though each energy has an error of 0.01."""
    found = []
    for seed, shift in enumerate((-1.0, 0.0, 1.0)):
        found += [course("direct", (-1.0, -9.7 + shift), (0, 2), 1.0 + shift, seed=seed)]
        found += [course("mcmc-k10", (-1.0, -9.5 - shift), (0, 3), 1.0 - shift, seed=seed)]
    quicker, accurate, variance, _ = rivalry.claims(found)
    assert (quicker.seen, accurate.seen, variance.seen) == ("undecided",) * 3


def test_claims_where_direct_sampling_loses() -> None:
    found = []
    for seed in range(3):
        found += [
            course("direct", (-1.0, -9.0, -9.5 - 0.01 * seed), (0, 1, 2), 2.0 + 0.1 * seed, seed=seed),
            course("mcmc-k10", (-1.0, -4.0, -9.49 - 0.01 * seed), (0, 0.5, 1), 1.9 + 0.1 * seed, seed=seed),
            course("mcmc-k300", (-1.0, -7.0, -9.8 - 0.01 * seed), (0, 0.4, 0.8), 1.0 + 0.1 * seed, seed=seed),
        ]
    quicker, accurate, variance, dearer = rivalry.claims(found)
    assert quicker.seen == "no"  # there later than k = 10, and never at the energy of k = 300
    assert "compatible never" in quicker.evidence
    assert accurate.seen == variance.seen == "no in 1, undecided in 1 of 2"
    assert dearer.seen == "no"


def test_an_energy_is_compatible_when_it_is_within_two_errors() -> None:
    chains = course("mcmc-k10", (-1.0, -9.8), (0, 1))
    assert course("direct", (-1.0, -9.78, -9.9), (0, 1, 2)).compatible_after(chains) == 1
    assert course("direct", (-1.0, -9.76, -9.9), (0, 1, 2)).compatible_after(chains) == 2
    assert course("direct", (-1.0, -9.76), (0, 1)).compatible_after(chains) is None


def test_points_of_figure_3_have_bars_and_are_clipped_at_the_noise() -> None:
    """Energies 1, 0.11, 0.02 and -0.03 above -10 with σ = 0.03 and a reference with 0.04: σ of the error is 0.005."""
    goal = Estimate("energy", -10.0, 0.04)
    one = course("direct", (-9.0, -9.89, -9.98, -10.03), (0, 1, 2, 3), sigma=0.03)
    made = courses_figure.points(one, goal)
    assert [p.clipped for p in made] == [False, False, True, True]
    assert [p.height for p in made] == pytest.approx([0.1, 0.011, 0.01, 0.01])
    assert [p.bar for p in made] == pytest.approx([0.005, 0.005, 0.0, 0.0])
    assert noise.counted(made) == "2 of 4 points are clipped."
    figure = Figure()
    courses_figure.draw([one], 9, goal, goal, figure)
    for row in (0, 1):
        axes: Any = figure.axes[2 * row]
        (bars,) = axes.containers
        assert list(bars.lines[0].get_xdata()) == [0.0, 10.0]
        (whiskers,) = bars.lines[2]
        assert whiskers.get_segments()[1][:, 1] == pytest.approx([0.006, 0.016])
        triangles = axes.lines[-1]
        assert (triangles.get_marker(), list(triangles.get_xdata())) == (noise.CARET, [20.0, 30.0])


@pytest.mark.parametrize("scale", scales("naqs/fig2", (CONF,)))
def test_figure_2_samples_a_state_trained_like_that_of_table_1(scale: str) -> None:
    """One training for direct samples and chains, averaged over the spin flip, else with the settings of the table."""
    rows = [t for t in make_tasks(load_artefact("naqs/table1"), scale, ()) if t.cell.row == fig2.ROW]
    figure = make_tasks(load_artefact("naqs/fig2"), scale, ())
    assert len({Keys(t.run).train for t in figure if "train" in t.cell.stages}) == 1
    if scale != "smoke":  # there the lattice is smaller
        assert len({Keys(t.run).baseline for t in [*rows, *figure] if t.cell.method == "reference"}) == 1
    trainings = [plain(t.run.train) for t in [*rows, *figure] if "train" in t.cell.stages]
    symmetries = [training["ansatz"].pop("symmetries") for training in trainings]
    assert all(training == trainings[0] for training in trainings)
    assert all("spin_flip" in names for names in symmetries[len([t for t in rows if "train" in t.cell.stages]) :])


def test_references_of_figure_3_on_smaller_lattices_are_those_that_were_computed() -> None:
    """At the scale of GPUs it is the check run of Table I, which comes with the repository."""
    keys = {}
    for scale in ("paper", "gpu", "laptop"):
        (task,) = make_tasks(load_artefact("naqs/fig3"), scale, (), ["G3.0/reference"])
        keys[scale] = Keys(task.run).baseline
    assert keys["gpu"] == "c185068823dc1ea6"
    assert keys["laptop"] == "9344b5de6c763417"
    assert keys["paper"] == "0ffa94b2f98850df"
    assert Path(f"results/references/{keys['gpu']}.json").exists()


def table(name: str, only: Sequence[str], folder: Path, *overrides: str) -> Table:
    """A smoke run in this process."""
    artefact = load_artefact(name)
    user = ("tracker=none", "progress=false", f"results_dir={folder}", *overrides)
    tasks = make_tasks(artefact, "smoke", user, only)
    for task in tasks:
        execute(task.context(notify=lambda _: None))
    return Table(artefact, "smoke", [Finished(task, find(task, print), None) for task in tasks])


def anew(found: Table) -> Table:
    """The same runs as a written report holds them: curves and what the renderer kept, through JSON, no records."""
    rendering = found.artefact.render(found)
    kept = json.loads(json.dumps(dict(rendering.kept)))
    shown: dict[str, list[Curve]] = {}
    for one in rendering.curves:
        shown.setdefault(one.method, []).append(one.curve)
    finished = [replace(d, shown=tuple(shown.get(d.task.cell.method, ()))) for d in found.finished]
    return Table(found.artefact, found.scale, finished, kept)


def test_figure_2_at_smoke_scale(smoke_results: Path) -> None:
    found = table("naqs/fig2", ["G2.0/direct", "G2.0/mcmc-up", "G2.0/mcmc-down"], smoke_results)
    samples = samples_of(found)
    chains = samples.chains
    assert [c.start for c in chains] == [None, 1, 1, -1, -1]
    up, down = (np.array([c.points for c in chains[i : i + 2]]) for i in (1, 3))
    assert not np.allclose(abs(up - up.mean()), abs(down - down.mean())), "two chains of the same random numbers"
    for one, done in zip((chains[1:3], chains[3:]), found.finished[1:], strict=True):
        assert done.result is not None
        series = [c.magnetisation.value * 16 for c in one]
        np.testing.assert_allclose(series, done.result.extra["chain_magnetisation"])
    rendering = fig2.render(found)
    lines = found.curve_rows(rendering.curves)
    points = [line for line in lines if line["curve"].startswith("pca/")]
    assert {line["method"] for line in points} == {"direct", "mcmc-up", "mcmc-down"}
    assert len(points) == sum(c.samples for c in chains)
    assert {line["method"] for line in lines if line["curve"] == "train/energy"} == {"direct"}, "one training, once"
    pooled = found.row("G2.0", "mcmc", "absolute_magnetisation")
    assert pooled is not None
    assert pooled.published == 0.78
    again = fig2.render(anew(found))
    assert again.body == rendering.body
    assert (again.claims, again.notes, again.kept) == (rendering.claims, rendering.notes, rendering.kept)
    assert [one.curve for one in again.curves] == [one.curve for one in rendering.curves]


@pytest.mark.parametrize("name", ["naqs/table2", "naqs/fig2", "naqs/fig3"])
def test_deviations_of_an_artefact_do_not_contradict_each_other(name: str) -> None:
    """One key, one sentence, over all cells: what a reference inherits from elsewhere must not speak of a training."""
    said: dict[str, set[str]] = {}
    for task in make_tasks(load_artefact(name), "laptop", ()):
        for key, sentence in task.run.deviations.items():
            said.setdefault(key, set()).add(sentence)
    assert said
    assert {key: sentences for key, sentences in said.items() if len(sentences) > 1} == {}


def committed(name: str) -> Table:
    """The report of the repository at laptop scale, as it is rendered anew."""
    written = read_report(Path(f"results/{name}/laptop"))
    artefact = load_artefact(name)
    found = [written.finished(task, [Path("results/references")]) for task in make_tasks(artefact, "laptop", ())]
    return Table(artefact, "laptop", [done for done in found if done], written.kept, written.table)


def test_committed_figure_2_says_how_far_its_state_is_from_quantum_monte_carlo() -> None:
    """Whatever machine has computed it: all numbers are those of its rows."""
    found = committed("naqs/fig2")
    row = found.row("G2.0", "mcmc", "absolute_magnetisation")
    assert row is not None
    rendering = fig2.render(found)
    assert rendering.body[-1][0] == "quantum Monte Carlo"
    assert rendering.body[-1][3] == "0.78316(2)"
    assert len(rendering.body) == 7
    state = re.search(
        r"is (0.7\d+)\(\d\) over all its samples, 0.78316\(2\) by quantum Monte Carlo", rendering.verdict[-1]
    )
    assert state is not None
    assert float(state[1]) == pytest.approx(0.78316, abs=0.02)
    assert "by construction" in rendering.verdict[1]
    assert re.search(r"\d+ of (the \d+ kept of )?400 samples point up", rendering.verdict[1])
    even = "by construction"
    number = {"agrees": "yes", "undecided": "undecided", "higher": "no", "lower": "no"}[row.vs_paper]
    assert [c.seen for c in rendering.claims] == ["yes", even, even, number, even]
    assert rendering.body[-2][3] == with_error(row.ours, row.ours_sigma)
    assert "Table I at Γ = 2 J, but for its symmetries" in rendering.notes[0]
    assert [(r.method, r.published) for r in found.rows if r.published is not None] == [("mcmc", 0.78)]
    again = fig2.render(
        Table(found.artefact, found.scale, found.finished, json.loads(json.dumps(dict(rendering.kept))))
    )
    assert (again.body, again.claims, again.notes) == (rendering.body, rendering.claims, rendering.notes)


def test_committed_figure_3_is_against_quantum_monte_carlo_and_undecided_with_one_seed() -> None:
    found = committed("naqs/fig3")
    rendering = fig3.render(found)
    rows = {method: found.row("G3.0", method) for method in ("direct", *(f"mcmc-k{k}" for k in (300, 100, 50, 10)))}
    exact = {method: row.rel_error_ours for method, row in rows.items() if row and row.rel_error_ours is not None}
    shown = [line[rendering.header.index("error to QMC")] for line in rendering.body]
    for text, error in zip(shown, exact.values(), strict=True):
        assert float(re.sub(r"\(\d+\)", "", text)) == pytest.approx(error, rel=0.06)  # two digits
    assert rendering.body[0][-1] == "–"
    assert all(re.fullmatch(r"[\d.]+ s", line[-1]) for line in rendering.body[1:])
    assert rendering.header[-1] == "direct sampling compatible after"
    assert [c.seen for c in rendering.claims] == ["undecided", "undecided", "undecided", "yes"]
    assert not any("there" in c.evidence.split() for c in rendering.claims)
    assert "undecided" in rendering.verdict[1]
    assert re.search(r"\d of 79 points are clipped", rendering.caption)
    chains = sorted(shown[1:], key=lambda text: float(re.sub(r"\(\d+\)", "", text)))
    assert f"MCMC between {chains[0]} and {chains[-1]}" in rendering.verdict[0]
    direct, chain = rows["direct"], rows["mcmc-k300"]
    assert direct is not None
    assert chain is not None
    assert direct.ours is not None
    assert chain.ours is not None
    apart = re.search(r"k = 300 ([+-][\d.]+)\(", rendering.claims[1].evidence)
    assert apart is not None
    assert float(apart[1]) == pytest.approx(64 * (chain.ours - direct.ours), abs=0.01), "total energies of 64 sites"


def test_the_lowest_energy_has_no_point_at_a_distance_from_itself() -> None:
    one = course("direct", (-9.0, -10.0), (0, 1))
    best = courses.lowest([one])
    assert [math.isnan(p.height) for p in courses_figure.points(one, best)] == [False, True]
    assert len(courses_figure.points_in_all([one], best, Estimate("energy", -10.0, 0.0))) == 3


def test_figure_3_at_smoke_scale_and_a_lost_snapshot(smoke_results: Path) -> None:
    found = table("naqs/fig3", ["G3.0/direct"], smoke_results)
    (one,) = courses.courses(found)
    (done,) = found.finished
    assert done.result is not None
    assert one.steps == (0, 1, 2)
    assert one.seconds[0] == 0 < one.seconds[1] < one.seconds[2]
    assert one.energies[-1] == done.result.estimate("energy").value
    assert one.variances[-1] == done.result.estimate("variance").value
    assert {(line["curve"], line["x_name"]) for line in found.curve_rows() if line["curve"].endswith("_training")} == {
        (f"{y}_along_training", x) for y in ("energy", "variance") for x in ("step", "seconds")
    }
    assert done.found.missing == ()
    copies = [(entry.path.resolve(), entry.path) for entry in done.found.entries]
    (smoke_results / "_store").unlink()  # that of all tests stays as it is
    for shared, own in copies:
        shutil.copytree(shared, own)
    assert find(done.task, print).missing == ()
    shutil.rmtree(done.found.snapshots[0].path)
    assert find(done.task, print).missing == ("infer",)
