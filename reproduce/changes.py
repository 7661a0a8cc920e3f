"""Cuts and deviations as tables: what each method does differently from its full settings, and why."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from pipeline.stages.cuts import holding
from reproduce.tables import Finished, Table

LONGEST = 44
"""Characters of a value that are shown; all of them are in ``cells.csv``."""
LINE = 118
"""Characters of a line; a reason that makes it longer stands below the table."""
BUDGET = "budget of this scale"
FEW = 4
"""As many cells are named, more are counted."""

FULL_SCALE = (
    "`full scale` is the configuration of scale `paper`: the paper's values where it prints them, ours where it prints "
    "none and in methods of our own; comments in `conf/recipe` tell which."
)


def changes(table: Table) -> list[str]:
    """A table for each method; methods that change the same share one."""
    bodies: dict[tuple[tuple[str, ...], ...], list[str]] = {}
    for method, runs in _by_method(table.finished).items():
        body = tuple(_lines(runs, table.artefact.labels))
        if body:
            bodies.setdefault(body, []).append(method)
    if not bodies:
        return ["Nothing is cut: these are the paper's own settings."]
    parts: list[str] = [FULL_SCALE, ""]
    for lines, methods in bodies.items():
        parts += [f"### {', '.join(methods)}", "", *_table(lines), ""]
    return parts[:-1]


def _by_method(finished: Sequence[Finished]) -> Mapping[str, list[Finished]]:
    found: dict[str, list[Finished]] = {}
    for done in finished:
        found.setdefault(done.task.cell.method, []).append(done)
    return found


def _lines(runs: Sequence[Finished], labels: Mapping[str, str]) -> Iterator[tuple[str, ...]]:
    """Setting, full scale, here and why of each cut, with its cells where these are not all.

    A reason is that of the run which has the cut: what one recipe says explains no cut of another.
    """
    cells = {done.task.cell.id: done for done in runs}
    where: dict[tuple[str, str], list[str]] = {}
    for done in cells.values():
        for cut in done.task.cuts:
            why = "; ".join(_reasons(done.task.run.deviations, cut)) or BUDGET
            where.setdefault((cut, why), []).append(labels.get(done.task.cell.row, done.task.cell.row))
    for (cut, why), rows in where.items():
        key, _, values = cut.partition(": ")
        before, here = _both(*values.split(" → ", 1))
        some = "" if len(rows) == len(cells) else f" ({_some(rows, len(cells))})"
        yield f"`{key}`", before, here + some, why


def _some(rows: Sequence[str], all_of_them: int) -> str:
    return "; ".join(rows) if len(rows) <= FEW else f"in {len(rows)} of {all_of_them} cells"


def _reasons(deviations: Mapping[str, str], cut: str) -> list[str]:
    """Sentences that explain a cut."""
    return [text for key, text in deviations.items() if holding([(key, text)], [cut])]


def _both(before: str, here: str) -> tuple[str, str]:
    """Two values of a setting, short enough for their columns, and never the same."""
    shown = _short(before), _short(here)
    return shown if shown[0] != shown[1] else (shown[0], f"{shown[1]}, with other settings")


def _short(value: str) -> str:
    """A value that fits its column: phases and lists of numbers in words, else the ends of a long one."""
    steps = [int(n) for n in re.findall(r"\bsteps:(\d+)", value)]
    if value.startswith("[{") and steps:
        return f"{len(steps)} phase{'s' if len(steps) > 1 else ''}, {sum(steps)} steps"
    if len(value) <= LONGEST:
        return value
    numbers = value[1:-1].split(",")
    if all(re.fullmatch(r"-?\d+(\.\d+)?(e[+-]?\d+)?", number) for number in numbers):
        return f"{len(numbers)} values from {numbers[0]} to {numbers[-1]}"
    half = (LONGEST - 1) // 2
    return f"{value[:half]}…{value[-half:]}"


def _table(lines: Sequence[Sequence[str]]) -> list[str]:
    """Unpadded; long reasons are numbered and follow."""
    rows, below = [], list[str]()
    for *cells, why in lines:
        if why != BUDGET and sum(map(len, (*cells, why))) + 13 > LINE:
            below += [why] if why not in below else []
            why = f"see {below.index(why) + 1}"
        rows.append([*cells, why])
    head = [("setting", "full scale", "here", "why"), ("---",) * 4]
    shown = ["| " + " | ".join(cell.replace("|", r"\|") for cell in row) + " |" for row in [*head, *rows]]
    return shown + ([""] if below else []) + [f"{k}. {why}" for k, why in enumerate(below, 1)]
