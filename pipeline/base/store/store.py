"""The stage store: ``<results>/_store/<stage>/<key>/``, one finished entry a key.

A stage works in ``<key>.partial/`` under a file lock and renames it at the end; ``status.json``, written last, holds
a checksum of every file. Whatever is incomplete, damaged, of another key, of an unknown format or no plain file is
named, set aside and rebuilt, never used.
"""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.base.store.entry import Entry
from pipeline.base.store.files import (
    PATIENCE_SECONDS,
    checksum,
    exists,
    is_plain,
    is_plain_folder,
    read_json,
    read_plain,
    remove,
    sha256,
    write_json,
)
from pipeline.base.store.formats import (
    FORMAT,
    PROVENANCE,
    RESULT,
    SOURCE,
    STATUS,
    complaint,
    complaint_of_provenance,
    complaint_of_result,
)
from pipeline.base.store.keys import plain
from pipeline.base.store.promoted import UnusableError, find_promoted, read_promoted, unpack
from pipeline.base.store.provenance import provenance

Notify = Callable[[str], None]

NOT_THERE = "it is not there"


class _Busy(Exception):
    """Another process holds the lock of an entry."""


@dataclass
class Work:
    """An entry in the making, held under its lock.

    Attributes:
        path: ``<key>.partial``.
        sources: digests of the modules that compute it, by name; what the folder says already stays.
    """

    store: Store
    stage: str
    key: str
    path: Path
    sources: Mapping[str, str] = field(default_factory=dict)
    clocks: tuple[float, float] = field(default_factory=lambda: (time.perf_counter(), time.process_time()))

    def finish(self, *, nodes: dict[str, Any], seconds: float, facts: dict[str, Any]) -> Entry:
        """Write provenance and status, then rename into place (replacing a shorter entry of the same key)."""
        write_json(self.path / PROVENANCE, provenance())
        if self.sources and not exists(self.path / SOURCE):
            write_json(self.path / SOURCE, dict(self.sources))
        return self.seal(
            {
                "format": FORMAT,
                "stage": self.stage,
                "key": self.key,
                "nodes": plain(nodes),
                "seconds": seconds,
                "busy": self._busy(),
                "finished": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
                **facts,
            }
        )

    def _busy(self) -> float:
        """Cores that this process had on average since the work began: below one where others took them away."""
        wall, cores = time.perf_counter() - self.clocks[0], time.process_time() - self.clocks[1]
        return cores / wall if wall > 0 else 1.0

    def seal(self, facts: dict[str, Any]) -> Entry:
        """Write ``status.json`` with ``facts`` and the checksums of all files, and rename into place."""
        for leftover in self.path.glob(".*.tmp"):
            leftover.unlink()
        files = {path.name: sha256(path) for path in sorted(self.path.iterdir()) if path.name != STATUS}
        status = {**facts, "files": files}
        write_json(self.path / STATUS, {**status, "checksum": checksum(status)})
        final, old = self.store.path(self.stage, self.key), self.store.path(self.stage, self.key + ".old")
        if exists(final):
            remove(old)
            os.rename(final, old)
        os.rename(self.path, final)
        remove(old)
        return Entry(final, status)


class Store:
    """Reads and writes entries below ``root``.

    Args:
        notify: gets one line for anything a user should know.
        repair: set damaged entries aside; False reports them and writes nothing at all below ``root``.
        promoted: results folders whose committed references and checkpoints stand in for entries that are not here.
    """

    def __init__(self, root: Path, notify: Notify = print, repair: bool = True, promoted: Sequence[Path] = ()) -> None:
        self.root, self.notify, self.repair, self.promoted = root, notify, repair, promoted

    def path(self, stage: str, key: str) -> Path:
        """Folder of an entry."""
        return self.root / stage / key

    def find(self, stage: str, key: str) -> Entry | None:
        """The finished entry of (stage, key), verified, or None. A damaged one is reported and set aside.

        Where another process exchanges it at this moment, it is waited for.
        """
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            entry, problem = self._look(stage, key)
            if entry is not None:
                return entry
            if problem == NOT_THERE:
                return self._unpacked(stage, key)
            if self.repair:
                try:
                    with self._held(stage, key):
                        return self._find_or_mend(stage, key)
                except _Busy:
                    pass
                except OSError as error:  # a store that cannot be written
                    self.notify(f"{stage}/{key} is damaged ({problem}); it cannot be set aside: {error}")
                    return None
            if time.monotonic() > deadline:
                if not self.repair:
                    self.notify(f"{stage}/{key} is damaged ({problem})")
                return None  # under work, in the hands of another process: whoever needs it waits for its lock
            time.sleep(0.002)

    def _look(self, stage: str, key: str) -> tuple[Entry | None, str]:
        """The entry, if it is as it should be; else what is wrong with it."""
        path, old = self.path(stage, key), self.path(stage, key + ".old")
        if not exists(path):
            # in this order: between the two renames of an exchange the old one is there, after them the new one
            return None, "a replacement was cut short" if exists(old) or exists(path) else NOT_THERE
        if not is_plain_folder(path):
            return None, "it is not a plain folder"
        try:
            status = read_json(path / STATUS)
            if status.pop("checksum") != checksum(status):
                return None, f"the checksum of {STATUS} differs"
        except FileNotFoundError:
            return None, f"{STATUS} is missing"
        except OSError as error:
            return None, str(error)
        except (ValueError, KeyError, TypeError, AttributeError):
            return None, f"{STATUS} cannot be read"
        problem = complaint(stage, key, status) or _problem(path, status["files"])
        return (None, problem) if problem else (Entry(path, status), "")

    def _find_or_mend(self, stage: str, key: str) -> Entry | None:
        """As :meth:`find`, with the lock held, so that renames meet no other process."""
        path, old = self.path(stage, key), self.path(stage, key + ".old")
        if is_plain_folder(old) and not exists(path):
            os.rename(old, path)  # killed between the two renames of a replacement
        remove(old)
        entry, problem = self._look(stage, key)
        if entry is not None:
            return entry
        if problem == NOT_THERE:
            return self._unpacked(stage, key)
        self._set_aside(path, key + ".corrupt", f"{stage}/{key}", problem)
        return None

    def _set_aside(self, path: Path, name: str, what: str, problem: str) -> None:
        """Rename something that is damaged to ``name`` beside it, and say so."""
        aside = path.with_name(name)
        remove(aside)
        os.rename(path, aside)
        self.notify(f"{what} is damaged ({problem}); it is set aside as {name} and computed again")

    def _unpacked(self, stage: str, key: str) -> Entry | None:
        """An ordinary entry made from the first committed file of ``key`` that is intact, if there is one.

        It goes into the store, or where nothing is to be written there, into a folder that ends with the process.
        """
        for source in find_promoted(self.promoted, stage, key):
            try:
                content = read_promoted(source)
            except UnusableError as error:
                self.notify(f"{source} {error}; it is not used")
                continue
            if self.repair:
                try:
                    with self._held(stage, key):
                        # somebody may have finished it, or gone on from it, before we had the lock
                        entry, problem = self._look(stage, key)
                        return self._unpack(stage, key, content) if problem == NOT_THERE else entry
                except _Busy:
                    return None  # somebody computes it at this moment
                except OSError:
                    pass  # a store that cannot be written
            beside = Store(_scratch() / hashlib.sha256(str(source.resolve()).encode()).hexdigest(), self.notify)
            return beside._look(stage, key)[0] or beside._unpack(stage, key, content)
        return None

    def _unpack(self, stage: str, key: str, content: dict[str, Any]) -> Entry:
        folder = self.path(stage, key + ".unpacked")
        remove(folder)
        folder.mkdir(parents=True)
        unpack(content, folder)
        return Work(self, stage, key, folder).seal({**content["status"], "promoted": True})

    @contextmanager
    def _held(self, stage: str, key: str, timeout: float = 0) -> Iterator[None]:
        """The lock of an entry; the same process may take it again.

        Raises:
            _Busy: another process has it.
            OSError: the store cannot be written.
        """
        path = self.root / stage / f"{key}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        if exists(path) and not is_plain(path):
            self._set_aside(path, path.name + ".corrupt", f"{stage}/{path.name}", "it is not a plain file")
        from filelock import FileLock, Timeout  # with sockets and asyncio, of which composing a run has no need

        try:
            held = FileLock(str(path), is_singleton=True).acquire(timeout=timeout)
        except Timeout as error:
            raise _Busy(path.name) from error
        with held:
            yield

    @contextmanager
    def work(self, stage: str, key: str) -> Iterator[Work]:
        """Hold the lock of (stage, key) and its ``.partial`` folder; waits, with one line, for another process."""
        owner = self.root / stage / f"{key}.owner"
        with self._waited_for(stage, key, owner):
            remove(owner)
            owner.write_text(f"process {os.getpid()}")
            partial = self.path(stage, key + ".partial")
            problem = _unfit(partial)
            if problem is not None:
                self._set_aside(partial, key + ".corrupt", f"{stage}/{partial.name}", problem)
            partial.mkdir(exist_ok=True)
            yield Work(self, stage, key, partial)
            owner.unlink(missing_ok=True)

    @contextmanager
    def _waited_for(self, stage: str, key: str, owner: Path) -> Iterator[None]:
        with ExitStack() as stack:
            try:
                stack.enter_context(self._held(stage, key))
            except _Busy:
                self.notify(f"{stage}/{key} is being computed by {_read(owner) or 'another process'}; waiting for it")
                stack.enter_context(self._held(stage, key, timeout=-1))
            yield


@functools.cache
def _scratch() -> Path:
    """A folder that ends with the process."""
    import atexit

    folder = tempfile.mkdtemp(prefix="nqs-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def _read(path: Path) -> str:
    """The content of a small file that may vanish at any moment."""
    try:
        return read_plain(path).decode(errors="replace").strip()
    except OSError:
        return ""


def _unfit(partial: Path) -> str | None:
    """Why nothing can be done in a working folder: what is in it is not ours."""
    if not exists(partial):
        return None
    if not is_plain_folder(partial):
        return "it is not a plain folder"
    strange = sorted(path.name for path in partial.iterdir() if not is_plain(path))
    return f"{strange[0]} is not a plain file" if strange else None


def _problem(path: Path, files: dict[str, str]) -> str | None:
    """What is wrong with the files that an entry lists, or None."""
    try:
        for name, expected in files.items():
            if not exists(path / name):
                return f"{name} is missing"
            if sha256(path / name) != expected:
                return f"the checksum of {name} differs"
        problem = complaint_of_provenance(read_json(path / PROVENANCE))
        if problem is None and RESULT in files:
            problem = complaint_of_result(read_json(path / RESULT))
        if problem is None and SOURCE in files and not isinstance(read_json(path / SOURCE), dict):
            problem = f"{SOURCE} holds no fields"
        return problem
    except OSError as error:
        return str(error)
    except (ValueError, TypeError, KeyError, AttributeError):
        return "its files cannot be read"
