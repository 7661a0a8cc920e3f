"""Figure 5: joint and marginal effective sample sizes along the training of the SU(3) flow."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.analysis.verdict import no_verdict
from pipeline.base.numbers.formatting import with_error
from pipeline.base.numbers.result import Curve, Estimate
from pipeline.base.palette import CYCLE
from reproduce.artefact import Artefact, Cell, Claim, Column, ExtraCurve, Rendering, quoted
from reproduce.pseudofermion.shared import estimate, printed, shown
from reproduce.published import Published, judged
from reproduce.tables import Finished, Table

ROW, FLOW = "su3", "flow"
SETTINGS = "pseudofermion/su3_joint"
ESS = {"joint_ess": "joint", "marginal_ess": "marginal"}
QUANTITIES = (*ESS, "joint_kl", "marginal_kl", "acceptance", "plaquette")
PRINTED = ("su3-L16", FLOW)
SIGMAS = 2.0


@dataclass(frozen=True)
class Course:
    """One effective sample size along the training, from fresh samples without their errors."""

    quantity: str
    steps: tuple[float, ...]
    values: tuple[float, ...]


def cells() -> list[Cell]:
    """One training."""
    columns = tuple(Column(FLOW, name, name) for name in QUANTITIES)
    return [Cell(ROW, FLOW, (), columns, settings=SETTINGS)]


def courses(table: Table) -> list[Course]:
    """Both effective sample sizes; as kept by the report where it is rendered anew."""
    if "courses" in table.kept:
        return [_of_kept(tree) for tree in table.kept["courses"]]
    done = _done(table)
    if done is None or done.found.trained is None:
        return []
    series = done.found.trained.series()
    return [Course(name, *(tuple(map(float, part)) for part in series[name])) for name in ESS if name in series]


def _of_kept(tree: Mapping[str, Any]) -> Course:
    return Course(tree["quantity"], tuple(tree["steps"]), tuple(tree["values"]))


def _done(table: Table) -> Finished | None:
    return next((done for done in table.finished if done.result is not None), None)


def render(table: Table) -> Rendering:
    """A line an effective sample size; both against the step."""
    found, done = courses(table), _done(table)
    last = {name: estimate(done, name) if done else None for name in QUANTITIES}
    steps = done.found.step if done else None
    header = ["quantity", "after the training", "from", "printed", "vs paper"]
    body = [_line(table, name, last[name]) for name in QUANTITIES if last[name]]
    return Rendering(
        header,
        body,
        claims(table, found, last),
        NOTES,
        (lambda figure: draw(figure, found, last, steps)) if found else None,
        figure_size=(7.0, 3.4),
        caption="Effective sample sizes a configuration along the training, each from fresh samples; points with "
        "errors: from the samples of the inference.",
        verdict=verdict(table, last, steps),
        kept={"courses": [asdict(course) for course in found]},
        curves=[_curve(course) for course in found],
        keys=1,
    )


def _curve(course: Course) -> ExtraCurve:
    name = f"{course.quantity}_along_training"
    return ExtraCurve(ROW, FLOW, 0, Curve.of(name, "step", course.quantity, course.steps, course.values))


def _number(quantity: str) -> Published | None:
    try:
        return printed(*PRINTED, quantity)
    except KeyError:
        return None


def _judged(table: Table, quantity: str, ours: Estimate | None) -> str:
    """How ours stands to the printed number, which is of the paper's lattice alone."""
    number = _number(quantity)
    if ours is None or number is None:
        return "–"
    return "different-system" if table.other_system else judged(ours, number)[0]


def _shown(ours: Estimate | None) -> str:
    """With its error, or three digits where there is none."""
    return f"{ours.value:.3g}" if ours is not None and ours.sigma is None else shown(ours)


def _line(table: Table, quantity: str, ours: Estimate | None) -> list[str]:
    number = _number(quantity)
    drawn = f"{ours.n} configurations" if ours and ours.n else "–"
    said = f"~{number.shown()}" if number else "–"
    return [quantity.replace("_", " "), _shown(ours), drawn, said, _judged(table, quantity, ours)]


def claims(table: Table, found: Sequence[Course], last: Mapping[str, Estimate | None]) -> list[Claim]:
    """What Section IV.B says, and what the figure shows."""
    made = []
    for quantity, text in (
        ("joint_ess", "A joint ESS of ∼3% is achieved after 54k steps of training"),
        ("acceptance", "When using this model in sampling, this yields an acceptance rate of ∼8%"),
    ):
        number, verdict = _number(quantity), _judged(table, quantity, last[quantity])
        assert number is not None
        seen = {"–": "not run", "different-system": "not-comparable", "agrees": "yes", "undecided": "undecided"}
        evidence = f"{_shown(last[quantity])} on our lattice" if last[quantity] else "–"
        made.append(quoted(text, number.location, seen.get(verdict, "no"), evidence))
    where = "Fig. 5; by construction for samples without end: pseudofermions add variance to the weights"
    made.append(Claim("the marginal ESS is above the joint one", where, *_above(found, last)))
    return made


def _above(found: Sequence[Course], last: Mapping[str, Estimate | None]) -> tuple[str, str]:
    """Whether it is so at the end, beyond errors, and how often along the training."""
    joint, marginal = (last[name] for name in ESS)
    if joint is None or marginal is None:
        return "not run", "–"
    by_name = {course.quantity: dict(zip(course.steps, course.values, strict=True)) for course in found}
    both = by_name.get("joint_ess", {}).keys() & by_name.get("marginal_ess", {}).keys()
    times = sum(by_name["marginal_ess"][k] > by_name["joint_ess"][k] for k in both)
    evidence = f"{shown(marginal)} and {shown(joint)} after the training; before, in {times} of {len(both)} estimates"
    evidence += f" (seen if beyond {SIGMAS:g} σ after the training)"
    if no_verdict(joint) or no_verdict(marginal):
        return "undecided", evidence
    pull = (marginal.value - joint.value) / math.hypot(joint.sigma or 0.0, marginal.sigma or 0.0)
    return ("undecided" if abs(pull) <= SIGMAS else "by construction" if pull > 0 else "no"), evidence


def verdict(table: Table, last: Mapping[str, Estimate | None], steps: int | None) -> list[str]:
    """Where the training ends."""
    joint, marginal = (last[name] for name in ESS)
    if joint is None or marginal is None:
        return []
    said = [
        f"After {steps} steps the joint ESS is {shown(joint)} and the marginal ESS {shown(marginal)} of a "
        f"configuration, from {joint.n} fresh ones."
    ]
    said += [
        f"The {ESS[name]} ESS is not to be relied upon: {reason}."
        for name in ESS
        if (one := last[name]) and (reason := no_verdict(one))
    ]
    if table.other_system:
        run, number = table.finished[0].task.run, _number("joint_ess")
        length = run.system.length
        percent = f"{number.value:.0%}" if number else "–"
        said.append(
            f"The lattice is {length} × {length}, with flows that are as much shallower; the paper's ~{percent} is of "
            "16 × 16 sites and cannot be set beside it."
        )
    return said


NOTES = (
    "Joint ESS: Eq. 15 with one pseudofermion draw of each monomial; marginal ESS: with exact determinants. Both are "
    "of the theory itself. Weights have heavy tails, and an estimate along the training, which has no error, may miss "
    "rare large ones: values after the training are from as many samples as the table says.",
    "The acceptance is that of a chain of independence Metropolis whose weights have the draws of the inference.",
)


def draw(figure: Any, found: Sequence[Course], last: Mapping[str, Estimate | None], steps: int | None) -> None:
    """Both against the step, with the values after the training."""
    axes = figure.subplots()
    for colour, course in zip(CYCLE[1::-1], found, strict=False):
        axes.plot(course.steps, course.values, color=colour, lw=1.0, label=ESS[course.quantity])
        final = last[course.quantity]
        if final is not None and steps is not None:
            text = with_error(final.value, final.sigma)
            axes.errorbar([steps], [final.value], [final.sigma or 0.0], fmt="o", color=colour, ms=4, capsize=2)
            axes.annotate(
                text, (steps, final.value), xytext=(-4, 5), textcoords="offset points", ha="right", fontsize=7
            )
    axes.set_xlabel("training step")
    axes.set_ylabel("ESS")
    axes.set_ylim(bottom=0.0)
    axes.legend(frameon=False, loc="upper left")


ARTEFACT = Artefact(
    "pseudofermion",
    "fig5",
    "Figure 5: joint and marginal effective sample sizes of the SU(3) flow along its training",
    cells,
    render,
    own={FLOW: "joint flow"},
    labels={ROW: "SU(3), N_f = 2"},
)
