"""``results/README.md`` and the pages beside it: every written report with what the paper's own method gave."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pipeline.base.html import from_markdown
from pipeline.base.store.files import atomic_path
from reproduce import arena, arena_figure, arena_page, site, which_method
from reproduce.artefact import Artefact, all_artefacts, load_artefact
from reproduce.csv_files import csv_text, read_csv
from reproduce.site import Line
from reproduce.summary import UNLIKE, counted

INTRODUCTION = """\
What `make reproduce-*` wrote and we committed: one folder for each artefact and scale, with

- `report.md`, `report.html`: what a physicist reads; `figure.svg`, `figure.png`, `figure.pdf`
- `table.csv`: wide, as the paper prints it
- `cells.csv`, `runs.csv`, `curves.csv`: long, for machines
- `manifest.json`: provenance of every run and the command that reruns it

Commit these files at scales `laptop`, `gpu` and `paper`, as long as a folder stays below 1 MB. Folders that begin with
an underscore (`_store`, `_runs`, `_partial`, `_hydra`, `_wandb`, `_logs`) are working data and stay out of git, as do
`smoke` reports, which test the machinery and mean nothing. `references/` and `checkpoints/` hold long results that
`make promote` put there; a fresh clone uses them instead of computing.
"""


def write_index(results: Path, anew: bool = False) -> None:
    """Write the index, the arena and which method when, from the reports below ``results``, where they differ.

    Args:
        anew: draw the figure of the arena even where its numbers are the same.

    Raises:
        UserError: a report cannot be read.
    """
    lines = [line for path in sorted(results.glob("*/*/*/cells.csv")) if (line := _line(path, results))]
    entries = arena.collect(results)
    _write(results / "README.md", _markdown(lines, bool(entries)))
    _write(results / "index.html", site.html(lines, bool(entries)))
    if entries:
        _write_arena(results, entries, anew)


def _write_arena(results: Path, entries: Sequence[arena.Entry], anew: bool) -> None:
    from pipeline.base.plotting import DPI, PAGE, empty_figure, save_figure

    table, height = csv_text(arena.FIELDS, [vars(entry) for entry in entries]), arena_figure.height(entries)
    if _write(results / "arena.csv", table) or anew or not (results / "arena.png").is_file():
        figure = empty_figure(PAGE, height)
        arena_figure.draw(figure, entries)
        save_figure(figure, results / "arena", ("png",))
    size = (round(PAGE * DPI), round(height * DPI))
    _write(results / "arena.html", arena_page.html(entries, site.LINKS, "arena.png", size))
    text = which_method.markdown(entries, results)
    _write(results / "which_method.md", text)
    _write(results / "which_method.html", from_markdown(text.replace("/report.md)", "/report.html)"), site.LINKS))


def _write(path: Path, text: str) -> bool:
    """Whole or not at all, where it is not like this already; whether it was written."""
    content = text.encode()
    if path.is_file() and path.read_bytes() == content:
        return False
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
    return True


def _line(path: Path, results: Path) -> Line | None:
    paper, name, scale = path.parent.parts[-3:]
    if f"{paper}/{name}" not in all_artefacts() or scale == "smoke":
        return None
    cells, artefact = read_csv(path), load_artefact(f"{paper}/{name}")
    figure = path.with_name("figure.png")
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
        figure.relative_to(results).as_posix() if figure.is_file() else "",
        path.with_name("report.html").is_file(),
    )


def _reference_methods(artefact: Artefact) -> set[str]:
    return {column.method for cell in artefact.cells() if cell.method == "reference" for column in cell.columns}


def _errors(cells: Sequence[Mapping[str, str]], artefact: Artefact) -> str:
    """``NQS+NF median 4.9e-05, worst 2.5e-01 (N40-L1)``, of each of the paper's own methods.

    Of energies; where an artefact has none, of the average plaquette, which is what lattices have beside a reference.
    """
    known = [c for c in cells if c["rel_error_ours"] and c["method"] in artefact.methods]
    levels = [c for c in known if c["quantity"].partition("_")[0] == "energy"]
    chosen = levels or [c for c in known if c["quantity"] == "plaquette"]
    said = []
    for method, named in artefact.methods.items():
        name = named if levels else f"{named} ⟨P⟩"
        rows = [c for c in chosen if c["method"] == method]
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


ARENA = """
[Which method when](which_method.md) is made from the numbers of these reports; so is the arena, methods side by side on
systems with an exact reference ([arena.csv](arena.csv); `arena.html`). `index.html` shows all of it in a browser.
"""


def _markdown(lines: list[Line], has_arena: bool) -> str:
    from tabulate import tabulate

    body = [[f"[{x.artefact}]({x.link})", *(value.replace("|", r"\|") for value in _values(x))] for x in lines]
    table = tabulate(body, headers=["artefact", *COLUMNS], tablefmt="github", disable_numparse=True)
    return f"# Results\n\n{INTRODUCTION}{ARENA if has_arena else ''}\n{table}\n"
