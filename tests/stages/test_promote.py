"""Committed references and checkpoints: what is promoted stands in for a computation, in another results folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from pipeline.base.store import promoted
from pipeline.base.store.files import save_tree
from pipeline.base.store.keys import digest
from pipeline.stages import promote
from pipeline.stages.compose import compose_run
from pipeline.stages.context import Context
from pipeline.stages.run import RunOutput, execute

SMALL = ["paper=nf_nqs", "scale=smoke", "system.n_sites=10", "system.range=5", "tracker=none", "progress=false"]
ENDLESS = [*SMALL, "train.method.stop=never", "infer.units=1"]


def run(results: Path, overrides: list[str], said: list[str] | None = None) -> RunOutput:
    config = compose_run([*overrides, f"results_dir={results}"])
    return execute(Context(config, notify=(said if said is not None else []).append))


def promote_all(results: Path, output: RunOutput) -> tuple[Path, Path]:
    """Promote the reference and the training of a run; returns the two files."""
    assert output.reference is not None
    assert output.trained is not None
    reference, trained = output.reference.path.name, output.trained.entry.path.name
    assert promote.main([f"baseline/{reference}", trained[:10]], results) == 0
    return results / "references" / f"{reference}.json", results / "checkpoints" / f"{trained}.safetensors"


def clone(files: tuple[Path, Path], results: Path) -> None:
    """The committed files alone in another results folder."""
    for file in files:
        (results / file.parent.name).mkdir(parents=True)
        shutil.copy(file, results / file.parent.name)


def test_promoted_entries_stand_in_for_the_computation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run(tmp_path / "a", [*ENDLESS, "train.steps=3"])
    files = promote_all(tmp_path / "a", first)
    clone(files, tmp_path / "b")
    with monkeypatch.context() as patch:
        patch.setattr("pipeline.stages.train.Loop", lambda *_: pytest.fail("trained again"))
        patch.setattr("pipeline.stages.baseline._direct", lambda *_: pytest.fail("solved again"))
        second = run(tmp_path / "b", [*ENDLESS, "train.steps=3"])
    for ours, theirs in ((second.reference, first.reference), (second.inferred, first.inferred)):
        assert ours is not None
        assert theirs is not None
        assert ours.result() == theirs.result()
    assert second.reference is not None
    assert first.reference is not None
    assert second.reference.status["promoted"] is True
    assert second.reference.seconds == first.reference.seconds
    assert second.reference.provenance() == first.reference.provenance()
    assert second.trained is not None
    assert first.trained is not None
    assert second.trained.entry.metrics() == first.trained.entry.metrics()
    with safe_open(str(files[1]), framework="numpy") as file:
        assert list(file.keys())  # any reader of the format can open it


def test_a_promoted_training_is_continued_bit_for_bit(tmp_path: Path) -> None:
    clone(promote_all(tmp_path / "a", run(tmp_path / "a", [*ENDLESS, "train.steps=2"])), tmp_path / "b")
    continued = run(tmp_path / "b", [*ENDLESS, "train.steps=5"])
    straight = run(tmp_path / "c", [*ENDLESS, "train.steps=5"])
    assert continued.result == straight.result
    assert continued.trained is not None
    assert [m["k"] for m in continued.trained.entry.metrics()] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("damage", ["flip", "truncate", "other"])
def test_a_damaged_promoted_file_is_named_and_not_used(tmp_path: Path, which: int, damage: str) -> None:
    first = run(tmp_path / "a", [*ENDLESS, "train.steps=2"])
    clone(promote_all(tmp_path / "a", first), tmp_path / "b")
    folder = tmp_path / "b" / ("references", "checkpoints")[which]
    (victim,) = folder.iterdir()
    content = bytearray(victim.read_bytes())
    if damage == "other":  # an intact file under another key's name
        victim.rename(victim.with_name("0" * 16 + victim.suffix))
    else:
        middle = len(content) // 2
        content[middle] ^= 4
        victim.write_bytes(content if damage == "flip" else content[:middle])
    said: list[str] = []
    second = run(tmp_path / "b", [*ENDLESS, "train.steps=2"], said)
    assert second.result == first.result
    assert second.reference is not None
    assert second.trained is not None
    entry = (second.reference, second.trained.entry)[which]
    assert "promoted" not in entry.status
    damaged = [line for line in said if "is damaged" in line and "it is not used" in line]
    assert bool(damaged) == (damage != "other"), damaged


def test_a_file_under_another_key_is_refused(tmp_path: Path) -> None:
    first = run(tmp_path / "a", [*SMALL, "stages=[baseline]"])
    other = run(tmp_path / "a", [*SMALL, "stages=[baseline]", "system.coupling=0.5"])
    assert first.reference is not None
    assert other.reference is not None
    assert promote.main([first.reference.path.name], tmp_path / "a") == 0
    (tmp_path / "b" / "references").mkdir(parents=True)
    victim = tmp_path / "b" / "references" / f"{other.reference.path.name}.json"
    shutil.copy(tmp_path / "a" / "references" / f"{first.reference.path.name}.json", victim)
    said: list[str] = []
    again = run(tmp_path / "b", [*SMALL, "stages=[baseline]", "system.coupling=0.5"], said)
    assert again.reference is not None
    assert again.reference.result() == other.reference.result()
    assert any("is damaged" in line for line in said)


def test_promoted_json_is_readable_and_names_no_machine(tmp_path: Path) -> None:
    output = run(tmp_path, [*SMALL, "stages=[baseline]"])
    assert output.reference is not None
    assert promote.main([output.reference.name], tmp_path) == 0
    path = tmp_path / "references" / f"{output.reference.path.name}.json"
    content = json.loads(path.read_text())
    assert content["result"]["estimates"][0]["name"] == "energy"
    assert content["status"]["nodes"]["system"]["n_sites"] == 10
    assert str(tmp_path) not in path.read_text()


def test_what_cannot_be_promoted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    output = run(tmp_path, [*ENDLESS, "train.steps=1"])
    assert output.trained is not None
    assert output.inferred is not None
    assert promote.main(["ffff"], tmp_path) == 2
    assert "no such finished baseline or training" in capsys.readouterr().err
    assert promote.main([output.inferred.path.name], tmp_path) == 2
    capsys.readouterr()
    assert promote.main(["baseline/", "train/"], tmp_path) == 0
    capsys.readouterr()
    shutil.rmtree(tmp_path / "checkpoints")
    monkeypatch.setattr(promoted, "LIMIT_BYTES", 2000)
    assert promote.main([output.trained.entry.path.name], tmp_path) == 2
    assert "MiB" in capsys.readouterr().err
    assert not list((tmp_path / "checkpoints").iterdir())


def test_the_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = run(tmp_path, [*ENDLESS, "train.steps=1"])
    assert output.trained is not None
    promote_all(tmp_path, output)
    capsys.readouterr()
    assert promote.main([], tmp_path) == 0
    text = capsys.readouterr().out
    assert f"train/{output.trained.entry.path.name}" in text
    assert "collective spin, chain_tfim n_sites=10" in text
    assert text.count("promoted") == 2


COMMITTED = [*Path("results/references").glob("*.json"), *Path("results/checkpoints").glob("*")]
ENSEMBLES = list(Path("results/references").glob("*.safetensors"))


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.name)
def test_what_is_committed_is_intact_and_lies_under_the_key_of_its_settings(path: Path) -> None:
    content = promoted.read_promoted(path)
    assert digest(content["status"]["nodes"]) == path.stem
    assert path.stat().st_size <= promoted.LIMIT_BYTES
    assert "+changes" not in content["provenance"]["git"]


@pytest.mark.parametrize("path", ENSEMBLES, ids=lambda path: path.name)
def test_committed_ensembles_are_those_of_their_results(path: Path) -> None:
    content = promoted.read_promoted(path.with_suffix(".json"))  # compares the digest of the ensemble
    assert set(content["ensemble"]) >= {"plaquette", "correlator", "correlator_from_zero"}
    assert path.stat().st_size <= promoted.LIMIT_BYTES


ENSEMBLE = [
    *("system=schwinger", "system.length=4", "stages=[baseline]", "baseline=hmc", "baseline.hmc.chains=3"),
    *("baseline.hmc.warmup=2", "baseline.hmc.measurements=4", "baseline.hmc.keep_links=true"),
    *("tracker=none", "progress=false"),
]


def promote_ensemble(results: Path) -> tuple[RunOutput, Path, Path]:
    """A promoted run of hybrid Monte Carlo; its result and its ensemble."""
    output = run(results, ENSEMBLE)
    assert output.reference is not None
    assert promote.main([output.reference.path.name], results) == 0
    path = results / "references" / f"{output.reference.path.name}.json"
    return output, path, path.with_suffix(".safetensors")


def clone_ensemble(path: Path, ensemble: Path, results: Path) -> None:
    (results / "references").mkdir(parents=True)
    for file in (path, ensemble):
        if file.exists():
            shutil.copy(file, results / "references")


def test_an_ensemble_is_promoted_beside_its_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, path, ensemble = promote_ensemble(tmp_path / "a")
    clone_ensemble(path, ensemble, tmp_path / "b")
    with monkeypatch.context() as patch:
        patch.setattr("pipeline.stages.baseline._monte_carlo", lambda *_: pytest.fail("sampled again"))
        second = run(tmp_path / "b", ENSEMBLE)
    assert first.reference is not None
    assert second.reference is not None
    assert second.reference.result() == first.reference.result()
    here, there = first.reference.ensemble(), second.reference.ensemble()
    assert set(there) == {"plaquette", "topological_charge", "correlator", "correlator_from_zero", "links"}
    for name, array in here.items():
        assert array.shape[:2] == (3, 4)
        np.testing.assert_array_equal(array, there[name])
    with safe_open(str(ensemble), framework="numpy") as file:
        assert len(list(file.keys())) == len(there)  # any reader of the format can open it


@pytest.mark.parametrize("damage", ["flip", "missing", "other"])
def test_a_result_whose_ensemble_is_damaged_is_not_used(tmp_path: Path, damage: str) -> None:
    _, path, ensemble = promote_ensemble(tmp_path / "a")
    content = bytearray(ensemble.read_bytes())
    content[-9] ^= 1
    if damage == "flip":
        ensemble.write_bytes(content)
    elif damage == "missing":
        ensemble.unlink()
    else:
        save_tree(ensemble, {"plaquette": np.zeros((3, 4))})
    clone_ensemble(path, ensemble, tmp_path / "b")
    said: list[str] = []
    output = run(tmp_path / "b", ENSEMBLE, said)
    assert any(f"{path.name} is damaged; it is not used" in line for line in said)
    assert output.reference is not None
    assert not output.reference.status.get("promoted")


def test_an_ensemble_that_is_too_large_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(promoted, "LIMIT_BYTES", 3000)
    output = run(tmp_path, ENSEMBLE)
    assert output.reference is not None
    assert promote.main([output.reference.path.name], tmp_path) == 2
    assert "are promoted" in capsys.readouterr().err
    assert not list((tmp_path / "references").iterdir())
