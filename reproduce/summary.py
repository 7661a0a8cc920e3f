"""A verdict in words where a renderer has none of its own: each of the paper's methods by itself, our checks apart."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence

from pipeline.base.numbers.formatting import relative
from reproduce.artefact import papers
from reproduce.tables import CellRow, Table

WORDS = {
    "agrees": ("agrees", "agree"),
    "lower": ("is lower", "are lower"),
    "higher": ("is higher", "are higher"),
    "undecided": ("is undecided", "are undecided"),
    "not-comparable": ("is not comparable", "are not comparable"),
    "different-system": ("is of another system", "are of another system"),
}
"""Verdicts on one number and on several."""

UNLIKE = ("not-comparable", "different-system")
"""Verdicts of ours that do not stand beside the printed number: they are of another ensemble or system."""


def below_bound(table: Table) -> list[CellRow]:
    """Variational estimates under an exact reference: bugs."""
    return [row for row in table.rows if row.vs_reference == "BELOW-BOUND"]


def coverage(table: Table) -> str:
    """How much of the artefact is there; what cannot be compared counts as nothing beside the printed number."""
    printed = [r for r in table.rows if r.published is not None]
    said = f"Scale `{table.scale}`: "
    if table.artefact.paper not in papers():
        return said + "an artefact of our own, which no paper prints."
    if not printed:
        return said + "the paper prints no numbers of this artefact."
    ran = [r.vs_paper for r in printed if r.ours is not None]
    beside = [verdict for verdict in ran if verdict not in UNLIKE]
    said += f"{len(beside)} of {len(printed)} printed numbers have ours beside them"
    said += f" ({counted(beside)})" if beside else ""
    left = sum(r.vs_paper == "published-only" for r in printed)
    others = [v for v in ran if v in UNLIKE]
    more = [counted(others)] if others else []
    more += [f"{left} {'is' if left == 1 else 'are'} from the literature"] if left else []
    return said + "".join(f"; {text}" for text in more) + "."


def summary(table: Table) -> str:
    """At most three sentences: errors of the paper's own methods, these beside the printed numbers, all others beside
    them."""
    own = table.artefact.methods
    printed = [m for m in dict.fromkeys(r.method for r in table.rows if r.published is not None) if m not in own]
    tests = (*table.reference_methods, *table.artefact.checks)
    errors = [text for method, name in own.items() if (text := _accuracy(table, method, name))]
    mine = [text for method, name in own.items() if (text := _against_paper(table, method, f"our {name}"))]
    rest = [(f"our {method}" if method not in tests else f"our reference {method}", method) for method in printed]
    others = [text for name, method in rest if (text := _against_paper(table, method, name))]
    said = [_sentence(parts) for parts in (errors, mine, others) if parts]
    return " ".join(said) or "Nothing was computed."


def _sentence(parts: Sequence[str]) -> str:
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}."


def _accuracy(table: Table, method: str, name: str) -> str:
    errors = _errors(table, method)
    if not errors:
        return ""
    (_, best), (_, worst) = errors[0], errors[-1]
    if len(errors) == 1:
        return f"{name} has a relative error of {relative(best.rel_error_ours)} at {_place(table, best)}"
    middle = statistics.median(size for size, _ in errors)
    return (
        f"{name} has relative errors of the energy from {relative(best.rel_error_ours)} ({_place(table, best)}) to "
        f"{relative(worst.rel_error_ours)} ({_place(table, worst)}), half of them above {middle:.1e}"
    )


def _place(table: Table, row: CellRow) -> str:
    return table.artefact.labels.get(row.cell, row.cell)


def _errors(table: Table, method: str) -> list[tuple[float, CellRow]]:
    """Sizes of relative errors of energies, smallest first."""
    rows = [r for r in table.rows if r.method == method and r.quantity == "energy" and r.rel_error_ours is not None]
    return sorted(((abs(r.rel_error_ours or 0.0), r) for r in rows), key=lambda pair: pair[0])


def _against_paper(table: Table, method: str, name: str) -> str:
    """``our NQS+NF, beside 9 printed numbers: 7 are lower, 2 agree``."""
    rows = [r for r in table.rows if r.method == method and r.published is not None]
    verdicts = [r.vs_paper for r in rows if r.ours is not None or r.vs_paper == "failed"]
    if not verdicts:
        return ""
    numbers = f"{len(rows)} printed numbers" if len(rows) > 1 else "the printed number"
    return f"{name}, beside {numbers}: {counted(verdicts)}"


def counted(verdicts: Iterable[str]) -> str:
    """``7 are lower, 1 agrees``."""
    return ", ".join(
        f"{n} {WORDS.get(verdict, (verdict, verdict))[n > 1]}" for verdict, n in Counter(verdicts).most_common()
    )
