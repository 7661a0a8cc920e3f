"""Ours beside printed numbers: what their ± means, and when an agreement says nothing."""

from __future__ import annotations

import csv
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.base.numbers.result import Estimate, Result
from reproduce import published as module
from reproduce.artefact import Artefact, Cell, Column, Derived, Rendering
from reproduce.plan import Found
from reproduce.published import NO_POWER, Published, judged, published, vs_paper
from reproduce.tables import Finished, Table


def number(text: str, sigma: float | None, units: int | None = None, convention: str = "pauli") -> Published:
    return Published("a/t", "c", "m", "energy", text, sigma, "total", convention, "variational", "Table I", units)


def ours(value: float, sigma: float | None = 0.0) -> Estimate:
    return Estimate("energy", value, sigma, "standard-error", None, "total", "variational")


def exact(value: float, sigma: float = 0.0) -> Estimate:
    return Estimate("energy", value, sigma, "none", None, "total", "exact")


def test_within_two_combined_errors() -> None:
    assert vs_paper(ours(-435.5, 0.01), number("-435.4", 0.1)) == "agrees"
    assert vs_paper(ours(-435.7, 0.01), number("-435.4", 0.1)) == "lower"
    assert vs_paper(ours(-435.1, 0.01), number("-435.4", 0.1)) == "higher"
    # half the last digit of -435.4 is 0.05: two of them are allowed
    assert vs_paper(ours(-435.49), number("-435.4", None)) == "agrees"
    assert vs_paper(ours(-435.52), number("-435.4", 0.0)) == "lower"
    assert vs_paper(ours(-10.9), number("-10", 0.0)) == "agrees"
    assert vs_paper(ours(1.0, 0.1), None) == "no-number"
    assert vs_paper(ours(1.0, 0.1), number("960", None, convention="not-comparable")) == "not-comparable"


@pytest.mark.parametrize(
    ("text", "spread", "value", "sigma", "pull"),
    [
        ("-435.4", 0.1, -435.5149216, 1.97e-5, 2.10),
        ("-780.3", 0.2, -780.4885286, 0.00267, 2.81),
        ("-613.0", 0.3, -613.4831282, 0.00346, 5.77),
        ("-390.86", 0.09, -391.0071339, 0.00071, 7.10),
        ("-218.41", 0.06, -218.5165417, 0.00018, 7.44),
    ],
)
def test_a_spread_over_20_subspaces_is_no_standard_error(
    text: str, spread: float, value: float, sigma: float, pull: float
) -> None:
    """Five cells of Table II of the NF+NQS paper: agree with ± taken for an error, and are lower by 2.1 to 7.4σ."""
    assert vs_paper(ours(value, sigma), number(text, spread)) == "agrees"
    printed = number(text, spread, 20)
    half = 0.5 * 10.0 ** -len(text.split(".")[1])
    assert printed.effective_sigma == pytest.approx((spread**2 / 20 + half**2) ** 0.5)
    assert (printed.value - value) / (printed.effective_sigma**2 + sigma**2) ** 0.5 == pytest.approx(pull, abs=0.01)
    assert vs_paper(ours(value, sigma), printed) == "lower"


def test_without_an_error_there_is_no_verdict() -> None:
    assert judged(ours(-435.4, None), number("-435.4", 0.1)) == ("undecided", "its error is unknown")
    assert vs_paper(ours(-300.0, None), number("-435.4", 0.1)) == "undecided"


@pytest.mark.parametrize(
    ("text", "value", "sigma", "reference"),
    [
        ("-1225", -1225.004, 0.016, -1225.510),
        ("-240", -240.010, 0.0, -240.938),
        ("-400", -400.010, 0.0, -401.00003),  # the reference is a hair more than two half digits away
        ("-390", -390.004, 0.0002, -391.026),
    ],
)
def test_an_agreement_that_the_reference_would_share_is_undecided(
    text: str, value: float, sigma: float, reference: float
) -> None:
    """All-up states printed as integers ± 0: the exact energy is as close."""
    verdict, reason = judged(ours(value, sigma), number(text, 0.0), exact(reference))
    assert (verdict, reason) == ("undecided", NO_POWER)


def test_power_is_asked_of_agreements_alone() -> None:
    # ours is too imprecise to tell the paper's number from the exact one
    assert vs_paper(ours(-1224.2, 0.7), number("-1225.24", 0.07), exact(-1225.51)) == "undecided"
    assert vs_paper(ours(-1225.2, 0.01), number("-1225.24", 0.07), exact(-1225.51)) == "agrees"
    assert vs_paper(ours(-1225.2, 0.01), number("-1225.24", 0.07), exact(-1225.51, 0.2)) == "undecided"
    # a difference is one, whatever the reference
    assert vs_paper(ours(-1223.0, 0.1), number("-1225.24", 0.07), exact(-1225.24)) == "higher"
    # printed with a digit more, a collapsed energy can be told from the exact one
    assert vs_paper(ours(-612.5145, 0.01), number("-612.5", 0.0), exact(-613.52)) == "agrees"


def test_units_of_a_spread_are_a_column_that_may_be_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fields = ["artefact", "cell", "method", "quantity", "value", "sigma", "unit", "convention", "bound", "location"]
    line = dict(zip(fields, ["a/t", "c", "m", "energy", "-1.50", "0.02", "total", "pauli", "none", "x"], strict=True))
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    for paper, more in (("with", {"sigma_units": "20"}), ("empty", {"sigma_units": ""}), ("without", {})):
        (tmp_path / paper).mkdir()
        with open(tmp_path / paper / "published.csv", "w", newline="") as file:
            writer = csv.DictWriter(file, [*fields, *more])
            writer.writeheader()
            writer.writerow({**line, **more})
    assert [published(paper)[0].sigma_units for paper in ("with", "empty", "without")] == [20, None, None]
    published.cache_clear()


def finished(cell: Cell, estimate: Estimate) -> Finished:
    """A run of a cell whose inference, or baseline, found ``estimate``."""
    status = {"device": "cpu", "kind": "free fermions"}
    entry: Any = SimpleNamespace(seconds=1.0, name="infer/x", device="cpu", status=status)
    entry.result = lambda: Result((estimate,))
    task: Any = SimpleNamespace(cell=cell, cuts=(), seed=0, id=f"{cell.id}#0")
    task.run = SimpleNamespace(system=SimpleNamespace(size=4))
    reference = cell.method == "reference"
    found = Found(None if reference else entry, None if reference else entry, entry if reference else None, 1, ())
    return Finished(task, found, None)


def test_a_table_corrects_its_bounds_for_their_number_and_gives_reasons() -> None:
    energy = Column("m", "energy", "energy")
    cells = [Cell(f"r{k}", "m", (), (energy,)) for k in range(40)]
    references = [Cell(f"r{k}", "reference", (), (Column("reference", "energy", "energy"),)) for k in range(40)]
    values = [ours(-99.0, 0.1) for _ in range(40)]
    values[0], values[1], values[2] = ours(-100.35, 0.1), ours(-100.5, 0.1), ours(-150.0, None)
    runs = [finished(cell, value) for cell, value in zip(cells, values, strict=True)]
    runs += [finished(cell, exact(-100.0)) for cell in references]
    artefact = Artefact("nf_nqs", "table1", "", lambda: [*cells, *references], lambda table: Rendering((), ()))
    table = Table(artefact, "smoke", runs)
    verdicts = [row.vs_reference for row in table.rows if row.method == "m"]
    assert verdicts[:4] == ["below", "BELOW-BOUND", "undecided", "above"], "3.5σ of one in 39 is no bug, 5σ are"
    assert table.undecided == {("r2", "m", "energy"): "its error is unknown"}
    unknown = finished(references[3], Estimate("energy", -100.0, None, bound="stochastic"))
    table = Table(artefact, "smoke", [runs[3], unknown])
    assert table.undecided == {("r3", "m", "energy"): "the error of its reference is unknown"}
    assert Table(artefact, "smoke", [runs[0], runs[40]]).rows[0].vs_reference == "BELOW-BOUND"


def test_a_derived_number_stands_beside_what_is_printed_of_it() -> None:
    """One printed number of two cells is one line, with the number worked out from theirs; it is not "not run"."""
    cells = [Cell("G2.0", name, (), (Column(name, "m", "m"),)) for name in ("up", "down")]

    def mean(table: Table) -> list[Derived]:
        rows = [table.row("G2.0", name, "m") for name in ("up", "down")]
        value = sum(row.ours for row in rows if row and row.ours is not None) / 2
        estimate = Estimate("m", value, 0.01, "standard-error")
        return [Derived("G2.0", "mcmc", "absolute_magnetisation", estimate, ("up", "down"))]

    artefact = Artefact("naqs", "fig2", "", lambda: cells, lambda table: Rendering((), ()), derived=mean)
    finished: list[Any] = []
    for cell, value in zip(cells, (0.77, 0.80), strict=True):
        task: Any = SimpleNamespace(cell=cell, cuts=(), seed=0, run=SimpleNamespace(system=SimpleNamespace(size=4)))
        done: Any = Finished(task, Found(None, None, None, None, ()), None)
        result = Result((Estimate("m", value, 0.01, "standard-error"),))
        finished.append(
            SimpleNamespace(**{**vars(done), "result": result, "seconds": 1.0, "device": "", "keys": ["k"]})
        )
    table = Table(artefact, "smoke", finished)
    row = table.row("G2.0", "mcmc", "absolute_magnetisation")
    assert row is not None
    assert row.ours == pytest.approx(0.785)
    assert (row.published, row.vs_paper, row.seeds) == (0.78, "agrees", 1)
    assert [r.vs_paper for r in table.rows] == ["no-number", "no-number", "agrees"]
