"""Extra figure: what the two priors learn, subspace floor and unique fraction against the training step."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from pipeline.analysis.verdict import relative_error, vanishes
from pipeline.base.numbers.formatting import relative
from pipeline.base.numbers.result import Curve
from reproduce.artefact import Artefact, Cell, Claim, Rendering
from reproduce.nf_nqs import shared
from reproduce.nf_nqs.judging import Seen, judged, of_text
from reproduce.published import published
from reproduce.tables import Finished, Table

ROW = "N30-L15"
PHYSICS = ("system.n_sites=30", "system.range=15", "system.coupling=1.0")
PRIORS = {"bimodal": "two Gaussians at ±1 (paper)", "normal": "standard normal"}
SEEDS = (0, 1, 2)
WATCH = ("train.method.stop=floor", "train.method.patience=1000000")
"""Records the floor of every step's fresh draws and never stops: the figure shows the whole training."""
COLLAPSED = 0.01
"""Unique fraction below which a flow proposes hardly more than one state."""
UNIFORM_SIGMAS = 3.0
"""Deviation of the mean square of site means, or of pairs, from that of uniform draws which is not chance."""


@dataclass(frozen=True)
class Course:
    """One training.

    Attributes:
        steps: at which it is known; all of them, but of a report that is rendered anew from thinned curves.
        errors: relative errors of the floor.
        unique: unique fractions, None where they are not known.
        fires: where in ``steps`` the paper's rule fires, or None.
        cut: a training that is cut against the paper's, so that what it does not do proves nothing.
        sites, pairs: mean squares of the site means and pairs of the first step, times the number of its draws: 1 for
            uniform draws; None where they were not recorded.
        n_sites: N.
        draws: |S| of one subspace; None where it is not known.
    """

    prior: str
    seed: int
    steps: tuple[int, ...]
    errors: tuple[float, ...]
    unique: tuple[float | None, ...]
    fires: int | None
    cut: bool
    sites: float | None = None
    pairs: float | None = None
    n_sites: int = 30
    draws: int | None = None

    @property
    def best(self) -> int:
        """Where in ``steps`` the floor is lowest."""
        return min(range(len(self.errors)), key=lambda k: self.errors[k])

    @property
    def whole(self) -> bool:
        """Whether every step is known."""
        return self.steps == tuple(range(len(self.steps)))

    @property
    def collapsed(self) -> bool:
        """Whether hardly any draws of the last step are different, and its floor is above the lowest one."""
        last = self.unique[-1]
        return last is not None and last < COLLAPSED and self.errors[-1] > self.errors[self.best]

    @property
    def uniform(self) -> Seen:
        """Whether site means and pairs of the first draws are those of uniform ones; None where they are unknown.

        The mean square of c uncorrelated numbers has the relative variance 2/c.
        """
        if self.sites is None or self.pairs is None:
            return None
        counts = self.n_sites, self.n_sites * (self.n_sites - 1) / 2
        found = zip((self.sites, self.pairs), counts, strict=True)
        return all(abs(square - 1) * math.sqrt(count / 2) <= UNIFORM_SIGMAS for square, count in found)


def unique_rule() -> float:
    """Section IV.B: training stops when the unique fraction is below this in all subspaces."""
    return of_text("unique_fraction_at_stop").value / 100


def cells() -> list[Cell]:
    """One training a prior and seed, the same budget for both."""
    made = [
        Cell(ROW, prior, (*PHYSICS, f"train.method.prior={prior}", *WATCH), (), SEEDS, stages=("train",))
        for prior in PRIORS
    ]
    return [*made, shared.reference_cell(ROW, PHYSICS)]


def courses(table: Table) -> list[Course]:
    """Every finished training, by prior and seed; as kept by the report where it is rendered anew."""
    kept = table.kept.get("courses")
    if kept:
        draws = [d.task.run.train.method.draws for d in table.finished if d.task.cell.method in PRIORS]
        return [_restored({"draws": draws[0] if draws else None, **one}) for one in kept]
    reference = table.reference(ROW, "energy")
    found: dict[tuple[str, int], tuple[Finished, dict[str, Curve]]] = {}
    for done, curve in table.curves():
        found.setdefault((done.task.cell.method, done.task.seed), (done, {}))[1][curve.y_name] = curve
    made = [
        course_of(done, curves, reference.value)
        for done, curves in found.values()
        if reference is not None and not vanishes(reference) and "floor_mean" in curves
    ]
    written = {(line.get("prior"), line.get("seed")): line for line in table.lines}
    return [c if c.whole else completed(c, written.get((PRIORS[c.prior], str(c.seed)), {})) for c in made]


def _restored(kept: Mapping[str, Any]) -> Course:
    """A course from JSON, which has lists."""
    values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in kept.items()}
    return Course(**values)


def course_of(done: Finished, curves: dict[str, Curve], reference: float) -> Course:
    """A training from its metrics.

    Args:
        reference: energy of the ground state.
    """
    floors = curves["floor_mean"]
    largest = dict(zip(curves["unique_fraction_max"].x, curves["unique_fraction_max"].y, strict=True))
    mean = dict(zip(curves["unique_fraction_mean"].x, curves["unique_fraction_mean"].y, strict=True))
    # a thinned curve that never changes has its ends only
    constant = len(set(mean.values())) == 1
    unique = tuple(mean[floors.x[0]] if constant else mean[x] for x in floors.x)
    fires = next((k for k, x in enumerate(floors.x) if largest.get(x, math.inf) < unique_rule()), None)
    method = done.task.run.train.method
    sites, pairs = (
        method.draws * method.subspaces * curves[name].y[0] ** 2 if name in curves else None
        for name in ("site_mean_rms", "pair_mean_rms")
    )
    return Course(
        prior=done.task.cell.method,
        seed=done.task.seed,
        steps=tuple(int(x) for x in floors.x),
        errors=tuple(relative_error(floor, reference) for floor in floors.y),
        unique=unique,
        fires=fires,
        cut=any(cut.startswith("train.steps:") for cut in done.task.cuts),
        sites=sites,
        pairs=pairs,
        n_sites=done.task.run.system.size,
        draws=method.draws,
    )


def completed(course: Course, line: Mapping[str, str]) -> Course:
    """A course of thinned curves with what ``table.csv`` of its report says of the steps between, to its digits."""
    points = {step: (e, u) for step, e, u in zip(course.steps, course.errors, course.unique, strict=True)}
    fires, best = line.get("paper's rule fires at step", ""), line.get("best step", "")
    if best.isdigit():
        points.setdefault(int(best), (float(line["floor error, best"]), float(line["unique fraction, best"])))
    if fires.isdigit():
        points.setdefault(int(fires), (float(line["floor error there"]), None))
    steps = tuple(sorted(points))
    errors, unique = zip(*(points[step] for step in steps), strict=True)
    known = steps.index(int(fires)) if fires.isdigit() else None if fires == "never" else course.fires
    return replace(course, steps=steps, errors=errors, unique=unique, fires=known)


def render(table: Table) -> Rendering:
    """A line a training; floor and unique fraction against the step, one above the other."""
    found = courses(table)
    header = ["prior", "seed", "steps", "floor error, first step", "paper's rule fires at step"]
    header += ["floor error there", "best step", "floor error, best", "unique fraction, best", "unique fraction, last"]
    notes = [
        "The floor is the mean over the subspaces of one step of the lowest eigenvalue of H in a fresh draw: an "
        "upper bound of the ground-state energy that does not depend on the NQS. The unique fraction is the number "
        "of different states over the number of draws.",
        "Both priors train with the same budget, rates and seeds; no stopping rule is applied.",
    ]
    if not all(course.whole for course in found):
        notes.append(
            "Of some trainings only every few steps are known, and those where the rule fires and the floor is lowest."
        )
    return Rendering(
        header,
        [_line(course) for course in found],
        claims(found),
        notes,
        lambda figure: _draw(found, figure),
        (7.0, 5.0),
        "Relative error of the subspace floor (top) and unique fraction (bottom) of each step's fresh draws, one line "
        "a seed. Crosses mark the steps at which the paper's stopping rule fires, on the lines.",
        verdict=verdict(found),
        kept={"courses": [asdict(course) for course in found]},
        keys=2,
    )


def _line(course: Course) -> list[str]:
    best, fires = course.best, course.fires
    return [
        PRIORS[course.prior],
        str(course.seed),
        str(course.steps[-1] + 1),
        relative(course.errors[0]),
        "never" if fires is None else str(course.steps[fires]),
        "–" if fires is None else relative(course.errors[fires]),
        str(course.steps[best]),
        relative(course.errors[best]),
        _fraction(course.unique[best]),
        _fraction(course.unique[-1]),
    ]


def _fraction(unique: float | None) -> str:
    return "–" if unique is None else f"{unique:.2g}"


def verdict(found: Sequence[Course]) -> list[str]:
    """A sentence a prior."""
    sentences = []
    for prior, name in PRIORS.items():
        mine = [c for c in found if c.prior == prior]
        fired = [c for c in mine if c.fires is not None]
        if not mine:
            continue
        lowest = " to ".join(dict.fromkeys(relative(e) for e in _ends([c.errors[c.best] for c in mine])))
        text = f"{name[0].upper()}{name[1:]}: the paper's rule fires in {len(fired)} of {len(mine)} trainings"
        text += f" of {mine[0].steps[-1] + 1} steps, the lowest floor has a relative error of {lowest}"
        text += _collapse(mine)
        if len(fired) < len(mine) and any(c.cut for c in mine):
            text += "; the paper trains until its rule fires, so that whether it would is undecided"
        sentences.append(text + ".")
    return sentences


def _collapse(mine: Sequence[Course]) -> str:
    """How many trainings go on to collapse, and what is left of them at their last step."""
    gone = [c for c in mine if c.collapsed]
    if not gone:
        return ""
    error = " to ".join(dict.fromkeys(relative(e) for e in _ends([c.errors[-1] for c in gone])))
    fractions = [u for c in gone if (u := c.unique[-1]) is not None]
    draws = gone[0].draws
    if draws is None:
        share = " to ".join(dict.fromkeys(f"{100 * u:.2g}" for u in _ends(fractions))) + " % of the draws are different"
    else:
        counts = " to ".join(dict.fromkeys(f"{draws * u:.0f}" for u in _ends(fractions)))
        share = f"{counts} of {draws} draws are different"
    return (
        f"; the flow does not stay there: by the last step {len(gone)} of {len(mine)} have collapsed, {share} and the "
        f"floor has a relative error of {error}"
    )


def _ends(values: Sequence[float]) -> tuple[float, float]:
    return min(values), max(values)


def claims(found: Sequence[Course]) -> list[Claim]:
    """Sentences about the prior and the stopping rule."""
    return [_uniform(found), _concentrates(found), _converged(found)]


def _uniform(found: Sequence[Course]) -> Claim:
    known = [f"{c.prior} {c.sites:.2f} / {c.pairs:.2f}" for c in found if c.sites is not None and c.pairs is not None]
    evidence = "site means and pairs of the first draws were not recorded, without which nothing is known"
    if known:
        evidence = "mean squares of the site means ⟨σ_i⟩ / of the pairs ⟨σ_i σ_j⟩ of the first step's draws, 1 for "
        evidence += "uniform ones: " + ", ".join(known)
    return Claim(
        "the initial discretised posterior should be uniform on B, made so by a prior with equal weight in the "
        "regions and a flow close to the identity",
        "Section III.C",
        judged([c.uniform for c in found]),
        f"{evidence}; ours starts at the identity, where either prior makes it so by construction",
    )


def _concentrates(found: Sequence[Course]) -> Claim:
    """Of the paper's prior; a training that is cut and has not concentrated yet decides nothing."""
    by_prior = {prior: [_fired(c) for c in found if c.prior == prior] for prior in PRIORS}
    last = [c.unique[-1] for c in found if c.prior == "bimodal"]
    lengths = sorted({c.steps[-1] + 1 for c in found if c.prior == "bimodal"})
    return Claim(
        f"training with the bimodal prior concentrates on few states, so that unique samples drop below "
        f"{100 * unique_rule():.0f} %",
        "Section IV.B",
        judged(by_prior["bimodal"]),
        f"unique fractions after {', '.join(map(str, lengths)) or 'no'} steps: {', '.join(map(_fraction, last))}; "
        f"the paper trains until the rule fires (undecided where a shorter training has not); with the normal prior: "
        + judged(by_prior["normal"]),
    )


def _fired(course: Course) -> Seen:
    return True if course.fires is not None else None if course.cut else False


def _converged(found: Sequence[Course]) -> Claim:
    """Of the paper's prior, by the paper's accuracy: the standard error of the energy it prints for this system."""
    printed = next(n for n in published("nf_nqs") if (n.artefact, n.cell, n.method) == ("nf_nqs/table1", ROW, "nqs+nf"))
    accuracy = printed.effective_sigma / abs(printed.value)
    seen: dict[str, list[Seen]] = {prior: [] for prior in PRIORS}
    early = []
    for course in found:
        if course.fires is None:
            seen[course.prior].append(None)
            continue
        first, best = course.errors[course.fires], course.errors[course.best]
        seen[course.prior].append(first - best <= accuracy)
        early.append(f"{course.prior} {relative(first)} → {relative(best)}")
    return Claim(
        f"the flow has converged when fewer than {100 * unique_rule():.0f} % of the draws are unique",
        "Section IV.B",
        judged(seen["bimodal"]),
        f"with the normal prior, which is ours: {judged(seen['normal'])}; floor error where the rule fires → lowest "
        f"one: {'; '.join(early) or 'it never fires'} (seen if what is left to gain is below the error of the paper's "
        f"energy, {accuracy:.1e}; undecided where the rule has not fired)",
    )


def _on_line(step: int, known: Sequence[tuple[int, float]]) -> float:
    """Height of a line at a step, between its points where the step itself is not known."""
    after = next((k for k, (x, _) in enumerate(known) if x >= step), len(known) - 1)
    (x1, y1), (x0, y0) = known[after], known[max(0, after - 1)]
    return y1 if x1 <= step or x1 == x0 else y0 + (y1 - y0) * (step - x0) / (x1 - x0)


def _draw(found: Sequence[Course], figure: Any) -> None:
    top, bottom = figure.subplots(2, 1, sharex=True)
    for course in found:
        colour = f"C{list(PRIORS).index(course.prior)}"
        label = PRIORS[course.prior] if course.seed == min(c.seed for c in found if c.prior == course.prior) else None
        for axes, values in ((top, course.errors), (bottom, course.unique)):
            known = [(x, y) for x, y in zip(course.steps, values, strict=True) if y is not None]
            axes.plot(*zip(*known, strict=True), color=colour, lw=1, alpha=0.8, label=label)
            if course.fires is not None:
                at = course.steps[course.fires]
                axes.plot([at], [_on_line(at, known)], "x", color=colour, ms=7, mew=1.5, zorder=3)
    bottom.axhline(unique_rule(), color="grey", lw=1, ls="--")
    top.set_yscale("log")
    top.set_ylabel("relative error of the floor")
    bottom.set_ylabel("unique fraction")
    bottom.set_xlabel("training step")
    top.legend(frameon=False, fontsize=8)


ARTEFACT = Artefact(
    "nf_nqs", "priors", "Extra figure: what the two priors learn (N = 30, L = 15, V = 1)", cells, render
)
