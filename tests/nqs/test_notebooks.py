"""The notebooks, executed at smoke size in a folder of their own."""

from __future__ import annotations

import csv
import json
import runpy
from pathlib import Path

import matplotlib
import pytest

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.py"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import matplotlib.pyplot as plt

    matplotlib.use("Agg")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NQS_RESULTS", raising=False)
    monkeypatch.setenv("NOTEBOOK_SCALE", "smoke")
    monkeypatch.setenv("NOTEBOOK_STEPS", "2")
    names = runpy.run_path(str(path))
    plt.close("all")
    assert (tmp_path / "results" / "_store" / "infer").is_dir()
    assert len(names["table"]) >= 1
    assert "error" not in capsys.readouterr().err


def test_there_are_notebooks() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["a_hamiltonian_of_your_own", "from_a_table_to_a_state"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_executed_one_is_of_the_same_cells(path: Path) -> None:
    """Small, without an error, its code that of the script beside it; executed from top to bottom."""
    executed = path.with_suffix(".ipynb")
    assert executed.stat().st_size < 300_000
    cells = [cell for cell in json.loads(executed.read_text())["cells"] if cell["cell_type"] == "code"]
    text = path.read_text()
    for number, cell in enumerate(cells, 1):
        assert "".join(cell["source"]).strip() in text
        assert cell["execution_count"] == number
        assert not [output for output in cell["outputs"] if output["output_type"] == "error"]
    assert text.count("# %%\n") == len(cells)


def test_the_table_of_the_executed_one_is_the_committed_one() -> None:
    """Where a report is computed anew, the notebook is to be executed again."""
    cells = json.loads((FOLDER / "from_a_table_to_a_state.ipynb").read_text())["cells"]
    (shown,) = [c for c in cells if "rel_error_ours" in "".join(c["source"])]
    (output,) = shown["outputs"]
    lines = {line.split()[0]: line.split()[1:] for line in output["data"]["text/plain"][2:]}
    report = FOLDER.parent / "results" / "nf_nqs" / "table1" / "laptop" / "cells.csv"
    with open(report, newline="", encoding="utf-8") as file:
        rows = {
            (r["cell"], r["method"]): r["rel_error_ours"] for r in csv.DictReader(file) if r["quantity"] == "energy"
        }
    methods = ("nqs+nf", "mps", "dense-ar", "cnn-ar", "annealed-ar")
    assert lines == {
        cell: [f"{float(rows[cell, method]):+.1e}" for method in methods] for cell in {cell for cell, _ in rows}
    }
