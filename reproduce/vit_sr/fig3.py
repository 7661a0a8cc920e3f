"""Figure 3: memory and time of a step of reconfiguration against the number of processes that share it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from reproduce.artefact import Artefact, Cell, Claim, Column, Rendering, quoted, yes_no
from reproduce.colours import style
from reproduce.published import published
from reproduce.tables import Table
from reproduce.vit_sr import shared
from reproduce.vit_sr.scaling import Machine, Sizes, apart, exchanged, held, seconds

SETTINGS = "vit_sr/fig3"
RANKS = (1, 2, 4)
PARTS = {"sampling": "sampling", "local_energies": "local energies", "update": "SR", "solve": "of it solve"}
MODELLED = (1, 4, 20)
PAPERS_GPUS = 20

A100 = Machine(rate=0.3 * 19.5e12, rate_double=0.5 * 9.7e12, bandwidth=25e9)
"""30 % of the peak in single precision, half of that in double precision, and a link of 200 Gb/s each: assumed."""

FEWER = 0.75
"""Of what it was before the ranks were doubled: a share that falls below that counts as falling."""


def row(ranks: int) -> str:
    """``4-ranks``."""
    return f"{ranks}-rank{'s' if ranks > 1 else ''}"


def cells() -> list[Cell]:
    """A profile for each number of ranks; nothing else may run meanwhile."""
    made = []
    for ranks in RANKS:
        names = ["seconds_per_step", "slowest_step", "peak_memory", *(f"seconds_{part}" for part in PARTS)]
        names += ["seconds_exchange"] if ranks > 1 else []
        columns = tuple(Column(shared.VIT, name, name) for name in names)
        stages = ("profile",)
        made.append(
            Cell(
                row(ranks), shared.VIT, shared.PHYSICS, columns, (0,), stages, ranks, exclusive=True, settings=SETTINGS
            )
        )
    return made


def paper() -> Sizes:
    """Of the caption, and of Eq. 12: b² translations, 8 rotations and reflections, 2 parities."""
    own = [n for n in published("vit_sr") if (n.artefact, n.cell, n.method) == ("vit_sr/text", "10x10", "vit")]
    number = {n.quantity: round(n.value) for n in own}
    return Sizes(
        sites=100,
        samples=number["samples"],
        patch=2,
        depth=number["layers"],
        width=number["features"],
        heads=number["heads"],
        images=4 * 8 * 2,
        proposals=100,
    )


def here(table: Table) -> Sizes | None:
    """Of the runs that were measured."""
    if not table.finished:
        return None
    run = table.finished[0].task.run
    net, sampler = run.train.ansatz, run.train.sampler
    proposals = (sampler.thinning or run.system.size) * sampler.samples // sampler.chains
    return Sizes(run.system.size, sampler.samples, net.patch, net.depth, net.width, net.heads, 1, proposals)


def cores(table: Table) -> int | None:
    """Of the machine on which the runs were measured."""
    entries = [done.found.profiled for done in table.finished if done.found.profiled]
    found = entries[0].provenance()["hardware"].get("cores") if entries else None
    return int(found) if found else None


def value(table: Table, ranks: int, quantity: str) -> float | None:
    """What was measured."""
    found = table.row(row(ranks), shared.VIT, quantity)
    return found.ours if found else None


def render(table: Table) -> Rendering:
    """Measured lines, then those of the model."""
    header = ["what", "ranks", *PARTS.values(), "of it exchange", "a step (s)", "memory a rank (GB)"]
    body = [_measured(table, ranks) for ranks in RANKS]
    body += [_apart(table, ranks) for ranks in RANKS[1:]]
    body += [_modelled(ranks) for ranks in MODELLED]
    return Rendering(
        header,
        body,
        keys=2,
        claims=claims(table),
        notes=notes(table),
        draw=(lambda figure: draw(figure, table)) if any(_series(table, "peak_memory")) else None,
        figure_size=(7.0, 3.0),
        caption="(a) The peak of the memory of the rank that needs most, on top of what an idle process holds. "
        "(b) Seconds of a step, medians. Dashed: models, of what is held, and of a processor for each rank without "
        "exchange.",
        verdict=verdict(table),
    )


def _shown(number: float | None) -> str:
    return "–" if number is None else f"{number:.3g}"


def _measured(table: Table, ranks: int) -> list[str]:
    parts = [_shown(value(table, ranks, f"seconds_{part}")) for part in (*PARTS, "exchange")]
    memory = value(table, ranks, "peak_memory")
    step = _shown(value(table, ranks, "seconds_per_step"))
    if (slowest := value(table, ranks, "slowest_step")) is not None:
        step += f" (slowest {_shown(slowest)})"
    return ["measured", str(ranks), *parts, step, _shown(memory and memory / 1e9)]


def _apart(table: Table, ranks: int) -> list[str]:
    """Model: what one rank was measured to take, shared out; what it solves is not."""
    one = {part: value(table, 1, f"seconds_{part}") for part in PARTS}
    sizes, solve = here(table), one["solve"]
    line = ["model, a processor a rank", str(ranks)]
    if sizes is None or solve is None or any(found is None for found in one.values()):
        return [*line, *["–"] * 7]
    sampling, local, update = (one[part] or 0.0 for part in ("sampling", "local_energies", "update"))
    parts = [sampling / ranks, local / ranks, apart(update, solve, ranks)]
    shown = [_shown(number) for number in (*parts, solve)]
    return [*line, *shown, "not counted", _shown(sum(parts)), _shown(held(sizes, ranks) / 1e9)]


def _modelled(ranks: int) -> list[str]:
    sizes = paper()
    s = seconds(sizes, ranks, A100)
    parts = [s.sampling, s.local_energies, s.derivatives + s.gram + s.solve + s.exchange, s.solve, s.exchange, s.step]
    return ["model, paper's state, A100s", str(ranks), *map(_shown, parts), _shown(held(sizes, ranks) / 1e9)]


def _series(table: Table, quantity: str) -> list[float | None]:
    return [value(table, ranks, quantity) for ranks in RANKS]


def _falls(numbers: Sequence[float | None]) -> list[bool]:
    """At every doubling."""
    return [b < FEWER * a for a, b in pairwise(numbers) if a is not None and b is not None]


def claims(table: Table) -> list[Claim]:
    """What the Methods say about the distributed computation."""
    memory = _series(table, "peak_memory")
    step = _series(table, "seconds_per_step")
    here = cores(table)
    fits = [k for k in RANKS if here is None or k <= here]
    listed = lambda numbers, unit: ", ".join(_shown(n and n / unit) for n in numbers)  # noqa: E731
    ranks = ", ".join(map(str, RANKS))
    return [
        quoted(
            "This procedure significantly reduces the memory requirement per GPU to O(MP/n_G)",
            "Methods, Distributed SR computation",
            yes_no(_falls(memory)),
            f"{listed(memory, 1e9)} GB a rank on {ranks} ranks, of log-derivatives that are held",
        ),
        quoted(
            "can be efficiently distributed, both in terms of computational operations and memory",
            "Methods, Distributed SR computation",
            yes_no(_falls(step[: len(fits)])),
            f"{listed(step, 1)} s a step on {ranks} ranks; the machine has {here or 'an unknown number of'} cores, and "
            "more ranks than cores share them",
        ),
    ]


def verdict(table: Table) -> list[str]:
    """What falls with the number of ranks, and what the model says of the paper's GPUs."""
    said = []
    first, last = RANKS[0], RANKS[-1]
    memory = [value(table, ranks, "peak_memory") for ranks in (first, last)]
    step = [value(table, ranks, "seconds_per_step") for ranks in RANKS]
    if None not in (*memory, *step):
        said.append(
            f"From {first} to {last} ranks the memory of one falls from {_shown((memory[0] or 0) / 1e9)} to "
            f"{_shown((memory[1] or 0) / 1e9)} GB, and a step on this machine takes {_shown(step[0])}, "
            f"{_shown(step[1])} and {_shown(step[2])} s on {', '.join(map(str, RANKS))}."
        )
    found = cores(table)
    if found is not None and found < last:
        said.append(f"This machine has {found} cores, which {last} ranks share: seconds cannot fall as on {last} GPUs.")
    sizes = paper()
    model = seconds(sizes, PAPERS_GPUS, A100)
    said.append(
        f"A model, not a measurement, of the paper's state on {PAPERS_GPUS} A100s: {_shown(model.step)} s a step, of "
        f"which {_shown(model.solve + model.exchange)} s do not fall with more GPUs, and "
        f"{_shown(held(sizes, PAPERS_GPUS) / 1e9)} GB each instead of {_shown(held(sizes, 1) / 1e9)}."
    )
    return said


def notes(table: Table) -> list[str]:
    """How times were taken and models are made."""
    sizes, steps = paper(), _printed("steps_translations") + _printed("steps_rotations")
    last = _printed("steps_reflections_parity")
    steps += last
    most = _printed("days") * 86400 / steps
    sent = exchanged(sizes, PAPERS_GPUS)
    found = [
        "The paper prints no numbers of this figure, and its curves are not read off. Sampling, local energies and SR "
        "are timed on the first rank, the wait for the others included; the last is split into what the first "
        "rank alone solves, and the exchanges of all three parts.",
        "Ranks exchange through the memory of one machine (gloo); each has one thread, and nothing else ran meanwhile.",
        "Model, a processor a rank: sampling, local energies and SR of one rank divided by K, but for the solution, "
        "which the first rank finds for all; exchanges are not counted; memory is what is held, 8 bytes for each of "
        "2MP/K derivatives and of (2M)² elements of XᵀX, without what making them takes.",
        f"Model, the paper's state: operations counted for P = {sizes.parameters} and M = {sizes.samples} "
        f"({sizes.images} images of a configuration; {sizes.connected:.0f} amplitudes for a local energy, "
        f"{sizes.proposals} proposals a sample, of which the paper says nothing), all divided by K but (2M)³/3 for the "
        f"solution; {A100.rate / 1e12:.2g} and {A100.rate_double / 1e12:.2g} Tflop/s in single and double precision; "
        f"{sent / 1e9:.2g} GB that each of {PAPERS_GPUS} ranks sends at {A100.bandwidth / 1e9:.0f} GB/s. Rates are "
        "assumptions.",
        f"The only time that the text prints is four days on twenty A100s: at most {most:.0f} s a step if there were "
        f"no more than the {steps:.0f} steps that it counts, of which the last {last:.0f} are of the fully "
        "symmetrised state.",
    ]
    if table.other_system:
        found.append("The lattice and the network are not the paper's, and no symmetries are restored.")
    return found


def _printed(quantity: str) -> float:
    return next(n.value for n in published("vit_sr") if (n.artefact, n.quantity) == ("vit_sr/text", quantity))


COLOUR = style(shared.VIT).colour


def draw(figure: Any, table: Table) -> None:
    """Memory and seconds against ranks."""
    left, right = figure.subplots(1, 2)
    sizes = here(table)
    for axes, quantity, unit, label in (
        (left, "peak_memory", 1e9, "memory a rank (GB)"),
        (right, "seconds_per_step", 1.0, "seconds a step"),
    ):
        points = [(k, y / unit) for k, y in zip(RANKS, _series(table, quantity), strict=True) if y is not None]
        if points:
            axes.plot(*zip(*points, strict=True), "o-", color=COLOUR, label="measured")
        axes.set_xlabel("ranks")
        axes.set_ylabel(label)
        axes.set_xticks(RANKS)
    one, solve = value(table, 1, "seconds_per_step"), value(table, 1, "seconds_solve")
    if sizes is not None:
        left.plot(RANKS, [held(sizes, k) / 1e9 for k in RANKS], "--", color=COLOUR, lw=0.8, label="model")
    if one is not None and solve is not None:
        right.plot(RANKS, [apart(one, solve, k) for k in RANKS], "--", color=COLOUR, lw=0.8, label="model")
    for axes in (left, right):
        axes.set_ylim(bottom=0)
        axes.legend(frameon=False, fontsize=8)


ARTEFACT = Artefact(
    "vit_sr",
    "fig3",
    "Figure 3: memory and time of a step of reconfiguration against the number of processes",
    cells,
    render,
    own={shared.VIT: "Deep ViT"},
)
