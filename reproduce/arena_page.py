"""``results/arena.html``: a table a family of systems, methods side by side; every setting in ``arena.csv``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.base.html import page
from reproduce.arena import LEVELS, NAMES, SAME_TIME, Entry, best, equals, others, shown, spread, unbeaten
from reproduce.colours import style

EQUAL = 3.0
"""Factor in seconds within which budgets count as about equal."""

STYLE = """\
.family td{white-space:nowrap}
.family td small{display:block;color:var(--quiet)}
.family td b{color:var(--link)}
.family a{text-decoration:none}
.family a:hover{text-decoration:underline}
.family th span{display:inline-block;width:.7em;height:.7em;border-radius:50%;margin-right:.35em}
"""

BODY = """\
<h1>Arena: methods side by side on systems with an exact reference</h1>
<p>{{ systems }} systems whose exact energy is known (by {{ kinds }}) and {{ methods }} methods, {{ entries }} trained
states in all, from the reports of this repository. Each cell: the relative error
|E − E<sub>exact</sub>|/|E<sub>exact</sub>| with its standard error; the V-score N·Var(E)/E² where the variance is
estimated (not of NQS+NF, whose energies are Rayleigh quotients in subspaces); seconds of one seed, training and
inference together, as recorded: wall time, perhaps on shared cores, by the code of the run (where a run recorded how
much of a core it got, of its own work only).</p>
<ul>
<li><b>Bold</b>: the smallest error; <i>italics</i>: larger ones that are not larger by more than noise: of three seeds
each one method's lie all below the other's (ranks, 1 of 20 by chance), else two combined standard errors, more of two
seeds (Student's t). ◆: no other method has a
smaller error without being dearer, times within a factor of {{ same }} counting as equal. Errors in doubt (?) count for
neither, and a method without an opponent whose error is known is neither.</li>
<li><b>Budgets</b> are equal in {% if contests %}the tables of <a href="#equal">equal budgets</a>{% else %}no table
here{% endif %}. Those of the others are unequal, as the reports of the papers have them:
{{ equal }} of {{ compared }} systems with several methods saw about equal ones, within a factor of {{ factor }} in
seconds; the rest differ by a factor of up to {{ widest }}, as the column <i>budgets</i> says (seconds of the dearest
over those of the cheapest). All are those of the scale of their report ({{ scales }}), cut against the papers, as each
report lists.</li>
<li>Of several settings of a method on one system the one of most training steps is shown, of these the one of most
parameters, then of most seeds, then the first by its name, whatever its error. All
are in <a href="arena.csv">arena.csv</a>, with seeds, steps and run keys.</li>
<li>Seeds, where budgets are unequal: {{ seeds }}. With one seed the error has no spread between trainings in it.</li>
<li>Systems with a stochastic, extrapolated or variational reference (quantum Monte Carlo, DMRG) are left out.</li>
</ul>
<figure><img class="figure" src="{{ image }}" width="{{ width }}" height="{{ height }}"
alt="Relative error against seconds, a panel a family of systems">
<figcaption class="quiet">Relative error of the energy against seconds of one seed as recorded (wall, perhaps on shared
cores, by the code of the run), a panel a family of systems, a point a
method and system; arrows: errors smaller than their own standard error.</figcaption></figure>
{% for family in contests + families %}
<h2{% if family.budget and loop.first %} id="equal"{% endif %}>{{ family.name }}</h2>
{% if family.budget %}<p>Every training had the same budget, {{ family.budget }} s of one core of the machine where its
steps were fixed, and every cell {{ family.seeds }}: <a href="{{ family.link }}">the report</a>, which names those whose
seconds are off, and its <a href="{{ family.figure }}">figure</a>. Seconds below hold the inference too.</p>
{% elif loop.index0 == contests|length %}<p class="quiet">From here on budgets are those of the papers' reports and
unequal, as the last column says.</p>
{% endif %}<div class="wide"><table class="family">
<thead><tr><th>system</th>
{% for m in family.methods %}<th><span style="background:{{ m.colour }}"></span>{{ m.name }}</th>
{% endfor %}<th>budgets</th></tr></thead><tbody>
{% for row in family.rows %}<tr><td>{{ row.system }}</td>
{% for c in row.cells %}{% if c %}<td>
<a href="{{ c.link }}" title="{{ c.title }}"><{{ c.tag }}>{{ c.error }}</{{ c.tag }}></a>{{ c.mark }}
<small>{{ c.more }}</small></td>{% else %}<td>–</td>{% endif %}
{% endfor %}<td>{{ row.spread }}</td></tr>
{% endfor %}</tbody></table></div>
{% endfor %}
"""


def scientific(value: float, sigma: float | None) -> str:
    """``1.5(3)e-05``, or two digits of a value without a known error."""
    if not sigma or not value or sigma < 1e-3 * value:
        return f"{value:.1e}"
    from uncertainties import ufloat

    return f"{ufloat(value, sigma):.1ueS}"


def seconds(value: float) -> str:
    """``7.1 s``, ``585 s``."""
    return "< 0.1 s" if value < 0.1 else f"{value:.1f} s" if value < 10 else f"{value:.0f} s"


def html(entries: Sequence[Entry], links: Mapping[str, str], image: str, size: tuple[int, int]) -> str:
    """The page; ``image``, of ``size`` pixels, is its figure."""
    from jinja2 import Environment

    rest = others(entries)
    systems = shown(rest)
    several = {system: found for system, found in systems.items() if len(found) > 1}
    widths = {system: spread(found) for system, found in several.items()}
    body = (
        Environment(autoescape=True)
        .from_string(BODY)
        .render(
            systems=len({entry.system for entry in entries}),
            kinds=", ".join(sorted({e.reference_kind for e in entries})),
            methods=len({e.method for e in entries}),
            entries=len(entries),
            equal=sum(width <= EQUAL for width in widths.values()),
            compared=len(several),
            factor=f"{EQUAL:g}",
            same=f"{SAME_TIME:g}",
            widest=f"{max(widths.values(), default=1.0):.0f}",
            scales=", ".join(sorted({e.scale for e in entries})),
            seeds=_seeds([e for found in systems.values() for e in found]),
            image=image,
            width=size[0],
            height=size[1],
            contests=[_contest(budget, found) for budget, found in equals(entries).items()],
            families=[_family(name, systems) for name in dict.fromkeys(e.family for e in rest)],
        )
    )
    return page("Arena", body, links, STYLE)


def _seeds(entries: Sequence[Entry]) -> str:
    """``1 in 130 of the cells below, 3 in 6 ...``."""
    counts = {n: sum(e.seeds == n for e in entries) for n in sorted({e.seeds for e in entries})}
    return ", ".join(f"{n} in {times} of the cells below" for n, times in counts.items())


def _contest(budget: float, entries: Sequence[Entry]) -> dict[str, Any]:
    """Systems of several families, whose trainings all had the same budget."""
    systems = shown(entries)
    report = f"{entries[0].artefact}/{entries[0].scale}"
    rows = {f"{found[0].family}: {system}": found for system, found in systems.items()}
    more = {"budget": f"{budget:g}", "seeds": seeds_of(entries)}
    links = {"link": f"{report}/report.html", "figure": f"{report}/figure.png"}
    return {**_table(f"Equal budgets: {budget:g} s of one core a training", rows), **more, **links}


def seeds_of(entries: Sequence[Entry]) -> str:
    """``3 seeds``, ``1 to 3 seeds``."""
    low, high = min(e.seeds for e in entries), max(e.seeds for e in entries)
    return f"{low} seed{'s' if low > 1 else ''}" if low == high else f"{low} to {high} seeds"


def _family(name: str, systems: Mapping[str, Sequence[Entry]]) -> dict[str, Any]:
    return _table(name, {_short(s, name): found for s, found in systems.items() if found[0].family == name})


def _table(name: str, systems: Mapping[str, Sequence[Entry]]) -> dict[str, Any]:
    """A line a system, a column a method."""
    methods = [m for m in NAMES if any(e.method == m for found in systems.values() for e in found)]
    rows = []
    for system, found in systems.items():
        cells = {e.method: _cell(e, found) for e in found}
        width = f"× {spread(found):.0f}" if len(found) > 1 else ""
        rows.append({"system": system, "cells": [cells.get(m) for m in methods], "spread": width})
    heads = [{"name": NAMES[m], "colour": style(m).colour} for m in methods]
    return {"name": name, "methods": heads, "rows": rows}


def _short(system: str, family: str) -> str:
    """Without what the name of the family says already."""
    return next((system.removesuffix(level) for level in LEVELS.values() if family.endswith(level)), system)


def _tag(entry: Entry, found: Sequence[Entry]) -> str:
    """Bold for the smallest error, italics for those that are not larger by more than noise."""
    first = best(found) if len(found) > 1 else []
    if entry not in first:
        return "span"
    return "b" if entry is min(first, key=lambda e: e.size) else "i"


def _cell(entry: Entry, found: Sequence[Entry]) -> dict[str, Any]:
    score = "" if entry.v_score is None else f"V {entry.v_score:.1e} · "
    seeds = "1 seed" if entry.seeds == 1 else f"{entry.seeds} seeds"
    steps = "" if entry.steps is None else f", {entry.steps} steps"
    marks = (" ?" if entry.doubt else "") + (" ◆" if len(found) > 1 and entry in unbeaten(found) else "")
    return {
        "tag": _tag(entry, found),
        "error": scientific(entry.size, entry.error_sigma),
        "mark": marks,
        "more": f"{score}{seconds(entry.seconds)}",
        "title": f"{entry.artefact} {entry.setting}: {seeds}{steps}" + (f"; {entry.doubt}" if entry.doubt else ""),
        "link": f"{entry.artefact}/{entry.scale}/report.html",
    }
