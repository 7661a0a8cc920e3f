"""The committed pages as a reader meets them, in a browser and without one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipeline.base.html import from_markdown, page
from pipeline.base.plotting import COLUMN, PAGE
from reproduce.artefact import collections
from reproduce.csv_files import read_csv
from reproduce.index import write_index
from reproduce.site import LINKS, Line, html
from tests.base.test_html import HOSTILE, Tags
from tests.browser import Seen, chromium, look

RESULTS = Path(__file__).parents[2] / "results"
REPORTS = sorted(RESULTS.glob("*/*/*/report.html"))
PAGES = [*(RESULTS / name for name in LINKS.values()), *REPORTS]
WIDTHS = (1280, 390)
LIMIT = 1_000_000
"""Bytes of a folder of results."""


@pytest.fixture(scope="session")
def browser() -> str:
    found = chromium()
    if found is None:
        pytest.skip("no Chromium is at hand (apt-get install chromium, or CHROMIUM=path)")
    return found


def test_no_page_is_too_wide_or_lacks_an_image(browser: str) -> None:
    seen = look(browser, {path.relative_to(RESULTS).as_posix(): path for path in PAGES}, WIDTHS)
    assert len(seen) == len(WIDTHS) * len(PAGES)
    assert not [fault for one in seen for fault in one.faults]
    index = seen[0]
    assert index.images >= len(REPORTS) - 1, "thumbnails"


def test_a_page_that_is_too_wide_or_lacks_an_image_is_found(browser: str, tmp_path: Path) -> None:
    bad = {
        "wide": page("wide", '<div style="width:500px">a</div>'),
        "missing": from_markdown("![a figure](figure.png)"),
        "long": from_markdown("# Title\n\n`" + "x" * 400 + "`\n\n| " + " | ".join("abcdefghij" * 30) + " |\n"),
        "good": from_markdown("# Title\n\n" + "word " * 300),
    }
    for name, text in bad.items():
        (tmp_path / f"{name}.html").write_text(text, encoding="utf-8")
    seen = {(one.name, one.width): one for one in look(browser, {n: tmp_path / f"{n}.html" for n in bad}, WIDTHS)}
    assert seen["wide", 1280].faults == []
    assert seen["wide", 390].faults == ["wide is 519 px wide at 390 px (div)"]
    assert [one.missing for (name, _), one in seen.items() if name == "missing"] == [("figure.png",)] * 2
    assert not seen["good", 390].faults + seen["good", 1280].faults
    assert not seen["long", 390].faults, "code breaks, tables scroll by themselves"


def contrast(one: Seen) -> float:
    """Of text and ground, as in WCAG 2."""
    levels = []
    for colour in (one.text, one.ground):
        parts = [int(v) / 255 for v in re.findall(r"\d+", colour)[:3]]
        r, g, b = ((v / 12.92 if v <= 0.03928 else ((v + 0.055) / 1.055) ** 2.4) for v in parts)
        levels.append(0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05)
    return max(levels) / min(levels)


def test_pages_are_light_or_dark_as_the_reader_wishes(browser: str) -> None:
    pages = {"which method": RESULTS / "which_method.html"}
    (light,), (dark,) = (look(browser, pages, (390,), dark) for dark in (False, True))
    assert light.ground == "rgb(255, 255, 255)"
    assert dark.ground != light.ground
    assert min(contrast(light), contrast(dark)) > 7


def test_every_link_and_image_of_every_page_is_there() -> None:
    """Within the repository; without a browser."""
    broken = []
    for path in PAGES:
        for tag, attributes in Tags(path.read_text(encoding="utf-8")).found:
            target = attributes.get("href" if tag == "a" else "src") or ""
            if tag in ("a", "img") and not target.startswith(("#", "http")):
                found = (path.parent / target.partition("#")[0]).exists()
                broken += [] if found else [f"{path.relative_to(RESULTS)}: {target}"]
    assert not broken


def test_pages_ask_nothing_of_a_network() -> None:
    for path in PAGES:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"(?:src|href)=\"(?:https?:)?//|@import|url\(", text), path
        assert "<script" not in text


def test_pages_are_those_that_the_reports_make(tmp_path: Path) -> None:
    """Nothing in the arena or in which method when is typed in: both come again from the committed numbers."""
    for path in RESULTS.glob("*/*/*/*"):
        if path.name in ("cells.csv", "runs.csv", "table.csv", "manifest.json", "report.html", "figure.png"):
            target = tmp_path / path.relative_to(RESULTS)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(path)
    for name in ("arena.csv", "arena.png"):  # the figure is drawn anew only where the numbers differ
        (tmp_path / name).write_bytes((RESULTS / name).read_bytes())
    write_index(tmp_path)
    for name in ("index.html", "arena.html", "arena.csv", "which_method.md", "which_method.html", "README.md"):
        assert (tmp_path / name).read_text(encoding="utf-8") == (RESULTS / name).read_text(encoding="utf-8"), name


def test_every_paper_and_what_is_ours_has_a_section_with_its_own_errors() -> None:
    text = (RESULTS / "index.html").read_text(encoding="utf-8")
    sections = re.findall(r'<section id="(\w+)">', text)
    assert sections == collections()
    cells = read_csv(RESULTS / "nf_nqs/table1/laptop/cells.csv")
    errors = [abs(float(c["rel_error_ours"])) for c in cells if (c["method"], c["quantity"]) == ("nqs+nf", "energy")]
    assert f"worst {max(errors):.1e}" in text


def test_special_characters_in_titles_and_labels_are_shown_as_they_are() -> None:
    line = Line(
        "nf_nqs/table1", f"Table <I>: {HOSTILE}", "laptop", 1, 1, f"A & B {HOSTILE}", "<b>", "", "", 'a"b', "", True
    )
    tags = Tags(html([line], True))
    assert tags.count("script") == tags.count("img") == tags.count("i") == 0
    assert f": {HOSTILE}" in tags.text
    assert f"A & B {HOSTILE}" in tags.text


def test_without_reports_the_index_says_how_to_make_one() -> None:
    assert "make reproduce-table1" in html([], False)


@pytest.mark.parametrize("folder", [path.parent for path in REPORTS], ids=lambda p: "-".join(p.parts[-3:-1]))
def test_committed_reports_are_small_and_figures_as_wide_as_columns(folder: Path) -> None:
    assert sum(path.stat().st_size for path in folder.iterdir()) < LIMIT
    assert (folder / "report.md").is_file()
    assert from_markdown((folder / "report.md").read_text(encoding="utf-8")).partition("<main>")[2] in (
        folder / "report.html"
    ).read_text(encoding="utf-8")
    if (folder / "figure.svg").is_file():
        head = (folder / "figure.svg").read_text(encoding="utf-8")[:2000]
        width = re.search(r'<svg [^>]*width="([\d.]+)pt"', head)
        assert width is not None
        assert float(width[1]) in (72 * COLUMN, 72 * PAGE)
        assert (folder / "figure.pdf").is_file()
