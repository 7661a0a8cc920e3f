"""The index of reports: written whole, and mended by the next command if something cut it short."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from reproduce import cli
from reproduce.index import write_index

NAMES = ("README.md", "index.html")


def test_index_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_index(tmp_path)
    whole = {name: (tmp_path / name).read_bytes() for name in NAMES}
    written = [(tmp_path / name).stat().st_mtime_ns for name in NAMES]
    write_index(tmp_path)
    assert [(tmp_path / name).stat().st_mtime_ns for name in NAMES] == written
    (tmp_path / "README.md").write_bytes(whole["README.md"][:100])

    def full(number: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            write_index(tmp_path)
    assert (tmp_path / "README.md").read_bytes() == whole["README.md"][:100]
    write_index(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == whole


def test_a_command_with_nothing_to_do_mends_the_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = SimpleNamespace(run=SimpleNamespace(results_dir=str(tmp_path)))
    monkeypatch.setattr(cli, "make_tasks", lambda *_: [task])
    monkeypatch.setattr(cli, "compute", lambda *_: [])
    monkeypatch.setattr(cli, "inputs_digest", lambda *_: "")
    monkeypatch.setattr(cli, "up_to_date", lambda *_: True)
    monkeypatch.setattr(cli, "_has_bug", lambda *_: False)
    (tmp_path / "README.md").write_text("# Res")
    assert cli.main(["table1", "--scale", "laptop"]) == 0
    assert (tmp_path / "README.md").read_text(encoding="utf-8").startswith("# Results\n\nWhat `make reproduce-*`")
