"""Every method on every system whose ground state is known exactly: what the committed reports say, side by side."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from pipeline.base.errors import UserError
from reproduce.artefact import all_artefacts
from reproduce.csv_files import read_csv
from reproduce.systems import family, named, place

NAMES = {
    "nqs+nf": "NQS+NF",
    "annealed-ar": "annealed AR",
    "mps": "MPS",
    "dense-ar": "Dense AR",
    "cnn-ar": "CNN AR",
    "naqs": "NAQS",
    "nir": "NIR",
    "mcmc": "MCMC",
    "vit": "deep ViT",
    "vit-marshall": "deep ViT, Marshall signs",
}
"""Methods that compete, as sentences call them; parts of a method and checks of references do not."""
LEVELS = {"trace": ", sum of three levels"}
"""Headlines other than the ground-state energy."""
SIGMAS = 2.0
"""Combined standard errors that one error must be below another to count as smaller."""


@dataclass(frozen=True)
class Entry:
    """One method on one system at one setting.

    Attributes:
        system: in words, with what is asked of it.
        family: of systems that are alike.
        setting: cell of the artefact.
        error: relative, signed; the standard error beside it holds that of the reference.
        v_score: mean over seeds, with its standard error; None where the variance of the energy is not estimated.
        seconds: of one seed, training and inference.
        steps: of the training.
        doubt: why the error is not to be relied upon.
    """

    family: str
    system: str
    sites: int
    method: str
    error: float
    error_sigma: float | None
    v_score: float | None
    v_score_sigma: float | None
    seconds: float
    steps: int | None
    seeds: int
    reference_kind: str
    artefact: str
    setting: str
    scale: str
    doubt: str
    run_keys: str

    @property
    def size(self) -> float:
        """|E − E_ref| / |E_ref|."""
        return abs(self.error)

    @property
    def spent(self) -> float:
        """Seconds of all seeds."""
        return self.seconds * self.seeds

    def smaller_than(self, other: Entry) -> bool:
        """Whether the error is smaller by more than noise."""
        return other.size - self.size > SIGMAS * math.hypot(self.error_sigma or 0.0, other.error_sigma or 0.0)


FIELDS = [field.name for field in fields(Entry)]


def collect(results: Path) -> list[Entry]:
    """Of all whole reports; a run that stands in several of them once.

    Raises:
        UserError: a report cannot be read.
    """
    found: dict[tuple[str, ...], Entry] = {}
    known = all_artefacts()
    for path in sorted(results.glob("*/*/*/cells.csv")):
        paper, name, scale = path.parent.parts[-3:]
        whole = all(path.with_name(one).is_file() for one in ("runs.csv", "manifest.json"))
        if f"{paper}/{name}" in known and scale != "smoke" and whole:
            try:
                entries = list(_of_report(path.parent))
            except (OSError, ValueError, KeyError) as error:
                raise UserError(f"{path.parent}: this report cannot be read ({error!r})") from None
            for entry in entries:
                found.setdefault((entry.system, entry.method, entry.run_keys), entry)
    order = list(NAMES)
    return sorted(found.values(), key=lambda e: (place(e.family), e.sites, e.system, order.index(e.method), e.seconds))


def _of_report(folder: Path) -> Iterable[Entry]:
    cells, runs = read_csv(folder / "cells.csv"), read_csv(folder / "runs.csv")
    exact = {(r["cell"], r["quantity"]) for r in runs if r["method"] == "reference" and r["bound"] == "exact"}
    systems = _systems(folder)
    headlines = [c for c in cells if c["quantity"] in ("energy", *LEVELS)]
    of_levels = {(c["cell"], c["method"]) for c in headlines if c["quantity"] in LEVELS}
    for cell in headlines:
        where = cell["cell"], cell["method"]
        if cell["method"] not in NAMES or (cell["cell"], cell["quantity"]) not in exact or not cell["rel_error_ours"]:
            continue
        if cell["cell"] in systems and (cell["quantity"] in LEVELS or where not in of_levels):
            own = [r for r in runs if (r["cell"], r["method"]) == where]
            yield _entry(cell, own, systems[cell["cell"]])


def _systems(folder: Path) -> Mapping[str, Mapping[str, Any]]:
    """Physics of each cell, as the manifest has it."""
    runs = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["runs"]
    return {run["run"].split("/")[0]: run["system"] for run in runs if "system" in run}


def _entry(cell: Mapping[str, str], runs: Sequence[Mapping[str, str]], system: Mapping[str, Any]) -> Entry:
    reference, seeds = float(cell["reference"]), int(cell["seeds"])
    sigmas = [float(cell[name]) for name in ("ours_sigma", "reference_sigma") if cell[name]]
    scores = [r for r in runs if r["quantity"] == "v_score" and r["value"]]
    score = statistics.fmean(float(r["value"]) for r in scores) if scores else None
    doubts = [r["doubt"] for r in runs if r["quantity"] == cell["quantity"] and r.get("doubt")]
    if cell["vs_reference"] == "undecided" and not doubts:
        doubts = ["its standard error is unknown or in doubt"]
    steps = [int(float(r["steps"])) for r in runs if r["steps"]]
    return Entry(
        family=family(system) + LEVELS.get(cell["quantity"], ""),
        system=named(system) + LEVELS.get(cell["quantity"], ""),
        sites=int(system.get("n_sites") or system["length_x"] * system["length_y"]),
        method=cell["method"],
        error=float(cell["rel_error_ours"]),
        error_sigma=math.hypot(*sigmas) / abs(reference) if cell["ours_sigma"] else None,
        v_score=score,
        v_score_sigma=_mean_error(scores),
        seconds=float(cell["seconds"]) / seeds,
        steps=max(steps, default=None),
        seeds=seeds,
        reference_kind=cell["reference_kind"],
        artefact=cell["artefact"],
        setting=cell["cell"],
        scale=cell["scale"],
        doubt="; ".join(dict.fromkeys(doubts)),
        run_keys=cell["run_keys"],
    )


def _mean_error(scores: Sequence[Mapping[str, str]]) -> float | None:
    """Over seeds where there are several, else that of the one."""
    if len(scores) > 1:
        return statistics.stdev(float(r["value"]) for r in scores) / math.sqrt(len(scores))
    return float(scores[0]["sigma"]) if scores and scores[0]["sigma"] else None


def shown(entries: Sequence[Entry]) -> dict[str, list[Entry]]:
    """By system, one entry a method: of several settings the one that most time was spent on, whatever its error."""
    found: dict[str, dict[str, Entry]] = {}
    for entry in entries:
        methods = found.setdefault(entry.system, {})
        if entry.method not in methods or methods[entry.method].spent < entry.spent:
            methods[entry.method] = entry
    return {system: list(methods.values()) for system, methods in found.items()}


def best(entries: Sequence[Entry]) -> list[Entry]:
    """Those whose error is known and no other one's is smaller than by more than noise."""
    known = [entry for entry in entries if not entry.doubt]
    return [e for e in known if not any(other.smaller_than(e) for other in known)]


def unbeaten(entries: Sequence[Entry]) -> list[Entry]:
    """Those whose error is known and that no other one undercuts in error without taking longer."""
    known = [entry for entry in entries if not entry.doubt]
    return [e for e in known if not any(o.smaller_than(e) and o.seconds <= e.seconds for o in known)]


def spread(entries: Sequence[Entry]) -> float:
    """Seconds of the dearest over those of the cheapest: how equal budgets are."""
    seconds = [entry.seconds for entry in entries]
    return max(seconds) / min(seconds) if min(seconds) > 0 else math.inf
