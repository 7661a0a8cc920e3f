"""Sweeps: outcomes are found whatever Hydra calls its folders, and every planned run is accounted for."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from pipeline.base.config.folders import quoted, search_override
from pipeline.base.config.launching import sweep_folder
from pipeline.base.config.sweep import for_hydra
from pipeline.base.errors import ConfigError, TimeLimit
from pipeline.base.run.terminal import Interrupts
from pipeline.base.store.files import write_json
from pipeline.base.store.provenance import git_revision
from pipeline.stages import cli, sweep
from pipeline.stages.single import Summary

QUIET = ["tracker=none", "progress=false"]
RING = ["system=chain_tfim", "system.n_sites=6", "system.range=1", "stages=[baseline]", *QUIET]
ENDLESS = [
    *("method=vmc", "system=open_chain_tfim", "system.n_sites=3", "optimizer=sr", "sampler=exhaustive", "ansatz=rbm"),
    *("stages=[train]", "train.steps=1000000", "time_limit_seconds=0.05", *QUIET),
]
LIMIT = r"time limit of 0\.05 s after \d+/1000000; run again to go on"


def into(path: Path) -> str:
    return f"results_dir={quoted(str(path))}"


@pytest.mark.parametrize(
    ("name", "subdir"),
    [
        (r"back\slash", "'run_${hydra.job.num}'"),
        ("it's [1], {2} \\", "${hydra.job.override_dirname}"),
    ],
)
def test_outcomes_whatever_folders_are_called(
    name: str, subdir: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Slashes of results_dir are in ``override_dirname``: the folders of jobs are nested in each other."""
    results = tmp_path / name
    assert cli.main(["-m", *RING, into(results), "system.coupling=0.5,1.0", f"hydra.sweep.subdir={subdir}"]) == 0
    out = capsys.readouterr().out
    assert "2 of 2 runs finished" in out
    assert "-7.72740661" in out
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert sorted(path.name for path in results.glob("_hydra/sweep/*/outcomes/*")) == ["0.json", "1.json"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["hydra.sweep.subdir=/elsewhere/${hydra.job.num}"],
            r"hydra\.sweep\.subdir=/elsewhere/0: must lead to .*below",
        ),
        (["hydra.sweep.subdir=../../../x"], r"hydra\.sweep\.subdir=\.\./\.\./\.\./x: must lead to"),
        (
            ["hydra.sweep.subdir=${hydra.job.nun}"],
            r"hydra\.sweep\.subdir: Interpolation key 'hydra\.job\.nun' not found",
        ),
        (["hydra.sweep.dir=/elsewhere"], r"hydra\.sweep\.dir=/elsewhere: .* \(set results_dir\)"),
        (
            ["hydra.launcher._target_=os.system"],
            r"hydra\.launcher\._target_=os\.system: is chosen by its group \(as in",
        ),
        (["+hydra.callbacks.x={_target_: os.system}"], r"hydra\.callbacks\.x=.*is chosen by its group"),
        (["hydra/launcher=joblip"], r"hydra/launcher=joblip: must be one of basic, joblib, .*did you mean 'joblib'"),
        (
            ["hydra/launcher=joblib", "hydra.launcher.n_job=2"],
            r"hydra\.launcher\.n_job: no such key \(did you mean 'hy",
        ),
        (["hydra/launcher=joblib", "hydra.launcher.n_jobs=two"], r"hydra\.launcher\.n_jobs=two: must be an integer"),
        (["hydra.job.chdir=true"], r"hydra\.job\.chdir=true: must be false"),
        (["hydra.verbose=true,false"], r"hydra\.verbose: cannot be swept"),
    ],
)
def test_what_hydra_is_told_wrongly(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["-m", *RING, into(tmp_path / "r"), "system.coupling=1.0", *words]) == 2
    error = capsys.readouterr().err
    assert re.search(rf"^error: {message}", error), error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_personal_file_calls_nothing(tmp_path: Path) -> None:
    """Neither as launcher nor as callback; its results_dir counts as if it were typed."""
    folder = tmp_path / "experiment"
    folder.mkdir()
    head = f"# @package _global_\nresults_dir: {tmp_path}/r\n"
    (folder / "launcher.yaml").write_text(f"{head}hydra: {{launcher: {{_target_: os.system}}}}\n")
    (folder / "callback.yaml").write_text(f"{head}hydra: {{callbacks: {{x: {{_target_: os.system}}}}}}\n")
    (folder / "fine.yaml").write_text(head)
    words = [search_override([str(tmp_path)]), *RING]
    with pytest.raises(ConfigError, match=r"^hydra\.launcher\._target_=os\.system: is chosen by its group"):
        sweep_folder([*words, "+experiment=launcher"], "x")
    with pytest.raises(ConfigError, match=r"^hydra\.callbacks: must be empty"):
        sweep_folder([*words, "+experiment=callback"], "x")
    assert sweep_folder([*words, "+experiment=fine"], "x") == tmp_path / "r" / "_hydra" / "sweep" / "x"


def test_time_limit_ends_a_run_and_not_the_sweep(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each run is named; joblib's own processes are in test_run, the loop that looks at the clock in test_console."""

    def over(run: Any, label: str, said: Any) -> Summary:
        raise TimeLimit(f"{label} train: time limit of 0.05 s after 7/1000000")

    monkeypatch.setattr(sweep, "run_and_report", over)
    assert cli.main(["-m", *RING, into(tmp_path), "system.coupling=0.5,1.0"]) == 1
    said = capsys.readouterr()
    assert "0 of 2 runs finished" in said.out
    lines = said.err.splitlines()
    for coupling, line in zip((0.5, 1.0), lines, strict=True):
        assert re.fullmatch(rf"UNFINISHED system\.coupling={coupling}: train: {LIMIT}", line), line


@pytest.mark.thorough
def test_time_limit_under_a_launcher_of_jobs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["-m", *ENDLESS, into(tmp_path), "train.seed=5", "hydra/launcher=submitit_local"]) == 1
    said = capsys.readouterr()
    assert "0 of 1 runs finished" in said.out
    assert re.fullmatch(rf"UNFINISHED .*: train: {LIMIT}\n", said.err), said.err


def test_a_run_that_leaves_no_word_is_unfinished(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where its process was killed for its memory: "2 of 2 finished" would be a lie."""
    monkeypatch.setattr(sweep, "write_json", lambda path, data: None if path.stem == "1" else write_json(path, data))
    assert cli.main(["-m", *RING, into(tmp_path), "system.coupling=0.5,1.0"]) == 1
    said = capsys.readouterr()
    assert "1 of 2 runs finished" in said.out
    assert said.err == "UNFINISHED system.coupling=1.0: its process ended without a word; run again to go on\n"


def test_signal_in_the_middle_of_a_sweep(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[str] = []

    def run_and_report(run: Any, label: str, said: Any) -> Summary:
        runs.append(label)
        if len(runs) == 2:
            signal.raise_signal(signal.SIGTERM)
        return Summary([], False, ["energy", "-1", "–", "–", "–", "–"])

    monkeypatch.setattr(sweep, "run_and_report", run_and_report)
    assert cli.main(["-m", *RING, into(tmp_path), "system.coupling=0.5,1.0,1.5"]) == 130
    assert len(runs) == 2
    assert capsys.readouterr().err == "stopped after 1/3 runs; run the same command to go on\n"
    (path,) = tmp_path.glob("_hydra/sweep/*/outcomes/1.json")
    assert json.loads(path.read_text())["finished"] is False


def test_no_slurm_on_this_machine(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert cli.main(["-m", *RING, into(tmp_path), "system.coupling=0.5,1.0", "hydra/launcher=submitit_slurm"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: hydra/launcher=submitit_slurm: this machine has no Slurm")
    assert error.count("\n") == 1


@pytest.mark.parametrize(("queued", "finished"), [(True, 1), (False, 2)])
def test_limit_of_a_batch_job(
    queued: bool, finished: int, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint, and then submitit's handler, which queues the job again and ends the process, or may not."""
    from submitit.core.utils import UncompletedJobError

    order: list[str] = []

    def of_submitit(number: int, _: Any) -> None:
        order.append(f"submitit {number}")
        raise SystemExit(-1) if queued else UncompletedJobError("timed-out too many times")

    def run_and_report(run: Any, label: str, said: Any) -> Summary:
        if not order:
            try:
                signal.raise_signal(signal.SIGUSR2)
            finally:
                order.append("checkpoint")
        return Summary([], False, ["energy", "-1", "–", "–", "–", "–"])

    monkeypatch.setattr(sweep, "run_and_report", run_and_report)
    monkeypatch.setattr(Interrupts, "active", False)
    monkeypatch.setenv("SUBMITIT_EXECUTOR", "slurm")
    before = signal.signal(signal.SIGUSR2, of_submitit)
    try:
        words = for_hydra(["-m", *RING, into(tmp_path), "system.coupling=0.5,1.0"][1:])
        with pytest.raises(SystemExit) if queued else nullcontext():
            sweep._launch([*words, f"hydra.sweep.dir={quoted(str(sweep._made(tmp_path / 's')))}"])
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert order == ["checkpoint", f"submitit {int(signal.SIGUSR2)}"]
    found = sweep._outcomes(tmp_path / "s")
    assert (len(found), found[0]["finished"], found[0]["ok"]) == (finished, False, False)


@pytest.mark.parametrize(("number", "status"), [(errno.EROFS, 0), (errno.ENOSPC, 4)])
def test_numbers_are_printed_where_no_report_can_be_written(
    number: int, status: int, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A finished run in an archive; a full disk is still an error, after the numbers."""

    def refuse(*_: Any) -> Path:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("pipeline.stages.report.report", refuse)
    words = [*RING, "stages=[baseline,report]", into(tmp_path)]
    assert cli.main(words) == status
    said = capsys.readouterr()
    assert "-7.72740661" in said.out
    assert f"the report is not written: [Errno {number}]" in said.err
    assert said.err.startswith("error: ") == (status == 4)


def test_sweep_over_finished_runs_in_an_archive(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its outcomes go to the folder for temporary files."""
    archive, elsewhere = tmp_path / "archive", tmp_path / "tmp"
    elsewhere.mkdir()
    assert cli.main([*RING, into(archive)]) == 0
    made = Path.mkdir

    def mkdir(self: Path, *arguments: Any, **options: Any) -> None:
        if self.is_relative_to(archive):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(self))
        made(self, *arguments, **options)

    monkeypatch.setattr(Path, "mkdir", mkdir)
    monkeypatch.setattr("tempfile.tempdir", str(elsewhere))
    assert cli.main(["-m", *RING, into(archive)]) == 0
    out = capsys.readouterr().out
    assert f"1 of 1 runs finished; outcomes in {elsewhere}" in out
    assert not (archive / "_hydra").exists()


def test_a_finished_run_in_an_old_locale_with_a_closed_stderr(tmp_path: Path) -> None:
    """After all that was computed, nothing may fail for want of a character or of a stream."""
    words = [*RING, "stages=[baseline,report]", into(tmp_path)]
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "latin-1"}
    command = ["sh", "-c", 'exec "$@" 2>&-', "sh", sys.executable, "-W", "ignore", "-m", "pipeline", *words]
    done = subprocess.run(command, capture_output=True, env=environment, check=False, cwd=Path(cli.__file__).parents[2])
    assert done.returncode == 0
    text = done.stdout.decode("latin-1")
    assert "-7.72740661" in text
    assert "–" not in text
    (page,) = tmp_path.rglob("report.md")
    assert "–" in page.read_text(encoding="utf-8")


def test_git_that_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a number comes from is worth less than the number."""

    def slow(*arguments: Any, **options: Any) -> None:
        raise subprocess.TimeoutExpired("git", 10)

    monkeypatch.setattr(subprocess, "run", slow)
    assert git_revision.__wrapped__() == "unknown"


def test_crash_log_of_a_run_is_in_its_results(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "run_and_report", lambda *_: 1 // 0)
    assert cli.main([*RING, "results_dir='o ther'"]) == 1
    assert "ZeroDivisionError" in capsys.readouterr().err
    assert [path.parent.parent.name for path in tmp_path.rglob("crash-*.txt")] == ["o ther"]
