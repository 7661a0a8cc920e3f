"""``<name>.csv`` and ``<name>.md`` of one case."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from benchmarks.contract import Case
from benchmarks.measure import Row
from pipeline.base.store.provenance import provenance

MIB = 2**20


def write(directory: Path, name: str, case: Case, rows: list[Row], threads: int) -> Path:
    """Write both files; returns the path of the readable one."""
    directory.mkdir(parents=True, exist_ok=True)
    parts = _parts(rows)
    records = [_record(case, row, rows[0], threads) | {_key(p): row.part(p) for p in parts} for row in rows]
    with open(directory / f"{name}.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(records[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(records)
    path = directory / f"{name}.md"
    path.write_text(_markdown(name, case, rows, threads), encoding="utf-8")
    return path


def _parts(rows: list[Row]) -> list[str]:
    """Names of the parts that any of the runs had, in their order."""
    return list(dict.fromkeys(name for row in rows for parts in row.parts for name in parts))


def _key(part: str) -> str:
    return f"{part.replace(' ', '_')}_s"


def _record(case: Case, row: Row, first: Row, threads: int) -> dict[str, Any]:
    warm = row.warm("wall")
    return {
        "contender": row.name,
        "package": row.package,
        "version": row.version,
        "status": row.status,
        "threads": threads,
        "repeats": max(0, len(row.wall) - 1),
        "parameters": row.parameters,
        "multiply_adds_a_pass": row.multiply_adds,
        "setup_s": row.setup,
        "cold_wall_s": row.wall[0] if row.wall else None,
        "cold_cpu_s": row.cpu[0] if row.cpu else None,
        "warm_wall_s": warm,
        "warm_wall_iqr_s": row.spread("wall"),
        "warm_cpu_s": row.warm("cpu"),
        "warm_cpu_iqr_s": row.spread("cpu"),
        f"{case.unit}_a_second": case.units / warm if warm else None,
        "peak_bytes": row.peak,
        "wall_over_first": row.ratio(first, "wall"),
        "cpu_over_first": row.ratio(first, "cpu"),
    }


def _markdown(name: str, case: Case, rows: list[Row], threads: int) -> str:
    heads = ["", "parameters", "10⁶ multiply-adds", "cold s", "warm s", "± iqr", "warm cpu s", f"{case.unit}/s"]
    heads += ["peak MiB", "wall / ours", "cpu / ours"]
    parts = _parts(rows)
    heads += [f"{part} s" for part in parts]
    table = [heads, ["---", *["---:"] * (len(heads) - 1)]]
    for row in rows:
        warm = row.warm("wall")
        numbers = [
            _shown(row.parameters, "d"),
            _shown(row.multiply_adds and row.multiply_adds / 1e6, ".3g"),
            _shown(row.wall[0] if row.wall else None, ".3g"),
            _shown(warm, ".3g"),
            _shown(row.spread("wall"), ".2g"),
            _shown(row.warm("cpu"), ".3g"),
            _shown(case.units / warm if warm else None, ".3g"),
            _shown(row.peak and row.peak / MIB, ".0f"),
            _shown(row.ratio(rows[0], "wall"), ".2f"),
            _shown(row.ratio(rows[0], "cpu"), ".2f"),
            *(_shown(row.part(part), ".3g") for part in parts),
        ]
        table.append([row.name, *numbers] if row.status == "ok" else [row.name, row.status, *[""] * (len(heads) - 2)])
    lines = ["| " + " | ".join(cells) + " |" for cells in table]
    facts = provenance()
    versions = sorted({f"{row.package} {row.version}" for row in rows if row.version})
    hardware = facts["hardware"]
    repeats = max(len(row.wall) - 1 for row in rows)
    return "\n".join(
        [
            f"# {case.title}",
            "",
            *lines,
            "",
            *(f"- {note}" for note in case.notes),
            f"- {case.precision}, {threads} thread{'s' if threads > 1 else ''}, every contender in its own process. "
            f"Cold is the first run, compilation and caches included; warm the median of {repeats} runs, interleaved; "
            "ratios are medians of the ratios of each round. Peak memory is the largest resident size of the process, "
            "parameters and compilation included, less that after importing the library.",
            f"- `python -m benchmarks {name} --threads {threads} --repeats {repeats}`, {', '.join(versions)}, "
            f"{hardware['cpu']} ({hardware['cores']} cores, {hardware['system']}), source {facts['source']}, "
            f"git {facts['git']}.",
            "",
        ]
    )


def _shown(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
