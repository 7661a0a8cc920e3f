"""Seconds of plans, and the order of runs that follows from them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest

from pipeline.base.store.store import Store, Work
from reproduce import cli, plan
from reproduce.artefact import Cell, all_artefacts, load_artefact
from reproduce.plan import Task, make_tasks, past_seconds, soon_first
from reproduce.planned import Planned


def stage(seconds: float, threads: int = 1, **facts: Any) -> dict[str, Any]:
    return {"seconds": seconds, "provenance": {"threads": threads}, **facts}


def write(folder: Path, **runs: list[dict[str, Any]]) -> Path:
    listed = [{"run": f"N3/{name}", "failure": None, "stages": stages} for name, stages in runs.items()]
    (folder / "manifest.json").write_text(json.dumps({"runs": listed}))
    return folder


def test_waiting_for_cores_is_left_out(tmp_path: Path) -> None:
    one = [stage(100.0, device="cpu", busy=0.5), stage(10.0, device="cpu", busy=1.0)]
    write(tmp_path, **{"a#0": one, "b#0": [stage(40.0, threads=2, device="cpu", busy=1.0)], "old#0": [stage(7.0)]})
    assert past_seconds(tmp_path) == {"N3/a": 60.0, "N3/b": 20.0, "N3/old": 7.0}


def test_seeds_are_averaged_and_accelerators_work_while_a_process_waits(tmp_path: Path) -> None:
    gpu = [stage(30.0, device="cuda:0", busy=0.1)]
    write(tmp_path, **{"a#0": [stage(2.0, busy=1.3)], "a#1": [stage(4.0, busy=1.0)], "g#0": gpu})
    assert past_seconds(tmp_path) == {"N3/a": 3.0, "N3/g": 30.0}


def test_committed_states_take_no_time(tmp_path: Path) -> None:
    """What is drawn from one does; where there is nothing else, the run itself is committed."""
    trained = stage(5000.0, promoted=True)
    write(tmp_path, **{"a#0": [trained, stage(7.0)], "b#0": [trained]})
    assert past_seconds(tmp_path) == {"N3/a": 7.0, "N3/b": 5000.0}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"runs": 3}', '{"runs": [{"run": "a#0"}]}', '{"runs": [null]}'])
def test_a_report_that_says_nothing_of_seconds(text: str, tmp_path: Path) -> None:
    assert past_seconds(tmp_path) == {}
    (tmp_path / "manifest.json").write_text(text)
    assert past_seconds(tmp_path) == {}


def test_short_runs_come_first() -> None:
    tasks = [Task("", Cell("N3", name, (), ()), 0, (), cast(Any, None), ()) for name in "dcba"]
    history = {"N3/a": 3.0, "N3/b": 1.0, "N3/c": 500.0}
    assert [task.cell.method for task in soon_first(tasks, history)] == ["b", "a", "d", "c"]
    assert soon_first(tasks, {}) == tasks


def test_an_entry_says_how_much_of_a_core_it_got(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    work = Work(Store(tmp_path), "train", "0" * 16, tmp_path / "work")
    assert 0.0 <= work._busy() < 64.0


def test_a_plan_of_some_cells_elsewhere_knows_the_committed_seconds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["table1", "--plan", "--scale", "laptop", "--only", "N30-L15/mps", f"results_dir={tmp_path}"]
    assert cli.main(options) == 0
    assert "unknown" not in capsys.readouterr().out


def test_a_plan_of_all_counts_what_artefacts_share_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Figures 2 and 3 of the pseudofermion paper are of the same trainings."""
    names = ["pseudofermion/fig2", "pseudofermion/fig3"]
    monkeypatch.setattr(cli, "all_artefacts", lambda: names)
    assert cli.main(["all", "--plan", "--scale", "laptop", f"results_dir={tmp_path}"]) == 0
    sums = dict(line.split(": about ") for line in capsys.readouterr().out.splitlines() if ": about " in line)
    assert set(sums) == {*names, "all, what they share once"}
    assert sums["all, what they share once"] == sums[names[0]] == sums[names[1]]
    assert not sums[names[0]].startswith("0")


def test_a_plan_of_all_keeps_what_one_artefact_knows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shared, own = (Task("", Cell("N3", name, (), ()), 0, (), cast(Any, None), ()) for name in ("shared", "own"))
    known = {"shared": Planned(shared, 5.0), "own": Planned(own, None)}
    plans = iter([known, {"shared": Planned(shared, None), "own": Planned(own, 2.0)}])
    monkeypatch.setattr(cli, "all_artefacts", lambda: ["pseudofermion/fig2", "pseudofermion/fig3"])
    monkeypatch.setattr(cli, "print_plan", lambda *_: next(plans))
    monkeypatch.setattr(cli, "default_jobs", lambda _: 2)
    assert cli.main(["all", "--plan", "--scale", "smoke", f"results_dir={tmp_path}"]) == 0
    assert "share once: about 7.0 s of compute; on 2 worker(s) about 5.0 s\n" in capsys.readouterr().out


@pytest.mark.parametrize("name", all_artefacts())
def test_the_last_seed_of_an_artefact_is_the_run_that_is_composed_alone(name: str) -> None:
    artefact = load_artefact(name)
    cell = max((c for c in artefact.cells() if not c.scales or "smoke" in c.scales), key=lambda c: len(c.seeds))
    last = make_tasks(artefact, "smoke", (), [cell.id])[-1]
    assert last == plan._task(artefact, cell, cell.seeds[-1], "smoke", ())


@pytest.mark.parametrize("user", [(), ("train.seed=7",), ("train.steps=3",)])
def test_runs_of_every_seed_are_those_that_are_composed_alone(user: tuple[str, ...]) -> None:
    artefact = load_artefact("nir/fig2")
    tasks = make_tasks(artefact, "smoke", user)
    assert tasks == [plan._task(artefact, task.cell, task.seed, "smoke", user) for task in tasks]
    seeds = [task.run.train.seed for task in tasks if task.cell.method == "nir"]
    assert seeds == ([7, 7, 7] if user == ("train.seed=7",) else [0, 1, 2])
