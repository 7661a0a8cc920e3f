"""The README begins with a figure and the table that it comes from, then two commands; papers are cited whole."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest
import yaml

from pipeline.base.errors import UserError
from reproduce.artefact import papers
from reproduce.readme import REPORT, first_table, update, with_table

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_readme_begins_with_a_figure_its_table_and_two_commands() -> None:
    blocks = [block for block in README.split("\n\n") if not block.startswith("<!--")]
    title, figure, said, table, commands = blocks[:5]
    assert title.startswith("# ")
    (shown,) = re.findall(r"^!\[[^]]+\]\((.+)\)$", figure)
    assert (ROOT / shown).is_file()
    assert (ROOT / shown).parent == (ROOT / REPORT).parent, "the figure and the table are of one report"
    assert "report.md" in said
    assert table == first_table((ROOT / REPORT).read_text(encoding="utf-8")), "`make index` writes it anew"
    assert [line.split("#")[0].strip() for line in commands.splitlines()[1:-1]] == [
        "make reproduce-table1",
        "make test",
    ]


def test_the_table_is_that_of_the_report(tmp_path: Path) -> None:
    (tmp_path / REPORT).parent.mkdir(parents=True)
    (tmp_path / REPORT).write_text("# T\n\n| a |\n| --- |\n| 1(2) |\n\n| other |\n", encoding="utf-8")
    (tmp_path / "README.md").write_text(README, encoding="utf-8")
    update(tmp_path)
    made = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert with_table(made, first_table((ROOT / REPORT).read_text(encoding="utf-8"))) == README
    assert "| 1(2) |" in made
    assert "| other |" not in made


def test_a_readme_or_report_without_a_table_is_named() -> None:
    with pytest.raises(UserError, match="no table"):
        first_table("# Title\n")
    with pytest.raises(UserError, match=r"README\.md has no line"):
        with_table("# Title\n", "| a |")


def test_links_of_the_readme_lead_somewhere() -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", README)
    assert [target for target in targets if not target.startswith("http") and not (ROOT / target).exists()] == []


def test_every_paper_is_cited_with_its_title_and_authors() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["references"]
    by_title = {one["title"].casefold(): one for one in cited}
    assert len(cited) == len(papers())
    for name in papers():
        paper = importlib.import_module(f"reproduce.{name}")
        one = by_title[paper.TITLE.casefold()]
        first = paper.AUTHORS.split(",")[0].removesuffix(" et al.").split()[-1]
        assert one["authors"][0]["family-names"] == first
        if paper.WHERE:
            assert str(one["year"]) in paper.WHERE
            assert str(one["start"]) in paper.WHERE
            assert str(one["volume"]) in paper.WHERE
