"""Writes ``results/<paper>/<artefact>/<scale>/``: report, figure, tables and manifest, the same for the same data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.base.html import from_markdown
from pipeline.base.numbers.result import Result
from pipeline.base.store.files import sha256, write_json
from reproduce.artefact import FOLDER, Artefact, Rendering, papers
from reproduce.colours import letters
from reproduce.csv_files import write_csv
from reproduce.page import page
from reproduce.sources import code_digest
from reproduce.tables import CELL_FIELDS, CURVE_FIELDS, RUN_FIELDS, Finished, Table

MANIFEST = "manifest.json"


def inputs_digest(artefact: Artefact, scale: str, finished: Sequence[Finished]) -> str:
    """Digest of everything a report is made from: results, failures, printed numbers, rendering code."""
    total = hashlib.sha256(f"{artefact.id}/{scale}".encode())
    for done in finished:
        total.update(f"{done.task.id} {done.task.command} {done.failure} {done.task.cuts}".encode())
        for entry in done.found.entries:
            content = entry.status.get("files") or entry.status.get("checksum")
            total.update(json.dumps([entry.name, content, entry.seconds]).encode())
    if artefact.paper in papers():
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
    text = page(table, rendering, command, bool(figures))
    (folder / "report.md").write_text(text, encoding="utf-8")
    (folder / "report.html").write_text(from_markdown(text, _links(folder)), encoding="utf-8")
    names = ["report.md", "report.html", "table.csv", "cells.csv", "runs.csv", "curves.csv", *figures]
    written = {n: sha256(folder / n) for n in names}
    write_json(folder / MANIFEST, _manifest(table, command, digest, written, rendering.kept))


def _write_figure(folder: Path, rendering: Rendering) -> list[str]:
    if rendering.draw is None:
        return []
    from pipeline.base.plotting import empty_figure, save_figure

    figure = empty_figure(*rendering.figure_size)
    rendering.draw(figure)
    letters(figure)
    return [path.name for path in save_figure(figure, folder / "figure", ("svg", "png", "pdf"))]


def _links(folder: Path) -> dict[str, str]:
    """From a report to the pages of all results; reports of a part are a folder deeper."""
    up = "../../../" + ("../" if folder.parents[2].name.startswith("_") else "")
    return {"All results": f"{up}index.html", "Arena": f"{up}arena.html", "Which method when": f"{up}which_method.html"}


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
                "system": vars(done.task.run.system),
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
