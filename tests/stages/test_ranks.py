"""Several processes at one run (as ``torchrun`` starts them, and ``torchrun`` itself; gloo): the numbers of one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from pipeline.base.errors import RankLost, UserError
from pipeline.base.store.entry import Entry
from pipeline.stages import cli
from tests.children import Child, Finished, start_ranks

ROOT = Path(__file__).resolve().parents[2]
SQUARE = (
    "method=vmc",
    "system=square_tfim",
    "train.steps=6",
    "train.dtype=float64",
    "train.method.local_energy_clip=1",
    "infer.units=2",
)
DIRECT = (*SQUARE, "ansatz=dense_ar", "train.ansatz.layers=2", "sampler=direct", "train.sampler.samples=33")
CHAINS = (*SQUARE, "ansatz=rbm", "sampler=metropolis", "train.sampler.samples=35", "train.sampler.chains=5")
LEARNING = "train.phases=[{steps:6,likelihood:{beta_per_length:1,times:4,warmup:4,updates:4,symmetries:[spin_flip]}}]"
QUIET = ("tracker=none", "progress=false", "stages=[train,infer]", "train.sampler.burn_in=2")


def start(processes: int, *overrides: str, folder: Path) -> list[Child]:
    """As many processes of one run."""
    return start_ranks(processes, "pipeline", [*overrides, f"results_dir={folder}"])


def run(processes: int, *overrides: str, folder: Path) -> Finished:
    """The first process's end; all end alike."""
    ended = [process.wait(200) for process in start(processes, *overrides, folder=folder)]
    assert len({done.returncode for done in ended}) == 1, [done.stderr for done in ended]
    assert not any(done.stdout + done.stderr for done in ended[1:]), "the first process alone speaks"
    return ended[0]


def entry(folder: Path, stage: str) -> Entry:
    (path,) = [path for path in (folder / "_store" / stage).iterdir() if (path / "status.json").exists()]
    return Entry(path, json.loads((path / "status.json").read_text()))


def same(one: Path, several: Path) -> None:
    """The same keys, the same samples to the bit, the same numbers but for the order of sums."""
    for stage in ("train", "infer"):
        a, b = entry(one, stage), entry(several, stage)
        assert a.name == b.name
        for (name, (units, values)), (other, found) in zip(a.series().items(), b.series().items(), strict=True):
            assert (name, units) == (other, found[0])
            np.testing.assert_allclose(found[1], values, rtol=1e-9, atol=1e-11, err_msg=name)
    for x, y in zip(entry(one, "infer").records(), entry(several, "infer").records(), strict=True):
        assert ("samples" in x) == ("samples" in y)
        if "samples" in x:
            np.testing.assert_array_equal(y["samples"], x["samples"])


@pytest.mark.parametrize(
    ("processes", "overrides"),
    [
        (2, (*CHAINS, "optimizer=adam")),
        (3, (*DIRECT, "optimizer=sr")),
        (2, (*DIRECT, "optimizer=adam", LEARNING)),
    ],
    ids=["chains-adam", "direct-sr", "likelihood"],
)
def test_same_samples_and_numbers_as_one_process(processes: int, overrides: tuple[str, ...], tmp_path: Path) -> None:
    quiet = [o for o in QUIET if "burn_in" not in o or "sampler=metropolis" in overrides]
    folders = {n: tmp_path / str(n) for n in (1, processes)}
    for n, folder in folders.items():
        folder.mkdir()
        done = run(n, *overrides, "infer.keep_samples=true", *quiet, folder=folder)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("train: 6 steps") == 1
    same(folders[1], folders[processes])


def test_killed_and_interrupted_and_resumed_by_another_number_of_ranks(tmp_path: Path) -> None:
    """Three starts of one training with layerwise reconfiguration, by two, two and one processes."""
    layerwise = ("optimizer=sr", "train.optimizer.derivatives=layerwise", "train.optimizer.shift=0.01")
    words = (*DIRECT, *layerwise, "infer.keep_samples=true", "train.steps=60", *QUIET[:3])
    one, several = tmp_path / "one", tmp_path / "several"
    for folder in (one, several):
        folder.mkdir()
    assert run(1, *words, folder=one).returncode == 0
    first, other = start_until_checkpoint(2, *words, folder=several)
    other.send_signal(signal.SIGKILL)
    ended = first.wait(60)
    assert ended.returncode == RankLost.exit_code
    assert "error: another process of this run has ended; run the same command to go on" in ended.stderr
    assert other.wait(60).returncode == -signal.SIGKILL
    processes = start_until_checkpoint(2, *words, folder=several)
    for process in processes:
        process.send_signal(signal.SIGTERM)
    assert [process.wait(60).returncode for process in processes] == [130, 0], (
        "the first rank tells the other that all is over"
    )
    assert not list(several.glob("_store/train/*/status.json"))
    assert run(1, *words, folder=several).returncode == 0
    same(one, several)


def start_until_checkpoint(processes: int, *words: str, folder: Path) -> list[Child]:
    """Processes that have written a checkpoint, another one than was there."""
    before = set(folder.glob("_store/train/*.partial/checkpoint-*"))
    started = start(processes, *words, "checkpoint_seconds=0", folder=folder)
    deadline = time.monotonic() + 100
    while not set(folder.glob("_store/train/*.partial/checkpoint-*")) - before:
        assert time.monotonic() < deadline
        assert [process.poll() for process in started] == [None] * processes, started[0].wait().stderr
        time.sleep(0.01)
    return started


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("paper=nf_nqs", "scale=smoke", "stages=[train]"), "method=subspace_flow: works in one process, not in 2"),
        (("-m", "method=vmc", "train.seed=1,2"), "a sweep runs its jobs one by one"),
    ],
)
def test_refused_once(overrides: tuple[str, ...], message: str, tmp_path: Path) -> None:
    done = run(2, *overrides, "tracker=none", "progress=false", folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count(f"error: {message}") == 1, done.stderr


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError("no room"), "rank 1: error: the memory ran out"),
        (OSError(28, "no space left"), "rank 1: error: [Errno 28] no space left"),
        (UserError("a bad word"), ""),
        (RankLost("the first process has ended"), ""),
    ],
)
def test_what_happens_to_one_process_alone_is_said_by_it(
    error: Exception, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What all of them meet is said by the first."""

    def fails(run: object) -> None:
        raise error

    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr(cli, "follow", fails)
    assert cli.main([*DIRECT, "optimizer=sr", "device=cpu", f"results_dir={tmp_path}"]) != 0
    written = capsys.readouterr().err
    assert written.startswith(said)
    assert written.count("\n") == bool(said)


def test_torchrun(tmp_path: Path) -> None:
    """The launcher itself, from nothing: its environment is the one that the tests above make up."""
    words = (*DIRECT, "optimizer=adam", "train.steps=2", "infer.keep_samples=true", *QUIET[:3])
    one, several = tmp_path / "one", tmp_path / "several"
    for folder in (one, several):
        folder.mkdir()
    assert run(1, *words, folder=one).returncode == 0
    launcher = ["torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "pipeline"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", *launcher, *words, f"results_dir={several}"]
    done = subprocess.run(command, cwd=several, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("train: 2 steps") == 1, "the first process alone speaks"
    same(one, several)
