"""Reports of sweeps: whole ones, half-finished ones, and of what a query finds in the store."""

from __future__ import annotations

import csv
import json
import math
import shutil
from pathlib import Path

import pytest

from pipeline.analysis.sweeps import Point
from pipeline.base.numbers.result import Estimate
from pipeline.stages import cli, sweep_report
from pipeline.stages.sweep_points import PLANNED, Found, number, of_folder, sweeps_of

QUIET = ("tracker=none", "progress=false")
RINGS = (
    *("system=chain_tfim", "system.n_sites=16,32,64", "system.range=1", "system.coupling=0.5,1.0", "stages=[baseline]"),
    *QUIET,
)
TRAINED = (
    *("method=vmc", "system=chain_tfim", "system.n_sites=4", "system.range=1", "ansatz=rbm", "optimizer=sr"),
    *("sampler=exhaustive", "infer.units=3", "train.seed=0,1", "train.steps=3,6,10", *QUIET),
)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are drawn where a test looks at them."""
    monkeypatch.setattr(sweep_report, "draw_axis", lambda points, key, path: path.with_suffix(".png"))
    monkeypatch.setattr(sweep_report, "draw_extrapolations", lambda found, path: path.with_suffix(".png"))


def swept(words: tuple[str, ...], results: Path) -> Path:
    """A finished sweep; its folder."""
    assert cli.main(["-m", *words, f"results_dir={results}"]) == 0
    return sweeps_of(results)[-1]


def report(capsys: pytest.CaptureFixture[str], *words: str) -> Path:
    capsys.readouterr()
    assert sweep_report.main(words) == 0
    return Path(capsys.readouterr().out.removeprefix("report: ").strip()).parent


def statuses(results: Path) -> list[Path]:
    return list(results.glob("_store/*/*/status.json"))


def lines(path: Path) -> list[dict[str, str]]:
    with open(path) as file:
        return list(csv.DictReader(file))


@pytest.mark.thorough
def test_a_sweep_of_references(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Energies of rings without a training, and their limit: -4/π at the critical point."""
    folder = report(capsys, str(swept(RINGS, tmp_path)))
    assert folder.parent == tmp_path / "_sweeps"
    text = (folder / "report.md").read_text()
    assert "All 6 runs are finished." in text
    assert "Missing" not in text
    row = next(line for line in text.splitlines() if "coupling=1" in line and "1/L^2" in line)
    limit = float(row.split("|")[4].split("(")[0])
    assert limit == pytest.approx(-4 / math.pi, abs=2e-6)
    table = lines(folder / "table.csv")
    found = {(line["system.n_sites"], line["system.coupling"]): float(line["value"]) for line in table}
    assert found["32", "1.0"] == pytest.approx(-2 / math.sin(math.pi / 64))
    page = (folder / "report.html").read_text()
    assert "All 6 runs are finished." in page
    for name in ("by_n_sites", "by_coupling", "finite_size"):
        assert f"({name}.png)" in text
        assert f'src="{name}.png"' in page
        for suffix in ("png", "svg", "pdf"):
            assert (folder / f"{name}.{suffix}").stat().st_size > 2000


def test_a_half_finished_sweep_says_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], undrawn: None
) -> None:
    folder = swept(RINGS, tmp_path)
    planned = json.loads((folder / PLANNED).read_text())
    assert len(planned["runs"]) == 6
    assert planned["command"].startswith("python -m pipeline -m system=chain_tfim")
    entries = {
        json.loads(p.read_text())["nodes"]["system"]["n_sites"]: p for p in tmp_path.glob("_store/*/*/status.json")
    }
    shutil.rmtree(entries[64].parent)
    for number_of_job in (4, 5):
        (folder / "outcomes" / f"{number_of_job}.json").unlink()
    outcome = folder / "outcomes" / "4.json"
    outcome.write_text(json.dumps({"overrides": [], "ok": False, "finished": True, "reason": "the disk is full"}))
    text = (report(capsys, str(folder)) / "report.md").read_text()
    assert "5 of 6 runs are finished." in text
    (missing,) = [line for line in text.splitlines() if line.startswith("- `system.n_sites")]
    assert "n_sites=64" in missing
    assert missing.endswith(("baseline missing", "FAILED: the disk is full"))
    assert f"    {planned['command']}" in text
    shutil.rmtree(tmp_path / "_store")
    text = (report(capsys, str(folder)) / "report.md").read_text()
    assert "0 of 6 runs are finished." in text
    assert text.count("baseline missing") + text.count("the disk is full") == 6


@pytest.mark.thorough
def test_runs_of_a_query(tmp_path: Path, capsys: pytest.CaptureFixture[str], undrawn: None) -> None:
    """Of all that the store has, whatever commands have computed it; against variances too, with seeds averaged."""
    folder = report(capsys, str(swept(TRAINED, tmp_path)))
    of_sweep = lines(folder / "table.csv")
    text = (folder / "report.md").read_text()
    assert "energy against variance" in text
    assert "| 2 " in text
    folder = report(capsys, "--results", str(tmp_path), "ansatz=rbm", "system.coupling=1", "train.steps=3,6,10")
    of_query = lines(folder / "table.csv")
    assert [line["value"] for line in of_query] == [line["value"] for line in of_sweep]
    assert [line["reference"] for line in of_query] == [line["reference"] for line in of_sweep]
    assert {line["runs"] for line in of_query} == {"2"}
    one = report(capsys, "--results", str(tmp_path), "train.steps=6", "train.seed=1")
    assert "All 1 runs are finished." in (one / "report.md").read_text()
    for words, message in (
        (["train.sede=1"], "train.sede: no result records such a key (did you mean 'train.seed'?)"),
        (["system.n_sites=5"], "system.n_sites=5: none of 6 finished inferences is of these settings"),
        (["train.seed=1", "results"], "one folder of a sweep, or a query"),
    ):
        assert sweep_report.main(["--results", str(tmp_path), *words]) == 2
        assert message in capsys.readouterr().err


def test_tables_judge_as_the_page_does(tmp_path: Path, undrawn: None) -> None:
    """One of twenty values 3.5σ below an exact one is a chance of 1 in 200, and no bug."""
    exact = {"energy": Estimate("energy", -1.0, 0.0, bound="exact")}
    energies = [Estimate("energy", -1.35 if k == 7 else -1.0, 0.1, bound="variational") for k in range(20)]
    points = [Point({"system.coupling": k}, {}, {"energy": e}, "energy", exact) for k, e in enumerate(energies)]
    folder = sweep_report.write(Found("s", "s", points, {}, total=20), tmp_path / "s")
    assert "BELOW-BOUND" not in (folder / "report.md").read_text()
    for name in ("table.csv", "runs.csv"):
        assert [line["verdict"] for line in lines(folder / name)].count("below") == 1
    sweep_report.write(Found("s", "s", points[7:8], {}, total=1), tmp_path / "s")
    assert [line["verdict"] for line in lines(folder / "runs.csv")] == ["BELOW-BOUND"]


def test_open_systems_say_how_they_are_extrapolated(tmp_path: Path, undrawn: None) -> None:
    points = []
    for n in (8, 12, 16):
        energy = Estimate("energy", -float(n), 0.1, unit="total", doubt="chains are only 5 τ_int long")
        system = {"kind": "open_chain_tfim", "n_sites": n}
        points.append(Point({"system.n_sites": n}, system, {"energy": energy}, "energy"))
    text = (sweep_report.write(Found("s", "s", points, {}, total=3), tmp_path / "s") / "report.md").read_text()
    (row,) = [line for line in text.splitlines() if "energy per site against 1/L^1" in line]
    assert "chains are only 5 τ_int long" in row
    assert "p = 1 that of open ends" in text


def test_no_sweep_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    here = ["--results", str(tmp_path)]
    for words, message in (
        (here, "no sweep below"),
        ([*here, str(tmp_path)], "no sweep has left its outcomes there"),
        ([*here, "train.seed=1"], "no finished inference is kept there"),
        ([*here, "--power", "-1", "x=1"], "--power -1: must be positive"),
    ):
        assert sweep_report.main(words) == 2
        assert message in capsys.readouterr().err
    empty = tmp_path / "_hydra" / "sweep" / "20260101-000000-1" / "outcomes"
    empty.mkdir(parents=True)
    assert sweep_report.main([*here, str(empty.parent)]) == 2
    assert "ended before its first run" in capsys.readouterr().err
    assert sweep_report.main(here) == 0
    assert capsys.readouterr().out.strip() == str(empty.parent)


def test_runs_that_do_not_compose_any_more(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    (folder / "outcomes").mkdir(parents=True)
    runs = [["system=chain_tfim", f"system.sites={n}"] for n in (4, 6)]
    (folder / PLANNED).write_text(json.dumps({"runs": runs}))
    found = of_folder(folder)
    assert found.points == []
    assert all("cannot be composed any more: system.sites" in why for why in found.missing.values())
    assert list(found.missing) == ["system.sites=4", "system.sites=6"]


def test_numbers_and_words() -> None:
    assert [number(text) for text in ("4", "0.5", "1e-3", "rbm")] == [4, 0.5, 0.001, "rbm"]
