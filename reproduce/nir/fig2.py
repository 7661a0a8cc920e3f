"""Figure 2: error of the sum of three levels with NIR and with Markov chains, against the field and along training."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reproduce.artefact import Artefact, Cell, Claim, Rendering, quoted
from reproduce.colours import style
from reproduce.naqs.judgement import FEWEST_TO_RANK, Answer, magnitude, ranked_below, tally
from reproduce.nir import shared
from reproduce.nir.fig4 import FIELDS
from reproduce.nir.shared import FERROMAGNET, MCMC, NAMES, NIR
from reproduce.tables import Table

SEEDS = (0, 1, 2)
"""Section 4.3: "averages over three runs with different random seeds"."""

ALONG = 0.1
"""Field of the right panel."""

PROMOTED = (ALONG, FERROMAGNET)
"""Fields of 6 × 6 sites whose trained states come with the repository."""

LARGE = ("gpu", "paper")
"""Scales that have 8 × 8 sites, and every lattice as the paper trains it."""

AT_LAPTOP = (1.0, 3.0)
"""Fields of 4 × 4 sites that ten minutes are to pay for; ours."""

MIXING = "r_hat_magnetisation"
"""Quantity near 1 where chains cross from one side of the order to the other."""

VARIANCE = "variance"
"""Estimate that says how near a state is to some sum of three levels."""

LISTED = 3
"""Fields whose errors the verdict names each."""

SEVERAL = 3.0
"""Spreads above the lowest levels from which on a state counts as one of others, ours."""

FACTOR = 2.0
"""An error this many times that of the other sampler counts as a gap, ours."""


@dataclass(frozen=True)
class Seed:
    """One training: relative error of the trace, its σ with that of the reference, and the spread of the energy.

    Attributes:
        spread: square root of the variance over configurations, relative, too; None: unknown.
        doubted: whether σ is in doubt, as of chains that disagree.
    """

    error: float
    sigma: float | None
    spread: float | None
    doubted: bool = False

    @property
    def excess(self) -> float:
        """The error in spreads; NaN where that is unknown."""
        if self.spread is None:
            return math.nan
        if not self.error:
            return 0.0
        return self.error / self.spread if self.spread else math.copysign(math.inf, self.error)

    @property
    def bounds(self) -> tuple[float, float] | None:
        """Of the absolute error, by 2 σ; None without σ."""
        if self.sigma is None:
            return None
        return max(0.0, abs(self.error) - 2.0 * self.sigma), abs(self.error) + 2.0 * self.sigma


@dataclass(frozen=True)
class Comparison:
    """Of a lattice and field.

    Attributes:
        length, g: which.
        errors: relative ones of the trace, means over seeds, and their standard errors.
        each: of the seeds.
    """

    length: int
    g: float
    errors: dict[str, tuple[float, float | None]]
    each: dict[str, list[Seed]]


def where(length: int, g: float) -> str:
    """``4x4-g0.5``."""
    return f"{length}x{length}-{shared.row(g)}"


def trainings() -> Iterator[tuple[int, float, Mapping[str, str], tuple[str, ...]]]:
    """Length, field, recipe of each sampler and scales, lattice by lattice."""
    yield 2, AT_LAPTOP[0], shared.RANDOM, ("smoke",)
    for g in AT_LAPTOP:
        yield 4, g, shared.RANDOM, ("laptop", "long", *LARGE)
    for g in (ALONG, *FIELDS):
        annealed = shared.annealed(g)
        if annealed:
            yield 6, g, annealed, ("laptop", "long") if g in PROMOTED else ("long",)
        yield 6, g, shared.RANDOM, LARGE if annealed else ("long", *LARGE)
    for g in (ALONG, *FIELDS):
        yield 8, g, shared.RANDOM, LARGE


def lattices() -> list[tuple[int, float]]:
    """Length and field of all of them, once."""
    return list(dict.fromkeys((length, g) for length, g, _, _ in trainings()))


def cells() -> list[Cell]:
    """Trainings of three seeds with either sampler, lattice by lattice."""
    return [cell for training in trainings() for cell in _cells(*training)]


def _cells(length: int, g: float, settings: Mapping[str, str], scales: tuple[str, ...]) -> list[Cell]:
    physics = (f"system.length_x={length}", f"system.length_y={length}", shared.field(g))
    row, made = where(length, g), list[Cell]()
    for method, recipe in settings.items():
        columns = shared.columns(method, ("v_score", MIXING) if method == MCMC else ("v_score",))
        made.append(Cell(row, method, physics, columns, SEEDS, settings=recipe, scales=scales))
    exact = shared.columns("reference")
    made.append(Cell(row, "reference", physics, exact, stages=("baseline",), settings="nir", scales=scales))
    return made


def comparisons(table: Table) -> list[Comparison]:
    """Of everything that was run."""
    found = []
    for length, g in lattices():
        errors, each = {}, {}
        for method in NAMES:
            deviation = shared.deviation(table.row(where(length, g), method, "trace"))
            if deviation is not None:
                errors[method] = deviation
                each[method] = _of_seeds(table, where(length, g), method)
        if errors:
            found.append(Comparison(length, g, errors, each))
    return found


def _of_seeds(table: Table, row: str, method: str) -> list[Seed]:
    """Those of a method whose trainings are all finished."""
    exact = table.reference(row, "trace")
    results = [d.result for d in table.finished if (d.task.cell.row, d.task.cell.method) == (row, method)]
    if exact is None or not exact.value:
        return []
    made, size = [], abs(exact.value)
    for result in results:
        if result is None:
            return []
        trace = result.estimate("trace")
        # of chains that disagree σ is in doubt, too; that they do is what is asked
        sigma = None if trace.sigma is None else math.hypot(trace.sigma, exact.sigma or 0.0) / size
        variance = next((e.value for e in result.estimates if e.name == VARIANCE), None)
        spread = None if variance is None else math.sqrt(max(0.0, variance)) / size
        made.append(Seed((trace.value - exact.value) / size, sigma, spread, bool(trace.doubt)))
    return made


def render(table: Table) -> Rendering:
    """A line a lattice and field."""
    found = comparisons(table)
    header = ["lattice", "g", "seeds", *(f"{name}: error of the trace" for name in NAMES.values()), "MCMC / NIR"]
    return Rendering(
        header,
        [_line(table, one) for one in found],
        claims(found),
        notes(table),
        (lambda figure: draw(figure, table, found)) if found else None,
        figure_size=(7.0, 3.4),
        caption="(a) Relative error of the sum of the three lowest levels, means over seeds with standard errors. "
        "(b) The same of single batches along one training each, at the smallest field of the largest lattice.",
        verdict=verdict(found),
        keys=2,
    )


def _line(table: Table, one: Comparison) -> list[str]:
    row = where(one.length, one.g)
    shown = [shared.error(table.row(row, method, "trace")) for method in NAMES]
    line = next((x for m in NAMES if (x := table.row(row, m, "trace")) is not None), None)
    seeds = str(line.seeds) if line else "–"
    return [f"{one.length} × {one.length}", f"{one.g:g}", seeds, *shown, _ratio(one)]


def _ratio(one: Comparison) -> str:
    if len(one.errors) < 2 or not one.errors[NIR][0]:
        return "–"
    return f"{abs(one.errors[MCMC][0] / one.errors[NIR][0]):.2g}"


def _worse(one: Comparison) -> Answer:
    """Whether chains are worse by more than a factor, by ranks of the seeds, beyond the errors of each."""
    chains, nir = _bounds(one.each[MCMC]), _bounds(one.each[NIR])
    if chains is None or nir is None:
        return "undecided"
    if ranked_below([FACTOR * high for _, high in nir], [low for low, _ in chains]):
        return "yes"
    return "no" if ranked_below([high for _, high in chains], [FACTOR * low for low, _ in nir]) else "undecided"


def _bounds(seeds: Sequence[Seed]) -> list[tuple[float, float]] | None:
    """Of all seeds; None where one has none."""
    known = [seed.bounds for seed in seeds if seed.bounds is not None]
    return known if len(known) == len(seeds) else None


def _trapped(one: Comparison) -> Answer:
    """Whether most trainings with chains ended beside a higher sum of levels; no where all are near the lowest."""
    seeds = one.each[MCMC]
    if len(seeds) < FEWEST_TO_RANK:
        return "undecided"
    if 2 * sum(seed.excess > SEVERAL for seed in seeds) > len(seeds):
        return "yes"
    bounds = _bounds(seeds)
    near = bounds is not None and all(high < shared.TARGET for _, high in bounds)
    return "no" if near else "undecided"


def claims(found: list[Comparison]) -> list[Claim]:
    """What Section 4.3 says."""
    both = [one for one in found if len(one.errors) == len(NAMES)]
    small = [one for one in both if one.length <= 4]
    large = [one for one in both if one.length >= 6 and one.g <= FERROMAGNET]
    opposite: dict[Answer, Answer] = {"yes": "no", "no": "yes", "undecided": "undecided"}
    return [
        quoted(
            "On small lattices, such as 4×4, both methods perform similarly",
            "Section 4.3",
            tally([opposite[_worse(one)] for one in small]),
            f"similarly: MCMC's error at most {FACTOR:g} times NIR's, ours, by ranks of the seeds; ratios of means "
            + _listed(small, _ratio),
        ),
        quoted(
            "in the ferromagnetic regime, a performance gap appears already on the 6×6 lattice",
            "Section 4.3",
            tally([_worse(one) for one in large]),
            f"MCMC's error more than {FACTOR:g} times NIR's, ours, by ranks of the seeds; ratios of means "
            + _listed(large, _ratio)
            + ". Errors of MCMC that are themselves in doubt: "
            + _listed(large, _doubted),
        ),
        quoted(
            "the NQS frequently gets trapped in an excited state with energy significantly above the lowest three",
            "Section 4.3, of MCMC",
            tally([_trapped(one) for one in large]),
            f"in more than half of the trainings by more than {SEVERAL:g} times the spread of the energy over "
            "configurations, within which there is a sum of three levels (Weinstein, if chains show it all): "
            + _listed(large, _excess)
            + f". No where all are within {shared.TARGET:g}",
        ),
    ]


def _listed(found: Sequence[Comparison], shown: Callable[[Comparison], str]) -> str:
    return "; ".join(f"{shown(one)} ({one.length} × {one.length}, g = {one.g:g})" for one in found)


def _doubted(one: Comparison) -> str:
    seeds = one.each[MCMC]
    return f"{sum(seed.doubted for seed in seeds)} of {len(seeds)}"


def _excess(one: Comparison) -> str:
    return ", ".join(f"{seed.excess:.2g}" for seed in one.each[MCMC])


def verdict(found: list[Comparison]) -> list[str]:
    """Errors of both samplers, lattice by lattice."""
    said = []
    for length in sorted({one.length for one in found}):
        own = [one for one in found if one.length == length]
        for method, name in NAMES.items():
            errors = [(abs(one.errors[method][0]), one.errors[method][1], one.g) for one in own if method in one.errors]
            if not errors:
                continue
            each = ", ".join(f"{magnitude(size, sigma)} (g = {g:g})" for size, sigma, g in errors)
            if len(errors) > LISTED:
                size, _, g = max(errors, key=lambda one: one[0])
                middle = statistics.median(size for size, _, _ in errors)
                each = (
                    f"{magnitude(middle)} in the median of {len(errors)} fields, {magnitude(size)} at most (g = {g:g})"
                )
            said.append(f"{name} on {length} × {length}: error of the trace {each}.")
    if found and max(one.length for one in found) < 6:
        said.append("Lattices on which the paper sees a gap between the samplers are not run at this scale.")
    return said


def notes(table: Table) -> list[str]:
    """Conventions, and whether chains cross from one side of the order to the other."""
    lines = [(length, g, table.row(where(length, g), MCMC, MIXING)) for length, g in lattices()]
    mixing = [f"{x.ours:.2f} ({n} × {n}, g = {g:g})" for n, g, x in lines if x is not None and x.ours is not None]
    said = [f"R-hat of the magnetisation of chains, mean over seeds: {', '.join(mixing)}."] if mixing else []
    if table.scale not in LARGE and any(
        length == 6 and g <= FERROMAGNET for length, g, line in lines if line is not None
    ):
        said.append(
            "On 6 × 6 sites in the ferromagnet trainings of both samplers begin at g = 4 and come down field by field, "
            "ours: with NIR and random parameters states fell onto aligned spins. Chains and proposals start anew at "
            f"each field on the way to g = {FERROMAGNET:g}, and go on from field to field on that to g = {ALONG:g}, "
            "where new ones may not find aligned spins. Inferences go on with those of the training. Chains are thus "
            "on both sides of the order while they cannot cross any more; whether that is why they keep up at "
            f"g = {FERROMAGNET:g} was not tested."
        )
    return [
        *said,
        "Open boundaries; errors are relative to the sum of the three lowest levels of the reference.",
        "Energies are those of fresh draws of the sampler that the state was trained with: chains that miss a part of "
        "|Ψ|² may come out below the reference.",
        "The paper prints no numbers of this figure. It has 4 × 4, 6 × 6 and 8 × 8 sites; scales below its own have "
        "the smaller ones only.",
    ]


def draw(figure: Any, table: Table, found: list[Comparison]) -> None:
    """Errors against the field and along a training."""
    left, right = figure.subplots(1, 2)
    for length in sorted({one.length for one in found}):
        for method in (NIR, MCMC):
            own = [one for one in found if one.length == length and method in one.errors]
            x = [one.g for one in own]
            y = [abs(one.errors[method][0]) for one in own]
            bars = [one.errors[method][1] or 0.0 for one in own]
            marker = {2: "v", 4: "o", 6: "s", 8: "^"}[length]
            label = f"{NAMES[method]}, {length} × {length}"
            left.errorbar(
                x, y, bars, fmt=f"{marker}-", color=style(method).colour, ms=4, lw=0.8, capsize=2, label=label
            )
    last = max(found, key=lambda one: (one.length, -one.g))
    row = where(last.length, last.g)
    exact = table.reference(row, "trace")
    for done, curve in table.curves():
        cell = done.task.cell
        if cell.row != row or done.task.seed != SEEDS[0] or curve.name != "train/trace" or exact is None:
            continue
        x, y = _thinned(curve.x, [abs(value - exact.value) / abs(exact.value) for value in curve.y])
        right.plot(x, y, color=style(cell.method).colour, lw=1, label=NAMES[cell.method])
    right.set_title(f"{last.length} × {last.length}, g = {last.g:g}", fontsize=8)
    for axes, label in ((left, "$g$"), (right, "step")):
        axes.set_yscale("log")
        axes.set_xlabel(label)
        axes.set_ylabel("relative error of the trace")
        axes.legend(frameon=False, fontsize=7)


def _thinned(x: Any, y: list[float], most: int = 20) -> tuple[list[float], list[float]]:
    """As few points as are kept with the report, so that it is drawn anew as it was."""
    if len(x) <= most:
        return list(x), y
    last = len(x) - 1
    chosen = sorted({round(k * last / (most - 1)) for k in range(most)})
    return [x[i] for i in chosen], [y[i] for i in chosen]


ARTEFACT = Artefact(
    "nir",
    "fig2",
    "Figure 2: error of the sum of three levels, NIR and MCMC",
    cells,
    render,
    own=dict(NAMES),
)
