"""Artefacts: cells compose, smoke runs of every one, reports, verdicts, failures."""

from __future__ import annotations

import csv
import errno
import json
import multiprocessing as mp
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from pipeline.analysis.seeds import over_seeds
from pipeline.base.config.folders import CONF
from pipeline.base.config.nodes import SCALES
from pipeline.base.config.recipes import scales
from pipeline.base.errors import MissingScale, UserError
from pipeline.base.numbers.result import Curve, Estimate, Result
from pipeline.spin.subspace.inference import SubspaceInference
from reproduce import cli
from reproduce.artefact import all_artefacts, load_artefact, papers
from reproduce.plan import make_tasks
from reproduce.published import published
from reproduce.tables import CELL_FIELDS

PAPERS_OWN_SIZES = ("train.method.draws=150", "infer.draws=150")
SAMPLES_AT_10 = "train.sampler.samples=150"
SWEPT = {
    "nir/divergences": ("train.sampler.divergence=",),
    "nf_nqs/priors": ("train.method.prior=", "train.method.stop=floor", "train.method.patience="),
    "naqs/fig2": ("infer_sampler=metropolis", "infer.sampler.chains=", "infer.sampler.start=", "infer.seed="),
    "pseudofermion/hmc": ("baseline.hmc.fermions.determinant=", "baseline.hmc.fermions.hasenbusch="),
    "vit_sr/fig4": (
        "train.ansatz.width=",
        "train.ansatz.heads=",
        "train.sampler.samples=",
        "train.sampler.chains=",
    ),
    "nir/table1": ("train.sampler.embedding=", "train.sampler.layers="),
    "naqs/fig3": ("sampler=metropolis", "train.sampler.chains=", "train.sampler.thinning=", "infer_sampler=direct"),
}
"""NF+NQS, Section IV.B: |S| = 150 for N = 10, at every scale; and what figures compare."""
QUIET = ["tracker=none", "progress=false"]
ONE_ROW = ["table1", "--scale", "smoke", "--only", "N30-L15/nqs+nf", "--only", "N30-L15/reference", *QUIET]


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", all_artefacts())
def test_every_cell_composes_at_every_scale_that_its_recipes_have(name: str, scale: str) -> None:
    paper, artefact = name.split("/")[0], load_artefact(name)
    there = [cell for cell in artefact.cells() if not cell.scales or scale in cell.scales]
    if any(scale not in scales(cell.settings or paper, (CONF,)) for cell in there):
        with pytest.raises(MissingScale, match=f"scale={scale}: paper={paper}.* has smoke, laptop"):
            make_tasks(artefact, scale, ())
        return
    tasks = make_tasks(artefact, scale, ())
    assert len({task.id for task in tasks}) == len(tasks)
    for task in tasks:
        assert (task.run.paper, task.run.scale) == (task.cell.settings or paper, scale)
        assert task.run.paper.split("/")[0] == paper
        others = tuple(f"nf_nqs/{method}" for method in ("mps", "dense_ar", "cnn_ar"))
        sizes = (SAMPLES_AT_10,) if task.run.paper in others else PAPERS_OWN_SIZES
        allowed = ("system.", "system=", "baseline=", *sizes, *SWEPT.get(name, ()))
        assert all(o.startswith(allowed) for o in task.cell.overrides), "a cell sets physics only"
        if "train" in task.cell.stages:
            # 150 samples a batch of Dense AR are the paper's own at N = 10
            small = scale == "laptop" and task.cell.method == "dense-ar" and task.cell.row.startswith("N10-")
            assert (task.cuts == ()) == (scale == "paper" or small)


AGAIN = ("naqs/table1", "nf_nqs/table1", "nir/divergences", "pseudofermion/fig4", "vit_sr/fig1")
"""Artefacts that are asked for again, and rendered from their own files, in every run of the tests: one a paper."""


@pytest.mark.parametrize("name", all_artefacts())
def test_every_artefact_at_smoke_scale(name: str, smoke_results: Path) -> None:
    assert cli.main(_options(name, smoke_results)) == 0
    folder = smoke_results / name / "smoke"
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert set(files) >= {"report.md", "table.csv", "cells.csv", "runs.csv", "curves.csv", "manifest.json"}
    _check_cells(name, folder)
    for results in (smoke_results, (smoke_results / "_store").resolve().parent):
        _check_no_private_names(files, results)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in AGAIN else pytest.mark.thorough) for name in all_artefacts()]
)
def test_artefacts_at_smoke_scale_twice(
    name: str, smoke_results: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = _options(name, smoke_results)
    assert cli.main(options) == 0
    folder = smoke_results / name / "smoke"
    first = {path.name: path.read_bytes() for path in folder.iterdir()}
    capsys.readouterr()
    monkeypatch.setattr("reproduce.pool.run_tasks", lambda *_: pytest.fail("ran again"))
    assert cli.main(options) == 0
    assert "nothing to do" in capsys.readouterr().err
    _check_rendering_from_its_own_files([*options, "--render"], folder, first)


def _options(name: str, results: Path) -> list[str]:
    return [name, "--scale", "smoke", "--jobs", "2", *QUIET, f"results_dir={results}"]


def _check_rendering_from_its_own_files(options: list[str], folder: Path, first: dict[str, bytes]) -> None:
    """Without the store, byte for byte the same."""
    (folder.parents[2] / "_store").unlink()
    assert cli.main(options) == 0
    anew = {path.name: path.read_bytes() for path in folder.iterdir()}
    one, other = (json.loads(files.pop("manifest.json")) for files in (first, anew))
    assert one["runs"] == other["runs"]
    assert one["kept"] == other["kept"]
    assert {name for name in first if first[name] != anew.get(name)} == set()
    assert set(anew) == set(first)


def _check_cells(name: str, folder: Path) -> None:
    with open(folder / "cells.csv", newline="") as file:
        reader = csv.DictReader(file)
        cells = list(reader)
    assert reader.fieldnames == CELL_FIELDS
    printed = [n for n in published(name.split("/")[0]) if n.artefact == name]
    assert {(n.cell, n.method, n.quantity) for n in printed} <= {(c["cell"], c["method"], c["quantity"]) for c in cells}
    assert not [c for c in cells if c["vs_paper"] == "failed" or c["vs_reference"] == "BELOW-BOUND"]
    made = load_artefact(name).cells()
    references = {column.method for cell in made if cell.method == "reference" for column in cell.columns}
    for cell in cells:
        if cell["quantity"] == "energy" and cell["method"] not in references and cell["ours"]:
            assert cell["reference"], f"{cell['cell']} has no reference"
            assert cell["cuts"]


def _check_no_private_names(files: dict[str, bytes], results: Path) -> None:
    for name, content in files.items():
        if not name.endswith((".png", ".pdf")):  # compressed, where short names occur by chance
            assert os.uname().nodename.encode() not in content, name
            assert str(Path.cwd()).encode() not in content, name
            assert str(results).encode() not in content, name


def test_plan_says_what_would_run_and_runs_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["table1", "--plan", "--scale", "smoke", f"results_dir={tmp_path}"]) == 0
    printed = capsys.readouterr().out
    assert "runs train, infer" in printed
    assert "N30-L15/nqs+nf#0" in printed
    assert not list(tmp_path.iterdir())


def test_one_cell_with_an_override_counts_it_as_a_cut_and_stays_out_of_the_committed_tree(tmp_path: Path) -> None:
    options = [
        "table1",
        "--scale",
        "smoke",
        "--only",
        "N30-L15/nqs+nf",
        "infer.units=3",
        *QUIET,
        f"results_dir={tmp_path}",
    ]
    assert cli.main(options) == 0
    folder = tmp_path / "_partial" / "nf_nqs" / "table1" / "smoke"
    assert "| `infer.units` | 20 | 3 |" in (folder / "report.md").read_text()
    assert not (tmp_path / "nf_nqs").exists()


def test_cells_are_chosen_by_row_and_by_method() -> None:
    artefact = load_artefact("table1", "nf_nqs")
    chosen = {only: {t.cell.id for t in make_tasks(artefact, "smoke", [], [only])} for only in ("N30-L15", "nqs+nf")}
    assert len(chosen["nqs+nf"]) == 9
    assert all(name.endswith("/nqs+nf") for name in chosen["nqs+nf"])
    assert all(name.startswith("N30-L15/") for name in chosen["N30-L15"])
    assert chosen["N30-L15"] & chosen["nqs+nf"] == {"N30-L15/nqs+nf"}


@pytest.mark.parametrize("fault", ["raises", "dies"])
def test_failed_cell_is_a_row_with_its_reason_while_the_others_go_on(
    tmp_path: Path, fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The inference of N = 30, L = 15 fails in every worker, which are forked from this process to be like it."""
    only = [f"--only=N30-{row}/{method}" for row in ("L15", "L1") for method in ("nqs+nf", "reference")]
    options = ["table1", "--scale", "smoke", *only, *QUIET, f"results_dir={tmp_path}"]
    measure = SubspaceInference.measure

    def sabotaged(self: SubspaceInference, flow: Any, k: int) -> Any:
        if len(self.hamiltonian.terms) == 30 * 29 // 2 + 30:
            if fault == "raises":
                raise OSError(errno.ENOSPC, "no space left on device")
            os.kill(os.getpid(), signal.SIGKILL)
        return measure(self, flow, k)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("reproduce.pool.workers_context", lambda: mp.get_context("fork"))
        patch.setattr(SubspaceInference, "measure", sabotaged)
        assert cli.main(options) == 1
    said = capsys.readouterr().err
    assert "FAILED N30-L15/nqs+nf#0" in said
    assert ("no space left" if fault == "raises" else "died (signal 9)") in said
    with open(tmp_path / "_partial/nf_nqs/table1/smoke/cells.csv", newline="") as file:
        cells = {(c["cell"], c["method"]): c for c in csv.DictReader(file) if c["quantity"] == "energy"}
    assert (cells["N30-L15", "nqs+nf"]["vs_paper"], cells["N30-L15", "nqs+nf"]["ours"]) == ("failed", "")
    assert cells["N30-L1", "nqs+nf"]["vs_paper"] != "failed"
    assert cells["N30-L1", "nqs+nf"]["ours"]
    assert cli.main(options) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["tabel1"], "tabel1: no such artefact; have .*nf_nqs-table1.*did you mean 'nf_nqs/table1'"),
        (["pseudofermion-hmc", "--scale", "gpu"], "scale=gpu: paper=pseudofermion.* has smoke, laptop, paper"),
        (["table1", "--scale", "long"], "scale=long: paper=nf_nqs has smoke, laptop, gpu, paper"),
        (["table1", "--scale", "lapto"], "--scale=lapto: must be one of .*did you mean 'laptop'"),
        (["table1", "--only", "N31-L15"], "--only N31-L15: no such cell"),
        (["table1", "--jobs", "0"], "--jobs=0: must be at least 1"),
        (["table1", "--paper", "nf_nq"], "--paper=nf_nq: must be one of .*did you mean 'nf_nqs'"),
        (["table1", "infer.unit=3"], r"infer\.unit: no such key \(did you mean 'infer\.units'"),
        (["table1", "scale=gpu"], "scale=gpu: an artefact sets this itself"),
    ],
)
def test_bad_input(options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    import re

    assert cli.main(options) == 2
    error = capsys.readouterr().err
    assert re.search(message, error), error
    assert "Traceback" not in error


def test_all_leaves_out_what_does_not_have_the_scale(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "all_artefacts", lambda: ["pseudofermion/hmc", "nf_nqs/priors"])
    assert cli.main(["all", "--scale", "gpu", "--plan"]) == 0
    said = capsys.readouterr()
    assert "pseudofermion/hmc is left out: scale=gpu: paper=pseudofermion" in said.err
    assert "nf_nqs/priors: about" in said.out
    assert cli.main(["all", "--scale", "long", "--plan"]) == 2
    assert "--scale long: no artefact has it" in capsys.readouterr().err


def test_short_and_long_names_mean_the_same() -> None:
    assert load_artefact("table1").id == load_artefact("nf_nqs-table1").id == load_artefact("nf_nqs/table1").id
    assert load_artefact("table1", "nf_nqs").id == "nf_nqs/table1"
    with pytest.raises(UserError):
        load_artefact("hmc", "nir")


@pytest.mark.parametrize("paper", papers())
def test_published_numbers_are_well_formed_and_unique(paper: str) -> None:
    numbers = published(paper)
    assert len({(n.artefact, n.cell, n.method, n.quantity) for n in numbers}) == len(numbers)
    for n in numbers:
        assert n.value is not None
        assert n.location
        assert n.bound in ("exact", "variational", "projected", "extrapolated", "stochastic", "none")


def test_tables_of_nf_nqs_are_complete_and_consistent() -> None:
    numbers = {(n.artefact[-6:], n.cell, n.method): n for n in published("nf_nqs")}
    assert len([k for k in numbers if k[0] == "table1"]) == len([k for k in numbers if k[0] == "table2"]) == 36
    for n, length in ((30, 15), (40, 20), (50, 25)):  # the same system stands in both tables
        for method in ("nqs+nf", "dense-ar", "cnn-ar"):
            assert numbers["table1", f"N{n}-L{length}", method].value == numbers["table2", f"N{n}-V1.00", method].value


def test_another_system_is_not_compared_with_the_printed_numbers(tmp_path: Path) -> None:
    options = [*ONE_ROW, "system.field=3.0", f"results_dir={tmp_path}"]
    assert cli.main(options) == 0
    with open(tmp_path / "_partial/nf_nqs/table1/smoke/cells.csv", newline="") as file:
        cells = {(c["cell"], c["method"]): c for c in csv.DictReader(file) if c["quantity"] == "energy"}
    assert cells["N30-L15", "nqs+nf"]["vs_paper"] == "different-system"
    assert cells["N30-L15", "nqs+nf"]["rel_error_ours"]
    assert not any(c["rel_error_published"] for c in cells.values())


@pytest.mark.thorough
def test_plan_names_a_damaged_entry_and_leaves_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = [*ONE_ROW, f"results_dir={tmp_path}"]
    assert cli.main(options) == 0
    (path,) = tmp_path.glob("_store/infer/*/result.json")
    path.write_text("{}")
    assert cli.main([*options, "--plan"]) == 0
    assert "is damaged (the checksum of result.json differs)" in capsys.readouterr().err
    assert path.exists()
    assert cli.main(options) == 0
    assert "set aside" in capsys.readouterr().err
    assert json.loads(path.read_text())["estimates"]


def test_over_seeds() -> None:
    one = Estimate("energy", -1.0, 0.1, "standard-error", 0.4, "total", "variational", 20)
    assert over_seeds([one]) == one
    two = over_seeds([one, Estimate("energy", -3.0, 0.1, "standard-error", 0.4, "total", "variational", 20)])
    assert (two.value, two.n, two.bound) == (-2.0, 2, "variational")
    assert two.spread == pytest.approx(2**0.5)
    assert two.sigma == pytest.approx(1.0)


def test_bug_below_an_exact_reference_is_the_first_line_and_a_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [*ONE_ROW, f"results_dir={tmp_path}"]
    assert cli.main(options) == 0
    _falsify(tmp_path)
    assert cli.main(options) == 1
    report = (tmp_path / "_partial/nf_nqs/table1/smoke/report.md").read_text().splitlines()
    assert report[2].startswith("**BELOW-BOUND: N30-L15/")
    assert cli.main(options) == 1, "a cached bug is still a bug"


def _falsify(results: Path) -> None:
    """Rewrite an inference as if it had found an impossible energy, checksums included."""
    from pipeline.base.store.files import checksum, sha256

    (path,) = results.glob("_store/infer/*/result.json")
    result = Result.from_json(json.loads(path.read_text()))
    wrong: Any = [Estimate(**{**vars(e), "value": -436.0}) if e.name == "union_floor" else e for e in result.estimates]
    path.write_text(json.dumps(Result(tuple(wrong), result.curves, result.notes).to_json()))
    status = json.loads((path.parent / "status.json").read_text())
    status.pop("checksum")
    status["files"]["result.json"] = sha256(path)
    (path.parent / "status.json").write_text(json.dumps({**status, "checksum": checksum(status)}))


def test_result_json_round_trip_keeps_every_bit() -> None:
    result = Result(
        (Estimate("e", 0.1 + 0.2, 1e-300),), (Curve.of("c", "x", "y", [1], [2 / 3], [1e-17]),), ("n",), {"k": 1}
    )
    assert Result.from_json(json.loads(json.dumps(result.to_json()))) == result
