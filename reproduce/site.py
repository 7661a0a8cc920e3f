"""``results/index.html``: a section a paper, with the errors of its own method and a card for each report."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.base.html import page
from reproduce.artefact import collections, papers

LINKS = {"All results": "index.html", "Arena": "arena.html", "Which method when": "which_method.html"}

STYLE = """\
.lead{font-size:1.06rem}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(15rem,100%),1fr));gap:1rem;
margin:1rem 0;padding:0;list-style:none}
.cards li{margin:0;border:1px solid var(--line);border-radius:8px;overflow:hidden;background:var(--raised)}
.cards a{display:block;text-decoration:none;color:inherit;height:100%}
.cards a:hover strong{text-decoration:underline}
.cards img,.cards .none{width:100%;aspect-ratio:8/5;object-fit:contain;background:#fff;padding:.5rem}
.cards .none{display:grid;place-items:center;color:#777}
.cards p{margin:0;padding:.6rem .8rem .8rem;font-size:.9rem;line-height:1.4}
.summary td{min-width:7rem}
.summary td.short{min-width:0}
td.error span{display:block;min-width:15rem}
.cards strong{color:var(--link)}
h2 small{display:block;font-weight:400;font-size:.9rem;color:var(--quiet);margin-top:.2rem}
"""

BODY = """\
<h1>Neural quantum states and lattice flows, reproduced</h1>
<p class="lead">{{ printed }} papers, number by number: what a paper prints stands beside ours, with an error, and
beside an exact or independent reference.{% if arena %} How all methods compare: <a href="arena.html">the arena</a>,
the methods side by side on systems with an exact reference, and <a href="which_method.html">which method when</a>, in
sentences made from its numbers.{% endif %}</p>
{% for paper in papers %}
<section id="{{ paper.name }}">
<h2>{{ paper.title }}<small>{{ paper.authors }}{% if paper.where %}. {{ paper.where }}{% endif %}</small></h2>
<div class="wide"><table class="summary">
<thead><tr><th>report</th><th>relative error of the paper's own method</th><th>ours / printed</th>
<th>its numbers beside the printed ones</th><th>our references beside the printed ones</th><th>scale</th></tr></thead>
<tbody>
{% for x in paper.lines %}<tr><td class="short"><a href="{{ x.link }}">{{ x.short }}</a></td><td class="error">
{%- for part in x.errors %}<span>{{ part }}</span>{% else %}–{% endfor %}</td>
<td>{{ x.coverage }}</td><td>{{ x.verdicts }}</td><td>{{ x.checks }}</td><td>{{ x.scale }}</td></tr>
{% endfor %}</tbody></table></div>
<ul class="cards">
{% for x in paper.lines %}<li><a href="{{ x.link }}">
{%- if x.figure %}<img src="{{ x.figure }}" alt="">{% else %}<span class="none">no figure</span>{% endif %}
<p><strong>{{ x.head }}</strong>{{ x.tail }}<br><span class="quiet">{{ x.scale }}, {{ x.date }}</span></p></a></li>
{% endfor %}</ul>
</section>
{% else %}<p>No report yet: <code>make reproduce-table1</code> writes the first one.</p>
{% endfor %}
"""


@dataclass(frozen=True)
class Line:
    """One report of the index.

    Attributes:
        ran: printed numbers that ours can be compared with.
        errors: relative errors of the energy of the paper's own methods: the median and the worst of several.
        verdicts: how their numbers stand to the printed ones.
        checks: the same of our references and of what tests them.
        link: of the report, from the folder of results.
        figure: the same of its figure; empty: none.
        has_page: whether the report is there as HTML too.
    """

    artefact: str
    title: str
    scale: str
    printed: int
    ran: int
    errors: str
    verdicts: str
    checks: str
    date: str
    link: str
    figure: str
    has_page: bool


def html(lines: Sequence[Line], has_arena: bool) -> str:
    """The page of all reports."""
    from jinja2 import Environment

    there = {line.artefact.partition("/")[0] for line in lines}
    names = [name for name in collections() if name in there]
    sections = [_paper(name, [line for line in lines if line.artefact.startswith(f"{name}/")]) for name in names]
    body = (
        Environment(autoescape=True)
        .from_string(BODY)
        .render(papers=sections, printed=sum(name in papers() for name in names), arena=has_arena)
    )
    links = LINKS if has_arena else {}
    return page("Results", body, links | {paper["short"]: f"#{paper['name']}" for paper in sections}, STYLE)


def _paper(name: str, lines: Sequence[Line]) -> dict[str, Any]:
    module = importlib.import_module(f"reproduce.{name}")
    return {
        "name": name,
        "short": name.replace("_", "-"),
        "title": module.TITLE,
        "authors": module.AUTHORS,
        "where": module.WHERE,
        "lines": [_shown(line) for line in lines],
    }


def _shown(line: Line) -> dict[str, Any]:
    head, colon, tail = line.title.partition(":")
    return {
        **{name: value or "–" for name, value in vars(line).items()},
        "short": line.artefact.partition("/")[2],
        "errors": [part for part in line.errors.split("; ") if part],
        "coverage": f"{line.ran} / {line.printed}" if line.printed else "–",
        "link": line.link.removesuffix(".md") + ".html" if line.has_page else line.link,
        "figure": line.figure,
        "head": head,
        "tail": colon + tail,
    }
