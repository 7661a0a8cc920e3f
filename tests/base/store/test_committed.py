"""Committed files beside the store: malformed ones, older formats, and what must not be written through."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.base.errors import UserError
from pipeline.base.store import promoted
from pipeline.base.store.files import load_tree, save_tree, tree_digest, write_json
from pipeline.base.store.formats import FORMAT
from pipeline.base.store.store import Store
from tests.base.store.entries import (
    KEY,
    KINDS,
    OTHER,
    make,
    put,
    untouched,
    without,
)


def committed(results: Path, stage: str = "baseline") -> Path:
    """The committed file of an entry that no store holds."""
    entry = make(Store(results / "elsewhere"), stage=stage)
    return promoted.promote(entry, results)


def reseal(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change a committed file and its digest with it."""
    content = json.loads(path.read_text()) if path.suffix == ".json" else load_tree(path)
    content.pop("sha256")
    change(content)
    content = {**content, "sha256": tree_digest(content)}
    write_json(path, content) if path.suffix == ".json" else save_tree(path, content)


PROMOTED: dict[str, Callable[[dict[str, Any]], None]] = {
    "no status": without("status"),
    "status": lambda c: c.update(status=[1]),
    "no provenance": without("provenance"),
    "provenance": lambda c: c.update(provenance={"threads": "two"}),
    "stage": lambda c: c["status"].pop("stage"),
    "key": lambda c: c["status"].pop("key"),
    "nodes": lambda c: c["status"].update(nodes=OTHER),
    "seconds": lambda c: c["status"].pop("seconds"),
    "sources": lambda c: c.update(sources=[1]),
    "format": lambda c: c["status"].update(format=FORMAT + 1),
}
REFERENCES: dict[str, Callable[[dict[str, Any]], None]] = {
    "no result": without("result"),
    "result": lambda c: c.update(result=[]),
    "field": lambda c: c["result"]["estimates"][0].update(colour="red"),
    "kind": lambda c: c["status"].pop("kind"),
    "ensemble": lambda c: c.update(ensemble_sha256="0"),
}
TRAININGS: dict[str, Callable[[dict[str, Any]], None]] = {
    "no state": without("state"),
    "no metrics": without("metrics"),
    "metrics": lambda c: c.update(metrics=np.zeros(4, np.uint8)),
    "steps": lambda c: c["status"].pop("steps"),
    "minus": lambda c: c["status"].update(steps=-3),
}


@pytest.mark.parametrize(
    ("stage", "change"),
    [
        *(("baseline", change) for change in (*PROMOTED.values(), *REFERENCES.values())),
        *(("train", change) for change in (*PROMOTED.values(), *TRAININGS.values())),
    ],
    ids=[*(f"baseline-{name}" for name in {**PROMOTED, **REFERENCES}), *(f"train-{n}" for n in PROMOTED | TRAININGS)],
)
def test_a_malformed_committed_file_is_passed_over(
    tmp_path: Path, stage: str, change: Callable[[dict[str, Any]], None]
) -> None:
    path = committed(tmp_path, stage)
    reseal(path, change)
    said: list[str] = []
    assert Store(tmp_path / "s", said.append, promoted=[tmp_path]).find(stage, KEY) is None
    assert len(said) == 1
    assert said[0].startswith(str(path))
    assert said[0].endswith("it is not used")


@pytest.mark.parametrize("kind", KINDS)
def test_a_committed_file_that_is_no_plain_file_is_passed_over(tmp_path: Path, mine: Path, kind: str) -> None:
    path = committed(tmp_path)
    path.unlink()
    put(path, kind, mine)
    said: list[str] = []
    assert Store(tmp_path / "s", said.append, promoted=[tmp_path]).find("baseline", KEY) is None
    assert len(said) == 1


@pytest.mark.parametrize("stage", ["train", "baseline"])
def test_a_committed_file_of_the_first_format_is_read(tmp_path: Path, stage: str) -> None:
    path = committed(tmp_path, stage)
    reseal(path, lambda content: content["status"].pop("format"))
    reseal(path, lambda content: content["status"].pop("device"))
    entry = Store(tmp_path / "s", pytest.fail, promoted=[tmp_path]).find(stage, KEY)
    assert entry is not None
    assert entry.status["promoted"] is True


def test_where_one_layer_is_damaged_the_next_one_serves(tmp_path: Path) -> None:
    committed(tmp_path / "b")
    committed(tmp_path / "a").write_text("{")
    said: list[str] = []
    entry = Store(tmp_path / "s", said.append, promoted=[tmp_path / "a", tmp_path / "b"]).find("baseline", KEY)
    assert entry is not None
    assert len(said) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_what_lies_where_a_committed_file_is_unpacked_is_not_written_through(
    tmp_path: Path, mine: Path, kind: str
) -> None:
    committed(tmp_path)
    (tmp_path / "s" / "baseline").mkdir(parents=True)
    put(tmp_path / "s" / "baseline" / f"{KEY}.unpacked", kind, mine)
    assert Store(tmp_path / "s", pytest.fail, promoted=[tmp_path]).find("baseline", KEY) is not None
    assert untouched(mine)


def test_looking_writes_nothing_below_the_store(tmp_path: Path) -> None:
    """A plan over committed results works where nothing can be written."""
    committed(tmp_path)
    store = Store(tmp_path / "s", pytest.fail, repair=False, promoted=[tmp_path])
    for _ in range(2):
        entry = store.find("baseline", KEY)
        assert entry is not None
        assert entry.name == f"baseline/{KEY}"
        assert entry.result().estimate("energy").value == -1.1
    assert not (tmp_path / "s").exists()


def test_committed_results_serve_a_store_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    committed(tmp_path)
    (tmp_path / "s").write_text("")  # a file where the store should be: like a disk for reading, even to root
    entry = Store(tmp_path / "s" / "deeper", pytest.fail, promoted=[tmp_path]).find("baseline", KEY)
    assert entry is not None


def test_unpacking_leaves_what_an_interrupted_run_has_done(tmp_path: Path) -> None:
    committed(tmp_path)
    partial = tmp_path / "s" / "baseline" / f"{KEY}.partial"
    partial.mkdir(parents=True)
    (partial / "progress.json").write_text("hours of work")
    assert Store(tmp_path / "s", pytest.fail, promoted=[tmp_path]).find("baseline", KEY) is not None
    assert (partial / "progress.json").read_text() == "hours of work"


def test_an_entry_that_appears_before_the_lock_is_held_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody unpacked the committed training and went on from it; the committed one does not come over it."""
    committed(tmp_path)
    root = tmp_path / "s"
    read = promoted.read_promoted

    def slow(path: Path) -> dict[str, Any]:
        make(Store(root), value=-7.0)
        return read(path)

    monkeypatch.setattr("pipeline.base.store.store.read_promoted", slow)
    entry = Store(root, pytest.fail, promoted=[tmp_path]).find("baseline", KEY)
    assert entry is not None
    assert entry.result().estimate("energy").value == -7.0


@pytest.mark.parametrize("stage", ["train", "baseline"])
def test_an_entry_that_is_too_large_leaves_the_committed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    path = committed(tmp_path, stage)
    before = path.read_bytes()
    monkeypatch.setattr(promoted, "LIMIT_BYTES", 100)
    with pytest.raises(UserError, match="MiB are promoted"):
        committed(tmp_path, stage)
    assert path.read_bytes() == before
    assert [child.name for child in path.parent.iterdir()] == [path.name]
