"""Extra figure: mode collapse of proposals trained by the backward divergence, and what effective sample sizes show."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.base.numbers.result import Curve
from pipeline.spin.vmc.schema import COVERAGES
from reproduce.artefact import Artefact, Cell, Claim, Column, ExtraCurve, Rendering, quoted, yes_no
from reproduce.colours import style
from reproduce.nir import shared
from reproduce.tables import Table

ROW = "4x4"
SETTINGS = "nir/divergences"
FORWARD, BACKWARD = "forward", "backward"
NAMES = {FORWARD: "forward divergence", BACKWARD: "backward divergence"}
SEEDS = (0, 1, 2)

MISSED = 0.25
"""Share of |Ψ|² that a proposal does not cover, from which it counts as collapsed; ours."""

NEIGHBOURS, DEPTH = 10, 0.5
"""Steps on both sides of one, and the part of their median below which its effective sample size spikes; ours."""


@dataclass(frozen=True)
class Course:
    """One training.

    Attributes:
        seen: effective samples a proposal of every step, as the weights of its proposals show them.
        steps: of the snapshots.
        overlap, exact, minority: Σ min(|Ψ|², q), effective samples a proposal of infinitely many, and the share of q on
            the rarer sign of Σ σz, by sums over all configurations.
        own: the same share of |Ψ|², at the end.
    """

    method: str
    seed: int
    seen: tuple[float, ...]
    steps: tuple[float, ...]
    overlap: tuple[float, ...]
    exact: tuple[float, ...]
    minority: tuple[float, ...]
    own: float

    @staticmethod
    def of_kept(tree: Mapping[str, Any]) -> Course:
        """From JSON."""
        values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in tree.items()}
        return Course(**values)

    @property
    def missed(self) -> float:
        """Σ max(|Ψ|² - q, 0) at the end, the share of |Ψ|² that q does not cover."""
        return 1.0 - self.overlap[-1]

    @property
    def collapsed(self) -> bool:
        """Whether q leaves out much of |Ψ|², on whichever sign of the magnetisation that is."""
        return self.missed >= MISSED

    @property
    def spikes(self) -> list[int]:
        """Steps whose effective sample size is far below that of their neighbours."""
        found = []
        for k, value in enumerate(self.seen):
            around = [*self.seen[max(0, k - NEIGHBOURS) : k], *self.seen[k + 1 : k + 1 + NEIGHBOURS]]
            if around and value < DEPTH * statistics.median(around):
                found.append(k)
        return found

    @property
    def last(self) -> float:
        """Median of what is seen over the last third of the training."""
        return statistics.median(self.seen[-max(1, len(self.seen) // 3) :])


def cells() -> list[Cell]:
    """Trainings of several seeds with either divergence."""
    made = []
    for method in NAMES:
        columns = tuple(Column(method, name, name) for name in COVERAGES)
        change = (f"train.sampler.divergence={method}",)
        made.append(Cell(ROW, method, change, columns, SEEDS, settings=SETTINGS))
    return made


def courses(table: Table) -> list[Course]:
    """Every finished training; as kept by the report where it is rendered anew."""
    if "courses" in table.kept:
        return [Course.of_kept(tree) for tree in table.kept["courses"]]
    made = []
    for done, by_name in shared.along_training(table, COVERAGES):
        overlap, exact, minority, own = (by_name[name] for name in COVERAGES)
        assert done.found.trained is not None
        seen = tuple(round(value, 6) for value in done.found.trained.series()["efficiency"][1])
        where = done.task.cell.method, done.task.seed
        made.append(Course(*where, seen, overlap.x, overlap.y, exact.y, minority.y, own.y[-1]))
    return made


def render(table: Table) -> Rendering:
    """A line a training; what is seen and what is the case against the step."""
    found = courses(table)
    header = ["divergence", "seed", "ESS/proposals seen", "least seen", "spikes", "ESS/proposals exact", "overlap"]
    header += ["rarer sign, q", "rarer sign, |Ψ|²"]
    return Rendering(
        header,
        [_line(course) for course in found],
        claims(found),
        notes(table),
        (lambda figure: draw(figure, found)) if found else None,
        figure_size=(7.0, 2.8),
        caption="(a) Effective samples a proposal as the weights of every step's proposals show them, a line a "
        "training. (b) The same of infinitely many proposals, by a sum over all configurations. (c) Share of "
        "the proposal on the rarer sign of the magnetisation, half of |Ψ|² by symmetry (dotted).",
        verdict=verdict(found),
        kept={"courses": [asdict(course) for course in found]},
        curves=[_curve(course) for course in found],
        keys=2,
    )


def _curve(course: Course) -> ExtraCurve:
    steps = [float(k) for k in range(len(course.seen))]
    curve = Curve.of("efficiency_of_all_steps", "step", "efficiency", steps, course.seen)
    return ExtraCurve(ROW, course.method, course.seed, curve)


def _line(course: Course) -> list[str]:
    return [
        NAMES[course.method],
        str(course.seed),
        f"{course.last:.2g}",
        f"{min(course.seen):.1g}",
        str(len(course.spikes)),
        f"{course.exact[-1]:.2g}",
        f"{course.overlap[-1]:.3f}",
        f"{course.minority[-1]:.2g}",
        f"{course.own:.2g}",
    ]


def _of(found: Sequence[Course], method: str) -> list[Course]:
    return [course for course in found if course.method == method]


def claims(found: Sequence[Course]) -> list[Claim]:
    """What Section 3.3 says."""
    if not found:
        return []
    forward, backward = _of(found, FORWARD), _of(found, BACKWARD)
    return [
        quoted(
            "Training with the backward KLD often results in mode collapse",
            "Section 3.3",
            yes_no([course.collapsed for course in backward]),
            f"{_coverage(backward)} (collapsed where q leaves out at least {MISSED:.0%} of |Ψ|², ours)",
        ),
        quoted(
            "occasionally spikes when a configuration with very small",
            "Section 3.3",
            yes_no([bool(course.spikes) for course in backward]),
            f"steps at which ESS is less than {DEPTH:g} times the median of the {NEIGHBOURS} before and after, ours: "
            + _spikes(backward),
        ),
        quoted(
            "switched to the forward KLD, after which the issue disappeared",
            "Section 3.3",
            yes_no([not course.collapsed and not course.spikes for course in forward]),
            f"{_coverage(forward)}; spikes: {_spikes(forward)}, of the backward divergence {_spikes(backward)} "
            "(seen if there is neither)",
        ),
    ]


def _spikes(found: Sequence[Course]) -> str:
    return ", ".join(str(len(course.spikes)) for course in found) or "–"


def _coverage(found: Sequence[Course]) -> str:
    """What each proposal leaves out, and how it stands to the two modes."""
    missed = ", ".join(f"{course.missed:.1%}" for course in found) or "–"
    rarer = ", ".join(f"{course.minority[-1]:.2g}" for course in found) or "–"
    return f"|Ψ|² that q does not cover: {missed}; share of q on the rarer sign, half of |Ψ|²: {rarer}"


def verdict(found: Sequence[Course]) -> list[str]:
    """Of either divergence, what the weights show and what is the case."""
    said = []
    for method, name in NAMES.items():
        own = _of(found, method)
        if not own:
            continue
        lost = sum(course.collapsed for course in own)
        spikes = [len(course.spikes) for course in own]
        text = f"{name[0].upper()}{name[1:]}: {lost} of {len(own)} proposals leave out much of |Ψ|² "
        text += f"({_range([100.0 * c.missed for c in own])} %); the "
        text += f"effective samples a proposal are {_range([c.last for c in own])} by the weights of those proposed "
        text += f"and {_range([c.exact[-1] for c in own])} by a sum over all configurations, with "
        text += f"{min(spikes)} to {max(spikes)} spikes a training."
        said.append(text)
    blind = [course for course in found if course.collapsed and course.last > DEPTH]
    if blind:
        said.append(
            f"An effective sample size says nothing of what is not proposed: it is {_listed([c.last for c in blind])} "
            f"where {_listed([100.0 * c.missed for c in blind])} % of |Ψ|² are missing."
        )
    return said


def _listed(values: Sequence[float]) -> str:
    return " and ".join(f"{value:.2g}" for value in values)


def _range(values: Sequence[float]) -> str:
    low, high = f"{min(values):.2g}", f"{max(values):.2g}"
    return low if low == high else f"{low} to {high}"


def notes(table: Table) -> list[str]:
    """Definitions."""
    del table
    return [
        "The paper describes this and shows no numbers; system and settings are ours. The state is even under the spin "
        "flip by projection, so that both signs of the magnetisation have half of |Ψ|² whatever is proposed: a lost "
        "mode is lost by the proposal alone. The number of proposals is fixed, as in Figure 3.",
        "ESS/proposals seen: median over the last third of the steps; exact: 1/Σ |Ψ|⁴/q over all configurations, at "
        "the end. Overlap: Σ min(|Ψ|², q), the share of |Ψ|² that the proposal covers.",
        "Infinitely many proposals would find every mode, for no probability is below a floor: so small an exact "
        "efficiency says that no number of proposals that anybody makes will.",
    ]


def draw(figure: Any, found: Sequence[Course]) -> None:
    """What is seen at every step, what is the case at the snapshots."""
    seen, exact, rarer = figure.subplots(1, 3)
    named = set[str]()
    for course in found:
        colour = style(course.method).colour
        label = None if course.method in named else NAMES[course.method]
        named.add(course.method)
        seen.plot(range(len(course.seen)), course.seen, color=colour, lw=0.7, label=label)
        exact.plot(course.steps, course.exact, "o-", color=colour, ms=3, lw=0.8)
        rarer.plot(course.steps, course.minority, "o-", color=colour, ms=3, lw=0.8)
    rarer.axhline(0.5, color="grey", ls=":", lw=0.8)
    labels = ("ESS/proposals, seen", "ESS/proposals, exact", "share of q on the rarer sign")
    for axes, label in zip((seen, exact, rarer), labels, strict=True):
        axes.set_yscale("log")
        axes.set_xlabel("step")
        axes.set_ylabel(label)
    low = min(min(course.seen) for course in found)
    seen.set_ylim(10.0 ** math.floor(math.log10(max(low, 1e-4))), 1.5)
    seen.legend(frameon=False, fontsize=7)


ARTEFACT = Artefact(
    "nir",
    "divergences",
    "Extra figure: proposals trained by the forward and by the backward divergence",
    cells,
    render,
    own=dict(NAMES),
)
