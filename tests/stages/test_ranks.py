"""Several processes at one run (``torchrun``, gloo): the same samples and numbers as of one."""

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

from pipeline.base.store.entry import Entry

ROOT = Path(__file__).resolve().parents[2]
SQUARE = ("method=vmc", "system=square_tfim", "train.steps=6", "train.dtype=float64", "infer.units=2")
DIRECT = (*SQUARE, "ansatz=dense_ar", "train.ansatz.layers=2", "sampler=direct", "train.sampler.samples=33")
CHAINS = (*SQUARE, "ansatz=rbm", "sampler=metropolis", "train.sampler.samples=35", "train.sampler.chains=5")
QUIET = ("tracker=none", "progress=false", "stages=[train,infer]", "train.sampler.burn_in=20")


def command(processes: int, *overrides: str, folder: Path) -> tuple[list[str], dict[str, str]]:
    """What starts a run of as many processes, and its environment."""
    start = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes > 1 else []
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return [sys.executable, *start, "-m", "pipeline", *overrides, f"results_dir={folder}"], environment


def run(processes: int, *overrides: str, folder: Path) -> subprocess.CompletedProcess[str]:
    words, environment = command(processes, *overrides, folder=folder)
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=200)


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
    [(2, (*CHAINS, "optimizer=adam")), (3, (*DIRECT, "optimizer=sr"))],
    ids=["chains-adam", "direct-sr"],
)
def test_same_samples_and_numbers_as_one_process(processes: int, overrides: tuple[str, ...], tmp_path: Path) -> None:
    quiet = [o for o in QUIET if "burn_in" not in o or "sampler=metropolis" in overrides]
    folders = {n: tmp_path / str(n) for n in (1, processes)}
    for n, folder in folders.items():
        folder.mkdir()
        done = run(n, *overrides, "infer.keep_samples=true", *quiet, folder=folder)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("train: 6 steps") == 1, "the first process alone speaks"
    same(folders[1], folders[processes])


def test_interrupted_together_and_resumed_by_another_number_of_ranks(tmp_path: Path) -> None:
    words = (*DIRECT, "optimizer=adam", "infer.keep_samples=true", "train.steps=60", *QUIET[:3])
    one, several = tmp_path / "one", tmp_path / "several"
    for folder in (one, several):
        folder.mkdir()
    assert run(1, *words, folder=one).returncode == 0
    start, environment = command(2, *words, "checkpoint_seconds=0", folder=several)
    process = subprocess.Popen(start, cwd=several, env=environment, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 100
    while not list(several.glob("_store/train/*.partial/checkpoint-*")):
        assert time.monotonic() < deadline
        assert process.poll() is None, process.stderr and process.stderr.read()
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode != 0
    assert not list(several.glob("_store/train/*/status.json"))
    assert run(1, *words, folder=several).returncode == 0
    same(one, several)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("paper=nf_nqs", "scale=smoke", "stages=[train]"), "method=subspace_flow: works in one process, not in 2"),
        (("-m", "method=vmc", "train.seed=1,2"), "a sweep runs its jobs one by one"),
    ],
)
def test_refused_once(overrides: tuple[str, ...], message: str, tmp_path: Path) -> None:
    done = run(2, *overrides, "tracker=none", "progress=false", folder=tmp_path)
    assert done.returncode != 0
    assert done.stderr.count(f"error: {message}") == 1, done.stderr
