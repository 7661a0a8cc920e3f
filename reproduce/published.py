"""The numbers that papers print, typed in once in ``<paper>/published.csv``."""

from __future__ import annotations

import csv
import functools
import math
from dataclasses import dataclass
from decimal import Decimal
from statistics import NormalDist
from typing import Literal

from pipeline.analysis.verdict import AGREEMENT_SIGMAS, no_verdict
from pipeline.base.numbers.result import Estimate
from reproduce.artefact import FOLDER

VsPaper = Literal[
    "agrees",
    "lower",
    "higher",
    "undecided",
    "not-comparable",
    "different-system",
    "no-number",
    "published-only",
    "failed",
    "not-run",
]
POWER_SIGMAS = AGREEMENT_SIGMAS + NormalDist().inv_cdf(0.95)
"""Distance at which two numbers fail to agree, within 2σ, in 95 of 100 repetitions: at 2σ it is every second one."""


NO_POWER = "with these errors the reference itself would agree too in more than 1 of 20 repetitions"
"""Reason of ``undecided``: an agreement that tells a printed number not from the reference."""


@dataclass(frozen=True)
class Published:
    """One printed number.

    Attributes:
        text: the printed digits.
        sigma: what is printed after ±, or None.
        sigma_units: how many units ``sigma`` is the spread over; None: it is a standard error.
        convention: of an energy, ``pauli`` or ``spin-1/2``; ``not-comparable`` of what is printed of other ensembles,
            ``none`` of ratios and counts.
    """

    artefact: str
    cell: str
    method: str
    quantity: str
    text: str
    sigma: float | None
    unit: str
    convention: str
    bound: str
    location: str
    sigma_units: int | None = None

    @property
    def value(self) -> float:
        return float(self.text)

    @property
    def half_last_digit(self) -> float:
        """Half a unit of the last printed digit."""
        exponent = Decimal(self.text).as_tuple().exponent
        assert isinstance(exponent, int)
        return 0.5 * 10.0**exponent

    @property
    def effective_sigma(self) -> float:
        """The printed standard error, or half the last digit where it is missing or zero.

        Of a printed spread over n units it is spread/√n and, as digits were chosen to show the spread, their rounding.
        """
        if not self.sigma:
            return self.half_last_digit
        if self.sigma_units is None:
            return self.sigma
        return math.hypot(self.sigma / math.sqrt(self.sigma_units), self.half_last_digit)

    @property
    def shown_unit(self) -> str:
        """``total``, ``per site`` or ``per site, spin-1/2``."""
        return self.unit if self.convention in ("pauli", "none") else f"{self.unit}, {self.convention}"

    def shown(self) -> str:
        """As printed, ``-435.4 ± 0.1``."""
        return self.text if self.sigma is None else f"{self.text} ± {self.sigma:g}"


@functools.cache
def published(paper: str) -> tuple[Published, ...]:
    """Every number of a paper; none of what no paper prints."""
    path = FOLDER / paper / "published.csv"
    if not path.is_file():
        return ()
    with open(path, newline="", encoding="utf-8") as file:
        return tuple(_number(row) for row in csv.DictReader(file))


def _number(row: dict[str, str]) -> Published:
    return Published(
        row["artefact"],
        row["cell"],
        row["method"],
        row["quantity"],
        row["value"],
        float(row["sigma"]) if row["sigma"] else None,
        row["unit"],
        row["convention"],
        row["bound"],
        row["location"],
        int(row["sigma_units"]) if row.get("sigma_units") else None,
    )


def vs_paper(ours: Estimate, number: Published | None, reference: Estimate | None = None) -> VsPaper:
    """How ours stands to the printed number: see :func:`judged`."""
    return judged(ours, number, reference)[0]


def judged(ours: Estimate, number: Published | None, reference: Estimate | None = None) -> tuple[VsPaper, str]:
    """The verdict on ours beside a printed number, and the reason of ``undecided``.

    ``agrees`` within two combined standard errors, else ``lower`` or ``higher``; ``undecided`` where our error is
    unknown, and where an agreement has no power: the reference is so close to the printed number that, measured anew
    with these errors, it would agree with it too in more than 1 of 20 cases (:data:`POWER_SIGMAS`); ``no-number``
    without a number.

    Args:
        reference: of the same quantity, in the same unit.
    """
    if number is None:
        return "no-number", ""
    if number.convention == "not-comparable":
        return "not-comparable", ""
    if reason := no_verdict(ours):
        return "undecided", reason
    sigma = math.hypot(ours.sigma or 0.0, number.effective_sigma)
    difference = ours.value - number.value
    if abs(difference) > AGREEMENT_SIGMAS * sigma:
        return ("lower" if difference < 0 else "higher"), ""
    if reference is not None and not _told_apart(reference, number, sigma):
        return "undecided", NO_POWER
    return "agrees", ""


def _told_apart(reference: Estimate, number: Published, sigma: float) -> bool:
    """Whether a comparison with errors ``sigma`` would see that a printed number is not the reference."""
    return abs(reference.value - number.value) > POWER_SIGMAS * math.hypot(sigma, reference.sigma or 0.0)
