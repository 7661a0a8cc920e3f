"""A verdict in words where a renderer has none of its own: each of the paper's methods by itself, our checks apart."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable

from pipeline.base.numbers.formatting import relative
from reproduce.tables import CellRow, Table

WORDS = {
    "agrees": ("agrees", "agree"),
    "lower": ("is lower", "are lower"),
    "higher": ("is higher", "are higher"),
    "undecided": ("is undecided", "are undecided"),
    "not-comparable": ("is not comparable", "are not comparable"),
}
"""Verdicts on one number and on several."""


def below_bound(table: Table) -> list[CellRow]:
    """Variational estimates under an exact reference: bugs."""
    return [row for row in table.rows if row.vs_reference == "BELOW-BOUND"]


def summary(table: Table) -> str:
    """Sentences, in this order: the paper's own methods, its other columns, our references and checks."""
    own = table.artefact.methods
    printed = [m for m in dict.fromkeys(r.method for r in table.rows if r.published is not None) if m not in own]
    ours = [m for m in printed if m not in (*table.reference_methods, *table.artefact.checks)]
    checks = [m for m in printed if m in (*table.reference_methods, *table.artefact.checks)]
    said = [_of_method(table, method, name) for method, name in own.items()]
    said += [_against_paper(table, method, f"Ours of its {method} column") for method in ours]
    said += [_against_paper(table, method, f"Our reference {method}") for method in checks]
    return " ".join(sentence for sentence in said if sentence) or "Nothing was computed."


def _of_method(table: Table, method: str, name: str) -> str:
    errors = _errors(table, method)
    said = ""
    if len(errors) == 1:
        said = f"{name}: a relative error of {relative(errors[0][1].rel_error_ours)} at {errors[0][1].cell}."
    elif errors:
        middle = statistics.median(size for size, _ in errors)
        said = (
            f"{name}: relative errors of the energy from {relative(errors[0][1].rel_error_ours)} "
            f"({errors[0][1].cell}) to {relative(errors[-1][1].rel_error_ours)} ({errors[-1][1].cell}), half of them "
            f"above {middle:.1e}."
        )
    return " ".join(s for s in (said, _against_paper(table, method, f"{name}" if not said else "Ours")) if s)


def _errors(table: Table, method: str) -> list[tuple[float, CellRow]]:
    """Sizes of relative errors of energies, smallest first."""
    rows = [r for r in table.rows if r.method == method and r.quantity == "energy" and r.rel_error_ours is not None]
    return sorted(((abs(r.rel_error_ours or 0.0), r) for r in rows), key=lambda pair: pair[0])


def _against_paper(table: Table, method: str, name: str) -> str:
    """``Ours beside 9 printed numbers: 7 are lower, 2 agree.``"""
    rows = [r for r in table.rows if r.method == method and r.published is not None]
    verdicts = [r.vs_paper for r in rows if r.ours is not None or r.vs_paper == "failed"]
    if not verdicts:
        return ""
    numbers = f"{len(rows)} printed numbers" if len(rows) > 1 else "the printed number"
    return f"{name} beside {numbers}: {counted(verdicts)}."


def counted(verdicts: Iterable[str]) -> str:
    """``7 are lower, 1 agrees``."""
    return ", ".join(
        f"{n} {WORDS.get(verdict, (verdict, verdict))[n > 1]}" for verdict, n in Counter(verdicts).most_common()
    )
