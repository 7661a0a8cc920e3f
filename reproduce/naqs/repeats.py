"""Two independent runs of our quantum Monte Carlo: whether they agree, and what they say together."""

from __future__ import annotations

import math
from collections.abc import Sequence

from reproduce.artefact import Claim
from reproduce.naqs.judgement import UNLIKELY, chi_squared, consistent, difference_in_sigmas
from reproduce.tables import Table

OURS = "ours"
"""Location of what no paper says: checks of our own references."""


def differences(table: Table, rows: Sequence[str], quantity: str) -> list[tuple[str, float]]:
    """Second run minus first, in combined standard errors, of each row that has both."""
    pulls = []
    for row in rows:
        one, other = table.row(row, "qmc", quantity), table.row(row, "qmc-check", quantity)
        if one and other and one.ours is not None and other.ours is not None:
            pull = difference_in_sigmas(other.ours, other.ours_sigma, one.ours, one.ours_sigma)
            pulls += [(row, pull)] if pull is not None else []
    return pulls


def qmc_repeats(table: Table, rows: Sequence[str], quantity: str = "energy", name: str = "energies") -> Claim:
    """Whether the runs agree."""
    text = f"a second, shorter run of our QMC against the first, {name}"
    return consistent(text, OURS, differences(table, rows, quantity))


def enlargement(pulls: Sequence[float]) -> float:
    """√(χ²/n) where the runs differ by more than their errors, else 1: the scale factor of the Particle Data Group."""
    return max(1.0, math.sqrt(chi_squared(pulls)[0] / len(pulls))) if pulls else 1.0


def together(table: Table, row: str, quantity: str) -> tuple[float, float] | None:
    """Weighted mean of the runs that have an error, and its standard error; None without any."""
    found = [one for method in ("qmc", "qmc-check") if (one := table.row(row, method, quantity))]
    runs = [(one.ours, one.ours_sigma) for one in found if one.ours is not None and one.ours_sigma]
    if not runs:
        return None
    weights = [sigma**-2 for _, sigma in runs]
    mean = sum(w * value for w, (value, _) in zip(weights, runs, strict=True)) / sum(weights)
    return mean, sum(weights) ** -0.5


def printed_against_both(table: Table, rows: Sequence[str], method: str, quantity: str) -> dict[str, float]:
    """Printed numbers from both runs together, in combined standard errors, ours enlarged where the runs disagree."""
    scale = enlargement([pull for _, pull in differences(table, rows, quantity)])
    pulls: dict[str, float] = {}
    for row in rows:
        found, ours = table.row(row, method, quantity), together(table, row, quantity)
        if found is None or found.published is None or found.rel_error_published is None or ours is None:
            continue
        pull = difference_in_sigmas(found.published, found.published_sigma, ours[0], scale * ours[1])
        pulls |= {} if pull is None else {row: pull}
    return pulls


def doubts(table: Table, rows: Sequence[str], quantities: dict[str, str]) -> list[str]:
    """``p = 0.007 in energies`` for each quantity (with its name) in which the runs disagree."""
    found = []
    for quantity, name in quantities.items():
        pulls = [pull for _, pull in differences(table, rows, quantity)]
        chance = chi_squared(pulls)[1] if pulls else 1.0
        found += [f"p = {chance:.1g} in {name}"] if chance < UNLIKELY else []
    return found
