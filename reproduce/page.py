"""The page of a report: first for a reader with one minute, then for a referee."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise

from pipeline.base.numbers.formatting import duration, memory
from reproduce.artefact import Claim, Rendering
from reproduce.changes import changes
from reproduce.published import POWER_SIGMAS
from reproduce.summary import below_bound, coverage, summary
from reproduce.tables import Finished, Table

WIDTH = 118
"""Characters of a table that fit a page."""

OURS = "ours"
"""Location of claims that no paper makes: tests of our own references and samplers."""

FILES = "The same as [SVG](figure.svg) and as [PDF](figure.pdf)."

FRESH = (
    "All numbers of trained states come from fresh samples after training, none from an optimisation trace; every seed "
    "is kept in `runs.csv`."
)
ERRORS = (
    "An error in brackets is the standard error of the mean over independent units (subspaces, batches), times "
    "√(2τ_int) where they are correlated; over several seeds it is the standard error over seeds. `spread` is the "
    "standard deviation over subspaces or seeds.",
    "vs paper: `agrees` within two combined standard errors, else `lower` or `higher`. A printed spread over n units "
    "counts as spread/√n and the rounding of the last digit, a missing error as half the last digit. `undecided`: an "
    "error is unknown or in doubt, or ours agrees, but the reference itself, measured like that, would agree too "
    f"in more than 1 of 20 repetitions: it lies within {POWER_SIGMAS:.2f} combined errors of the printed number.",
    "Relative errors are (E − E_ref)/|E_ref|. A variational energy below an exact one is a bug at 3σ, corrected for "
    "the number of energies that are judged here.",
)


def page(table: Table, rendering: Rendering, command: str, has_figure: bool) -> str:
    """The report in Markdown."""
    parts = [f"# {table.artefact.title}", ""]
    for row in below_bound(table):
        parts += [f"**BELOW-BOUND: {row.cell}/{row.method} lies below the exact reference. This is a bug.**", ""]
    parts += ["## Verdict", "", *_verdict(table, rendering)]
    parts += ["", "## Table", "", *_wide(rendering), *_undecided(table)]
    if has_figure:
        parts += ["", "## Figure", "", f"![{table.artefact.name}](figure.png)", "", rendering.caption, "", FILES]
    ours = [claim for claim in rendering.claims if claim.location.startswith(OURS)]
    papers = [claim for claim in rendering.claims if claim not in ours]
    for title, claims in (("What the paper says", papers), ("Checks of our own", ours)):
        if claims:
            parts += ["", f"## {title}", "", *[_claim(claim) for claim in claims]]
    parts += ["", "## Cuts and deviations", "", *changes(table)]
    parts += ["", "## How errors were computed", "", *[f"- {note}" for note in [*rendering.notes, *_errors(table)]]]
    parts += ["", "## Commands", "", *_commands(table, command)]
    parts += ["", "## Provenance", "", *_provenance(table)]
    return "\n".join(parts) + "\n"


def github(header: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """A table as GitHub shows it, no wider than its cells."""
    header, *lines = ([cell.replace("|", r"\|") for cell in line] for line in (header, *body))
    widths = [max(3, *map(len, column)) for column in zip(header, *lines, strict=True)]
    rows = [header, ["-" * width for width in widths], *lines]
    return "\n".join("| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in rows)


def _verdict(table: Table, rendering: Rendering) -> list[str]:
    """Sentences of the renderer, or counts; then what failed."""
    failed = [f"- FAILED {d.task.id}: {d.failure}" for d in table.finished if d.failure]
    said = " ".join(rendering.verdict) or summary(table)
    return [said, "", coverage(table), *([""] if failed else []), *failed]


def parts_of(widths: Sequence[int], keys: int, breaks: Sequence[int] = (), most: int = WIDTH) -> list[list[int]]:
    """Columns of each part of a table that is cut to fit a page, the leading ``keys`` ones repeated.

    Args:
        widths: of the columns, in characters.
        breaks: columns before which a part should begin; empty: any. What is wider than a page between two of them is
            cut too.

    Returns:
        As few parts as there can be, of about the same width.
    """
    fewest = len(_filled(widths, keys, breaks, most))
    return next(
        parts
        for width in range(1, most + 1)
        if len(parts := _filled(widths, keys, breaks, width)) == fewest or width == most
    )


def _filled(widths: Sequence[int], keys: int, breaks: Sequence[int], most: int) -> list[list[int]]:
    """Parts that take as many groups of columns as they can."""
    starts = sorted({keys, *(breaks or range(keys, len(widths))), len(widths)})
    groups = [list(range(first, last)) for first, last in pairwise(starts)]
    lead = list(range(keys))
    fits = [1 + sum(widths[k] + 3 for k in [*lead, *group]) <= WIDTH for group in groups]
    groups = [
        part for group, whole in zip(groups, fits, strict=True) for part in ([group] if whole else [[k] for k in group])
    ]
    parts: list[list[int]] = []
    for group in groups:
        wanted = [*lead, *(parts[-1][keys:] if parts else []), *group]
        if parts and 1 + sum(widths[k] + 3 for k in wanted) <= most:
            parts[-1] = wanted
        else:
            parts.append([*lead, *group])
    return parts or [lead]


def _wide(rendering: Rendering) -> list[str]:
    """The table, in as many parts as a page needs."""
    lines = [rendering.header, *rendering.body]
    widths = [max(len(line[k]) for line in lines) for k in range(len(rendering.header))]
    shown = []
    for chosen in parts_of(widths, rendering.keys or naming(rendering.body), rendering.breaks):
        header, *body = ([line[k] for k in chosen] for line in lines)
        shown += [github(header, body), ""]
    return shown[:-1]


def naming(body: Sequence[Sequence[str]]) -> int:
    """How many leading columns tell the lines of a table apart; 1 if none do."""
    columns = range(1, len(body[0]) if body else 1)
    return next((k for k in columns if len({tuple(line[:k]) for line in body}) == len(body)), 1)


NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e[+-]?\d+)?")


def _undecided(table: Table) -> list[str]:
    """Why numbers have no verdict, and which: each kind of reason once, of energies and of what the paper prints."""
    wanted = {"energy", *(number.quantity for number in table.numbers)}
    kinds: dict[str, list[str]] = {}
    named: dict[str, dict[str, list[str]]] = {}
    for (cell, method, quantity), reason in table.undecided.items():
        if quantity in wanted:
            kind = NUMBER.sub("#", reason)
            kinds.setdefault(kind, []).append(reason)
            shown = method + (f", {quantity.replace('_', ' ')}" if quantity != "energy" else "")
            named.setdefault(kind, {}).setdefault(shown, []).append(table.artefact.labels.get(cell, cell))
    lines = [
        f"- {_together(reasons)}: " + "; ".join(f"{m} ({', '.join(cells)})" for m, cells in named[kind].items())
        for kind, reasons in kinds.items()
    ]
    return ["", "Undecided, because", "", *lines] if lines else []


def _together(reasons: Sequence[str]) -> str:
    """Reasons that differ in their numbers alone as one: ``only 5 to 8 batches``."""
    columns = [sorted(set(found), key=float) for found in zip(*map(NUMBER.findall, reasons), strict=True)]
    shown = iter(ends[0] if len(ends) == 1 else f"{ends[0]} to {ends[-1]}" for ends in columns)
    return NUMBER.sub(lambda _: next(shown), reasons[0])


def _claim(claim: Claim) -> str:
    where = "" if claim.location == OURS else f" ({claim.location})"
    text = f"“{claim.text.strip('“”')}”" if claim.verbatim else claim.text
    return f"- **{claim.seen}**: {text}{where}: {claim.evidence}"


def _errors(table: Table) -> list[str]:
    """What errors and verdicts mean."""
    trained = any("train" in done.task.cell.stages for done in table.finished)
    return [ERRORS[0], *([FRESH] if trained else []), *ERRORS[1:]]


def _commands(table: Table, command: str) -> list[str]:
    """Of the artefact, of one cell and of one run; those of all runs are in the manifest."""
    plain = f"python -m reproduce {table.artefact.id} --scale {table.scale}"
    lines = [f"- everything: `{command}`", f"- this page again, without computing: `{plain} --render`"]
    runs = [d for d in table.finished if d.task.cell.method != "reference"] or table.finished
    if runs:
        first = runs[0].task
        lines.append(f"- one cell: `{plain} --only {first.cell.id}`")
        lines.append(f"- one run of it: `{first.command}`; those of all runs are in `manifest.json`")
    return lines


def _provenance(table: Table) -> list[str]:
    """Versions, hardware, seconds and memory; each fact once with the number of stages it holds for."""
    facts: dict[str, Counter[str]] = {}
    entries = {entry.name: entry for done in table.finished for entry in done.found.entries}  # runs may share some
    for entry in entries.values():
        p = entry.provenance()
        hardware = ", ".join(f"{v}" for k, v in p["hardware"].items() if k in ("cpu", "gpu"))
        versions = ", ".join(f"{k} {v}" for k, v in p["packages"].items() if v != "absent")
        commit = f"{p['git'][:12]}{' with changes' if '+' in p['git'] else ''}"
        facts.setdefault(f"{p['threads']} thread(s) on {hardware}; {versions}", Counter())[commit] += 1
    lines = [
        f"- {commits.total()} stage(s): {fact}; git {', '.join(f'{name} ({n})' for name, n in commits.items())}"
        for fact, commits in facts.items()
    ]
    lines.append(f"- compute time {duration(sum(e.seconds for e in entries.values()))}, summed over runs")
    return lines + [
        f"- reference by {kind}: {text}" for kind, text in _references(table.finished, table.artefact.labels).items()
    ]


SHORTEST = 0.1
"""Seconds below which none are counted."""
LEAST = 1e6
"""Bytes below which nothing is said of memory."""


def _references(finished: Sequence[Finished], labels: Mapping[str, str]) -> Mapping[str, str]:
    """Rows, time and memory of each kind of reference."""
    kinds: dict[str, list[Finished]] = {}
    for done in finished:
        if done.task.cell.method == "reference" and done.found.reference is not None:
            status = done.found.reference.status
            kinds.setdefault(("committed results of " if status.get("promoted") else "") + status["kind"], []).append(
                done
            )
    found = {}
    for kind, runs in kinds.items():
        statuses = [done.found.reference.status for done in runs if done.found.reference is not None]
        seconds = max(float(status["seconds"]) for status in statuses)
        most = max(float(status.get("peak_bytes") or 0) for status in statuses)
        rows = ", ".join(dict.fromkeys(labels.get(done.task.cell.row, done.task.cell.row) for done in runs))
        took = f"at most {duration(seconds)}" if seconds >= SHORTEST else f"less than {duration(SHORTEST)}"
        found[kind] = f"{rows}; {took}" + (f" and {memory(most)} of memory" if most >= LEAST else "")
    return found
