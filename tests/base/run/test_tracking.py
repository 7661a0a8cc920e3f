"""The W&B mirror: absent, failing at the start or in the middle, it costs one line and nothing else."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.base.config.nodes import TrackerConfig
from pipeline.base.run.tracking import Tracker


def tracker(folder: Path, said: list[str], mode: str = "offline") -> Tracker:
    config = TrackerConfig(mode=mode, project="test")
    return Tracker(config, folder / "_wandb", group="g", name="n", run_id="r", settings={"a": 1}, notify=said.append)


def fake_wandb(monkeypatch: pytest.MonkeyPatch, **methods: Any) -> list[dict[str, Any]]:
    logged: list[dict[str, Any]] = []
    run = SimpleNamespace(log=methods.get("log", logged.append), finish=methods.get("finish", lambda: None))
    init = methods.get("init", lambda **_: run)
    module = SimpleNamespace(init=init, Settings=lambda **_: None)
    monkeypatch.setitem(sys.modules, "wandb", module)
    return logged


def fails(*_: Any, **__: Any) -> None:
    raise ConnectionError("the service died\nwith a long story")


def test_metrics_are_mirrored_under_the_name_of_their_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logged = fake_wandb(monkeypatch)
    said: list[str] = []
    mirror = tracker(tmp_path, said)
    mirror.log("train", 4, {"energy": -1.5})
    mirror.close()
    assert logged == [{"train/k": 4, "train/energy": -1.5}]
    assert said == []


def test_absent_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    said: list[str] = []
    mirror = tracker(tmp_path, said)
    mirror.log("train", 0, {"energy": 1.0})
    mirror.close()
    assert len(said) == 1
    assert "W&B is not available" in said[0]
    assert "metrics.jsonl" in said[0]


@pytest.mark.parametrize("method", ["init", "log", "finish"])
def test_failure_anywhere_is_said_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    fake_wandb(monkeypatch, **{method: fails})
    said: list[str] = []
    mirror = tracker(tmp_path, said)
    for k in range(3):
        mirror.log("train", k, {"energy": 1.0})
    mirror.close()
    mirror.close()
    assert said == ["W&B is not available (the service died); metrics go to metrics.jsonl as always"]


def test_disabled_never_imports_wandb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    said: list[str] = []
    tracker(tmp_path, said, mode="disabled").log("train", 0, {"energy": 1.0})
    assert said == []
    assert not (tmp_path / "_wandb").exists()


def test_real_offline_run_stays_below_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    said: list[str] = []
    mirror = tracker(tmp_path / "results", said)
    mirror.log("train", 0, {"energy": 1.0})
    mirror.close()
    assert said == []
    assert list((tmp_path / "results" / "_wandb").rglob("*.wandb"))
    assert [p.name for p in tmp_path.iterdir()] == ["results"]
