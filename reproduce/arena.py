"""Methods side by side on systems whose ground state is known exactly: what the committed reports say, side by side."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from pipeline.base.errors import UserError
from reproduce.artefact import all_artefacts
from reproduce.csv_files import read_csv
from reproduce.naqs.judgement import limit_of_few, ranked_below
from reproduce.systems import family, named, place

NAMES = {
    "nqs+nf": "NQS+NF",
    "annealed-ar": "annealed AR",
    "mps": "MPS",
    "dense-ar": "Dense AR",
    "cnn-ar": "CNN AR",
    "naqs": "NAQS",
    "rbm": "RBM",
    "nir": "NIR",
    "mcmc": "MCMC",
    "vit": "deep ViT",
    "vit-marshall": "deep ViT, Marshall signs",
}
"""Methods that compete, as sentences call them; parts of a method and checks of references do not."""
LEVELS = {"trace": ", sum of three levels"}
"""Headlines other than the ground-state energy."""
SIGMAS = 2.0
"""Combined standard errors that one error must be below another to count as smaller, or more where seeds are few."""
MANY = 1_000_000
"""Values that the error of a single training counts as."""
SAME_TIME = 2.0
"""Factor within which seconds count as equal: cores were shared, and the code was that of the day of the run."""


@dataclass(frozen=True)
class Entry:
    """One method on one system at one setting.

    Attributes:
        system: in words, with what is asked of it.
        family: of systems that are alike.
        setting: cell of the artefact.
        error: relative, signed; the standard error beside it holds that of the reference.
        v_score: mean over seeds, with its standard error; None where the variance of the energy is not estimated.
        seconds: of one seed, training and inference: wall time as recorded, perhaps on shared cores and by the code of
            the run; only that of its own work where the run recorded how much of a core it got.
        steps: of the training.
        parameters: of the network, not of a proposal; None where the report does not say.
        doubt: why the error is not to be relied upon.
        budget: seconds of one core that every training of its report was given; None where budgets are not equal.
        errors: sizes of those of all seeds.
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
    parameters: int | None = None
    budget: float | None = None
    errors: tuple[float, ...] = ()

    @property
    def size(self) -> float:
        """|E − E_ref| / |E_ref|."""
        return abs(self.error)

    @property
    def effort(self) -> tuple[int, int, int]:
        """Steps, parameters and seeds, in the order that they count in: the same whatever the clock says."""
        return self.steps or 0, self.parameters or 0, self.seeds

    def smaller_than(self, other: Entry) -> bool:
        """Whether the error is smaller by more than noise: by ranks where there are three seeds of both, else by two σ,
        of few seeds by Student's t instead."""
        ranked = ranked_below(self.errors, other.errors)
        if ranked is not None:
            return ranked
        # the error of a single training is that of its many samples
        sigmas = [(e.error_sigma or 0.0, e.seeds if e.seeds > 1 else MANY) for e in (self, other)]
        known = any(sigma for sigma, _ in sigmas)
        limit = max(SIGMAS, limit_of_few(sigmas)) if known else SIGMAS
        return other.size - self.size > limit * math.hypot(*(sigma for sigma, _ in sigmas))

    def no_dearer_than(self, other: Entry) -> bool:
        """Whether it takes less time or, as far as clocks tell, the same."""
        return self.seconds <= SAME_TIME * other.seconds


FIELDS = [field.name for field in fields(Entry) if field.name != "errors"]


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
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    systems, shares = _systems(manifest["runs"]), own_shares(manifest["runs"])
    budget = manifest.get("kept", {}).get("budget")
    headlines = [c for c in cells if c["quantity"] in ("energy", *LEVELS)]
    of_levels = {(c["cell"], c["method"]) for c in headlines if c["quantity"] in LEVELS}
    for cell in headlines:
        where = cell["cell"], cell["method"]
        if cell["method"] not in NAMES or (cell["cell"], cell["quantity"]) not in exact or not cell["rel_error_ours"]:
            continue
        if cell["cell"] in systems and (cell["quantity"] in LEVELS or where not in of_levels):
            own = [r for r in runs if (r["cell"], r["method"]) == where]
            yield replace(_entry(cell, own, systems[cell["cell"]], shares.get("/".join(where), 1.0)), budget=budget)


def _systems(runs: Sequence[Mapping[str, Any]]) -> Mapping[str, Mapping[str, Any]]:
    """Physics of each cell, as the manifest has it."""
    return {run["run"].split("/")[0]: run["system"] for run in runs if "system" in run}


def own_shares(runs: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """By row and method of the runs of a manifest: seconds of their own work over those on the clock.

    Below one where others had the cores meanwhile; stages that recorded nothing of that, and those on accelerators,
    which work on while their process waits, count as they are.
    """
    totals: dict[str, list[float]] = {}
    for run in runs:
        for stage in run.get("stages", ()):
            total = totals.setdefault(run["run"].rpartition("#")[0], [0.0, 0.0])
            wall, share = float(stage["seconds"]), 1.0
            if "busy" in stage and stage.get("device", "cpu") == "cpu":
                share = min(1.0, stage["busy"] / max(1, stage["provenance"]["threads"]))
            total[0] += share * wall
            total[1] += wall
    return {cell: own / wall for cell, (own, wall) in totals.items() if wall > 0.0}


def _entry(
    cell: Mapping[str, str], runs: Sequence[Mapping[str, str]], system: Mapping[str, Any], share: float
) -> Entry:
    reference, seeds = float(cell["reference"]), int(cell["seeds"])
    sigmas = [float(cell[name]) for name in ("ours_sigma", "reference_sigma") if cell[name]]
    scores = [r for r in runs if r["quantity"] == "v_score" and r["value"]]
    score = statistics.fmean(float(r["value"]) for r in scores) if scores else None
    doubts = [r["doubt"] for r in runs if r["quantity"] == cell["quantity"] and r.get("doubt")]
    if cell["vs_reference"] == "undecided" and not doubts:
        doubts = ["its standard error is unknown or in doubt"]
    steps = [int(float(r["steps"])) for r in runs if r["steps"]]
    values = [float(r["value"]) for r in runs if r["quantity"] == cell["quantity"] and r["value"]]
    parameters = [int(float(r["value"])) for r in runs if r["quantity"] == "parameters" and r["value"]]
    return Entry(
        family=family(system) + LEVELS.get(cell["quantity"], ""),
        system=named(system) + LEVELS.get(cell["quantity"], ""),
        sites=int(system.get("n_sites") or system["length_x"] * system["length_y"]),
        method=cell["method"],
        error=float(cell["rel_error_ours"]),
        error_sigma=math.hypot(*sigmas) / abs(reference) if cell["ours_sigma"] else None,
        v_score=score,
        v_score_sigma=_mean_error(scores),
        seconds=share * float(cell["seconds"]) / seeds,
        steps=max(steps, default=None),
        seeds=seeds,
        reference_kind=cell["reference_kind"],
        artefact=cell["artefact"],
        setting=cell["cell"],
        scale=cell["scale"],
        doubt="; ".join(dict.fromkeys(doubts)),
        run_keys=cell["run_keys"],
        parameters=max(parameters, default=None),
        errors=tuple(abs(value - reference) / abs(reference) for value in values),
    )


def _mean_error(scores: Sequence[Mapping[str, str]]) -> float | None:
    """Over seeds where there are several, else that of the one."""
    if len(scores) > 1:
        return statistics.stdev(float(r["value"]) for r in scores) / math.sqrt(len(scores))
    return float(scores[0]["sigma"]) if scores and scores[0]["sigma"] else None


def equals(entries: Sequence[Entry]) -> dict[float, list[Entry]]:
    """Those of reports in which every training has the same budget, by the budget."""
    budgets = sorted({entry.budget for entry in entries if entry.budget is not None})
    return {budget: [entry for entry in entries if entry.budget == budget] for budget in budgets}


def others(entries: Sequence[Entry]) -> list[Entry]:
    """Those with the budgets of their reports, which differ."""
    return [entry for entry in entries if entry.budget is None]


def shown(entries: Sequence[Entry]) -> dict[str, list[Entry]]:
    """By system, one entry a method, whatever its error.

    Of several settings that of most steps, then of most parameters, then of most seeds, then the first by its name.
    """
    found: dict[str, dict[str, Entry]] = {}
    for entry in entries:
        methods = found.setdefault(entry.system, {})
        there = methods.setdefault(entry.method, entry)
        name, other = ((e.artefact, e.setting, e.scale) for e in (entry, there))
        if entry.effort > there.effort or (entry.effort == there.effort and name < other):
            methods[entry.method] = entry
    return {system: list(methods.values()) for system, methods in found.items()}


def rivals(entries: Sequence[Entry]) -> list[Entry]:
    """Those whose error is known; none where that is only one."""
    known = [entry for entry in entries if not entry.doubt]
    return known if len(known) > 1 else []


def best(entries: Sequence[Entry]) -> list[Entry]:
    """Those whose error is known and no other one's is smaller than by more than noise; none without an opponent."""
    known = rivals(entries)
    return [e for e in known if not any(other.smaller_than(e) for other in known)]


def unbeaten(entries: Sequence[Entry]) -> list[Entry]:
    """Those whose error is known and that no other one undercuts in error without being dearer; none without an
    opponent."""
    known = rivals(entries)
    return [e for e in known if not any(o.smaller_than(e) and o.no_dearer_than(e) for o in known)]


def spread(entries: Sequence[Entry]) -> float:
    """Seconds of the dearest over those of the cheapest: how equal budgets are."""
    seconds = [entry.seconds for entry in entries]
    return max(seconds) / min(seconds) if min(seconds) > 0 else math.inf
