"""Figure 3: training at Γ = 3 J with direct sampling and with Markov chains, against iterations and seconds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from pipeline.base.numbers.formatting import duration, relative, with_error
from pipeline.base.numbers.result import Curve, Estimate
from reproduce.artefact import Artefact, Cell, Claim, Column, Rendering, yes_no
from reproduce.naqs import shared
from reproduce.tables import Table

ROW = "G3.0"
PHYSICS = ("system.coupling=1.0", "system.field=3.0")
SETTINGS = "naqs/fig3"
THINNINGS = (300, 100, 50, 10)
"""k of the caption: "samples are taken every k ∈ {10, 50, 100, 300} steps in the chain"."""
CHAINS = 20
"""Ours: the paper does not say how many chains share a batch."""
SIGMAS = 2.0
LABELS = {"direct": "direct sampling", **{f"mcmc-k{k}": f"MCMC, k = {k}" for k in THINNINGS}}


@dataclass(frozen=True)
class Course:
    """One training, at its snapshots: fresh, directly drawn samples of each.

    Attributes:
        method: ``direct`` or ``mcmc-k10``, ...
        steps, seconds: of training, per snapshot.
        energies, variances: total energies and ⟨H²⟩ - ⟨H⟩², with standard errors.
    """

    method: str
    steps: tuple[float, ...]
    seconds: tuple[float, ...]
    energies: tuple[float, ...]
    energy_sigmas: tuple[float, ...]
    variances: tuple[float, ...]
    variance_sigmas: tuple[float, ...]

    @property
    def label(self) -> str:
        return LABELS[self.method]

    @property
    def seconds_a_step(self) -> float:
        return self.seconds[-1] / self.steps[-1]

    def seconds_to(self, other: Course) -> float | None:
        """Seconds until the first snapshot that is no higher than the last of ``other`` within errors, or None."""
        goal, sigma = other.energies[-1], other.energy_sigmas[-1]
        for seconds, energy, own in zip(self.seconds, self.energies, self.energy_sigmas, strict=True):
            if energy - goal <= SIGMAS * math.hypot(sigma, own):
                return seconds
        return None


def cells() -> list[Cell]:
    """One training a sampler, all inferred by direct sampling; the slowest first."""
    samplers: dict[str, tuple[str, ...]] = {
        f"mcmc-k{k}": ("sampler=metropolis", f"train.sampler.chains={CHAINS}", f"train.sampler.thinning={k}")
        for k in THINNINGS
    }
    samplers["direct"] = ()
    made = []
    for method, sampler in samplers.items():
        columns = (
            Column(method, "energy", "energy", "per site"),
            Column(method, "variance", "variance"),
            Column(method, "v_score", "v_score"),
        )
        made.append(Cell(ROW, method, (*PHYSICS, *sampler, "infer_sampler=direct"), columns, settings=SETTINGS))
    return [*made, shared.qmc_cell(ROW, PHYSICS, settings=SETTINGS)]


def courses(table: Table) -> list[Course]:
    """Every finished training, direct sampling first."""
    found: dict[str, dict[tuple[str, str], Curve]] = {}
    for done, curve in table.curves():
        if curve.name.endswith("_along_training"):
            found.setdefault(done.task.cell.method, {})[curve.y_name, curve.x_name] = curve
    made = []
    for method in LABELS:
        if method in found:
            energy, variance = (found[method][name, "step"] for name in ("energy", "variance"))
            clock = found[method]["energy", "seconds"].x
            made.append(Course(method, energy.x, clock, energy.y, energy.sigma, variance.y, variance.sigma))
    return made


def lowest(found: Sequence[Course]) -> float | None:
    """The "minimal energy found for this system in our experiments" (caption)."""
    return min((energy for course in found for energy in course.energies), default=None)


def render(table: Table) -> Rendering:
    """A line a sampler; error and variance against iterations and seconds."""
    found = courses(table)
    size = table.finished[0].task.run.system.size
    best, exact = lowest(found), table.reference(ROW, "energy")
    direct = next((c for c in found if c.method == "direct"), None)
    header = ["training samples", "iterations", "training", "s/iteration", "energy per site", "error to lowest found"]
    header += ["error to QMC", "Var(H)/N", "direct sampling is as low after"]
    return Rendering(
        header,
        [_line(course, size, best, exact, direct) for course in found],
        claims(found),
        notes(table, best, exact, size),
        (lambda figure: _draw(found, size, best, exact, figure)) if found else None,
        (7.2, 5.4),
        "Relative error of the energy (top: solid to the lowest energy found, dotted to quantum Monte Carlo) and "
        "energy variance per site (bottom, dashed), against iterations (left) and seconds of training (right).",
    )


def _line(course: Course, size: int, best: float | None, exact: Estimate | None, direct: Course | None) -> list[str]:
    energy, there = course.energies[-1], direct.seconds_to(course) if direct else None
    return [
        course.label,
        f"{course.steps[-1]:.0f}",
        duration(course.seconds[-1]),
        f"{course.seconds_a_step:.2g}",
        with_error(energy / size, course.energy_sigmas[-1] / size),
        relative((energy - best) / abs(best)) if best else "–",
        relative((energy - exact.value) / abs(exact.value)) if exact else "–",
        with_error(course.variances[-1] / size, course.variance_sigmas[-1] / size),
        "–" if course is direct or direct is None else "never" if there is None else duration(there),
    ]


def notes(table: Table, best: float | None, exact: Estimate | None, size: int) -> list[str]:
    """Definitions, and what the clock counts."""
    found = [
        "Every point is an inference on the state kept at that iteration: fresh samples, drawn directly for every "
        "training, none from its optimisation trace. The lowest energy found is that of any of these states; as in "
        "the paper it is an estimate itself, whose own point has no error to show.",
        "Seconds are of training alone, without measuring and checkpointing; the burn-in of the chains is in the first "
        "iteration. Runs go side by side, one core or device share each, so that seconds compare samplers only.",
        f"MCMC: {CHAINS} chains of single flips that go on from one iteration to the next, k proposals of a chain "
        "between two of its samples.",
    ]
    if best is not None and exact is not None:
        found.append(
            f"Lowest energy found {best / size:.6g} per site, quantum Monte Carlo "
            f"{with_error(exact.value / size, (exact.sigma or 0.0) / size)}."
        )
    if table.other_system:
        found.append("The lattice is smaller than the paper's: shapes can be compared, numbers cannot.")
    return found


def claims(found: Sequence[Course]) -> list[Claim]:
    """What the text says about this figure."""
    direct = next((c for c in found if c.method == "direct"), None)
    chains = [c for c in found if c.method != "direct"]
    return [
        _quicker(direct, chains),
        _better("a significantly more accurate ground state energy than with MCMC", "energy", direct, chains),
        _better("a lower energy variance ⟨H²⟩ - ⟨H⟩² than with MCMC", "variance", direct, chains),
        _dearer(chains),
    ]


def _quicker(direct: Course | None, chains: Sequence[Course]) -> Claim:
    seen, evidence = [], []
    for chain in chains if direct else ():
        there = direct.seconds_to(chain) if direct else None
        seen.append(there is not None and there < chain.seconds[-1])
        text = "never there" if there is None else f"there after {duration(there)}"
        evidence.append(f"{chain.label} took {duration(chain.seconds[-1])}, direct sampling {text}")
    return Claim(
        "direct sampling is much quicker",
        "Experiments, on Fig. 3",
        yes_no(seen),
        "; ".join(evidence)
        + f" (seen if direct sampling reaches the final energy of MCMC, within {SIGMAS:g} σ, in less time)",
    )


def _better(text: str, quantity: str, direct: Course | None, chains: Sequence[Course]) -> Claim:
    """Seen, chain by chain, where the last value of direct sampling is lower by more than its error."""
    seen, evidence = [], []
    for chain in chains if direct else ():
        assert direct is not None
        ours, theirs = _last(direct, quantity), _last(chain, quantity)
        sigma = math.hypot(ours[1], theirs[1])
        seen.append(theirs[0] - ours[0] > SIGMAS * sigma)
        evidence.append(f"{chain.label} {theirs[0] - ours[0]:+.2g} ± {sigma:.1g}")
    return Claim(
        text,
        "Experiments, on Fig. 3",
        yes_no(seen),
        f"total {quantity} above that of direct sampling, after the last iteration: "
        + "; ".join(evidence)
        + f" (seen if above by {SIGMAS:g} σ)",
    )


def _last(course: Course, quantity: str) -> tuple[float, float]:
    if quantity == "energy":
        return course.energies[-1], course.energy_sigmas[-1]
    return course.variances[-1], course.variance_sigmas[-1]


def _dearer(chains: Sequence[Course]) -> Claim:
    """Seen between neighbouring k where the larger one costs more time an iteration."""
    ordered = sorted(chains, key=lambda c: THINNINGS.index(int(c.method.removeprefix("mcmc-k"))), reverse=True)
    return Claim(
        "increasing k comes at the expense of increased computational cost",
        "Fig. 3, caption",
        yes_no([small.seconds_a_step < large.seconds_a_step for small, large in pairwise(ordered)]),
        "seconds an iteration: " + "; ".join(f"{c.label} {c.seconds_a_step:.2g}" for c in ordered),
    )


def _draw(found: Sequence[Course], size: int, best: float | None, exact: Estimate | None, figure: Any) -> None:
    axes = figure.subplots(2, 2, sharex="col", sharey="row")
    for k, course in enumerate(found):
        colour = f"C{[2, 0, 1, 3, 4][k % 5]}"
        variances = [variance / size for variance in course.variances]
        # zero seconds have no place on a logarithmic axis
        for column, x in enumerate((course.steps, [s or math.nan for s in course.seconds])):
            if best is not None:
                errors = [(energy - best) / abs(best) or math.nan for energy in course.energies]
                axes[0, column].plot(x, errors, "o-", color=colour, ms=3, lw=1, label=course.label)
            if exact is not None:
                errors = [abs(energy - exact.value) / abs(exact.value) for energy in course.energies]
                axes[0, column].plot(x, errors, ":", color=colour, lw=1)
            axes[1, column].plot(x, variances, "o--", color=colour, ms=3, lw=1)
    for row, label in enumerate(("relative error of the energy", "Var(H)/N")):
        axes[row, 0].set_ylabel(label)
        axes[row, 0].set_yscale("log")
    axes[1, 0].set_xlabel("iteration")
    axes[1, 1].set_xlabel("seconds of training")
    axes[1, 1].set_xscale("log")
    axes[0, 0].legend(frameon=False, fontsize=8)


ARTEFACT = Artefact(
    "naqs",
    "fig3",
    "Figure 3: training at Γ = 3 J with direct sampling and with MCMC",
    cells,
    render,
    own={"direct": "Direct sampling"},
)
