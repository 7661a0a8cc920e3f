"""Comparisons of two energies with their errors: below, not below, or undecided."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.analysis.verdict import AGREEMENT_SIGMAS, no_verdict
from pipeline.base.numbers.formatting import relative, with_error
from reproduce.artefact import yes_no
from reproduce.published import Published, published
from reproduce.tables import CellRow, Table

ROUNDING = 1e-6
"""Part of a number below which its error is that of floating-point sums, and not shown."""

Seen = bool | None
"""None: cannot be decided."""


@dataclass(frozen=True)
class Number:
    """A value and what a sentence calls it.

    Attributes:
        sigma: its standard error; None if that is unknown.
        rounding: half of the last printed digit: the value may be that far off, and no further.
    """

    value: float
    sigma: float | None
    name: str = ""
    rounding: float = 0.0

    def shown(self) -> str:
        """``Dense AR -48.669(4)``."""
        return f"{self.name} {with_error(self.value, self.sigma)}"


def ours(table: Table, row: str, method: str, name: str = "ours") -> Number | None:
    """Our energy, None where there is none; the error of a single run that cannot be relied upon counts as unknown."""
    found = table.row(row, method)
    if found is None or found.ours is None:
        return None
    runs = [d.result for d in table.finished if (d.task.cell.row, d.task.cell.method) == (row, method)]
    doubtful = any(e.name == "energy" and no_verdict(e) for result in runs if result for e in result.estimates)
    return Number(found.ours, None if doubtful and len(runs) == 1 else found.ours_sigma, name)


def printed(table: Table, row: str, method: str, name: str = "printed") -> Number | None:
    """The printed energy with its standard error, which of a spread over n subspaces is spread/√n, and its rounding."""
    number = None if table.other_system else table.number(row, method)
    if number is None:
        return None
    sigma = (number.sigma or 0.0) / math.sqrt(number.sigma_units or 1)
    return Number(number.value, sigma, name, number.half_last_digit)


def relative_sigma(row: CellRow, sigma: float | None) -> float | None:
    """Standard error of a relative error, from that of the energy and of the reference; None where it is unknown."""
    if sigma is None or not row.reference:
        return None
    return math.hypot(sigma, row.reference_sigma or 0.0) / abs(row.reference)


def with_relative_error(error: float | None, sigma: float | None) -> str:
    """``+0.7(2.2)e-04``: a signed relative error in the digits its error leaves; ``+6.8e-05`` where it has none."""
    if error is None or not math.isfinite(error) or not sigma or not math.isfinite(sigma):
        return relative(error)
    if sigma <= ROUNDING * abs(error):
        return relative(error)
    from uncertainties import ufloat

    digits = 2 if sigma > abs(error) else 1  # nothing but a zero would be left of the number
    return f"{ufloat(error, sigma):+.{digits}ueS}"


def relative_ours(row: CellRow | None) -> str:
    """Our relative error with its standard error."""
    return with_relative_error(row.rel_error_ours, relative_sigma(row, row.ours_sigma)) if row else "–"


def relative_printed(table: Table, row: CellRow | None) -> str:
    """Relative error of the printed energy with its standard error."""
    number = table.number(row.cell, row.method, row.quantity) if row else None
    if row is None or number is None:
        return "–"
    return with_relative_error(row.rel_error_published, relative_sigma(row, number.effective_sigma))


def not_above(first: Number | None, second: Number | None) -> Seen:
    """Whether the first is the lower one, or the same within errors and rounding; None where an error is unknown."""
    if first is None or second is None or first.sigma is None or second.sigma is None:
        return None
    return below(second, first) is not True


def below(first: Number | None, second: Number | None) -> Seen:
    """Whether the first is the lower one; None where two combined errors and rounding allow both, or one is unknown."""
    if first is None or second is None or first.sigma is None or second.sigma is None:
        return None
    difference = first.value - second.value
    allowed = AGREEMENT_SIGMAS * math.hypot(first.sigma, second.sigma) + first.rounding + second.rounding
    return None if abs(difference) <= allowed else difference < 0


def lowest(numbers: Sequence[Number | None]) -> Number | None:
    """The lowest of those that there are."""
    return min((n for n in numbers if n is not None), key=lambda n: n.value, default=None)


def judged(seen: Sequence[Seen]) -> str:
    """``yes``, ``no``, ``in k of n``, with what is undecided beside it; ``undecided``, or ``not run``."""
    decided = [one for one in seen if one is not None]
    open_ones = len(seen) - len(decided)
    if not decided:
        return "undecided" if seen else "not run"
    if not open_ones:
        return yes_no(decided)
    if not any(decided):
        return f"no, {open_ones} of {len(seen)} undecided"
    return f"in {sum(decided)} of {len(seen)}, {open_ones} undecided"


def of_text(quantity: str, method: str = "nqs+nf") -> Published:
    """A number that the paper prints in its text.

    Raises:
        KeyError: there is no such line in ``published.csv``.
    """
    for number in published("nf_nqs"):
        if (number.artefact, number.method, number.quantity) == ("nf_nqs/text", method, quantity):
            return number
    raise KeyError(f"nf_nqs/text {method} {quantity}")
