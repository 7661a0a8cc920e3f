"""Figures 2 and 3 of NAQS: what is said about them, what they share with Table I, what reaches curves.csv."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.base.config.folders import CONF
from pipeline.base.config.recipes import scales
from pipeline.base.store.keys import plain
from pipeline.stages.keys import Keys
from pipeline.stages.run import execute
from reproduce.artefact import load_artefact
from reproduce.naqs import fig2, fig3
from reproduce.naqs.fig2 import Chain
from reproduce.naqs.fig3 import Course
from reproduce.plan import find, make_tasks
from reproduce.tables import Finished, Table


def spins(fraction_up: float, n: int, seed: int = 0) -> NDArray[np.int8]:
    """n oriented configurations of 100 sites with |m| about 0.8; the first ones up."""
    generator = np.random.default_rng(seed)
    signs = np.where(np.arange(n) < fraction_up * n, 1, -1)
    return (signs[:, None] * np.where(generator.random((n, 100)) < 0.9, 1, -1)).astype(np.int8)


def chain(start: int, samples: NDArray[np.int8]) -> Chain:
    return Chain(f"from {start}", "mcmc-up" if start > 0 else "mcmc-down", start, samples, 0.3)


def direct(samples: NDArray[np.int8]) -> Chain:
    return Chain("direct sampling", "direct", None, samples, None)


def test_claims_on_stuck_chains_and_fair_direct_samples() -> None:
    stuck, equal, zero, computes = fig2.claims(
        [direct(spins(0.5, 400)), chain(1, spins(1.0, 200, 1)), chain(-1, spins(0.0, 200, 2))]
    )
    assert (stuck.seen, equal.seen, zero.seen, computes.seen) == ("yes", "yes", "yes", "yes")
    assert "200 of 400 up" in equal.evidence


def test_claims_on_a_chain_that_turns_and_on_lopsided_direct_samples() -> None:
    found = [direct(spins(0.8, 400)), chain(1, spins(0.5, 200, 1)), chain(-1, spins(0.0, 200, 2))]
    stuck, equal, zero, computes = fig2.claims(found)
    assert (stuck.seen, equal.seen, zero.seen, computes.seen) == ("in 1 of 2", "no", "no", "in 1 of 2")
    assert [claim.seen for claim in fig2.claims([])] == ["not run"] * 4


def test_fractions_of_up_are_judged_by_the_binomial_error() -> None:
    def seen(up: float) -> str:
        return fig2.claims([direct(spins(up, 400))])[1].seen

    assert seen(0.5 + 2.9 * 0.025) == "yes"
    assert seen(0.5 + 3.2 * 0.025) == "no"


def course(
    method: str, energies: Sequence[float], seconds: Sequence[float], variance: float = 1.0, sigma: float = 0.01
) -> Course:
    n = len(energies)
    steps = tuple(10.0 * k for k in range(n))
    return Course(method, steps, tuple(seconds), tuple(energies), (sigma,) * n, (variance,) * n, (0.1,) * n)


def test_claims_where_direct_sampling_wins() -> None:
    found = [
        course("direct", (-1.0, -9.0, -10.0), (0, 1, 2), 1.0),
        course("mcmc-k10", (-1.0, -4.0, -8.0), (0, 1.5, 3), 4.0),
        course("mcmc-k300", (-1.0, -7.0, -9.5), (0, 20, 40), 2.0),
    ]
    assert [claim.seen for claim in fig3.claims(found)] == ["yes"] * 4
    assert "MCMC, k = 300 took 40 s, direct sampling there after 2.0 s" in fig3.claims(found)[0].evidence
    assert fig3.lowest(found) == -10.0


def test_an_energy_is_reached_when_it_is_within_two_errors() -> None:
    chains = course("mcmc-k10", (-1.0, -9.8), (0, 1))
    assert course("direct", (-1.0, -9.78, -9.9), (0, 1, 2)).seconds_to(chains) == 1
    assert course("direct", (-1.0, -9.76, -9.9), (0, 1, 2)).seconds_to(chains) == 2
    assert course("direct", (-1.0, -9.76), (0, 1)).seconds_to(chains) is None


def test_claims_where_it_does_not() -> None:
    found = [
        course("direct", (-1.0, -9.0, -9.5), (0, 1, 2), 2.0),
        course("mcmc-k10", (-1.0, -4.0, -9.49), (0, 0.5, 1), 1.9),
        course("mcmc-k300", (-1.0, -7.0, -9.8), (0, 0.4, 0.8), 1.0),
    ]
    quicker, accurate, variance, dearer = fig3.claims(found)
    assert quicker.seen == "no"  # there later than k = 10, and never at the energy of k = 300
    assert "never there" in quicker.evidence
    assert (accurate.seen, variance.seen, dearer.seen) == ("no", "no", "no")
    assert [claim.seen for claim in fig3.claims([])] == ["not run"] * 4


@pytest.mark.parametrize("scale", scales("naqs/fig2", (CONF,)))
def test_figure_2_samples_a_state_trained_like_that_of_table_1(scale: str) -> None:
    """One training for direct samples and chains, averaged over the spin flip, else with the settings of the table."""
    rows = [t for t in make_tasks(load_artefact("naqs/table1"), scale, ()) if t.cell.row == fig2.ROW]
    figure = make_tasks(load_artefact("naqs/fig2"), scale, ())
    assert len({Keys(t.run).train for t in figure if "train" in t.cell.stages}) == 1
    assert len({Keys(t.run).baseline for t in [*rows, *figure] if t.cell.method == "reference"}) == 1
    trainings = [plain(t.run.train) for t in [*rows, *figure] if "train" in t.cell.stages]
    symmetries = [training["ansatz"].pop("symmetries") for training in trainings]
    assert all(training == trainings[0] for training in trainings)
    assert all("spin_flip" in names for names in symmetries[len([t for t in rows if "train" in t.cell.stages]) :])


def table(name: str, only: Sequence[str], folder: Path, *overrides: str) -> Table:
    """A smoke run in this process."""
    artefact = load_artefact(name)
    user = ("tracker=none", "progress=false", f"results_dir={folder}", *overrides)
    tasks = make_tasks(artefact, "smoke", user, only)
    for task in tasks:
        execute(task.context(notify=lambda _: None))
    return Table(artefact, "smoke", [Finished(task, find(task, print), None) for task in tasks])


def test_figure_2_at_smoke_scale(tmp_path: Path) -> None:
    small = ("system.length_x=4", "system.length_y=4")
    found = table("naqs/fig2", ["G2.0/direct", "G2.0/mcmc-up", "G2.0/mcmc-down"], tmp_path, *small)
    chains = fig2.chains_of(found.finished)
    assert [c.start for c in chains] == [None, 1, 1, -1, -1]
    assert not np.array_equal(chains[1].spins, -chains[3].spins), "two chains of the same random numbers"
    for one, done in zip((chains[1:3], chains[3:]), found.finished[1:], strict=True):
        assert done.result is not None
        series = [c.magnetisations.mean() * 16 for c in one]
        np.testing.assert_allclose(series, done.result.extra["chain_magnetisation"])
    rendering = fig2.render(found)
    lines = found.curve_rows(rendering.curves)
    points = [line for line in lines if line["curve"].startswith("pca/")]
    assert {line["method"] for line in points} == {"direct", "mcmc-up", "mcmc-down"}
    assert len(points) == sum(len(c.spins) for c in chains)
    assert {line["method"] for line in lines if line["curve"] == "train/energy"} == {"direct"}, "one training, once"


def test_figure_3_at_smoke_scale_and_a_lost_snapshot(tmp_path: Path) -> None:
    found = table("naqs/fig3", ["G3.0/direct"], tmp_path)
    (one,) = fig3.courses(found)
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
    shutil.rmtree(done.found.snapshots[0].path)
    assert find(done.task, print).missing == ("infer",)
