"""Runs, keys, lists and figures: what was computed is found from anywhere, and a slip is one clear line."""

from __future__ import annotations

import json
import math
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nqs
from nqs import cli
from pipeline.base import places
from pipeline.base.store.promoted import promote
from pipeline.base.store.store import Store
from pipeline.stages.compose import compose_run
from pipeline.stages.history import history
from pipeline.stages.keys import Keys
from tests.nqs.small_runs import small

ROOT = Path(__file__).resolve().parents[2]
CHAIN = ("system=chain_tfim", "system.n_sites=4", "system.coupling=0.5")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with results of three runs, two with a reference, one continued from the other."""
    folder = tmp_path_factory.mktemp("project")
    with_reference = "stages=[train,infer,baseline,report]"
    small(folder / "results", *CHAIN, with_reference)
    small(folder / "results", *CHAIN, "train.steps=5")
    small(folder / "results", "ansatz=dense_ar", "sampler=direct", "train.seed=7", system=ISING)
    return folder


ISING = nqs.hamiltonian({"Z0 Z1": -1.0, "X0": -0.5, "X1": -0.5})


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither the checkout nor the environment has runs, and no states are committed."""
    monkeypatch.setattr(places, "INSTALLED", True)
    monkeypatch.setattr("nqs.places.COMMITTED", tmp_path / "nothing")
    monkeypatch.delenv("NQS_RESULTS", raising=False)


def test_a_run_is_that_of_the_command_line(project: Path) -> None:
    run = small(project / "results", *CHAIN, "stages=[train,infer,baseline,report]")
    assert run.report == project / "results" / "_runs" / run.key / "report.md"
    assert run.report.exists()
    keys = Keys(compose_run(["method=vmc", "train.steps=3", *CHAIN]))
    assert run.key == keys.infer(3)
    assert run.reference is not None
    assert run.reference.mean == pytest.approx(-2 * math.fsum(2 * math.sqrt(1.25 - math.cos(k)) for k in WAVES) / 2)
    assert run.energy.mean > run.reference.mean
    assert "energy" in str(run)
    assert run.state.expectation().mean == pytest.approx(run.energy.mean, abs=1e-6)


WAVES = (math.pi / 4, 3 * math.pi / 4)
"""Half of the momenta of four fermions on an antiperiodic ring."""


def test_settings_by_name(project: Path) -> None:
    words: dict[str, Any] = {
        "train__steps": 3,
        "train__snapshots": [0, 1],
        "tracker": "none",
        "stages": ["train"],
        "progress": False,
    }
    run = nqs.run(*CHAIN, method="vmc", ansatz="jastrow", results=project / "results", **words)
    assert run.config.train.snapshots == [0, 1]
    assert run.key == run.output.trained.entry.path.name  # type: ignore[union-attr]


def test_the_table_of_runs(project: Path, alone: None, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "notebooks" / "deep").mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(project / "notebooks" / "deep")
    table = nqs.runs()
    assert table.equals(nqs.runs(project / "results").assign(results=table.results))
    first = table[(table.system == "chain_tfim") & (table.ansatz == "rbm") & (table.steps == 3)].iloc[0]
    assert (first["size"], first.method, first.sampler, first.seed, first.coupling) == (4, "vmc", "exhaustive", 0, 0.5)
    assert first.relative_error == pytest.approx((first.energy - first.reference) / abs(first.reference))
    assert first.reference_kind == "free fermions"
    assert first.sigma == 0
    longer = table[(table.steps == 5)].iloc[0]
    assert longer.energy < first.energy
    assert longer.reference == first.reference
    drawn = table[table.ansatz == "dense_ar"].iloc[0]
    assert (drawn.system, drawn["size"], drawn.seed) == ("pauli_strings", 2, 7)
    assert drawn.sigma > 0
    assert np.isnan(drawn.reference)
    assert str(nqs.load(first.key)).startswith(f"<nqs.State {first.train_key} after 3 steps: rbm on chain_tfim")


def test_commands_compute_the_same(project: Path) -> None:
    """As a shell takes them apart."""
    for past in history([project / "results"]):
        script, *words = shlex.split(past.command)
        keys = Keys(compose_run([*words, "stages=[train,infer]"]))
        assert script == "nqs"
        assert past.key in (keys.train, keys.infer(past.steps)), past.command


def test_a_key_or_a_path_means_a_state(project: Path, alone: None) -> None:
    results = project / "results"
    past = next(past for past in history([results]) if past.steps == 5)
    folders = [results / "_store" / "infer" / past.key, results / "_store" / "train" / past.train_key]
    for path in (*folders, results / "_store" / "infer" / past.key / "result.json"):
        assert nqs.load(path).step == 5
        assert nqs.load(str(path)).key == past.train_key
    for key in (past.key, past.key[:8], f"infer/{past.key}", f"train/{past.train_key[:6]}"):
        assert nqs.load(key, results=results).step == 5


def test_a_committed_state_is_asked_like_any_other(project: Path, tmp_path: Path) -> None:
    past = next(past for past in history([project / "results"]) if past.steps == 5)
    entry = Store(project / "results" / "_store").find("train", past.train_key)
    assert entry is not None
    path = promote(entry, tmp_path / "results")
    expected = nqs.load(past.key, results=project / "results").expectation().mean
    for state in (nqs.load(path), nqs.load(past.train_key, results=tmp_path / "results")):
        assert state.expectation().mean == expected
    assert not (tmp_path / "results" / "_store").exists()


def test_a_committed_state_without_runs_of_ones_own(
    project: Path, tmp_path: Path, alone: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    past = next(past for past in history([project / "results"]) if past.steps == 5)
    entry = Store(project / "results" / "_store").find("train", past.train_key)
    assert entry is not None
    promote(entry, tmp_path / "results")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("nqs.places.COMMITTED", tmp_path / "results")
    assert nqs.load(past.train_key).step == 5
    with pytest.raises(nqs.UserError, match=rf"^zzzz: no such run; there are 1, such as {past.train_key}"):
        nqs.load("zzzz")


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("{close}", r"{close}: no such run; the nearest are .*{key}"),
        ("zzzzzzzzzz", r"zzzzzzzzzz: no such run; there are \d, such as"),
        ("train/{infer}", r"no such run; the nearest are"),
        ("", r"needs a key or a path"),
        ("baseline/{baseline}", r"is a reference: it has numbers and no state"),
        ("{project}", r"is no run: an entry below results/_store/train or infer"),
    ],
)
def test_keys_that_are_none(key: str, message: str, project: Path) -> None:
    past = next(past for past in history([project / "results"]) if past.infer is not None)
    baseline = next((project / "results" / "_store" / "baseline").glob("*/status.json")).parent.name
    close = past.key[:6] + ("0" if past.key[6] != "0" else "1")
    names = {"close": close, "key": past.key, "infer": past.key, "baseline": baseline, "project": str(project)}
    with pytest.raises(nqs.UserError, match=message.replace("{close}", close).replace("{key}", past.key)):
        nqs.load(key.format(**names), results=project / "results")


def test_a_beginning_that_means_several(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = ["ab12", "ab13", "ab14", "ab15", "cd12"]
    monkeypatch.setattr("nqs.places._known", lambda folders: [(project, "train", key) for key in keys])
    with pytest.raises(
        nqs.UserError, match=r"^ab1: means train/ab12, train/ab13, train/ab14 \.\.\.; give more of the key"
    ):
        nqs.load("ab1", results=project / "results")
    with pytest.raises(nqs.UserError, match=r"^ab2: no such run; the nearest are .*ab12"):
        nqs.load("ab2", results=project / "results")


def test_a_folder_without_results(tmp_path: Path, alone: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for ask in (nqs.runs, lambda: nqs.load("d4b5ec47d3f1b245")):
        with pytest.raises(
            nqs.UserError, match=r"no runs: neither results nor a folder results above .* has any; nqs\.run"
        ):
            ask()
    with pytest.raises(nqs.UserError, match=r"results=nowhere: no runs there"):
        nqs.runs("nowhere")


def test_the_environment_names_the_results(
    project: Path, alone: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NQS_RESULTS", str(project / "results"))
    assert len(nqs.runs()) >= 3
    assert compose_run([]).results_dir == str(project / "results")
    assert compose_run(["results_dir=here"]).results_dir == "here"
    monkeypatch.delenv("NQS_RESULTS")
    assert compose_run([]).results_dir == "results"


def test_states_that_cannot_be_asked(tmp_path: Path) -> None:
    flow = ["paper=nf_nqs", "scale=smoke", "system.n_sites=6", "system.range=1", "stages=[train]", "train.steps=1"]
    run = nqs.run(*flow, "tracker=none", "progress=false", results=tmp_path)
    with pytest.raises(nqs.UserError, match=r"method=subspace_flow, whose state cannot be asked.*method=vmc can"):
        _ = run.state
    several = small(tmp_path, "train.ansatz.states=2", "train.steps=1", *CHAIN, "ansatz=log_mlp")
    with pytest.raises(nqs.UserError, match="holds 2 states in one determinant"):
        _ = several.state


def test_another_version_of_a_part_is_named(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    past = next(past for past in history([project / "results"]) if past.ansatz == "rbm")
    monkeypatch.setattr("pipeline.spin.ansatz.schema.RBMConfig.version", 99)
    with pytest.raises(nqs.UserError, match=r"cannot be asked: it is of another version of rbm; the same command"):
        nqs.load(past.train_key, results=project / "results")


@pytest.mark.parametrize(
    ("words", "settings", "message"),
    [
        (["-m"], {}, r"-m: options belong to the command line; a sweep is a loop over nqs\.run"),
        ([3], {}, r"3: overrides are text"),
        (["train.step=3"], {}, r"train\.step: no such key \(did you mean 'train\.steps'"),
        ([], {"train__stps": 3}, r"train\.stps: no such key"),
        ([], {"system": "chain_tfin"}, r"system=chain_tfin: must be one of .*did you mean 'chain_tfim'"),
        ([], {"ansatz": "it's"}, r"ansatz=it's: must be one of"),
    ],
)
def test_bad_runs_are_one_clear_line(words: list[str], settings: dict[str, str], message: str) -> None:
    with pytest.raises(nqs.UserError, match=message) as caught:
        nqs.run(*words, **settings)  # type: ignore[arg-type]
    assert caught.value._render_traceback_() == [f"error: {caught.value}"]


def test_nqs_list(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = ["--results", str(project / "results")]
    assert cli.main([*results, "ansatz=rbm", "steps=3,5", "coupling=0.5"]) == 0
    shown = capsys.readouterr()
    assert shown.err == "2 runs\n"
    assert shown.out.count("nqs method=vmc system=chain_tfim system.n_sites=4 system.coupling=0.5 train.steps=") == 2
    assert cli.main([*results, "--json", "seed=7"]) == 0
    line = json.loads(capsys.readouterr().out)
    assert (line["ansatz"], line["reference"], line["terms"][0]) == ("dense_ar", None, "-0.5 X0")
    assert cli.main([*results, "--short", "--newest", "1"]) == 0
    assert "command" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["sytem=3"], r"error: sytem: no such column; have system, .*(did you mean 'system'?)"),
        (["chain"], r"error: chain: a filter is column=value"),
        (["--newest", "-1"], r"error: --newest=-1: must be at least 0"),
    ],
)
def test_bad_filters(words: list[str], message: str, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--results", str(project / "results"), *words]) == 2
    assert capsys.readouterr().err.startswith(message.split(".*")[0])


def test_python_m_nqs(project: Path) -> None:
    """Lists, and runs what ``python -m pipeline`` runs; torch is imported for neither."""
    code = "import sys; sys.modules['torch'] = None; from nqs.__main__ import console; sys.exit(console())"
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "NQS_RESULTS": str(project / "results")}
    done = subprocess.run(
        [sys.executable, "-c", code, "lst"], capture_output=True, text=True, env=environment, check=False
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "lst: no such command (did you mean 'list'?)" in done.stderr
    for words, said in ((["list", "--short"], "chain_tfim"), (["--cfg", "system=square_xxz"], "kind: square_xxz")):
        done = subprocess.run(
            [sys.executable, "-c", code, *words], capture_output=True, text=True, env=environment, check=False
        )
        assert done.returncode == 0, done.stderr
        assert said in done.stdout


def test_figures(project: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    run = small(project / "results", *CHAIN, "stages=[train,infer,baseline]")
    axes = Figure().subplots()
    assert nqs.plot(run, axes=axes) is axes
    steps, energies = axes.lines[0].get_data()
    assert list(steps) == [0, 1, 2]
    assert axes.lines[1].get_ydata()[0] == run.reference.mean  # type: ignore[union-attr]
    relative = nqs.plot(run, axes=Figure().subplots(), relative=True)
    assert relative.get_yscale() == "log"
    exact = run.reference.mean  # type: ignore[union-attr]
    assert np.allclose(relative.lines[0].get_ydata(), (np.array(energies) - exact) / abs(exact))
    path = project / "results" / "_store" / "infer" / run.key
    by_key = nqs.plot(path, axes=Figure().subplots(), relative=True)
    assert by_key.get_xlabel() == "training step"
    assert np.allclose(by_key.lines[0].get_ydata(), relative.lines[0].get_ydata())
    with pytest.raises(nqs.UserError, match="has no reference"):
        nqs.plot(small(project / "results", *CHAIN), relative=True)
    with pytest.raises(nqs.UserError, match="needs a run"):
        nqs.plot()
    for wrong, said in (
        (5, "int: neither a run"),
        (None, "NoneType: neither a run"),
        ([run], r"one by one: nqs.plot\(\*runs"),
    ):
        with pytest.raises(nqs.UserError, match=said):
            nqs.plot(wrong)  # type: ignore[arg-type]


def test_a_report_leaves_the_figures_of_a_notebook_alone(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import matplotlib

    matplotlib.use("svg")
    monkeypatch.setitem(matplotlib.rcParams, "font.size", 17.0)
    small(project / "results", *CHAIN, "stages=[train,infer,report]")
    assert matplotlib.get_backend() == "svg"
    assert matplotlib.rcParams["font.size"] == 17
    matplotlib.use("Agg")


def test_names_of_the_package() -> None:
    assert {name for name in dir(nqs) if not name.startswith("_")} >= {"run", "load", "runs", "hamiltonian", "plot"}
    assert all(getattr(nqs, name) is not None for name in nqs.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'lod'"):
        _ = nqs.lod
