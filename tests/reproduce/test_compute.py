"""Runs of several artefacts in one pool: order, what waits for what, and when reports are written."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pipeline.base.errors import UserError
from pipeline.base.run.progress import make_progress
from reproduce import cli, compute, pool
from reproduce.artefact import Artefact, Cell, load_artefact
from reproduce.compute import Work, compute_all
from reproduce.plan import Found, Task, in_turn, make_tasks
from reproduce.planned import Planned, elapsed
from reproduce.tables import Finished


def task(artefact: str, name: str, **options: Any) -> Task:
    return Task(artefact, Cell("row", name, (), (), **options), 0, (), cast(Any, None), ())


@pytest.mark.parametrize(
    ("seconds", "width", "expected"),
    [
        ([], 2, 0.0),
        ([5.0], 3, 5.0),
        ([1.0, 1.0, 1.0, 9.0], 2, 10.0),
        ([9.0, 1.0, 1.0, 1.0], 2, 9.0),
        ([4.0, 3.0, 2.0, 1.0], 1, 10.0),
    ],
)
def test_elapsed_is_that_of_workers_that_take_the_next_run(seconds: list[float], width: int, expected: float) -> None:
    planned = [Planned(task("paper/one", f"m{i}"), s) for i, s in enumerate(seconds)]
    assert elapsed(planned, width) == expected


def test_timings_and_ranks_add_to_what_is_elapsed() -> None:
    planned = [
        Planned(task("paper/one", "timing", exclusive=True), 5.0),
        Planned(task("paper/one", "a"), 3.0),
        Planned(task("paper/one", "unknown"), None),
        Planned(task("paper/one", "two", ranks=2), 7.0),
        Planned(task("paper/one", "four", exclusive=True, ranks=4), 1.0),
    ]
    assert elapsed(planned, 2) == 3.0 + 5.0 + 7.0 + 1.0
    turns = in_turn([one.task for one in planned])
    assert [[t.cell.method for t in turn] for turn in turns] == [["a", "unknown"], ["timing"], ["two"], ["four"]]


class _Idle:
    """A worker that does nothing until it is told that it has ended."""

    def __init__(self, ranks: int = 1) -> None:
        self.process = SimpleNamespace(is_alive=lambda: True)
        self.task: Task | None = None
        self.others: list[Any] = []
        self.began = 0.0

    def give(self, task: Task) -> None:
        self.task = task


def _pool(
    tasks: dict[Task, str], width: int, monkeypatch: pytest.MonkeyPatch, ended: Callable[..., None]
) -> tuple[Any, list[str]]:
    """Tasks with what no two of them may compute."""
    monkeypatch.setattr(pool, "_Worker", _Idle)
    said: list[str] = []
    parts = {one.name: frozenset([part] if part else []) for one, part in tasks.items()}
    made = pool._Pool(list(tasks), width, (0, len(tasks)), make_progress(False), said.append, ended, parts)
    made._feed()
    return made, said


def _running(made: Any) -> list[str | None]:
    return [worker.task and worker.task.cell.method for worker in made.workers]


def test_what_another_worker_computes_is_not_begun_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = {task("p/1", "a"): "x", task("p/2", "a"): "x", task("p/2", "b"): "y"}
    ended: list[str] = []
    made, said = _pool(tasks, 3, monkeypatch, lambda one, outcome: ended.append(one.name))
    assert _running(made) == ["a", "b", None]
    made._finish(made.workers[1], None)
    assert _running(made) == ["a", None, None], "the same training is under way"
    made._finish(made.workers[0], "broken")
    assert _running(made) == ["a", None, None], "it is tried again for the other artefact"
    assert made.workers[0].task.artefact == "p/2"
    made._finish(made.workers[0], None)
    assert ended == ["p/2/row/b#0", "p/1/row/a#0", "p/2/row/a#0"]
    assert said[1].startswith("[2/3] p/1/row/a#0 FAILED: broken"), "with the artefact, where there are several"
    assert {name: one.reason for name, one in made.outcomes.items()} == {
        "p/1/row/a#0": "broken",
        "p/2/row/a#0": None,
        "p/2/row/b#0": None,
    }


@pytest.mark.parametrize("alone", [False, True])
def test_the_next_run_begins_before_the_report_unless_it_is_a_timing(
    alone: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = {task("p/1", name, exclusive=alone): "" for name in "ab"}
    seen: list[list[str | None]] = []
    made, _ = _pool(tasks, 1, monkeypatch, lambda one, outcome: seen.append(_running(made)))
    made._finish(made.workers[0], None)
    assert seen == [[None if alone else "b"]]
    assert _running(made) == ["b"]


def test_a_worker_that_died_idle_is_replaced_and_its_next_run_has_not_failed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tasks = {task("p/1", "a"): "x", task("p/2", "a"): "x"}
    made, said = _pool(tasks, 2, monkeypatch, lambda *_: None)
    dead = made.workers[1]
    dead.process.is_alive = lambda: False
    made._finish(made.workers[0], None)
    assert _running(made) == ["a", None]
    made._finish(made.workers[0], None)
    made.waiting = [task("p/3", "b"), task("p/3", "c")]
    made._feed()
    assert _running(made) == ["b", "c"]
    assert dead not in made.workers
    assert not any("FAILED" in line for line in said)


def test_parts_are_those_that_are_missing() -> None:
    """A training that is there is no reason to wait."""
    (one, *_) = make_tasks(load_artefact("pseudofermion/fig2"), "smoke", [])
    assert one.parts(()) == one.parts(("infer",)) == frozenset()
    assert len(one.parts(("train", "infer"))) == 1


NOTHING = Found(None, None, None, None, ("infer",))
DONE = Found(None, None, None, None, ())


def _works(*sizes: int) -> list[Work]:
    def one(name: str, size: int) -> Work:
        tasks = [task(name, f"m{i}") for i in range(size)]
        return Work(cast(Artefact, type("A", (), {"id": name})()), tasks, Path(name), {})

    return [one(f"p/{i}", size) for i, size in enumerate(sizes)]


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Names of runs that the store has; those that are given to the pool get there in the order of their numbers."""
    names: set[str] = set()

    def run(
        todo: Sequence[Task], total: int, jobs: int | None, ended: Callable[[Task, str | None], None], parts: Any
    ) -> None:
        for one in sorted(todo, key=lambda t: t.cell.method):
            failed = one.name == "p/1/row/m1#0"
            names.update(() if failed else {one.name})
            ended(one, "died" if failed else None)

    monkeypatch.setattr(compute, "find", lambda one, notify: DONE if one.name in names else NOTHING)
    monkeypatch.setattr(compute, "_run", run)
    return names


def test_a_report_is_written_as_soon_as_its_last_run_has_ended(computed: set[str]) -> None:
    works, seen = _works(3, 2, 1), []

    def done(work: Work, finished: list[Finished]) -> None:
        seen.append((work.artefact.id, len(computed), [one.failure for one in finished]))

    compute_all(works, 1, done)
    # m0 of all, then m1, then m2: the smallest is ready after three, of the second one run has failed
    assert seen == [("p/2", 3, [None]), ("p/1", 4, [None, "died"]), ("p/0", 5, [None, None, None])]


def test_what_is_finished_is_reported_without_a_pool(computed: set[str]) -> None:
    works, seen = _works(2, 1), []
    computed.update(one.name for work in works for one in work.tasks)
    computed.remove("p/1/row/m0#0")
    compute_all(works, 1, lambda work, finished: seen.append(work.artefact.id))
    assert sorted(seen) == ["p/0", "p/1"]


@pytest.mark.parametrize("kind", [UserError, KeyError])
def test_a_report_that_cannot_be_written_ends_no_run(
    kind: type[Exception], computed: set[str], capsys: pytest.CaptureFixture[str]
) -> None:
    works, calls = _works(2, 1), []

    def done(work: Work, finished: list[Finished]) -> None:
        calls.append(work.artefact.id)
        if work.artefact.id == "p/1" and (len(calls) == 1 or len(computed) < 3):
            raise kind("the disk is full")

    compute_all(works, 1, done)
    assert calls == ["p/1", "p/0", "p/1"]
    assert "p/1: no report yet: " in capsys.readouterr().err
    computed.clear()

    calls.clear()

    def never_one(work: Work, finished: list[Finished]) -> None:
        calls.append(work.artefact.id)
        if work.artefact.id == "p/0":
            raise kind("the disk is full")

    with pytest.raises(kind, match="disk is full"):
        compute_all(works, 1, never_one)
    assert len(computed) == 3, "all runs were done first"
    assert calls == ["p/1", "p/0", "p/0"]
    with pytest.raises(kind, match="disk is full"):
        compute_all(works, 1, never_one)
    assert calls[3:] == ["p/0", "p/1"], "the other one has its report all the same"


def test_all_in_one_pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Two figures of the same trainings: reports as by themselves."""
    names = ["pseudofermion/fig2", "pseudofermion/fig3"]
    monkeypatch.setattr(cli, "all_artefacts", lambda: names)
    options = ["--scale", "smoke", "--jobs", "2", "tracker=none", "progress=false", f"results_dir={tmp_path}"]
    assert cli.main(["all", *options]) == 0
    assert "to do on 2 worker(s)" in capsys.readouterr().err
    for name in names:
        manifest = json.loads((tmp_path / name / "smoke/manifest.json").read_text())
        assert len(manifest["runs"]) == len(make_tasks(load_artefact(name), "smoke", []))
        assert not [run for run in manifest["runs"] if run["failure"]]
    capsys.readouterr()
    assert cli.main(["all", *options]) == 0
    assert capsys.readouterr().err.count("nothing to do") == 2
