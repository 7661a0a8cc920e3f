"""``results/README.md`` and ``results/index.html``: every written report with its coverage and worst error."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from pipeline.base.store.files import atomic_path
from reproduce.artefact import all_artefacts, load_artefact
from reproduce.csv_files import read_csv

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
    """One report of the index."""

    artefact: str
    title: str
    scale: str
    printed: int
    ran: int
    worst: str
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
    cells = read_csv(path)
    printed = [c for c in cells if c["published"]]
    errors = [(abs(float(c["rel_error_ours"])), c) for c in cells if c["rel_error_ours"] and c["quantity"] == "energy"]
    worst = ""
    if errors:
        size, cell = max(errors, key=lambda pair: pair[0])
        worst = f"{size:.1e} ({cell['cell']}, {cell['method']})"
    return Line(
        f"{paper}/{name}",
        load_artefact(f"{paper}/{name}").title,
        scale,
        len(printed),
        len([c for c in printed if c["ours"]]),
        worst,
        _date(path.with_name("manifest.json")),
        (path.parent / "report.md").relative_to(results).as_posix(),
    )


def _date(manifest: Path) -> str:
    """Day on which the newest stage of a report finished."""
    try:
        runs = json.loads(manifest.read_text())["runs"]
        days = [str(stage["finished"])[:10] for run in runs for stage in run["stages"]]
        return max(days, default="")
    except (OSError, ValueError, KeyError):
        return ""


def _markdown(lines: list[Line]) -> str:
    from tabulate import tabulate

    header = ["artefact", "what", "scale", "numbers of ours / printed", "worst relative error", "date"]
    body = [[f"[{x.artefact}]({x.link})", x.title, x.scale, f"{x.ran} / {x.printed}", x.worst, x.date] for x in lines]
    table = tabulate(body, headers=header, tablefmt="github", disable_numparse=True)
    return f"# Results\n\n{INTRODUCTION}\n{table}\n"


_PAGE = """\
<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Results</title>
<style>body{font-family:sans-serif;max-width:60em;margin:2em auto}td,th{padding:.3em .8em;text-align:left}
tr:nth-child(even){background:#f4f4f4}</style></head><body>
<h1>Results</h1>
<table>
<tr><th>artefact</th><th>what</th><th>scale</th><th>ours / printed</th><th>worst relative error</th><th>date</th></tr>
{% for x in lines %}<tr><td><a href="{{ x.link }}">{{ x.artefact }}</a></td><td>{{ x.title }}</td><td>{{ x.scale }}</td>
<td>{{ x.ran }} / {{ x.printed }}</td><td>{{ x.worst }}</td><td>{{ x.date }}</td></tr>
{% endfor %}</table></body></html>
"""


def _html(lines: list[Line]) -> str:
    from jinja2 import Environment

    return Environment(autoescape=True).from_string(_PAGE).render(lines=lines)
