"""The numbers that Section IV prints in its text: condition numbers, effective sample sizes and acceptance rates."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from pipeline.base.numbers.result import Estimate
from reproduce.artefact import Artefact, Cell, Claim, Column, Derived, Rendering, yes_no
from reproduce.colours import style
from reproduce.pseudofermion import flows, marginals
from reproduce.pseudofermion.flows import FLOW, NAMES, PRECONDITIONINGS
from reproduce.pseudofermion.marginals import OURS_ALONE, REWEIGHTING, WIDE
from reproduce.pseudofermion.shared import estimate, printed
from reproduce.published import Published, published
from reproduce.tables import CellRow, Finished, Table

SMALL, LARGE, SU3 = "schwinger-L8", "schwinger-L16", "su3-L16"
HMC = "hmc-monomials"
"""Hybrid Monte Carlo with the paper's three shifts on its lattice: same matrices, another ensemble than the flow's."""

ENSEMBLES = ("none", "even-odd", "hasenbusch-3")
"""Flows that Section IV.A.2 prints condition numbers of."""

ENDS = ("", "_median", "_max")
MODEL = {
    "joint_ess": "joint_ess",
    "marginal_ess": "marginal_ess",
    "acceptance_one_draw": "acceptance",
    "ess_all_draws": "joint_ess_64_pseudofermions",
}
"""Estimates of the flow of Fig. 2 and what ``published.csv`` calls them."""

SU3_MODEL = {"joint_ess": "joint_ess", "acceptance": "acceptance"}
"""The same of the flow of Fig. 5."""

SETTINGS = ("configurations", "thinning", "independent_configurations")
"""Quantities that are amounts of statistics: nothing to measure."""

MONOMIALS = 4
"""With three shifts."""

STATES = "States of 8 × 8 sites, trained at scales `long` and `gpu`, come with the repository and are only drawn from."

DRAWN = 40_000
"""Configurations of which the paper has a largest condition number: that of fewer is lower."""


def cells() -> list[Cell]:
    """Seed 0 of trainings of Figures 2, 4 and 5, and ensembles."""
    columns = tuple(Column(FLOW, name, quantity) for name, quantity in MODEL.items())
    made = [Cell(LARGE, FLOW, (), columns, settings="pseudofermion/fig2")]
    for method in ENSEMBLES:
        wanted = tuple(
            Column(method, f"condition_number_monomial_{i}{end}", _name(method, i) + end)
            for i in range(MONOMIALS if method == "hasenbusch-3" else 1)
            for end in ENDS
        )
        if method != "hasenbusch-3":
            made.append(Cell(SMALL, method, (), wanted, settings=PRECONDITIONINGS[method][0]))
            continue
        wanted += (marginals.column(method),)
        made.append(Cell(SMALL, method, (), wanted, settings="pseudofermion/trained", scales=("laptop",)))
        made.append(Cell(SMALL, method, (), wanted, settings=PRECONDITIONINGS[method][0], scales=flows.LARGE))
    made.append(
        Cell(SMALL, WIDE, (), (marginals.column(WIDE),), settings="pseudofermion/trained_wide", scales=("laptop",))
    )
    wanted = tuple(Column(FLOW, name, quantity) for name, quantity in SU3_MODEL.items())
    longest = Cell(SU3, FLOW, (), wanted, settings="pseudofermion/su3_joint")
    return [longest, *made, *_ensembles()]


def _ensembles() -> list[Cell]:
    """What takes no training: pure gauge fields, and hybrid Monte Carlo with three shifts."""
    small: dict[str, Any] = {"stages": ("baseline",), "scales": ("laptop", "paper")}  # no matter of seconds
    ess = (Column(REWEIGHTING, "ess", "marginal_ess"),)
    fields = Cell(SMALL, REWEIGHTING, ("baseline=reweighting",), ess, settings="pseudofermion/small", **small)
    names = ["condition_number", "condition_number_even_odd"]
    names += [f"condition_number_monomial_{i}" for i in range(MONOMIALS)]
    wanted = tuple(Column(HMC, name + end, name + end) for name in names for end in ENDS)
    return [fields, Cell(SMALL, HMC, (), wanted, settings="pseudofermion/small_hasenbusch", **small)]


def _name(method: str, i: int) -> str:
    """As ``published.csv`` has it; monomials of three shifts by their number."""
    return f"condition_number_monomial_{i}" if method == "hasenbusch-3" else "condition_number"


def derived(table: Table) -> Sequence[Derived]:
    """The largest mean and maximum of all monomials of the flow with three steps."""
    made = []
    for done in flows.finished(table, "hasenbusch-3"):
        for end in ("", "_max"):
            found = monomials(done, end)
            if found:
                largest = max(found, key=lambda e: e.value)
                quantity = f"condition_number_hasenbusch{end}"
                made.append(Derived(SMALL, FLOW, quantity, largest, ("hasenbusch-3",)))
    return made


def monomials(done: Finished, end: str) -> list[Estimate]:
    """Condition numbers of all monomials of a run."""
    found = (estimate(done, f"condition_number_monomial_{i}{end}") for i in range(MONOMIALS))
    return [e for e in found if e is not None]


def render(table: Table) -> Rendering:
    """A line a printed number; then condition numbers monomial by monomial."""
    header = ["lattice", "model", "quantity", "ours", "printed", "vs paper"]
    body = [_printed_line(table, number) for number in measured()]
    body += [line for method in OURS_ALONE for line in marginals.line(table, method)]
    body += [line for method in (*ENSEMBLES, HMC) for line in _conditions(table, method)]
    return Rendering(
        header,
        body,
        verdict=verdict(table),
        keys=3,
        claims=claims(table),
        notes=notes(table),
        draw=(lambda figure: draw(figure, table)) if _drawn(table) else None,
        figure_size=(7.0, 3.2),
        caption="Condition numbers: median (bar), mean (point) and maximum (cross) of each matrix; open circles: what "
        "the paper prints for means.",
    )


def measured() -> list[Published]:
    """Printed numbers that are results."""
    found = (n for n in published("pseudofermion") if n.artefact == "pseudofermion/text")
    return [n for n in found if n.quantity not in SETTINGS]


def _printed_line(table: Table, number: Published) -> list[str]:
    row = table.row(number.cell, number.method, number.quantity)
    model = NAMES.get(number.method, number.method)
    ours, verdict_ = (_number(row) + _where(table, number), row.vs_paper) if row else ("–", "not-run")
    quantity = number.quantity.replace("_", " ")
    return [_lattice(number.cell), model, quantity, ours, number.shown(), verdict_]


def _number(row: CellRow | None) -> str:
    """``620(30)`` or, of a maximum, ``3.02e+04``."""
    if row is None or row.ours is None:
        return "–"
    if row.ours_sigma is None:
        return f"{row.ours:.3g}"
    return f"{row.ours:.0f}({row.ours_sigma:.0f})" if row.ours_sigma >= 1.0 else flows.shown(row)


def _where(table: Table, number: Published) -> str:
    """The lattice of ours where it is not that of the number."""
    cells = [d for d in table.finished if (d.task.cell.row, d.task.cell.method) == (number.cell, number.method)]
    lengths = {d.task.run.system.length for d in cells if not number.cell.endswith(f"-L{d.task.run.system.length}")}
    return "".join(f" on L = {length}" for length in lengths)


def _lattice(cell: str) -> str:
    theory, length = cell.rsplit("-L", 1)
    return f"{'SU(3)' if theory == 'su3' else 'Schwinger'}, L = {length}"


def _conditions(table: Table, method: str) -> list[list[str]]:
    """A line a matrix, with the mean, median and maximum of its condition number."""
    name = "hybrid Monte Carlo" if method == HMC else NAMES[method]
    lines = []
    for done in flows.finished(table, method):
        names = [c.quantity for c in done.task.cell.columns if c.quantity.startswith("condition_number")]
        for quantity in dict.fromkeys(name.removesuffix("_median") for name in names):
            mean, median, most = (table.row(SMALL, method, quantity + end) for end in ENDS)
            if most is not None and most.ours is not None:
                shown = " / ".join(map(_number, (mean, median, most)))
                lattice = f"Schwinger, L = {done.task.run.system.length}"
                lines.append([lattice, name, quantity.replace("_", " "), shown, "–", "–"])
    return lines


def claims(table: Table) -> list[Claim]:
    """Sentences of Section IV that stand on these numbers."""
    limit, mean = (printed(SMALL, FLOW, f"condition_number_hasenbusch{end}") for end in ("_max", ""))
    done = _monomial_ensemble(table)
    means, largest = (monomials(done, end) if done else [] for end in ("", "_max"))
    length = done.task.run.system.length if done else 0
    where = f"of {means[0].n} configurations on {length} × {length} sites, {_ensemble(done)}" if means else ""
    close = [10.0**-0.5 < e.value / mean.value < 10.0**0.5 for e in means]
    comparable = done is None or _on_the_papers_lattice(done)
    return [
        Claim(
            f"the average condition number is O({mean.value:.0f}) in all four monomials",
            mean.location,
            yes_no(close) if comparable else "not-comparable",
            f"{', '.join(flows.of_estimate(e) for e in means)} {where} (seen within a factor √10, ours)",
        ),
        Claim(
            f"the maximum value is less than {limit.value:.0f} in all cases",
            limit.location,
            _below(done, largest, limit.value) if comparable else "not-comparable",
            f"{', '.join(f'{e.value:.3g}' for e in largest)} {where}; {_bounded(done) if done else ''}",
        ),
        _order(table),
    ]


def _monomial_ensemble(table: Table) -> Finished | None:
    """The flow's, as in the paper, where it has three steps; else that of hybrid Monte Carlo."""
    return next((done for m in ("hasenbusch-3", HMC) for done in flows.finished(table, m)), None)


def _ensemble(done: Finished | None) -> str:
    flow = done is not None and done.task.cell.method != HMC
    return "drawn by the flow" if flow else "drawn by hybrid Monte Carlo, with the density that flows are trained to"


def _bounds(done: Finished) -> list[float]:
    """Largest condition number of each monomial, whatever the links.

    Of (λ + μ)/(λ + μ') of rising λ, which lies between μ/μ' and 1, and of λ + μ for λ up to the square of the largest
    ‖D‖ = 1 + 4κ or ‖D_sc‖ = 1 + (4κ)², as U and both projectors of each direction make a term of norm 2κ; infinite of
    the monomial without a shift below.
    """
    run = done.task.run
    if done.task.cell.method == HMC:
        shifts, even_odd = run.baseline.hmc.fermions.hasenbusch, run.system.length % 2 == 0
    else:
        preconditioning = run.train.method.preconditioning
        shifts, even_odd = preconditioning.hasenbusch, preconditioning.even_odd
    largest = (1.0 + (4.0 * run.system.kappa) ** (2 if even_odd else 1)) ** 2
    between = [high / low for low, high in pairwise(shifts)]
    return [float("inf"), *between, *([1.0 + largest / shifts[-1]] if shifts else [])]


def _bounded(done: Finished) -> str:
    """What of the maxima holds by construction, and how many configurations the others are of."""
    found = ", ".join(f"{bound:.3g}" for bound in _bounds(done)[1:])
    return (
        f"by construction all but the first are at most {found}, whatever the links; the first is decided by the "
        f"samples, of which the paper has {DRAWN}: the largest of fewer is lower"
    )


def _below(done: Finished | None, largest: Sequence[Estimate], limit: float) -> str:
    """Whether all maxima are below ``limit``: undecided where it takes as many configurations as the paper has."""
    if done is None or not largest:
        return "not run"
    if any(e.value >= limit for e in largest):
        return "no"
    decided = [e.n or 0 for e, bound in zip(largest, _bounds(done), strict=True) if bound >= limit]
    return "yes" if all(n >= DRAWN for n in decided) else "undecided"


def _on_the_papers_lattice(done: Finished) -> bool:
    return _lattice(SMALL).endswith(f" {done.task.run.system.length}")


def _order(table: Table) -> Claim:
    """Even/odd lowers the condition number, on the ensembles of our own flows."""
    plain, even_odd = (table.row(SMALL, method, "condition_number_median") for method in ("none", "even-odd"))
    answer = flows.larger(plain, even_odd, 3.0)
    return Claim(
        "even/odd preconditioning reduces the condition number",
        "Section III.D.1",
        answer or "not run",
        f"medians {flows.shown(plain)} without, {flows.shown(even_odd)} with it, each of the ensemble of its own flow "
        "(beyond 3 σ)",
    )


def verdict(table: Table) -> list[str]:
    """What can be compared and what cannot."""
    said = []
    row = {name: table.row(LARGE, FLOW, quantity) for name, quantity in MODEL.items()}
    lengths = [d.task.run.system.length for d in flows.finished(table, FLOW) if d.task.cell.row == LARGE]
    lattice = "".join(f"{length} × {length}" for length in lengths if not LARGE.endswith(f"-L{length}"))
    if row["joint_ess"] is not None and row["joint_ess"].ours is not None:
        where = f" on {lattice} sites" if lattice else ""
        said.append(
            f"Our flow{where}: joint ESS {flows.shown(row['joint_ess'])}, marginal {flows.shown(row['marginal_ess'])}, "
            f"acceptance {flows.shown(row['acceptance_one_draw'])}, ESS with all draws "
            f"{flows.shown(row['ess_all_draws'])}"
            + ("; the paper's numbers are of another system." if lattice else ".")
        )
    for done in flows.finished(table, HMC):
        if _on_the_papers_lattice(done):
            means = ", ".join(flows.of_estimate(e) for e in monomials(done, ""))
            largest = max((e.value for e in monomials(done, "_max")), default=float("nan"))
            said.append(
                f"Condition numbers of the four monomials with the paper's shifts on its 8 × 8 lattice, on an "
                f"ensemble of hybrid Monte Carlo: means {means}, the largest of all {largest:.0f}; printed, of a "
                "flow's ensemble: O(10) in all four, below 100, which three of them are by construction."
            )
    return said + marginals.verdict(table)


def notes(table: Table) -> list[str]:
    """Definitions."""
    return [
        "Three numbers: mean / median / maximum over configurations.",
        "Condition numbers: of D D† without preconditioning, of D_sc D_sc† with even/odd, of the covariance of each "
        "monomial with Hasenbusch's factorisation (monomial 0 has the smallest shift). Means have heavy tails without "
        "it: few configurations dominate them, so that medians stand beside. Flows: unweighted samples of the model, "
        "as in the paper.",
        "`pseudofermion/hmc` has the condition numbers of D D† and of the Schur complement on ensembles of hybrid "
        "Monte Carlo with more statistics, and the pseudoscalar masses that Section IV prints.",
        "An ESS of a configuration has the error of the jackknife over blocks of samples of one training; trainings "
        "with other seeds differ by more.",
        *([STATES] if table.scale == "laptop" else []),
        "The paper's acceptance rates do not say with how many pseudofermions; ours are with one.",
        "Amounts of statistics that captions print (configurations, thinning) are settings, not results.",
    ]


def _drawn(table: Table) -> list[tuple[str, CellRow, CellRow, CellRow]]:
    """Label, mean, median and maximum of each matrix there is."""
    found = []
    for method in (*ENSEMBLES, HMC):
        names = [r.quantity for r in table.rows if r.cell == SMALL and r.method == method]
        conditions = [name for name in names if name.startswith("condition_number")]
        for quantity in (q for q in conditions if not q.endswith(("_median", "_max"))):
            rows = [table.row(SMALL, method, quantity + end) for end in ENDS]
            if all(r is not None and r.ours is not None for r in rows):
                found.append((_label(table, method, quantity), *rows))
    return found  # type: ignore[return-value]


def _label(table: Table, method: str, quantity: str) -> str:
    """``flow, even/odd, 4 × 4`` or ``HMC, monomial 1, 8 × 8``."""
    length = flows.finished(table, method)[0].task.run.system.length
    end = quantity.removeprefix("condition_number").strip("_").replace("_", " ")
    if method != HMC:
        return f"flow, {NAMES[method]}{f', {end}' if end else ''}, {length} × {length}"
    what = {"": NAMES["none"], "even odd": NAMES["even-odd"]}.get(end, end)
    return f"HMC, {what}, {length} × {length}"


OURS = style(HMC)


def draw(figure: Any, table: Table) -> None:
    """A line a matrix."""
    axes = figure.subplots()
    lines = _drawn(table)
    for k, (_, mean, median, most) in enumerate(lines):
        axes.plot([median.ours], [k], "|", color=OURS.colour, ms=12)
        axes.errorbar([mean.ours], [k], xerr=[mean.ours_sigma or 0.0], fmt="o", color=OURS.colour, ms=4, capsize=2)
        axes.plot([most.ours], [k], "x", color=OURS.colour, ms=5)
        if mean.published is not None:
            axes.plot([mean.published], [k], "o", **OURS.of(True), ms=8, zorder=1)
    axes.set_yticks(range(len(lines)), [label for label, *_ in lines], fontsize=7)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlabel("condition number")


ARTEFACT = Artefact(
    "pseudofermion",
    "text",
    "Section IV: condition numbers, effective sample sizes and acceptance rates in the text",
    cells,
    render,
    literature=("hmc", "all"),
    own={FLOW: "Joint flow", **{method: NAMES[method] for method in ENSEMBLES}, WIDE: OURS_ALONE[WIDE]},
    checks=(HMC, REWEIGHTING),
    derived=derived,
    labels={SMALL: "Schwinger model, L = 8", LARGE: "Schwinger model, L = 16", SU3: "SU(3), L = 16"},
)
