"""What lies in the store and is not the entry that is asked for: another one, another format, no plain file."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.base.numbers.result import Estimate, Result
from pipeline.base.run.loop import Loop, LoopSettings
from pipeline.base.store.commit import read_progress
from pipeline.base.store.files import checksum, exists, read_json, save_tree, sha256, write_json
from pipeline.base.store.formats import FORMAT, state_name
from pipeline.base.store.store import Store
from tests.base.store.entries import (
    KEY,
    KINDS,
    NODES,
    OTHER,
    OTHER_KEY,
    found,
    having,
    make,
    put,
    rewrite,
    untouched,
    without,
)


@pytest.mark.parametrize("stage", ["train", "baseline", "infer"])
def test_entries_whose_folders_were_swapped_are_not_used(tmp_path: Path, stage: str) -> None:
    store = Store(tmp_path)
    make(store, NODES, stage)
    make(store, OTHER, stage, value=-2.0)
    one, other, third = (tmp_path / stage / name for name in (KEY, OTHER_KEY, "third"))
    for source, target in ((one, third), (other, one), (third, other)):
        os.rename(source, target)
    entry, said = found(tmp_path, KEY, stage)
    assert entry is None
    assert said == [
        f"{stage}/{KEY} is damaged (it holds {stage}/{OTHER_KEY}); it is set aside as {KEY}.corrupt and computed again"
    ]


def test_settings_under_the_name_of_another_key_are_not_used(tmp_path: Path) -> None:
    make(Store(tmp_path))
    rewrite(tmp_path / "baseline" / KEY, lambda status: status.update(nodes=OTHER))
    assert found(tmp_path)[0] is None


def test_only_files_that_the_status_lists_are_read(tmp_path: Path) -> None:
    make(Store(tmp_path), stage="train")
    folder = tmp_path / "train" / KEY
    save_tree(folder / state_name(1), {"weights": np.zeros(2)})
    (folder / "records-x-00000000.npz").write_bytes(b"")
    (folder / "metrics.jsonl").write_text('{"k": 7}\n')
    entry, said = found(tmp_path, stage="train")
    assert entry is not None
    assert (entry.state_steps(), len(entry.records()), entry.metrics(), said) == ([3], 0, [], [])
    with pytest.raises(OSError, match="has no state-00000001"):
        entry.state(1)


def test_a_state_that_belongs_to_another_key_is_not_loaded(tmp_path: Path) -> None:
    make(Store(tmp_path), stage="train")
    folder = tmp_path / "train" / KEY
    save_tree(folder / state_name(3), {"weights": np.zeros(2)}, of=OTHER_KEY)
    rewrite(folder, lambda status: None)
    entry, _ = found(tmp_path, stage="train")
    assert entry is not None
    with pytest.raises(ValueError, match=f"belongs to {OTHER_KEY}"):
        entry.state(3)


def test_an_older_format_is_read(tmp_path: Path) -> None:
    make(Store(tmp_path))
    folder = tmp_path / "baseline" / KEY
    result = read_json(folder / "result.json")
    for name in ("notes", "curves", "extra", "headline"):
        result.pop(name)
    write_json(folder / "result.json", {**result, "estimates": [{"name": "energy", "value": -1}]})
    rewrite(folder, without("format", "device", "peak_bytes"))
    entry, said = found(tmp_path)
    assert entry is not None
    assert said == []
    assert entry.result() == Result((Estimate("energy", -1),))
    assert entry.cost.startswith("1.0 s on an unknown device")
    assert entry.memory == "an unknown amount of memory"


@pytest.mark.parametrize("number", [FORMAT + 1, 0, "2", None, True, 1.5])
def test_an_unknown_format_is_named_and_set_aside(tmp_path: Path, number: Any) -> None:
    make(Store(tmp_path))
    rewrite(tmp_path / "baseline" / KEY, lambda status: status.update(format=number))
    entry, said = found(tmp_path)
    assert entry is None
    assert f"its format {number!r} is not known here" in said[0]
    assert (tmp_path / "baseline" / f"{KEY}.corrupt" / "result.json").exists()


WRONG_SECONDS: tuple[Any, ...] = (None, "1", -1.0, float("nan"), True)
WRONG_NODES: tuple[Any, ...] = (None, [], "x")
STATUSES: list[Callable[[dict[str, Any]], None]] = [
    *(without(name) for name in ("stage", "key", "nodes", "seconds", "kind")),
    *(having("seconds", wrong) for wrong in WRONG_SECONDS),
    *(having("nodes", wrong) for wrong in WRONG_NODES),
    having("peak_bytes", "much"),
    having("device", 3),
    lambda s: s["files"].pop("result.json"),
    lambda s: s["files"].pop("provenance.json"),
]
RESULTS: list[Callable[[dict[str, Any]], None]] = [
    lambda r: r["estimates"][0].update(colour="red"),
    lambda r: r["estimates"][0].update(value="low"),
    lambda r: r["estimates"][0].update(value=None),
    lambda r: r["estimates"][0].update(bound="guessed"),
    lambda r: r["estimates"][0].pop("value"),
    lambda r: r.update(estimates=3),
    lambda r: r.update(estimates=[3]),
    lambda r: r.update(notes=[1]),
    lambda r: r.update(headline="momentum"),
    lambda r: r.update(curves=[{"name": "c"}]),
    lambda r: r.update(curves=[{"name": "c", "x_name": "x", "y_name": "y", "x": [1], "y": []}]),
    lambda r: r.update(more=1),
]


@pytest.mark.parametrize("number", range(len(STATUSES)))
def test_a_misshapen_status_is_damage(tmp_path: Path, number: int) -> None:
    make(Store(tmp_path))
    rewrite(tmp_path / "baseline" / KEY, STATUSES[number])
    entry, said = found(tmp_path)
    assert entry is None
    assert len(said) == 1
    assert "set aside" in said[0]


@pytest.mark.parametrize("number", range(len(RESULTS)))
def test_a_misshapen_result_is_damage(tmp_path: Path, number: int) -> None:
    make(Store(tmp_path))
    folder = tmp_path / "baseline" / KEY
    result = read_json(folder / "result.json")
    RESULTS[number](result)
    write_json(folder / "result.json", result)
    rewrite(folder, lambda status: None)
    entry, said = found(tmp_path)
    assert entry is None
    assert "result.json" in said[0]


@pytest.mark.parametrize("text", ["[]", "3", "null", "[" * 100_000, "{", '{"files": 3}', "\ufeff{}"])
def test_a_status_that_is_something_else_is_damage(tmp_path: Path, text: str) -> None:
    make(Store(tmp_path))
    (tmp_path / "baseline" / KEY / "status.json").write_text(text)
    assert found(tmp_path)[0] is None


@pytest.mark.parametrize("name", ["/etc/passwd", "../other", "", ".."])
def test_no_file_outside_of_an_entry_is_listed(tmp_path: Path, name: str) -> None:
    make(Store(tmp_path))
    status = read_json(tmp_path / "baseline" / KEY / "status.json")
    status.pop("checksum")
    status["files"][name] = "0"
    write_json(tmp_path / "baseline" / KEY / "status.json", {**status, "checksum": checksum(status)})
    entry, said = found(tmp_path)
    assert entry is None
    assert "lists what is no file of it" in said[0]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["status.json", "result.json", "provenance.json"])
def test_what_is_no_plain_file_in_an_entry_is_damage(tmp_path: Path, mine: Path, name: str, kind: str) -> None:
    make(Store(tmp_path / "s"))
    victim = tmp_path / "s" / "baseline" / KEY / name
    victim.unlink()
    put(victim, kind, mine)
    entry, said = found(tmp_path / "s")
    assert entry is None
    assert f"{name} is not a plain file" in said[0]
    make(Store(tmp_path / "s"))
    assert found(tmp_path / "s")[0] is not None
    assert untouched(mine)


FOLDERS, FILES = ("", ".partial", ".corrupt", ".old"), (".lock", ".owner")


@pytest.mark.parametrize(
    ("suffix", "kind"),
    [
        *((suffix, kind) for suffix in FOLDERS for kind in ("file", "link to a folder", *KINDS[2:])),
        *((suffix, kind) for suffix in FILES for kind in ("link to a folder", *KINDS)),
    ],
)
def test_what_is_no_folder_where_one_should_be_is_set_aside(tmp_path: Path, mine: Path, suffix: str, kind: str) -> None:
    """Or no file where there should be one; it is never written through, and never hung on."""
    root = tmp_path / "s"
    make(Store(root))
    if suffix in ("", ".corrupt"):
        os.rename(root / "baseline" / KEY, root / "aside")
    victim = root / "baseline" / f"{KEY}{suffix}"
    victim.unlink(missing_ok=True)
    if kind == "file":
        victim.write_text("x")
    elif kind == "link to a folder":
        victim.symlink_to(mine)
    else:
        put(victim, kind, mine)
    if suffix == ".corrupt":  # something has to be set aside over it
        (root / "baseline" / KEY).mkdir()
    found(root)
    made = make(Store(root, lambda _: None))
    entry, said = found(root)
    assert entry is not None
    assert entry.result() == made.result()
    assert said == []
    assert untouched(mine)
    assert not victim.is_symlink()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["progress.json", "status.json", "metrics.jsonl", "checkpoint-x-00000002.safetensors"])
def test_what_is_no_plain_file_in_a_working_folder_is_set_aside(
    tmp_path: Path, mine: Path, name: str, kind: str
) -> None:
    root = tmp_path / "s"
    partial = root / "baseline" / f"{KEY}.partial"
    partial.mkdir(parents=True)
    put(partial / name, kind, mine)
    said: list[str] = []
    with Store(root, said.append).work("baseline", KEY) as work:
        assert list(work.path.iterdir()) == []
    aside = f"it is set aside as {KEY}.corrupt and computed again"
    assert said == [f"baseline/{KEY}.partial is damaged ({name} is not a plain file); {aside}"]
    assert exists(root / "baseline" / f"{KEY}.corrupt" / name)
    assert untouched(mine)


class Walker:
    """A state of a few numbers that takes no other number of them."""

    def __init__(self, size: int = 2) -> None:
        self.position = np.zeros(size)

    def state_dict(self) -> dict[str, Any]:
        return {"position": self.position.copy()}

    def load_state_dict(self, tree: dict[str, Any]) -> None:
        if tree["position"].shape != self.position.shape:
            raise ValueError(f"{tree['position'].shape} is not {self.position.shape}")
        self.position = tree["position"]


def interrupted(folder: Path, walker: Walker, units: int = 3) -> None:
    """A working folder of a loop that has done some units."""
    folder.mkdir(parents=True)
    run = Loop(folder, walker, LoopSettings(checkpoint_seconds=0, notify=lambda _: None))

    def body(state: Walker, k: int) -> dict[str, float]:
        if k == units:
            raise KeyboardInterrupt
        state.position += k + 1
        return {"x": 1.0}

    with pytest.raises(KeyboardInterrupt):
        run.run("train", body, 10)


def edit_progress(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    progress = read_json(folder / "progress.json")
    progress.pop("checksum")
    change(progress)
    write_json(folder / "progress.json", {**progress, "checksum": checksum(progress)})


PROGRESSES: dict[str, Callable[[dict[str, Any]], None]] = {
    "beyond": lambda p: p["current"]["train"].update(done=10**9),
    "negative": lambda p: p["current"]["train"].update(done=-1),
    "fraction": lambda p: p["current"]["train"].update(done=1.5),
    "before": lambda p: p["current"]["train"].update(done=1),
    "time": lambda p: p["current"]["train"].update(seconds=-1.0),
    "threads": lambda p: p.update(threads=0),
    "many threads": lambda p: p.update(threads=10**9),
    "no state": lambda p: p.update(state=None, state_sha256=None),
    "path": lambda p: p["kept"].update({"../../etc/passwd": "0"}),
    "finished": lambda p: p["finished"].update(train={"done": 10**9, "stopped": None, "seconds": 1.0}),
    "end": lambda p: p["finished"].update(train={"done": 3}),
    "key": lambda p: p.update(key=OTHER_KEY),
    "format": lambda p: p.update(format=99),
}


@pytest.mark.parametrize("change", PROGRESSES.values(), ids=PROGRESSES)
def test_a_commit_point_that_cannot_be_starts_anew(tmp_path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    folder = tmp_path / "train" / f"{KEY}.partial"
    interrupted(folder, Walker())
    assert read_progress(folder, pytest.fail)["current"]["train"]["done"] == 3
    edit_progress(folder, change)
    said: list[str] = []
    assert read_progress(folder, said.append)["current"] == {}
    assert len(said) == 1
    assert "is damaged" in said[0]
    assert list(folder.iterdir()) == []


def test_a_commit_point_without_number_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "train" / f"{KEY}.partial"
    interrupted(folder, Walker())
    edit_progress(folder, without("format", "key"))
    assert read_progress(folder, pytest.fail)["current"]["train"]["done"] == 3


def test_working_folders_that_were_swapped_start_anew(tmp_path: Path) -> None:
    interrupted(tmp_path / "train" / f"{KEY}.partial", Walker())
    os.rename(tmp_path / "train" / f"{KEY}.partial", tmp_path / "train" / f"{OTHER_KEY}.partial")
    said: list[str] = []
    assert read_progress(tmp_path / "train" / f"{OTHER_KEY}.partial", said.append)["current"] == {}
    assert f"it is of {KEY}" in said[0]


@pytest.mark.parametrize("of", [KEY, OTHER_KEY])
def test_the_state_of_another_network_starts_anew(tmp_path: Path, of: str) -> None:
    folder = tmp_path / "train" / f"{KEY}.partial"
    interrupted(folder, Walker())
    name = read_json(folder / "progress.json")["state"]
    save_tree(folder / name, {"position": np.zeros(5 if of == KEY else 2)}, of=of)
    edit_progress(folder, lambda p: p.update(state_sha256=sha256(folder / name)))
    said: list[str] = []
    walker = Walker()
    outcome = Loop(folder, walker, LoopSettings(notify=said.append)).run("train", lambda state, k: {"k": k}, 4)
    assert outcome.done == 4
    assert len((folder / "metrics.jsonl").read_text().splitlines()) == 4
    assert len(said) == 1
    assert f"{name} does not fit" in said[0]
    assert walker.position.tolist() == [0, 0]


def test_readers_do_not_meet_the_gap_between_two_renames(tmp_path: Path) -> None:
    """While another thread exchanges the entry again and again, it is always there, and never damaged."""
    store = Store(tmp_path)
    make(store, stage="train")
    done = threading.Event()

    def exchange() -> None:
        for _ in range(30):
            make(Store(tmp_path, lambda _: None), stage="train")
        done.set()

    writer = threading.Thread(target=exchange)
    writer.start()
    said: list[str] = []
    looks = 0
    while not done.is_set() or looks < 10:
        for repair in (True, False):
            entry = Store(tmp_path, said.append, repair=repair).find("train", KEY)
            assert entry is not None
            assert entry.state(3)["weights"].tolist() == [-1.1, -1.1]
            looks += 1
    writer.join()
    assert said == []


def test_a_reader_waits_in_the_gap(tmp_path: Path) -> None:
    make(Store(tmp_path))
    path, old = tmp_path / "baseline" / KEY, tmp_path / "baseline" / f"{KEY}.old"
    entry, _ = found(tmp_path)
    assert entry is not None
    os.rename(path, old)
    timer = threading.Timer(0.05, lambda: os.rename(old, path))
    timer.start()
    assert entry.result().estimate("energy").value == -1.1
    timer.join()
    os.rename(path, old)
    timer = threading.Timer(0.05, lambda: os.rename(old, path))
    timer.start()
    assert Store(tmp_path, pytest.fail, repair=False).find("baseline", KEY) is not None
    timer.join()
