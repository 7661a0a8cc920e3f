"""Ground-state energies that others have published, for systems beyond what can be computed here."""

from __future__ import annotations

import csv
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar, cast, get_args

from pipeline.base.contracts import Cost, Exactness
from pipeline.base.numbers.result import Bound, Estimate, Result, SigmaKind
from pipeline.spin.systems import SpinSystem
from pipeline.spin.units import energy_factor

FILE = Path(__file__).with_suffix(".csv")
FACTS = ("value", "sigma", "unit", "convention", "bound", "source")
"""Columns of the file that say what was found; the others are fields of the system."""


@dataclass
class Literature:
    """Numbers from ``literature.csv``: of other people's programs, and never the choice of ``auto`` before ours."""

    version: ClassVar[int] = 1
    kind: ClassVar[str] = "literature"
    exactness: ClassVar[Exactness] = "published"

    def supports(self, system: Any) -> str | None:
        """None for a system whose energy stands in the file; else the reason why not."""
        if _entry(system) is not None:
            return None
        return f"literature has no energy of this {type(system).__name__}; what there is stands in {FILE.name}"

    def cost(self, system: SpinSystem) -> Cost:
        """To look it up."""
        del system
        return Cost(seconds=0.0, bytes=0.0)

    def run(self, system: SpinSystem) -> Result:
        """``energy``: total, Pauli matrices; half the last digit is the error of a number without one."""
        entry = _entry(system)
        assert entry is not None
        exponent = Decimal(entry["value"]).as_tuple().exponent
        assert isinstance(exponent, int)
        sigma = float(entry["sigma"]) if entry["sigma"] else 0.5 * 10.0**exponent
        bound = entry["bound"]
        assert bound in get_args(Bound)
        kind: SigmaKind = "standard-error" if entry["sigma"] else "numerical"
        printed = Estimate("energy", float(entry["value"]), sigma, kind, bound=cast(Bound, bound))
        factor = energy_factor(entry["unit"], entry["convention"], system.size)
        return Result((printed.scaled(1 / factor, "total"),), notes=(f"Reference: {entry['source']}.",))


@functools.cache
def _entries() -> tuple[dict[str, str], ...]:
    with open(FILE, newline="", encoding="utf-8") as file:
        return tuple(csv.DictReader(file))


def _entry(system: Any) -> Mapping[str, str] | None:
    """The line whose fields are those of ``system``."""
    for entry in _entries():
        wanted = {name: text for name, text in entry.items() if name not in FACTS}
        if all(_equal(getattr(system, name, None), text) for name, text in wanted.items()):
            return entry
    return None


def _equal(value: Any, text: str) -> bool:
    """Whether a field of a system has the value that ``text`` says."""
    if isinstance(value, bool):
        return text == str(value).lower()
    if isinstance(value, int | float):
        return float(text) == value
    return bool(text == value)
