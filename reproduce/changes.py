"""Cuts and deviations as tables: what each method does differently from the paper, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline.stages.cuts import holding
from reproduce.tables import Finished, Table

LONGEST = 44
"""Characters of a value that are shown; all of them are in ``cells.csv``."""
BUDGET = "budget of this scale"


def changes(table: Table) -> list[str]:
    """A table for each method; methods that change the same share one."""
    bodies: dict[tuple[tuple[str, ...], ...], list[str]] = {}
    for method, runs in _by_method(table.finished).items():
        body = tuple(_lines(runs))
        if body:
            bodies.setdefault(body, []).append(method)
    if not bodies:
        return ["Nothing is cut: these are the paper's own settings."]
    parts: list[str] = []
    for lines, methods in bodies.items():
        parts += [f"### {', '.join(methods)}", "", _table(lines), ""]
    return parts[:-1]


def _by_method(finished: Sequence[Finished]) -> Mapping[str, list[Finished]]:
    found: dict[str, list[Finished]] = {}
    for done in finished:
        found.setdefault(done.task.cell.method, []).append(done)
    return found


def _lines(runs: Sequence[Finished]) -> list[tuple[str, ...]]:
    """Setting, paper, here and why of each cut; with the number of cells where it is not one of all."""
    cells = {done.task.cell.id: done.task.cuts for done in runs}
    reasons = dict(item for done in runs for item in done.task.run.deviations.items())
    counts = {cut: sum(cut in cuts for cuts in cells.values()) for cuts in cells.values() for cut in cuts}
    lines: list[tuple[str, ...]] = []
    said = set()
    for cut, count in counts.items():
        key, _, values = cut.partition(": ")
        paper, _, here = values.partition(" → ")
        why = "; ".join(text for text in _reasons(reasons, cut))
        shown = "as above" if why in said else why
        said.add(why)
        some = f" (in {count} of {len(cells)} cells)" if count < len(cells) else ""
        lines.append((f"`{key}`", _short(paper), _short(here) + some, shown if why else BUDGET))
    return lines


def _reasons(deviations: Mapping[str, str], cut: str) -> list[str]:
    """Sentences that explain a cut."""
    return [text for key, text in deviations.items() if holding([(key, text)], [cut])]


def _short(value: str) -> str:
    """A value that fits its column: the ends of a long one."""
    if len(value) <= LONGEST:
        return value
    half = (LONGEST - 1) // 2
    return f"{value[:half]}…{value[-half:]}"


def _table(lines: Sequence[Sequence[str]]) -> str:
    """Unpadded: reasons are sentences, and a page folds them."""
    rows = [("setting", "paper", "here", "why"), ("---",) * 4, *lines]
    return "\n".join("| " + " | ".join(cell.replace("|", r"\|") for cell in row) + " |" for row in rows)
