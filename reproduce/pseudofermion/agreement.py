"""Figures 6 and 7 as pages: what the histograms of flows and of hybrid Monte Carlo say about each other."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pipeline.analysis.histograms import CARRIED, FEWEST_IN_BIN
from pipeline.base.numbers.formatting import with_error
from reproduce.artefact import Cell, Claim, Column, Rendering, quoted, yes_no
from reproduce.pseudofermion import distributions
from reproduce.pseudofermion.distributions import BOOTSTRAPS, EXACT, FLOW, HMC, ORACLE, PLAIN, SAMPLERS, Panel
from reproduce.tables import Table

LEAST_P = 0.01
"""Histograms are consistent where a larger χ² has at least this probability."""

NOTICED = 3.0
"""Combined errors by which unweighted means must be off for reweighted ones to say something."""


def flow_and_hmc(row: str, settings: str, quantities: Sequence[str], qualities: Sequence[str]) -> list[Cell]:
    """A flow and hybrid Monte Carlo by one recipe, with ``quantities`` of both and ``qualities`` of the flow."""
    columns = {
        FLOW: tuple(Column(FLOW, name, name) for name in (*quantities, *qualities)),
        HMC: tuple(Column(HMC, name, name) for name in quantities),
    }
    flow = Cell(row, FLOW, (), columns[FLOW], settings=settings)
    return [flow, Cell(row, HMC, ("baseline=hmc",), columns[HMC], stages=("baseline",), settings=settings)]


def page(table: Table, row: str, found: Sequence[Panel], about: Sequence[str], notes: Sequence[str]) -> Rendering:
    """A line for each sampler of each observable.

    Args:
        about: sentences of the verdict that are of this figure alone.
        notes: in front of those that both figures share.
    """
    header = ["observable", "sampler", "configurations", "effective", "mean", "χ²/bins−1", "p"]
    return Rendering(
        header,
        [line for panel in found for line in _lines(panel)],
        claims(found),
        [*notes, *NOTES],
        (lambda figure: distributions.draw(figure, found)) if found else None,
        figure_size=(7.0, 4.4),
        caption="Above: densities of hybrid Monte Carlo (black), of the flow, reweighted (orange), and, where there is "
        "one, of the exact reweighting of pure-gauge configurations (light blue). Below: their ratios to the central "
        f"values of hybrid Monte Carlo. Errors from {BOOTSTRAPS} bootstrap ensembles. Outermost bins hold all "
        "beyond them.",
        verdict=verdict(table, found, about),
        keys=2,
        kept=distributions.kept(found),
        curves=distributions.curves(row, found),
    )


def _lines(panel: Panel) -> list[list[str]]:
    lines = []
    for one in panel.histograms:
        line = [panel.label.replace("$", ""), SAMPLERS[one.sampler], str(one.configurations), f"{one.effective:.0f}"]
        line.append(with_error(one.mean, one.sigma or None))
        known = one.p is not None and one.chi2 is not None
        line += [f"{one.chi2:.1f}/{one.dof}", shown_p(one.p)] if known else ["–", "–"]
        lines.append(line)
    return lines


def shown_p(p: float | None) -> str:
    """``0.42``, ``3e-07`` or a dash."""
    if p is None:
        return "–"
    return f"{p:.2f}" if p >= LEAST_P else f"{p:.0e}"


def p_values(found: Sequence[Panel], sampler: str) -> dict[str, float | None]:
    """Of each observable against hybrid Monte Carlo; of samplers that are there."""
    return {panel.label: one.p for panel in found if (one := panel.of(sampler))}


def claims(found: Sequence[Panel]) -> list[Claim]:
    """What Appendix C says of both figures, and what makes it worth something."""
    of_flow, plain = p_values(found, FLOW), p_values(found, PLAIN)
    rule = f"(seen if p > {LEAST_P:g} of χ² for equal distributions)"
    made = [
        quoted(
            "In all cases, the observables computed on configurations obtained using both sampling algorithms are "
            "statistically consistent",
            "Appendix C",
            _consistent(of_flow),
            f"{_evidence(of_flow)} {rule}",
        )
    ]
    if not found:
        return made
    for sampler, text in (
        (EXACT, "weights with exact determinants give the histograms of hybrid Monte Carlo too"),
        (ORACLE, "independent draws of pure gauge fields, reweighted, have the histograms of hybrid Monte Carlo"),
    ):
        if p := p_values(found, sampler):
            made.append(Claim(text, "ours", _consistent(p), f"{_evidence(p)} {rule}"))
    return [*made, _power(found, plain)]


def _power(found: Sequence[Panel], plain: dict[str, float | None]) -> Claim:
    """Whether what the reweighted flow is worth suffices to see the difference that weights make."""
    known = [p for p in plain.values() if p is not None]
    distances = {panel.label: distance for panel in found if (distance := _unweighted(panel)) is not None}
    shown = "; ".join(f"{label.replace('$', '')} {distance:.1f}" for label, distance in distances.items()) or "–"
    seen = [bool(known) and min(known) <= LEAST_P, any(distance > NOTICED for distance in distances.values())]
    return Claim(
        "the test would notice if the weights were left out",
        "ours",
        yes_no([all(seen)]) if known and distances else "undecided",
        f"of the flow's configurations as they were drawn, all of equal weight: {_evidence(plain)}; with the errors "
        f"that the weights leave, their mean is off by so many combined errors: {shown} (seen if p ≤ {LEAST_P:g}, and "
        f"more than {NOTICED:g} errors, of any)",
    )


def _unweighted(panel: Panel) -> float | None:
    """Distance of the unweighted mean from hybrid Monte Carlo in combined errors of that and the reweighted flow."""
    trusted, flow, plain = (panel.of(sampler) for sampler in (HMC, FLOW, PLAIN))
    if trusted is None or flow is None or plain is None:
        return None
    sigma = math.hypot(trusted.sigma, flow.sigma)
    return abs(plain.mean - trusted.mean) / sigma if sigma > 0.0 else None


def _consistent(found: dict[str, float | None]) -> str:
    if not found:
        return "not run"
    seen = [p > LEAST_P for p in found.values() if p is not None]
    # What differs in one observable differs, however little is known of another.
    return yes_no(seen) if len(seen) == len(found) else "undecided" if all(seen) else "no"


def _evidence(found: dict[str, float | None]) -> str:
    return "; ".join(f"{label.replace('$', '')}: p = {shown_p(p)}" for label, p in found.items()) or "–"


def verdict(table: Table, found: Sequence[Panel], about: Sequence[str]) -> list[str]:
    """Whether the histograms agree, and from how much."""
    flow, trusted = ([one for panel in found if (one := panel.of(sampler))] for sampler in (FLOW, HMC))
    if not flow or not trusted:
        return []
    p = p_values(found, FLOW)
    agree = {
        "yes": "agree with",
        "no": "do NOT agree with",
        "undecided": "have too few effective samples to be judged in full beside",
    }
    words = agree.get(_consistent(p), "agree only in part with")
    said = [
        f"Histograms of the reweighted flow {words} those of hybrid Monte Carlo: {_evidence(p)}, from "
        f"{flow[0].configurations} configurations worth {flow[0].effective:.0f} and from {trusted[0].configurations}."
    ]
    if oracle := p_values(found, ORACLE):
        said.append(f"Exact draws of pure gauge fields, reweighted, against hybrid Monte Carlo: {_evidence(oracle)}.")
    said += about
    if table.other_system:
        length = table.finished[0].task.run.system.length
        said.append(
            f"The lattice is {length} × {length}, the paper's 16 × 16: whether flows and HMC agree can be seen there, "
            "no more."
        )
    return said


NOTES = (
    "χ² is Δᵀ(C₁ + C₂)⁻¹Δ of the differences of fractions in bins, one bin left out. C of the flow is that of weighted "
    "fractions, with the noise of the normalisation, by linear propagation; that of hybrid Monte Carlo is the scatter "
    f"of whole chains. Neighbouring bins are joined until each sampler has {FEWEST_IN_BIN:g} effective samples in it, "
    f"and {CARRIED * FEWEST_IN_BIN:g} that carry the variance, (Σw²)²/Σw⁴. p is of Hotelling's T² with the degrees of "
    "freedom of both covariances (Nel and van der Merwe 1986), those of the flow (Σw²)²/Σw⁴ − 1; of equal "
    "distributions it is uniform to a few hundredths, which a test of the repository checks with weights of light and "
    "of heavy tails and with correlated chains. No p where too few bins or samples are left.",
    "A p-value is no measure of how small a difference is: it says whether these statistics would show it.",
    "`effective` is (Σw)²/Σw² and knows nothing of autocorrelation; configurations of hybrid Monte Carlo are ten "
    "trajectories apart unless cuts say otherwise.",
    "The mean plaquette is Re tr P as in Eq. C1, between −N and N; estimates in `cells.csv` are divided by N.",
)
