"""From finished runs to ``cells.csv``, ``runs.csv`` and ``curves.csv``: ours beside the paper's and a reference."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from pipeline.analysis.seeds import over_seeds
from pipeline.analysis.verdict import error_relative_to, may_fluctuate_below, no_verdict, vs_reference
from pipeline.base.numbers.result import Curve, Estimate, Result
from pipeline.base.numbers.statistics import doubted_by_mixing
from pipeline.base.store.entry import Entry
from pipeline.spin.units import ENERGY_UNITS, energy_factor
from reproduce.artefact import Artefact, Cell, Column, Derived, ExtraCurve
from reproduce.curves import snapshot_curves, thinned, training_curves
from reproduce.plan import Found, Task
from reproduce.published import Published, VsPaper, judged, published

CELL_FIELDS = [
    "artefact",
    "cell",
    "method",
    "quantity",
    "unit",
    "ours",
    "ours_sigma",
    "ours_spread",
    "published",
    "published_sigma",
    "reference",
    "reference_sigma",
    "reference_kind",
    "rel_error_ours",
    "rel_error_published",
    "vs_paper",
    "vs_reference",
    "cuts",
    "scale",
    "seeds",
    "seconds",
    "device",
    "run_keys",
]
RUN_FIELDS = [
    "artefact",
    "cell",
    "method",
    "seed",
    "quantity",
    "value",
    "sigma",
    "sigma_kind",
    "spread",
    "unit",
    "bound",
    "n",
    "tau",
    "steps",
    "stopped",
    "seconds",
    "device",
    "run_key",
]
RUN_FIELDS += [field.name for field in fields(Estimate) if field.name not in ("name", *RUN_FIELDS)]
CURVE_FIELDS = ["artefact", "cell", "method", "curve", "seed", "x_name", "x", "x_width", "y_name", "y", "sigma", "unit"]


@dataclass(frozen=True)
class Finished:
    """A task with what it found, or the reason why it failed.

    Attributes:
        shown: its curves as they stand in the report that it is rendered anew from; None where the store has them.
    """

    task: Task
    found: Found
    failure: str | None
    shown: tuple[Curve, ...] | None = None

    @property
    def source(self) -> Entry | None:
        """Whose result it is: of the method, of the baseline for a reference cell, of the profile for a timing."""
        return self.found.inferred or (None if self.found.trained else self.found.profiled or self.found.reference)

    @property
    def result(self) -> Result | None:
        """None where there is none, or the run failed; chains that disagree are doubted, however old the result."""
        found = self.source.result() if self.source and not self.failure else None
        return replace(found, estimates=doubted_by_mixing(found.estimates)) if found else None

    @property
    def seconds(self) -> float:
        return sum(self._seconds(entry) for entry in self.found.entries)

    def _seconds(self, entry: Entry) -> float:
        """Of a training that another run went on with, what it took as far as this run goes."""
        step, recorded = self.found.step, getattr(entry, "until", None)
        if recorded is not None:
            return float(recorded)
        if entry is not self.found.trained or step is None or step >= entry.status.get("steps", step):
            return entry.seconds
        return max((line["seconds"] for line in entry.metrics() if line["k"] < step), default=0.0)

    @property
    def device(self) -> str:
        return self.found.entries[-1].device if self.found.entries else ""

    @property
    def keys(self) -> list[str]:
        return [entry.name for entry in self.found.entries]


@dataclass(frozen=True)
class CellRow:
    """One line of ``cells.csv``."""

    artefact: str
    cell: str
    method: str
    quantity: str
    unit: str
    ours: float | None = None
    ours_sigma: float | None = None
    ours_spread: float | None = None
    published: float | None = None
    published_sigma: float | None = None
    reference: float | None = None
    reference_sigma: float | None = None
    reference_kind: str = ""
    rel_error_ours: float | None = None
    rel_error_published: float | None = None
    vs_paper: str = "not-run"
    vs_reference: str = "none"
    cuts: str = ""
    scale: str = ""
    seeds: int = 0
    seconds: float | None = None
    device: str = ""
    run_keys: str = ""


def own_seconds(entry: Entry) -> float:
    """Of a stage on a CPU, without what it waited for a core that others had, as far as that was recorded."""
    busy = entry.status.get("busy", 1.0) if entry.status.get("device", "cpu") == "cpu" else 1.0
    return float(entry.seconds * min(1.0, busy))


class Table:
    """Everything a renderer needs of one artefact at one scale.

    Attributes:
        other_system: a cut changed the physics of a run, so that printed numbers belong to another system; verdicts ask
            this of the runs of their own number.
        reference_methods: columns that the reference cells fill; they have no reference themselves.
        rows: lines of ``cells.csv`` in the order of the cells, then of published numbers without a cell.
        undecided: reasons why rows have no verdict, by cell, method and quantity.
        finished: the runs.
        kept, lines: what the renderer kept for itself and the lines of ``table.csv``, of the report that this is
            rendered anew from; empty where all comes from the store.
    """

    def __init__(
        self,
        artefact: Artefact,
        scale: str,
        finished: Sequence[Finished],
        kept: Mapping[str, Any] | None = None,
        lines: Sequence[Mapping[str, str]] = (),
    ) -> None:
        self.artefact, self.scale, self.finished = artefact, scale, list(finished)
        self.kept, self.lines = dict(kept or {}), list(lines)
        self.numbers = [n for n in published(artefact.paper) if n.artefact == artefact.id]
        self._references = {f.task.cell.row: f for f in finished if f.task.cell.method == "reference" and f.result}
        self.other_system = any(cut.startswith("system.") for done in self.finished for cut in done.task.cuts)
        references = [done.task.cell for done in self.finished if done.task.cell.method == "reference"]
        self.reference_methods = {column.method for cell in references for column in cell.columns}
        self.undecided: dict[tuple[str, str, str], str] = {}
        self.rows = self._cell_rows()
        self.rows += [self._derived_row(one) for one in artefact.derived(self)]
        have = {(r.cell, r.method, r.quantity) for r in self.rows}
        self.rows += [self._not_run(n) for n in self.numbers if (n.cell, n.method, n.quantity) not in have]

    def row(self, cell: str, method: str, quantity: str = "energy") -> CellRow | None:
        """The line of ``cells.csv``, or None."""
        for row in self.rows:
            if (row.cell, row.method, row.quantity) == (cell, method, quantity):
                return row
        return None

    def number(self, cell: str, method: str, quantity: str = "energy") -> Published | None:
        """The printed number, or None."""
        for number in self.numbers:
            if (number.cell, number.method, number.quantity) == (cell, method, quantity):
                return number
        return None

    def reference(self, cell: str, quantity: str) -> Estimate | None:
        """The reference of a row."""
        done = self._references.get(cell)
        if done is None or done.result is None:
            return None
        return next((e for e in done.result.estimates if e.name == quantity), None)

    def reference_kind(self, cell: str) -> str:
        """``free fermions``, ``DMRG``, ..."""
        done = self._references.get(cell)
        return done.found.reference.status["kind"] if done and done.found.reference else ""

    def run_rows(self) -> list[dict[str, Any]]:
        """Lines of ``runs.csv``: every estimate of every seed."""
        lines = []
        for done in self.finished:
            status = done.found.trained.status if done.found.trained else {}
            for estimate in done.result.estimates if done.result else ():
                values = {"quantity": estimate.name, **{k: v for k, v in asdict(estimate).items() if k in RUN_FIELDS}}
                lines.append(
                    values
                    | self._where(done)
                    | {
                        "steps": done.found.step,
                        "stopped": status.get("stopped"),
                        "seconds": done.seconds,
                        "device": done.device,
                        "run_key": done.keys[-1],
                    }
                )
        return lines

    def curves(self) -> list[tuple[Finished, Curve]]:
        """Every curve of every run, along training included; a training that runs share stands with the first."""
        found: list[tuple[Finished, Curve]] = []
        listed = set()
        for done in self.finished:
            if done.shown is not None:
                found += [(done, curve) for curve in done.shown]
                continue
            found += [(done, curve) for curve in (done.result.curves if done.result else ())]
            if done.found.trained is None:
                continue
            shown = done.task.run.train.shown
            found += [(done, curve) for curve in snapshot_curves(done.found, shown)]
            if done.found.trained.name not in listed:
                along = self.artefact.along
                curves = training_curves(done.found, shown)
                found += [(done, curve) for curve in curves if not along or curve.y_name in along]
                listed.add(done.found.trained.name)
        return found

    def curve_rows(self, extra: Iterable[ExtraCurve] = ()) -> list[dict[str, Any]]:
        """Lines of ``curves.csv``: every curve of every run, thinned, then ``extra`` ones."""
        lines, made = [], list(extra)
        anew = {(one.cell, one.method, one.seed, one.curve.name) for one in made}
        for done, curve in self.curves():
            if (done.task.cell.row, done.task.cell.method, done.task.seed, curve.name) not in anew:
                lines += _points(self._where(done), thinned(curve) if done.shown is None else curve)
        for one in made:
            where = {"artefact": self.artefact.id, "cell": one.cell, "method": one.method, "seed": one.seed}
            lines += _points(where, one.curve)
        return lines

    def _where(self, done: Finished) -> dict[str, Any]:
        cell = done.task.cell
        return {"artefact": self.artefact.id, "cell": cell.row, "method": cell.method, "seed": done.task.seed}

    def _cell_rows(self) -> list[CellRow]:
        compared = []
        for cell in dict.fromkeys(done.task.cell for done in self.finished):
            runs = [done for done in self.finished if done.task.cell is cell]
            compared += [(cell, column, runs, *self._compared(cell, column, runs)) for column in cell.columns]
        tests = sum(may_fluctuate_below(ours, reference) for *_, ours, reference in compared)
        return [self._cell_row(*one, tests) for one in compared]

    def _derived_row(self, one: Derived) -> CellRow:
        """A number from the lines of several cells, beside what is printed of it."""
        runs = [d for d in self.finished if d.task.cell.row == one.row and d.task.cell.method in one.cells]
        column = Column(one.method, one.estimate.name, one.quantity)
        reference = self.reference(one.row, one.quantity)
        row = self._cell_row(runs[0].task.cell, column, runs, one.estimate, reference, 1)
        return replace(row, seeds=len({done.task.seed for done in runs}))

    def _compared(
        self, cell: Cell, column: Column, runs: Sequence[Finished]
    ) -> tuple[Estimate | None, Estimate | None]:
        """Ours, None where a run failed, and the reference, in the unit that the paper prints."""
        number = self.number(cell.row, column.method, column.quantity)
        if number is not None and number.unit in ENERGY_UNITS and (number.unit, number.convention) != _unit_of(column):
            raise ValueError(f"{number.cell} {number.method}: printed {number.shown_unit}, shown as {_unit_of(column)}")
        reference = None if cell.method == "reference" else self.reference(cell.row, column.quantity)
        failed = any(done.result is None for done in runs) or _lack(runs, column.estimate)
        ours = None if failed else over_seeds([d.result.estimate(column.estimate) for d in runs if d.result])
        size = runs[0].task.run.system.size
        return _shown(ours, *_unit_of(column), size), _shown(reference, *_unit_of(column), size)

    def _cell_row(
        self,
        cell: Cell,
        column: Column,
        runs: Sequence[Finished],
        ours: Estimate | None,
        reference: Estimate | None,
        tests: int,
    ) -> CellRow:
        number = self.number(cell.row, column.method, column.quantity)
        verdict, reason = self._vs_paper(runs, ours, number, reference)
        against = vs_reference(ours, reference, tests) if ours else "none"
        if ours is not None and "undecided" in (verdict, against):
            reason = reason or no_verdict(ours) or "the error of its reference is unknown"
            self.undecided[cell.row, column.method, column.quantity] = reason
        return CellRow(
            artefact=self.artefact.id,
            cell=cell.row,
            method=column.method,
            quantity=column.quantity,
            unit=ours.unit if ours else (number.shown_unit if number else ""),
            ours=ours.value if ours else None,
            ours_sigma=ours.sigma if ours else None,
            ours_spread=ours.spread if ours else None,
            published=number.value if number else None,
            published_sigma=number.sigma if number else None,
            reference=reference.value if reference else None,
            reference_sigma=reference.sigma if reference else None,
            reference_kind=self.reference_kind(cell.row) if reference else "",
            rel_error_ours=error_relative_to(ours.value, reference) if ours else None,
            rel_error_published=self._printed_error(number, reference),
            vs_paper=verdict,
            vs_reference=against,
            cuts="; ".join(runs[0].task.cuts),
            scale=self.scale,
            seeds=len(runs),
            seconds=sum(done.seconds for done in runs),
            device=runs[0].device,
            run_keys=" ".join(key for done in runs for key in done.keys),
        )

    def _not_run(self, number: Published) -> CellRow:
        """A printed number that no cell of ours stands beside: yet, or ever where it is from the literature."""
        reference = self.reference(number.cell, number.quantity)
        if reference is not None:
            size = self._references[number.cell].task.run.system.size
            reference = _shown(reference, number.unit, number.convention, size)
        return CellRow(
            artefact=self.artefact.id,
            cell=number.cell,
            method=number.method,
            quantity=number.quantity,
            unit=number.shown_unit,
            published=number.value,
            published_sigma=number.sigma,
            reference=reference.value if reference else None,
            reference_sigma=reference.sigma if reference else None,
            reference_kind=self.reference_kind(number.cell) if reference else "",
            rel_error_published=self._printed_error(number, reference),
            vs_paper="published-only" if number.method in self.artefact.literature else "not-run",
            scale=self.scale,
        )

    def _vs_paper(
        self, runs: Sequence[Finished], ours: Estimate | None, number: Published | None, reference: Estimate | None
    ) -> tuple[VsPaper, str]:
        if ours is None:
            return ("failed" if any(done.result is None for done in runs) else "not-run"), ""
        elsewhere = any(cut.startswith("system.") for done in runs for cut in done.task.cuts)
        return ("different-system", "") if elsewhere and number else judged(ours, number, reference)

    def _printed_error(self, number: Published | None, reference: Estimate | None) -> float | None:
        """Of a printed number; None where the reference belongs to another system than the paper's."""
        if number is None or reference is None or self.other_system:
            return None
        return error_relative_to(number.value, reference)


def _lack(runs: Sequence[Finished], estimate: str) -> bool:
    """Whether a written report is older than an estimate that is shown now."""
    return any(d.shown is not None and d.result and estimate not in {e.name for e in d.result.estimates} for d in runs)


def _unit_of(column: Column) -> tuple[str, str]:
    return column.unit, column.convention


def _shown(estimate: Estimate | None, unit: str, convention: str, size: int) -> Estimate | None:
    """A total energy in Pauli matrices in the unit that the paper prints; anything else as it is."""
    if estimate is None or estimate.unit != "total" or (unit, convention) == ("total", "pauli"):
        return estimate
    name = unit if convention == "pauli" else f"{unit}, {convention}"
    return estimate.scaled(energy_factor(unit, convention, size), name)


def _points(where: dict[str, Any], curve: Curve) -> list[dict[str, Any]]:
    """A line of ``curves.csv`` for every point."""
    lines = []
    for i, (x, y) in enumerate(zip(curve.x, curve.y, strict=True)):
        width = curve.x_width[i] if curve.x_width else None
        line = {"curve": curve.name, "x_name": curve.x_name, "x": x, "x_width": width, "y_name": curve.y_name}
        line |= {"y": y, "sigma": curve.sigma[i] if curve.sigma else None, "unit": curve.unit}
        lines.append(where | line)
    return lines
