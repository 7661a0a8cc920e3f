"""Trainings of Figure 3 at their snapshots."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pipeline.analysis.verdict import relative_error
from pipeline.base.numbers.result import Curve, Estimate
from reproduce.tables import Table

THINNINGS = (300, 100, 50, 10)
"""k of the caption: "samples are taken every k ∈ {10, 50, 100, 300} steps in the chain"."""
SIGMAS = 2.0
LABELS = {"direct": "direct sampling", **{f"mcmc-k{k}": f"MCMC, k = {k}" for k in THINNINGS}}

Quantity = Literal["energy", "variance"]


@dataclass(frozen=True)
class Course:
    """One training, at its snapshots: fresh, directly drawn samples of each.

    Attributes:
        method: ``direct`` or ``mcmc-k10``, ...
        steps, seconds: of training, per snapshot.
        energies, variances: total energies and ⟨H²⟩ - ⟨H⟩², with standard errors.
        seed: of the training.
        several: whether there are trainings of other seeds.
    """

    method: str
    steps: tuple[float, ...]
    seconds: tuple[float, ...]
    energies: tuple[float, ...]
    energy_sigmas: tuple[float, ...]
    variances: tuple[float, ...]
    variance_sigmas: tuple[float, ...]
    seed: int = 0
    several: bool = False

    @property
    def label(self) -> str:
        return LABELS[self.method] + (f" (seed {self.seed})" if self.several else "")

    @property
    def seconds_a_step(self) -> float:
        return self.seconds[-1] / self.steps[-1]

    def energy(self, k: int) -> Estimate:
        """At snapshot ``k``."""
        sigma = self.energy_sigmas[k] if self.energy_sigmas else None
        return Estimate("energy", self.energies[k], sigma, "standard-error", unit="total", bound="variational")

    def last(self, quantity: Quantity) -> Estimate:
        """After the last iteration."""
        if quantity == "energy":
            return self.energy(-1)
        return Estimate(quantity, self.variances[-1], self.variance_sigmas[-1], "standard-error", unit="total^2")

    def compatible_after(self, other: Course) -> float | None:
        """Seconds until the first snapshot that is not above the last of ``other`` by more than 2σ, or None."""
        goal = other.last("energy")
        for k, seconds in enumerate(self.seconds):
            own = self.energy(k)
            if own.value - goal.value <= SIGMAS * math.hypot(goal.sigma or 0.0, own.sigma or 0.0):
                return seconds
        return None


def courses(table: Table) -> list[Course]:
    """Every finished training, direct sampling first, then by k and seed."""
    found: dict[tuple[str, int], dict[tuple[str, str], Curve]] = {}
    for done, curve in table.curves():
        if curve.name.endswith("_along_training"):
            found.setdefault((done.task.cell.method, done.task.seed), {})[curve.y_name, curve.x_name] = curve
    methods = [method for method, _ in found]
    made = []
    for method, seed in sorted(found, key=lambda key: (list(LABELS).index(key[0]), key[1])):
        curves = found[method, seed]
        energy, variance = (curves[name, "step"] for name in ("energy", "variance"))
        clock = curves["energy", "seconds"].x
        values = (energy.x, clock, energy.y, energy.sigma, variance.y, variance.sigma)
        made.append(Course(method, *values, seed=seed, several=methods.count(method) > 1))
    return made


def lowest(found: Sequence[Course]) -> Estimate | None:
    """The "minimal energy found for this system in our experiments" (caption)."""
    every = [course.energy(k) for course in found for k in range(len(course.energies))]
    return min(every, key=lambda e: e.value, default=None)


def distance(energy: Estimate, goal: Estimate) -> tuple[float, float | None]:
    """Signed relative difference, with the combined standard error; None where that of the energy is unknown."""
    sigma = None if energy.sigma is None else math.hypot(energy.sigma, goal.sigma or 0.0) / abs(goal.value)
    return relative_error(energy.value, goal.value), sigma
