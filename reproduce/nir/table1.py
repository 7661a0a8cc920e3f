"""Table 1: six sizes of the proposal network, what they cost and what the wave function reaches with them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from typing import Any

from pipeline.base.numbers.formatting import with_error
from pipeline.base.numbers.result import Estimate
from reproduce.artefact import Artefact, Cell, Claim, Column, Derived, Rendering, quoted
from reproduce.colours import style
from reproduce.naqs.judgement import magnitude
from reproduce.nir import shared
from reproduce.nir.shared import NIR
from reproduce.published import published
from reproduce.tables import Finished, Table

SIZES = ((16, 2), (16, 3), (16, 4), (32, 2), (32, 3), (32, 4))
"""d_embd and n_layer, in the order of the table."""

SETTINGS = "nir/j1j2"
PHYSICS = ("system=square_heisenberg", "system.j1=1.0", "system.j2=0.5")
LITERATURE = {"chen-heyl": "[7]", "nomura-imada": "[27]", "rende": "[33]"}
SIGMAS = 2.0
EXTENT = 10
"""Of the paper's lattice."""


def row(width: int, layers: int) -> str:
    """``d16-l2``."""
    return f"d{width}-l{layers}"


ROWS = tuple(row(*size) for size in SIZES)


def cells() -> list[Cell]:
    """A training a size, and the reference."""
    made = []
    for width, layers in SIZES:
        swept = (f"train.sampler.embedding={width}", f"train.sampler.layers={layers}")
        columns = (Column(NIR, "energy", "energy", "per site", "spin-1/2"), Column(NIR, "v_score", "v_score"))
        made.append(Cell(row(width, layers), NIR, (*PHYSICS, *swept), columns, settings=SETTINGS))
        exact = (Column("reference", "energy", "energy", "per site", "spin-1/2"),)
        where = (*PHYSICS, *swept)
        made.append(Cell(row(width, layers), "reference", where, exact, stages=("baseline",), settings=SETTINGS))
    return made


def parameters(width: int, layers: int) -> int:
    """Of the proposal network on the paper's lattice, as it is built."""
    from pipeline.spin.sampler.nir.proposal import Proposal
    from pipeline.spin.space import space_of
    from pipeline.stages.compose import compose_run

    swept = (f"train.sampler.embedding={width}", f"train.sampler.layers={layers}")
    run = compose_run((f"paper={SETTINGS}", "scale=paper", *swept))
    assert run.system.length_x == run.system.length_y == EXTENT
    return sum(p.numel() for p in Proposal(run.train.sampler, space_of(run.system)).parameters())


def efficiencies(table: Table) -> Mapping[str, float]:
    """ESS over proposals by row, the mean over all steps of a training; as kept where it is rendered anew."""
    if "efficiency" in table.kept:
        kept: Mapping[str, float] = table.kept["efficiency"]
        return kept
    done = [one for one in table.finished if one.task.cell.method == NIR]
    return {one.task.cell.row: value for one in done if (value := _efficiency(one)) is not None}


def _efficiency(done: Finished) -> float | None:
    if done.found.trained is None or done.failure:
        return None
    _, values = done.found.trained.series()["efficiency"]
    return statistics.fmean(values)


def derived(table: Table) -> list[Derived]:
    """Efficiencies, as lines of ``cells.csv``."""
    found = efficiencies(table)
    return [Derived(where, NIR, "efficiency", Estimate("efficiency", value), (NIR,)) for where, value in found.items()]


def render(table: Table) -> Rendering:
    """The paper's columns, ours beside each."""
    header = ["d_embd", "n_layer", "n_param (10 × 10)", "ours", "E/N", "ours", "error to reference"]
    header += ["ESS/n_proposed", "ours"]
    counts = {size: parameters(*size) for size in SIZES}
    return Rendering(
        header,
        [_line(table, size, counts[size]) for size in SIZES],
        claims(table, counts),
        notes(table),
        (lambda figure: draw(figure, table)) if efficiencies(table) else None,
        figure_size=(7.0, 3.2),
        caption="(a) Effective samples a proposal, mean over a training, against the parameters of the proposal on "
        "10 × 10 sites; filled: ours, open: the paper's. (b) Distance of the energy from the reference, with its "
        "standard error.",
        verdict=verdict(table, counts),
        kept={"efficiency": dict(efficiencies(table))},
        keys=2,
    )


def _line(table: Table, size: tuple[int, int], count: int) -> list[str]:
    where, energy = row(*size), table.row(row(*size), NIR)
    efficiency = efficiencies(table).get(where)
    return [
        *map(str, size),
        _printed(table, where, "proposal_parameters"),
        str(count),
        _printed(table, where, "energy"),
        with_error(energy.ours, energy.ours_sigma) if energy and energy.ours is not None else "–",
        shared.error(energy),
        _printed(table, where, "efficiency"),
        "–" if efficiency is None else f"{efficiency:.2g}",
    ]


def _printed(table: Table, where: str, quantity: str) -> str:
    number = table.number(where, NIR, quantity)
    return "–" if number is None else number.text


def same_counts(table: Table, counts: Mapping[tuple[int, int], int]) -> int:
    """How many of the printed numbers of parameters are ours."""
    printed = {size: table.number(row(*size), NIR, "proposal_parameters") for size in SIZES}
    return sum(number is not None and number.value == counts[size] for size, number in printed.items())


def claims(table: Table, counts: Mapping[tuple[int, int], int]) -> list[Claim]:
    """What the table and Section 4.5 say."""
    found = [one for where in ROWS if (one := table.row(where, NIR)) is not None and one.ours is not None]
    pulls = []
    for one in found:
        for other in found:
            sigma = math.hypot(one.ours_sigma or 0.0, other.ours_sigma or 0.0)
            if sigma and one.ours is not None and other.ours is not None:
                pulls.append(abs(one.ours - other.ours) / sigma)
    values = [one.ours for one in found if one.ours is not None]
    spread = f"energies per site between {min(values):.4f} and {max(values):.4f}" if values else ""
    return [
        Claim(
            "numbers of parameters of the six proposal networks",
            "Table 1",
            "yes" if same_counts(table, counts) == len(SIZES) else "no",
            f"{same_counts(table, counts)} of {len(SIZES)} are equal",
        ),
        quoted(
            "The remaining runs give nearly identical final results, despite the proposal networks achieving different "
            "approximation accuracies",
            "Section 4.5",
            "not run" if len(found) < 2 else "yes" if max(pulls, default=math.inf) <= 2 * SIGMAS else "no",
            f"{spread}; nearly identical: within {2 * SIGMAS:g} combined σ, ours" if spread else "",
        ),
    ]


def verdict(table: Table, counts: Mapping[tuple[int, int], int]) -> list[str]:
    """Parameters, accuracy, efficiency."""
    said = [f"{same_counts(table, counts)} of {len(SIZES)} printed numbers of parameters are those of our proposal."]
    errors = [(abs(d[0]), where) for where in ROWS if (d := shared.deviation(table.row(where, NIR))) is not None]
    if errors:
        low, high = min(errors), max(errors)
        said.append(
            f"Energies are between {magnitude(low[0])} ({low[1]}) and {magnitude(high[0])} ({high[1]}) from it."
        )
    found = efficiencies(table)
    if len(found) > 1:
        low, high = min((v, k) for k, v in found.items()), max((v, k) for k, v in found.items())
        said.append(f"Effective samples a proposal: {low[0]:.2g} ({low[1]}) to {high[0]:.2g} ({high[1]}).")
    return [*said, *shared.other_lattice(table, "10 × 10")]


def notes(table: Table) -> list[str]:
    """Conventions."""
    said = [
        "Energies per site for spins S = σ/2. The paper printed no energy of its first two rows, whose trainings it "
        "ended as too slow.",
        "n_param is that of the network as it is built for 10 × 10 sites, at every scale; a smaller lattice has fewer "
        "features of rows and columns.",
        "ESS/n_proposed is the mean over all steps of a training of the round that the update saw; the text says "
        "“average sampling efficiency over the run”.",
    ]
    lowest = [n for n in published("nir") if n.method in LITERATURE]
    listed = ", ".join(f"{n.text} {LITERATURE[n.method]}" for n in lowest)
    said.append(f"Energies per site on 10 × 10 that the paper quotes: {listed}.")
    if table.other_system:
        said.append("The lattice is not the paper's: shapes can be compared, energies and efficiencies cannot.")
    return said


NETWORK = style(NIR)


def draw(figure: Any, table: Table) -> None:
    """Efficiency and error against the size of the proposal."""
    left, right = figure.subplots(1, 2)
    sizes = {where: table.number(where, NIR, "proposal_parameters") for where in ROWS}
    found = efficiencies(table)
    ours = [(n.value, found[where]) for where, n in sizes.items() if n and where in found]
    left.plot(*zip(*ours, strict=True), NETWORK.marker, **NETWORK.of(False), label="ours")
    printed = [(n, table.number(where, NIR, "efficiency")) for where, n in sizes.items()]
    theirs = [(n.value, e.value) for n, e in printed if n and e]
    left.plot(*zip(*theirs, strict=True), NETWORK.marker, **NETWORK.of(True), label="paper, 10 × 10")
    for where, n in sizes.items():
        deviation = shared.deviation(table.row(where, NIR))
        if n is not None and deviation is not None:
            right.errorbar(
                [n.value], [deviation[0]], [deviation[1] or 0.0], fmt="o", color=NETWORK.colour, ms=4, capsize=2
            )
    left.set_yscale("log")
    left.set_ylabel("ESS / proposed")
    right.set_ylabel("relative error of the energy")
    right.axhline(0.0, color="0.5", lw=0.8)
    for axes in (left, right):
        axes.set_xlabel("parameters of the proposal")
    left.legend(frameon=False, fontsize=8)


ARTEFACT = Artefact(
    "nir",
    "table1",
    "Table 1: six proposal networks, J1-J2 Heisenberg model at J2/J1 = 0.5",
    cells,
    render,
    literature=tuple(LITERATURE),
    own={NIR: "NIR"},
    derived=derived,
)
