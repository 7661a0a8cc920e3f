"""The W&B mirror of whole runs: what its files hold, ids, syncing, and a sweep that W&B leads."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from pipeline.base.places import ROOT
from pipeline.base.run.tracking import Tracker
from pipeline.stages import cli, context, wandb_sync
from pipeline.stages.compose import compose_run
from pipeline.stages.context import Context
from tests.wandb_files import read_offline_run

RING = (
    *("method=vmc", "system=chain_tfim", "system.n_sites=4", "system.range=1", "ansatz=rbm", "sampler=exhaustive"),
    *("train.steps=8", "infer.units=3", "progress=false", "tracker.mode=offline"),
)


class Recorder:
    """In the place of a tracker: how it was opened."""

    opened: list[dict[str, Any]]

    def __init__(self, config: Any, folder: Path, **options: Any) -> None:
        Recorder.opened.append({**options, "mode": config.mode})

    def log(self, *_: Any) -> None:
        pass

    summarise = log

    def close(self) -> None:
        pass


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    Recorder.opened = []
    monkeypatch.setattr(context, "Tracker", Recorder)
    return Recorder.opened


@pytest.mark.thorough
def test_an_interrupted_run_is_read_back_from_its_two_pieces(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Real wandb, offline: one id and two folders, which resume each other; then W&B's own tool finds both."""
    log, stops = Tracker.log, iter([True])

    def stopping(self: Tracker, stage: str, k: int, metrics: Any) -> None:
        log(self, stage, k, metrics)
        if stage == "train" and k == 3 and next(stops, False):
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(Tracker, "log", stopping)
    words = [*RING, f"results_dir={tmp_path}"]
    assert cli.main(words) == 130
    assert cli.main(words) == 0
    paths = sorted(tmp_path.glob("_wandb/wandb/offline-run-*/*.wandb"))
    first, second = pieces = [read_offline_run(path) for path in paths]
    assert first.run_id == second.run_id
    assert all(piece.resumes for piece in pieces)
    assert [line["train/k"] for piece in pieces for line in piece.history if "train/k" in line] == list(range(8))
    assert first.config["train"]["train"]["ansatz"]["name"] == "rbm"
    assert first.config["train"]["system"]["n_sites"] == 4
    assert (first.group, first.name) == ("runs", "chain_tfim n_sites=4 range=1 coupling=1 field=1 rbm exhaustive #0")
    (entry,) = tmp_path.glob("_store/train/*/metrics.jsonl")
    lines = [json.loads(line) for line in entry.read_text().splitlines()]
    mirrored = [line["train/energy"] for piece in pieces for line in piece.history if "train/energy" in line]
    assert mirrored == [line["energy"] for line in lines]
    (path,) = tmp_path.glob("_runs/*/result.json")
    found = json.loads(path.read_text())
    energy = next(e["value"] for e in found["result"]["estimates"] if e["name"] == "energy")
    exact = next(e["value"] for e in found["reference"]["estimates"] if e["name"] == "energy")
    summary = second.summary
    assert (summary["energy"], summary["energy/reference"], summary["headline"]) == (energy, exact, "energy")
    assert summary["energy/relative_error"] == pytest.approx((energy - exact) / abs(exact))
    assert summary["energy/verdict"] == "above"
    assert "report.md" in second.files
    assert any(name.endswith(".png") for name in second.files)
    capfd.readouterr()
    assert wandb_sync.main([str(tmp_path), "--dry-run"]) == 0
    said = capfd.readouterr()
    assert "2 offline run(s)" in said.out
    assert "1 go on with an earlier one" in said.out
    assert all(path.parent.name in said.out + said.err for path in paths)


def test_every_run_of_a_sweep_has_an_id_of_its_own(tmp_path: Path, opened: list[dict[str, Any]]) -> None:
    """Two inferences and two lengths of one training among them; asked for again, the ids are the same."""
    words = [word for word in RING if not word.startswith("train.steps")]
    words += ["baseline=none", "stages=[train,infer]"]
    assert cli.main(["-m", *words, "train.steps=2,3", "infer.seed=1,2", f"results_dir={tmp_path}"]) == 0
    ids = [opening["run_id"] for opening in opened]
    assert len(ids) == len(set(ids)) == 4
    for steps, seed in itertools.product((2, 3), (1, 2)):
        Context(compose_run([*words, f"train.steps={steps}", f"infer.seed={seed}"])).tracker()
    assert [opening["run_id"] for opening in opened[4:]] == ids


def test_smoke_runs_are_mirrored_where_that_is_asked_for(opened: list[dict[str, Any]]) -> None:
    smoke = ["paper=nf_nqs", "scale=smoke"]
    for words in (smoke, [*smoke, "tracker.mode=offline"], [*smoke[:1], "scale=laptop"], [*smoke, "tracker=none"]):
        Context(compose_run(words)).tracker()
    assert [opening["mode"] for opening in opened] == ["disabled", "offline", "offline", "disabled"]


def test_group_of_ones_own(opened: list[dict[str, Any]]) -> None:
    Context(compose_run(["tracker.group=mine"])).tracker()
    assert opened[0]["group"] == "mine"


def piece(results: Path, name: str, *beside: str, age: float = 0.0) -> Path:
    folder = results / "_wandb" / "wandb" / f"offline-run-2026-{name}"
    folder.mkdir(parents=True)
    path = folder / f"run-{name}.wandb"
    for each in (path.name, *beside):
        (folder / each).touch()
    then = path.stat().st_mtime - age
    os.utime(path, (then, then))
    return path


def test_what_is_synced_and_what_is_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[list[str]] = []

    def sync(command: list[str], **_: Any) -> Any:
        given.append(command[command.index("--yes") + 1 :])
        return SimpleNamespace(returncode=len(given) - 1)

    monkeypatch.setattr(subprocess, "run", sync)
    assert wandb_sync.main([str(tmp_path)]) == 0
    assert f"nothing to sync: no offline W&B run in {tmp_path}" in capsys.readouterr().out
    piece(tmp_path, "a", "ended", "run-a.wandb.synced")
    assert wandb_sync.main([str(tmp_path)]) == 0
    assert "nothing to sync: all 1 runs" in capsys.readouterr().out
    piece(tmp_path, "b")
    assert wandb_sync.main([str(tmp_path)]) == 0
    said = capsys.readouterr()
    assert "nothing to sync yet" in said.out
    assert said.err == "1 run(s) are still at work and left for later\n"
    killed, ended = piece(tmp_path, "c", age=3600), piece(tmp_path, "d", "ended")
    assert wandb_sync.main([str(tmp_path)]) == 0
    assert given == [[str(killed.parent), str(ended.parent)]]
    assert wandb_sync.main([str(tmp_path)]) == 1
    assert "error: wandb sync ended with status 1; is this machine logged in" in capsys.readouterr().err


def test_the_example_of_a_sweep_that_wandb_leads() -> None:
    """Each of its combinations composes, as the agent would give it, and its metric is in the summary of a run."""
    sweep = yaml.safe_load((ROOT / "examples" / "wandb_sweep.yaml").read_text())
    assert sweep["metric"] == {"name": "energy", "goal": "minimize"}
    assert sweep["command"][:4] == ["${env}", "python", "-m", "pipeline"]
    assert sweep["command"][-1] == "${args_no_hyphens}"
    choices = [[f"{key}={value}" for value in p["values"]] for key, p in sweep["parameters"].items()]
    combinations = list(itertools.product(*choices))
    assert len(combinations) == 18
    runs = [compose_run([*sweep["command"][4:-1], *words]) for words in combinations[::5]]
    assert {run.tracker.mode for run in runs} == {"online"}
    assert len({Context(run).keys.train for run in runs}) == len(runs)
