"""The ensembles of hybrid Monte Carlo that Figures 6 and 7 compare flows with, their references and their masses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pipeline.analysis.histograms import Sample, integer_edges
from pipeline.base.numbers.formatting import with_error
from pipeline.base.numbers.result import Curve
from reproduce.artefact import Artefact, Cell, Column, ExtraCurve, Rendering
from reproduce.colours import style
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
from reproduce.pseudofermion.shared import LABELS, QUANTITIES, curve, estimate, mass, printed, runs, shown
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
    found, charges = runs(table), charges_of(table)
    return Rendering(
        header,
        body,
        verdict=verdict(table),
        keys=2,
        breaks=(5, 8, 10),
        claims=[*masses(table), *condition_numbers(found), independence(found), pure_gauge(table), *checks(table)],
        notes=NOTES,
        draw=(lambda figure: _draw(found, charges, figure)) if found else None,
        figure_size=(7.0, 4.8),
        caption="Pseudoscalar correlator and effective mass (lines: the printed masses), the mean plaquette of all "
        "chains after the warm-up, the topological charge of one chain and, of all kept configurations of the same "
        "ensemble, how often each charge was met.",
        kept={"charges": asdict(charges) if charges else None},
        curves=_charge_curves(charges),
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


def _draw(found: Sequence[Finished], charges: Charges | None, figure: Any) -> None:
    axes = figure.subplot_mosaic([["correlator", "mass", "plaquette"], ["history", "history", "charges"]])
    colours = {row: f"C{k}" for k, row in enumerate(ENSEMBLES)}
    for done in found:
        row, curves = done.task.cell.row, {c.name: c for c in (done.result.curves if done.result else ())}
        shown = {"color": colours[row], "marker": style(done.task.cell.method).marker}
        label = LABELS[row] + (", exact det" if done.task.cell.method == "hmc-exact" else "")
        if "correlator" in curves:
            _points(axes["correlator"], curves["correlator"], label=label, **shown)
            _points(axes["mass"], curves["effective_mass"], **shown)
            axes["plaquette"].plot(curves["plaquette"].x, curves["plaquette"].y, color=colours[row], lw=0.6)
    for row in THEORIES:
        axes["mass"].axhline(printed(row, "hmc", "pseudoscalar_mass").value, color=colours[row], lw=0.8, ls="--")
    _draw_history(found, axes["history"])
    if charges is not None:
        _draw_charges(charges, axes["charges"])
    axes["correlator"].set_yscale("log")
    handles, labels = axes["correlator"].get_legend_handles_labels()
    figure.legend(handles, labels, frameon=False, fontsize=7, ncols=3, loc="outside upper center")
    for panel, x, y in (
        ("correlator", "$x_0$", "$C(x_0)$"),
        ("mass", "$x_0$", "effective mass"),
        ("history", "trajectory", "topological charge"),
        ("charges", "topological charge", "fraction of configurations"),
        ("plaquette", "trajectory", "mean plaquette"),
    ):
        axes[panel].set_xlabel(x)
        axes[panel].set_ylabel(y)


def _points(axes: Any, curve: Curve, **style: Any) -> None:
    axes.errorbar(curve.x, curve.y, yerr=curve.sigma, ms=3, lw=0.8, capsize=1.5, **style)


def _largest(found: Sequence[Finished]) -> Finished | None:
    """Of the Schwinger ensembles that of the largest lattice."""
    schwinger = [done for done in found if done.task.cell.row.startswith("schwinger")]
    return max(schwinger, key=lambda done: done.task.run.system.length, default=None)


def _draw_history(found: Sequence[Finished], axes: Any) -> None:
    """The topological charge of the first chain of the largest Schwinger ensemble."""
    done = _largest(found)
    history = curve(done, "topological_charge_0") if done else None
    if done is not None and history is not None:
        axes.plot(history.x, history.y, color="0.3", lw=0.7, drawstyle="steps-post")
        axes.set_title(f"{LABELS[done.task.cell.row]}, one chain", fontsize=8)


@dataclass(frozen=True)
class Charges:
    """How often each topological charge was met in an ensemble.

    Attributes:
        row: of the ensemble.
        configurations: of all chains.
        charges: from the smallest to the largest.
        fractions, errors: of configurations, with standard errors between chains.
    """

    row: str
    configurations: int
    charges: tuple[float, ...]
    fractions: tuple[float, ...]
    errors: tuple[float, ...]


def charges_of(table: Table) -> Charges | None:
    """Of the largest Schwinger ensemble whose configurations were kept; as the report kept it if rendered anew."""
    if "charges" in table.kept:
        tree = table.kept["charges"]
        return _charges(**tree) if tree else None
    done = _largest(runs(table))
    arrays = done.found.reference.ensemble() if done and done.found.reference else {}
    if done is None or "topological_charge" not in arrays:
        return None
    sample = Sample.of_chains(arrays["topological_charge"])
    edges = integer_edges(sample)
    errors = np.sqrt(np.diag(sample.covariance(edges)))
    charges = 0.5 * (edges[1:] + edges[:-1])
    row = done.task.cell.row
    return _charges(row, sample.values.size, charges.tolist(), sample.fractions(edges).tolist(), errors.tolist())


def _charges(
    row: str, configurations: int, charges: Sequence[float], fractions: Sequence[float], errors: Sequence[float]
) -> Charges:
    return Charges(row, configurations, tuple(charges), tuple(fractions), tuple(errors))


def _draw_charges(found: Charges, axes: Any) -> None:
    axes.bar(found.charges, found.fractions, yerr=found.errors, width=0.9, color="0.75", ecolor="0.2", capsize=1.5)
    axes.set_title(f"{found.configurations} configurations", fontsize=8)


def _charge_curves(found: Charges | None) -> list[ExtraCurve]:
    if found is None:
        return []
    x, y = found.charges, found.fractions
    made = Curve.of("topological_charge_histogram", "topological_charge", "fraction", x, y, found.errors)
    return [ExtraCurve(found.row, "hmc", 0, made)]


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
