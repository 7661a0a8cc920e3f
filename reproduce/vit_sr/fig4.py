"""Figure 4: the energy against the number of samples and of parameters, with power laws fitted."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from pipeline.analysis.power_law import PowerLaw
from pipeline.base.numbers.result import Curve
from pipeline.base.palette import BLACK
from reproduce.artefact import Artefact, Cell, Claim, ExtraCurve, Rendering, quoted, yes_no
from reproduce.colours import style
from reproduce.naqs.judgement import IMPOSSIBLE, UNLIKELY, Answer, magnitude
from reproduce.page import OURS
from reproduce.published import published
from reproduce.tables import Table
from reproduce.vit_sr import shared
from reproduce.vit_sr.sweeps import (
    AXES,
    QUANTITIES,
    SWEEPS,
    Point,
    earlier,
    even_states,
    fit,
    points,
    rival,
    sweep,
    without_logarithm,
)

SIGMAS = 2.0
NAMES = {"samples": "number of samples M", "parameters": "number of parameters P"}
MOST_GAIN = 1.5
"""By which twice the steps may lower an error that counts as limited by parameters."""
LAW = "arXiv 2606.02794"


def cells() -> list[Cell]:
    """Of each scale its own."""
    return [cell for one in SWEEPS for cell in one.cells()]


def render(table: Table) -> Rendering:
    """A line a point, and below each panel those of its fits."""
    header = ["panel", "point", "P", "M", "seeds", "energy per site", "error", "scatter", "V-score"]
    return Rendering(
        header,
        [line for axis in AXES for line in _lines(table, axis)],
        claims(table),
        notes(table),
        (lambda figure: draw(figure, table)) if any(points(table, axis) for axis in AXES) else None,
        figure_size=(7.0, 3.2),
        caption="Relative error of the energy. Pale: a training each; circles: geometric means, with the range of the "
        "trainings; crosses: means after half of the steps. Lines: power laws, dashed where not established."
        + (" Star: the printed energy of the fully symmetrised state." if star(table) else ""),
        curves=[curve for axis in AXES for curve in _curves(table, axis)],
        verdict=verdict(table),
        keys=2,
    )


def _lines(table: Table, axis: str) -> list[list[str]]:
    found, scores = points(table, axis), points(table, axis, "v_score")
    lines = []
    for point, score in zip(found, scores, strict=True):
        row = table.row(point.row, shared.VIT)
        parameters = shared.count(table.row(point.row, shared.VIT, "parameters"))
        seeds = len(point.values)
        samples = _samples(table, point.row)
        lines.append(
            [
                *(AXES[axis], point.row, parameters, samples, str(seeds), shared.ours(row)),
                *(magnitude(point.mean), _factor(point), magnitude(score.mean)),
            ]
        )
    law, other = fit(found), fit(scores)
    if law is not None:
        trainings = str(sum(len(p.positive) for p in found))
        lines.append([AXES[axis], "exponent b", "", "", trainings, "", exponent(law), "", _shown(other)])
        lines.append([AXES[axis], "χ² (chance)", "", "", "", "", _chance(law), "", _chance(other)])
    return lines


def _samples(table: Table, row: str) -> str:
    done = next(d for d in table.finished if d.task.cell.row == row and d.task.cell.method == shared.VIT)
    return str(getattr(done.task.run.train.sampler, "samples", "all"))


def _factor(point: Point) -> str:
    """Scatter of trainings, as a factor: exp of the standard deviation of the logarithm."""
    if len(point.positive) < 2:
        return "–"
    return f"× {math.exp(statistics.stdev(map(math.log, point.positive))):.2f}"


def exponent(law: PowerLaw) -> str:
    """``1.4(2)``."""
    from uncertainties import ufloat

    known = math.isfinite(law.sigma) and law.sigma > 0
    return f"{ufloat(law.exponent, law.sigma):.1uS}" if known else f"{law.exponent:.2g}, error unknown"


def _shown(law: PowerLaw | None) -> str:
    return "–" if law is None else exponent(law)


def _chance(law: PowerLaw | None) -> str:
    if law is None or not math.isfinite(law.chance):
        return "–"
    return f"{law.chi_squared:.1f} of {law.freedom} ({law.chance:.1g})"


def describes(law: PowerLaw | None) -> Answer:
    """Whether a power law is compatible with the scatter of trainings."""
    if law is None or math.isnan(law.chance) or IMPOSSIBLE <= law.chance < UNLIKELY:
        return "undecided"
    return "yes" if law.chance >= UNLIKELY else "no"


def holds(table: Table, axis: str) -> Answer:
    """:func:`describes`, but undecided where an exponential is not excluded, or where steps limit the panel of P."""
    found = points(table, axis)
    answer = describes(fit(found))
    short = axis == "parameters" and any(gain >= MOST_GAIN for gain in gains(table))
    return "undecided" if answer == "yes" and (short or describes(rival(found)) != "no") else answer


def falls(found: Sequence[Point]) -> Answer:
    """Whether the exponent is positive beyond its error, and the error rises from no point to the next beyond its own.

    The error of a rise is that of the difference of two means, with the pooled scatter.
    """
    law = fit(found)
    if law is None or not math.isfinite(law.sigma) or math.isnan(law.scatter):
        return "undecided"
    rises = [
        math.log(b.mean / a.mean) > SIGMAS * law.scatter * math.sqrt(1 / len(a.positive) + 1 / len(b.positive))
        for a, b in pairwise(p for p in found if p.positive)
    ]
    if any(rises) or law.exponent < -SIGMAS * law.sigma:
        return "no"
    return "yes" if law.exponent > SIGMAS * law.sigma else "undecided"


def claims(table: Table) -> list[Claim]:
    """What the Methods say, whether steps limit the energy, and the law of the later paper."""
    made = []
    for axis in AXES:
        found = points(table, axis)
        said = f"{_course(found)} (seen if the exponent is positive and no error rises, beyond {SIGMAS:g} σ)"
        seen = falls(found) if found else "not run"
        made.append(quoted("Systematic energy improvement", f"Methods, title; here with the {NAMES[axis]}", seen, said))
    made += _limits(table)
    for axis in AXES:
        found = points(table, axis)
        seen = "not run" if fit(found) is None else holds(table, axis)
        text = f"the error is a power law in the {NAMES[axis]}"
        made.append(Claim(text, f"form of {LAW}", seen, _evidence(found)))
    return made


def gains(table: Table) -> list[float]:
    """How many times as large errors are after half of the steps, in the panel of P; empty without snapshots."""
    full = {p.row: p for p in points(table, "parameters")}
    half = earlier(table, "parameters")
    return [p.mean / full[p.row].mean for p in half if p.positive and full[p.row].positive]


def _limits(table: Table) -> list[Claim]:
    """Whether parameters limit the error and not steps."""
    found = gains(table)
    if not found:
        return []
    text = "in the panel of P, parameters limit the error and not the number of steps"
    said = f"after half of the steps errors are {', '.join(f'{gain:.2g}' for gain in found)} times as large"
    half, full = fit(earlier(table, "parameters")), fit(points(table, "parameters"))
    if half is not None and full is not None:
        said += f", and the exponent is {exponent(half)} instead of {exponent(full)}"
    seen = yes_no([gain < MOST_GAIN for gain in found])
    return [Claim(text, OURS, seen, f"{said} (seen where it is less than {MOST_GAIN:g} times)")]


def _course(found: Sequence[Point]) -> str:
    return ", ".join(f"{magnitude(p.mean)} at {p.x:.0f}" for p in found) or "no point is finished"


def _evidence(found: Sequence[Point]) -> str:
    law = fit(found)
    if law is None:
        return "fewer than two points"
    said = f"exponent {exponent(law)}"
    if math.isnan(law.chance):
        return f"{said}; nothing tells whether the law describes the points"
    scatters = [statistics.stdev(map(math.log, p.positive)) for p in found if len(p.positive) > 1]
    least, most = (f"{math.exp(s):.3g}" for s in (min(scatters), max(scatters)))
    return (
        f"{said}; χ² (chance, F test) = {_chance(law)}, of an exponential instead {_chance(rival(found))}; trainings "
        f"scatter by factors from {least} to {most}, pooled {math.exp(law.scatter):.3g} (seen if the power law is not "
        f"less likely than {UNLIKELY:g}, and the exponential is below {IMPOSSIBLE:g})"
    )


def verdict(table: Table) -> list[str]:
    """For each panel how far the error falls, the exponent, and whether a power law describes it."""
    said = []
    for axis in AXES:
        found = points(table, axis)
        law = fit(found)
        if law is None:
            continue
        answer, found_gains = holds(table, axis), gains(table)
        words = {
            "yes": "a power law is compatible with the points",
            "no": "a power law does not describe the points, and the exponent is a mean slope",
            "undecided": "whether a power law describes the points is undecided",
        }[answer]
        if answer == "undecided" and describes(law) == "yes" and describes(rival(found)) != "no":
            words += " (it would be compatible, and so would an exponential)"
        first, last = found[0], found[-1]
        said.append(
            f"From {AXES[axis]} = {first.x:.0f} to {last.x:.0f} the relative error of the energy goes from "
            f"{magnitude(first.mean)} to {magnitude(last.mean)}, with an exponent of {exponent(law)}: {words}."
        )
        short = sum(gain >= MOST_GAIN for gain in found_gains)
        if axis == "parameters" and short:
            said.append(
                f"That exponent is not one of P alone: at {short} of {len(found_gains)} sizes half of the steps leave "
                f"an error at least {MOST_GAIN:g} times as large."
            )
    if table.finished:
        length = sweep(table.scale).length
        if length != 10:
            said.append(f"The lattice is {length} × {length}, not the paper's 10 × 10, and networks are smaller.")
    return said


def notes(table: Table) -> list[str]:
    """What is fitted to what, and where it differs from both papers."""
    left = sum(without_logarithm(points(table, axis)) for axis in AXES)
    found = [
        "Energies per site for spins S = σ/2; J1 = 1, J2 = 0.5, periodic boundaries. Error: (E − E_ref)/|E_ref| of "
        "each training, geometric mean over seeds; scatter: the factor exp of the standard deviation of its logarithm.",
        "Fits: log error (and log V-score) = log a − b log x through the means of each point, weighted by their "
        "numbers of seeds, with the scatter of the logarithm pooled over the points of a panel; the error of b is that "
        "of the covariance, times √(χ²/ν) where that is larger than 1. Chance: of such a χ²/ν by Fisher's F "
        "distribution. "
        + (
            f"{left} training(s) at or below the reference have no logarithm and are left out."
            if left
            else "All points and all trainings are in them, at whichever error they end."
        ),
        f"{LAW} (Rende et al., Scaling laws for neural-network quantum states) finds, as its abstract says, a power "
        "law of the V-score in the compute of training, on lattices up to 20 × 20. Here the same form is tried in M "
        "and in P by itself; exponents are not compared.",
        "The paper prints no energy of this figure but that of the symmetrised state, and of the values of M only 6000 "
        "and that they end at 10^4; its points are not read off.",
    ]
    length = sweep(table.scale).length
    if length == 4:
        if table.finished:
            states = even_states(table.finished[0].task.run.system)
            found.append(
                f"All symmetries leave {states} states with Σσz = 0 of 4 × 4 sites: a network with several times as "
                "many parameters may be the exact state, and no power law in P goes on to there."
            )
        found.append(
            "M panel: trained with samples of Markov chains, judged by sums over all configurations with Σσz = 0, as "
            "is the P panel, which is trained with them too (M “all”). Both have all symmetries from the start, "
            "unlike the figure: with those of the patches only a training ends in the first excited level. "
            "Trainings of one seed begin with the same weights at every M, and part of the scatter is common to all of "
            "them: there the error of b is rather too large. Steps are as many at every M, and more of them would "
            "lower errors: it is a law at that number of steps."
        )
    if length == 10:
        found.append(
            "No exact energy is known: errors are distances from the lowest variational energy published since, and "
            "of states without symmetries, so that a power law may level off."
        )
    return found


def _curves(table: Table, axis: str) -> list[ExtraCurve]:
    """Points of a panel and what is fitted to them, for machines."""
    made = []
    for quantity in QUANTITIES:
        found = points(table, axis, quantity)
        law, x = fit(found), [p.x for p in found]
        if law is None:
            continue
        sigma = [law.scatter / math.sqrt(len(p.positive)) * p.mean if p.positive else math.nan for p in found]
        series = {"mean": ([p.mean for p in found], sigma), "power_law": ([law(v) for v in x], [])}
        name = "relative_error" if quantity == "energy" else quantity
        for kind, (y, errors) in series.items():
            curve = Curve.of(f"{kind}/{name}", axis, name, x, y, errors)
            made.append(ExtraCurve(f"against_{axis}", shared.VIT, 0, curve))
    return made


def star(table: Table) -> float | None:
    """Relative error of the printed energy of the fully symmetrised state, on the paper's lattice only."""
    row = next(iter(sweep(table.scale).rows("samples")), "")
    printed = next(n for n in published("vit_sr") if (n.artefact, n.method, n.quantity) == STAR)
    exact = table.row(row, "reference")
    if sweep(table.scale).length != 10 or exact is None or not exact.ours:
        return None
    return (printed.value - exact.ours) / abs(exact.ours)


STAR = ("vit_sr/table1", shared.VIT, "energy")


TRAINED = style(shared.VIT)


def draw(figure: Any, table: Table) -> None:
    """The two panels on logarithmic axes."""
    both = figure.subplots(1, len(AXES))
    for axes, axis in zip(both, AXES, strict=True):
        found = points(table, axis)
        for point in found:
            axes.plot(
                [point.x] * len(point.positive), point.positive, "o", color=TRAINED.colour, alpha=0.35, ms=3, mew=0
            )
        for point in earlier(table, axis):
            axes.plot([point.x], [point.mean], "x", color="0.5", ms=5, zorder=1)
        law = fit(found)
        shown = [p for p in found if p.positive]
        x = [p.x for p in shown]
        bars = [
            [max(0.0, p.mean - min(p.positive)) for p in shown],
            [max(0.0, max(p.positive) - p.mean) for p in shown],
        ]
        axes.errorbar(x, [p.mean for p in shown], bars, fmt="o", color=TRAINED.colour, ms=5, lw=1, capsize=2)
        if law is not None:
            dashes = "-" if holds(table, axis) == "yes" else "--"
            label = rf"$\propto {AXES[axis]}^{{-b}}$, $b$ = {exponent(law)}"
            axes.plot(x, [law(v) for v in x], dashes, color=BLACK, lw=1.2, label=label)
        printed = star(table)
        if printed is not None and axis == "samples":
            axes.plot([6000], [printed], "*", **TRAINED.of(True), ms=9, label="symmetrised, paper")
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xticks(x, [f"{v:g}" for v in x])
        axes.minorticks_off()
        axes.set_xlabel(NAMES[axis])
        if axes.get_legend_handles_labels()[1]:
            axes.legend(frameon=False, fontsize=8)
    both[0].set_ylabel("relative error of the energy")


ARTEFACT = Artefact(
    "vit_sr",
    "fig4",
    "Figure 4: energy against the number of samples and of parameters",
    cells,
    render,
    own={shared.VIT: "Deep ViT"},
)
