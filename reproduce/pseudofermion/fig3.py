"""Figure 3: ESS against the number of pseudofermion draws, its limit, and why it may have none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipeline.base.later import np
from pipeline.base.numbers.formatting import with_error
from pipeline.base.numbers.result import Curve, Estimate
from pipeline.base.palette import BLACK
from pipeline.gauge.pseudofermion.estimators import InverseESSFit, fit_inverse_ess
from reproduce.artefact import Artefact, Cell, Claim, ExtraCurve, Rendering, quoted
from reproduce.colours import style
from reproduce.naqs.judgement import Answer, tally
from reproduce.pseudofermion import flows
from reproduce.pseudofermion.flows import FLOW
from reproduce.pseudofermion.shared import curve, estimate
from reproduce.tables import Finished, Table

ROW = "schwinger-L16"
SETTINGS = "pseudofermion/fig2"
QUANTITIES = ("joint_ess", "ess_all_draws", "marginal_ess", "infinite_variance", "conditional_kl")
SIGMAS = 2.0
POINTS = 50
"""Of a fitted line."""


def cells() -> list[Cell]:
    """The training of Figure 2 with its samples."""
    return [Cell(ROW, FLOW, (), flows.columns(FLOW, QUANTITIES), settings=SETTINGS)]


def degrees(done: Finished) -> list[int]:
    """Of the polynomials in 1/N_pf: Eq. 45, and one for each monomial."""
    return sorted({1, done.task.run.train.method.monomials})


def fits(done: Finished) -> dict[int, InverseESSFit]:
    """To the means over batches, by degree; those that there are points and errors for."""
    found = curve(done, "ess_by_draws_of_batches")
    if found is None or not all(sigma > 0.0 for sigma in found.sigma):
        return {}
    ess, errors = np.array(found.y), np.array(found.sigma)
    return {d: fit_inverse_ess([int(x) for x in found.x], ess, errors, d) for d in degrees(done) if len(found.x) > d}


def render(table: Table) -> Rendering:
    """A line a number of draws; ESS against its inverse, and spectra."""
    found = flows.finished(table, FLOW)
    done = found[0] if found else None
    made = fits(done) if done else {}
    header = ["N_pf", "ESS", *(_named(degree) for degree in made), "finite variance: ESS", "predicted"]
    return Rendering(
        header,
        _body(done, made) if done else [],
        claims(done, made) if done else [],
        notes(table),
        (lambda figure: draw(figure, done, made)) if done else None,
        figure_size=(7.0, 2.8),
        caption="(a) ESS of Eq. 44 against 1/N_pf, mean and standard error over batches, with fits of 1/ESS (line: "
        "Eq. 45; dashed: a polynomial of as many degrees as monomials); triangle: the marginal ESS. (b) Share of "
        "configurations whose smallest s lies below; dotted: 1/2, below which weights have no variance. (c) "
        "⟨w²⟩ of weights with mean one, measured against Π s²/(2s − 1), bins of configurations with a finite one.",
        verdict=verdict(table, done, made) if done else [],
        curves=_curves(done, made) if done else (),
        keys=1,
    )


def _named(degree: int) -> str:
    return "Eq. 45" if degree == 1 else f"degree {degree}"


def _body(done: Finished, made: dict[int, InverseESSFit]) -> list[list[str]]:
    points = curve(done, "ess_by_draws_of_batches")
    finite, expected = (curve(done, name) for name in ("ess_by_draws_finite", "expected_ess_by_draws_finite"))
    body = []
    for k, x in enumerate(points.x if points else ()):
        assert points is not None
        lines = [f"{float(fit.ess(np.array(x))):.4f}" for fit in made.values()]
        more = [f"{c.y[k]:.2g}" if c is not None else "–" for c in (finite, expected)]
        body.append([f"{x:.0f}", with_error(points.y[k], points.sigma[k]), *lines, *more])
    limits = [flows.of_estimate(estimate(done, f"ess_limit_{degree}")) for degree in made]
    marginal = flows.of_estimate(estimate(done, "marginal_ess_of_batches"))
    return [*body, ["∞", f"{marginal} (marginal)", *limits, "–", "–"]]


def _curves(done: Finished, made: dict[int, InverseESSFit]) -> list[ExtraCurve]:
    x, lines = _lines(done, made)
    seed = done.task.seed
    return [
        ExtraCurve(ROW, FLOW, seed, Curve.of(f"ess_fit_{degree}", "1/N_pf", "ess", x, y)) for degree, y in lines.items()
    ]


def _lines(done: Finished, made: dict[int, InverseESSFit]) -> tuple[Sequence[float], dict[int, Sequence[float]]]:
    """Fitted ESS against 1/N_pf from near zero to one."""
    x = np.linspace(1.0, 0.0, POINTS, endpoint=False)[::-1]
    return x.tolist(), {degree: fit.ess(1.0 / x).tolist() for degree, fit in made.items()}


def claims(done: Finished, made: dict[int, InverseESSFit]) -> list[Claim]:
    """What Section IV.A.1 and Appendix A say, and what they leave out."""
    rise, marginal = estimate(done, "ess_rise"), estimate(done, "marginal_ess_of_batches")
    share = estimate(done, "infinite_variance")
    rises: Answer = "undecided"
    if rise is not None and rise.reliable and rise.sigma and abs(rise.value) > SIGMAS * rise.sigma:
        rises = "by construction" if rise.value > 0 else "no"
    points = curve(done, "ess_by_draws_of_batches")
    reached = (
        f"{points.y[-1] / marginal.value:.0%} of the marginal ESS with {points.x[-1]:.0f}"
        if points and marginal
        else "–"
    )
    made_claims = [
        quoted(
            "the ESS increases with larger N_pf and approaches the marginal ESS",
            "Section IV.A.1",
            rises if rise is not None else "not run",
            f"it rises by {flows.of_estimate(rise)} over batches, to {reached} draws. Both hold by construction, of "
            "samples without end: the mean of N_pf draws has less variance the more there are, and tends to the "
            "determinant",
        )
    ]
    for degree in made:
        less = estimate(done, f"ess_limit_{degree}_less_marginal")
        answer = flows.vanishes(less, SIGMAS)
        if share is not None and share.value > 0.0 and answer == "yes":
            answer = "undecided"
        text = "ESS(N_pf) = ESS(∞)/(1 + C/N_pf), with ESS(∞) the marginal ESS"
        own = (
            f"1/ESS is a polynomial of degree {degree}, the number of monomials, in 1/N_pf, its limit the marginal ESS"
        )
        made_claims.append(
            Claim(
                text if degree == 1 else own,
                "Eq. 45" if degree == 1 else "ours",
                tally([answer] if answer else []),
                f"the fit's limit less the marginal ESS is {flows.of_estimate(less)} (errors by leaving out batches; "
                f"seen if within {SIGMAS:g} σ{_premise(share)}); χ² = {made[degree].chi_squared:.1f} of "
                f"{_freedom(done, degree)}, of points that share their links and scatter together: no test",
            )
        )
    return [*made_claims, *_variances(done)]


def _premise(share: Estimate | None) -> str:
    """That an agreement of fits is none of the law, where weights lack the variance that it is made of."""
    if share is None or share.value == 0.0:
        return ""
    return (
        f", and where every weight has a variance, which those over {share.value:.0%} of the configurations lack: the "
        "law is one of samples without end, the fit one of batches of so many"
    )


def _freedom(done: Finished, degree: int) -> int:
    points = curve(done, "ess_by_draws_of_batches")
    return len(points.x) - degree - 1 if points else 0


def _variances(done: Finished) -> list[Claim]:
    """Ours: whether the weights that all this is made of have a variance at all."""
    share = estimate(done, "infinite_variance")
    if share is None:
        return []
    moments = curve(done, "weight_second_moment")
    pairs = (
        "; ".join(
            f"{x:.3g} predicted, {with_error(y, s)} measured"
            for x, y, s in zip(moments.x, moments.y, moments.sigma, strict=True)
        )
        if moments
        else "no configuration has a finite one"
    )
    return [
        Claim(
            "weights have a finite variance over every configuration, as Appendix A supposes",
            "ours",
            "yes" if share.value == 0.0 else "no",
            f"some s ≤ 1/2 over {share.value:.1%} of {share.n} configurations (exact spectra): ESS of samples without "
            "end is then zero at any N_pf, and any measured one that of so many samples",
        ),
        Claim(
            "where it is finite, ⟨w²⟩ is Π s²/(2s − 1)",
            "ours; by construction, for Gaussians",
            "undecided",
            f"{pairs} (few draws carry the moment, most samples miss them; errors need ⟨w⁴⟩, which is finite for s > "
            f"3/4 alone: no test)",
        ),
    ]


def verdict(table: Table, done: Finished, made: dict[int, InverseESSFit]) -> list[str]:
    """How far the draws carry, and whether the limit is what it is said to be."""
    points = curve(done, "ess_by_draws_of_batches")
    if points is None:
        return []
    said = [
        f"With 1 to {points.x[-1]:.0f} pseudofermions of each monomial the ESS rises from "
        f"{with_error(points.y[0], points.sigma[0])} to {with_error(points.y[-1], points.sigma[-1])}; the marginal "
        f"ESS is {flows.of_estimate(estimate(done, 'marginal_ess_of_batches'))}."
    ]
    if made:
        limits = ", ".join(f"{_named(d)} {flows.of_estimate(estimate(done, f'ess_limit_{d}'))}" for d in made)
        said.append(f"Fits put its limit at {limits}.")
    share = estimate(done, "infinite_variance")
    if share is not None:
        said.append(
            f"Over {share.value:.0%} of the configurations the weights of the pseudofermions have an infinite "
            "variance, which the paper does not look at: ESS(N_pf) there depends on how many samples are drawn."
        )
    if lattice := flows.of_lattice(table):
        said.append(f"The lattice is {lattice}, not the paper's 16 × 16: the course can be compared, numbers cannot.")
    return said


def notes(table: Table) -> list[str]:
    """Definitions."""
    del table
    return [
        "Each batch gives one ESS(N_pf), the mean over its disjoint groups of N_pf draws; values are means over "
        "batches with standard errors over batches, as in the paper. The marginal ESS is averaged in the same way.",
        "s: eigenvalues of M^(−1/2) Σ_q M^(−1/2), the covariance of the model relative to that of the target of each "
        "monomial, all one for a perfect model; ⟨w²⟩/⟨w⟩² = Π s²/(2s − 1), infinite where an s is at most 1/2.",
        "finite variance: ESS and its prediction (Appendix A with the exact ⟨w²⟩ of each monomial) of those "
        "configurations alone whose weights have a variance, of the first `infer.spectra` of each batch.",
        "Appendix A takes one monomial; with N_h + 1 of them Eq. 46 makes 1/ESS a polynomial of that degree in 1/N_pf.",
        "The paper prints no numbers of this figure but the ∼30 % at N_pf = 64 of Fig. 6 (`pseudofermion/text`).",
    ]


FLOWS = style(FLOW).colour


def draw(figure: Any, done: Finished, made: dict[int, InverseESSFit]) -> None:
    """ESS against 1/N_pf, smallest eigenvalues, second moments."""
    left, middle, right = figure.subplots(1, 3)
    points = curve(done, "ess_by_draws_of_batches")
    if points is not None:
        left.errorbar([1.0 / x for x in points.x], points.y, points.sigma, fmt="o", color=FLOWS, ms=3, capsize=2)
    x, lines = _lines(done, made)
    for degree, y in lines.items():
        left.plot(x, y, color="0.3", lw=0.8, ls="-" if degree == 1 else "--", label=_named(degree))
    marginal = estimate(done, "marginal_ess_of_batches")
    if marginal is not None:
        left.errorbar(
            [0.0], [marginal.value], [marginal.sigma or 0.0], fmt="^", color=BLACK, ms=5, capsize=2, label="marginal"
        )
    left.set_ylim(bottom=0.0)
    left.set_xlabel("$1/N_\\mathrm{pf}$")
    left.set_ylabel("effective sample size")
    left.legend(frameon=False, fontsize=7)
    smallest = curve(done, "smallest_eigenvalue")
    if smallest is not None:
        middle.plot(smallest.x, smallest.y, color=FLOWS, lw=1)
    middle.axvline(0.5, color="0.4", lw=0.8, ls=":")
    middle.set_xlabel("smallest $s$")
    middle.set_ylabel("share of configurations below")
    moments = curve(done, "weight_second_moment")
    if moments is not None:
        right.errorbar(moments.x, moments.y, moments.sigma, fmt="o", color=FLOWS, ms=3, capsize=2)
        right.plot(moments.x, moments.x, color="0.3", lw=0.8)
        right.set_xscale("log")
        right.set_yscale("log")
    else:
        right.text(
            0.5, 0.5, "no configuration\nwith a finite variance", ha="center", transform=right.transAxes, fontsize=8
        )
    right.set_xlabel("predicted $\\langle w^2\\rangle$")
    right.set_ylabel("measured $\\langle w^2\\rangle$")


ARTEFACT = Artefact(
    "pseudofermion",
    "fig3",
    "Figure 3: ESS against the number of pseudofermion draws, and the variance of their weights",
    cells,
    render,
    own={FLOW: "Joint flow"},
)
