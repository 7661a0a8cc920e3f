"""Whether a claim is seen: yes, no, or undecided where our errors or the number of our runs cannot tell."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal, get_args

from pipeline.analysis.verdict import relative_error
from reproduce.artefact import Claim
from reproduce.tables import CellRow

Answer = Literal["yes", "by construction", "no", "undecided"]
SIGMAS = 2.0
POWER = 2.0
"""Our error may be this many times the accuracy that it is to confirm."""
UNLIKELY, IMPOSSIBLE = 0.05, 0.001
"""Chances of a χ² as large as the one found: below the first two series are in doubt, below the second they differ."""


def tally(answers: Sequence[Answer]) -> str:
    """The answer where there is one only, ``not run`` without any, else how many of each."""
    if not answers:
        return "not run"
    counts = Counter(answers)
    if len(counts) == 1:
        return answers[0]
    shown = [f"{answer} in {counts[answer]}" for answer in get_args(Answer) if counts[answer]]
    return ", ".join(shown) + f" of {len(answers)}"


def with_exponent(value: float, sigma: float | None) -> str:
    """A small number as papers print it, ``+4.5(4)e-5``; without an error where it is unknown or 0."""
    if not sigma or not math.isfinite(sigma):
        shown = f"{value:+.1e}"
    else:
        from uncertainties import ufloat

        shown = f"{ufloat(value, sigma):+.1ueS}"
    return shown.replace("e-0", "e-").replace("e+00", "")


def magnitude(value: float, sigma: float | None = None) -> str:
    """``2.7e-4`` or, with an error, ``2.7(6)e-4``."""
    return with_exponent(abs(value), sigma).removeprefix("+")


def signed(value: float, sigma: float | None) -> str:
    """``-0.7(2)``, ``+0.00(6)``; two digits without an error."""
    if not sigma or not math.isfinite(sigma):
        return f"{value:+.2g}"
    from uncertainties import ufloat

    return f"{ufloat(value, sigma):+.1uS}"


@dataclass(frozen=True)
class Accuracy:
    """How far ours and the printed number are from the reference, both relative to its size and signed.

    Attributes:
        row: name of the row.
        ours, printed: the deviations.
        ours_sigma: combined with that of the reference; None if unknown.
        printed_sigma: the same for the printed number, 0 where none is printed.
    """

    row: str
    ours: float
    ours_sigma: float | None
    printed: float
    printed_sigma: float

    @property
    def claimed(self) -> float:
        """The paper's own accuracy: its deviation, or what the comparison can resolve of it where that is larger."""
        return max(abs(self.printed), self.printed_sigma)

    @property
    def answer(self) -> Answer:
        """Whether ours is as accurate as the paper's.

        ``no`` if ours deviates by more, beyond twice its error; ``undecided`` if not, but our error is too large to say
        that it does not.
        """
        if self.ours_sigma is None or math.isnan(self.ours_sigma):
            return "undecided"
        if abs(self.ours) - SIGMAS * self.ours_sigma > self.claimed:
            return "no"
        return "yes" if self.ours_sigma <= POWER * self.claimed else "undecided"

    @property
    def factor(self) -> float:
        """How many times farther off ours is than the paper claims; infinite where nothing limits the claim."""
        return abs(self.ours) / self.claimed if self.claimed else math.inf

    @property
    def evidence(self) -> str:
        return (
            f"{self.row} {with_exponent(self.ours, self.ours_sigma)}, printed "
            f"{with_exponent(self.printed, self.printed_sigma)}"
        )


def accuracy(row: CellRow | None) -> Accuracy | None:
    """Of a row with ours, a printed number of the same system and a reference that does not vanish; else None."""
    if row is None or row.ours is None or row.published is None or not row.reference:
        return None
    if row.rel_error_published is None:
        return None
    size, quantum = abs(row.reference), row.reference_sigma or 0.0
    return Accuracy(
        row.cell,
        relative_error(row.ours, row.reference),
        None if row.ours_sigma is None else math.hypot(row.ours_sigma, quantum) / size,
        row.rel_error_published,
        math.hypot(row.published_sigma or 0.0, quantum) / size,
    )


def as_accurate(found: Sequence[Accuracy]) -> tuple[str, str]:
    """The answers together, and what they rest on."""
    evidence = "; ".join(one.evidence for one in found)
    rule = f" (seen if ours is no farther off than the printed number, within {SIGMAS:g} σ)" if found else ""
    return tally([one.answer for one in found]), evidence + rule


def of_printed(found: Sequence[Accuracy]) -> str:
    """How far the printed numbers are from the reference, or that its errors hide it: no error is called a distance."""
    if all(abs(one.printed) <= SIGMAS * one.printed_sigma for one in found):
        resolved = [one.printed_sigma for one in found]
        between = " to ".join(dict.fromkeys(magnitude(limit(resolved)) for limit in (min, max)))
        return f"within {SIGMAS:g} of its errors of {between}"
    return f"at most {magnitude(max(abs(one.printed) for one in found))}"


def of_one_training(found: Sequence[Accuracy]) -> str:
    """Why a single training can be said to miss the paper's accuracy; nothing where none is."""
    factors = [one.factor for one in found if one.answer == "no"]
    if not factors:
        return ""
    between = " to ".join(dict.fromkeys(f"{float(f'{limit(factors):.2g}'):g}" for limit in (min, max)))
    return (
        "There is one training of each state: our errors are of its samples, and how much trainings differ by their "
        f"seed is not known. Where the answer is no, ours is {between} times as far off as the paper claims: only a "
        "seed that is better by that factor would change it. Differences of a few σ, as between the trainings of "
        "Figure 3, are no larger than seeds may make, and one training does not decide them."
    )


def difference_in_sigmas(a: float, a_sigma: float | None, b: float, b_sigma: float | None) -> float | None:
    """(a - b) in combined standard errors; None where they are unknown or zero."""
    sigma = math.hypot(a_sigma or 0.0, b_sigma or 0.0)
    return (a - b) / sigma if sigma and math.isfinite(sigma) else None


def limit_of_few(errors: Sequence[tuple[float, int]]) -> float:
    """Combined standard errors that a difference of means exceeds by chance in 1 of 20, where errors are of few values.

    Student's t with the degrees of freedom of Welch (Biometrika 34, 28 (1947)): 1.96 of many values, 2.8 of two means
    of three with equal errors, 4.3 where one of these errors is much larger or there is one mean of three.

    Args:
        errors: σ of each mean and the number of values it is from; infinity where no mean has two values and a σ.
    """
    squares = [(sigma**2, n - 1) for sigma, n in errors if n > 1]
    total = sum(square for square, _ in squares)
    return _two_sided(total**2 / sum(square**2 / freedom for square, freedom in squares)) if total else math.inf


@cache
def _two_sided(degrees: float) -> float:
    from scipy import stats

    return float(stats.t.isf(UNLIKELY / 2.0, degrees))


FEWEST_TO_RANK = 3
"""Values of each of two sets that ranks can tell apart in all but 1 of 20: three below three."""


def ranked_below(low: Sequence[float], high: Sequence[float]) -> bool | None:
    """Whether values of one set lie below those of another by more than chance, in 1 of 20 without a difference.

    By ranks (Mann and Whitney, Ann. Math. Stat. 18, 50 (1947)), exactly: errors of trainings are skewed, and a mean
    that one bad seed moves far has a standard error as large. Of three and three all must lie below all. None of fewer.
    """
    return None if min(len(low), len(high)) < FEWEST_TO_RANK else _below(tuple(low), tuple(high))


@cache  # the arena asks the same of every pair of methods many times
def _below(low: tuple[float, ...], high: tuple[float, ...]) -> bool:
    from scipy import stats

    chance = stats.mannwhitneyu(low, high, alternative="less", method="exact").pvalue
    return bool(chance <= UNLIKELY * (1.0 + 1e-9))


def chi_squared(pulls: Sequence[float]) -> tuple[float, float]:
    """χ² of independent differences in standard errors, and the chance of one as large."""
    from scipy.special import gammaincc

    squares = sum(pull**2 for pull in pulls)
    return squares, float(gammaincc(len(pulls) / 2, squares / 2))


def consistent(text: str, location: str, pulls: Sequence[tuple[str, float]]) -> Claim:
    """Whether independent differences, in standard errors, are together what chance gives: their χ²."""
    if not pulls:
        return Claim(text, location, "not run", "")
    answer, together = by_chance([pull for _, pull in pulls])
    shown = "; ".join(f"{row} {pull:+.1f} σ" for row, pull in pulls)
    return Claim(text, location, answer, f"{shown}; {together}")


def by_chance(pulls: Sequence[float]) -> tuple[Answer, str]:
    """Whether independent differences, in standard errors, are together what chance gives, and their χ² in words."""
    squares, chance = chi_squared(pulls)
    answer: Answer = "yes" if chance >= UNLIKELY else "no" if chance < IMPOSSIBLE else "undecided"
    return answer, f"χ² = {squares:.1f} of {len(pulls)}, by chance in {chance:.1g}"
