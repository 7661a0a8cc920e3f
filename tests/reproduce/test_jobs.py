"""Cells as batch jobs: what is asked for, submitit's own jobs on this machine, and a Slurm of four shell scripts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import submitit

from pipeline.base.config.nodes import SCALES
from pipeline.base.errors import ConfigError, UserError
from pipeline.base.run import console
from reproduce import cli, jobs
from reproduce.artefact import load_artefact
from reproduce.cell_job import STOPPED, CellJob
from reproduce.launchers import JobOptions, by_scale, command, resources
from reproduce.plan import Task, make_tasks

CELL = "N30-L1/reference"
QUIET = ("tracker=none", "progress=false")
HMC = (
    *("system=u1_pure_gauge", "stages=[baseline]", "baseline=hmc", "baseline.hmc.chains=8", "checkpoint_seconds=0.05"),
    *("baseline.hmc.warmup=20", "baseline.hmc.measurements=120"),
)
SCRIPTS = {
    "sbatch": 'n=$(($(cat "$FAKE/last" 2>/dev/null || echo 100) + 1)); echo $n > "$FAKE/last"; cp "$1" "$FAKE/$n.sh"\n'
    'SLURM_JOB_ID=$n bash "$FAKE/$n.sh" > /dev/null 2>&1 & echo $! > "$FAKE/$n.pid"; echo "Submitted batch job $n"\n',
    "srun": "while :; do case $1 in --output) out=$2; shift 2;; --error) err=$2; shift 2;; --*) shift;; *) break;; "
    'esac; done\nname() { echo "$1" | sed "s/%j/$SLURM_JOB_ID/g; s/%t/0/g"; }; mkdir -p "$(dirname "$(name "$out")")"\n'
    'exec "$@" >> "$(name "$out")" 2>> "$(name "$err")"\n',
    "sacct": 'echo "JobID|State|NodeList"; for word; do [ -f "$FAKE/$word.pid" ] || continue\n'
    'if kill -0 "$(cat "$FAKE/$word.pid")" 2>/dev/null; then echo "$word|RUNNING|a"; else echo "$word|FAILED|a"; fi\n'
    "done\n",
}


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Commands of a cluster that runs every job at once, here; where they keep scripts and process ids."""
    folder = tmp_path / "slurm"
    folder.mkdir()
    for name, text in SCRIPTS.items():
        (folder / name).write_text("#!/bin/bash\n" + text)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("FAKE", str(folder))
    return folder


def tasks_of(artefact: str, scale: str, only: str) -> list[Task]:
    return make_tasks(load_artefact(artefact), scale, (), (only,))


def script_of(asked: dict[str, Any], folder: Path) -> str:
    """What submitit would give to sbatch."""
    executor: Any = submitit.AutoExecutor(folder / "%j", cluster="slurm")
    executor.update_parameters(**asked)
    text: str = executor._executor._make_submission_file_text("COMMAND", "0")
    return text


def test_a_job_of_each_scale(slurm: Path, tmp_path: Path) -> None:
    assert all(set(by_scale()[name]) == set(SCALES) for name in ("minutes", "gpus", "memory_gb"))
    texts = {
        scale: script_of(resources(tasks_of("nf_nqs/table1", scale, "N30-L1/mps"), scale, JobOptions("slurm")), slurm)
        for scale in ("laptop", "gpu")
    }
    for scale, minutes in (("laptop", 30), ("gpu", 60)):
        assert f"#SBATCH --time={minutes}\n" in texts[scale]
        assert "#SBATCH --signal=USR2@120\n" in texts[scale]
        assert "#SBATCH --job-name=nf_nqs.table1.N30-L1.mps\n" in texts[scale]
        assert "#SBATCH --ntasks-per-node=1\n" in texts[scale]
    assert "#SBATCH --gpus-per-node=1\n" in texts["gpu"]
    assert "gpus" not in texts["laptop"]
    assert by_scale()["minutes"]["long"] == 120


def test_ranks_have_a_core_each_and_are_started_by_torchrun(slurm: Path) -> None:
    (task,) = tasks_of("vit_sr/fig3", "smoke", "4-ranks/vit")
    text = script_of(resources([task], "smoke", JobOptions("slurm", {"partition": "p"}), ["device=cuda"]), slurm)
    for directive in ("cpus-per-task=4", "gpus-per-node=4", "mem=16GB", "exclusive", "partition=p", "nodes=1"):
        assert f"#SBATCH --{directive}\n" in text
    words = command(task, ["device=cuda"])
    assert words[:2] == [sys.executable, "-m"]
    assert words[2:6] == ["torch.distributed.run", "--standalone", "--nproc-per-node=4", "-m"]
    assert words[6] == "pipeline"
    assert words[-2:] == ["device=cuda", "tracker.group='vit_sr/fig3/4-ranks/vit'"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--launcher", "slrum"], r"--launcher=slrum: must be one of pool, .* \(did you mean 'slurm'\?\)"),
        (["--partition", "gpu"], r"partition: is for jobs of a cluster; add --launcher slurm"),
        (["--launcher", "submitit_local", "--job", "qos=x"], r"qos: is for jobs of a cluster"),
        (["--launcher", "slurm", "--job", "minute=3"], r"--job=minute: has minutes, .*did you mean 'minutes'"),
        (["--launcher", "slurm", "--job", "minutes=soon"], r"--job=minutes=soon: must be a whole number, at least 1"),
        (["--launcher", "slurm", "--job", "minutes=0"], r"--job=minutes=0: must be a whole number, at least 1"),
        (["--launcher", "slurm", "--job", "qos"], r"--job=qos: needs a value \(as in --job qos=\.\.\.\)"),
    ],
)
def test_bad_options(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["table1", "--scale", "smoke", *words]) == 2
    with pytest.raises((ConfigError, UserError), match=f"^{message}"):
        cli.job_options(cli.parser().parse_args(["table1", *words]))
    assert capsys.readouterr().err.count("\n") == 1


def test_no_slurm_here_and_timings_elsewhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], slurm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A login node would look for timings of its own hardware, and never find those of another."""
    words = ["--scale", "smoke", "--launcher", "slurm", *QUIET, f"results_dir={tmp_path / 'r'}"]
    assert cli.main(["vit_sr/fig3", *words]) == 2
    assert "1-rank/vit is a timing, kept by the hardware" in capsys.readouterr().err
    monkeypatch.setenv("PATH", "")
    assert cli.main(["table1", "--only", CELL, *words]) == 2
    assert "this machine has no sbatch and no srun: start it on a login node" in capsys.readouterr().err


def test_a_cell_as_a_job_of_a_cluster(slurm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From submission to the report; then the same command has nothing to do."""
    words = ["table1", "--scale", "smoke", "--only", CELL, *QUIET, f"results_dir={tmp_path / 'r'}"]
    more = ["--partition", "long", "--account", "phys", "--job", "minutes=7", "--job", "setup=module() { :; }"]
    assert cli.main([*words, "--launcher", "slurm", *more]) == 0
    said = capsys.readouterr().err
    assert f"{CELL}: job 101, log " in said
    assert f"[1/1] {CELL} done" in said
    script = (slurm / "101.sh").read_text()
    for directive in ("time=7", "partition=long", "account=phys", "cpus-per-task=1", "mem=4GB", "open-mode=append"):
        assert f"#SBATCH --{directive}\n" in script
    assert "\nmodule() { :; }\n" in script
    (log,) = (tmp_path / "r" / "_jobs" / "nf_nqs" / "table1" / "smoke").glob("101/*.out")
    assert "$ -m pipeline paper=nf_nqs" in log.read_text()
    assert json.loads((log.parents[1] / jobs.SUBMITTED).read_text()) == {}
    assert cli.main([*words, "--launcher", "slurm"]) == 0
    assert "nothing to do" in capsys.readouterr().err


def test_a_job_of_an_earlier_command_is_waited_for(
    slurm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends without a result, as one that was killed for its memory does: a failed line that names its log."""
    monkeypatch.setattr(jobs, "ASK_SECONDS", 0.1)
    monkeypatch.setattr(submitit.SlurmJob, "_results_timeout_s", 0.1)
    folder = tmp_path / "r" / "_jobs" / "nf_nqs" / "table1" / "smoke"
    (folder / "77").mkdir(parents=True)
    (folder / jobs.SUBMITTED).write_text(json.dumps({CELL: "77"}))
    with subprocess.Popen(["sleep", "60"]) as process:
        (slurm / "77.pid").write_text(str(process.pid))

        def heard(text: str) -> None:
            console.say(text)
            if "of an earlier command is at work" in text:
                process.kill()
                process.wait()

        monkeypatch.setattr(cli, "say", heard)
        words = ["table1", "--scale", "smoke", "--only", CELL, *QUIET, f"results_dir={tmp_path / 'r'}"]
        assert cli.main([*words, "--launcher", "slurm"]) in (1, 2)
    said = capsys.readouterr().err
    assert "job 77: failed, log " in said
    assert "run the same command to go on" in said
    assert not (slurm / "101.sh").exists()


@pytest.mark.parametrize(
    ("state", "age", "alive"),
    [
        ("PREEMPTED", 1e6, True),
        ("CANCELLED by 1000", 0.0, False),
        ("UNKNOWN", 10.0, True),
        ("UNKNOWN", 700.0, False),
        ("UNKNOWN", None, True),
    ],
)
def test_jobs_that_are_not_listed_yet_are_not_submitted_twice(
    state: str, age: float | None, alive: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job: Any = submitit.SlurmJob(tmp_path / "77", "77")
    monkeypatch.setattr(job.watcher, "get_state", lambda *_, **__: state)
    if age is not None:
        path = job.paths.submitted_pickle
        path.parent.mkdir(parents=True)
        path.touch()
        os.utime(path, (time.time() - age,) * 2)
    assert jobs._alive(job) == alive


@pytest.mark.parametrize("text", ["[]", "3", "{", '{"a": 7, "b": ""}'])
def test_a_damaged_list_of_jobs_is_none(text: str, tmp_path: Path) -> None:
    (tmp_path / jobs.SUBMITTED).write_text(text)
    assert jobs._submitted(tmp_path / jobs.SUBMITTED) == {}


def local_job(folder: Path, runs: dict[str, list[str]]) -> Any:
    executor = submitit.AutoExecutor(folder / "%j", cluster="local", local_max_num_timeout=5)
    executor.update_parameters(timeout_min=2)
    with jobs._found_by_jobs():
        return executor.submit(CellJob(runs))


def wait_for(path: Path, lines: int = 0) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = [p for p in path.parent.glob(path.name) if len(p.read_bytes().splitlines()) >= lines]
        if found:
            return
        time.sleep(0.01)
    raise TimeoutError(path)


def test_a_job_that_is_stopped_stops_its_run_and_begins_no_other(tmp_path: Path) -> None:
    trap = f"trap 'exit 130' TERM; touch {tmp_path}/started; while :; do sleep 0.02; done"
    job = local_job(tmp_path, {"a": ["sh", "-c", "echo 'error: no field' >&2; exit 2"], "b": ["sh", "-c", trap]})
    wait_for(tmp_path / "started")
    os.kill(int(job.job_id), signal.SIGTERM)
    assert job.result() == {"a": "no field", "b": STOPPED}


@pytest.mark.thorough
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for the job's process in /proc")
def test_a_job_at_its_limit_is_queued_again_and_goes_on(tmp_path: Path) -> None:
    """The signal that Slurm sends before the limit: a checkpoint, the queue, and every unit is computed once."""
    results = tmp_path / "r"
    job = local_job(tmp_path, {"hmc": [sys.executable, "-m", "pipeline", *HMC, *QUIET, f"results_dir={results}"]})
    partial = next_partial(results)
    wait_for(partial / "progress.json")
    wait_for(partial / "metrics.jsonl", 30)
    (pid,) = Path(f"/proc/{job.job_id}/task/{job.job_id}/children").read_text().split()
    os.kill(int(pid), signal.SIGUSR2)
    assert job.result() == {}
    log = job.paths.stdout.read_text() + job.paths.stderr.read_text()
    assert "Requeued job" in log
    assert log.count("$ -m pipeline") == 2
    assert "stopped after" in log
    (metrics,) = results.glob("_store/baseline/*/metrics.jsonl")
    units = [(line["loop"], line["k"]) for line in map(json.loads, metrics.read_text().splitlines())]
    assert len(units) == len(set(units)) == 140
    assert (metrics.parent / "status.json").exists()


def next_partial(results: Path) -> Path:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for path in results.glob("_store/baseline/*.partial"):
            return path
        time.sleep(0.01)
    raise TimeoutError(results)
