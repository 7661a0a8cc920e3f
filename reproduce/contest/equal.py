"""Extra artefact: every method on four systems with exact references, each training with the same budget."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from reproduce.arena import NAMES
from reproduce.artefact import Artefact, Cell, Column, Rendering
from reproduce.colours import style
from reproduce.contest.standing import BUDGETS, NF, TOLERANCE, Standing, realised, standings, unbeaten
from reproduce.naqs.judgement import magnitude, with_exponent
from reproduce.tables import Table

SEEDS = (0, 1, 2)
SQUARE = ("system.length_x=4", "system.length_y=4")
ISING = ("system.coupling=1.0", "system.field=3.0", "system.periodic=false")
SYSTEMS = {
    "ring": ("system=chain_tfim", "system.n_sites=16", "system.range=1", "system.coupling=1.0", "system.field=1.0"),
    "ising": ("system=square_tfim", *SQUARE, *ISING),
    "heisenberg": ("system=square_heisenberg", *SQUARE, "system.periodic=true", "system.j1=1.0", "system.j2=0.0"),
    "j1j2": ("system=square_heisenberg", *SQUARE, "system.periodic=true", "system.j1=1.0", "system.j2=0.5"),
}
LABELS = {
    "ring": "Ising ring, 16 sites, critical",
    "ising": "Ising model, open 4 × 4, Γ = 3 J",
    "heisenberg": "Heisenberg model, periodic 4 × 4",
    "j1j2": "J1-J2, periodic 4 × 4, J2 = 0.5",
}
RECIPES = {
    "ring": {
        "rbm": "rbm",
        "mcmc": "mcmc",
        "nir": "nir_ring",
        "dense-ar": "dense_ar",
        "cnn-ar": "cnn_ar",
        "annealed-ar": "annealed",
        "mps": "mps",
        "vit": "vit_ring",
        NF: "nqs_nf",
    },
    "ising": {
        "rbm": "rbm",
        "mcmc": "mcmc",
        "nir": "nir",
        "dense-ar": "dense_ar",
        "cnn-ar": "cnn_ar",
        "annealed-ar": "annealed_square",
        "naqs": "naqs",
        NF: "nqs_nf",
    },
    "heisenberg": {
        "rbm": "rbm_exchange",
        "mcmc": "resnet_marshall",
        "nir": "nir_resnet_marshall",
        "dense-ar": "dense_ar_heisenberg",
        "cnn-ar": "cnn_ar_heisenberg",
        "naqs": "naqs_heisenberg",
        "vit-marshall": "vit_marshall",
        NF: "nqs_nf",
    },
    "j1j2": {
        "rbm": "rbm_complex",
        "mcmc": "resnet",
        "nir": "nir_resnet",
        "dense-ar": "dense_ar_phase",
        "cnn-ar": "cnn_ar_phase",
        "naqs": "naqs_phase",
        "vit": "vit",
        NF: "nqs_nf",
    },
}
"""Recipes of ``conf/recipe/contest`` by system and method, as far as a method can treat the system."""


SMOKE = ("ring", "j1j2")
"""Systems of the scale that shows the machinery; the others run at all larger ones."""
LARGE = ("long", "paper")
DEAR = ("vit_ring", "resnet", "nir_resnet", "resnet_marshall", "nir_resnet_marshall", "nqs_nf")
"""Recipes whose settings need more than the budget of the laptop scale: they compete where it is ten times as long."""
SUMMED = ("vit", "vit_marshall")
"""Recipes that train by sums over all configurations, on a state with all symmetries: their steps have no noise."""


def cells() -> list[Cell]:
    """Every method that can treat a system, and its exact energy."""
    made = []
    for row, physics in SYSTEMS.items():
        exact = (Column("reference", "energy", "energy"),)
        recipes = RECIPES[row]
        own, settings = () if row in SMOKE else ("laptop", *LARGE), f"contest/{recipes['rbm']}"
        made.append(Cell(row, "reference", physics, exact, stages=("baseline",), settings=settings, scales=own))
        for method, recipe in recipes.items():
            quantities = ("energy",) if method == NF else ("energy", "v_score")
            columns = tuple(Column(method, name, name) for name in quantities)
            scales = LARGE if recipe in DEAR else own
            made.append(Cell(row, method, physics, columns, SEEDS, settings=f"contest/{recipe}", scales=scales))
    return made


def render(table: Table) -> Rendering:
    """A line a system and method, the smallest error first."""
    found, budget = standings(table), BUDGETS.get(table.scale)
    here = realised(found, budget)
    header = ["system", "method", "best", "relative error", "19 of 20", "V-score", "steps", "seconds", "of budget"]
    return Rendering(
        header,
        [_line(one, found, here) for one in found],
        notes=notes(found, budget),
        draw=(lambda figure: draw(figure, found, here)) if found else None,
        figure_size=(7.0, 5.4),
        caption="Relative error of the energy, a panel a system, the smallest mean at the top. Pale: seeds; filled: "
        "their mean, with the standard error over seeds; diamonds around it: no other method is better by more than "
        f"noise. Numbers at the right: seconds over their median, where off by more than {100 * TOLERANCE:.0f} %.",
        verdict=verdict(found, budget),
        keys=2,
        kept={"budget": budget} if budget else {},
    )


def _line(one: Standing, found: Sequence[Standing], budget: float | None) -> list[str]:
    rivals = [other for other in found if other.row == one.row]
    share = one.share(budget)
    return [
        LABELS[one.row],
        NAMES[one.method],
        _place(one, unbeaten(rivals)),
        with_exponent(one.error, one.sigma),
        "–" if one.interval is None else f"± {magnitude(one.interval)}",
        "–" if one.v_score is None else magnitude(one.v_score),
        str(one.steps),
        f"{one.spent:.1f}",
        "–" if share is None else f"{share:.2f}" + (" OFF" if one.off(budget) else ""),
    ]


def _place(one: Standing, first: Sequence[Standing]) -> str:
    """``best``, ``open`` of what its seeds' scatter does not tell from the best, or ``?`` where it is in doubt."""
    if one.doubt:
        return "?"
    return "" if one not in first else "best" if one == first[0] else "open"


def verdict(found: Sequence[Standing], budget: float | None) -> list[str]:
    """Who is best on each system, and whose seconds are not those of the budget."""
    said = [_budget(found, budget)] if found else []
    for row in dict.fromkeys(one.row for one in found):
        own = [one for one in found if one.row == row]
        winners = unbeaten(own)
        if not winners:
            continue
        rest = [abs(one.error) for one in own if one not in winners]
        first, *open_ones = [f"{NAMES[one.method]} ({magnitude(one.error, one.sigma)})" for one in winners]
        undecided = f"; its seeds do not tell it from {', '.join(open_ones)}" if open_ones else ""
        others = f"; the others are at {magnitude(min(rest))} to {magnitude(max(rest))}" if rest else ""
        summed = [NAMES[one.method] for one in own if RECIPES[row][one.method] in SUMMED]
        alone = f" (unlike the others, {', '.join(summed)} sums over all configurations and has all symmetries)"
        unlike = alone if summed else ""
        said.append(f"{LABELS[row]}{unlike}: best is {first}{undecided}{others}.")
    return said


def _budget(found: Sequence[Standing], budget: float | None) -> str:
    here = realised(found, budget)
    if here is None:
        return "No budget at this scale: these numbers show the machinery and mean nothing."
    off = [one for one in found if one.off(here)]
    took = [one.spent for one in found]
    named = "; ".join(f"{NAMES[one.method]} on the {LABELS[one.row]} {one.share(here):.2f}" for one in off)
    return (
        f"Budget: {budget:g} s of one core a training on the machine where the steps of the recipes were fixed; here "
        f"trainings took {min(took):.1f} to {max(took):.1f} s, and their median, {here:.1f} s, is the budget. "
        + (
            f"Off by more than {100 * TOLERANCE:.0f} %, in units of it: {named}."
            if off
            else f"None is off by more than {100 * TOLERANCE:.0f} %."
        )
    )


def notes(found: Sequence[Standing], budget: float | None) -> list[str]:
    """What is equal, what is not, and how errors are judged."""
    seeds = ", ".join(str(n) for n in sorted({len(one.errors) for one in found}))
    told = [
        "Equal: seconds of one core a training. The clock steers nothing: each recipe fixes its number of steps, "
        "measured once on one machine; another one is faster or slower for all of them, and by ratios that may differ: "
        "`of budget` is over the median of all trainings of this report, and says so. "
        "They are of the training's own work, without what it waited for cores that others had, and of NQS+NF with the "
        "inference, which trains a network in each subspace. Inference of the others is not in them.",
        "Not equal: networks, samples and optimizers, which are those of each method's committed trainings at laptop "
        "scale (comments in conf/recipe/contest say which), not tuned for this contest, nor for this budget: schedules "
        "are shortened to it as they are. The deep ViT of the 4 × 4 Heisenberg models is trained by sums over all "
        "configurations, without noise, and has all symmetries of the lattice, which leave about a hundred states: "
        "what small systems allow, and large ones do not. Its rivals there draw, and have no symmetries: its lead says "
        "nothing of networks alone.",
        "MCMC and NIR have the same network, drawn by Markov chains and by NIR: a perceptron on Ising models, a "
        "residual CNN on Heisenberg models. On the Heisenberg model methods that can have Marshall's signs put into "
        "the Hamiltonian; on the J1-J2 model none has a prior of signs.",
        f"Errors are over seeds ({seeds}), which train and draw anew. 19 of 20: Student's t times the standard error. "
        "Best and open: no other method has smaller errors by ranks (Mann and Whitney), by chance in 1 of "
        "20: of three seeds each, all lie below all; of fewer, by Student's t times the combined standard error. "
        "Best of these is the smallest mean; open is what the seeds do not tell from it. The rule is not corrected for "
        "the number of rivals.",
        "V-score: N Var(E)/E², mean over seeds; NQS+NF gives Rayleigh quotients in subspaces, whose variance is not "
        "estimated.",
    ]
    told += _left_out(found)
    doubts = [f"{NAMES[one.method]} on the {LABELS[one.row]}: {one.doubt}" for one in found if one.doubt]
    return told + ([f"In doubt (?): {'; '.join(doubts)}."] if doubts else [])


def _left_out(found: Sequence[Standing]) -> list[str]:
    """Methods whose settings are too dear for the scale, by system."""
    there = {(one.row, one.method) for one in found}
    left = {
        LABELS[row]: ", ".join(NAMES[m] for m, name in RECIPES[row].items() if name in DEAR and (row, m) not in there)
        for row in dict.fromkeys(one.row for one in found)
    }
    shown = "; ".join(f"{names} on the {label}" for label, names in left.items() if names)
    return [f"Left out, since a few steps with their settings take more than this budget: {shown}."] if shown else []


def draw(figure: Any, found: Sequence[Standing], budget: float | None) -> None:
    """A panel a system; methods from the top, the best first."""
    from matplotlib.ticker import NullFormatter

    rows = list(dict.fromkeys(one.row for one in found))
    panels = list(figure.subplots(2, 2, squeeze=False).flat)
    for axes, row in zip(panels, rows, strict=False):
        own = [one for one in found if one.row == row]
        for k, one in enumerate(own):
            _mark(axes, len(own) - k, one, one in unbeaten(own))
            if one.off(budget):
                where = {"transform": axes.get_yaxis_transform(), "ha": "right", "va": "center", "fontsize": 6}
                axes.text(0.99, len(own) - k, f"× {one.share(budget):.2g}", color="0.4", **where)
        axes.set_xscale("log")
        axes.set_yticks(range(len(own), 0, -1), [NAMES[one.method] for one in own], fontsize=7)
        axes.set_ylim(0.4, len(own) + 0.6)
        axes.set_xlabel("relative error", fontsize=8)
        axes.tick_params(axis="x", which="both", labelsize=7)
        low, high = axes.get_xlim()
        if high > 10.0 * low:  # labels between powers of ten only where there is but one of these
            axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_title(LABELS[row], fontsize=8)
        axes.grid(axis="x", lw=0.3, color="0.85")
    for axes in panels[len(rows) :]:
        axes.set_axis_off()


def _mark(axes: Any, y: int, one: Standing, best: bool) -> None:
    """Seeds, their mean and its error, on a logarithmic axis."""
    look, size, sigma = style(one.method), abs(one.error), one.sigma or 0.0
    axes.plot([abs(e) for e in one.errors], [y] * len(one.errors), look.marker, color=look.colour, alpha=0.35, ms=3)
    if not size:
        return
    bars = [[min(sigma, 0.9 * size)], [sigma]]
    axes.errorbar([size], [y], xerr=bars, fmt=look.marker, color=look.colour, ms=4.5, lw=0.9, capsize=2)
    if best:
        axes.plot([size], [y], "D", color="0.2", mfc="none", ms=9, mew=0.8)


ARTEFACT = Artefact(
    "contest",
    "equal",
    "Extra table: methods on four systems at equal budgets",
    cells,
    render,
    own={method: NAMES[method] for method in NAMES if any(method in recipes for recipes in RECIPES.values())},
    labels=LABELS,
    along=("energy", "variance"),
)
