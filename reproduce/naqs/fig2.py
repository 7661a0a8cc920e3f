"""Figure 2: the two orientations of the ferromagnet, sampled directly and by Markov chains, in two components."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.analysis.pca import PrincipalComponents, principal_components
from pipeline.analysis.samples import kept_samples
from pipeline.base.numbers.formatting import with_error
from pipeline.base.numbers.result import Curve
from pipeline.base.numbers.statistics import Mean, correlated_mean, independent_mean, split_r_hat
from reproduce.artefact import Artefact, Cell, Claim, Column, ExtraCurve, Rendering, yes_no
from reproduce.naqs import shared
from reproduce.tables import Finished, Table

ROW = "G2.0"
PHYSICS = ("system.coupling=1.0", "system.field=2.0")
SETTINGS = "naqs/fig2"
"""The training of Table I (its very key), with amounts of samples for a figure."""
STARTS = {"up": 1, "down": -1}
SEEDS = {"up": 1, "down": 2}
"""With the same random numbers, in a state that is even under the flip, one start would mirror the other."""
CHAINS_A_START = 2
"""Four chains, "initialized at one of the oriented states"; ours: two at either."""
SIGMAS = 3.0
POINTS_SHOWN = 300
"""Of each series in the figure and in ``curves.csv``."""


@dataclass(frozen=True)
class Chain:
    """Samples of one chain, or all direct ones.

    Attributes:
        label: in the table and in the figure.
        method: of the cell.
        start: Σσz/N at which the chain began; None where samples are independent.
        spins: (n, N) int8.
        acceptance: fraction of accepted proposals of the cell; None without proposals.
    """

    label: str
    method: str
    start: int | None
    spins: NDArray[np.int8]
    acceptance: float | None

    @property
    def magnetisations(self) -> NDArray[np.float64]:
        """Σσz/N of every sample, (n,)."""
        means: NDArray[np.float64] = self.spins.mean(axis=1, dtype=float)
        return means

    def mean(self, series: NDArray[np.float64]) -> Mean:
        """Mean of something measured on every sample, with the error that fits the sampler."""
        independent = self.start is None or len(series) < 2
        return independent_mean(series) if independent else correlated_mean(series)

    @property
    def turned(self) -> float:
        """Share of samples with the orientation opposite to the start."""
        return float(np.mean(np.sign(self.magnetisations) == -(self.start or 0)))


def cells() -> list[Cell]:
    """One state, sampled in three ways; the Monte Carlo of Table I beside it."""
    made = [Cell(ROW, "direct", PHYSICS, _columns("direct"), settings=SETTINGS)]
    for start in STARTS:
        name = f"mcmc-{start}"
        sampler = ("infer_sampler=metropolis", f"infer.sampler.chains={CHAINS_A_START}", f"infer.sampler.start={start}")
        columns = (*_columns(name), Column(name, "acceptance", "acceptance"))
        made.append(Cell(ROW, name, (*PHYSICS, *sampler, f"infer.seed={SEEDS[start]}"), columns, settings=SETTINGS))
    return [*made, shared.qmc_cell(ROW, PHYSICS)]


def _columns(method: str) -> tuple[Column, ...]:
    magnetisation = Column(method, "magnetisation", "magnetisation", "per site")
    return (magnetisation, Column(method, "absolute_magnetisation", "absolute_magnetisation"))


def chains_of(finished: Sequence[Finished]) -> list[Chain]:
    """Direct samples first, then the chains, numbered through."""
    found: list[Chain] = []
    for done in finished:
        method = done.task.cell.method
        if done.result is None or done.found.inferred is None or method == "reference":
            continue
        spins = kept_samples(done.found.inferred.records(), done.task.run.system.size)
        if method == "direct":
            found.insert(0, Chain("direct sampling", method, None, spins[0], None))
            continue
        name, acceptance = method.removeprefix("mcmc-"), done.result.estimate("acceptance").value
        for chain in spins:
            number = 1 + sum(one.start is not None for one in found)
            found.append(Chain(f"MCMC {number}, begun {name}", method, STARTS[name], chain, acceptance))
    return found


def render(table: Table) -> Rendering:
    """A line a chain; the scatter of all samples."""
    found = chains_of(table.finished)
    header = ["samples from", "number", "m = ⟨Σσz⟩/N", "⟨|Σσz|⟩/N", "acceptance", "τ_int of m", "R-hat of m"]
    body = [_line(chain, found) for chain in found]
    body += [_line_of_all([c for c in found if c.start is not None])] if len(found) > 1 else []
    components = principal_components(np.concatenate([c.spins for c in found])) if found else None
    curves = [_points(chain, components) for chain in found if components]
    return Rendering(
        header,
        body,
        claims(found),
        notes(table),
        (lambda figure: _draw(found, components, figure)) if components else None,
        (5.4, 4.2),
        "The first two principal components of all samples together: direct sampling and four Metropolis chains of "
        f"single flips. At most {POINTS_SHOWN} samples of each are shown.",
        curves,
    )


def _line(chain: Chain, found: Sequence[Chain]) -> list[str]:
    m, size = chain.mean(chain.magnetisations), chain.mean(np.abs(chain.magnetisations))
    same = [c for c in found if c.method == chain.method]
    return [
        chain.label,
        str(len(chain.spins)),
        with_error(m.value, m.sigma),
        with_error(size.value, size.sigma),
        "–" if chain.acceptance is None else f"{chain.acceptance:.2f}",
        "–" if m.tau is None else f"{m.tau:.2g}",
        "–" if chain.start is None else _r_hat(same) + " (same start)",
    ]


def _line_of_all(chains: Sequence[Chain]) -> list[str]:
    m = np.array([c.magnetisations.mean() for c in chains])
    size = np.array([np.abs(c.magnetisations).mean() for c in chains])
    acceptance = [c.acceptance for c in chains if c.acceptance is not None]
    return [
        f"all {len(chains)} chains",
        str(sum(len(c.spins) for c in chains)),
        f"{m.mean():.2g}, decided by the starts",
        f"{size.mean():.3g}",
        f"{np.mean(acceptance):.2f}" if acceptance else "–",
        "–",
        _r_hat(chains),
    ]


def _r_hat(chains: Sequence[Chain]) -> str:
    """Of the magnetisation over chains of the same length."""
    if min((len(c.spins) for c in chains), default=0) < 4:
        return "–"
    value = split_r_hat(np.stack([c.magnetisations for c in chains]))
    return f"{value:.3g}" if math.isfinite(value) else "∞"


def claims(found: Sequence[Chain]) -> list[Claim]:
    """What the text says about the two orientations."""
    direct = next((c for c in found if c.start is None), None)
    chains = [c for c in found if c.start is not None]
    made = [
        Claim(
            "MCMC chains initialized at one of the oriented states are stuck at that specific orientation",
            "Experiments, on Fig. 2",
            yes_no([c.turned == 0 for c in chains]),
            "share of samples with the opposite orientation: "
            + "; ".join(f"{c.label} {c.turned:.2g}" for c in chains)
            + " (seen if none)",
        )
    ]
    return [*made, *_of_direct_sampling(direct), _what_chains_estimate(direct, chains)]


def _of_direct_sampling(direct: Chain | None) -> list[Claim]:
    equal, zero, evidence, value = [], [], "", ""
    if direct is not None:
        up, down = (int(np.count_nonzero(np.sign(direct.magnetisations) == s)) for s in (1, -1))
        oriented = up + down
        fraction, sigma = up / max(oriented, 1), 0.5 / math.sqrt(max(oriented, 1))
        m = direct.mean(direct.magnetisations)
        equal = [oriented > 0 and abs(fraction - 0.5) <= SIGMAS * sigma]
        zero = [abs(m.value) <= SIGMAS * (m.sigma or 0.0)]
        evidence = f"{up} of {oriented} up, a fraction of {fraction:.3f} with a binomial error of {sigma:.3f}"
        value = f"m = {with_error(m.value, m.sigma)} (seen if zero within {SIGMAS:g} σ)"
    return [
        Claim(
            "spin configurations sampled directly include equally probable configurations from both orientations",
            "Experiments, on Fig. 2",
            yes_no(equal),
            f"{evidence} (seen if 1/2 within {SIGMAS:g} errors)",
        ),
        Claim(
            "direct sampling reaches a value close to a total zero magnetisation",
            "Experiments, on Fig. 2",
            yes_no(zero),
            value,
        ),
    ]


def _what_chains_estimate(direct: Chain | None, chains: Sequence[Chain]) -> Claim:
    """Seen, chain by chain, where |m| is ⟨|Σσz|⟩/N of the direct samples, and not 0."""
    seen, evidence = [], []
    if direct is not None:
        size = direct.mean(np.abs(direct.magnetisations))
        evidence.append(f"⟨|Σσz|⟩/N of direct samples {with_error(size.value, size.sigma)}")
        for chain in chains:
            m = chain.mean(chain.magnetisations)
            sigma = math.hypot(size.sigma or 0.0, m.sigma or 0.0)
            seen.append(abs(abs(m.value) - size.value) <= SIGMAS * sigma and abs(m.value) > SIGMAS * (m.sigma or 0.0))
            evidence.append(f"{chain.label} {with_error(m.value, m.sigma)}")
    return Claim(
        "MCMC estimation effectively computes ⟨|σz|⟩ ≈ 0.78 rather than m",
        "Experiments, on Fig. 2",
        yes_no([bool(s) for s in seen]),
        "; ".join(evidence) + f" (seen if |m| is that within {SIGMAS:g} combined σ, and not 0)",
    )


def notes(table: Table) -> list[str]:
    """Conventions."""
    found = [
        "All samples are of one state, trained like that of Table I at Γ = 2 J. m and its error are per site; errors "
        "of chains contain the autocorrelation time within the chain and know nothing of the orientation never "
        "visited.",
        "A chain makes a sweep of N proposals between two samples. R-hat compares halves of chains: near 1 for chains "
        "from the same start, which agree in being stuck, and large for all of them.",
        "The figure's components are those of all samples together, centred, signs fixed by the largest entry.",
    ]
    if any("spin_flip" in done.task.run.train.ansatz.symmetries for done in table.finished if done.found.trained):
        found.append(
            "The state is averaged over the spin flip: both orientations have the same weight by construction."
        )
    return found


def _points(chain: Chain, components: PrincipalComponents) -> ExtraCurve:
    """Evenly spaced samples of a chain in the plane, rounded to what a figure shows."""
    chosen = np.unique(np.linspace(0, len(chain.spins) - 1, min(POINTS_SHOWN, len(chain.spins))).astype(int))
    x, y = components.project(chain.spins[chosen]).T.round(4)
    return ExtraCurve(ROW, chain.method, 0, Curve.of(f"pca/{chain.label}", "component 1", "component 2", x, y))


def _draw(found: Sequence[Chain], components: PrincipalComponents, figure: Any) -> None:
    axes = figure.subplots()
    for chain, colour in zip(found, ["C2", "C0", "C1", "C3", "C4"], strict=False):
        curve = _points(chain, components).curve
        direct = chain.start is None
        axes.plot(curve.x, curve.y, "o" if direct else ".", color=colour, ms=5 if direct else 4, alpha=0.6, mew=0)
        axes.plot([], [], "o", color=colour, label=chain.label)
    for k, label in enumerate((axes.set_xlabel, axes.set_ylabel)):
        label(f"component {k + 1} ({100 * components.ratios[k]:.0f} % of the variance)")
    axes.legend(frameon=False, fontsize=8)


ARTEFACT = Artefact(
    "naqs",
    "fig2",
    "Figure 2: both orientations of the ferromagnet, Γ = 2 J, direct sampling and MCMC",
    cells,
    render,
    own={"direct": "Direct sampling"},
)
