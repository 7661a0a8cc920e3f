"""Figure 3: training at Γ = 3 J with direct sampling and with Markov chains, against iterations and seconds."""

from __future__ import annotations

from pipeline.base.numbers.formatting import duration, with_error
from pipeline.base.numbers.result import Estimate
from reproduce.artefact import Artefact, Cell, Column, Rendering
from reproduce.naqs import noise, shared
from reproduce.naqs.courses import LABELS, THINNINGS, Course, courses, distance, lowest
from reproduce.naqs.courses_figure import draw, points_in_all
from reproduce.naqs.judgement import with_exponent
from reproduce.naqs.rivalry import claims
from reproduce.tables import Table

ROW = "G3.0"
PHYSICS = ("system.coupling=1.0", "system.field=3.0")
SETTINGS = "naqs/fig3"
CHAINS = 20
"""Ours: the paper does not say how many chains share a batch."""


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


def render(table: Table) -> Rendering:
    """A line a training; error and variance against iterations and seconds."""
    found = courses(table)
    size = table.finished[0].task.run.system.size
    best, exact = lowest(found), table.reference(ROW, "energy")
    header = ["training samples", "iterations", "training", "s/iteration", "energy per site", "error to QMC"]
    header += ["error to lowest found", "Var(H)/N", "direct sampling compatible after"]
    clipped = noise.counted(points_in_all(found, best, exact))
    return Rendering(
        header,
        [_line(course, found, size, best, exact) for course in found],
        claims(found),
        notes(table, best, exact, size),
        (lambda figure: draw(found, size, best, exact, figure)) if found else None,
        (7.0, 7.2),
        "Relative error of the energy to quantum Monte Carlo (top), to the lowest energy found (middle, the paper's "
        "axis) and energy variance per site (bottom), with standard errors, against iterations (left) and seconds of "
        "training (right, without the untrained state). The lowest energy has no distance to itself and no point in "
        f"the middle. {noise.CLIPPED} {clipped}".strip(),
        verdict=verdict(table, found, exact),
    )


def _line(course: Course, found: list[Course], size: int, best: Estimate | None, exact: Estimate | None) -> list[str]:
    energy = course.last("energy")
    return [
        course.label,
        f"{course.steps[-1]:.0f}",
        duration(course.seconds[-1]),
        f"{course.seconds_a_step:.2g}",
        with_error(energy.value / size, None if energy.sigma is None else energy.sigma / size),
        with_exponent(*distance(energy, exact)) if exact else "–",
        "–" if best is None else "lowest" if energy.value == best.value else with_exponent(*distance(energy, best)),
        with_error(course.variances[-1] / size, course.variance_sigmas[-1] / size),
        _compatible(course, found),
    ]


def _compatible(course: Course, found: list[Course]) -> str:
    """Seconds until direct sampling, with the same seed, is first compatible with the last energy of this training."""
    direct = next((c for c in found if c.method == "direct" and c.seed == course.seed), None)
    if direct is None or course.method == "direct":
        return "–"
    seconds = direct.compatible_after(course)
    return "never" if seconds is None else duration(seconds)


def verdict(table: Table, found: list[Course], exact: Estimate | None) -> list[str]:
    """How accurate each sampler's training became, and what one training each can say."""
    direct = [c for c in found if c.method == "direct"]
    chains = [c for c in found if c.method != "direct"]
    if not direct or not chains or exact is None:
        return []
    (value, sigma) = distance(direct[0].last("energy"), exact)
    errors = sorted((distance(c.last("energy"), exact) for c in chains), key=lambda one: one[0])
    lengths = table.finished[0].task.run.system
    sentences = [
        f"Direct sampling (NAQS) ends {with_exponent(value, sigma)} from quantum Monte Carlo after "
        f"{direct[0].steps[-1]:.0f} iterations, MCMC between {with_exponent(*errors[0])} and "
        f"{with_exponent(*errors[-1])}"
        + (f", on {_lattice(lengths)} instead of 21 × 21." if table.other_system else ".")
    ]
    seeds = min(sum(c.method == method for c in found) for method in {c.method for c in found})
    if seeds < 2:
        sentences.append(
            "Which sampler trains better or faster is undecided: there is one training each, and how much trainings "
            "differ by their seed is not known."
        )
    cheap, dear = direct[0].seconds_a_step, max(chains, key=lambda c: c.seconds_a_step)
    sentences.append(
        f"An iteration costs {dear.seconds_a_step / cheap:.1f} times as much with {LABELS[dear.method]} as with direct "
        "sampling."
    )
    return sentences


def _lattice(system: object) -> str:
    """``8 × 8``."""
    return f"{getattr(system, 'length_x', '?')} × {getattr(system, 'length_y', '?')}"


def notes(table: Table, best: Estimate | None, exact: Estimate | None, size: int) -> list[str]:
    """Definitions, and what the clock counts."""
    found = [
        "Every point is an inference on the state kept at that iteration: fresh samples, drawn directly for every "
        "training, none from its optimisation trace. The lowest energy found is that of any of these states, as in the "
        "paper: the least of many noisy numbers, biased downwards by their noise, and no bound.",
        "Seconds are of training alone, without measuring and checkpointing; the burn-in of the chains is in the first "
        "iteration. Runs go side by side, one core or device share each, so that seconds compare samplers only.",
        "Compatible: not above the other's last energy by more than two combined standard errors, at a snapshot. That "
        "is no proof of being as low.",
        f"MCMC: {CHAINS} chains of single flips that go on from one iteration to the next, k proposals of a chain "
        "between two of its samples.",
    ]
    if best is not None and exact is not None:
        found.append(
            f"Lowest energy found {with_error(best.value / size, (best.sigma or 0.0) / size)} per site, quantum Monte "
            f"Carlo {with_error(exact.value / size, (exact.sigma or 0.0) / size)}."
        )
    if table.other_system:
        found.append("The lattice is not the paper's: shapes can be compared, numbers cannot.")
    return found


ARTEFACT = Artefact(
    "naqs",
    "fig3",
    "Figure 3: training at Γ = 3 J with direct sampling and with MCMC",
    cells,
    render,
    own={"direct": "Direct sampling"},
)
