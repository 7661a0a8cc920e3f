"""Tables of the README: that of a committed report and what artefacts cost by their own record, never typed in."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

from pipeline.base.errors import UserError
from pipeline.base.places import ROOT
from pipeline.base.store.files import atomic_path
from reproduce.artefact import all_artefacts, load_artefact
from reproduce.plan import estimate_seconds, find, make_tasks, past_seconds, soon_first
from reproduce.planned import Planned, elapsed, run_name, together

BEGIN = "<!-- table: {} -->"
END = "<!-- end of table -->"
REPORT = "results/nf_nqs/table1/laptop/report.md"
COSTS, WORKERS = "costs of committed reports", 2


def first_table(report: str) -> str:
    """The first table of a report in Markdown.

    Raises:
        UserError: it has none.
    """
    lines = report.splitlines()
    start = next((k for k, line in enumerate(lines) if line.startswith("|")), None)
    if start is None:
        raise UserError("this report has no table")
    end = next((k for k in range(start, len(lines)) if not lines[k].startswith("|")), len(lines))
    return "\n".join(lines[start:end])


def with_table(readme: str, table: str, name: str = REPORT) -> str:
    """The README with ``table`` between its marks.

    Raises:
        UserError: the marks are missing.
    """
    begin = BEGIN.format(name)
    head, found, rest = readme.partition(begin)
    _, closed, tail = rest.partition(END)
    if not found or not closed:
        raise UserError(f"README.md has no line {begin} with {END} after it")
    return f"{head}{begin}\n\n{table}\n\n{END}{tail}"


def planned(name: str, scale: str = "laptop") -> dict[str, Planned]:
    """Runs of an artefact in a fresh clone, in the order of the work, with the seconds of its committed report."""
    history = past_seconds(ROOT / "results" / name / scale)
    with tempfile.TemporaryDirectory() as nothing:
        tasks = make_tasks(load_artefact(name), scale, [f"results_dir={nothing}"])
        known = {task.id: estimate_seconds(task, find(task, lambda _: None, repair=False), history) for task in tasks}
    return {run_name(task): Planned(task, known[task.id]) for task in soon_first(tasks, history)}


def costs(names: Iterable[str]) -> str:
    """A line an artefact, and all of them, runs that they share counted once: minutes on two cores by plan."""
    lines, every = ["| command | two cores |", "| --- | --- |"], dict[str, Planned]()
    for name in names:
        runs = planned(name)
        every = together(every, runs)
        lines.append(_cost(name.replace("/", "-"), list(runs.values())))
    return "\n".join([*lines, _cost("all", list(every.values()))])


def _cost(name: str, runs: list[Planned]) -> str:
    unknown = sum(run.seconds is None for run in runs)
    more = f", and {unknown} run(s) of unknown length" if unknown else ""
    hours, minutes = divmod(max(1, round(elapsed(runs, WORKERS) / 60.0)), 60)
    return f"| `make reproduce-{name}` | {f'{hours} h ' if hours else ''}{minutes} min{more} |"


def update(root: Path) -> None:
    """Write the tables into the README of the repository at ``root``, where they differ."""
    path = root / "README.md"
    old = path.read_text(encoding="utf-8")
    new = with_table(old, first_table((root / REPORT).read_text(encoding="utf-8")))
    new = with_table(new, costs(all_artefacts()), COSTS)
    if new != old:
        with atomic_path(path) as temporary:
            temporary.write_text(new, encoding="utf-8")
