"""Extra figure: squared error of the energy times seconds, of one state drawn by four samplers."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.base.numbers.formatting import with_error
from reproduce.artefact import Artefact, Cell, Claim, Column, Rendering, quoted
from reproduce.colours import style
from reproduce.naqs.judgement import Answer, by_chance, limit_of_few, tally
from reproduce.tables import Finished, Table

LARGE = ("laptop", "long", "gpu", "paper")
LATTICES = {(3, 2): (), (4, 4): (), (6, 6): LARGE, (8, 8): LARGE}
"""Extents, and the scales at which they are drawn from; empty: all of them."""

DIRECT, METROPOLIS, NIR, EXHAUSTIVE = "direct", "metropolis", "nir", "exhaustive"
SAMPLERS = {DIRECT: "direct sampling", METROPOLIS: "Metropolis chains", NIR: "NIR", EXHAUSTIVE: "exhaustive"}
SEEDS = (0, 1, 2)
MOST_SITES, FEW_SITES = 16, 6
"""Whose configurations are enumerated, and at the scale that shows the machinery."""


@dataclass(frozen=True)
class Rate:
    """The energy of one state by one sampler.

    Attributes:
        sites: N.
        energy, sigma: with the standard error; 0 of a sum over all configurations, None where it is unknown.
        units: batches.
        unit: seconds of one, the median without the first.
        start: seconds of the first beyond that: what has to be compiled, chains that burn in, a proposal that learns.
        worth: effective samples a proposal of weighted draws; None of others.
    """

    sites: int
    sampler: str
    seed: int
    energy: float
    sigma: float | None
    units: int
    unit: float
    start: float
    worth: float | None = None

    @property
    def cost(self) -> float | None:
        """σ² times the seconds of all units, without the start, in total² s: what a longer run keeps."""
        return None if not self.sigma else self.sigma**2 * self.units * self.unit

    @property
    def whole(self) -> float | None:
        """The same with the start."""
        return None if not self.sigma else self.sigma**2 * (self.units * self.unit + self.start)


@dataclass(frozen=True)
class Mean:
    """Geometric mean over seeds, the standard error of its logarithm, None of a single seed, and their number."""

    value: float
    relative: float | None
    seeds: int = 1

    @staticmethod
    def of(values: Sequence[float]) -> Mean | None:
        """None of no values."""
        logs = [math.log(value) for value in values]
        if not logs:
            return None
        error = statistics.stdev(logs) / math.sqrt(len(logs)) if len(logs) > 1 else None
        return Mean(math.exp(statistics.fmean(logs)), error, len(logs))

    @property
    def below_one(self) -> Answer:
        """Whether it is, by Student's t of its logarithm: errors of three seeds are known to a factor of two."""
        limit = limit_of_few([(self.relative or 0.0, self.seeds)]) * (self.relative or 0.0)
        distance = math.log(self.value)
        if self.relative is None or abs(distance) <= limit:
            return "undecided"
        return "yes" if distance < 0.0 else "no"

    def __str__(self) -> str:
        return f"{self.value:.2g}" + ("" if self.relative is None else f" ± {100 * self.relative:.0f} %")


def row(lattice: tuple[int, int]) -> str:
    """``4x4``."""
    return f"{lattice[0]}x{lattice[1]}"


def cells() -> list[Cell]:
    """Every sampler on the same trained states, with nothing beside it."""
    made = []
    for lattice, scales in LATTICES.items():
        physics = (f"system.length_x={lattice[0]}", f"system.length_y={lattice[1]}")
        for sampler in SAMPLERS:
            if sampler == EXHAUSTIVE and math.prod(lattice) > MOST_SITES:
                continue
            columns = (Column(sampler, "energy", "energy_of_the_state"),)
            settings = f"nir/rate_{sampler}"
            where = LARGE if sampler == EXHAUSTIVE and math.prod(lattice) > FEW_SITES else scales
            cell = Cell(row(lattice), sampler, physics, columns, SEEDS, exclusive=True, settings=settings, scales=where)
            made.append(cell)
    return made


def rates(table: Table) -> list[Rate]:
    """Of every finished run; as kept by the report where it is rendered anew."""
    if "rates" in table.kept:
        return [Rate(**tree) for tree in table.kept["rates"]]
    return [rate for done in table.finished if (rate := rate_of(done)) is not None]


def rate_of(done: Finished) -> Rate | None:
    """From the clock of an inference, which says when each of its units was done."""
    if done.found.inferred is None or done.result is None:
        return None
    energy = done.result.estimate("energy")
    ends = [line["seconds"] for line in done.found.inferred.metrics() if line["loop"] == "infer"]
    unit, start = split(ends)
    worth = next((e.value for e in done.result.estimates if e.name == "ess"), None)
    where = done.task.run.system.size, done.task.cell.method, done.task.seed
    return Rate(*where, energy.value, energy.sigma, len(ends), unit, start, worth)


def split(ends: Sequence[float]) -> tuple[float, float]:
    """Seconds of a unit and of the start, from those at the end of each unit."""
    units = [end - begin for begin, end in zip((0.0, *ends), ends, strict=False)]
    if len(units) == 1:
        return units[0], 0.0
    unit = statistics.median(units[1:])
    return unit, max(0.0, units[0] - unit)


def render(table: Table) -> Rendering:
    """A line a lattice and sampler; cost and start against the number of sites."""
    found = rates(table)
    header = ["sites", "sampler", "seeds", "σ² s a run", "start (s)", "σ² s with the start", "seconds a run"]
    header += ["σ² s over direct", "ESS/proposals"]
    lines = [(n, s) for n in _sites(found) for s in SAMPLERS if _of(found, n, s)]
    return Rendering(
        header,
        [_line(found, n, s) for n, s in lines],
        claims(found),
        notes(found),
        (lambda figure: draw(figure, found)) if found else None,
        figure_size=(7.0, 3.2),
        caption="(a) Squared standard error of the energy times seconds, without the start, geometric means over "
        "seeds with standard errors. (b) Seconds before the first batch: burn-in of the chains, training of the "
        "proposal; exhaustive: seconds of the whole sum, which has no error.",
        verdict=verdict(found),
        kept={"rates": [asdict(rate) for rate in found]},
        keys=2,
    )


def _sites(found: Sequence[Rate]) -> list[int]:
    return sorted({rate.sites for rate in found})


def _of(found: Sequence[Rate], sites: int, sampler: str) -> list[Rate]:
    return [rate for rate in found if (rate.sites, rate.sampler) == (sites, sampler)]


def cost(found: Sequence[Rate], sites: int, sampler: str, whole: bool = False) -> Mean | None:
    """σ² times seconds over seeds; None where an error is unknown or zero."""
    own = [rate.whole if whole else rate.cost for rate in _of(found, sites, sampler)]
    return Mean.of([value for value in own if value is not None]) if own and None not in own else None


def over(found: Sequence[Rate], sites: int, sampler: str, other: str = DIRECT) -> Mean | None:
    """Ratio of the costs of two samplers, state by state."""
    ratios = []
    for rate in _of(found, sites, sampler):
        same = next((r for r in _of(found, sites, other) if r.seed == rate.seed), None)
        if same is None or rate.cost is None or same.cost is None:
            return None
        ratios.append(rate.cost / same.cost)
    return Mean.of(ratios)


def _line(found: Sequence[Rate], sites: int, sampler: str) -> list[str]:
    own = _of(found, sites, sampler)
    ratio = over(found, sites, sampler)
    worth = [rate.worth for rate in own if rate.worth is not None]
    return [
        str(sites),
        SAMPLERS[sampler],
        str(len(own)),
        _shown(cost(found, sites, sampler)),
        f"{statistics.fmean(rate.start for rate in own):.2g}",
        _shown(cost(found, sites, sampler, whole=True)),
        f"{statistics.fmean(rate.units * rate.unit + rate.start for rate in own):.2g}",
        "–" if sampler == DIRECT else _shown(ratio),
        f"{statistics.fmean(worth):.2f}" if worth else "–",
    ]


def _shown(mean: Mean | None) -> str:
    return "–" if mean is None else str(mean)


def pulls(found: Sequence[Rate]) -> dict[str, list[float]]:
    """Differences from the exact energy of the same state, or from that by direct sampling, in combined errors."""
    made: dict[str, list[float]] = {}
    for rate in found:
        same = [r for r in found if (r.sites, r.seed) == (rate.sites, rate.seed) and r.sampler != rate.sampler]
        base = next((r for s in (EXHAUSTIVE, DIRECT) for r in same if r.sampler == s), None)
        if base is None or rate.sampler == EXHAUSTIVE or not rate.sigma or base.sigma is None:
            continue
        if rate.sampler == DIRECT and base.sampler != EXHAUSTIVE:
            continue
        distance = (rate.energy - base.energy) / math.hypot(rate.sigma, base.sigma)
        made.setdefault(rate.sampler, []).append(distance)
    return made


def claims(found: Sequence[Rate]) -> list[Claim]:
    """What the abstract says of the sampler, where there is something to compare it with."""
    if not found:
        return []
    off = pulls(found)
    unbiased, together = by_chance(off[NIR]) if NIR in off else ("not run", "not drawn")
    ratios = {n: over(found, n, NIR, METROPOLIS) for n in _sites(found)}
    cheaper = [r.below_one for r in ratios.values() if r is not None]
    return [
        quoted(
            "efficient and unbiased sampling",
            "abstract",
            unbiased,
            "of unbiased alone: distances of NIR from the exact energy of the same state, or that of direct draws: "
            f"{together} (seen if in 1 of 20 or more); the largest in standard errors: "
            + ", ".join(f"{SAMPLERS[s]} {max(map(abs, values)):.1f} of {len(values)}" for s, values in off.items())
            + "; a bias below σ is not excluded",
        ),
        Claim(
            "NIR gives a smaller error in the same time than chains",
            "ours",
            tally(cheaper),
            "σ² times seconds over that of Metropolis chains, without the starts: "
            + ", ".join(f"{_shown(r)} ({n} sites{f': {r.below_one}' if r else ''})" for n, r in ratios.items())
            + " (Student's t over seeds, 1 of 20)",
        ),
    ]


def verdict(found: Sequence[Rate]) -> list[str]:
    """Each sampler against direct draws, and what it takes to begin."""
    said = []
    for sampler in (NIR, METROPOLIS):
        known = {n: r for n in _sites(found) if (r := over(found, n, sampler)) is not None}
        if not known:
            continue
        times, sites = _series([str(mean) for mean in known.values()]), _series([str(n) for n in known])
        text = f"{SAMPLERS[sampler]}: {times} times the seconds of direct draws for the same error of the energy on "
        text += f"{sites} sites"
        starts = [statistics.fmean(r.start for r in _of(found, n, sampler)) for n in known]
        said.append(f"{text}; before the first batch {min(starts):.2g} to {max(starts):.2g} s.")
    exact = {n: own for n in _sites(found) if (own := _of(found, n, EXHAUSTIVE))}
    if exact:
        shown = ", ".join(f"{statistics.fmean(r.unit for r in own):.2g} s on {n}" for n, own in exact.items())
        said.append(f"A sum over all configurations, without any error, takes {shown} sites.")
    return said


def _series(words: Sequence[str]) -> str:
    """``1, 2 and 3``."""
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def notes(found: Sequence[Rate]) -> list[str]:
    """Definitions."""
    told = [
        "The state is an autoregressive one (PixelCNN), trained for a few steps, the same parameters for all samplers: "
        "the one kind of state that direct sampling can draw, too. Its costs do not depend on being converged.",
        "σ is the standard error that each sampler's inference gives: of independent draws, of chains with their "
        "autocorrelation, of weighted draws by the jackknife over batches. Local energies are in the seconds.",
        "Seconds of a unit are the median of all but the first, times the number of units; what the first took longer "
        "is the start. Runs go one after the other, on one thread, with nothing of this artefact beside them; seconds "
        "are of the wall, those of the machine in the provenance with whatever else it did.",
    ]
    unknown = [f"{SAMPLERS[r.sampler]} on {r.sites} sites, seed {r.seed}" for r in found if r.sigma is None]
    if unknown:
        told.append("No error is known, and no cost given, of: " + "; ".join(unknown) + ".")
    own = [(r.sampler, with_error(r.energy, r.sigma)) for r in found if r.sites == max(_sites(found)) and not r.seed]
    if own:
        told.append("Energies of the largest lattice, seed 0: " + ", ".join(f"{SAMPLERS[s]} {e}" for s, e in own) + ".")
    return told


def draw(figure: Any, found: Sequence[Rate]) -> None:
    """Cost and start against the number of sites."""
    left, right = figure.subplots(1, 2)
    for sampler, name in SAMPLERS.items():
        shown = {"marker": style(sampler).marker, "color": style(sampler).colour, "ms": 4, "lw": 0.9, "label": name}
        known = {n: mean for n in _sites(found) if (mean := cost(found, n, sampler)) is not None}
        if known:
            bars = [mean.value * (mean.relative or 0.0) for mean in known.values()]
            left.errorbar(list(known), [mean.value for mean in known.values()], bars, capsize=2, **shown)
        own = {n: runs for n in _sites(found) if (runs := _of(found, n, sampler))}
        seconds = [
            statistics.fmean(r.start if sampler != EXHAUSTIVE else r.unit for r in runs) for runs in own.values()
        ]
        if sampler != DIRECT:
            right.plot(list(own), [max(value, 1e-4) for value in seconds], **shown)
    for axes, label in ((left, "$\\sigma^2$ of the energy × seconds"), (right, "seconds to begin, or of the sum")):
        axes.set_yscale("log")
        axes.set_xlabel("sites")
        axes.set_ylabel(label)
        axes.legend(frameon=False, fontsize=7)


ARTEFACT = Artefact(
    "nir",
    "error_per_second",
    "Extra figure: error of the energy per second, one state drawn by four samplers",
    cells,
    render,
    own={NIR: "NIR"},
    checks=(DIRECT, METROPOLIS, EXHAUSTIVE),
)
