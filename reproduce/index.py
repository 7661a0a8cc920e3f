"""``results/README.md`` and ``results/index.html``: every written report with what the paper's own method gave."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.base.store.files import atomic_path
from reproduce.artefact import Artefact, all_artefacts, load_artefact
from reproduce.csv_files import read_csv
from reproduce.summary import UNLIKE, counted

INTRODUCTION = """\
What `make reproduce-*` wrote and we committed: one folder for each artefact and scale, with

- `report.md`: what a physicist reads; `figure.svg`, `figure.png`
- `table.csv`: wide, as the paper prints it
- `cells.csv`, `runs.csv`, `curves.csv`: long, for machines
- `manifest.json`: provenance of every run and the command that reruns it

Commit these files at scales `laptop`, `gpu` and `paper`, as long as a folder stays below 1 MB. Folders that begin with
an underscore (`_store`, `_runs`, `_partial`, `_hydra`, `_wandb`, `_logs`) are working data and stay out of git, as do
`smoke` reports, which test the machinery and mean nothing. `references/` and `checkpoints/` hold long results that
`make promote` put there; a fresh clone uses them instead of computing.
"""


@dataclass(frozen=True)
class Line:
    """One report of the index.

    Attributes:
        ran: printed numbers that ours can be compared with.
        errors: relative errors of the energy of the paper's own methods: the median and the worst of several.
        verdicts: how their numbers stand to the printed ones.
        checks: the same of our references and of what tests them.
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


def write_index(results: Path) -> None:
    """Write both index files from the reports found below ``results``, where they are not like this already."""
    lines = [line for path in sorted(results.glob("*/*/*/cells.csv")) if (line := _line(path, results))]
    for name, text in (("README.md", _markdown(lines)), ("index.html", _html(lines))):
        content = text.encode()
        if not (results / name).is_file() or (results / name).read_bytes() != content:
            with atomic_path(results / name) as temporary:
                temporary.write_bytes(content)


def _line(path: Path, results: Path) -> Line | None:
    paper, name, scale = path.parent.parts[-3:]
    if f"{paper}/{name}" not in all_artefacts() or scale == "smoke":
        return None
    cells, artefact = read_csv(path), load_artefact(f"{paper}/{name}")
    printed = [c for c in cells if c["published"]]
    tests = {*_reference_methods(artefact), *artefact.checks} - set(artefact.methods)
    return Line(
        artefact.id,
        artefact.title,
        scale,
        len(printed),
        len([c for c in printed if c["ours"] and c["vs_paper"] not in UNLIKE]),
        _errors(cells, artefact),
        _verdicts(printed, lambda method: method in artefact.methods),
        _verdicts(printed, lambda method: method in tests),
        _date(path.with_name("manifest.json")),
        (path.parent / "report.md").relative_to(results).as_posix(),
    )


def _reference_methods(artefact: Artefact) -> set[str]:
    return {column.method for cell in artefact.cells() if cell.method == "reference" for column in cell.columns}


def _errors(cells: Sequence[Mapping[str, str]], artefact: Artefact) -> str:
    """``NQS+NF median 4.9e-05, worst 2.5e-01 (N40-L1)``, of each of the paper's own methods."""
    said = []
    for method, name in artefact.methods.items():
        levels = [c for c in cells if c["method"] == method and c["quantity"].partition("_")[0] == "energy"]
        rows = [c for c in levels if c["rel_error_ours"]]
        errors = sorted((abs(float(c["rel_error_ours"])), c["cell"]) for c in rows)
        if errors:
            size, where = errors[-1]
            if len(errors) == 1:
                said.append(f"{name} {size:.1e} ({where})")
            else:
                middle = statistics.median(size for size, _ in errors)
                said.append(f"{name} median {middle:.1e}, worst {size:.1e} ({where})")
    return "; ".join(said)


def _verdicts(printed: Sequence[Mapping[str, str]], wanted: Callable[[str], bool]) -> str:
    """``7 are lower, 2 are undecided``."""
    return counted(c["vs_paper"] for c in printed if wanted(c["method"]))


def _date(manifest: Path) -> str:
    """Day on which the newest stage of a report finished."""
    try:
        runs = json.loads(manifest.read_text(encoding="utf-8"))["runs"]
        days = [str(stage["finished"])[:10] for run in runs for stage in run["stages"]]
        return max(days, default="")
    except (OSError, ValueError, KeyError):
        return ""


COLUMNS = {
    "what": "title",
    "scale": "scale",
    "ours / printed": "coverage",
    "relative error of the paper's own method": "errors",
    "its numbers beside the printed ones": "verdicts",
    "our references beside the printed ones": "checks",
    "date": "date",
}
"""Heads of the index and what stands below them."""


def _values(line: Line) -> list[str]:
    shown = {**vars(line), "coverage": f"{line.ran} / {line.printed}"}
    return [str(shown[name]) or "–" for name in COLUMNS.values()]


def _markdown(lines: list[Line]) -> str:
    from tabulate import tabulate

    body = [[f"[{x.artefact}]({x.link})", *(value.replace("|", r"\|") for value in _values(x))] for x in lines]
    table = tabulate(body, headers=["artefact", *COLUMNS], tablefmt="github", disable_numparse=True)
    return f"# Results\n\n{INTRODUCTION}\n{table}\n"


_PAGE = """\
<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Results</title>
<style>body{font-family:sans-serif;max-width:80em;margin:2em auto}td,th{padding:.3em .8em;text-align:left}
tr:nth-child(even){background:#f4f4f4}</style></head><body>
<h1>Results</h1>
<table>
<tr><th>artefact</th>{% for head in heads %}<th>{{ head }}</th>{% endfor %}</tr>
{% for x, values in lines %}<tr><td><a href="{{ x.link }}">{{ x.artefact }}</a></td>
{% for value in values %}<td>{{ value }}</td>{% endfor %}</tr>
{% endfor %}</table></body></html>
"""


def _html(lines: list[Line]) -> str:
    from jinja2 import Environment

    return (
        Environment(autoescape=True)
        .from_string(_PAGE)
        .render(heads=list(COLUMNS), lines=[(x, _values(x)) for x in lines])
    )
