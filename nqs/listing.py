"""What was run, as a table: for a notebook a DataFrame, for a terminal lines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nqs.places import folders_of_runs
from pipeline.analysis.verdict import error_relative_to
from pipeline.base.errors import ConfigError, UserError, did_you_mean
from pipeline.base.extras import need
from pipeline.base.numbers.formatting import duration, relative, with_error
from pipeline.stages.history import Past, history

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    *(
        "system",
        "size",
        "method",
        "ansatz",
        "sampler",
        "seed",
        "steps",
        "energy",
        "sigma",
        "reference",
        "reference_kind",
    ),
    *(
        "relative_error",
        "quantity",
        "value",
        "value_sigma",
        "seconds",
        "finished",
        "key",
        "train_key",
        "results",
        "command",
    ),
)
"""Then the amounts of the systems, such as ``coupling``."""


def runs(results: str | Path | None = None) -> pd.DataFrame:
    """Every finished run, the newest first, with its numbers beside the most exact reference that is there.

    Energies are total, of Pauli matrices; those of runs that have none (gauge theories, several states) are NaN, and
    ``quantity``, ``value`` and ``value_sigma`` have what stands for them. ``sigma`` is NaN where the error is not
    known. ``relative_error`` is signed, (E - E_ref)/|E_ref|. A training without an inference has no numbers yet. The
    columns are :data:`COLUMNS`, then the amounts of the systems.

    Args:
        results: results folder; None: all that are seen from here: ``NQS_RESULTS``, ``results`` in the current folder
            and in those above it, and that of the checkout which the code is imported from.

    Raises:
        UserError: no folder with runs, or pandas is not installed.
    """
    need("nqs.runs", "pandas")
    import pandas as pd

    table = [row(past) for past in history(folders_of_runs(results))]
    amounts = dict.fromkeys(name for line in table for name in line if name not in COLUMNS)
    return pd.DataFrame(table, columns=[*COLUMNS, *amounts])


def row(past: Past) -> dict[str, Any]:
    """A run by columns; amounts of the system that would hide a column have ``system.`` in front."""
    estimate, reference = past.estimate, past.reference
    energy = estimate if estimate is not None and estimate.name == "energy" else None
    amounts = {name if name not in COLUMNS else f"system.{name}": value for name, value in past.settings.items()}
    return {
        "system": past.system,
        "size": past.size,
        "method": past.method,
        "ansatz": past.ansatz,
        "sampler": past.sampler,
        "seed": past.seed,
        "steps": past.steps,
        "energy": _number(energy.value if energy else None),
        "sigma": _number(energy.sigma if energy else None),
        "reference": _number(reference.value if reference else None),
        "reference_kind": past.reference_kind,
        "relative_error": _number(error_relative_to(estimate.value, reference) if estimate else None),
        "quantity": past.quantity,
        "value": _number(estimate.value if estimate else None),
        "value_sigma": _number(estimate.sigma if estimate else None),
        "seconds": past.seconds,
        "finished": datetime.fromtimestamp(past.finished, UTC),
        "key": past.key,
        "train_key": past.train_key,
        "results": str(past.folder),
        "command": past.command,
        **amounts,
    }


def _number(value: float | None) -> float:
    return math.nan if value is None else value


HEADERS = (
    "key",
    "system",
    "N",
    "method",
    "ansatz",
    "sampler",
    "seed",
    "steps",
    "energy",
    "relative error",
    "time",
    "command",
)


def lines(past: Past) -> list[str]:
    """A run in the cells of :data:`HEADERS`."""
    estimate = past.estimate
    shown = "–" if estimate is None else with_error(estimate.value, estimate.sigma)
    if estimate is not None and estimate.name != "energy":
        shown = f"{estimate.name} {shown}"
    error = None if estimate is None else error_relative_to(estimate.value, past.reference)
    amounts = " ".join(f"{name}={_short(value)}" for name, value in past.settings.items())
    return [
        past.key,
        f"{past.system} {amounts}".strip(),
        "–" if past.size is None else str(past.size),
        past.method,
        past.ansatz or "–",
        past.sampler or "–",
        str(past.seed),
        str(past.steps),
        shown,
        relative(error),
        duration(past.seconds),
        past.command or "–",
    ]


def _short(value: Any) -> str:
    if isinstance(value, list):
        return f"[{len(value)}]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def chosen(found: Sequence[Past], filters: Sequence[str]) -> list[Past]:
    """The runs of which every filter holds, ``column=value`` with a value or several, ``a,b``.

    Raises:
        UserError: not of that form, or a column that no run has.
    """
    table = [(past, row(past)) for past in found]
    known = list(dict.fromkeys([*COLUMNS, *(name for _, line in table for name in line)]))
    for text in filters:
        column, given, wanted = text.partition("=")
        if not given:
            raise UserError(f"{text}: a filter is column=value, such as system=chain_tfim")
        if column not in known:
            raise ConfigError(column, None, f"no such column; have {', '.join(known)}", did_you_mean(column, known))
        values = wanted.split(",")
        table = [(past, line) for past, line in table if any(_is(line.get(column), value) for value in values)]
    return [past for past, _ in table]


def _is(value: Any, text: str) -> bool:
    """Whether a value is what a filter says: numbers as numbers, keys by how they begin."""
    if isinstance(value, bool) or value is None:
        return str(value).lower() == text.lower()
    if isinstance(value, int | float):
        try:
            return float(text) == value
        except ValueError:
            return False
    return str(value) == text or (len(text) >= 4 and str(value).startswith(text) and len(str(value)) == 16)
