"""Writes ``results/<paper>/<artefact>/<scale>/``: report, figure, tables and manifest, the same for the same data."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.base.numbers.formatting import duration, memory
from pipeline.base.numbers.result import Result
from pipeline.base.store.files import sha256, write_json
from pipeline.stages.cuts import holding
from reproduce.artefact import FOLDER, Artefact, Rendering
from reproduce.csv_files import write_csv
from reproduce.sources import code_digest
from reproduce.tables import CELL_FIELDS, CURVE_FIELDS, RUN_FIELDS, CellRow, Finished, Table

MANIFEST = "manifest.json"


def inputs_digest(artefact: Artefact, scale: str, finished: Sequence[Finished]) -> str:
    """Digest of everything a report is made from: results, failures, printed numbers, rendering code."""
    total = hashlib.sha256(f"{artefact.id}/{scale}".encode())
    for done in finished:
        total.update(f"{done.task.id} {done.task.command} {done.failure} {done.task.cuts}".encode())
        for entry in done.found.entries:
            content = entry.status.get("files") or entry.status.get("checksum")
            total.update(json.dumps([entry.name, content, entry.seconds]).encode())
    total.update((FOLDER / artefact.paper / "published.csv").read_bytes())
    total.update(code_digest(f"reproduce.{artefact.paper}.{artefact.name}", "reproduce.report").encode())
    return total.hexdigest()[:16]


def up_to_date(folder: Path, digest: str) -> bool:
    """Whether the files in ``folder`` are intact and made from the same inputs."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        files: dict[str, str] = manifest["files"]
        return manifest["inputs"] == digest and all(sha256(folder / n) == expected for n, expected in files.items())
    except (OSError, ValueError, KeyError, AttributeError):
        return False


def write_report(table: Table, folder: Path, command: str, digest: str) -> None:
    """Write every file of the artefact into ``folder``; the manifest last."""
    folder.mkdir(parents=True, exist_ok=True)
    rendering = table.artefact.render(table)
    write_csv(folder / "cells.csv", CELL_FIELDS, [vars(row) for row in table.rows])
    write_csv(folder / "runs.csv", RUN_FIELDS, table.run_rows())
    write_csv(folder / "curves.csv", CURVE_FIELDS, table.curve_rows(rendering.curves))
    write_csv(folder / "table.csv", rendering.header, rendering.body)
    figures = _write_figure(folder, rendering)
    (folder / "report.md").write_text(_page(table, rendering, command, bool(figures)), encoding="utf-8")
    names = ["report.md", "table.csv", "cells.csv", "runs.csv", "curves.csv", *figures]
    written = {n: sha256(folder / n) for n in names}
    write_json(folder / MANIFEST, _manifest(table, command, digest, written, rendering.kept))


def below_bound(table: Table) -> list[CellRow]:
    """Variational estimates under an exact reference: bugs."""
    return [row for row in table.rows if row.vs_reference == "BELOW-BOUND"]


def _write_figure(folder: Path, rendering: Rendering) -> list[str]:
    if rendering.draw is None:
        return []
    from pipeline.base.plotting import empty_figure, save_figure

    figure = empty_figure(*rendering.figure_size)
    rendering.draw(figure)
    return [path.name for path in save_figure(figure, folder / "figure")]


def _page(table: Table, rendering: Rendering, command: str, has_figure: bool) -> str:
    """The report, in the order in which a referee would ask."""
    parts = [f"# {table.artefact.title}", ""]
    for row in below_bound(table):
        parts += [f"**BELOW-BOUND: {row.cell}/{row.method} lies below the exact reference. This is a bug.**", ""]
    parts += _coverage(table)
    parts += ["", "## Cuts and deviations", "", *_cuts(table)]
    parts += ["", "## Table", "", _github(rendering.header, rendering.body)]
    if has_figure:
        parts += ["", "## Figure", "", f"![{table.artefact.name}](figure.png)", "", rendering.caption]
    if rendering.claims:
        body = [[c.text, c.location, c.seen, c.evidence] for c in rendering.claims]
        parts += ["", "## What the paper says", "", _github(["claim", "where", "do we see it", "evidence"], body)]
    parts += ["", "## Conventions and errors", "", *[f"- {note}" for note in [*rendering.notes, *_errors(table)]]]
    parts += ["", "## Commands", "", f"Everything: `{command}`", "", *_commands(table)]
    parts += ["", "## Provenance", "", *_provenance(table)]
    return "\n".join(parts) + "\n"


FRESH = (
    "All energies come from fresh samples after training, none from an optimisation trace; every seed is kept in "
    "`runs.csv`."
)
ERRORS = (
    "`ours_sigma` is the standard error of the mean over independent units (subspaces, batches), times √(2τ_int) where "
    "they are correlated; over several seeds it is the standard error over seeds.",
    "`vs paper`: `agrees` within two combined standard errors, a missing printed error counting as half the last "
    "digit. Relative errors are (E − E_ref)/|E_ref|.",
)


def _errors(table: Table) -> list[str]:
    """What errors and verdicts mean."""
    trained = any("train" in done.task.cell.stages for done in table.finished)
    return [ERRORS[0], *([FRESH] if trained else []), *ERRORS[1:]]


def _coverage(table: Table) -> list[str]:
    """How much of the artefact is there, and its worst number."""
    printed = [r for r in table.rows if r.published is not None]
    ran = [r for r in printed if r.ours is not None]
    beside = f"{len(ran)} of {len(printed)} printed numbers have ours beside them"
    energies = [r for r in table.rows if r.quantity == "energy" and r.method not in table.reference_methods]
    compared = energies or [r for r in table.rows if r.method not in table.reference_methods]
    lines = [
        f"Scale `{table.scale}`. {beside if printed else 'The paper prints no numbers of this artefact'}; "
        f"{sum(r.reference is not None for r in compared)} of {len(compared)} "
        f"{'energies' if energies else 'numbers of ours'} have a reference."
    ]
    counts = Counter(r.vs_paper for r in printed)
    if printed:
        lines.append("Against the paper: " + ", ".join(f"{n} {kind}" for kind, n in counts.most_common()) + ".")
    for method in dict.fromkeys(r.method for r in energies if r.rel_error_ours is not None):
        errors = [r for r in energies if r.method == method and r.rel_error_ours is not None]
        worst = max(errors, key=lambda r: abs(r.rel_error_ours or 0.0))
        best = min(errors, key=lambda r: abs(r.rel_error_ours or 0.0))
        lines.append(
            f"Relative error of {method}: worst {worst.rel_error_ours:+.1e} at {worst.cell}, "
            f"best {best.rel_error_ours:+.1e} at {best.cell}."
        )
    failed = [f"- FAILED {d.task.id}: {d.failure}" for d in table.finished if d.failure]
    return [" ".join(lines), *([""] if failed else []), *failed]


def _cuts(table: Table) -> list[str]:
    """The computed difference to the paper's settings, each once, with the cells it holds for; then deviations."""
    cells: dict[str, list[str]] = {}
    for done in table.finished:
        for cut in done.task.cuts:
            cells.setdefault(cut, []).append(done.task.cell.id)
    trained = [d.task.cell.id for d in table.finished if "train" in d.task.cell.stages]
    main = trained or [d.task.cell.id for d in table.finished if d.task.cell.method != "reference"]
    references = [d.task.cell.id for d in table.finished if d.task.cell.method == "reference"]
    lines = []
    for cut, where in cells.items():
        scope = "" if set(where) >= set(main) else " (references)" if set(where) >= set(references) else None
        scope = f" ({', '.join(dict.fromkeys(where))})" if scope is None else scope
        lines.append(f"- {cut}{scope}")
    cuts_found = [cut for d in table.finished for cut in d.task.cuts]
    deviations = holding((item for d in table.finished for item in d.task.run.deviations.items()), cuts_found)
    if not lines:
        return ["Nothing is cut: these are the paper's own settings."]
    if deviations:
        lines += ["", "Deviations:", "", *[f"- {text}" for text in deviations]]
    return ["paper → here:", "", *lines]


def _commands(table: Table) -> list[str]:
    return ["| cell | command |", "|---|---|", *[f"| {d.task.id} | `{d.task.command}` |" for d in table.finished]]


def _provenance(table: Table) -> list[str]:
    """Versions, hardware, seconds and memory; each fact once with a run it holds for."""
    facts: Counter[str] = Counter()
    entries = {entry.name: entry for done in table.finished for entry in done.found.entries}  # runs may share some
    for entry in entries.values():
        p = entry.provenance()
        hardware = ", ".join(f"{v}" for k, v in p["hardware"].items() if k in ("cpu", "gpu"))
        versions = ", ".join(f"{k} {v}" for k, v in p["packages"].items() if v != "absent")
        facts[
            f"git {p['git'][:12]}{'+changes' if '+' in p['git'] else ''}, source {p['source']}, {p['threads']} "
            f"thread(s) on {hardware}; {versions}"
        ] += 1
    lines = [f"- {n} stage(s): {fact}" for fact, n in facts.items()]
    total = sum(entry.seconds for entry in entries.values())
    lines.append(f"- compute time {duration(total)}, summed over runs")
    for done in table.finished:
        if done.found.reference is not None:
            status = done.found.reference.status
            how = "a committed result of " if status.get("promoted") else ""
            text = f"{how}{status['kind']}, {duration(status['seconds'])}, {memory(status['peak_bytes'])} of memory"
            lines.append(f"- {done.task.cell.row}: reference by {text}")
    return lines


def _manifest(
    table: Table, command: str, digest: str, files: dict[str, str], kept: Mapping[str, Any]
) -> dict[str, Any]:
    runs = []
    for done in table.finished:
        stages = []
        for entry in done.found.entries:
            facts = {k: v for k, v in entry.status.items() if k not in ("nodes", "files")}
            said = {"result": _said(done.result)} if done.result and entry is done.source else {}
            stages.append({**facts, "provenance": entry.provenance(), **said})
        runs.append(
            {
                "run": done.task.id,
                "command": done.task.command,
                "failure": done.failure,
                "cuts": list(done.task.cuts),
                "stages": stages,
            }
        )
    return {
        "artefact": table.artefact.id,
        "scale": table.scale,
        "command": command,
        "inputs": digest,
        "files": files,
        "kept": dict(kept),
        "runs": runs,
    }


def _said(result: Result) -> dict[str, Any]:
    """A result without what stands in ``runs.csv`` and ``curves.csv``."""
    return {"notes": list(result.notes), "headline": result.headline, "extra": result.extra}


def _github(header: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    from tabulate import tabulate

    escaped = [[cell.replace("|", r"\|") for cell in row] for row in (header, *body)]
    return tabulate(escaped[1:], headers=escaped[0], tablefmt="github", disable_numparse=True)
