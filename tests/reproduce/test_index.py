"""The index of reports: written whole, and mended by the next command if something cut it short."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from reproduce import cli
from reproduce.artefact import Artefact, all_artefacts, load_artefact, papers
from reproduce.csv_files import read_csv
from reproduce.index import _errors, write_index

RESULTS = Path(__file__).parents[2] / "results"

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


def _row(method: str, quantity: str, error: str, cell: str = "L4") -> dict[str, str]:
    return {"cell": cell, "method": method, "quantity": quantity, "rel_error_ours": error}


def test_errors_are_those_of_energies_and_else_of_plaquettes() -> None:
    artefact = cast(Artefact, SimpleNamespace(methods={"flow": "Joint flow", "own": "Ours"}))
    plaquettes = [_row("flow", "plaquette", "-1e-3"), _row("hmc", "plaquette", "1e-5"), _row("flow", "charge", "0.5")]
    assert _errors(plaquettes, artefact) == "Joint flow ⟨P⟩ 1.0e-03 (L4)"
    several = [*plaquettes, _row("flow", "plaquette", "3e-3", "L8"), _row("flow", "plaquette", "", "L16")]
    assert _errors(several, artefact) == "Joint flow ⟨P⟩ median 2.0e-03, worst 3.0e-03 (L8)"
    assert _errors([*several, _row("own", "energy", "-2e-2")], artefact) == "Ours 2.0e-02 (L4)"
    assert _errors([_row("hmc", "energy", "1")], artefact) == ""


@pytest.mark.parametrize("paper", papers())
def test_every_paper_has_errors_of_its_own_method(paper: str) -> None:
    """In some committed report: an index without them would be one of verdicts alone."""
    found = [
        _errors(read_csv(RESULTS / name / "laptop" / "cells.csv"), load_artefact(name))
        for name in all_artefacts()
        if name.startswith(f"{paper}/") and (RESULTS / name / "laptop" / "cells.csv").is_file()
    ]
    assert any(found), paper
