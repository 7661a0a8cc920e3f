"""Extra figure: what the two priors learn, subspace floor and unique fraction against the training step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pipeline.analysis.verdict import relative_error, vanishes
from pipeline.base.numbers.formatting import relative
from pipeline.base.numbers.result import Curve
from reproduce.artefact import Artefact, Cell, Claim, Rendering, yes_no
from reproduce.nf_nqs import shared
from reproduce.tables import Table

ROW = "N30-L15"
PHYSICS = ("system.n_sites=30", "system.range=15", "system.coupling=1.0")
PRIORS = {"bimodal": "two Gaussians at ±1 (paper)", "normal": "standard normal"}
SEEDS = (0, 1, 2)
UNIQUE_RULE = 0.9
"""Section IV.B: training stops when the unique fraction is below this in all subspaces."""
WATCH = ("train.method.stop=floor", "train.method.patience=1000000")
"""Records the floor of every step's fresh draws and never stops: the figure shows the whole training."""


@dataclass(frozen=True)
class Course:
    """One training: relative floor errors and unique fractions by step, and the step at which the paper would stop."""

    prior: str
    seed: int
    errors: tuple[float, ...]
    unique: tuple[float, ...]
    stop: int | None

    @property
    def best(self) -> int:
        """Step with the lowest floor."""
        return min(range(len(self.errors)), key=lambda step: self.errors[step])


def cells() -> list[Cell]:
    """One training a prior and seed, the same budget for both."""
    made = [
        Cell(ROW, prior, (*PHYSICS, f"train.method.prior={prior}", *WATCH), (), SEEDS, stages=("train",))
        for prior in PRIORS
    ]
    return [*made, shared.reference_cell(ROW, PHYSICS)]


def courses(table: Table) -> list[Course]:
    """Every finished training, by prior and seed."""
    reference = table.reference(ROW, "energy")
    found: dict[tuple[str, int], dict[str, Curve]] = {}
    for done, curve in table.curves():
        found.setdefault((done.task.cell.method, done.task.seed), {})[curve.y_name] = curve
    made = []
    for (prior, seed), curves in found.items():
        if reference is not None and not vanishes(reference) and "floor_mean" in curves:
            errors = tuple(relative_error(floor, reference.value) for floor in curves["floor_mean"].y)
            largest = curves["unique_fraction_max"].y
            stop = next((step for step, fraction in enumerate(largest) if fraction < UNIQUE_RULE), None)
            made.append(Course(prior, seed, errors, curves["unique_fraction_mean"].y, stop))
    return made


def render(table: Table) -> Rendering:
    """A line a training; floor and unique fraction against the step, one above the other."""
    found = courses(table)
    header = ["prior", "seed", "steps", "floor error, first step", "paper's rule fires at step"]
    header += ["floor error there", "best step", "floor error, best", "unique fraction, best", "unique fraction, last"]
    return Rendering(
        header,
        [_line(course) for course in found],
        claims(found),
        [
            "The floor is the mean over the subspaces of one step of the lowest eigenvalue of H in a fresh draw: an "
            "upper bound of the ground-state energy that does not depend on the NQS. The unique fraction is the number "
            "of different states over the number of draws.",
            "Both priors train with the same budget, rates and seeds; no stopping rule is applied.",
        ],
        lambda figure: _draw(found, figure),
        (6.4, 5.6),
        "Relative error of the subspace floor (top) and unique fraction (bottom) of each step's fresh draws, one line "
        "a seed. The cross marks the step at which the paper's stopping rule fires.",
    )


def _line(course: Course) -> list[str]:
    best, stop = course.best, course.stop
    return [
        PRIORS[course.prior],
        str(course.seed),
        str(len(course.errors)),
        relative(course.errors[0]),
        "never" if stop is None else str(stop),
        "–" if stop is None else relative(course.errors[stop]),
        str(best),
        relative(course.errors[best]),
        f"{course.unique[best]:.2g}",
        f"{course.unique[-1]:.2g}",
    ]


def claims(found: list[Course]) -> list[Claim]:
    """Sentences about the prior and the stopping rule."""
    by_prior = {prior: [c for c in found if c.prior == prior] for prior in PRIORS}
    concentrated = [c.stop is not None for c in by_prior["bimodal"]]
    fired = [c.stop is not None for c in by_prior["normal"]]
    stopped = [c for c in found if c.stop is not None]
    early = [f"{c.prior} {relative(c.errors[c.stop or 0])} → {relative(c.errors[c.best])}" for c in stopped]
    uniform = [c.unique[0] > UNIQUE_RULE for c in found]
    return [
        Claim(
            "the initial discretised posterior should be uniform on B, made so by a prior with equal weight in the "
            "regions and a flow close to the identity",
            "Section III.C",
            yes_no(uniform),
            "unique fractions of the first step: " + ", ".join(f"{c.prior} {c.unique[0]:.2g}" for c in found),
        ),
        Claim(
            "training with the bimodal prior concentrates on few states, so that unique samples drop below 90 %",
            "Section IV.B",
            yes_no(concentrated),
            f"within the steps of this scale; with the normal prior: {yes_no(fired)}",
        ),
        Claim(
            "the flow has converged when fewer than 90 % of the draws are unique",
            "Section IV.B",
            yes_no([c.errors[c.stop or 0] <= 2 * c.errors[c.best] for c in stopped]),
            "floor error where the rule fires → lowest one: "
            + ("; ".join(early) or "it never fires")
            + " (seen if within a factor 2)",
        ),
    ]


def _draw(found: list[Course], figure: Any) -> None:
    top, bottom = figure.subplots(2, 1, sharex=True)
    for course in found:
        colour = f"C{list(PRIORS).index(course.prior)}"
        label = PRIORS[course.prior] if course.seed == SEEDS[0] else None
        for axes, values in ((top, course.errors), (bottom, course.unique)):
            axes.plot(range(len(values)), values, color=colour, lw=1, alpha=0.8, label=label)
            if course.stop is not None:
                axes.plot([course.stop], [values[course.stop]], "x", color=colour)
    bottom.axhline(UNIQUE_RULE, color="grey", lw=1, ls="--")
    top.set_yscale("log")
    top.set_ylabel("relative error of the floor")
    bottom.set_ylabel("unique fraction")
    bottom.set_xlabel("training step")
    top.legend(frameon=False, fontsize=8)


ARTEFACT = Artefact(
    "nf_nqs", "priors", "Extra figure: what the two priors learn (N = 30, L = 15, V = 1)", cells, render
)
