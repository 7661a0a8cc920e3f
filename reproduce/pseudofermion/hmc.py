"""The ensembles of hybrid Monte Carlo that Figures 6 and 7 compare flows with, their references and their masses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipeline.base.numbers.formatting import with_error
from pipeline.base.numbers.result import Curve
from reproduce.artefact import Artefact, Cell, Column, Rendering
from reproduce.pseudofermion.claims import (
    CONDITION_NUMBERS,
    THEORIES,
    checks,
    condition_numbers,
    independence,
    masses,
    pure_gauge,
    verdict,
)
from reproduce.pseudofermion.shared import LABELS, QUANTITIES, estimate, mass, printed, runs, shown
from reproduce.tables import Finished, Table

ENSEMBLES = {
    "u1-pure-L8": ("pseudofermion/pure", ("system.length=8",)),
    "su3-pure-L8": ("pseudofermion/su3_pure", ("system.length=8",)),
    "schwinger-L8": ("pseudofermion/small", ("system.length=8",)),
    "su3-L8": ("pseudofermion/su3_small", ("system.length=8",)),
    "schwinger-L16": ("pseudofermion", ("system.length=16",)),
    "su3-L16": ("pseudofermion/su3", ("system.length=16",)),
}
"""Recipe and physics of each row."""

EXACT = ("baseline.hmc.fermions.determinant=exact", "baseline.hmc.fermions.hasenbusch=[]")
REFERENCES = {
    "u1-pure-L8": "character_expansion",
    "su3-pure-L8": "character_expansion",
    "schwinger-L8": "reweighting",
}


def cells() -> list[Cell]:
    """Long runs first: with pseudofermions on every lattice, with exact determinants too where these are small."""
    made = []
    for row in reversed(ENSEMBLES):
        made.append(_cell(row, "hmc"))
        if row in ("schwinger-L8", "su3-L8"):
            made.append(_cell(row, "hmc-exact", EXACT))
    return made + [_reference(row, name) for row, name in REFERENCES.items()]


def _cell(row: str, method: str, choice: tuple[str, ...] = ()) -> Cell:
    settings, physics = ENSEMBLES[row]
    columns = [Column(method, "plaquette", "plaquette")]
    if not row.startswith("su3"):
        columns.append(Column(method, "topological_susceptibility", "topological_susceptibility"))
    if "pure" not in row:
        columns.append(Column(method, "pseudoscalar_mass", "pseudoscalar_mass"))
    if row == "schwinger-L8":
        names = [name + end for name in CONDITION_NUMBERS.values() for end in ("", "_median", "_max")]
        columns += [Column(method, name, name) for name in names]
    overrides = (*physics, "baseline=hmc", *choice)
    return Cell(row, method, overrides, tuple(columns), stages=("baseline",), settings=settings)


def _reference(row: str, baseline: str) -> Cell:
    settings, physics = ENSEMBLES[row]
    columns = [Column(baseline, "plaquette", "plaquette")]
    if not row.startswith("su3"):
        columns.append(Column(baseline, "topological_susceptibility", "topological_susceptibility"))
    overrides = (*physics, f"baseline={baseline}")
    return Cell(row, "reference", overrides, tuple(columns), stages=("baseline",), settings=settings)


def render(table: Table) -> Rendering:
    """A line an ensemble, references between them."""
    header = ["ensemble", "sampler", "trajectories", "acceptance", "⟨e^−ΔH⟩", "⟨Re tr P⟩/N", "⟨Q²⟩/V", "a M_PS"]
    header += ["printed", "vs paper", "τ_int(P)", "τ_int(Q)", "ms/trajectory"]
    body = []
    for row in ENSEMBLES:
        body += [_line(table, done) for done in runs(table) if done.task.cell.row == row]
        if row in REFERENCES:
            values = [table.reference(row, name) for name in QUANTITIES]
            texts = [with_error(v.value, v.sigma) if v else "–" for v in values]
            body.append([LABELS[row], table.reference_kind(row), "–", "–", "–", *texts, *["–"] * 5])
    found = runs(table)
    return Rendering(
        header,
        body,
        verdict=verdict(table),
        keys=2,
        breaks=(5, 8, 10),
        claims=[*masses(table), *condition_numbers(found), independence(found), pure_gauge(table), *checks(table)],
        notes=NOTES,
        draw=(lambda figure: _draw(found, figure)) if found else None,
        figure_size=(7.2, 5.6),
        caption="Pseudoscalar correlator and effective mass (lines: the printed masses), the topological charge of the "
        "first chains (greys) and the mean plaquette of all chains after the warm-up.",
    )


NOTES = (
    "Plaquettes are means of Re tr P/N; the paper's Eq. C1 is Re tr P, N times as large.",
    "ms/trajectory: of one configuration, from the wall time of the run, warm-up and measurements included.",
    "Kept ensembles hold C(x_0) with the source at time 0, as Eq. C3 has it, and averaged over the time of the source: "
    "the same mean, smaller fluctuations between configurations.",
    "τ_int in trajectories of length 1; errors of means contain it, those of masses are jackknife errors over chains, "
    "or over pieces of few chains.",
    "a M_PS: the first error is the jackknife error of the fit of A cosh(m (x_0 − L/2)) for x_0 >= 3L/8 to C(x_0) of "
    "Eq. C3, averaged over the time of the source, which is the one in `cells.csv`. Fits from later times, and of two "
    "states from earlier ones, give other masses: the value shown is the middle of all, the second error half the "
    "distance of the extreme ones. The effective mass is arccosh([C(x_0 − 1) + C(x_0 + 1)]/2C(x_0)).",
    "`hmc`: two flavours as pseudofermions on the Schur complement, with Hasenbusch's factorisation; `hmc-exact`: "
    "dense determinants. Both sample the same density.",
)


def _line(table: Table, done: Finished) -> list[str]:
    cell, hmc = done.task.cell, done.task.run.baseline.hmc
    acceptance, weight = (estimate(done, name) for name in ("acceptance", "exp_minus_delta_h"))
    line = [LABELS[cell.row], cell.method, str(hmc.chains * hmc.measurements * hmc.trajectories_per_measurement)]
    line += [f"{acceptance.value:.2f}" if acceptance else "–", shown(weight)]
    line += [shown(estimate(done, name)) for name in QUANTITIES[:2]]
    measured = mass(done)
    line.append(str(measured) if measured else shown(estimate(done, QUANTITIES[2])))
    number = table.number(cell.row, cell.method, "pseudoscalar_mass")
    row = table.row(cell.row, cell.method, "pseudoscalar_mass")
    line += [f"~{number.shown()}" if number else "–", row.vs_paper if row and number else "–"]
    line += [_tau(done, name) for name in ("plaquette", "topological_charge")]
    trajectories = hmc.chains * (hmc.warmup + hmc.measurements * hmc.trajectories_per_measurement)
    return [*line, f"{1e3 * done.seconds / trajectories:.2g}"]


def _tau(done: Finished, name: str) -> str:
    found = estimate(done, name)
    return "–" if found is None or found.tau is None else f"{found.tau:.1f}"


def _draw(found: Sequence[Finished], figure: Any) -> None:
    axes = figure.subplots(2, 2)
    colours = {row: f"C{k}" for k, row in enumerate(ENSEMBLES)}
    for done in found:
        row, curves = done.task.cell.row, {c.name: c for c in (done.result.curves if done.result else ())}
        style = {"color": colours[row], "marker": "x" if done.task.cell.method == "hmc-exact" else "o"}
        label = LABELS[row] + (", exact det" if done.task.cell.method == "hmc-exact" else "")
        if "correlator" in curves:
            _points(axes[0, 0], curves["correlator"], label=label, **style)
            _points(axes[0, 1], curves["effective_mass"], **style)
            axes[1, 1].plot(curves["plaquette"].x, curves["plaquette"].y, color=colours[row], lw=0.6)
    for row in THEORIES:
        axes[0, 1].axhline(printed(row, "hmc", "pseudoscalar_mass").value, color=colours[row], lw=0.8, ls="--")
    _draw_charge(found, axes[1, 0])
    axes[0, 0].set_yscale("log")
    axes[0, 0].legend(frameon=False, fontsize=6)
    for panel, x, y in (
        (axes[0, 0], "$x_0$", "$C(x_0)$"),
        (axes[0, 1], "$x_0$", "effective mass"),
        (axes[1, 0], "trajectory", "topological charge"),
        (axes[1, 1], "trajectory", "mean plaquette"),
    ):
        panel.set_xlabel(x)
        panel.set_ylabel(y)


def _points(axes: Any, curve: Curve, **style: Any) -> None:
    axes.errorbar(curve.x, curve.y, yerr=curve.sigma, ms=3, lw=0.8, capsize=1.5, **style)


GREYS = ("0.1", "0.4", "0.6", "0.8")
"""Of the chains of one ensemble."""


def _draw_charge(found: Sequence[Finished], axes: Any) -> None:
    """Of the largest Schwinger ensemble there is, one chain above the other."""
    largest = [done for done in found if done.task.cell.row.startswith("schwinger")]
    if not largest:
        return
    done = max(largest, key=lambda d: d.task.run.system.length)
    chains = [c for c in (done.result.curves if done.result else ()) if c.name.startswith("topological_charge")]
    for k, curve in enumerate(chains):
        # shades of grey: colours are those of ensembles
        axes.plot(curve.x, curve.y, color=GREYS[k % len(GREYS)], lw=0.6, drawstyle="steps-post")
    axes.set_title(LABELS[done.task.cell.row], fontsize=8)


ARTEFACT = Artefact(
    "pseudofermion",
    "hmc",
    "Hybrid Monte Carlo ensembles of the Schwinger model and of two-dimensional SU(3), for Figures 6 and 7",
    cells,
    render,
    own={"hmc": "Hybrid Monte Carlo"},
    checks=("hmc-exact",),
    labels=LABELS,
)
