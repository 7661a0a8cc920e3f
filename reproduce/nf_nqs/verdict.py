"""What a reader with one minute should know of a table or a figure: of NQS+NF, then of the paper's other methods."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from pipeline.base.numbers.formatting import relative
from reproduce.nf_nqs import claims
from reproduce.nf_nqs.judging import below, lowest, ours
from reproduce.nf_nqs.notes import trainings
from reproduce.tables import Table

SHOWN = ("lower", "agrees", "higher", "undecided", "different-system", "failed", "not-run")
"""Verdicts in the order of a sentence."""


def verdict(table: Table, regimes: Mapping[str, Sequence[str]], all_up: Mapping[str, float]) -> list[str]:
    """Sentences on a table.

    Args:
        regimes: rows by what they have in common, the strongly entangled ones first.
        all_up: energy of the all-up state, by row.
    """
    rows = [row for names in regimes.values() for row in names]
    ranges = [text for regime, names in regimes.items() if (text := _range(table, regime, names))]
    found = []
    if ranges:
        found.append(f"NQS+NF ({trainings(table)}): relative errors of {_listed(ranges)}; {beside(table, 'nqs+nf')}.")
    if any(ours(table, row, "mps") for row in rows):
        found.append(f"MPS{_cut(table, 'mps')}: {beside(table, 'mps')}.")
    found += _autoregressive(table, rows, all_up)
    return found


def _range(table: Table, regime: str, names: Sequence[str]) -> str:
    """``5.3e-06 to 3.1e-05 at L = N/2 (paper 9.0e-05 to 2.7e-04)``."""
    found = [row for name in names if (row := table.row(name, "nqs+nf")) and row.rel_error_ours is not None]
    if not found:
        return ""
    theirs = [row.rel_error_published for row in found if row.rel_error_published is not None]
    paper = f" (the paper's {_between(theirs)})" if theirs else ""
    return f"{_between([row.rel_error_ours or 0.0 for row in found])} at {regime}{paper}"


def _between(errors: Sequence[float]) -> str:
    ends = list(dict.fromkeys(relative(e) for e in (min(errors), max(errors))))
    return " to ".join(ends)


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]


def beside(table: Table, *methods: str) -> str:
    """``of 9 printed energies ours are lower at 7, undecided at 2``."""
    printed = [r for r in table.rows if r.method in methods and r.quantity == "energy" and r.published is not None]
    if not printed:
        return "the paper prints no energies of it here"
    counts = Counter(row.vs_paper for row in printed)
    words = {"agrees": "agree", "undecided": "are undecided", "failed": "failed", "not-run": "are not run"}
    parts = [
        f"{words.get(kind, 'are ' + kind.replace('-', ' '))} at {counts[kind]}" for kind in SHOWN if counts.get(kind)
    ]
    return f"beside {len(printed)} printed energies ours {_listed(parts)}"


def _cut(table: Table, *methods: str) -> str:
    """`` (cut)`` where runs do not have the paper's settings."""
    return " (cut)" if any(d.task.cuts for d in table.finished if d.task.cell.method in methods) else ""


def _autoregressive(table: Table, rows: Sequence[str], all_up: Mapping[str, float]) -> list[str]:
    """Whether they collapse, and whether they are above NQS+NF."""
    methods = [method for method, _ in claims.AUTOREGRESSIVE]
    there = [(row, method) for method in methods for row in rows if ours(table, row, method)]
    states = [claims.collapsed(table, row, method, all_up[row]) for row, method in there]
    known = [state for state in states if state is not None]
    if not known:
        return []
    under = [
        row
        for row in rows
        if below(lowest([ours(table, row, method) for method in methods]), ours(table, row, "nqs+nf"))
    ]
    lower = f"the lower of them is below our NQS+NF at {_listed(under)}" if under else "none is below our NQS+NF"
    return [
        f"Dense AR and CNN AR{_cut(table, *methods)}: {sum(known)} of {len(known)} end in the aligned states; {lower}; "
        f"{beside(table, *methods)}."
    ]
