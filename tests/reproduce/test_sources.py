"""What makes a report be rendered again: its own code, and neither comments nor other papers' code."""

from __future__ import annotations

from pathlib import Path

import pytest

from reproduce import sources


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    files = {
        "reproduce/one/table1.py": 'from reproduce import tables\n\n\ndef render():\n    return "a"\n',
        "reproduce/two/table1.py": "from reproduce.tables import rows\n",
        "reproduce/tables.py": "from pipeline.analysis.verdict import verdict\nfrom pipeline.spin.vmc import method\n",
        "pipeline/analysis/verdict.py": "def verdict():\n    return 1\n",
        "pipeline/spin/vmc/method.py": "",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(sources, "ROOT", tmp_path)
    return tmp_path


def digest() -> str:
    sources._tree.cache_clear()
    sources._meaning.cache_clear()
    return sources.code_digest("reproduce.one.table1")


def test_imports_are_followed_as_far_as_reports_are_made(house: Path) -> None:
    digest()
    assert sources.closure("reproduce.one.table1") == {
        "reproduce.one.table1",
        "reproduce.tables",
        "pipeline.analysis.verdict",
    }


def test_comments_docstrings_and_other_papers_change_nothing(house: Path) -> None:
    before = digest()
    table = house / "reproduce/one/table1.py"
    table.write_text(
        '"""About."""\n# why\n' + table.read_text().replace("def render():", 'def render():\n    """Doc."""')
    )
    (house / "reproduce/two/table1.py").write_text("x = 1\n")
    (house / "pipeline/spin/vmc/method.py").write_text("x = 1\n")
    assert digest() == before


@pytest.mark.parametrize("name", ["reproduce/one/table1.py", "reproduce/tables.py", "pipeline/analysis/verdict.py"])
def test_code_counts(house: Path, name: str) -> None:
    before = digest()
    path = house / name
    path.write_text(path.read_text() + "\n\nx = 1\n")
    assert digest() != before
