"""``results/which_method.md``: which method when, in sentences and tables made from the numbers of the arena alone."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.base.numbers.formatting import with_error
from reproduce.arena import NAMES, SAME_TIME, Entry, best, equals, others, rivals, shown, spread, unbeaten
from reproduce.arena_page import scientific, seconds, seeds_of
from reproduce.csv_files import read_csv
from reproduce.page import github
from reproduce.pseudofermion.cost import COST, RESTS_ON
from reproduce.pseudofermion.cost import NAMES as PRICED
from reproduce.pseudofermion.cost import ROWS as SIZES

INTRODUCTION = """\
# Which method when

Every sentence and number here is made from [the arena](arena.html) and the reports that it is made from, by rules that
are the same for all methods: nothing is typed in. *Best* is a method on a system where no other one's error is smaller
by more than noise: all three seeds below all three (ranks), else two combined standard errors, more of two seeds
(Student's t); *unbeaten*, where none has a smaller error without being dearer. Errors in doubt count for neither, and
nobody wins where fewer than two are known. Seconds are those recorded: wall time, perhaps on shared cores, by the code
of the run (where a run recorded how much of a core it got, of its own work only); within a factor of 2 they count as
equal. Budgets are equal where a title says so, and else those of the reports of the papers, which differ: with others
the order may change."""
EIGENSTATE, FAR = 1e-6, 1e-3
"""A V-score below the first beside an error above the second: nearly an eigenstate, but not the lowest."""


@dataclass(frozen=True)
class Record:
    """One method on the systems of a family where the errors of several methods are known.

    Attributes:
        systems: those that it was run on.
        best, unbeaten, doubted: on how many of them; in doubt is its own error.
        median, worst: relative errors; of seconds the median.
    """

    method: str
    systems: int
    best: int
    unbeaten: int
    doubted: int
    median: float
    worst: float
    seconds: float
    v_score: float | None


def compared(systems: Iterable[Sequence[Entry]]) -> list[Sequence[Entry]]:
    """The systems where there is somebody to win against."""
    return [found for found in systems if rivals(found)]


def records(systems: Iterable[Sequence[Entry]]) -> list[Record]:
    """Of each method, the most often best one first."""
    systems = compared(systems)
    own: dict[str, list[Entry]] = {}
    for entry in (e for found in systems for e in found):
        own.setdefault(entry.method, []).append(entry)
    winners = [e for found in systems for e in best(found)]
    front = [e for found in systems for e in unbeaten(found)]
    made = []
    for method, entries in own.items():
        scores = [e.v_score for e in entries if e.v_score is not None]
        made.append(
            Record(
                method,
                len(entries),
                sum(e.method == method for e in winners),
                sum(e.method == method for e in front),
                sum(bool(e.doubt) for e in entries),
                statistics.median(e.size for e in entries),
                max(e.size for e in entries),
                statistics.median(e.seconds for e in entries),
                statistics.median(scores) if scores else None,
            )
        )
    return sorted(made, key=lambda r: (-r.best, r.median))


def markdown(entries: Sequence[Entry], results: Path) -> str:
    """The page."""
    rest = others(entries)
    systems = shown(rest)
    parts = [INTRODUCTION]
    for budget, equal in equals(entries).items():
        parts += _contest(budget, equal)
    for name in dict.fromkeys(e.family for e in rest):
        parts += _family(name, [found for found in systems.values() if found[0].family == name])
    parts += _eigenstates([e for found in systems.values() for e in found])
    parts += [*_samplers(results), *_gauge(results), *_references(results)]
    return "\n\n".join(parts) + "\n"


def _contest(budget: float, entries: Sequence[Entry]) -> list[str]:
    """Systems of several families at one budget: errors side by side, then who is best how often."""
    systems = shown(entries)
    one = entries[0]
    title = f"## Equal budgets: {budget:g} s of one core a training, {seeds_of(entries)}"
    said = (
        f"From [{one.artefact}]({one.artefact}/{one.scale}/report.md), which says what each training took, names "
        f"those off the budget, and what else is not equal (such as sums over all configurations where others draw). "
        f"Relative errors; **bold**: the smallest; *italics*: larger ones that scatter too much over seeds to be told "
        f"from it, so that they count as best below."
    )
    methods = [m for m in NAMES if any(e.method == m for e in entries)]
    rows = {f"{found[0].family}: {system}": found for system, found in systems.items()}
    body = [[NAMES[m], *(_error(m, found) for found in rows.values())] for m in methods]
    return [title, said, github(["method", *rows], body), *_told(list(systems.values()))]


def _error(method: str, found: Sequence[Entry]) -> str:
    """``1.5(3)e-05``, bold where it is the smallest of the best, else in italics; a dash where there is none."""
    entry = next((e for e in found if e.method == method), None)
    if entry is None:
        return "–"
    text = scientific(entry.size, entry.error_sigma) + (" ?" if entry.doubt else "")
    first = best(found)
    if entry not in first:
        return text
    return f"**{text}**" if entry is min(first, key=lambda e: e.size) else f"*{text}*"


def _family(name: str, systems: Sequence[Sequence[Entry]]) -> list[str]:
    sites = sorted({e.sites for one in systems for e in one})
    title = f"## {name} ({_to(sites)} sites, {_several(len(systems), 'system')})"
    return [title, *_told(systems)]


def _told(systems: Sequence[Sequence[Entry]]) -> list[str]:
    """Who is best, who is cheap, who is beaten everywhere, and a table of all."""
    found = records(systems)
    if not found:
        methods = ", ".join(dict.fromkeys(NAMES[e.method] for one in systems for e in one))
        return [f"Nothing to compare: no system here has two methods whose errors are known ({methods})."]
    first = found[0]
    said = [
        _budgets(systems),
        f"**{_first(NAMES[first.method])}** is best on {first.best} of {first.systems} "
        f"(median error {first.median:.1e} in {seconds(first.seconds)}).",
    ]
    others = [r for r in found[1:] if r.best]
    if others:
        said.append("Best too: " + ", ".join(f"{NAMES[r.method]} on {r.best} of {r.systems}" for r in others) + ".")
    said += _cheap(found)
    beaten = [NAMES[r.method] for r in found if not r.unbeaten and not r.doubted]
    if beaten:
        said.append(f"Beaten everywhere by something no dearer: {', '.join(beaten)}.")
    header = [
        "method",
        "best",
        "unbeaten",
        "in doubt",
        "median error",
        "worst error",
        "median seconds",
        "median V-score",
    ]
    body = [
        [
            NAMES[r.method],
            f"{r.best} of {r.systems}",
            f"{r.unbeaten} of {r.systems}",
            str(r.doubted or "–"),
            f"{r.median:.1e}",
            f"{r.worst:.1e}",
            f"{r.seconds:.3g}",
            "–" if r.v_score is None else f"{r.v_score:.1e}",
        ]
        for r in found
    ]
    return [" ".join(said), github(header, body)]


def _budgets(systems: Sequence[Sequence[Entry]]) -> str:
    """How many systems count, and how unequal the seconds on them are."""
    there = compared(systems)
    ratios = sorted(spread(found) for found in there)
    low, high = f"{ratios[0]:.2g}", f"{ratios[-1]:.2g}"
    verb = "has" if len(there) == 1 else "have"
    return (
        f"{len(there)} of {_several(len(systems), 'system')} {verb} several methods whose errors are known; the "
        f"dearest took {low if low == high else f'{low} to {high}'} times the seconds of the cheapest."
    )


def _cheap(found: Sequence[Record]) -> list[str]:
    """Those that are cheaper than the first by more than clocks leave open, the cheapest first."""
    least = min(r.seconds for r in found)
    if found[0].seconds <= SAME_TIME * least:
        return []
    cheap = sorted((r for r in found if r.seconds <= SAME_TIME * least), key=lambda r: r.seconds)
    named = ", ".join(f"{NAMES[r.method]} ({seconds(r.seconds)}, median error {r.median:.1e})" for r in cheap)
    return [f"Cheapest{f', within a factor of {SAME_TIME:g}' if len(cheap) > 1 else ''}: {named}."]


def _eigenstates(entries: Sequence[Entry]) -> list[str]:
    """Where a V-score alone would mislead."""
    found = [e for e in entries if e.v_score is not None and e.v_score < EIGENSTATE and e.size > FAR]
    if not found:
        return []
    methods = ", ".join(
        f"{NAMES[m]} {sum(e.method == m for e in found)}" for m in NAMES if m in {e.method for e in found}
    )
    return [
        "## What a V-score does not tell",
        f"In {len(found)} of {sum(e.v_score is not None for e in entries)} cells with a V-score it lies below "
        f"{EIGENSTATE:g} while the energy is off by more than {FAR:g} ({methods}): the state has collapsed to one "
        "that is nearly an eigenstate, but not the lowest. Look at the energy of a second method, or at a reference.",
    ]


def _samplers(results: Path) -> list[str]:
    """Direct draws, chains and proposals on the same states."""
    lines = _lines(results, "nir/error_per_second", "table.csv")
    ratio = "σ² s over direct"
    found = [line for line in lines if line.get(ratio, "–") != "–"]
    if not found:
        return []
    samplers = list(dict.fromkeys(line["sampler"] for line in found))
    sizes = list(dict.fromkeys(line["sites"] for line in found))
    cells = {(line["sampler"], line["sites"]): line[ratio] for line in found}
    body = [[name, *(cells.get((name, size), "–") for size in sizes)] for name in samplers]
    return [
        "## Which sampler",
        "Squared error of the energy times seconds, over that of direct draws from the same normalised state "
        "([nir/error_per_second](nir/error_per_second/laptop/report.md)); above one, direct draws are cheaper. "
        "What is not normalised has no direct draws.",
        github(["sampler", *(f"{size} sites" for size in sizes)], body),
    ]


def _gauge(results: Path) -> list[str]:
    """Flows, hybrid Monte Carlo and reweighting; prices in doubt are left out."""
    doubted = {
        (run["cell"], run["method"])
        for run in _lines(results, "pseudofermion/cost", "runs.csv")
        if run["quantity"] in RESTS_ON and run["doubt"]
    }
    priced = [
        line for line in _lines(results, "pseudofermion/cost", "cells.csv") if line["quantity"] == COST and line["ours"]
    ]
    lines = [line for line in priced if (line["cell"], line["method"]) not in doubted]
    if not lines:
        return []
    rows = list(dict.fromkeys(line["cell"] for line in lines))
    said = [one for row in rows if (one := _cheapest(row, [line for line in lines if line["cell"] == row]))]
    known = {(line["method"], line["cell"]): _price(line) for line in lines}
    left = {(line["method"], line["cell"]): "in doubt" for line in priced} | known
    methods = list(dict.fromkeys(line["method"] for line in priced))
    body = [[PRICED[m], *(left.get((m, row), "–") for row in rows)] for m in methods]
    return [
        "## Lattice gauge fields with fermions",
        "Milliseconds of an independent configuration, training apart "
        "([pseudofermion/cost](pseudofermion/cost/laptop/report.md)). " + " ".join(said + _volume(results)),
        github(["method", *(SIZES[row] for row in rows)], body),
    ]


def _cheapest(row: str, lines: Sequence[Mapping[str, str]]) -> str:
    """Of those on one lattice; nothing where there is no other."""
    (low, cheap), *others = sorted((float(line["ours"]), line["method"]) for line in lines)
    if not others:
        return ""
    dearer = ", ".join(
        f"{PRICED[method]} takes {float(f'{value / low:.2g}'):g} times as long" for value, method in others
    )
    return f"{SIZES[row]}: {PRICED[cheap]} is the cheapest, {dearer}."


def _price(line: Mapping[str, str]) -> str:
    sigma = float(line["ours_sigma"]) if line["ours_sigma"] else None
    return with_error(1e3 * float(line["ours"]), 1e3 * sigma if sigma else None, digits=2)


def _volume(results: Path) -> list[str]:
    """What becomes of reweighting on larger lattices."""
    found = {
        run["cell"]: float(run["value"])
        for run in _lines(results, "pseudofermion/cost", "runs.csv")
        if (run["method"], run["quantity"]) == ("reference", "ess") and run["value"]
    }
    if len(found) < 2:
        return []
    falls = ", ".join(f"{found[row]:.2g} on {SIZES[row]}" for row in SIZES if row in found)
    return [f"Reweighting dies with the volume: its effective samples of a configuration are {falls}."]


def _references(results: Path) -> list[str]:
    """Exact and independent solvers: what they took."""
    taken: dict[str, list[tuple[float, str]]] = {}
    for path in sorted(results.glob("*/*/*/cells.csv")):
        if path.parent.name == "smoke" or not path.with_name("runs.csv").is_file():
            continue
        kinds = {c["cell"]: c["reference_kind"] for c in read_csv(path) if c["reference_kind"]}
        for run in read_csv(path.with_name("runs.csv")):
            known = run["method"] == "reference" and run["quantity"] == "energy" and run["cell"] in kinds
            if known and kinds[run["cell"]] != "literature":
                taken.setdefault(kinds[run["cell"]], []).append((float(run["seconds"]), run["bound"]))
    if not taken:
        return []
    body = [
        [
            kind,
            ", ".join(sorted({b for _, b in found})),
            seconds(_median(found)),
            seconds(max(s for s, _ in found)),
        ]
        for kind, found in sorted(taken.items(), key=lambda item: _median(item[1]))
    ]
    return [
        "## When no network is needed",
        "Where one of these reaches a system, it is the answer; seconds are those of the references in all reports.",
        github(["solver", "its energy is", "median", "slowest"], body),
    ]


def _median(found: Sequence[tuple[float, str]]) -> float:
    return statistics.median(s for s, _ in found)


def _lines(results: Path, artefact: str, name: str) -> Sequence[Mapping[str, str]]:
    path = results / artefact / "laptop" / name
    return read_csv(path) if path.is_file() else []


def _first(name: str) -> str:
    """As a sentence begins."""
    return name[0].upper() + name[1:]


def _to(sizes: Sequence[int]) -> str:
    return str(sizes[0]) if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"


def _several(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"
