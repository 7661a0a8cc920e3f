"""The W&B mirror: absent, failing or hanging, at the start or in the middle, it costs one line and nothing else."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.base.config.nodes import TrackerConfig
from pipeline.base.run import tracking
from pipeline.base.run.tracking import Tracker

FAKE = """
import json, os, time
ENVIRONMENT = {name: os.environ.get(name) for name in ("WANDB_ERROR_REPORTING", "WANDB_DATA_DIR")}
def note(what, **details):
    with open(os.environ["NOTES"], "a") as notes:
        notes.write(json.dumps({"what": what, "pid": os.getpid(), **details}) + "\\n")
    if what == os.environ.get("FAILS"):
        raise ConnectionError("the service died\\nwith a long story")
    if what == os.environ.get("HANGS"):
        time.sleep(60)
class Image:
    def __init__(self, path): self.path = path
    def __repr__(self): return self.path
class Run:
    dir = os.path.join(os.path.dirname(os.environ["NOTES"]), "site")
    class summary:
        @staticmethod
        def update(values): note("summary", values=values)
    def save(self, path, base_path, policy): note("save", path=os.path.relpath(path, base_path))
    def log(self, metrics): note("log", metrics={k: str(v) if isinstance(v, Image) else v for k, v in metrics.items()})
    def finish(self): note("finish")
def Settings(**settings): return settings
def init(**opening):
    note("init", opening=opening, environment=ENVIRONMENT)
    return Run()
"""


def tracker(folder: Path, said: list[str], mode: str = "offline") -> Tracker:
    config = TrackerConfig(mode=mode, project="test")
    return Tracker(config, folder / "_wandb", group="g", name="n", run_id="r", settings={"a": 1}, notify=said.append)


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a wandb of ours writes down what is asked of it, in the process that imports it."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "wandb.py").write_text(FAKE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    monkeypatch.setenv("NOTES", str(tmp_path / "notes.jsonl"))
    return tmp_path / "notes.jsonl"


def noted(notes: Path, what: str, wait: float = 20.0) -> list[dict[str, object]]:
    """All notes of a kind, once there is one."""
    deadline = time.monotonic() + wait
    while True:
        lines = [json.loads(line) for line in notes.read_text().splitlines()] if notes.exists() else []
        found = [line for line in lines if line["what"] == what]
        if found or time.monotonic() > deadline:
            return found
        time.sleep(0.01)


def test_metrics_are_mirrored_under_the_name_of_their_loop(tmp_path: Path, notes: Path) -> None:
    said: list[str] = []
    before = "wandb" in sys.modules  # of another test that reads a file with it
    mirror = tracker(tmp_path, said)
    mirror.log("train", 4, {"energy": -1.5})
    mirror.log("train", 5, {"energy": float("inf")})
    mirror.close()
    assert [line["metrics"] for line in noted(notes, "log")] == [
        {"train/k": 4, "train/energy": -1.5},
        {"train/k": 5, "train/energy": float("inf")},
    ]
    (finish,) = noted(notes, "finish")
    assert finish["pid"] != os.getpid()
    assert ("wandb" in sys.modules) == before
    assert said == []


@pytest.mark.parametrize(("mode", "reporting"), [("offline", "false"), ("online", "true")])
def test_offline_reports_of_errors_are_off_before_wandb_is_imported(
    mode: str, reporting: str, tmp_path: Path, notes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "true")
    tracker(tmp_path, [], mode).close()
    (opened,) = noted(notes, "init")
    environment, opening = opened["environment"], opened["opening"]
    assert environment == {"WANDB_ERROR_REPORTING": reporting, "WANDB_DATA_DIR": str(tmp_path / "_wandb" / "data")}
    assert isinstance(opening, dict)
    assert (opening["mode"], opening["resume"]) == (mode, "allow")
    assert opening["config"] == {"a": 1}


def test_summary_figures_and_files_are_mirrored(tmp_path: Path, notes: Path) -> None:
    report, figure = tmp_path / "report.md", tmp_path / "training.png"
    report.write_text("# ring")
    mirror = tracker(tmp_path, [])
    mirror.summarise({"energy": -1.5, "energy/verdict": "above"}, [figure], [report])
    mirror.close()
    assert noted(notes, "summary")[0]["values"] == {"energy": -1.5, "energy/verdict": "above"}
    assert noted(notes, "log")[0]["metrics"] == {"training": str(figure)}
    assert noted(notes, "save")[0]["path"] == "report.md"
    assert (tmp_path / "site" / "report.md").read_text() == "# ring"


def test_under_an_agent_of_a_sweep_the_run_is_the_agents(
    tmp_path: Path, notes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_RUN_ID", "agents")
    tracker(tmp_path, []).close()
    monkeypatch.setenv("WANDB_SWEEP_ID", "s")
    tracker(tmp_path, []).close()
    openings = [line["opening"] for line in noted(notes, "init")]
    assert [opening["id"] for opening in openings if isinstance(opening, dict)] == ["r", "agents"]


def test_absent_package(tmp_path: Path, notes: Path) -> None:
    (tmp_path / "site" / "wandb.py").write_text("raise ModuleNotFoundError(\"No module named 'wandb'\")\n")
    said: list[str] = []
    mirror = tracker(tmp_path, said)
    mirror.log("train", 0, {"energy": 1.0})
    mirror.close()
    why = "it is not installed: pip install 'neural-quantum-states[wandb]', or tracker=none"
    assert said == [f"W&B is not available ({why}); metrics go to metrics.jsonl as always"]


@pytest.mark.parametrize("method", ["init", "log", "finish"])
def test_failure_anywhere_is_said_once(
    method: str, tmp_path: Path, notes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAILS", method)
    said: list[str] = []
    mirror = tracker(tmp_path, said)
    for k in range(3):
        mirror.log("train", k, {"energy": 1.0})
    mirror.close()
    mirror.close()
    mirror.log("train", 3, {"energy": 1.0})
    assert said == ["W&B is not available (the service died); metrics go to metrics.jsonl as always"]


@pytest.mark.parametrize("method", ["init", "log", "finish"])
def test_what_hangs_holds_nobody(method: str, tmp_path: Path, notes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HANGS", method)
    monkeypatch.setattr(tracking, "FINISH_SECONDS", 0.5)
    said: list[str] = []
    mirror = tracker(tmp_path, said)
    began = time.monotonic()
    for k in range(3 if method == "finish" else tracking.PENDING + 2000):  # more than queue and pipe hold
        mirror.log("train", k, {"energy": 1.0})
    assert time.monotonic() - began < 5
    noted(notes, "log" if method == "finish" else method)
    began = time.monotonic()
    mirror.close()
    assert time.monotonic() - began < 10
    assert len(said) == 1
    assert "it did not end within" in said[0]


def test_what_is_dropped_is_counted(tmp_path: Path, notes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "PENDING", 5)
    said: list[str] = []
    mirror = tracker(tmp_path, said)
    (opened,) = noted(notes, "init")
    pid = opened["pid"]
    assert isinstance(pid, int)
    os.kill(pid, signal.SIGSTOP)
    try:
        for k in range(20):
            mirror.log("train", k, {"energy": 1.0, "x" * 100_000: 0.0})  # one such line fills the pipe
    finally:
        os.kill(pid, signal.SIGCONT)
    mirror.close()
    logged = len(noted(notes, "log"))
    assert 5 <= logged <= 8
    assert said == [f"W&B was too slow for {20 - logged} lines of metrics; they are in metrics.jsonl as always"]


def test_disabled_starts_nothing(tmp_path: Path, notes: Path) -> None:
    said: list[str] = []
    mirror = tracker(tmp_path, said, mode="disabled")
    mirror.log("train", 0, {"energy": 1.0})
    mirror.close()
    assert said == []
    assert not (tmp_path / "_wandb").exists()
    assert not notes.exists()


@contextlib.contextmanager
def listener(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bytes]]:
    """First lines of all that goes out through the proxy that the environment names."""
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        over = threading.Event()

        def listen() -> None:
            while not over.is_set():
                with contextlib.suppress(TimeoutError), server.accept()[0] as connection:
                    connection.settimeout(2)
                    heard.append(connection.recv(200).split(b"\r\n")[0])

        thread = threading.Thread(target=listen)
        thread.start()
        for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{server.getsockname()[1]}")
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        yield heard
        over.set()
        thread.join()


def test_real_offline_run_stays_below_its_folder_and_contacts_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said: list[str] = []
    with listener(monkeypatch) as heard:
        mirror = tracker(tmp_path / "results", said)
        mirror.log("train", 0, {"energy": 1.0})
        mirror.close()
    assert said == []
    assert heard == []
    assert list((tmp_path / "results" / "_wandb").rglob("*.wandb"))
    assert [p.name for p in tmp_path.iterdir()] == ["results"]
