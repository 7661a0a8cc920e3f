"""The part of a table that claims, notes and figures read, without runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from pipeline.analysis.verdict import relative_error
from pipeline.base.numbers.result import Estimate, Result
from reproduce.published import Published
from reproduce.tables import CellRow


class Rows:
    """Stands for a :class:`reproduce.tables.Table`."""

    other_system, scale = False, "laptop"

    def __init__(
        self,
        rows: Sequence[CellRow],
        numbers: Sequence[Published] = (),
        references: Mapping[str, float] | None = None,
        finished: Sequence[Any] = (),
    ) -> None:
        self.rows, self.numbers, self.finished = list(rows), list(numbers), list(finished)
        self.references = references or {}

    def row(self, cell: str, method: str, quantity: str = "energy") -> CellRow | None:
        return next((r for r in self.rows if (r.cell, r.method, r.quantity) == (cell, method, quantity)), None)

    def reference(self, cell: str, quantity: str) -> Estimate | None:
        return Estimate("energy", self.references[cell], 0.0) if cell in self.references else None

    def reference_kind(self, cell: str) -> str:
        return "collective spin" if cell in self.references else ""

    def number(self, cell: str, method: str, quantity: str = "energy") -> Published | None:
        return next((n for n in self.numbers if (n.cell, n.method, n.quantity) == (cell, method, quantity)), None)


def energy(
    cell: str, method: str, value: float, sigma: float | None, reference: float | None = None, **more: Any
) -> CellRow:
    """A line of ``cells.csv``; the reference has no error."""
    if reference is not None:
        more = {
            "rel_error_ours": relative_error(value, reference),
            "reference": reference,
            "reference_sigma": 0.0,
        } | more
    more = {"seeds": 1} | more
    return CellRow("nf_nqs/table2", cell, method, "energy", "total", ours=value, ours_sigma=sigma, **more)


def done(cell: str, method: str, cuts: Sequence[str] = (), estimates: Sequence[Estimate] = ()) -> Any:
    """A finished run."""
    task = SimpleNamespace(cell=SimpleNamespace(row=cell, method=method), cuts=tuple(cuts), seed=0)
    return SimpleNamespace(
        task=task, result=Result(tuple(estimates)), found=SimpleNamespace(trained=None), device="cpu"
    )
