"""Figure 3: how far the draws of either sampler are from |Ψ|² along training, on a lattice where that is known."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.base.numbers.formatting import with_error
from pipeline.base.numbers.result import Curve
from pipeline.spin.vmc.schema import DIVERGENCES
from reproduce.artefact import Artefact, Cell, Claim, Column, ExtraCurve, Rendering, quoted
from reproduce.colours import style
from reproduce.naqs.judgement import Answer, magnitude, tally
from reproduce.nir import shared
from reproduce.nir.shared import MCMC, NAMES, NIR
from reproduce.tables import Table

ROW = "3x2"
SETTINGS = {NIR: "nir/fig3", MCMC: "nir/fig3_mcmc"}
SEEDS = (0, 1, 2)
SIGMAS = 2.0


@dataclass(frozen=True)
class Course:
    """One training at its snapshots.

    Attributes:
        divergence, floor: Jensen-Shannon divergence from |Ψ|² of the draws, and of as many independent ones, in nats.
        trace: sum of the energies.
    """

    method: str
    seed: int
    steps: tuple[float, ...]
    divergence: tuple[float, ...]
    floor: tuple[float, ...]
    trace: tuple[float, ...]

    @staticmethod
    def of_kept(tree: Mapping[str, Any]) -> Course:
        """From JSON."""
        names = ("steps", "divergence", "floor", "trace")
        return Course(tree["method"], tree["seed"], *(tuple(tree[name]) for name in names))


@dataclass(frozen=True)
class Band:
    """Mean over seeds and its standard error, point by point; NaN for a single seed."""

    x: tuple[float, ...]
    mean: tuple[float, ...]
    sigma: tuple[float, ...]


def cells() -> list[Cell]:
    """Trainings of several seeds with either sampler, and the exact levels."""
    made = []
    for method, settings in SETTINGS.items():
        columns = (*shared.columns(method), *(Column(method, name, name) for name in DIVERGENCES))
        made.append(Cell(ROW, method, (), columns, SEEDS, settings=settings))
    return [*made, shared.reference(ROW, (), SETTINGS[NIR])]


def courses(table: Table) -> list[Course]:
    """Every finished training; as kept by the report where it is rendered anew."""
    if "courses" in table.kept:
        return [Course.of_kept(tree) for tree in table.kept["courses"]]
    made = []
    names = (*DIVERGENCES, "trace")
    for done, by_name in shared.along_training(table, names):
        values = (by_name[name].y for name in names)
        made.append(Course(done.task.cell.method, done.task.seed, by_name["trace"].x, *values))
    return made


def band(found: Sequence[Course], method: str, quantity: str) -> Band | None:
    """Of the trainings of a sampler."""
    own = [course for course in found if course.method == method]
    if not own:
        return None
    columns = list(zip(*(getattr(course, quantity) for course in own), strict=True))
    means = tuple(statistics.fmean(column) for column in columns)
    root = math.sqrt(len(own))
    sigmas = tuple(statistics.stdev(c) / root if len(c) > 1 else math.nan for c in columns)
    return Band(own[0].steps, means, sigmas)


def render(table: Table) -> Rendering:
    """A line a snapshot; the divergences against the step."""
    found = courses(table)
    header = ["step", "JSD NIR", "JSD MCMC", "JSD i.i.d. (NIR's Ψ)", "JSD i.i.d. (MCMC's Ψ)", "error NIR", "error MCMC"]
    return Rendering(
        header,
        _body(table, found),
        claims(found),
        notes(table),
        (lambda figure: draw(figure, found, table)) if found else None,
        figure_size=(7.0, 3.4),
        caption="(a) Jensen-Shannon divergence of the draws and |Ψ|² along training, means over seeds with bands of "
        "a standard error; dashed: of as many independent draws from |Ψ|² of the same state. (b) Relative error of "
        "the trace at the same steps.",
        verdict=verdict(found, table),
        kept={"courses": [asdict(course) for course in found]},
        curves=_curves(found),
        keys=1,
    )


def _curves(found: Sequence[Course]) -> list[ExtraCurve]:
    return [
        ExtraCurve(
            ROW,
            course.method,
            course.seed,
            Curve.of(f"{quantity}_along_training", "step", quantity, course.steps, getattr(course, field), unit="nat"),
        )
        for course in found
        for quantity, field in zip(DIVERGENCES, ("divergence", "floor"), strict=True)
    ]


def _body(table: Table, found: Sequence[Course]) -> list[list[str]]:
    exact = table.reference(ROW, "trace")
    wanted = [(m, q) for q in ("divergence", "floor") for m in (NIR, MCMC)]
    bands = [band(found, method, quantity) for method, quantity in wanted]
    traces = [band(found, method, "trace") for method in (NIR, MCMC)]
    steps = next((b.x for b in bands if b), ())
    body = []
    for k, step in enumerate(steps):
        line = [f"{step:.0f}", *(_shown(b, k) for b in bands)]
        for b in traces:
            line.append("–" if b is None or exact is None else f"{_relative(b.mean[k], exact.value):.1e}")
        body.append(line)
    return body


def _shown(b: Band | None, k: int) -> str:
    return "–" if b is None else with_error(b.mean[k], b.sigma[k] if math.isfinite(b.sigma[k]) else None)


def _relative(value: float, reference: float) -> float:
    return (value - reference) / abs(reference)


def _changes(found: Sequence[Course], method: str) -> tuple[float, float] | None:
    """Of the divergence from the largest (NIR) or smallest (MCMC) mean to the last one, with a standard error."""
    b = band(found, method, "divergence")
    if b is None:
        return None
    pick = max if method == NIR else min
    k = pick(range(len(b.mean)), key=b.mean.__getitem__)
    own = [course.divergence[-1] - course.divergence[k] for course in found if course.method == method]
    sigma = statistics.stdev(own) / math.sqrt(len(own)) if len(own) > 1 else math.nan
    return statistics.fmean(own), sigma


def _answer(change: tuple[float, float] | None, sign: int) -> Answer:
    if change is None or not math.isfinite(change[1]) or abs(change[0]) <= SIGMAS * change[1]:
        return "undecided"
    return "yes" if sign * change[0] > 0 else "no"


def claims(found: Sequence[Course]) -> list[Claim]:
    """What Section 4.3 says."""
    if not found:
        return []
    falls, rises = _changes(found, NIR), _changes(found, MCMC)
    return [
        quoted(
            "the JSD for NIR decreases as the proposal network learns to approximate the NQS distribution",
            "Section 4.3",
            tally([_answer(falls, -1)]),
            f"from its largest to the last: {_signed(falls)}",
        ),
        quoted(
            "the JSD for MCMC increases because the distribution becomes difficult to sample locally",
            "Section 4.3",
            tally([_answer(rises, 1)]),
            f"from its smallest to the last: {_signed(rises)}",
        ),
    ]


def _signed(change: tuple[float, float] | None) -> str:
    if change is None:
        return "–"
    return with_error(change[0], change[1] if math.isfinite(change[1]) else None) + " nat"


def verdict(found: Sequence[Course], table: Table) -> list[str]:
    """Where both end, beside the floor, and how far the states are from the exact ones."""
    said = []
    exact = table.reference(ROW, "trace")
    for method in (NIR, MCMC):
        b, floor, trace = (band(found, method, quantity) for quantity in ("divergence", "floor", "trace"))
        if b is None or floor is None or trace is None:
            continue
        pick, most = (max, "most") if method == NIR else (min, "least")
        k = pick(range(len(b.mean)), key=b.mean.__getitem__)
        text = f"{NAMES[method]}: the divergence is {_shown(b, k)} nat at {most} (step {b.x[k]:.0f}) and "
        text += f"{_shown(b, len(b.mean) - 1)} at the end, that of independent draws {_shown(floor, len(b.mean) - 1)}"
        if exact is not None:
            text += f"; the trace ends {magnitude(_relative(trace.mean[-1], exact.value))} from the exact one"
        said.append(text + ".")
    if found:
        said.append(f"Means over {len({c.seed for c in found})} seeds.")
    return said


def notes(table: Table) -> list[str]:
    """Definitions."""
    del table
    return [
        "Jensen-Shannon divergence in nats (at most ln 2 = 0.693) of the relative frequencies of 25,600 draws and |Ψ|² "
        "of the network at that step, summed over all 2¹⁸ configurations of three copies of six sites; ours at paper "
        "scale and at this one, unless cuts say otherwise.",
        "NIR: the proposal as the training left it at that step, in batches of the training with as many proposals "
        "each, drawn again by their weights. MCMC: the chains of the training go on.",
        "Whatever has finite draws has a divergence above zero: the floor is that of independent draws from |Ψ|², "
        "as many. It falls as |Ψ|² comes to live on fewer configurations.",
        "The paper prints no numbers of this figure.",
    ]


def draw(figure: Any, found: Sequence[Course], table: Table) -> None:
    """Divergences and errors against the step."""
    left, right = figure.subplots(1, 2)
    exact = table.reference(ROW, "trace")
    for method in (NIR, MCMC):
        colour = style(method).colour
        for quantity, line in (("divergence", "o-"), ("floor", "--")):
            b = band(found, method, quantity)
            if b is None:
                continue
            label = NAMES[method] if quantity == "divergence" else f"i.i.d., Ψ of {NAMES[method]}"
            left.plot(b.x, b.mean, line, color=colour, ms=3, lw=1, label=label)
            low, high = (tuple(m + s * e for m, e in zip(b.mean, b.sigma, strict=True)) for s in (-1, 1))
            left.fill_between(b.x, low, high, color=colour, alpha=0.25, lw=0)
        trace = band(found, method, "trace")
        if trace is not None and exact is not None:
            errors = [abs(_relative(value, exact.value)) for value in trace.mean]
            right.plot(trace.x, errors, "o-", color=colour, ms=3, lw=1, label=NAMES[method])
    for axes, label in ((left, "Jensen-Shannon divergence (nat)"), (right, "relative error of the trace")):
        axes.set_yscale("log")
        axes.set_xlabel("step")
        axes.set_ylabel(label)
    left.legend(frameon=False, fontsize=7)


ARTEFACT = Artefact(
    "nir",
    "fig3",
    "Figure 3: divergence of the draws from |Ψ|² along training, NIR and MCMC",
    cells,
    render,
    own=dict(NAMES),
)
