"""Killed and interrupted processes: the same command again gives the numbers of an undisturbed run."""

from __future__ import annotations

import functools
import json
import os
import re
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from pipeline.stages import sweep_report
from pipeline.stages.compose import compose_run
from pipeline.stages.context import Context
from pipeline.stages.run import look_up
from pipeline.stages.sweep_points import sweeps_of
from tests.children import Child, run
from tests.killed_sweep import SHORT, kill_at, killed_and_finished, results_of

FLOW = (
    *("paper=nf_nqs", "scale=smoke", "system.n_sites=12", "system.range=6", "train.steps=16", "infer.units=8"),
    *("train.method.stop=never", "infer.iterations=20", "stages=[train,infer]"),
)
HMC = (
    *("system=u1_pure_gauge", "stages=[baseline]", "baseline=hmc", "baseline.hmc.chains=8"),
    *("baseline.hmc.warmup=40", "baseline.hmc.measurements=160"),
)
TWO_FLAVOURS = (
    *("system=schwinger", "system.length=4", "stages=[baseline]", "baseline=hmc", "baseline.hmc.chains=2"),
    *("baseline.hmc.warmup=10", "baseline.hmc.measurements=30", "baseline.hmc.trajectories_per_measurement=2"),
)
VMC = (
    *("method=vmc", "system=square_heisenberg", "train.method.sign_rule=stoquastic", "sampler=metropolis"),
    *("train.sampler.rule=exchange", "train.sampler.chains=20", "train.sampler.samples=200", "train.steps=24"),
    "train.sampler.burn_in=6",
    "train.phases=[{steps:8,samples:100},{steps:8,lr:0.01,lr_end:0.001},{steps:8,sgd:{lr:0.01,momentum:0.9}}]",
    *("infer.units=10", "infer.samples=200", "stages=[train,infer]"),
)
JOINT = ("paper=pseudofermion/joint", "scale=smoke", "train.steps=6", "stages=[train,infer]", "infer.spectra=0")
COMMON = ("tracker=none", "progress=false", "checkpoint_seconds=0.05")


def words(overrides: tuple[str, ...], results: Path) -> list[str]:
    return [*overrides, *COMMON, f"results_dir={results}"]


def lines_written(results: Path) -> int:
    return sum(len(p.read_bytes().splitlines()) for p in results.glob("_store/*/*/metrics.jsonl"))


def start_and_wait_for(overrides: tuple[str, ...], results: Path, lines: int) -> Child:
    process = Child("pipeline", words(overrides, results))
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        committed = any((p / "progress.json").exists() for p in results.glob("_store/*/*.partial"))
        if committed and lines_written(results) >= lines:
            break
        time.sleep(0.005)
    return process


def result_of(results: Path, stage: str) -> dict[str, object]:
    (path,) = results.glob(f"_store/{stage}/*/result.json")
    data: dict[str, object] = json.loads(path.read_text())
    return data


@functools.cache
def undisturbed(overrides: tuple[str, ...], stage: str) -> Any:
    """Result of a whole run, in one go."""
    with tempfile.TemporaryDirectory() as folder:
        done = run("pipeline", *words(overrides, Path(folder)))
        assert done.returncode == 0, done.stderr
        return result_of(Path(folder), stage)


@pytest.mark.parametrize(
    ("overrides", "stage", "kills"),
    [
        (FLOW, "infer", (5, 19)),
        (HMC, "baseline", (20, 120)),
        pytest.param(TWO_FLAVOURS, "baseline", (5, 25), marks=pytest.mark.thorough),
        (VMC, "infer", (10, 26)),
    ],
    ids=["flow", "hmc", "two-flavours", "vmc"],
)
def test_kill_9_at_any_moment_gives_identical_numbers(
    tmp_path: Path, overrides: tuple[str, ...], stage: str, kills: tuple[int, ...]
) -> None:
    for lines in kills:
        process = start_and_wait_for(overrides, tmp_path, lines)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert list(tmp_path.glob("_store/*/*.partial")), "killed too late to test anything"
    done = run("pipeline", *words(overrides, tmp_path))
    assert done.returncode == 0, done.stderr
    assert result_of(tmp_path, stage) == undisturbed(overrides, stage)


@pytest.mark.parametrize(
    ("units", "configurations", "kills"),
    [(12, 64, (3, 10)), (50, 2000, (3, 20, 45))],
    ids=["few", "a-hundred-thousand"],
)
@pytest.mark.thorough
def test_kill_9_leaves_training_and_ensemble_of_a_joint_flow_as_they_would_be(
    tmp_path: Path, units: int, configurations: int, kills: tuple[int, ...]
) -> None:
    overrides = (*JOINT, f"infer.units={units}", f"infer.configurations={configurations}")
    for lines in kills:
        process = start_and_wait_for(overrides, tmp_path / "killed", lines)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert list(tmp_path.glob("killed/_store/*/*.partial")), "killed too late to test anything"
    for folder in ("killed", "straight"):
        done = run("pipeline", *words(overrides, tmp_path / folder))
        assert done.returncode == 0, done.stderr
    assert result_of(tmp_path / "killed", "infer") == result_of(tmp_path / "straight", "infer")
    killed, straight = (_ensemble(overrides, tmp_path / folder) for folder in ("killed", "straight"))
    assert killed["log_weight"].shape == (configurations, units)
    assert {name: array.tobytes() for name, array in killed.items()} == {
        name: array.tobytes() for name, array in straight.items()
    }


def _ensemble(overrides: tuple[str, ...], results: Path) -> Any:
    context = Context(compose_run(words(overrides, results)), notify=lambda _: None)
    inferred = look_up(context).inferred
    assert inferred is not None
    return inferred.ensemble()


@pytest.mark.parametrize(
    ("number", "group"),
    [
        (signal.SIGINT, False),
        pytest.param(signal.SIGTERM, False, marks=pytest.mark.thorough),
        pytest.param(signal.SIGINT, True, marks=pytest.mark.thorough),
    ],
)
def test_interrupted_artefact_checkpoints_its_workers(tmp_path: Path, number: signal.Signals, group: bool) -> None:
    """The parent alone, as a batch system does, or the whole group, as Ctrl-C in a terminal does."""
    options = ["train.steps=4000", "train.method.stop=never", "tracker=none", f"results_dir={tmp_path}"]
    only = ("--only", "N30-L15/nqs+nf", "--only", "N30-L15/reference")
    process = Child("reproduce", ["table1", "--scale", "smoke", *only, *options], own_group=True)
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline and lines_written(tmp_path) < 5:
        time.sleep(0.02)
    if group:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    done = process.wait(60)
    assert done.returncode == 130, done.stderr
    assert "run the same command to go on" in done.stderr.strip().splitlines()[-1]
    assert "Traceback" not in done.stderr
    (partial,) = tmp_path.glob("_store/train/*.partial")
    assert json.loads((partial / "progress.json").read_text())["current"]["train"]["done"] > 0


def test_sigint_checkpoints_and_exits_tidily(tmp_path: Path) -> None:
    process = start_and_wait_for(FLOW, tmp_path, 5)
    process.send_signal(signal.SIGINT)
    done = process.wait(60)
    assert done.returncode == 130
    assert done.stderr.strip().splitlines()[-1].endswith("run again to go on")
    assert "Traceback" not in done.stderr
    (partial,) = tmp_path.glob("_store/*/*.partial")
    trained = json.loads((partial / "progress.json").read_text())["current"]["train"]["done"]
    assert 5 <= trained < 16
    done = run("pipeline", *words(FLOW, tmp_path))
    assert done.returncode == 0, done.stderr
    assert result_of(tmp_path, "infer") == undisturbed(FLOW, "infer")


@pytest.mark.thorough
def test_a_sweep_killed_again_and_again_is_finished_and_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Three runs and two kills; twelve and twenty by ``python -m tests.killed_sweep``. A report works meanwhile."""
    words = (*SHORT, "system.n_sites=4", "train.steps=12", "train.seed=0,1,2")
    killed, alone = tmp_path / "killed", tmp_path / "alone"
    assert kill_at(words, killed, 22)
    (sweep,) = sweeps_of(killed)
    assert sweep_report.main([str(sweep)]) == 0
    text = Path(capsys.readouterr().out.removeprefix("report: ").strip()).read_text()
    assert re.search(r"[0-2] of 3 runs are finished", text)
    assert re.search(r"train, infer, baseline missing|infer, baseline missing|\d+ of 12 steps done", text)
    killed_and_finished(words, killed, 48, 1)
    assert run("pipeline", "-m", *words, f"results_dir={alone}").returncode == 0
    assert results_of(killed) == results_of(alone)
    assert len(results_of(alone)) == 3
    assert not list(killed.glob("_store/*/*.partial"))
