"""Figure 2: joint and marginal ESS of one flow of the Schwinger model along training."""

from __future__ import annotations

from typing import Any

from reproduce.artefact import Artefact, Cell, Claim, Rendering, quoted
from reproduce.naqs.judgement import tally
from reproduce.pseudofermion import flows
from reproduce.pseudofermion.flows import FLOW
from reproduce.pseudofermion.shared import estimate, printed
from reproduce.tables import Finished, Table

ROW = "schwinger-L16"
SETTINGS = "pseudofermion/fig2"
QUANTITIES = ("joint_ess", "ess_all_draws", "marginal_ess", "conditional_kl", "acceptance_one_draw", "acceptance")
SHOWN = {"joint_ess": "joint ESS", "marginal_ess": "marginal ESS"}
SIGMAS = 2.0


def cells() -> list[Cell]:
    """One training, as in the paper."""
    return [Cell(ROW, FLOW, (), flows.columns(FLOW, QUANTITIES), settings=SETTINGS)]


def render(table: Table) -> Rendering:
    """A line an evaluation; both ESS against the step."""
    found = flows.finished(table, FLOW)
    header = ["step", *SHOWN.values()]
    return Rendering(
        header,
        _body(table, found),
        claims(table, found),
        notes(table),
        (lambda figure: draw(figure, table, found)) if found else None,
        figure_size=(7.0, 3.4),
        caption="Joint and marginal effective sample size along training, from fresh samples with one pseudofermion of "
        "each monomial. Points with errors: at the end, from the samples of the inference. Dashed: what the paper "
        "reads off at the end of its own training, on 16 × 16 sites.",
        verdict=verdict(table, found),
        keys=1,
    )


def _body(table: Table, found: list[Finished]) -> list[list[str]]:
    series = {
        name: {x: y for c in flows.along(table, FLOW, name) for x, y in zip(c.x, c.y, strict=True)} for name in SHOWN
    }
    steps = sorted({x for values in series.values() for x in values})
    body = [[f"{x:.0f}", *(f"{v[x]:.3f}" if x in v else "–" for v in series.values())] for x in steps]
    for done in found:
        body.append([f"{done.found.step or 0} (end)", *(flows.of_estimate(estimate(done, name)) for name in SHOWN)])
    return body


def claims(table: Table, found: list[Finished]) -> list[Claim]:
    """What Section IV.A.1 says of this figure."""
    joint, marginal = (printed(ROW, FLOW, name) for name in SHOWN)
    lattice = flows.of_lattice(table)
    rows = [table.row(ROW, FLOW, name) for name in SHOWN]
    evidence = ", ".join(f"{label} {flows.shown(row)}" for label, row in zip(SHOWN.values(), rows, strict=True))
    said = {r.vs_paper if r else "undecided" for r in rows}
    answer = "yes" if said == {"agrees"} else "no" if said & {"lower", "higher"} else "undecided"
    answer = "not-comparable" if lattice else answer
    order = flows.larger(rows[1], rows[0], SIGMAS)
    order = "by construction" if order == "yes" else order
    return [
        quoted(
            f"a ∼{joint.value:.0%} joint ESS is obtained, while the marginal ESS is ∼{marginal.value:.0%}",
            joint.location,
            answer if found else "not run",
            evidence + (f", on {lattice} sites" if lattice else ""),
        ),
        Claim(
            "the joint ESS lies below the marginal one",
            "Fig. 2; by construction for samples without end: pseudofermions add variance to the weights",
            tally([order] if order else []),
            evidence + f" (beyond {SIGMAS:g} σ)",
        ),
        quoted(
            "The jumps in ESS are a result of learning-rate scheduling",
            "Fig. 2, caption",
            "not run" if not found else "not-comparable" if lattice else "undecided",
            "points along training have no errors"
            + ("; the learning rate here is not halved, see the phases among the cuts" if lattice else ""),
        ),
    ]


def verdict(table: Table, found: list[Finished]) -> list[str]:
    """Both numbers at the end, and what they can be compared with."""
    if not found:
        return []
    values = [flows.of_estimate(estimate(found[0], name)) for name in (*SHOWN, "acceptance_one_draw")]
    said = [
        f"After {found[0].found.step} steps the joint ESS is {values[0]}, the marginal ESS {values[1]}, the acceptance "
        f"of independence Metropolis with one pseudofermion {values[2]}."
    ]
    share = estimate(found[0], "infinite_variance")
    if share is not None and share.value > 0.0:
        joint = estimate(found[0], "joint_ess")
        said.append(
            f"Over {share.value:.0%} of the configurations weights have an infinite variance (`pseudofermion/fig3`): "
            f"the joint ESS is that of {joint.n if joint else 'so many'} samples and falls with their number, and its "
            "error is of these."
        )
    if lattice := flows.of_lattice(table):
        said.append(f"The lattice is {lattice} and the flow shallow: the paper's 5 % and 35 % are of another system.")
    return said


def notes(table: Table) -> list[str]:
    """Definitions."""
    del table
    return [
        "ESS: Eq. 15, without the regulator of the training; marginal: with exact determinants. Along training each "
        "point is one batch of fresh samples.",
        "Below scale `paper` this is the training of Figure 4 with Hasenbusch's factorisation, seed 0.",
        "The paper does not print how many steps Fig. 2 shows; numbers at its end stand in Section IV.A.1 "
        "(`pseudofermion/text`).",
    ]


def draw(figure: Any, table: Table, found: list[Finished]) -> None:
    """Both against the step."""
    axes = figure.subplots()
    for k, (name, label) in enumerate(SHOWN.items()):
        for curve in flows.along(table, FLOW, name):
            axes.plot(curve.x, curve.y, color=f"C{k}", lw=1, label=label)
        for done in found:
            last = estimate(done, name)
            if last is not None:
                axes.errorbar(
                    [done.found.step], [last.value], [last.sigma or 0.0], fmt="o", color=f"C{k}", ms=4, capsize=2
                )
        axes.axhline(printed(ROW, FLOW, name).value, color=f"C{k}", lw=0.8, ls="--")
    axes.set_xlabel("step")
    axes.set_ylabel("effective sample size")
    axes.set_ylim(bottom=0.0)
    axes.legend(frameon=False, fontsize=8)


ARTEFACT = Artefact(
    "pseudofermion",
    "fig2",
    "Figure 2: joint and marginal ESS of a flow of the Schwinger model along training",
    cells,
    render,
    own={FLOW: "Joint flow"},
)
