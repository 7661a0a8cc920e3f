"""What of the source a result depends on, what is said when it has changed, and how a result is computed anew."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.base.errors import Interrupted
from pipeline.base.store import source
from pipeline.base.store.store import Store
from pipeline.stages import cli, promote, recompute
from pipeline.stages.compose import compose_run
from pipeline.stages.context import Context
from pipeline.stages.keys import Keys, train_nodes
from pipeline.stages.recompute import recomputing
from pipeline.stages.run import RunOutput, execute, look_up

TINY = [
    *("system=open_chain_tfim", "system.n_sites=3", "method=vmc", "ansatz=rbm", "sampler=exhaustive", "infer.units=2"),
    *("stages=[train,infer]", "tracker=none", "progress=false", "checkpoint_seconds=0"),
]
RBM = "pipeline/spin/ansatz/rbm.py"


def run(results: Path, *more: str, said: list[str] | None = None) -> RunOutput:
    config = compose_run([*TINY, "train.steps=4", *more, f"results_dir={results}"])
    return execute(Context(config, notify=(said if said is not None else []).append))


def written(results: Path) -> dict[str, int]:
    """When each entry was finished."""
    return {path.parent.name: path.stat().st_mtime_ns for path in results.glob("_store/*/*/status.json")}


@pytest.fixture
def edited(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the file of the restricted Boltzmann machine had been edited."""
    read = source._read.__wrapped__

    def other(path: Path) -> tuple[str, tuple[str, ...]]:
        digest, imported = read(path)
        return ("0" * 16 if str(path).endswith(RBM) else digest), imported

    monkeypatch.setattr(source, "_read", other)


def test_modules_are_those_of_the_parts_and_what_they_import() -> None:
    found = set(source.sources(train_nodes(Keys(compose_run(TINY)))))
    assert {"pipeline.spin.ansatz.rbm", "pipeline.spin.vmc.method", "pipeline.spin.vmc.local_energy"} <= found
    assert {"pipeline.spin.sampler.exhaustive", "pipeline.base.config.phases", "pipeline.base.numbers.rng"} <= found
    others = {"pipeline.spin.ansatz.mps", "pipeline.spin.sampler.metropolis", "pipeline.gauge.su3"}
    assert not found & {*others, "pipeline.base.run.loop", "pipeline.base.store.store", "pipeline.base.errors"}


def test_comments_docstrings_and_blank_lines_are_no_source(tmp_path: Path) -> None:
    texts = {
        "a": '"""A."""\nfrom pipeline.spin import bits\n\ndef f():\n    """Do."""\n    return 1\n',
        "b": '"""Other\nwords."""\n\nfrom pipeline.spin import bits\ndef f():\n    # why\n    return 1\n',
        "c": '"""A."""\nfrom pipeline.spin import bits\n\ndef f():\n    """Do."""\n    return 2\n',
    }
    read = {}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        read[name] = source._read.__wrapped__(tmp_path / name)
    assert read["a"] == read["b"]
    assert read["a"][0] != read["c"][0]
    assert read["a"][1] == ("pipeline.spin.bits",)


def test_a_module_that_moves_has_not_changed() -> None:
    assert source.changed({"p.a": "1", "p.b": "2"}, {"p.c": "1", "p.b": "2"}) == []
    assert source.changed({"p.a": "1", "p.b": "2"}, {"p.a": "1", "p.b": "3"}) == ["p.b"]
    assert source.changed({"p.a": "1"}, {"p.a": "1", "p.n": "3"}) == ["p.n"]
    assert source.changed({"p.a": "1", "p.g": "2"}, {"p.a": "1"}) == ["p.g"]
    assert source.listed(["p.a", "p.b", "p.c"]) == "p/a.py, p/b.py and 1 more"


def test_results_of_other_source_are_named_at_every_use_and_computed_anew_on_demand(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    said: list[str] = []
    first = run(tmp_path, said=said)
    run(tmp_path, said=said)
    assert said == []
    before = written(tmp_path)
    assert first.trained is not None
    assert first.inferred is not None
    names = f"{first.trained.entry.name}, {first.inferred.name}"
    request.getfixturevalue("edited")
    line = f"{names} were computed before {RBM} changed; --recompute computes them anew"
    for _ in range(2):
        run(tmp_path, said=said)
    assert said == [line, line]
    assert run(tmp_path, "ansatz=dense_ar", said=said).stale == {}
    with recomputing(True):
        again = run(tmp_path, said=said)
    assert again.stale == {}
    assert again.result == first.result
    assert all(written(tmp_path)[key] > moment for key, moment in before.items())
    run(tmp_path, said=said)
    assert len(said) == 2


def test_recomputing_by_option_computes_each_entry_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [*TINY, "train.steps=2", f"results_dir={tmp_path}"]
    assert cli.main(words) == 0
    once = written(tmp_path)
    assert cli.main(words) == 0
    assert written(tmp_path) == once
    assert cli.main([*words, "--recompute"]) == 0
    twice = written(tmp_path)
    assert all(twice[key] > once[key] for key in once)
    assert recompute.outdated_before() == 0
    with recomputing(True):
        run(tmp_path, "train.steps=2")
        thrice = written(tmp_path)
        run(tmp_path, "train.steps=2")
    assert all(thrice[key] > twice[key] for key in once)
    assert written(tmp_path) == thrice
    assert "--recompute" in _help(capsys)


def _help(capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    cli.main(["--help"])
    return capsys.readouterr().out


def test_promoting_what_is_of_other_source_says_so(
    tmp_path: Path, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    output = run(tmp_path, "stages=[train]")
    assert output.trained is not None
    name = output.trained.entry.name
    assert promote.main([name], tmp_path) == 0
    assert capsys.readouterr().err == ""
    request.getfixturevalue("edited")
    assert promote.main([name], tmp_path) == 0
    assert capsys.readouterr().err == f"{name} was computed before {RBM} changed\n"
    entry = Store(tmp_path / "s", pytest.fail, promoted=[tmp_path]).find(*name.split("/"))
    assert entry is not None
    assert entry.sources() == output.trained.entry.sources()


def test_an_entry_that_does_not_name_its_modules_is_told_by_all_of_them(tmp_path: Path) -> None:
    from pipeline.base.store.files import checksum, read_json, sha256, write_json

    output = run(tmp_path, "stages=[train]")
    assert output.trained is not None
    folder = output.trained.entry.path
    (folder / "source.json").unlink()
    for source_then, expected in ((None, []), ("0123", ["the source of pipeline/"])):
        facts = read_json(folder / "provenance.json")
        write_json(folder / "provenance.json", {**facts, "source": source_then or facts["source"]})
        status = read_json(folder / "status.json")
        for name in ("checksum", "format"):
            status.pop(name, None)
        status["files"].pop("source.json", None)
        status["files"]["provenance.json"] = sha256(folder / "provenance.json")
        write_json(folder / "status.json", {**status, "checksum": checksum(status)})
        assert list(run(tmp_path, "stages=[train]").stale.values()) == expected


def interrupted(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A training that ends after two of its steps."""
    with monkeypatch.context() as patch:
        patch.setattr("pipeline.base.run.loop._Run.reasons", lambda self, seen: int(self.done == 2))
        with pytest.raises(Interrupted):
            run(results)


def test_what_was_begun_with_other_source_goes_on_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    interrupted(tmp_path / "a", monkeypatch)
    interrupted(tmp_path / "b", monkeypatch)
    request.getfixturevalue("edited")
    said: list[str] = []
    output = run(tmp_path / "a", said=said)
    assert output.trained is not None
    name = output.trained.entry.name
    assert said[0] == f"{name} was begun before {RBM} changed, and goes on; --recompute begins it anew"
    assert list(output.stale) == [name]
    said.clear()
    with recomputing(True):
        output = run(tmp_path / "b", said=said)
    assert output.stale == {}
    assert said == []


def test_continuing_a_training_of_other_source_says_so(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    run(tmp_path, "stages=[train]")
    request.getfixturevalue("edited")
    said: list[str] = []
    output = run(tmp_path, "stages=[train]", "train.steps=6", said=said)
    assert "was begun before" in said[0]
    assert list(output.stale.values()) == [RBM]


def lines(results: Path) -> list[dict[str, Any]]:
    (path,) = results.glob("_store/train/*/metrics.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_fewer_steps_than_are_there_take_as_many_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The longer training keeps its steps, its metrics and its last state; that of the shorter one comes beside."""
    long = run(tmp_path / "a", "train.steps=9")
    before = lines(tmp_path / "a")
    from pipeline.spin.vmc.method import VariationalMonteCarlo

    taken: list[int] = []
    step = VariationalMonteCarlo.step

    def counted(self: Any, state: Any, k: int) -> Any:
        taken.append(k)
        return step(self, state, k)

    monkeypatch.setattr(VariationalMonteCarlo, "step", counted)
    short = run(tmp_path / "a", "train.steps=3")
    assert taken == [0, 1, 2]
    assert lines(tmp_path / "a") == before
    assert short.trained is not None
    assert long.trained is not None
    assert (short.trained.step, short.trained.entry.status["steps"]) == (3, 9)
    assert short.trained.entry.state_steps() == [3, 9]
    assert short.trained.entry.seconds == long.trained.entry.seconds
    taken.clear()
    snapped = run(tmp_path / "a", "train.steps=5", "train.snapshots=[4]")
    assert taken == [3, 4]
    assert snapped.trained is not None
    assert snapped.trained.entry.state_steps() == [3, 4, 5, 9]
    taken.clear()
    longer = run(tmp_path / "a", "train.steps=11")
    assert taken == [9, 10]
    assert run(tmp_path / "a", "train.steps=9").result == long.result
    assert taken == [9, 10]
    for steps, result in ((3, short.result), (5, snapped.result), (11, longer.result)):
        assert run(tmp_path / str(steps), f"train.steps={steps}").result == result


def test_a_state_is_added_across_an_interruption(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path, "train.steps=9")
    interrupted(tmp_path, monkeypatch)  # two of the four steps that are wanted
    ten = run(tmp_path, "train.steps=10")  # does not need them
    assert ten.trained is not None
    assert ten.trained.entry.state_steps() == [9, 10]
    four = run(tmp_path)
    assert four.trained is not None
    assert four.trained.entry.state_steps() == [4, 9, 10]
    assert [line["k"] for line in lines(tmp_path)] == list(range(10))
    assert four.result == run(tmp_path / "straight").result


def test_a_training_that_says_nonsense_about_its_steps_is_trained_anew(tmp_path: Path) -> None:
    from pipeline.base.store.files import checksum, sha256

    output = run(tmp_path)
    assert output.trained is not None
    folder = output.trained.entry.path
    (folder / "progress.json").write_text('{"finished": {}}')
    status = json.loads((folder / "status.json").read_text())
    status.pop("checksum")
    status["files"]["progress.json"] = sha256(folder / "progress.json")
    (folder / "status.json").write_text(json.dumps({**status, "checksum": checksum(status)}))
    said: list[str] = []
    longer = run(tmp_path, "train.steps=6", said=said)
    assert "cannot be continued" in said[0]
    assert longer.result == run(tmp_path / "b", "train.steps=6").result


def test_swapped_trainings_do_not_give_each_other_s_numbers(tmp_path: Path) -> None:
    """Of two seeds, and with them two inferences; what is not the entry that is asked for is computed again."""
    one, two = (run(tmp_path, f"train.seed={seed}") for seed in (1, 2))
    assert one.result != two.result
    for name in ("trained", "inferred"):
        paths = [(o.trained.entry if name == "trained" else o.inferred).path for o in (one, two)]  # type: ignore[union-attr]
        paths[0].rename(tmp_path / "third")
        paths[1].rename(paths[0])
        (tmp_path / "third").rename(paths[1])
    said: list[str] = []
    assert run(tmp_path, "train.seed=1", said=said).result == one.result
    assert run(tmp_path, "train.seed=2", said=said).result == two.result
    assert len(said) == 4
    assert all("set aside" in line for line in said)


def test_a_finished_run_prints_its_numbers_where_nothing_can_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [*TINY, "stages=[train,infer,report]", "train.steps=2", f"results_dir={tmp_path}"]
    assert cli.main(words) == 0
    capsys.readouterr()

    def unwritable(*_: Any) -> None:
        raise OSError(30, "Read-only file system", "report.md")

    monkeypatch.setattr("pipeline.stages.report.report", unwritable)
    assert cli.main(words) == 0
    out, err = capsys.readouterr()
    assert "energy" in out
    assert err == "the report is not written: [Errno 30] Read-only file system: 'report.md'\n"
    full = lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device"))  # noqa: E731
    monkeypatch.setattr("pipeline.stages.report.report", full)
    assert cli.main(words) == 4
    assert "energy" in capsys.readouterr().out


def test_a_plan_over_committed_results_writes_nothing(tmp_path: Path) -> None:
    committed = ["paper=nf_nqs", "scale=laptop", "system.n_sites=30", "system.range=8", "system.coupling=1.0"]
    config = compose_run([*committed, "stages=[baseline]", f"results_dir={tmp_path / 'none'}"])
    found = look_up(Context(config, notify=pytest.fail, repair=False)).reference
    assert found is not None
    assert found.status["promoted"] is True
    assert not (tmp_path / "none").exists()


def test_committed_results_that_do_not_name_their_modules_are_used_without_a_word(tmp_path: Path) -> None:
    path = next(Path("results/references").glob("*.json"))
    store = Store(tmp_path, pytest.fail, promoted=[path.parents[1]])
    entry = store.find("baseline", path.stem)
    assert entry is not None
    assert entry.sources() == {}
