"""The loop: resume, continuation, guards and early stops give the numbers of an uninterrupted run."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.base.errors import Interrupted, NonFiniteError
from pipeline.base.numbers.rng import numpy_generator
from pipeline.base.run.loop import Loop, LoopSettings
from pipeline.base.store.commit import drop_checkpoints
from pipeline.base.store.records import Records


class Walk:
    """A random walk: the simplest state whose future depends on its past."""

    def __init__(self) -> None:
        self.position = np.zeros(3)

    def state_dict(self) -> dict[str, Any]:
        return {"position": self.position.copy()}

    def load_state_dict(self, tree: dict[str, Any]) -> None:
        self.position = tree["position"]


def step(state: Walk, k: int) -> dict[str, Any]:
    state.position += np.tanh(state.position) + numpy_generator(3, "walk", k).normal(size=3)
    return {"x": float(state.position[0]), "path": state.position.copy()}


def dies_at(unit: int) -> Any:
    def body(state: Walk, k: int) -> dict[str, Any]:
        if k == unit:
            raise RuntimeError("killed")
        return step(state, k)

    return body


def finished(folder: Path, count: int = 20, **options: Any) -> tuple[Walk, list[dict[str, Any]]]:
    state = Walk()
    Loop(folder, state, LoopSettings()).run("walk", step, count, keep_records=True, **options)
    return state, [dict(record) for record in Records.of(folder)]


def metrics(folder: Path) -> list[tuple[int, float]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [(line["k"], line["x"]) for line in lines]


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole.mkdir()
    broken.mkdir()
    return whole, broken


@pytest.mark.parametrize("checkpoint_seconds", [0.0, 1e9])
@pytest.mark.parametrize("unit", [0, 1, 7, 19])
def test_resumed_run_is_the_uninterrupted_one(folders: tuple[Path, Path], unit: int, checkpoint_seconds: float) -> None:
    whole, broken = folders
    state, records = finished(whole)
    settings = LoopSettings(checkpoint_seconds=checkpoint_seconds)
    with pytest.raises(RuntimeError, match="killed"):
        Loop(broken, Walk(), settings).run("walk", dies_at(unit), 20, keep_records=True)
    again, resumed = finished(broken)
    assert np.array_equal(again.position, state.position)
    assert len(resumed) == len(records) == 20
    assert all(np.array_equal(a["path"], b["path"]) for a, b in zip(records, resumed, strict=True))
    assert metrics(broken) == metrics(whole)


def test_resume_does_not_repeat_checkpointed_units(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        Loop(tmp_path, Walk(), LoopSettings(checkpoint_seconds=0)).run("walk", dies_at(7), 20)
    seen: list[int] = []

    def body(state: Walk, k: int) -> dict[str, Any]:
        seen.append(k)
        return step(state, k)

    Loop(tmp_path, Walk(), LoopSettings()).run("walk", body, 20)
    assert seen == list(range(7, 20))


def test_second_loop_of_a_stage_resumes_behind_a_finished_first(tmp_path: Path) -> None:
    def both(body: Any) -> Walk:
        state = Walk()
        loop = Loop(tmp_path, state, LoopSettings(checkpoint_seconds=0))
        loop.run("warmup", step, 5)
        loop.run("measure", body, 6, keep_records=True)
        return state

    with pytest.raises(RuntimeError):
        both(dies_at(3))
    resumed = both(step)
    plain = Walk()
    for k in [*range(5), *range(6)]:
        step(plain, k)
    assert np.array_equal(resumed.position, plain.position)
    assert len(Records.of(tmp_path)) == 6


@pytest.mark.parametrize("damage", ["truncate", "flip", "progress", "missing"])
def test_damaged_checkpoint_is_named_and_not_used(tmp_path: Path, damage: str) -> None:
    with pytest.raises(RuntimeError):
        Loop(tmp_path, Walk(), LoopSettings(checkpoint_seconds=0)).run("walk", dies_at(7), 20, keep_records=True)
    state_file = next(tmp_path.glob("checkpoint-*"))
    content = bytearray(state_file.read_bytes())
    if damage == "truncate":
        state_file.write_bytes(content[:-5])
    elif damage == "flip":
        content[-3] ^= 1
        state_file.write_bytes(content)
    elif damage == "missing":
        state_file.unlink()
    else:
        (tmp_path / "progress.json").write_text('{"finished": {')
    said: list[str] = []
    state = Walk()
    Loop(tmp_path, state, LoopSettings(notify=said.append)).run("walk", step, 20, keep_records=True)
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    assert np.array_equal(state.position, finished(fresh)[0].position)
    assert len(said) == 1
    assert "damaged" in said[0]
    assert len(Records.of(tmp_path)) == 20


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_non_finite_metric_stops_with_the_unit_and_keeps_the_checkpoint(tmp_path: Path, value: float) -> None:
    def body(state: Walk, k: int) -> dict[str, Any]:
        return {"x": value} if k == 4 else step(state, k)

    with pytest.raises(NonFiniteError, match=r"x is (nan|inf) at unit 4"):
        Loop(tmp_path, Walk(), LoopSettings(checkpoint_seconds=0)).run("walk", body, 20)
    outcome = Loop(tmp_path, Walk(), LoopSettings()).run("walk", step, 20)
    assert outcome.done == 20


def test_early_stop_records_its_reason(tmp_path: Path) -> None:
    outcome = Loop(tmp_path, Walk(), LoopSettings()).run(
        "walk", step, 20, converged=lambda state: "far away" if abs(state.position[0]) > 2 else None
    )
    assert outcome.stopped == "far away"
    assert outcome.done < 20
    assert Loop(tmp_path, Walk(), LoopSettings()).run("walk", step, 20) == outcome


def test_time_limit_checkpoints_and_the_next_call_goes_on(folders: tuple[Path, Path]) -> None:
    whole, broken = folders
    settings = LoopSettings(time_limit_seconds=1e-9, label="cell")
    with pytest.raises(Interrupted, match="time limit"):
        Loop(broken, Walk(), settings).run("walk", step, 20, keep_records=True)
    assert len(Records.of(broken)) == 1
    assert np.array_equal(finished(broken)[0].position, finished(whole)[0].position)


def test_snapshots_hold_the_state_after_that_many_units(tmp_path: Path) -> None:
    from pipeline.base.store.files import load_tree

    finished(tmp_path, snapshots={0, 5})
    plain = Walk()
    assert np.array_equal(load_tree(tmp_path / "state-00000000.safetensors")["position"], plain.position)
    for k in range(5):
        step(plain, k)
    assert np.array_equal(load_tree(tmp_path / "state-00000005.safetensors")["position"], plain.position)


def test_kill_after_the_stopping_rule_fired_does_not_add_a_unit(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint may be written between the rule and the mark that the loop is finished."""
    whole, broken = folders

    def rule(state: Walk) -> str | None:
        return "far away" if abs(state.position[0]) > 2 else None

    straight = Loop(whole, Walk(), LoopSettings(checkpoint_seconds=0)).run("walk", step, 20, converged=rule)
    with monkeypatch.context() as patch:
        patch.setattr("pipeline.base.run.loop._Run.finish", lambda self: pytest.fail("killed"))
        with pytest.raises(pytest.fail.Exception):
            Loop(broken, Walk(), LoopSettings(checkpoint_seconds=0)).run("walk", step, 20, converged=rule)
    resumed = Loop(broken, Walk(), LoopSettings(checkpoint_seconds=0)).run("walk", step, 20, converged=rule)
    assert (resumed.done, resumed.stopped) == (straight.done, straight.stopped)
    assert metrics(broken) == metrics(whole)


def test_dropping_checkpoints_of_finished_loops_leaves_the_records_usable(tmp_path: Path) -> None:
    _, records = finished(tmp_path)
    drop_checkpoints(tmp_path)
    assert not list(tmp_path.glob("checkpoint-*"))
    said: list[str] = []
    loop = Loop(tmp_path, Walk(), LoopSettings(notify=said.append))
    assert loop.run("walk", lambda *_: pytest.fail("ran again"), 20, keep_records=True).done == 20
    assert len(Records.of(tmp_path)) == len(records)
    assert said == []
