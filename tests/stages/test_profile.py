"""The profile stage: times of a step on this machine, kept beside what they belong to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.base.errors import ConfigError
from pipeline.base.run.laps import part
from pipeline.stages import cli, profile
from pipeline.stages.compose import compose_run
from pipeline.stages.context import Context
from pipeline.stages.run import execute
from tests.threads import Threads, in_threads

SMALL = ["paper=nf_nqs", "scale=smoke", "system.n_sites=8", "system.range=4", "tracker=none", "progress=false"]
TIMED = [*SMALL, "stages=[profile,report]", "profile.steps=4", "profile.warmup=1"]


def test_profile_times_steps_and_leaves_no_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli.main([*TIMED, f"results_dir={tmp_path}"]) == 0
    text = Path(capsys.readouterr().out.strip().splitlines()[-1].split()[-1]).read_text()
    assert "| seconds_per_step |" in text
    assert "1 thread(s) and 1 rank(s) on" in text
    assert [folder.name for folder in (tmp_path / "_store").iterdir()] == ["profile"]
    monkeypatch.setattr("pipeline.stages.profile.build_method", lambda *_: pytest.fail("timed again"))
    output = execute(Context(compose_run([*TIMED, f"results_dir={tmp_path}"])))
    entry = output.last("profile")
    assert entry is not None
    step = entry.result().main
    assert step is not None
    assert (step.name, step.n, step.unit) == ("seconds_per_step", 4, "s")
    assert 0 < 3 * step.value <= entry.seconds  # the median of four is at most a third of their sum
    assert [line["k"] for line in entry.metrics() if line["loop"] == "profile"] == [0, 1, 2, 3]


def test_it_takes_the_steps_after_the_warm_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.spin.subspace.method import SubspaceFlow

    seen: list[int] = []
    step = SubspaceFlow.step

    def noted(self: Any, state: Any, k: int) -> Any:
        seen.append(k)
        return step(self, state, k)

    monkeypatch.setattr(SubspaceFlow, "step", noted)
    execute(Context(compose_run([*TIMED, f"results_dir={tmp_path}"])))
    assert seen == [0, 1, 2, 3, 4]


def test_summary_is_the_median_and_the_largest_memory() -> None:
    times = [0.2, 0.1, 9.0, 0.3, 0.2]
    result = profile.summarise([{"step_seconds": t, "peak_bytes": int(10 * t)} for t in times])
    step = result.estimate("seconds_per_step")
    assert (step.value, step.n) == (0.2, 5)
    assert (step.sigma, step.spread) == (None, None), "steps are neither seeds nor subspaces"
    assert result.estimate("slowest_step").value == 9.0
    assert result.estimate("peak_memory").value == 90


def test_parts_of_a_step_are_medians_too() -> None:
    records = [{"step_seconds": 1.0, "peak_bytes": 1, "sampling_seconds_of_step": t} for t in (0.1, 0.5, 0.2)]
    parts = [e for e in profile.summarise(records).estimates if e.name == "seconds_sampling"]
    assert [(e.value, e.unit, e.n) for e in parts] == [(0.2, "s", 3)]


def test_the_rank_that_needs_most_memory_counts() -> None:
    class Method:
        def step(self, state: Any, k: int) -> None:
            with part("outer"), part("inner"):
                state.append(k)

    run = compose_run([*SMALL, "device=cpu", "profile.warmup=2"])

    def body(ranks: Threads) -> tuple[Any, list[int]]:
        steps: list[int] = []
        method: Any = Method()
        timed = profile.timed(method, run, ranks, lambda: 10 * (ranks.rank + 1))
        return timed(steps, 3), steps

    for record, steps in in_threads(3, body):
        assert record["peak_bytes"] == 30
        assert steps == [5]
        assert 0 <= record["inner_seconds_of_step"] <= record["outer_seconds_of_step"] <= record["step_seconds"]
    with part("outer"):  # nobody measures
        pass


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("profile.steps=1", r"profile\.steps=1: must be at least 2"),
        ("stages=[profil]", r"stages=profil: must be one of train, infer, baseline, profile, report.*profile"),
        ("stages=[report]", r"stages=.*needs at least one of train, infer, baseline, profile"),
    ],
)
def test_bad_input(word: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        compose_run([*SMALL, word])
