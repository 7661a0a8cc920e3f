"""The ensembles of hybrid Monte Carlo that Figures 6 and 7 compare flows with, their references and their masses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from pipeline.base.numbers.formatting import with_error
from pipeline.base.numbers.result import Curve, Estimate
from reproduce.artefact import Artefact, Cell, Claim, Column, Rendering, yes_no
from reproduce.tables import Finished, Table

SIGMAS = 3.0
PURE_SIGMA = 2e-4
"""Largest error of a pure-gauge plaquette that makes its agreement with the exact value a test."""

THINNING = 10
"""Captions of Figs. 6 and 7; the paper's configurations are taken to be trajectories of length 1."""

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
LABELS = {
    "u1-pure-L8": "U(1), pure gauge, L = 8",
    "su3-pure-L8": "SU(3), pure gauge, L = 8",
    "schwinger-L8": "Schwinger model, L = 8",
    "schwinger-L16": "Schwinger model, L = 16",
    "su3-L8": "SU(3), N_f = 2, L = 8",
    "su3-L16": "SU(3), N_f = 2, L = 16",
}
QUANTITIES = ("plaquette", "topological_susceptibility", "pseudoscalar_mass")
FLOW_CONDITION_NUMBERS = {"condition_number": 960.0, "condition_number_even_odd": 195.0}
"""Section IV.A.2, of ensembles that flows drew; compared here with those of HMC."""


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
    overrides = (*physics, "baseline=hmc", *choice)
    return Cell(row, method, overrides, tuple(columns), stages=("baseline",), settings=settings)


def _reference(row: str, baseline: str) -> Cell:
    settings, physics = ENSEMBLES[row]
    columns = [Column(baseline, "plaquette", "plaquette")]
    if not row.startswith("su3"):
        columns.append(Column(baseline, "topological_susceptibility", "topological_susceptibility"))
    overrides = (*physics, f"baseline={baseline}")
    return Cell(row, "reference", overrides, tuple(columns), stages=("baseline",), settings=settings)


def runs(table: Table) -> list[Finished]:
    """Every finished ensemble of HMC."""
    return [done for done in table.finished if done.task.cell.method != "reference" and done.result]


def estimate(done: Finished, name: str) -> Estimate | None:
    """An estimate of a run, or None."""
    return next((e for e in (done.result.estimates if done.result else ()) if e.name == name), None)


def render(table: Table) -> Rendering:
    """A line an ensemble, references between them."""
    header = ["ensemble", "sampler", "trajectories", "acceptance", "⟨e^−ΔH⟩", "⟨Re tr P⟩/N", "⟨Q²⟩/V", "a M_PS"]
    header += ["printed", "vs paper", "τ_int(P)", "τ_int(Q)", "ms/trajectory"]
    body = []
    for row in ENSEMBLES:
        body += [_line(table, done) for done in runs(table) if done.task.cell.row == row]
        if row in REFERENCES:
            values = [table.reference(row, name) for name in QUANTITIES]
            shown = [with_error(v.value, v.sigma) if v else "–" for v in values]
            body.append([LABELS[row], table.reference_kind(row), "–", "–", "–", *shown, *["–"] * 5])
    found = runs(table)
    return Rendering(
        header,
        body,
        [*masses(table), *condition_numbers(found), independence(found), pure_gauge(table), *checks(table)],
        NOTES,
        (lambda figure: _draw(found, figure)) if found else None,
        (7.2, 5.6),
        "Pseudoscalar correlator and effective mass (lines: the printed masses), the topological charge of the first "
        "chains and the mean plaquette of all chains after the warm-up.",
    )


NOTES = (
    "Plaquettes are means of Re tr P/N; the paper's Eq. C1 is Re tr P, N times as large.",
    "ms/trajectory: of one configuration, from the wall time of the run, warm-up and measurements included.",
    "Kept ensembles hold C(x_0) with the source at time 0, as Eq. C3 has it, and averaged over the time of the source: "
    "the same mean, smaller fluctuations between configurations.",
    "τ_int in trajectories of length 1; errors of means contain it, those of masses are jackknife errors over chains, "
    "or over pieces of few chains.",
    "a M_PS: fit of A cosh(m (x_0 − L/2)) for x_0 >= 3L/8 to C(x_0) of Eq. C3, averaged over the time of the source. "
    "The effective mass is arccosh([C(x_0 − 1) + C(x_0 + 1)]/2C(x_0)).",
    "`hmc`: two flavours as pseudofermions on the Schur complement, with Hasenbusch's factorisation; `hmc-exact`: "
    "dense determinants. Both sample the same density.",
)


def _line(table: Table, done: Finished) -> list[str]:
    cell, hmc = done.task.cell, done.task.run.baseline.hmc
    acceptance, weight = (estimate(done, name) for name in ("acceptance", "exp_minus_delta_h"))
    line = [LABELS[cell.row], cell.method, str(hmc.chains * hmc.measurements * hmc.trajectories_per_measurement)]
    line += [f"{acceptance.value:.2f}" if acceptance else "–", _shown(weight)]
    line += [_shown(estimate(done, name)) for name in QUANTITIES]
    number = table.number(cell.row, cell.method, "pseudoscalar_mass")
    mass = table.row(cell.row, cell.method, "pseudoscalar_mass")
    line += [f"~{number.shown()}" if number else "–", mass.vs_paper if mass and number else "–"]
    line += [_tau(done, name) for name in ("plaquette", "topological_charge")]
    trajectories = hmc.chains * (hmc.warmup + hmc.measurements * hmc.trajectories_per_measurement)
    return [*line, f"{1e3 * done.seconds / trajectories:.2g}"]


def _shown(found: Estimate | None) -> str:
    return with_error(found.value, found.sigma) if found else "–"


def _tau(done: Finished, name: str) -> str:
    found = estimate(done, name)
    return "–" if found is None or found.tau is None else f"{found.tau:.1f}"


def masses(table: Table) -> list[Claim]:
    """The printed masses of the paper's two theories."""
    claims = []
    for row, text, where in (
        ("schwinger-L16", "The pseudoscalar mass is aM_PS ∼ 0.35", "Section IV.A"),
        ("su3-L16", "a pseudoscalar mass of aM_π ≃ 0.72", "Section IV.B"),
    ):
        found = table.row(row, "hmc", "pseudoscalar_mass")
        ran = found is not None and found.ours is not None and found.ours_sigma is not None
        evidence = with_error(found.ours, found.ours_sigma) if found and ran else "not run"
        seen = yes_no([found.vs_paper == "agrees"] if found and ran else [])
        claims.append(Claim(text, where, seen, f"{evidence} (seen if it is the printed number, rounded, within 2 σ)"))
    return claims


def condition_numbers(found: Sequence[Finished]) -> list[Claim]:
    """Means of heavy tails: medians and maxima stand beside them."""
    seen, evidence = [], []
    mine = [done for done in found if done.task.cell.row == "schwinger-L8"]
    for done in mine:
        for name, printed in FLOW_CONDITION_NUMBERS.items():
            mean, median, most = (estimate(done, name + end) for end in ("", "_median", "_max"))
            if mean and median and most:
                label = "EO" if name.endswith("even_odd") else "none"
                seen.append(abs(mean.value - printed) <= 0.1 * printed + SIGMAS * (mean.sigma or 0.0))
                evidence.append(
                    f"{done.task.cell.method}, {label}: mean {_shown(mean)}, median {_shown(median)}, "
                    f"largest {most.value:.1e}"
                )
    return [
        Claim(
            "the unpreconditioned DD† operator has an average condition number of ∼960, while that with EO "
            "preconditioning is ∼195",
            "Section IV.A.2, of ensembles of flows",
            yes_no(seen),
            "; ".join(evidence) + f" (seen if within 10 % and {SIGMAS:g} σ)",
        )
    ]


def independence(found: Sequence[Finished]) -> Claim:
    """Configurations that far apart are independent where they are 2 τ_int apart or more."""
    seen, evidence = [], []
    for done in found:
        if done.task.cell.row not in ("schwinger-L16", "su3-L16"):
            continue
        for name in ("plaquette", "topological_charge"):
            measured = estimate(done, name)
            if measured and measured.tau is not None:
                seen.append(2.0 * measured.tau <= THINNING)
                evidence.append(
                    f"{done.task.cell.row} {name.replace('_', ' ')} τ_int = {measured.tau:.1f} trajectories"
                )
    return Claim(
        "HMC configurations thinned by a factor of 10 [are] independent samples; is the topology frozen?",
        "Figs. 6 and 7, captions",
        yes_no(seen),
        "; ".join(evidence) + f" (seen if 2 τ_int is at most {THINNING})",
    )


def pure_gauge(table: Table) -> Claim:
    """Ours: plaquettes of gauge fields alone against exact values, precisely."""
    seen, evidence = [], []
    for done in runs(table):
        row = done.task.cell.row
        ours, exact = estimate(done, "plaquette"), table.reference(row, "plaquette")
        if "pure" in row and ours and ours.sigma is not None and exact:
            pull = _pull(ours, exact)
            seen.append(abs(pull) <= SIGMAS and ours.sigma <= PURE_SIGMA)
            evidence.append(
                f"{LABELS[row]}: {with_error(ours.value, ours.sigma)}, exactly {exact.value:.6f}, {pull:+.1f} σ"
            )
    return Claim(
        "gauge fields alone have the exact mean plaquette",
        "ours",
        yes_no(seen),
        "; ".join(evidence) + f" (seen if within {SIGMAS:g} σ, and σ is at most {PURE_SIGMA:.0e})",
    )


def checks(table: Table) -> list[Claim]:
    """Ours: the sampler against exact values and against itself."""
    weights, pulls = [], []
    for done in runs(table):
        weight = estimate(done, "exp_minus_delta_h")
        if weight and weight.sigma:
            weights.append((done.task.id, (weight.value - 1.0) / weight.sigma))
        for name in QUANTITIES[:2]:
            ours, reference = estimate(done, name), table.reference(done.task.cell.row, name)
            if ours and reference:
                pulls.append((f"{done.task.id} {name.replace('_', ' ')}", _pull(ours, reference)))
    for row in ("schwinger-L8", "su3-L8"):
        pair = [done for done in runs(table) if done.task.cell.row == row]
        for name in QUANTITIES:
            both = [e for done in pair if (e := estimate(done, name))]
            if len(both) == 2:
                pulls.append((f"{row} hmc against hmc-exact {name.replace('_', ' ')}", _pull(*both)))
    return [
        Claim("⟨e^−ΔH⟩ = 1", "ours", *_within(weights)),
        Claim(
            "exact values, reweighted exact draws and both treatments of the determinant agree", "ours", *_within(pulls)
        ),
    ]


def _pull(first: Estimate, second: Estimate) -> float:
    difference, sigma = first.value - second.value, math.hypot(first.sigma or 0.0, second.sigma or 0.0)
    # Without errors, as of a frozen charge, any difference is too large.
    return difference / sigma if sigma else math.copysign(math.inf, difference) if difference else 0.0


def _within(pulls: Sequence[tuple[str, float]]) -> tuple[str, str]:
    evidence = "; ".join(f"{name} {pull:+.1f} σ" for name, pull in pulls)
    return yes_no([abs(pull) <= SIGMAS for _, pull in pulls]), f"{evidence} (seen if within {SIGMAS:g} σ)"


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
    for mass, row in ((0.35, "schwinger-L16"), (0.72, "su3-L16")):
        axes[0, 1].axhline(mass, color=colours[row], lw=0.8, ls="--")
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


def _draw_charge(found: Sequence[Finished], axes: Any) -> None:
    """Of the largest Schwinger ensemble there is, one chain above the other."""
    largest = [done for done in found if done.task.cell.row.startswith("schwinger")]
    if not largest:
        return
    done = max(largest, key=lambda d: d.task.run.system.length)
    for curve in done.result.curves if done.result else ():
        if curve.name.startswith("topological_charge"):
            axes.plot(curve.x, curve.y, lw=0.5, drawstyle="steps-post")
    axes.set_title(LABELS[done.task.cell.row], fontsize=8)


ARTEFACT = Artefact(
    "pseudofermion",
    "hmc",
    "Hybrid Monte Carlo ensembles of the Schwinger model and of two-dimensional SU(3), for Figures 6 and 7",
    cells,
    render,
    own={"hmc": "Hybrid Monte Carlo"},
    checks=("hmc-exact",),
)
