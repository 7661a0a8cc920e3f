"""What a method reached on a system of the contest, and who is beaten by more than noise."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from reproduce.naqs.judgement import limit_of_few, ranked_below
from reproduce.tables import Finished, Table, own_seconds

BUDGETS = {"laptop": 8.0, "long": 80.0, "paper": 800.0}
"""Seconds of one core that a training is to take, by scale; none at ``smoke``."""
TOLERANCE = 0.3
"""Part of the budget, as realised, that a method may take more or less."""
NF = "nqs+nf"


@dataclass(frozen=True)
class Standing:
    """One method on one system.

    Attributes:
        errors: (E − E_ref)/|E_ref| of each seed.
        v_scores: N Var(E)/E² of each seed; empty where the variance is not estimated.
        seconds: of one core, of each seed: own work of the training.
        steps: of the training.
        doubt: why the energies are not to be relied upon.
    """

    row: str
    method: str
    errors: tuple[float, ...]
    v_scores: tuple[float, ...]
    seconds: tuple[float, ...]
    steps: int
    doubt: str = ""

    @property
    def error(self) -> float:
        """Mean over seeds, signed."""
        return statistics.fmean(self.errors)

    @property
    def sigma(self) -> float | None:
        """Standard error of the mean over seeds; None of a single one."""
        if len(self.errors) < 2:
            return None
        return statistics.stdev(self.errors) / math.sqrt(len(self.errors))

    @property
    def interval(self) -> float | None:
        """Half the width of the interval that holds the mean of many seeds in 19 of 20: Student's t times σ."""
        if self.sigma is None:
            return None
        return limit_of_few([(self.sigma, len(self.errors))]) * self.sigma if self.sigma else 0.0

    @property
    def v_score(self) -> float | None:
        """Mean over seeds."""
        return statistics.fmean(self.v_scores) if self.v_scores else None

    @property
    def spent(self) -> float:
        """Seconds of one core a training, the mean over seeds."""
        return statistics.fmean(self.seconds)

    def share(self, budget: float | None) -> float | None:
        """Of the budget, as realised, that was spent; None without one."""
        return self.spent / budget if budget else None

    def off(self, budget: float | None) -> bool:
        """Whether a training took more or less than the budget by more than the tolerance."""
        share = self.share(budget)
        return share is not None and abs(share - 1.0) > TOLERANCE


def realised(found: Sequence[Standing], budget: float | None) -> float | None:
    """Seconds that a training's budget has become on the machine that computed: the median of all; None without one.

    Steps are fixed, so that a faster core shortens all trainings; what is unfair is what differs from the others.
    """
    return statistics.median(one.spent for one in found) if found and budget else None


def below(one: Standing, other: Standing) -> bool:
    """Whether the error of ``one`` is smaller by more than seeds scatter, in 1 of 20 by chance.

    By ranks of the seeds, and by Student's t where they are fewer than three.
    """
    ranked = ranked_below([abs(e) for e in one.errors], [abs(e) for e in other.errors])
    if ranked is not None:
        return ranked
    if one.sigma is None or other.sigma is None:
        return False
    errors = [(one.sigma, len(one.errors)), (other.sigma, len(other.errors))]
    sigma = math.hypot(one.sigma, other.sigma)
    limit = limit_of_few(errors) * sigma if sigma else 0.0
    return abs(other.error) - abs(one.error) > limit


def unbeaten(found: Sequence[Standing]) -> list[Standing]:
    """Those that no other one undercuts by more than noise; doubted ones neither win nor beat. None without a rival."""
    known = [one for one in found if not one.doubt]
    return [one for one in known if not any(below(other, one) for other in known)] if len(known) > 1 else []


def standings(table: Table) -> list[Standing]:
    """Of all methods whose seeds are finished, system by system, the smallest error first."""
    groups: dict[tuple[str, str], list[Finished]] = {}
    for done in table.finished:
        if done.task.cell.method != "reference":
            groups.setdefault((done.task.cell.row, done.task.cell.method), []).append(done)
    made = [one for (row, method), runs in groups.items() if (one := _standing(table, row, method, runs)) is not None]
    rows = list(dict.fromkeys(one.row for one in made))
    return sorted(made, key=lambda one: (rows.index(one.row), abs(one.error)))


def _standing(table: Table, row: str, method: str, runs: Sequence[Finished]) -> Standing | None:
    exact = table.reference(row, "energy")
    results = [done.result for done in runs if done.result is not None]
    if exact is None or not exact.value or len(results) < len(runs):
        return None
    energies = [result.estimate("energy") for result in results]
    return Standing(
        row,
        method,
        tuple((energy.value - exact.value) / abs(exact.value) for energy in energies),
        tuple(e.value for result in results for e in result.estimates if e.name == "v_score"),
        tuple(spent(done) for done in runs),
        max(done.found.step or 0 for done in runs),
        next((energy.doubt for energy in energies if energy.doubt), ""),
    )


def spent(done: Finished) -> float:
    """Seconds of own work on one core: of the training, and of NQS+NF of the inference too, which trains networks.

    What a run waited for cores that others had is left out, as far as it was recorded.
    """
    stages = [done.found.trained, done.found.inferred if done.task.cell.method == NF else None]
    return sum(own_seconds(entry) for entry in stages if entry is not None)
