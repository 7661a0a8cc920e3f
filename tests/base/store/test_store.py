"""The stage store: keys, verification, damage, replacement, locks."""

from __future__ import annotations

import json
import multiprocessing as mp
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from pipeline.base.numbers.result import Curve, Estimate, Result
from pipeline.base.store.files import write_json
from pipeline.base.store.keys import digest
from pipeline.base.store.store import Store

RESULT = Result((Estimate("energy", -1.1, 0.1 + 0.2, n=3),), (Curve.of("c", "x", "y", [1, 2], [0.1, 0.3]),), ("note",))
NODES = {"a": 1}
KEY = digest(NODES)


def make(store: Store, key: str = KEY, result: Result = RESULT) -> None:
    with store.work("infer", key) as work:
        write_json(work.path / "result.json", result.to_json())
        (work.path / "metrics.jsonl").write_text('{"k": 0}\n')
        work.finish(nodes=NODES, seconds=2.5, facts={"device": "cpu"})


def test_entry_round_trip(tmp_path: Path) -> None:
    store = Store(tmp_path)
    make(store)
    entry = store.find("infer", KEY)
    assert entry is not None
    assert entry.result() == RESULT
    assert entry.seconds == 2.5
    assert entry.metrics() == [{"k": 0}]
    assert not (tmp_path / "infer" / f"{KEY}.partial").exists()


def test_provenance_has_no_host_name_and_no_absolute_path(tmp_path: Path) -> None:
    make(Store(tmp_path))
    text = (tmp_path / "infer" / KEY / "provenance.json").read_text()
    assert os.uname().nodename not in text
    assert str(Path.home()) not in text
    assert str(tmp_path) not in text
    assert json.loads(text)["packages"]["torch"]


@pytest.mark.parametrize("name", ["result.json", "metrics.jsonl", "provenance.json", "status.json"])
@pytest.mark.parametrize("damage", ["flip", "truncate", "delete"])
def test_damaged_entry_is_named_set_aside_and_rebuilt(tmp_path: Path, name: str, damage: str) -> None:
    said: list[str] = []
    store = Store(tmp_path, said.append)
    make(store)
    victim = tmp_path / "infer" / KEY / name
    content = bytearray(victim.read_bytes())
    if damage == "delete":
        victim.unlink()
    elif damage == "truncate":
        victim.write_bytes(content[:-2])
    else:
        content[len(content) // 2] ^= 4
        victim.write_bytes(content)
    assert store.find("infer", KEY) is None
    assert len(said) == 1
    assert f"infer/{KEY}" in said[0]
    assert name in said[0]
    assert (tmp_path / "infer" / f"{KEY}.corrupt").exists()
    make(store)
    entry = store.find("infer", KEY)
    assert entry is not None
    assert entry.result() == RESULT


@pytest.mark.parametrize("status", [None, "", "{}", '{"files": 3}', '{"files": {"x'])
def test_half_written_status_is_never_used(tmp_path: Path, status: str | None) -> None:
    said: list[str] = []
    store = Store(tmp_path, said.append)
    make(store)
    path = tmp_path / "infer" / KEY / "status.json"
    path.unlink() if status is None else path.write_text(status)
    assert store.find("infer", KEY) is None
    assert "status.json" in said[0]


def test_kill_between_the_two_renames_of_a_replacement_loses_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    make(store)
    os.rename(tmp_path / "infer" / KEY, tmp_path / "infer" / f"{KEY}.old")
    entry = store.find("infer", KEY)
    assert entry is not None
    assert entry.result() == RESULT


def _hold(root: Path, ready: Any, seconds: float) -> None:
    store = Store(root)
    with store.work("infer", KEY) as work:
        ready.set()
        time.sleep(seconds)
        write_json(work.path / "result.json", RESULT.to_json())
        work.finish(nodes=NODES, seconds=1.0, facts={})


def test_second_process_waits_with_one_line_and_then_finds_the_result(tmp_path: Path) -> None:
    context = mp.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=_hold, args=(tmp_path, ready, 1.0))
    process.start()
    assert ready.wait(30)
    said: list[str] = []
    store = Store(tmp_path, said.append)
    with store.work("infer", KEY):
        entry = store.find("infer", KEY)
    process.join()
    assert entry is not None
    assert said == [f"infer/{KEY} is being computed by process {process.pid}; waiting for it"]


def test_lock_of_a_killed_process_does_not_block(tmp_path: Path) -> None:
    context = mp.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=_hold, args=(tmp_path, ready, 60.0))
    process.start()
    assert ready.wait(30)
    process.kill()
    process.join()
    said: list[str] = []
    make(Store(tmp_path, said.append))
    assert said == []


@dataclass
class Part:
    version: ClassVar[int] = 1
    width: int = 3


@dataclass
class NewerPart(Part):
    version: ClassVar[int] = 2


def test_key_depends_on_values_and_versions_and_not_on_order() -> None:
    assert digest({"a": Part(), "b": 1}) == digest({"b": 1, "a": Part()})
    assert digest({"a": Part()}) != digest({"a": Part(width=4)})
    assert digest({"a": Part()}) != digest({"a": NewerPart()})
    assert digest({"a": 1}) != digest({"a": 1.5})


def test_looking_without_repair_reports_and_moves_nothing(tmp_path: Path) -> None:
    make(Store(tmp_path))
    (tmp_path / "infer" / KEY / "result.json").write_text("{}")
    said: list[str] = []
    assert Store(tmp_path, said.append, repair=False).find("infer", KEY) is None
    assert len(said) == 1
    assert f"infer/{KEY} is damaged" in said[0]
    assert (tmp_path / "infer" / KEY).exists()


def test_entry_under_another_process_s_lock_is_not_set_aside(tmp_path: Path) -> None:
    """It may be in the middle of a replacement."""
    make(Store(tmp_path))
    context = mp.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=_hold, args=(tmp_path, ready, 60.0))
    process.start()
    assert ready.wait(30)
    (tmp_path / "infer" / KEY / "result.json").write_text("{}")
    assert Store(tmp_path, lambda _: None).find("infer", KEY) is None
    assert (tmp_path / "infer" / KEY).exists()
    assert not (tmp_path / "infer" / f"{KEY}.corrupt").exists()
    process.kill()
    process.join()
    assert Store(tmp_path, lambda _: None).find("infer", KEY) is None
    assert (tmp_path / "infer" / f"{KEY}.corrupt").exists()
