"""Runs as a written report holds them: rendered anew from its own files where the store has them no more."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from pipeline.base.config.nodes import RunConfig
from pipeline.base.errors import UserError
from pipeline.base.numbers.result import Curve, Estimate, Result
from pipeline.base.numbers.statistics import doubt_of_equals, doubt_of_length, is_rounding
from pipeline.base.store.entry import Entry
from pipeline.base.store.files import sha256
from reproduce.csv_files import read_csv
from reproduce.plan import Found, Task
from reproduce.tables import Finished

MANIFEST = "manifest.json"

ALONG = "_along_training"
"""How curves of snapshots end; their errors are a column of its own, empty where one is unknown."""


class NoReport(UserError):
    """There is nothing to render anew."""


@dataclass(frozen=True)
class RecordedEntry(Entry):
    """What a report says of an entry: its status, provenance and, of the last stage, its result; no records or states.

    Attributes:
        facts: provenance.
        recorded: estimates, curves and notes.
        until: seconds up to the step of the run, of a training that another run went on with; None: all of it.
    """

    facts: Mapping[str, Any]
    recorded: Result
    until: float | None = None

    def result(self) -> Result:
        return self.recorded

    def provenance(self) -> dict[str, Any]:
        return dict(self.facts)

    def ensemble(self) -> dict[str, Any]:
        """Nothing: configurations are in the store alone."""
        return {}


@dataclass(frozen=True)
class Written:
    """The files of a report that another rendering can start from.

    Attributes:
        runs: lines of ``runs.csv`` by cell, method and seed.
        curves: of each run.
        table: lines of ``table.csv``.
    """

    manifest: Mapping[str, Any]
    runs: Mapping[tuple[str, str, str], list[dict[str, str]]]
    curves: Mapping[tuple[str, str, str], tuple[Curve, ...]]
    table: list[dict[str, str]]

    @property
    def kept(self) -> Mapping[str, Any]:
        """What the renderer kept for itself; empty in reports that are older than that."""
        return dict(self.manifest.get("kept", {}))

    def finished(self, task: Task, references: Sequence[Path] = ()) -> Finished | None:
        """A task as this report has it, with the cuts that held when it ran; None where it does not.

        Args:
            references: folders of committed references, for notes that older manifests do not hold.
        """
        run = next((r for r in self.manifest["runs"] if r["run"] == task.id), None)
        if run is None:
            return None
        where = (task.cell.row, task.cell.method, str(task.seed))
        lines, curves = self.runs.get(where, []), self.curves.get(where, ())
        estimates = [_estimate(line) for line in lines]
        if lines and "doubt" not in lines[0]:
            estimates = [_of_older_report(e, task) for e in estimates]
        result = Result(tuple(estimates), tuple(c for c in curves if not _of_training(c)))
        step = next((int(line["steps"]) for line in lines if line["steps"]), None)
        entries = [_entry(stage, result, references) for stage in run["stages"]]
        if lines and lines[0].get("seconds"):
            entries = [_until(entry, step, float(lines[0]["seconds"]), entries) for entry in entries]
        found = _found(task, entries, step)
        return Finished(replace(task, cuts=tuple(run["cuts"])), found, run["failure"], curves)


def read_report(folder: Path) -> Written:
    """The files of the report in ``folder``.

    Raises:
        NoReport: there is none.
        UserError: it cannot be read, or its files are not those that the manifest lists.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        lines = {name: read_csv(folder / f"{name}.csv") for name in ("runs", "curves", "table")}
        runs: dict[tuple[str, str, str], list[dict[str, str]]] = {}
        for line in lines["runs"]:
            runs.setdefault(_where(line), []).append(line)
        for name in ("runs.csv", "curves.csv"):
            if sha256(folder / name) != manifest["files"][name]:
                raise ValueError(f"{name} is not the file that its manifest lists; git restores it")
        for run in manifest["runs"]:  # all that is used of it below
            _ = (
                run["run"],
                run["cuts"],
                run["failure"],
                [(s["stage"], s["key"], s["provenance"]) for s in run["stages"]],
            )
        return Written(manifest, runs, _curves(lines["curves"]), lines["table"])
    except FileNotFoundError as error:
        raise NoReport(f"{folder}: no report to render anew ({Path(error.filename).name} is missing)") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder}: this report cannot be read ({error})") from None


def _where(line: Mapping[str, str]) -> tuple[str, str, str]:
    return line["cell"], line["method"], line["seed"]


def _estimate(line: Mapping[str, str]) -> Estimate:
    """A line of ``runs.csv``; fields that an older report does not have keep their defaults."""
    values: dict[str, Any] = {"name": line["quantity"]}
    for field in fields(Estimate):
        text = line.get(field.name, "")
        if field.name == "name" or not text:
            continue
        kind = str(field.type)
        if kind.startswith("bool"):
            values[field.name] = text == "True"
        elif kind.startswith("int"):
            values[field.name] = int(text)
        else:
            values[field.name] = float(text) if kind.startswith("float") else text
    values.setdefault("value", float("nan"))
    return Estimate(**values)


def _of_older_report(estimate: Estimate, task: Task) -> Estimate:
    """As it would stand there now: with its doubts, and without a spread where that was a deviation of samples."""
    inferred = "infer" in task.cell.stages
    sampled = inferred and task.run.train.sampler is not None
    spread = None if sampled or estimate.tau is not None or estimate.ess is not None else estimate.spread
    doubt = _doubt(estimate, _chains(task.run)) if inferred else ""
    return replace(estimate, spread=spread, doubt=doubt)


def _chains(run: RunConfig) -> int:
    """How many chains share the samples of an inference."""
    sampler = getattr(run.infer, "sampler", None) or run.train.sampler
    chains: int = getattr(sampler, "chains", 1)
    return chains


def _doubt(estimate: Estimate, chains: int) -> str:
    """What an older report would have said of an estimate from samples, had it known."""
    doubt = "" if estimate.tau is None else doubt_of_length(chains, estimate.n / chains, estimate.tau)
    if doubt:
        return doubt
    if estimate.sigma_kind == "standard-error" and estimate.sigma is not None:
        return doubt_of_equals(estimate.n) if is_rounding(estimate.sigma, estimate.value) else ""
    return ""


def _curves(lines: Sequence[Mapping[str, str]]) -> dict[tuple[str, str, str], tuple[Curve, ...]]:
    """Curves of each run, in the order of the file."""
    points: dict[tuple[str, ...], list[Mapping[str, str]]] = {}
    for line in lines:
        points.setdefault((*_where(line), line["curve"], line["x_name"]), []).append(line)
    found: dict[tuple[str, str, str], tuple[Curve, ...]] = {}
    for (cell, method, seed, name, x_name), group in points.items():
        columns = {key: [float(p[key] or "nan") for p in group] for key in ("x", "y", "sigma", "x_width")}
        for key in ("sigma", "x_width"):
            if not any(p[key] for p in group) and not (key == "sigma" and name.endswith(ALONG)):
                columns[key] = []
        x, y = columns["x"], columns["y"]
        curve = Curve.of(name, x_name, group[0]["y_name"], x, y, columns["sigma"], group[0]["unit"], columns["x_width"])
        found[cell, method, seed] = (*found.get((cell, method, seed), ()), curve)
    return found


def _of_training(curve: Curve) -> bool:
    return curve.name.startswith("train/") or curve.name.endswith(ALONG)


def _entry(stage: Mapping[str, Any], result: Result, references: Sequence[Path]) -> RecordedEntry:
    facts = {name: value for name, value in stage.items() if name not in ("provenance", "result")}
    said = stage.get("result") or _promoted(stage, references)
    result = replace(
        result, notes=tuple(said.get("notes", ())), extra=said.get("extra", {}), headline=said.get("headline", "")
    )
    return RecordedEntry(Path(stage["stage"]) / stage["key"], facts, stage["provenance"], result)


def _until(entry: RecordedEntry, step: int | None, seconds: float, entries: Sequence[RecordedEntry]) -> RecordedEntry:
    """A training that goes on beyond ``step``, with what is left to it of all ``seconds`` of the run."""
    if entry.path.parent.name != "train" or step is None or step >= entry.status.get("steps", step):
        return entry
    return replace(entry, until=max(0.0, seconds - sum(other.seconds for other in entries if other is not entry)))


def _promoted(stage: Mapping[str, Any], references: Sequence[Path]) -> Mapping[str, Any]:
    """What a committed reference says beside its estimates."""
    for folder in references:
        path = folder / f"{stage['key']}.json"
        if stage["stage"] == "baseline" and path.is_file():
            result: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8")).get("result", {})
            return result
    return {}


def _found(task: Task, entries: Sequence[RecordedEntry], step: int | None) -> Found:
    """Entries by stage; the last inference is that of the last state."""
    stages: dict[str, list[RecordedEntry]] = {}
    for entry in entries:
        stages.setdefault(entry.path.parent.name, []).append(entry)
    inferred = stages.get("infer", [])
    (trained, reference, profiled) = (stages.get(s, [None])[-1] for s in ("train", "baseline", "profile"))
    if step is None and trained is not None:
        step = min(task.run.train.steps, trained.status["steps"])
    missing = tuple(stage for stage in task.cell.stages if stage not in stages)
    return Found(trained, inferred[-1] if inferred else None, reference, step, missing, tuple(inferred[:-1]), profiled)
