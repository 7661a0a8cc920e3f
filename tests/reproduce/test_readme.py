"""The README begins with a figure and the table that it comes from, then two commands; papers are cited whole."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest
import yaml

from pipeline.base.errors import UserError
from pipeline.base.numbers.formatting import duration
from reproduce import cli
from reproduce.artefact import all_artefacts, papers
from reproduce.planned import elapsed
from reproduce.readme import BEGIN, COSTS, END, REPORT, costs, first_table, planned, update, with_table

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


def test_the_table_is_that_of_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / REPORT).parent.mkdir(parents=True)
    (tmp_path / REPORT).write_text("# T\n\n| a |\n| --- |\n| 1(2) |\n\n| other |\n", encoding="utf-8")
    (tmp_path / "README.md").write_text(README, encoding="utf-8")
    monkeypatch.setattr("reproduce.readme.all_artefacts", lambda: ["vit_sr/fig1"])
    update(tmp_path)
    made = (tmp_path / "README.md").read_text(encoding="utf-8")
    whole = with_table(made, first_table((ROOT / REPORT).read_text(encoding="utf-8")))
    assert with_table(whole, README.partition(BEGIN.format(COSTS))[2].partition(END)[0].strip(), COSTS) == README
    assert made.count("| `make reproduce-vit_sr-fig1` |") == 1
    assert "| `make reproduce-naqs-table1` |" not in made
    assert "| 1(2) |" in made
    assert "| other |" not in made


def test_costs_are_those_of_plans(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What a plan in a fresh clone says of some artefacts stands in the README, to the minute."""
    names = ["nf_nqs/table1", "naqs/table2", "vit_sr/fig1", "pseudofermion/cost"]
    written = README.partition(BEGIN.format(COSTS))[2].partition(END)[0]
    lines = costs(names).splitlines()[2:-1]
    assert len(lines) == len(names)
    assert [line for line in lines if line not in written] == [], "`make index` writes them anew"
    cli.main(["vit_sr-fig1", "--plan", "--jobs", "2", f"results_dir={tmp_path}"])
    (plan,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("vit_sr/fig1: ")]
    assert plan.endswith(f"about {duration(elapsed(list(planned('vit_sr/fig1').values()), 2))}")


@pytest.mark.thorough
def test_costs_of_all_artefacts(tmp_path: Path) -> None:
    """The whole table, and in all at most four hours."""
    assert costs(all_artefacts()) in README
    (hours,) = re.findall(r"\| `make reproduce-all` \| (\d+) h", README)
    assert int(hours) < 4


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
        assert one.get("doi") or one.get("url"), "where to find it"
        if paper.WHERE:
            assert str(one["year"]) in paper.WHERE
            assert str(one["start"]) in paper.WHERE
            assert str(one["volume"]) in paper.WHERE
