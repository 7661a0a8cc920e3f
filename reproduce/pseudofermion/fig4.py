"""Figure 4: what preconditioning does to flows of the Schwinger model, along training and at its end."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from pipeline.base.numbers.formatting import with_error
from pipeline.base.numbers.result import Estimate
from reproduce.artefact import Artefact, Cell, Claim, Column, Rendering, quoted
from reproduce.colours import style
from reproduce.naqs.judgement import Answer, limit_of_few, tally
from reproduce.pseudofermion import flows
from reproduce.pseudofermion.flows import NAMES, PRECONDITIONINGS
from reproduce.tables import CellRow, Table

ROW = "schwinger"
SEEDS = (0, 1, 2)
QUANTITIES = (
    "joint_ess",
    "ess_all_draws",
    "marginal_ess",
    "conditional_kl",
    "conditional_kl_median",
    "marginal_kl",
    "infinite_variance",
    "plaquette_exact_weights",
)
PANELS = {"joint_ess": "joint ESS", "marginal_ess": "marginal ESS", "conditional_kl": "conditional divergence"}
DIVERGENCE = "conditional_kl_median"
"""That targets are compared by: configurations with near-zero modes carry the mean."""

SIGMAS = 3.0
"""Differences count beyond so many errors over seeds, and beyond those that chance has in 1 of 20 with so few seeds."""


def cells() -> list[Cell]:
    """Three seeds of each target, one at scale ``gpu``, and the reweighting of pure gauge fields."""
    made = [cell for method in PRECONDITIONINGS for cell in flows.trained(ROW, method, QUANTITIES, SEEDS)]
    column = Column("reference", "plaquette", "plaquette_exact_weights")
    settings = PRECONDITIONINGS["even-odd"][0]
    return [*made, Cell(ROW, "reference", (), (column,), stages=("baseline",), settings=settings)]


def render(table: Table) -> Rendering:
    """A line a target; quality against the step."""
    there = [method for method in PRECONDITIONINGS if flows.finished(table, method)]
    header = ["target", "seeds", "joint ESS", "marginal ESS", "conditional KL", "median"]
    header += ["marginal KL", "min s ≤ 1/2", "⟨P⟩"]
    return Rendering(
        header,
        [_line(table, method) for method in there] + _reference(table),
        claims(table, there),
        notes(table),
        (lambda figure: draw(figure, table, there)) if there else None,
        figure_size=(7.0, 2.9),
        caption="Joint and marginal effective sample size and the conditional divergence, summed over monomials, along "
        f"training, from fresh samples{_bands(table)}. Points: at the end, from the "
        "samples of the table; squares: the median over links.",
        verdict=verdict(table, there),
        keys=1,
    )


def _line(table: Table, method: str) -> list[str]:
    line = table.row(ROW, method, "conditional_kl")
    shown = [name for name in QUANTITIES if name != "ess_all_draws"]
    values = [flows.shown(table.row(ROW, method, name)) for name in shown]
    return [NAMES[method], str(line.seeds if line else 0), *values]


def _reference(table: Table) -> list[list[str]]:
    found = table.reference(ROW, "plaquette")
    if found is None:
        return []
    untrained = _untrained(table)
    size = _size(untrained) if untrained else "–"
    return [[table.reference_kind(ROW), "–", "–", size, *["–"] * 4, with_error(found.value, found.sigma)]]


def _untrained(table: Table) -> Estimate | None:
    """Effective sample size a configuration of reweighted pure gauge fields: what flows compete with."""
    found = (done.result.estimates for done in flows.finished(table, "reference") if done.result)
    return next((e for estimates in found for e in estimates if e.name == "ess"), None)


def _size(found: Estimate) -> str:
    return with_error(found.value, found.sigma) if found.sigma else f"{found.value:.2g}"


def _bands(table: Table) -> str:
    seeds = max((line.seeds for method in PRECONDITIONINGS if (line := table.row(ROW, method, DIVERGENCE))), default=0)
    return "; means over seeds with bands of a standard error" if seeds > 1 else "; one seed"


def _when(table: Table) -> str:
    """``at the end``, or after how many updates of the schedule."""
    runs = [done for method in PRECONDITIONINGS for done in flows.finished(table, method)]
    steps = sorted({done.found.step or 0 for done in runs})
    schedules = sorted({sum(phase.steps for phase in done.task.run.train.phases) for done in runs})
    if steps == schedules or len(steps) != 1 or len(schedules) != 1:
        return "at the end"
    return f"after {steps[0]} of the schedule's {schedules[0]} updates"


def _steps(table: Table, there: list[str], quantity: str, sign: int) -> tuple[list[Answer], list[str]]:
    """Whether a quantity grows (sign 1) or falls from each target to the next, and by how much."""
    answers: list[Answer] = []
    said = []
    for before, after in pairwise(there):
        one, other = table.row(ROW, before, quantity), table.row(ROW, after, quantity)
        more, less = (other, one) if sign > 0 else (one, other)
        doubted = any(
            (ROW, method, quantity) in table.undecided or _doubt(table, method, quantity) for method in (before, after)
        )
        answer = flows.larger(more, less, _limit(one, other), doubted)
        if answer is not None:
            answers.append(answer)
            said.append(f"{NAMES[before]} {flows.shown(one)}, {NAMES[after]} {flows.shown(other)}: {answer}")
    return answers, said


def _limit(*lines: CellRow | None) -> float:
    """Combined errors that a difference must exceed: an error over three seeds is itself known to a factor of two."""
    return max(SIGMAS, limit_of_few([(line.ours_sigma or 0.0, line.seeds) for line in lines if line is not None]))


def _doubt(table: Table, method: str, quantity: str) -> bool:
    """Whether the error of some seed is in doubt."""
    found = (e for done in flows.finished(table, method) for e in (done.result.estimates if done.result else ()))
    return any(e.doubt for e in found if e.name == quantity)


def claims(table: Table, there: list[str]) -> list[Claim]:
    """What Section IV.A.2 says, and what the divergence says of it."""
    first = [method for method in there if method in ("none", "even-odd")]
    later = [method for method in there if method != "none"]
    rule = f" (beyond {SIGMAS:g} errors over seeds, or more by Student's t where one error makes most of both)"
    made = []
    for text, chosen, quantity in (
        ("EO preconditioning results in significantly increased ESS", first, "joint_ess"),
        ("This improvement is also visible in the marginal ESS", first, "marginal_ess"),
        ("both the joint and marginal ESS improve, with more improvement if more Hasenbusch steps are used", later, ""),
    ):
        wanted = (quantity,) if quantity else ("joint_ess", "marginal_ess")
        found = [_steps(table, chosen, name, 1) for name in wanted]
        answers = [answer for one, _ in found for answer in one]
        evidence = "; ".join(f"{PANELS[n]}: {', '.join(said)}" for n, (_, said) in zip(wanted, found, strict=True))
        made.append(quoted(text, "Section IV.A.2", tally(answers), evidence + rule))
    answers, said = _steps(table, there, DIVERGENCE, -1)
    means = ", ".join(f"{NAMES[m]} {flows.shown(table.row(ROW, m, 'conditional_kl'))}" for m in there)
    return [
        *made,
        Claim(
            "the Hasenbusch-preconditioned target must be significantly easier to model: the conditional divergence, "
            "summed over monomials, falls from no preconditioning to even/odd to each Hasenbusch step",
            "Section IV.A.2; the divergence is ours",
            tally(answers),
            f"medians over links: {'; '.join(said)}{rule}; means, which near-zero modes of few links carry: {means}",
        ),
    ]


def verdict(table: Table, there: list[str]) -> list[str]:
    """The order of the divergences, the best model, and how far the lattice is from the paper's."""
    if not there:
        return []
    divergences = ", ".join(f"{NAMES[m]} {flows.shown(table.row(ROW, m, DIVERGENCE))}" for m in there)
    sizes = ", ".join(f"{NAMES[m]} {flows.shown(table.row(ROW, m, 'marginal_ess'))}" for m in there)
    answer = tally(_steps(table, there, DIVERGENCE, -1)[0])
    ordered = {"yes": "falls with every step of preconditioning", "no": "does not fall with preconditioning"}
    order = ordered.get(answer, f"falls with preconditioning: {answer}")
    means = ", ".join(f"{NAMES[m]} {flows.shown(table.row(ROW, m, 'conditional_kl'))}" for m in there)
    of_means = tally(_steps(table, there, "conditional_kl", -1)[0])
    told = {"yes": "fall too", "no": "do not fall"}.get(of_means, f"fall at each step: {of_means}")
    said = [
        f"The divergence of the conditional models, median over links, {order}: {divergences}. Means, which near-zero "
        f"modes of few links carry, {told}: {means}.",
        f"Marginal ESS {_when(table)}: {sizes}.",
    ]
    if size := _untrained(table):
        unknown = "" if size.sigma else " (no error known)"
        said.append(f"Reweighted pure gauge fields, without any training, have {_size(size)}{unknown}.")
    shares = [(NAMES[m], line.ours) for m in there if (line := table.row(ROW, m, "infinite_variance")) and line.ours]
    if shares:
        listed = ", ".join(f"{name} {share:.0%}" for name, share in shares)
        said.append(f"Share of configurations over which weights have an infinite variance: {listed}.")
    if lattice := flows.of_lattice(table):
        said.append(
            f"The lattice is {lattice}, not the paper's 8 × 8, and flows are shallow: the order can be compared, "
            "numbers cannot."
        )
    if len(there) < len(PRECONDITIONINGS):
        said.append(f"{len(there)} of the paper's five targets are run at this scale.")
    return said


def notes(table: Table) -> list[str]:
    """Definitions."""
    del table
    return [
        "ESS: Eq. 15 with one pseudofermion of each monomial (joint) and with exact determinants (marginal). "
        "Conditional KL: Σ_i D_KL(q(φ_i|U)‖p(φ_i|U)) with the exact normalisers, mean over links of the flow from "
        "draws, and median over links from exact spectra; "
        "targets differ in the fields they have, so that it says how well each model does on its own target.",
        "min s ≤ 1/2: the share of configurations over which some direction of some monomial has a variance of the "
        "model below half of the target's. Weights over these have an infinite variance, and the joint ESS of samples "
        "without end is zero there: any joint ESS shown is that of so many samples (`runs.csv` has n).",
        "⟨P⟩ is reweighted by exact determinants; the reference reweights pure gauge fields.",
        "Below scale `long` the lattice has 4 × 4 sites, where the paper's shifts lie below all eigenvalues of D D†: "
        "one Hasenbusch step with a shift near the middle of the spectrum stands for the paper's three.",
        "The paper prints no numbers of this figure.",
    ]


def draw(figure: Any, table: Table, there: list[str]) -> None:
    """Three panels along training."""
    panels = figure.subplots(1, 3)
    for axes, (quantity, label) in zip(panels, PANELS.items(), strict=True):
        for method in there:
            curves = flows.along(table, method, quantity)
            colour = style(method).colour
            band = flows.over(curves)
            if band is not None:
                axes.plot(band.x, band.mean, color=colour, lw=1, label=NAMES[method])
                low, high = ([m + s * e for m, e in zip(band.mean, band.sigma, strict=True)] for s in (-1, 1))
                axes.fill_between(band.x, low, high, color=colour, alpha=0.25, lw=0)
            line = table.row(ROW, method, quantity)
            if line is not None and line.ours is not None:
                steps = max((d.found.step or 0 for d in flows.finished(table, method)), default=0)
                axes.errorbar([steps], [line.ours], [line.ours_sigma or 0.0], fmt="o", color=colour, ms=3, capsize=2)
                if quantity == "conditional_kl" and (median := table.row(ROW, method, DIVERGENCE)) and median.ours:
                    axes.plot([steps], [median.ours], "s", color=colour, ms=4)
        axes.set_xlabel("step")
        axes.set_ylabel(label)
    panels[2].set_yscale("log")
    handles, labels = panels[2].get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, frameon=False, fontsize=7, ncols=4, loc="outside upper center")


ARTEFACT = Artefact(
    "pseudofermion",
    "fig4",
    "Figure 4: joint and marginal ESS of flows of the Schwinger model with different preconditioning",
    cells,
    render,
    own=dict(NAMES),
)
