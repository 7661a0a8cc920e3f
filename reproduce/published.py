"""The numbers that papers print, typed in once in ``<paper>/published.csv``."""

from __future__ import annotations

import csv
import functools
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from reproduce.artefact import FOLDER

VsPaper = Literal["agrees", "lower", "higher", "different-system", "no-number", "published-only", "failed", "not-run"]
AGREEMENT_SIGMAS = 2.0


@dataclass(frozen=True)
class Published:
    """One printed number; ``text`` keeps the printed digits."""

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
        """The printed error, or half the last digit where it is missing or zero."""
        return self.sigma if self.sigma else self.half_last_digit

    @property
    def shown_unit(self) -> str:
        """``total``, ``per site`` or ``per site, spin-1/2``."""
        return self.unit if self.convention == "pauli" else f"{self.unit}, {self.convention}"

    def shown(self) -> str:
        """As printed, ``-435.4 ± 0.1``."""
        return self.text if self.sigma is None else f"{self.text} ± {self.sigma:g}"


@functools.cache
def published(paper: str) -> tuple[Published, ...]:
    """Every number of a paper."""
    with open(FOLDER / paper / "published.csv", newline="", encoding="utf-8") as file:
        return tuple(
            Published(
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
            )
            for row in csv.DictReader(file)
        )


def vs_paper(value: float, sigma: float | None, number: Published | None) -> VsPaper:
    """``agrees`` within two combined standard errors, else ``lower`` or ``higher``; ``no-number`` without a number."""
    if number is None:
        return "no-number"
    allowed = AGREEMENT_SIGMAS * ((sigma or 0.0) ** 2 + number.effective_sigma**2) ** 0.5
    difference = value - number.value
    if abs(difference) <= allowed:
        return "agrees"
    return "lower" if difference < 0 else "higher"
