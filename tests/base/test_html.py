"""Pages from Markdown: whatever is text stays text, tables and figures keep within the page."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from pipeline.base.html import from_markdown, page

HOSTILE = "<script>alert(1)</script> & \"quotes\" 'single' <img src=x onerror=y>"


class Tags(HTMLParser):
    """Elements of a page, each with its attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.found)


@pytest.mark.parametrize(
    "markdown",
    [
        f"# {HOSTILE}\n",
        f"text {HOSTILE}\n",
        f"| a | {HOSTILE} |\n| --- | --- |\n| b | {HOSTILE} |\n",
        f"- `{HOSTILE}`\n",
    ],
)
def test_html_within_markdown_shows_as_it_is_typed(markdown: str) -> None:
    tags = Tags(from_markdown(markdown))
    assert tags.count("script") == tags.count("img") == 0
    assert HOSTILE in tags.text


def test_labels_of_figures_links_and_titles_are_escaped() -> None:
    made = from_markdown(f'![a <b> & "c"](figure.png)\n\n# {HOSTILE}', {"<i>up</i>": 'index.html"><script>'})
    tags = Tags(made)
    assert tags.count("script") == tags.count("i") == tags.count("b") == 0
    (image,) = (attributes for tag, attributes in tags.found if tag == "img")
    assert image["src"] == "figure.png"
    assert image["alt"] == 'a <b> & "c"'
    assert Tags(page("a </title><script>", "")).count("script") == 0


def test_a_page_stands_alone() -> None:
    """No style, script or font from elsewhere; a table in a box of its own; a language, an encoding, a width."""
    made = from_markdown("# Title\n\n| N | E |\n| --- | --- |\n| 1 | -2.0(1) |\n", {"All results": "../index.html"})
    tags = Tags(made)
    assert not {"script", "link", "iframe"} & {tag for tag, _ in tags.found}
    assert "http" not in made
    assert "@import" not in made
    assert '<div class="wide"><table>' in made
    assert ("html", {"lang": "en"}) in tags.found
    assert "<title>Title</title>" in made
    assert "width=device-width" in made
    assert "prefers-color-scheme:dark" in made
    assert '<td class="short">-2.0(1)</td>' in made


def test_an_empty_page_is_a_page() -> None:
    assert "<title></title>" in from_markdown("")
