"""The stage store: ``<results>/_store/<stage>/<key>/``, one finished entry a key.

A stage works in ``<key>.partial/`` under a file lock and renames it at the end; ``status.json``, written last, holds
a checksum of every file. Whatever is incomplete or damaged is named, set aside and rebuilt, never used.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from pipeline.base.store.commit import commit
from pipeline.base.store.entry import ENSEMBLE, Entry, state_name
from pipeline.base.store.files import checksum, save_tree, sha256, write_json
from pipeline.base.store.keys import plain
from pipeline.base.store.promoted import find_promoted, read_promoted
from pipeline.base.store.provenance import provenance

Notify = Callable[[str], None]


@dataclass
class Work:
    """An entry in the making, held under its lock. ``path`` is ``<key>.partial``."""

    store: Store
    stage: str
    key: str
    path: Path

    def finish(self, *, nodes: dict[str, Any], seconds: float, facts: dict[str, Any]) -> Entry:
        """Write provenance and status, then rename into place (replacing a shorter entry of the same key)."""
        write_json(self.path / "provenance.json", provenance())
        return self.seal(
            {
                "stage": self.stage,
                "key": self.key,
                "nodes": plain(nodes),
                "seconds": seconds,
                "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                **facts,
            }
        )

    def seal(self, facts: dict[str, Any]) -> Entry:
        """Write ``status.json`` with ``facts`` and the checksums of all files, and rename into place."""
        for leftover in self.path.glob(".*.tmp"):
            leftover.unlink()
        files = {path.name: sha256(path) for path in sorted(self.path.iterdir()) if path.name != "status.json"}
        status = {**facts, "files": files}
        write_json(self.path / "status.json", {**status, "checksum": checksum(status)})
        final, old = self.store.path(self.stage, self.key), self.store.path(self.stage, self.key + ".old")
        if final.exists():
            shutil.rmtree(old, ignore_errors=True)
            os.rename(final, old)
        os.rename(self.path, final)
        shutil.rmtree(old, ignore_errors=True)
        return Entry(final, status)


class Store:
    """Reads and writes entries below ``root``.

    Args:
        notify: gets one line for anything a user should know.
        repair: set damaged entries aside; False reports them and leaves them where they are.
        promoted: results folders whose committed references and checkpoints stand in for entries that are not here.
    """

    def __init__(self, root: Path, notify: Notify = print, repair: bool = True, promoted: Sequence[Path] = ()) -> None:
        self.root, self.notify, self.repair, self.promoted = root, notify, repair, promoted

    def path(self, stage: str, key: str) -> Path:
        """Folder of an entry."""
        return self.root / stage / key

    def find(self, stage: str, key: str) -> Entry | None:
        """The finished entry, verified, or None. A damaged entry is reported and set aside."""
        path, old = self.path(stage, key), self.path(stage, key + ".old")
        if path.exists() and not old.exists() and _problem(path) is None:
            return Entry(path, json.loads((path / "status.json").read_text()))
        if not path.exists() and not old.exists():
            return self._unpack(stage, key)
        if not self.repair:
            self.notify(f"{stage}/{key} is damaged ({_problem(path) or 'a replacement was cut short'})")
            return None
        lock = self._lock(stage, key)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return None  # it is being replaced at this moment; whoever needs it takes the lock and looks again
        try:
            return self._find_or_repair(stage, key)
        finally:
            lock.release()

    def _find_or_repair(self, stage: str, key: str) -> Entry | None:
        """As :meth:`find`, with the lock held, so that renames meet no other process."""
        path, old = self.path(stage, key), self.path(stage, key + ".old")
        if old.exists() and not path.exists():
            os.rename(old, path)  # killed between the two renames of a replacement
        shutil.rmtree(old, ignore_errors=True)
        problem = _problem(path)
        if problem is None:
            return Entry(path, json.loads((path / "status.json").read_text()))
        aside = self.path(stage, key + ".corrupt")
        shutil.rmtree(aside, ignore_errors=True)
        os.rename(path, aside)
        self.notify(f"{stage}/{key} is damaged ({problem}); it is set aside as {aside.name} and computed again")
        return None

    def _unpack(self, stage: str, key: str) -> Entry | None:
        """An ordinary entry made from the committed file of ``key``, if there is an intact one."""
        source = find_promoted(self.promoted, stage, key)
        if source is None:
            return None
        content = read_promoted(source)
        if content is None or (content["status"]["stage"], content["status"]["key"]) != (stage, key):
            self.notify(f"{source} is damaged; it is not used")
            return None
        try:
            self._lock(stage, key).acquire(timeout=0)
        except Timeout:
            return None  # somebody computes it at this moment
        try:
            with self.work(stage, key) as work:
                for leftover in work.path.iterdir():
                    leftover.unlink()
                write_json(work.path / "provenance.json", content["provenance"])
                if "result" in content:
                    write_json(work.path / "result.json", content["result"])
                    if "ensemble" in content:
                        save_tree(work.path / ENSEMBLE, content["ensemble"])
                else:
                    _unpack_training(work.path, content)
                return work.seal({**content["status"], "promoted": True})
        finally:
            self._lock(stage, key).release()

    def _lock(self, stage: str, key: str) -> FileLock:
        """The lock of an entry; the same process may take it again."""
        (self.root / stage).mkdir(parents=True, exist_ok=True)
        return FileLock(str(self.root / stage / f"{key}.lock"), is_singleton=True)

    @contextmanager
    def work(self, stage: str, key: str) -> Iterator[Work]:
        """Hold the lock of (stage, key) and its ``.partial`` folder; waits, with one line, for another process."""
        lock, owner = self._lock(stage, key), self.root / stage / f"{key}.owner"
        try:
            lock.acquire(timeout=0)
        except Timeout:
            holder = _read(owner) or "another process"
            self.notify(f"{stage}/{key} is being computed by {holder}; waiting for it")
            lock.acquire()
        try:
            owner.write_text(f"process {os.getpid()}")
            partial = self.path(stage, key + ".partial")
            partial.mkdir(exist_ok=True)
            yield Work(self, stage, key, partial)
            owner.unlink(missing_ok=True)
        finally:
            lock.release()


def _unpack_training(folder: Path, content: dict[str, Any]) -> None:
    """The last state, the metrics and a finished loop's progress, so that the training can be continued."""
    status = content["status"]
    name = state_name(status["steps"])
    save_tree(folder / name, content["state"])
    (folder / "metrics.jsonl").write_bytes(content["metrics"])
    outcome = {"done": status["steps"], "stopped": status["stopped"], "seconds": status["seconds"]}
    progress = {"finished": {"train": outcome}, "current": {}, "records": {}, "state": name, "kept": {}}
    commit(folder, {**progress, "state_sha256": sha256(folder / name), "threads": content["provenance"]["threads"]})


def _read(path: Path) -> str:
    """The content of a small file that may vanish at any moment."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _problem(path: Path) -> str | None:
    """What is wrong with an entry, or None."""
    try:
        status = json.loads((path / "status.json").read_text())
        if status.pop("checksum") != checksum(status):
            return "the checksum of status.json differs"
    except FileNotFoundError:
        return "status.json is missing"
    except (ValueError, KeyError, TypeError, AttributeError):
        return "status.json cannot be read"
    for name, expected in status["files"].items():
        if not (path / name).exists():
            return f"{name} is missing"
        if sha256(path / name) != expected:
            return f"the checksum of {name} differs"
    return None
