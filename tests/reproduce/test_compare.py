"""Numbers of reports against those of another commit, folder or clone."""

from __future__ import annotations

import random
import subprocess
from dataclasses import asdict, fields, replace
from pathlib import Path

import pytest

from reproduce import compare
from reproduce.compare import APART, FAR, HERE, NEAR, OTHER, SAME, THERE, UNKNOWN, pairs
from reproduce.csv_files import csv_text, read_csv
from reproduce.tables import CellRow
from tests.reproduce.rows import energy

PATH = Path("nf_nqs/table2/laptop/cells.csv")
COLUMNS = [field.name for field in fields(CellRow)]


def _text(rows: list[CellRow]) -> str:
    return csv_text(COLUMNS, [asdict(row) for row in rows])


def _written(results: Path, rows: list[CellRow]) -> Path:
    (results / PATH).parent.mkdir(parents=True, exist_ok=True)
    (results / PATH).write_text(_text(rows), encoding="utf-8")
    return results


def _lines(tmp_path: Path, rows: list[CellRow]) -> list[dict[str, str]]:
    return read_csv(_written(tmp_path, rows) / PATH)


def _kind(tmp_path: Path, here: CellRow | None, there: CellRow | None) -> str:
    (pair,) = pairs(*(_lines(tmp_path, [row] if row else []) for row in (here, there)))
    return pair.kind


def test_kinds(tmp_path: Path) -> None:
    one = energy("N10", "mps", -10.0, 0.3)
    assert _kind(tmp_path, one, one) == SAME
    for shift, kind in ((0.99, NEAR), (-0.99, NEAR), (1.2, FAR), (-1.6, APART)):
        assert _kind(tmp_path, one, replace(one, ours=-10.0 + shift, ours_sigma=0.4)) == kind  # both together: 0.5
    assert _kind(tmp_path, replace(one, ours_sigma=None), replace(one, ours=-9.0)) == UNKNOWN
    assert _kind(tmp_path, one, replace(one, ours=-9.0, ours_sigma=0.0)) == UNKNOWN, "of exact numbers none is known"
    assert _kind(tmp_path, replace(one, ours_sigma=None), replace(one, ours_sigma=None)) == SAME
    run = replace(one, run_keys="train/1 infer/2")
    changed = replace(run, run_keys="train/3 infer/4")
    assert _kind(tmp_path, run, replace(changed, cuts="train.steps: 9 → 3")) == OTHER
    assert _kind(tmp_path, run, replace(run, cuts="train.lr: 1 → 1.0")) == SAME, "other words for the same run"
    assert _kind(tmp_path, run, changed) == SAME, "other code, nothing else cut"
    assert _kind(tmp_path, one, replace(one, unit="per site")) == OTHER
    assert _kind(tmp_path, one, None) == _kind(tmp_path, one, replace(one, ours=None)) == HERE
    assert _kind(tmp_path, None, one) == THERE


def test_samples_drawn_anew_are_within_two_sigma_as_often_as_it_says(tmp_path: Path) -> None:
    numbers = random.Random(0)
    count = 4000

    def drawn() -> list[dict[str, str]]:
        return _lines(tmp_path, [energy(f"N{n}", "mps", numbers.gauss(-1, 0.1), 0.1) for n in range(count)])

    kinds = [pair.kind for pair in pairs(drawn(), drawn())]
    # five standard deviations of the counts that normal numbers have
    assert kinds.count(NEAR) == pytest.approx(0.9545 * count, abs=5 * (count * 0.9545 * 0.0455) ** 0.5)
    assert kinds.count(APART) == pytest.approx(0.0027 * count, abs=5 * (count * 0.0027) ** 0.5)
    assert len(kinds) == count


def test_a_commit_a_folder_and_a_clone_say_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clone = tmp_path / "clone"
    rows = [energy("N10", "mps", -10.0, 0.1, reference=-10.5), energy("N20", "mps", -20.0, 0.1)]
    results = _written(clone / "results", rows)
    git = ["git", "-C", str(clone), "-c", "user.name=n", "-c", "user.email=e"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "one"]):
        subprocess.run([*git, *command], check=True)
    other, whole = _written(tmp_path / "old", rows), _written(tmp_path / "other" / "results", rows).parent
    _written(results, [energy("N10", "mps", -9.0, 0.1, reference=-10.5), rows[1]])
    pages = []
    for against in ("HEAD", str(other), str(whole)):
        assert compare.main(["--results", str(results), "--against", against]) == 0
        pages.append(capsys.readouterr().out.replace(against, "X"))
    assert pages[0] == pages[1] == pages[2]
    assert pages[0].startswith(f"{results}, scale laptop, against X\n")
    (counts,) = [line.split() for line in pages[0].splitlines() if line.startswith("nf_nqs/table2  ")][:1]
    assert counts[1:] == ["1", "0", "0", "1", "0", "0", "0", "0"]
    # the same one, apart by 1 / (0.1 √2)
    assert "-10.0(1)" in pages[0]
    assert "-9.0(1)" in pages[0]
    assert "+7.1" in pages[0]
    for error in ("+4.8e-02", "+1.4e-01"):
        assert error in pages[0], "errors against the reference"


def test_the_furthest_come_first_and_what_is_left_out_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here = _written(tmp_path / "a", [energy(f"N{n}", "mps", float(n), 0.1) for n in range(1, 8)])
    there = _written(tmp_path / "b", [energy(f"N{n}", "mps", 0.0, 0.1) for n in range(1, 8)])
    command = ["nf_nqs-table2", "--results", str(here), "--against", str(there), "--most", "2"]
    assert compare.main(command) == 0
    said = capsys.readouterr().out
    assert said.index("N7 ") < said.index("N6 ")
    assert "N5 " not in said
    assert "and 5 more: ARGS='--most 0' lists them" in said
    assert compare.main([*command[:-1], "0"]) == 0
    said = capsys.readouterr().out
    assert "N1 " in said
    assert "more:" not in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--scale", "laptpo"], "laptop"),
        (["--against", "no-such-commit"], "--against no-such-commit: neither a folder nor a commit"),
        (["--most", "-1"], "--most -1"),
        (["tabel2"], "no such artefact"),
        (["table1"], "nf_nqs/table1 has no report of scale laptop"),
        (["--scale", "gpu"], "no report of scale gpu"),
    ],
)
def test_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str) -> None:
    results = _written(tmp_path, [energy("N10", "mps", -10.0, 0.1)])
    against = [] if "--against" in words else ["--against", str(results)]
    assert compare.main([*words, "--results", str(results), *against]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("cell,method\nN10,mps\n", "it has no column quantity"),
        ('cell,method\n"N10,mps\n', "cannot be read"),
    ],
)
def test_damaged_files(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, said: str) -> None:
    results = _written(tmp_path / "a", [energy("N10", "mps", -10.0, 0.1)])
    other = _written(tmp_path / "b", [])
    (other / PATH).write_text(text, encoding="utf-8")
    assert compare.main(["--results", str(results), "--against", str(other)]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert str(PATH) in error
    bad = _text([energy("N10", "mps", -10.0, 0.1)]).replace("-10.0", "ten")
    (other / PATH).write_text(bad, encoding="utf-8")
    assert compare.main(["--results", str(results), "--against", str(other)]) == 2
    assert "ten" in capsys.readouterr().err


def test_what_only_one_side_has(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    here = _written(tmp_path / "a", [energy("N10", "mps", -10.0, 0.1)])
    (tmp_path / "b").mkdir()
    assert compare.main(["--results", str(here), "--against", str(tmp_path / "b")]) == 0
    (counts,) = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("nf_nqs/table2")]
    assert counts[1:] == ["0", "0", "0", "0", "0", "0", "1", "0"]
