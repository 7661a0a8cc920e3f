"""What disks, clocks, services and the kernel do to a run: nothing finished is lost, the numbers stay the same."""

from __future__ import annotations

import errno
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.base.errors import Interrupted
from pipeline.base.store.store import Store
from pipeline.stages import cli
from pipeline.stages.compose import compose_run
from pipeline.stages.context import Context
from pipeline.stages.run import execute
from reproduce.cli import main as reproduce
from tests import children
from tests.children import Finished

SMALL = [
    *("paper=nf_nqs", "scale=smoke", "system.n_sites=8", "system.range=4", "progress=false", "stages=[train,infer]"),
    *("train.steps=6", "train.snapshots=[2]", "train.method.stop=never", "infer.iterations=20", "checkpoint_seconds=0"),
]
UNTRACKED = [*SMALL, "tracker=none"]


def run(results: Path, *more: str, said: list[str] | None = None) -> Any:
    """Numbers of a run, and of its metrics without the times."""
    config = compose_run([*UNTRACKED, *more, f"results_dir={results}"])
    output = execute(Context(config, notify=(said if said is not None else []).append))
    assert output.result is not None
    assert output.trained is not None
    metrics = [{**line, "seconds": 0} for line in output.trained.entry.metrics()]
    return output.result.to_json(), output.training_curve, metrics


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """An undisturbed run: its store, to be copied, and its numbers."""
    results = tmp_path_factory.mktemp("whole")
    return results, run(results)


@pytest.fixture(scope="module")
def partial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training that was stopped after its snapshot, with a checkpoint behind it."""
    results = tmp_path_factory.mktemp("partial")
    with pytest.MonkeyPatch.context() as patch:
        stop_after(patch, 4)
        with pytest.raises(KeyboardInterrupt):
            run(results)
    return results


def stop_after(patch: pytest.MonkeyPatch, checkpoints: int) -> None:
    from pipeline.base.run.loop import _Run

    count, original = itertools.count(1), _Run.checkpoint

    def checkpoint(self: Any) -> None:
        original(self)
        if next(count) == checkpoints:
            raise KeyboardInterrupt

    patch.setattr(_Run, "checkpoint", checkpoint)


def damage(victim: Path, how: str, dice: random.Random) -> None:
    content = bytearray(victim.read_bytes())
    if how == "flip":
        content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
    else:
        content = content[: dice.randrange(len(content))]
    victim.write_bytes(content)


@pytest.mark.parametrize("how", ["flip", "truncate"])
@pytest.mark.parametrize("which", ["whole", "partial"])
def test_random_damage_costs_time_and_no_number(
    tmp_path: Path, request: pytest.FixtureRequest, whole: tuple[Path, Any], which: str, how: str
) -> None:
    """Every file of a finished store and of an interrupted training, each at a random place."""
    source: Path = whole[0] if which == "whole" else request.getfixturevalue("partial")
    dice = random.Random(f"{which} {how}")
    files = sorted(p.relative_to(source) for p in source.glob("_store/*/*/*") if p.stat().st_size)
    assert len(files) >= 4
    for number, name in enumerate(files):
        results = tmp_path / str(number)
        shutil.copytree(source, results)
        damage(results / name, how, dice)
        assert run(results) == whole[1], name


def test_damaged_progress_of_every_bit_is_noticed_or_harmless(tmp_path: Path, partial: Path) -> None:
    """The commit point says how far a run is; one flipped digit in it would skip or repeat a step."""
    from pipeline.base.store.commit import read_progress

    (source,) = partial.glob("_store/train/*.partial/progress.json")
    truth = json.loads(source.read_text())
    truth.pop("checksum")
    dice = random.Random(5)
    for number in range(100):
        folder = tmp_path / str(number) / source.parent.name
        shutil.copytree(source.parent, folder)
        damage(folder / "progress.json", "flip", dice)
        found = read_progress(folder, lambda _: None)
        assert found == truth or (found["state"] is None and not list(folder.iterdir()))


def full_disk(patch: pytest.MonkeyPatch, after: int) -> None:
    """The n-th atomic write and all later ones meet a full disk."""
    count, original = itertools.count(), os.fsync

    def fsync(number: int) -> None:
        if next(count) >= after:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        original(number)

    patch.setattr(os, "fsync", fsync)


def test_disk_that_is_full_at_any_write(tmp_path: Path, whole: tuple[Path, Any]) -> None:
    """Once there is room again, the same command goes on; what was finished is not computed again."""
    for after in (0, 1, 4, 9, 14, 19, 24, 29):
        results = tmp_path / str(after)
        with pytest.MonkeyPatch.context() as patch:
            full_disk(patch, after)
            with pytest.raises(OSError, match="No space left"):
                run(results)
        finished = {p.parent: p.stat().st_mtime_ns for p in results.glob("_store/*/*/status.json")}
        assert not list(results.rglob("*.tmp"))
        said: list[str] = []
        assert run(results, said=said) == whole[1]
        assert said == []
        for entry, written in finished.items():
            assert entry.name.endswith(".partial") or (entry / "status.json").stat().st_mtime_ns == written
        if len(finished) >= 2:
            return


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("needs root and the right to mount")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def start(results: Path, *more: str) -> Finished:
    return children.run("pipeline", *UNTRACKED, *more, f"results_dir={results}")


def test_real_full_disk(small_disk: Path, whole: tuple[Path, Any]) -> None:
    filler = small_disk / "filler"
    filler.write_bytes(bytes(900_000))
    done = start(small_disk / "results")
    assert done.returncode == 4, done.stderr
    assert "No space left" in done.stderr
    assert "Traceback" not in done.stderr
    filler.unlink()
    subprocess.run(["mount", "-o", "remount,size=50m", str(small_disk)], check=True)
    assert run(small_disk / "results") == whole[1]


def test_read_only_results_show_what_is_finished(
    tmp_path: Path, whole: tuple[Path, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """A mounted archive can be read; only what is not in it needs to be written."""
    results = tmp_path / "disk"
    results.mkdir()
    shutil.copytree(whole[0], results, dirs_exist_ok=True)
    bind = ["mount", "--bind", str(results), str(results)]
    if shutil.which("mount") is None or os.geteuid() != 0 or subprocess.run(bind, capture_output=True).returncode:
        pytest.skip("needs root and the right to mount")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(results)], check=True)
        assert run(results) == whole[1]
        assert cli.main([*UNTRACKED, "stages=[train,infer,report]", f"results_dir={results}"]) == 0
        said = capsys.readouterr()
        assert "subspace_floor" in said.out
        assert said.err.startswith("the report is not written: [Errno 30] Read-only file system")
        done = start(results, "train.seed=1")
        assert done.returncode == 4, done.stderr
        assert "Read-only file system" in done.stderr
        assert "Traceback" not in done.stderr
    finally:
        subprocess.run(["umount", str(results)], check=True)


def test_locks_and_owners_of_dead_processes_do_not_block(tmp_path: Path, whole: tuple[Path, Any]) -> None:
    """Files that a killed process, perhaps of another machine, left behind; the lock itself died with it."""
    results = tmp_path / "results"
    shutil.copytree(whole[0], results)
    for entry in list(results.glob("_store/*/*")):
        if entry.is_dir():
            shutil.rmtree(entry)
            entry.with_name(f"{entry.name}.lock").write_text("999999\n")
            entry.with_name(f"{entry.name}.owner").write_text("process 999999")
            entry.with_name(f"{entry.name}.partial").mkdir()
    said: list[str] = []
    assert run(results, said=said) == whole[1]
    assert said == []


@pytest.mark.parametrize("jump", [-1e9, 1e9])
def test_clock_that_jumps(
    tmp_path: Path, whole: tuple[Path, Any], jump: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forwards is time spent (a suspended laptop); backwards may cost a checkpoint; neither changes a number."""
    for name in ("time", "monotonic"):
        clock: Callable[[], float] = getattr(time, name)
        calls = itertools.count()
        jumps = lambda clock=clock, calls=calls: clock() + (jump if next(calls) >= 3 else 0)  # noqa: E731
        monkeypatch.setattr(time, name, jumps)
    assert run(tmp_path / "a", "checkpoint_seconds=30") == whole[1]
    try:
        limited = run(tmp_path / "b", "time_limit_seconds=60")
    except Interrupted:
        limited = run(tmp_path / "b")
    assert limited == whole[1]
    assert Store(tmp_path / "a" / "_store").find("train", "none") is None


def below(pid: int) -> list[int]:
    """Children of a process, and theirs; none of one that is gone by now."""
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [found for word in text.split() for found in (int(word), *below(int(word)))]


def command_of(pid: int) -> str:
    """What a process was started with; nothing of one that is gone by now."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for the service in /proc")
def test_service_of_wandb_killed_in_the_middle(
    tmp_path: Path, whole: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.base.run.tracking import Tracker

    killed: list[int] = []
    original = Tracker.log

    def log(self: Tracker, stage: str, k: int, metrics: Any) -> None:
        original(self, stage, k, metrics)
        if k == 2 and not killed:
            deadline = time.monotonic() + 20
            services: list[int] = []
            while not services and time.monotonic() < deadline:
                time.sleep(0.05)
                services = [p for p in below(os.getpid()) if "wandb" in command_of(p)]
            for pid in services:
                os.kill(pid, signal.SIGKILL)
            killed.extend(services)

    monkeypatch.setattr(Tracker, "log", log)
    said: list[str] = []
    began = time.monotonic()
    assert run(tmp_path, "tracker=wandb", "tracker.mode=offline", said=said) == whole[1]
    assert killed, "no service was found"
    assert time.monotonic() - began < 30
    assert len(said) <= 1
    assert all("W&B is not available" in line for line in said)


@pytest.mark.thorough
def test_worker_killed_in_the_middle_of_an_artefact(tmp_path: Path) -> None:
    """Its task has failed, the others go on, and the same command finishes it with the numbers of a quiet run."""
    options = ["train.method.stop=never", "tracker=none", "progress=false", "checkpoint_seconds=0", "train.steps=12"]
    only = ("--only", "N30-L15/nqs+nf", "--only", "N30-L15/reference")
    words = ["table1", "--scale", "smoke", *only, "--jobs", "1", "infer.iterations=5", "infer.units=2", *options]
    broken, quiet = tmp_path / "broken", tmp_path / "quiet"
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "reproduce", *words, f"results_dir={broken}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        begun = [json.loads(p.read_text()) for p in broken.glob("_store/train/*.partial/progress.json")]
        if any(p["current"].get("train", {}).get("done", 0) >= 3 for p in begun):
            break
        time.sleep(0.02)
    (partial,) = broken.glob("_store/train/*.owner")
    worker = int(partial.read_text().split()[-1])
    assert worker in below(process.pid)
    os.kill(worker, signal.SIGKILL)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 1, stderr
    assert "the worker process died (signal 9); run again to resume" in stderr
    assert "Traceback" not in stderr
    for results in (broken, quiet):
        assert reproduce([*words, f"results_dir={results}"]) == 0
    numbers = [
        {p.parent.parent.name + p.parent.name: json.loads(p.read_text()) for p in r.glob("_store/*/*/result.json")}
        for r in (broken, quiet)
    ]
    assert len(numbers[0]) >= 2
    assert numbers[0] == numbers[1]
