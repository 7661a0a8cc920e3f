"""Figure 1: the energy along the optimisation, with symmetries restored one by one."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

from pipeline.base.numbers.formatting import with_error
from pipeline.base.palette import CYCLE
from reproduce.artefact import Artefact, Cell, Claim, Rendering, quoted
from reproduce.naqs.judgement import Answer, difference_in_sigmas, tally, with_exponent
from reproduce.tables import Table
from reproduce.vit_sr import shared
from reproduce.vit_sr.courses import Course, Phase, courses

ROW = "10x10"
SETTINGS = "vit_sr/fig1"
SIGMAS = 2.0
INSET = 200
"""Steps at both ends of a phase that the paper's inset shows."""
COLOURS = list(CYCLE[:4])
"""Blue, green, orange and red, as in the paper."""


def cells() -> list[Cell]:
    """One training, inferred at the end of each phase, and what it is compared with."""
    trained = Cell(ROW, shared.VIT, shared.PHYSICS, shared.columns(shared.VIT), settings=SETTINGS)
    column = shared.reference_columns()
    return [trained, Cell(ROW, "reference", shared.PHYSICS, column, stages=("baseline",), settings=SETTINGS)]


def render(table: Table) -> Rendering:
    """A line a phase; the energy against the step."""
    found = courses(table, ROW, shared.VIT)
    exact = table.row(ROW, "reference")
    reference = exact.ours if exact is not None else None
    header = ["symmetries", "steps", "energy per site", "change", "error to reference"]
    body = [line for course in found for line in _lines(course, reference)]
    return Rendering(
        header,
        body,
        claims(found),
        notes(table),
        (lambda figure: draw(figure, found[0], reference)) if found else None,
        figure_size=(7.0, 4.2),
        caption="Energy per site of the batches of the training, means over stretches of steps, and of fresh samples "
        "at the end of each phase with standard errors. Colours: symmetries that the state is projected on. Inset: the "
        f"first and the last {INSET} steps of the phases after the first. Dashed: the reference.",
        verdict=verdict(found, table),
        kept={"courses": [course.kept() for course in found]},
    )


def _lines(course: Course, reference: float | None) -> list[list[str]]:
    lines = []
    for k, phase in enumerate(course.phases):
        before = course.phases[k - 1] if k else None
        change = "–" if before is None else with_error(phase.energy - before.energy, _hypot(phase, before))
        error = "–"
        if reference and math.isfinite(phase.energy):
            error = with_exponent((phase.energy - reference) / abs(reference), phase.sigma / abs(reference))
        steps = f"{phase.first + 1} to {phase.last}"
        lines.append([phase.name, steps, with_error(phase.energy, phase.sigma), change, error])
    return lines


def _hypot(a: Phase, b: Phase) -> float:
    return math.hypot(a.sigma, b.sigma)


def _decreases(found: list[Course]) -> list[Answer]:
    """Of each restored symmetry, whether the energy at the end of its phase is below that before it."""
    answers: list[Answer] = []
    for course in found:
        for before, after in pairwise(course.phases):
            pull = difference_in_sigmas(after.energy, after.sigma, before.energy, before.sigma)
            if pull is None or not math.isfinite(pull) or abs(pull) <= SIGMAS:
                answers.append("undecided")
            else:
                answers.append("yes" if pull < 0 else "no")
    return answers


def claims(found: list[Course]) -> list[Claim]:
    """What the text says about this figure."""
    steps = [
        f"{after.name}: {with_error(after.energy - before.energy, _hypot(before, after))}"
        for course in found
        for before, after in pairwise(course.phases)
    ]
    return [
        quoted(
            "Whenever a new symmetry is restored, the energy reliably decreases",
            "Numerical calculations",
            tally(_decreases(found)),
            "; ".join(steps)
            + f" per site, from fresh samples at the ends of the phases (beyond {SIGMAS:g} σ; the steps "
            "of a phase themselves lower it, too, as in the paper)" * bool(steps),
        )
    ]


def verdict(found: list[Course], table: Table) -> list[str]:
    """What the symmetries gave, and how far the last state is from the reference."""
    if not found or len(found[0].phases) < 2:
        return []
    first, last = found[0].phases[0], found[0].phases[-1]
    gain = with_error(first.energy - last.energy, _hypot(first, last))
    sentences = [
        f"From {first.name} to {last.name} the energy falls by {gain} per site; the last state is "
        f"{shared.error(table.row(ROW, shared.VIT))} from the reference."
    ]
    if table.other_system:
        system = table.finished[0].task.run.system
        sentences.append(f"The lattice is {system.length_x} × {system.length_y}, not the paper's.")
    return sentences


def notes(table: Table) -> list[str]:
    """Conventions."""
    found = [
        "Energies per site for spins S = σ/2. Energies of the batches have the noise of a batch; those in the table "
        "are from fresh samples of the state at the end of each phase.",
        "The paper does not print the length of the first phase, nor numbers of this figure.",
    ]
    if table.other_system:
        found.append("The lattice is not the paper's: shapes can be compared, numbers cannot.")
    return found


def draw(figure: Any, course: Course, reference: float | None) -> None:
    """The course of a training, with an inset of the ends of its later phases."""
    axes = figure.subplots()
    inset = axes.inset_axes((0.48, 0.42, 0.5, 0.55)) if len(course.phases) > 1 else None
    for colour, phase in zip(COLOURS * len(course.phases), course.phases, strict=False):
        inside = [(x, y) for x, y in zip(course.steps, course.energies, strict=True) if phase.first <= x < phase.last]
        if not inside:
            continue
        x, y = zip(*inside, strict=True)
        axes.plot(x, y, color=colour, lw=0.8, label=phase.name)
        sigma = phase.sigma if math.isfinite(phase.sigma) else 0.0
        axes.errorbar([phase.last], [phase.energy], [sigma], fmt="o", color=colour, ms=4, capsize=2)
        if inset is not None:
            shown = [(a, b) for a, b in inside if a < phase.first + INSET or a >= phase.last - INSET]
            if phase is course.phases[0]:
                shown = [(a, b) for a, b in inside if a >= phase.last - INSET]
            inset.plot([a for a, _ in shown], [b for _, b in shown], ".", color=colour, ms=2)
            inset.errorbar([phase.last], [phase.energy], [sigma], fmt="o", color=colour, ms=3)
    if reference is not None:
        for one in (axes, *([inset] if inset is not None else [])):
            one.axhline(reference, color="0.4", ls="--", lw=0.8)
        lowest, highest = min(course.energies), max(course.energies)
        axes.set_ylim(min(lowest, reference) - 0.05 * (highest - lowest), highest)
    if inset is not None:
        ends = [p.energy for p in course.phases if math.isfinite(p.energy)] + ([reference] if reference else [])
        width = (max(ends) - min(ends)) or 1e-6
        inset.set_ylim(min(ends) - 0.2 * width, max(ends) + 0.5 * width)
        inset.tick_params(labelsize=7)
    axes.set_xlabel("step")
    axes.set_ylabel("energy per site")
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(0.1, 0.95), fontsize=7)


ARTEFACT = Artefact(
    "vit_sr",
    "fig1",
    "Figure 1: optimisation of the deep ViT on the 10 × 10 lattice, symmetries restored one by one",
    cells,
    render,
    own={shared.VIT: "Deep ViT"},
)
