"""What a reader with one minute should know of a table or a figure: of NQS+NF, then of the paper's other methods."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from pipeline.base.numbers.formatting import relative
from reproduce.nf_nqs import claims
from reproduce.nf_nqs.judging import below, lowest, ours
from reproduce.nf_nqs.notes import trainings
from reproduce.tables import Table

SHOWN = {
    "lower": ("lower than the paper's", "lower"),
    "agrees": ("those of the paper within errors", "the same within errors"),
    "higher": ("higher than the paper's", "higher"),
    "undecided": ("not to be told from the paper's or the exact ones", "undecided"),
    "different-system": ("of another system than the paper's", "of another system"),
    "failed": ("failed", "failed"),
    "not-run": ("not run", "not run"),
}
"""Verdicts in the order of a sentence, in words: of the first, and of those after it."""


def verdict(table: Table, regimes: Mapping[str, Sequence[str]], all_up: Mapping[str, float]) -> list[str]:
    """Three sentences on a table: the paper's own method, matrix product states, autoregressive networks.

    Args:
        regimes: rows by what they have in common, the strongly entangled ones first.
        all_up: energy of the all-up state, by row.
    """
    rows = [row for names in regimes.values() for row in names]
    ranges = [text for regime, names in regimes.items() if (text := _range(table, regime, names))]
    found = []
    if ranges:
        found.append(
            f"Our energies of NQS+NF ({trainings(table)}) are {beside(table, 'nqs+nf')}, with relative errors of "
            f"{_listed(list(dict.fromkeys((ranges[0], ranges[-1]))))}."
        )
    if any(ours(table, row, "mps") for row in rows):
        aligned = sum(claims.collapsed(table, row, "mps", all_up[row]) is True for row in rows)
        said = f"; in {aligned} of {len(rows)} they are not told from aligned spins" if aligned else ""
        found.append(f"Our MPS{_cut(table, 'mps')} are {beside(table, 'mps')}{said}.")
    return found + _autoregressive(table, regimes, all_up)


def _range(table: Table, regime: str, names: Sequence[str]) -> str:
    """``5.3e-06 to 3.1e-05 at L = N/2 (paper: 9.0e-05 to 2.7e-04)``."""
    found = [row for name in names if (row := table.row(name, "nqs+nf")) and row.rel_error_ours is not None]
    if not found:
        return ""
    theirs = [row.rel_error_published for row in found if row.rel_error_published is not None]
    paper = f" (paper: {_between(theirs)})" if theirs else ""
    return f"{_between([row.rel_error_ours or 0.0 for row in found])} at {regime}{paper}"


def _between(errors: Sequence[float]) -> str:
    ends = list(dict.fromkeys(relative(e).lstrip("+") for e in (min(errors), max(errors))))
    return " to ".join(ends)


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]


def beside(table: Table, *methods: str) -> str:
    """``lower than the paper's in 7 of 9 cases and undecided in 2``."""
    printed = [r for r in table.rows if r.method in methods and r.quantity == "energy" and r.published is not None]
    if not printed:
        return "without printed ones to compare with"
    counts = Counter(row.vs_paper for row in printed)
    (first, count), *others = [(kind, counts[kind]) for kind in SHOWN if counts.get(kind)]
    said = f"{SHOWN[first][0]} in {count} of {len(printed)} cases"
    return _listed([said, *(f"{SHOWN[kind][1]} in {count}" for kind, count in others)])


def _cut(table: Table, *methods: str) -> str:
    """``, trained more cheaply,`` where runs do not have the paper's settings."""
    cut = any(d.task.cuts for d in table.finished if d.task.cell.method in methods)
    return ", trained more cheaply," if cut else ""


def _autoregressive(table: Table, regimes: Mapping[str, Sequence[str]], all_up: Mapping[str, float]) -> list[str]:
    """Whether they collapse, and where the lower of them is below NQS+NF."""
    methods = [method for method, _ in claims.AUTOREGRESSIVE]
    there = [(row, m) for names in regimes.values() for m in methods for row in names if ours(table, row, m)]
    states = [claims.collapsed(table, row, method, all_up[row]) for row, method in there]
    known = [state for state in states if state is not None]
    if not known:
        return []
    under = {regime: sum(_under(table, row, methods) for row in names) for regime, names in regimes.items()}
    where = [f"{count} of {len(regimes[regime])} cases at {regime}" for regime, count in under.items() if count]
    lower = f"the lower of the two is below our NQS+NF in {_listed(where)}" if where else "none is below our NQS+NF"
    return [
        f"Our Dense AR and CNN AR{_cut(table, *methods)} collapse to aligned spins in {sum(known)} of {len(known)} "
        f"cases; {lower}."
    ]


def _under(table: Table, row: str, methods: Sequence[str]) -> bool:
    """Whether the lowest of some methods is below NQS+NF."""
    return below(lowest([ours(table, row, method) for method in methods]), ours(table, row, "nqs+nf")) is True
