"""What an independent configuration of the Schwinger model costs, by flow, HMC and reweighting: beyond the paper."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pipeline.base.numbers.formatting import duration, with_error
from pipeline.base.numbers.result import Estimate, SigmaKind
from reproduce.artefact import Artefact, Cell, Column, Derived, Rendering
from reproduce.colours import style
from reproduce.pseudofermion.shared import estimate, shown
from reproduce.tables import Finished, Table, own_seconds

ROWS = {f"L{length}": f"Schwinger model, L = {length}" for length in (4, 8, 16)}
FLOWS = {
    "L4": {"even-odd": "pseudofermion/price_even_odd", "hasenbusch": "pseudofermion/price_hasenbusch"},
    "L8": {"hasenbusch-3": "pseudofermion/price_trained"},
    "L16": {},
}
"""Recipes of the flows of each lattice: trained here, or with a state of the repository; none of L = 16."""

NAMES = {
    "even-odd": "flow, even/odd",
    "hasenbusch": "flow, even/odd + Hasenbusch",
    "hasenbusch-3": "flow, even/odd + 3 Hasenbusch",
    "hmc": "HMC",
    "reference": "reweighted pure gauge",
}
SIGMAS = 2.0
PAID = {
    "never": "its training never pays",
    "undecided": "whether its training pays is undecided",
    "–": "seconds of its training are of other machines",
}
UNTRAINED = ("hmc", "reference")
COST = "seconds_per_independent"
RESTS_ON = ("ess_all_draws", "ess", "plaquette", "topological_charge", "topological_susceptibility")
"""Estimates whose doubts are those of a price."""


@dataclass(frozen=True)
class Price:
    """Of one sampler on one lattice.

    Attributes:
        draw: seconds of a trajectory of one configuration, of a proposal with its weight, or of a pure gauge field with
            its own.
        draws: for an independent configuration: 2 τ_int of the slowest observable, or 1/ESS.
        why: where ``draws`` comes from.
        applications: of D in conjugate gradients, of an independent configuration; None where there are none, or they
            were not counted.
        training: seconds before the first proposal.
        mixed: they are of several machines, or of an accelerator, and cannot be set against seconds of a core.
        doubt: of the number of draws.
        relative: standard error of ``draws`` over its value; None where it is unknown, as that of a τ_int here.
    """

    draw: float
    draws: float
    why: str
    applications: float | None
    training: float
    doubt: str
    relative: float | None = None
    mixed: bool = False

    @property
    def sigma(self) -> float | None:
        """Of ``seconds``, from the number of draws; the clock has none."""
        return None if self.relative is None else self.relative * self.seconds

    @property
    def seconds(self) -> float:
        """Of an independent configuration, training apart."""
        return self.draw * self.draws


def cells() -> list[Cell]:
    """Flows and HMC with pseudofermions at each L, and the reweighting of pure gauge fields beside them."""
    made = []
    for row in ROWS:
        size = (f"system.length={row[1:]}",)
        made += [
            Cell(row, method, size, _columns(method, "ess_all_draws"), settings=settings, exclusive=True)
            for method, settings in FLOWS[row].items()
        ]
        settings = "pseudofermion/volume_16" if row == "L16" else "pseudofermion/volume"
        options: dict[str, Any] = {"stages": ("baseline",), "settings": settings, "exclusive": True}
        made.append(Cell(row, "hmc", (*size, "baseline=hmc"), _columns("hmc"), **options))
        made.append(Cell(row, "reference", (*size, "baseline=reweighting"), _columns("reweighting"), **options))
    return made


def _columns(method: str, *more: str) -> tuple[Column, ...]:
    return tuple(Column(method, name, name) for name in ("plaquette", "topological_susceptibility", *more))


def price(done: Finished) -> Price | None:
    """From a finished run; None where it lacks what it takes."""
    kinds = {"hmc": _of_trajectories, "reference": _of_weighted}
    return kinds.get(done.task.cell.method, _of_proposals)(done)


def _of_weighted(done: Finished) -> Price | None:
    """Independent pure gauge fields: n of them with n ESS effective ones; the ESS has no error of its own."""
    found, reference = estimate(done, "ess"), done.found.reference
    if found is None or reference is None or not found.value or not found.n:
        return None
    return Price(own_seconds(reference) / found.n, 1.0 / found.value, "1/ESS", None, 0.0, found.doubt)


def _of_trajectories(done: Finished) -> Price | None:
    hmc = done.task.run.baseline.hmc
    taus = {
        name: found.tau
        for name in ("plaquette", "topological_charge", "topological_susceptibility")
        if (found := estimate(done, name)) is not None and found.tau is not None
    }
    reference = done.found.reference
    if not taus or reference is None:
        return None
    slowest = max(taus, key=lambda name: taus[name])
    found, applications = estimate(done, slowest), estimate(done, "dirac_applications")
    draws = 2.0 * taus[slowest]
    trajectories = hmc.chains * (hmc.warmup + hmc.measurements * hmc.trajectories_per_measurement)
    return Price(
        own_seconds(reference) / trajectories,
        draws,
        f"2 τ_int of {SYMBOLS[slowest]}",
        applications.value * draws if applications else None,
        0.0,
        found.doubt if found else "",
    )


def _of_proposals(done: Finished) -> Price | None:
    trained, inferred, infer = done.found.trained, done.found.inferred, done.task.run.infer
    found = estimate(done, "ess_all_draws") or estimate(done, "joint_ess")
    if trained is None or inferred is None or found is None or not found.value:
        return None
    proposals = infer.units * infer.configurations
    applied = estimate(done, "dirac_applications")
    why = f"1/ESS, N_pf = {infer.draws}"
    return Price(
        own_seconds(inferred) / proposals,
        1.0 / found.value,
        why,
        applied.value * infer.draws / found.value if applied else None,
        own_seconds(trained),
        found.doubt,
        found.sigma / found.value if found.sigma else None,
        mixed=trained.status.get("device", "cpu") != "cpu",
    )


SYMBOLS = {"plaquette": "P", "topological_charge": "Q", "topological_susceptibility": "Q²"}


def prices(table: Table) -> dict[tuple[str, str], Price]:
    """By row and method; of the first seed."""
    found: dict[tuple[str, str], Price] = {}
    for done in table.finished:
        cell = done.task.cell
        if cell.method in NAMES and done.result and (one := price(done)):
            found.setdefault((cell.row, cell.method), one)
    return found


def derived(table: Table) -> list[Derived]:
    """The seconds of an independent configuration as lines of ``cells.csv``."""
    return [Derived(row, method, COST, _estimate(one), (method,)) for (row, method), one in prices(table).items()]


def _estimate(one: Price) -> Estimate:
    kind: SigmaKind = "none" if one.sigma is None else "standard-error"
    return Estimate(COST, one.seconds, one.sigma, kind, unit="s", doubt=one.doubt)


def _milliseconds(one: Price) -> str:
    return f"{1e3 * one.seconds:.2g}" if one.sigma is None else with_error(1e3 * one.seconds, 1e3 * one.sigma)


def render(table: Table) -> Rendering:
    """A line a sampler and lattice."""
    known = prices(table)
    header = ["lattice", "sampler", "⟨P⟩", "⟨Q²⟩/V", "ESS", "acceptance", "τ_int(P)", "τ_int(Q)", "ms/draw"]
    header += ["draws", "ms/independent", "D applications", "training", "pays after"]
    body = [_line(done, known) for done in table.finished if done.task.cell.method in NAMES and done.result]
    return Rendering(
        header,
        body,
        verdict=verdict(known),
        keys=2,
        breaks=(4, 8),
        notes=NOTES,
        draw=(lambda figure: draw(figure, known)) if known else None,
        figure_size=(7.0, 3.0),
        caption="Seconds of an independent configuration, training apart.",
    )


def _line(done: Finished, known: dict[tuple[str, str], Price]) -> list[str]:
    cell = done.task.cell
    one, hmc = known.get((cell.row, cell.method)), known.get((cell.row, "hmc"))
    ess = estimate(done, "ess_all_draws") or estimate(done, "joint_ess") or estimate(done, "ess")
    line = [ROWS[cell.row], NAMES[cell.method]]
    line += [shown(estimate(done, name)) for name in ("plaquette", "topological_susceptibility")]
    line += [with_error(ess.value, ess.sigma, digits=2) if ess else "–"]
    acceptance = estimate(done, "acceptance")
    line.append(f"{acceptance.value:.2f}" if acceptance else "–")
    line += [_tau(done, (f"{name}_metropolis", name)) for name in ("plaquette", "topological_charge")]
    if one is None:
        return [*line, *["–"] * 6]
    line += [f"{1e3 * one.draw:.2g}", f"{one.draws:.3g}", _milliseconds(one)]
    line.append("–" if one.applications is None else f"{one.applications:.3g}")
    line.append(duration(one.training) if one.training else "–")
    return [*line, "–" if cell.method in UNTRAINED else worth(one, hmc)]


def _tau(done: Finished, names: tuple[str, ...]) -> str:
    taus = [found.tau for name in names if (found := estimate(done, name)) is not None and found.tau is not None]
    return f"{taus[0]:.1f}" if taus else "–"


def worth(flow: Price, hmc: Price | None) -> str:
    """Independent configurations after which a training has paid for itself, or ``never``.

    ``undecided`` where the prices differ by less than two errors of the flow's, its error is unknown, or either is in
    doubt; a dash where the training was on other machines.
    """
    if hmc is None:
        return "–"
    saved = hmc.seconds - flow.seconds
    if flow.sigma is None or abs(saved) < SIGMAS * flow.sigma or flow.doubt or hmc.doubt:
        return "undecided"
    if saved <= 0.0:
        return "never"
    return "–" if flow.mixed else f"{flow.training / saved:.2g}"


def verdict(known: dict[tuple[str, str], Price]) -> list[str]:
    """A sentence a lattice and flow, then one a lattice on reweighting, and how its ESS falls."""
    said = []
    for (row, method), flow in known.items():
        hmc = known.get((row, "hmc"))
        if method in UNTRAINED or hmc is None:
            continue
        after = worth(flow, hmc)
        paid = PAID.get(after, f"its training pays after {after} of them")
        doubt, other = (f" ({one.doubt})" if one.doubt else "" for one in (flow, hmc))
        said.append(
            f"{ROWS[row]}: an independent configuration takes {_milliseconds(flow)} ms by the {NAMES[method]}"
            f"{doubt}, {_milliseconds(hmc)} ms by HMC ({hmc.why}){other}; {paid}."
        )
    return said + _reweighting(known)


def _reweighting(known: dict[tuple[str, str], Price]) -> list[str]:
    """Beside HMC: it has neither trajectories nor training, and no large volumes."""
    found = {row: one for (row, method), one in known.items() if method == "reference"}
    said = []
    for row, one in found.items():
        hmc = known.get((row, "hmc"))
        beside = f"; HMC takes {hmc.seconds / one.seconds:.2g} times that" if hmc else ""
        doubt = f" ({one.doubt})" if one.doubt else ""
        said.append(f"{ROWS[row]}: {_milliseconds(one)} ms by reweighting pure gauge fields{doubt}{beside}.")
    if len(found) > 1:
        sizes = [1.0 / found[row].draws for row in ROWS if row in found]
        listed = ", ".join(f"{1.0 / found[row].draws:.2g} at L = {row[1:]}" for row in ROWS if row in found)
        falls = (
            "falls with the volume" if sizes == sorted(sizes, reverse=True) else "does not fall with the volume here"
        )
        said.append(f"The ESS of a configuration of reweighting {falls}: {listed}.")
    return said


NOTES = (
    "The paper compares no costs; these are ours. A draw is a trajectory of one configuration, a proposal with the "
    "pseudofermions and, at these L, the exact determinant of its weight, or a pure gauge field, drawn exactly, with "
    "the determinant as its weight; seconds are those of the run over its draws, warm-up, plaquettes and charges "
    "included, without what it waited for a core that others had. Of flows they include exact spectra of the first "
    "`infer.spectra` of a batch, which no proposal needs and which take some percent. Errors are those of the ESS; of "
    "τ_int, of the clock, and of how much trainings differ by their seed there is none: one seed a sampler.",
    "An independent configuration: 2 τ_int trajectories, τ_int the largest of P, Q and Q²; 1/ESS proposals, ESS with "
    "all pseudofermions of the inference (Eq. 44), of so many proposals: where the weights of pseudofermions have an "
    "infinite variance (`pseudofermion/fig4`) it falls with their number, and the price is a lower bound. Of "
    "reweighting 1/ESS of the determinants, which falls exponentially with the volume. "
    "τ_int of a flow are those of its chain of independence Metropolis, in proposals.",
    "D applications: of D_sc or its conjugate in conjugate gradients, an independent configuration. Flows of these "
    "sizes solve by dense matrices; theirs are counted for one draw over the first `infer.spectra` configurations of "
    "each batch, and are what all draws of the inference would take. Training counts apart: it pays after as many "
    "configurations as it costs over the difference of its price and that of HMC.",
    "The flow of L = 8 is the one of scale `long`, whose state comes with the repository; the seconds of its training "
    "are of several machines, 300 of 1400 updates on a GPU. On L = 16 no flow was trained.",
)


def draw(figure: Any, known: dict[tuple[str, str], Price]) -> None:
    """Bars, one group a lattice, logarithmic."""
    axes = figure.subplots()
    rows = [row for row in ROWS if any(where == row for where, _ in known)]
    for k, (method, name) in enumerate(NAMES.items()):
        there = [(i, known[row, method].seconds) for i, row in enumerate(rows) if (row, method) in known]
        axes.bar(
            [i + 0.16 * (k - 2) for i, _ in there],
            [s for _, s in there],
            width=0.15,
            color=style(method).colour,
            label=name,
        )
    axes.set_yscale("log")
    axes.set_xticks(range(len(rows)), [f"L = {row[1:]}" for row in rows])
    axes.set_ylabel("s / independent configuration")
    axes.legend(frameon=False, fontsize=7)


ARTEFACT = Artefact(
    "pseudofermion",
    "cost",
    "Cost of an independent configuration of the Schwinger model, by flow, hybrid Monte Carlo and reweighting",
    cells,
    render,
    own={
        "even-odd": "The flow with even/odd preconditioning",
        "hasenbusch": "The flow with Hasenbusch's factorisation",
        "hasenbusch-3": "The flow with three Hasenbusch steps",
    },
    checks=("hmc",),
    derived=derived,
    labels=ROWS,
)
