"""Courses of the deep ViT: phases, what is kept of them, and verdicts on what symmetries give."""

from __future__ import annotations

import math
import re
import statistics
from pathlib import Path

import pytest

from reproduce.csv_files import read_csv
from reproduce.vit_sr.courses import Course, Phase, _joined, _means
from reproduce.vit_sr.fig1 import claims


def course(*energies: tuple[float, float]) -> Course:
    phases = tuple(Phase(f"p{k}", 10 * k, 10 * (k + 1), *energy) for k, energy in enumerate(energies))
    return Course(0, phases, (0.5, 1.5), (-0.1, -0.2))


@pytest.mark.parametrize(
    ("energies", "answer"),
    [
        ([(-0.40, 0.001), (-0.45, 0.001), (-0.49, 0.001)], "yes"),
        ([(-0.40, 0.001), (-0.38, 0.001)], "no"),
        ([(-0.40, 0.01), (-0.41, 0.01)], "undecided"),
        ([(-0.40, math.nan), (-0.49, 0.001)], "undecided"),
        ([(-0.40, 0.001), (-0.45, 0.001), (-0.4501, 0.001)], "yes in 1, undecided in 1 of 2"),
        ([(-0.40, 0.001)], "not run"),
    ],
)
def test_whether_the_energy_falls_with_every_symmetry(energies: list[tuple[float, float]], answer: str) -> None:
    assert claims([course(*energies)])[0].seen == answer


def test_a_course_survives_its_report() -> None:
    before = course((-0.4, 0.001), (-0.5, 0.002))
    assert Course.of_kept(before.kept()) == before


def test_stretches_of_one_projection_are_one_phase() -> None:
    phases = [Phase("a", 0, 5, -1.0, 0.1), Phase("a", 5, 9, -2.0, 0.2), Phase("b", 9, 12, -3.0, 0.3)]
    assert _joined(phases) == [Phase("a", 0, 9, -2.0, 0.2), Phase("b", 9, 12, -3.0, 0.3)]


def test_long_traces_are_means_of_equal_stretches() -> None:
    steps = [float(k) for k in range(1000)]
    x, y = _means(steps, [2 * k for k in steps])
    assert len(x) == 334
    assert x[:2] == (1.0, 4.0)
    assert y == tuple(2 * k for k in x)
    assert x[-1] == 999.0


def test_committed_table_1_says_how_far_seeds_scatter_where_they_have_not_converged() -> None:
    """From the energies of the three trainings on 6 × 6, by themselves."""
    folder = Path("results/vit_sr/table1/laptop")
    runs = [x for x in read_csv(folder / "runs.csv") if (x["cell"], x["quantity"]) == ("6x6", "energy")]
    (exact,) = [float(x["value"]) for x in runs if x["method"] == "reference"]
    errors = [(float(x["value"]) - exact) / abs(exact) for x in runs if x["method"] == "vit"]
    assert len(errors) == 3
    said = re.search(
        r"6 × 6, not converged and not judged: 3 seeds end \+(\d+)\(\d+\)e-3 from it with a spread of (\S+)",
        (folder / "report.md").read_text(encoding="utf-8"),
    )
    assert said is not None
    assert 1e-3 * float(said[1]) == pytest.approx(statistics.mean(errors), abs=5e-4)
    assert float(said[2]) == pytest.approx(statistics.stdev(errors), rel=0.02)
