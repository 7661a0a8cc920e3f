"""Web pages that are one file but for figures: no other style, script or font; light and dark, screens and phones."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

STYLE = """\
:root{color-scheme:light dark;--page:#fff;--raised:#f5f7f9;--text:#1c2126;--quiet:#56606b;--line:#d6dce2;--link:#00619b}
@media(prefers-color-scheme:dark){:root{--page:#14181c;--raised:#1e242a;--text:#e4e8ec;--quiet:#a3adb8;--line:#353d46;
--link:#7fc4f0}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--page);color:var(--text);
font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;overflow-wrap:break-word}
main{max-width:66rem;margin:0 auto;padding:1.2rem 1.2rem 4rem}
nav{border-bottom:1px solid var(--line);background:var(--raised)}
nav div{max-width:66rem;margin:0 auto;padding:.55rem 1.2rem;display:flex;flex-wrap:wrap;gap:.2rem 1.4rem;
font-size:.92rem}
a{color:var(--link);text-decoration-thickness:1px;text-underline-offset:.15em}
h1{font-size:1.55rem;line-height:1.25;margin:.6rem 0 1rem;text-wrap:pretty}
h2{font-size:1.2rem;margin:2.2rem 0 .6rem;padding-bottom:.25rem;border-bottom:1px solid var(--line)}
h3{font-size:1.02rem;margin:1.5rem 0 .4rem}
p,li{max-width:50rem}
p:has(>.figure){max-width:none}
ul,ol{padding-left:1.3rem}
li{margin:.3rem 0}
code{font:.86em/1.4 ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;background:var(--raised);
border-radius:4px;padding:.1em .3em;overflow-wrap:anywhere}
pre{background:var(--raised);border:1px solid var(--line);border-radius:6px;padding:.7rem .9rem;overflow-x:auto}
pre code{background:none;padding:0;overflow-wrap:normal}
.wide{overflow-x:auto;margin:.9rem 0;max-width:100%}
table{border-collapse:collapse;font-size:.87rem;font-variant-numeric:tabular-nums}
th,td{padding:.3rem .7rem;text-align:left;vertical-align:top;border-bottom:1px solid var(--line)}
th{color:var(--quiet);font-weight:600;border-bottom:2px solid var(--line)}
tbody tr:hover{background:var(--raised)}
td.short,th.short{white-space:nowrap}
td.long{min-width:14rem}
figure{margin:1rem 0}
img{max-width:100%;height:auto;display:block}
.figure{display:block;background:#fff;border:1px solid var(--line);border-radius:6px;padding:.4rem;
width:fit-content;max-width:100%}
.quiet{color:var(--quiet);font-size:.92rem}
"""
"""Figures are black on white: in the dark they keep a white card of their own."""

SHORT = 26
"""Characters of a cell that keeps to one line."""


def page(title: str, body: str, links: Mapping[str, str] | None = None, style: str = "") -> str:
    """A whole page around ``body``, which is HTML already.

    Args:
        title: plain text.
        links: of the line at the top, address by text.
        style: what this page adds to the style of all.
    """
    shown = "".join(f'<a href="{escape(to)}">{escape(text)}</a>' for text, to in (links or {}).items())
    top = f"<nav><div>{shown}</div></nav>\n" if shown else ""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{STYLE}{style}</style></head>\n"
        f"<body>\n{top}<main>\n{body.strip()}\n</main>\n</body></html>\n"
    )


def from_markdown(text: str, links: Mapping[str, str] | None = None) -> str:
    """A page that says what a Markdown file says; its title is the first heading. HTML within shows as it is typed."""
    parser = _parser()
    tokens = parser.parse(text)
    heads = [tokens[k + 1].content for k, token in enumerate(tokens) if token.type == "heading_open"]
    return page(heads[0] if heads else "", parser.renderer.render(tokens, parser.options, {}), links)


def _parser() -> Any:
    """Markdown with tables, each in a box that scrolls by itself, and images on a card."""
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    renderer: Any = parser.renderer
    rules: dict[str, Any] = renderer.rules
    rules["table_open"] = lambda *_: '<div class="wide"><table>\n'
    rules["table_close"] = lambda *_: "</table></div>\n"
    rules["td_open"] = rules["th_open"] = _cell
    rules["image"] = lambda *found: f'<span class="figure">{renderer.image(*found)}</span>'
    return parser


def _cell(tokens: Any, k: int, options: Any, env: Any) -> str:
    """Numbers and names keep to one line, sentences have room to wrap."""
    size = len(tokens[k + 1].content)
    kind = ' class="short"' if size <= SHORT else ' class="long"' if size > 2 * SHORT else ""
    return f"<{tokens[k].tag}{kind}>"
