"""Reports that are rendered anew from their own files: every number comes back, older files included."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.base.errors import UserError
from pipeline.base.numbers.result import Curve, Estimate, Result
from pipeline.base.store.entry import Entry
from pipeline.base.store.files import sha256
from reproduce import cli
from reproduce.artefact import Artefact, Cell, Column, Rendering
from reproduce.csv_files import read_csv, write_csv
from reproduce.plan import Found, Task
from reproduce.recorded import NoReport, Written, read_report
from reproduce.report import write_report
from reproduce.tables import RUN_FIELDS, Finished, Table

CELL = Cell("N30-L15", "mps", (), (Column("mps", "energy", "energy"),))
REFERENCE = Cell("N30-L15", "reference", (), (Column("reference", "energy", "energy"),), stages=("baseline",))
ENERGY = Estimate(
    "energy", 0.1 + 0.2, 1e-300, "standard-error", 1 / 3, "total", "variational", 3000, 2.5, 17.5, "e", "?"
)
SAID = {"notes": ["A note."], "headline": "energy", "extra": {"beta": 44.0}}


class Fake(Entry):
    """An entry with a result and no folder."""

    found: Result

    def result(self) -> Result:
        return self.found

    def provenance(self) -> dict[str, Any]:
        return {"git": "0" * 40, "source": "s", "threads": 1, "hardware": {"cpu": "c"}, "packages": {"torch": "2"}}

    def metrics(self) -> list[dict[str, Any]]:
        return [{"loop": "train", "k": k, "seconds": 0.1 * k, "energy": -float(k)} for k in range(50)]


def entry(stage: str, result: Result, **facts: Any) -> Entry:
    status = {"stage": stage, "key": f"{stage}0", "seconds": 1.25, "finished": "2026-11-22T03:45:46Z", "device": "cpu"}
    made = Fake(Path(stage) / f"{stage}0", {**status, "peak_bytes": 10, "files": {"a": "b"}, "checksum": "c", **facts})
    object.__setattr__(made, "found", result)
    return made


def task(cell: Cell) -> Task:
    shown = SimpleNamespace(unit="total", metrics=("energy",), along=())
    train = SimpleNamespace(
        method=SimpleNamespace(shown=shown), shown=shown, sampler=SimpleNamespace(chains=75), steps=400
    )
    infer = SimpleNamespace(sampler=None)
    run: Any = SimpleNamespace(system=SimpleNamespace(size=30), train=train, infer=infer, deviations={})
    return Task("nf_nqs/table1", cell, 0, ("paper=nf_nqs",), run, ("train.steps: 3 → 2",))


def runs() -> list[Finished]:
    curve = Curve.of("histogram", "x", "y", [0, 1], [2 / 3, 5], [1e-17, 2], "total", [0.5, 0.5])
    inferred = entry(
        "infer", Result((ENERGY, replace(ENERGY, name="variance")), (curve,), ("A note.",), {"beta": 44.0}, "energy")
    )
    exact = entry("baseline", Result((replace(ENERGY, bound="exact", doubt=""),)), kind="free fermions", promoted=True)
    trained = entry("train", Result(), steps=400, stopped=None)
    return [
        Finished(task(CELL), Found(trained, inferred, None, 400, ()), None),
        Finished(task(REFERENCE), Found(None, None, exact, None, ()), None),
    ]


def artefact(**more: Any) -> Artefact:
    rendering = Rendering(["row", "x"], [["N30-L15", "1"]], **more)
    return Artefact("nf_nqs", "table1", "Table I", lambda: [CELL, REFERENCE], lambda table: rendering)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A report of one run and its reference."""
    write_report(Table(artefact(kept={"courses": [1]}), "laptop", runs()), tmp_path, "command", "digest")
    return tmp_path


def found_in(written: Written) -> list[Finished]:
    return [done for one in runs() if (done := written.finished(replace(one.task, cuts=())))]


def test_a_training_that_another_run_went_on_with_counts_to_the_step_of_the_run(tmp_path: Path) -> None:
    """The whole one is in the manifest; the run has the seconds that its metrics said."""
    done, reference = runs()
    trained = entry("train", Result(), steps=1000, stopped=None, seconds=100.0)
    longer = replace(done, found=replace(done.found, trained=trained, step=40))
    assert longer.seconds == pytest.approx(0.1 * 39 + 1.25)
    write_report(Table(artefact(), "laptop", [longer, reference]), tmp_path, "command", "digest")
    again = found_in(read_report(tmp_path))[0]
    assert again.seconds == pytest.approx(longer.seconds)
    assert again.found.trained is not None
    assert again.found.trained.seconds == 100.0


def test_every_number_comes_back_bit_by_bit(folder: Path, tmp_path: Path) -> None:
    written = read_report(folder)
    mine, anew = runs(), found_in(written)
    for one, other in zip(mine, anew, strict=True):
        assert one.result is not None
        assert one.result == other.result
        assert (one.seconds, one.device, one.keys, one.found.step) == (
            other.seconds,
            other.device,
            other.keys,
            other.found.step,
        )
        assert other.task.cuts == ("train.steps: 3 → 2",), "those of the run, not of today"
    assert Table(artefact(), "laptop", mine).rows == Table(artefact(), "laptop", anew).rows
    assert written.kept == {"courses": [1]}
    assert written.table == [{"row": "N30-L15", "x": "1"}]
    again = tmp_path / "again"
    table = Table(artefact(kept=written.kept), "laptop", anew, written.kept, written.table)
    write_report(table, again, "command", "digest")
    for path in folder.glob("*.*"):
        assert path.read_bytes() == (again / path.name).read_bytes(), path.name


def test_curves_are_kept_as_they_stand_and_not_thinned_again(folder: Path) -> None:
    names = [curve.name for curve in read_report(folder).finished(task(CELL)).shown or ()]  # type: ignore[union-attr]
    assert names == ["histogram", "train/energy"]
    lines = read_csv(folder / "curves.csv")
    longer = [{**lines[-1], "x": str(k)} for k in range(60)]
    write_csv(folder / "curves.csv", list(lines[0]), longer)
    _sign(folder, "curves.csv")
    table = Table(artefact(), "laptop", found_in(read_report(folder)))
    assert len(table.curve_rows()) == 60


def test_an_unknown_error_of_a_point_leaves_the_others_in_their_places(folder: Path) -> None:
    lines = [line for line in read_csv(folder / "curves.csv") if line["curve"] == "train/energy"][:3]
    cases = {"a_along_training": ["", "0.5", ""], "b_along_training": ["", "", ""], "c": ["", "", ""]}
    made = [
        {**line, "curve": name, "sigma": sigma}
        for name, sigmas in cases.items()
        for line, sigma in zip(lines, sigmas, strict=True)
    ]
    write_csv(folder / "curves.csv", list(lines[0]), made)
    _sign(folder, "curves.csv")
    done = read_report(folder).finished(task(CELL))
    assert done is not None
    assert [str(curve.sigma) for curve in done.shown or ()] == ["(nan, 0.5, nan)", "(nan, nan, nan)", "()"]


def test_a_run_that_the_report_does_not_have_and_an_estimate_that_it_is_older_than(folder: Path) -> None:
    written = read_report(folder)
    assert written.finished(replace(task(CELL), seed=1)) is None
    newer = replace(CELL, columns=(*CELL.columns, Column("mps", "union_size", "union_size")))
    done = written.finished(task(newer))
    assert done is not None
    verdicts = {row.quantity: row.vs_paper for row in Table(artefact(), "laptop", [done]).rows if row.ours is None}
    assert verdicts["union_size"] == "not-run"


@pytest.mark.parametrize(
    ("change", "doubt"),
    [
        ({"tau": "6.4"}, "chains are only 6.25 τ_int long"),
        ({"tau": "3.9", "sigma": "0.001"}, ""),
        ({"tau": "", "sigma": "0.0"}, "all 3000 samples have the same value"),
        ({"tau": "", "sigma": "1e-15"}, "all 3000 samples have the same value"),
        ({"tau": "", "sigma": "0.0", "sigma_kind": "none"}, ""),
    ],
)
def test_doubts_of_a_report_that_is_older_than_them(folder: Path, change: dict[str, str], doubt: str) -> None:
    """75 chains of 40 samples, as of the MPS at laptop scale."""
    lines = [{**line, **change} for line in read_csv(folder / "runs.csv")]
    write_csv(folder / "runs.csv", [f for f in RUN_FIELDS if f != "doubt"], lines)
    _sign(folder, "runs.csv")
    done = read_report(folder).finished(task(CELL))
    assert done is not None
    assert done.result is not None
    assert done.result.estimate("energy").doubt == doubt
    assert done.result.estimate("energy").spread is None, "it was a deviation of samples"


def test_chains_that_disagree_are_doubted_in_every_report(folder: Path) -> None:
    """Reports that hold doubts, but are older than this one, have R-hat beside the energy."""
    lines = [{**line, "tau": "1.0", "sigma": "0.01", "doubt": ""} for line in read_csv(folder / "runs.csv")]
    r_hat = {**lines[0], "quantity": "r_hat", "value": "1.38", "sigma": "", "sigma_kind": "none", "tau": ""}
    write_csv(folder / "runs.csv", RUN_FIELDS, [*lines, r_hat])
    _sign(folder, "runs.csv")
    done = read_report(folder).finished(task(CELL))
    assert done is not None
    assert done.result is not None
    energy = done.result.estimate("energy")
    assert (energy.sigma, energy.doubt) == (0.01, "chains disagree: R-hat 1.38 is above 1.1")


def test_notes_of_committed_references_where_the_manifest_has_none(folder: Path, tmp_path: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    for run in manifest["runs"]:
        for stage in run["stages"]:
            stage.pop("result", None)
    del manifest["kept"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (tmp_path / "baseline0.json").write_text(json.dumps({"result": SAID}))
    written = read_report(folder)
    assert written.kept == {}
    done = written.finished(task(REFERENCE), [tmp_path])
    assert done is not None
    assert done.result is not None
    assert (done.result.notes, done.result.extra) == (("A note.",), {"beta": 44.0})


def _sign(folder: Path, name: str) -> None:
    """Make the manifest list a changed file."""
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][name] = sha256(folder / name)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_what_cannot_be_rendered_anew_is_one_sentence(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(NoReport, match=r"no report to render anew \(manifest.json is missing\)"):
        read_report(tmp_path / "nowhere")
    text = (folder / "runs.csv").read_text()
    (folder / "runs.csv").write_text(text.replace("0.30000000000000004", "0.31"))
    with pytest.raises(UserError, match=r"runs.csv is not the file that its manifest lists"):
        read_report(folder)
    (folder / "runs.csv").write_text(text)
    for wrong in ("[]", "{", '{"files": {}}', '{"runs": 3}'):
        (folder / "manifest.json").write_text(wrong)
        with pytest.raises(UserError, match="cannot be read"):
            read_report(folder)


def test_all_leaves_out_what_has_no_report(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def artefact_of(found: Artefact, options: Any) -> int:
        if found.name == "hmc":
            raise NoReport("nowhere: no report to render anew")
        return 0

    monkeypatch.setattr(cli, "all_artefacts", lambda: ["pseudofermion/hmc", "nf_nqs/priors"])
    monkeypatch.setattr(cli, "_artefact", artefact_of)
    assert cli.main(["all", "--scale", "smoke", "--render"]) == 0
    assert "pseudofermion/hmc is left out: nowhere: no report to render anew" in capsys.readouterr().err
