"""Figure 2: the two orientations of the ferromagnet, sampled directly and by Markov chains, in two components."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from pipeline.base.numbers.formatting import with_error
from pipeline.base.numbers.result import Curve, Estimate
from pipeline.base.palette import BLACK, GREY, ORANGE, PINK
from reproduce.artefact import Artefact, Cell, Claim, Column, Derived, ExtraCurve, Rendering
from reproduce.colours import style
from reproduce.naqs import shared
from reproduce.naqs.chains import ALL, POINTS_SHOWN, STARTS, Chain, Samples, samples_of
from reproduce.naqs.judgement import Answer, difference_in_sigmas, tally
from reproduce.published import Published
from reproduce.tables import CellRow, Table

ROW = "G2.0"
PHYSICS = ("system.coupling=1.0", "system.field=2.0")
SETTINGS = "naqs/fig2"
"""The training of Table I (its very key at the paper's scale, other symmetries where a scale cuts those), with amounts
of samples for a figure."""
SEEDS = {"up": 1, "down": 2}
"""With the same random numbers, in a state that is even under the flip, one start would mirror the other."""
CHAINS_A_START = 2
"""Four chains, "initialized at one of the oriented states"; ours: two at either."""
MCMC = tuple(f"mcmc-{start}" for start in STARTS)
SIGMAS = 3.0
SIZE = "absolute_magnetisation"
ESTIMATED = "MCMC estimation effectively computes ⟨|σz|⟩ ≈ 0.78 rather than m"
SEEN: dict[str, Answer] = {"agrees": "yes", "lower": "no", "higher": "no"}
"""Whether a printed number is seen, by ``vs_paper``."""


def cells() -> list[Cell]:
    """One state, sampled in three ways; the Monte Carlo of Table I beside it."""
    made = [Cell(ROW, "direct", PHYSICS, _columns("direct"), settings=SETTINGS)]
    for start in STARTS:
        name = f"mcmc-{start}"
        sampler = ("infer_sampler=metropolis", f"infer.sampler.chains={CHAINS_A_START}", f"infer.sampler.start={start}")
        columns = (*_columns(name), Column(name, "acceptance", "acceptance"))
        made.append(Cell(ROW, name, (*PHYSICS, *sampler, f"infer.seed={SEEDS[start]}"), columns, settings=SETTINGS))
    return [*made, shared.qmc_cell(ROW, PHYSICS, settings=SETTINGS)]


def _columns(method: str) -> tuple[Column, ...]:
    magnetisation = Column(method, "magnetisation", "magnetisation", "per site")
    return (magnetisation, Column(method, SIZE, SIZE))


def derived(table: Table) -> list[Derived]:
    """⟨|Σσz|⟩/N over the chains of both starts: the one number that the text prints of them."""
    estimate = pooled(table, MCMC)
    return [Derived(ROW, "mcmc", SIZE, estimate, MCMC)] if estimate else []


def pooled(table: Table, methods: Sequence[str]) -> Estimate | None:
    """⟨|Σσz|⟩/N of one state, from all its samples that have an error; None without any."""
    rows = [row for m in methods if (row := table.row(ROW, m, SIZE)) and row.ours is not None and row.ours_sigma]
    if not rows:
        return None
    weights = [1 / (row.ours_sigma or 1.0) ** 2 for row in rows]
    value = sum(w * (row.ours or 0.0) for w, row in zip(weights, rows, strict=True)) / sum(weights)
    return Estimate(SIZE, value, sum(weights) ** -0.5, "standard-error", bound="stochastic", n=len(rows))


def render(table: Table) -> Rendering:
    """A line a chain, and quantum Monte Carlo; the scatter of all samples."""
    found, quantum = samples_of(table), table.reference(ROW, SIZE)
    symmetric = is_symmetric(table)
    header = ["samples from", "number", "m = ⟨Σσz⟩/N", "⟨|Σσz|⟩/N", "acceptance", "τ_int of m", "R-hat of m"]
    body = [_line(chain, found) for chain in found.chains]
    body += [_line_of_all(found, table.row(ROW, "mcmc", SIZE))] if len(found.markov) > 1 else []
    if quantum is not None:
        body.append(["quantum Monte Carlo", "–", "0 by symmetry", with_error(quantum.value, quantum.sigma), *["–"] * 3])
    return Rendering(
        header,
        body,
        claims(found, symmetric, table.row(ROW, "mcmc", SIZE), table.number(ROW, "mcmc", SIZE)),
        notes(symmetric, found.rounded, is_cut(table)),
        (lambda figure: _draw(found, figure)) if any(chain.points for chain in found.chains) else None,
        (7.0, 4.2),
        "The first two principal components of all samples together: direct sampling and four Metropolis chains of "
        f"single flips. At most {POINTS_SHOWN} samples of each are shown.",
        [_points(chain) for chain in found.chains],
        verdict=verdict(table, found, symmetric),
        kept=found.kept() if found.chains else {},
    )


def is_symmetric(table: Table) -> bool:
    """Whether the state is averaged over the spin flip."""
    return any("spin_flip" in done.task.run.train.ansatz.symmetries for done in table.finished if done.found.trained)


def is_cut(table: Table) -> bool:
    """Whether the symmetries are others than the paper's, and so others than those of Table I."""
    return any(cut.startswith("train.ansatz.symmetries:") for done in table.finished for cut in done.task.cuts)


def _line(chain: Chain, found: Samples) -> list[str]:
    m, size = chain.magnetisation, chain.size
    return [
        chain.label,
        str(chain.samples),
        with_error(m.value, m.sigma),
        with_error(size.value, size.sigma),
        "–" if chain.acceptance is None else f"{chain.acceptance:.2f}",
        "–" if m.tau is None else f"{m.tau:.2g}",
        "–" if chain.start is None else shown_r_hat(found.r_hat.get(chain.method)) + " (same start)",
    ]


def _line_of_all(found: Samples, together: CellRow | None) -> list[str]:
    chains = found.markov
    number = sum(c.samples for c in chains)
    m = sum(c.samples * c.magnetisation.value for c in chains) / number
    acceptance = [c.acceptance for c in chains if c.acceptance is not None]
    return [
        f"all {len(chains)} chains",
        str(number),
        f"{m:.2g}, decided by the starts",
        with_error(together.ours, together.ours_sigma) if together else "–",
        f"{sum(acceptance) / len(acceptance):.2f}" if acceptance else "–",
        "–",
        shown_r_hat(found.r_hat.get(ALL)),
    ]


def shown_r_hat(value: float | None) -> str:
    """Three digits; ``–`` where it is not known."""
    if value is None or math.isnan(value):
        return "–"
    return f"{value:.3g}" if math.isfinite(value) else "∞"


def verdict(table: Table, found: Samples, symmetric: bool) -> list[str]:
    """What happened to the chains, what of direct sampling is a result, and how good the state is."""
    if found.direct is None or not found.markov:
        return []
    chains, stuck = found.markov, sum(c.turned == 0 for c in found.markov)
    direct = found.direct
    sentences = [
        f"MCMC: {stuck} of {len(chains)} chains stay in the orientation they began in for all of their "
        f"{min(c.samples for c in chains)} sweeps.",
        f"Direct sampling: {direct.up} of {_counted(direct, found.rounded)} point up"
        + (
            ", which the average over the spin flip makes even odds by construction: it tests the sampler, and is no "
            "result of the training."
            if symmetric
            else "."
        ),
    ]
    state, quantum = pooled(table, ("direct", *MCMC)), table.reference(ROW, SIZE)
    if state is not None and quantum is not None:
        pull = difference_in_sigmas(state.value, state.sigma, quantum.value, quantum.sigma)
        apart = "" if pull is None else f", {abs(pull):.1f} σ {'above' if pull > 0 else 'below'} it"
        sentences.append(
            f"The state itself: ⟨|Σσz|⟩/N is {with_error(state.value, state.sigma)} over all its samples, "
            f"{with_error(quantum.value, quantum.sigma)} by quantum Monte Carlo{apart}."
        )
    return sentences


def _counted(direct: Chain, rounded: bool) -> str:
    """``400 samples``, or how many of them the report still holds."""
    oriented = direct.up + direct.down
    return f"the {oriented} kept of {direct.samples} samples" if rounded else f"{oriented} samples"


def claims(
    found: Samples, symmetric: bool, together: CellRow | None = None, number: Published | None = None
) -> list[Claim]:
    """What the text says about the two orientations."""
    chains = found.markov
    answers: list[Answer] = ["yes" if c.turned == 0 else "no" for c in chains]
    sweeps = min((c.samples for c in chains), default=0)
    stuck = Claim(
        "MCMC chains initialized at one of the oriented states are stuck at that specific orientation",
        "Experiments, on Fig. 2",
        tally(answers),
        "share of samples with the opposite orientation: "
        + "; ".join(f"{c.label} {c.turned:.2g}" for c in chains)
        + f" (seen if none, in {sweeps} sweeps a chain)",
    )
    even = _of_direct_sampling(found.direct, symmetric, found.rounded)
    return [stuck, *even, _as_printed(together, number), _what_chains_estimate(found)]


def _within(value: float, sigma: float | None) -> Answer:
    """Whether a number is zero within its error."""
    if not sigma:
        return "undecided"
    return "yes" if abs(value) <= SIGMAS * sigma else "no"


def _of_direct_sampling(direct: Chain | None, symmetric: bool, rounded: bool) -> list[Claim]:
    """Both hold for a state that is averaged over the flip: then our samples can only contradict them."""
    equal: list[Answer] = []
    zero: list[Answer] = []
    evidence, value = "", ""
    if direct is not None:
        oriented = direct.up + direct.down
        fraction, sigma = direct.up / max(oriented, 1), 0.5 / math.sqrt(max(oriented, 1))
        m = direct.magnetisation
        equal = [_within(fraction - 0.5, sigma) if oriented else "undecided"]
        zero = [_within(m.value, m.sigma)]
        evidence = (
            f"{direct.up} of {_counted(direct, rounded)} up, a fraction of {fraction:.3f} with a binomial error of "
            f"{sigma:.3f}"
        )
        value = f"m = {with_error(m.value, m.sigma)}"
        if symmetric:
            equal, zero = ([a if a == "no" else "by construction" for a in answers] for answers in (equal, zero))
    even = "the state is averaged over the spin flip; " if symmetric else ""
    return [
        Claim(
            "spin configurations sampled directly include equally probable configurations from both orientations",
            "Experiments, on Fig. 2",
            tally(equal),
            f"{even}{evidence} (not seen if off 1/2 by {SIGMAS:g} errors)",
        ),
        Claim(
            "direct sampling reaches a value close to a total zero magnetisation",
            "Experiments, on Fig. 2",
            tally(zero),
            f"{even}{value} (not seen if off zero by {SIGMAS:g} σ)",
        ),
    ]


def _as_printed(together: CellRow | None, number: Published | None) -> Claim:
    """Judged as all printed numbers are: 0.78 within its rounding."""
    answers: list[Answer] = []
    evidence = ""
    if together is not None and together.ours is not None and number is not None:
        answers = [SEEN.get(together.vs_paper, "undecided")]
        pull = difference_in_sigmas(together.ours, together.ours_sigma, number.value, number.effective_sigma)
        evidence = (
            f"⟨|Σσz|⟩/N of all chains {with_error(together.ours, together.ours_sigma)}, printed {number.text} "
            f"± {number.effective_sigma:g} of rounding: {'–' if pull is None else f'{pull:+.1f} σ'} (seen if `vs "
            "paper` is `agrees`)"
        )
    return Claim(f"{ESTIMATED}: the number", "Experiments, on Fig. 2", tally(answers), evidence)


def _what_chains_estimate(found: Samples) -> Claim:
    """By construction for a chain that never turned, whose every sample has |Σσz| = ± Σσz; else |m| may tell."""
    answers: list[Answer] = []
    evidence = []
    for chain in found.markov:
        m, size = chain.magnetisation, chain.size
        pull = difference_in_sigmas(abs(m.value), m.sigma, size.value, size.sigma)
        if chain.turned == 0:
            answers.append("by construction")
        elif pull is None or m.sigma is None:
            answers.append("undecided")
        else:
            answers.append("yes" if abs(pull) <= SIGMAS < abs(m.value) / max(m.sigma, 1e-300) else "no")
        shown = with_error(m.value, m.sigma), with_error(size.value, size.sigma)
        evidence.append(f"{chain.label} m = {shown[0]}, ⟨|Σσz|⟩/N = {shown[1]}")
    stuck = "" if "by construction" not in answers else "a chain that stays in one orientation has |m| = ⟨|Σσz|⟩/N; "
    rule = f" (else seen if |m| is that within {SIGMAS:g} combined σ, and not 0)" if evidence else ""
    return Claim(
        f"{ESTIMATED}: its |m|",
        "Experiments, on Fig. 2",
        tally(answers),
        stuck + "; ".join(evidence) + rule,
    )


def notes(symmetric: bool, rounded: bool, cut: bool) -> list[str]:
    """Conventions."""
    symmetries = ", but for its symmetries (see the deviations)" if cut else ""
    found = [
        f"All samples are of one state, trained with the settings of Table I at Γ = 2 J{symmetries}. m and its error "
        "are per site; errors of chains contain the autocorrelation time within the chain and know nothing of the "
        "orientation never visited.",
        "A chain makes a sweep of N proposals between two samples. R-hat compares halves of chains: near 1 for chains "
        "from the same start, which agree in being stuck, and large for all of them.",
        "⟨|Σσz|⟩/N of all chains stands beside the printed 0.78, which counts as ± 0.005, its rounding.",
        "The figure's components are those of all samples together, centred, signs fixed by the largest entry.",
    ]
    if rounded:
        found.append(
            "The samples themselves are not kept: numbers of single chains are those of the report as it was written, "
            "and orientations are counted among the points of the figure, by the sign of the first component."
        )
    if symmetric:
        found.append(
            "The state is averaged over the spin flip: both orientations have the same weight by construction."
        )
    return found


def _points(chain: Chain) -> ExtraCurve:
    """Evenly spaced samples of a chain in the plane, rounded to what a figure shows."""
    x, y = zip(*chain.points, strict=True) if chain.points else ((), ())
    return ExtraCurve(ROW, chain.method, 0, Curve.of(f"pca/{chain.label}", "component 1", "component 2", x, y))


SHADES = (BLACK, GREY, ORANGE, PINK)
"""Of the chains, which are one method but several samples."""


def _draw(found: Samples, figure: Any) -> None:
    axes = figure.subplots()
    for k, chain in enumerate(found.chains):
        direct = chain.start is None
        colour = style("direct").colour if direct else SHADES[(k - 1) % len(SHADES)]
        x, y = zip(*chain.points, strict=True) if chain.points else ((), ())
        axes.plot(x, y, "o" if direct else ".", color=colour, ms=5 if direct else 4, alpha=0.6, mew=0)
        axes.plot([], [], "o", color=colour, label=chain.label)
    for k, label in enumerate((axes.set_xlabel, axes.set_ylabel)):
        share = f" ({100 * found.ratios[k]:.0f} % of the variance)" if found.ratios else ""
        label(f"component {k + 1}{share}")
    axes.legend(frameon=False, fontsize=8)


ARTEFACT = Artefact(
    "naqs",
    "fig2",
    "Figure 2: both orientations of the ferromagnet, Γ = 2 J, direct sampling and MCMC",
    cells,
    render,
    own={"direct": "Direct sampling"},
    derived=derived,
)
