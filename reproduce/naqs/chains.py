"""Samples of Figure 2, chain by chain: from the records of the runs, or as a written report holds them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.analysis.pca import principal_components
from pipeline.analysis.samples import kept_samples
from pipeline.base.numbers.statistics import Mean, correlated_mean, independent_mean, split_r_hat
from reproduce.tables import Finished, Table

STARTS = {"up": 1, "down": -1}
POINTS_SHOWN = 300
"""Of each series in the figure and in ``curves.csv``."""
ALL = "all"

Spins = NDArray[np.int8]
Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Chain:
    """Samples of one chain, or all direct ones.

    Attributes:
        label: in the table and in the figure.
        method: of the cell.
        start: Σσz/N at which the chain began; None where samples are independent.
        samples: how many there are.
        up, down: how many of those that were counted have Σσz above and below zero.
        magnetisation, size: means of Σσz/N and |Σσz|/N.
        acceptance: fraction of accepted proposals of the cell; None without proposals.
        points: coordinates of some samples along the first two principal components of all.
    """

    label: str
    method: str
    start: int | None
    samples: int
    up: int
    down: int
    magnetisation: Mean
    size: Mean
    acceptance: float | None
    points: Points = field(default=(), compare=False)

    @staticmethod
    def of(label: str, method: str, start: int | None, spins: Spins, acceptance: float | None = None) -> Chain:
        """From spins (n, N)."""
        series = spins.mean(axis=1, dtype=float)
        mean = independent_mean if start is None or len(series) < 2 else correlated_mean
        up, down = (int(np.count_nonzero(np.sign(series) == sign)) for sign in (1, -1))
        return Chain(label, method, start, len(spins), up, down, mean(series), mean(np.abs(series)), acceptance)

    @property
    def turned(self) -> float:
        """Share of the oriented samples with the orientation opposite to the start."""
        opposite = self.down if self.start == 1 else self.up
        return opposite / max(self.up + self.down, 1)


@dataclass(frozen=True)
class Samples:
    """All that the figure compares.

    Attributes:
        chains: direct samples first, then the chains, numbered through.
        r_hat: of Σσz/N over the chains of a cell, and over all under ``all``; NaN where chains are too short.
        ratios: share of the variance along each component; empty if unknown.
        rounded: whether they come from the table and the figure of a report that kept no more.
    """

    chains: tuple[Chain, ...] = ()
    r_hat: Mapping[str, float] = field(default_factory=dict)
    ratios: tuple[float, ...] = ()
    rounded: bool = False

    @property
    def direct(self) -> Chain | None:
        return next((c for c in self.chains if c.start is None), None)

    @property
    def markov(self) -> tuple[Chain, ...]:
        return tuple(c for c in self.chains if c.start is not None)

    def kept(self) -> dict[str, Any]:
        """All but the points, as JSON: those are curves."""
        lines = [{k: v for k, v in asdict(chain).items() if k != "points"} for chain in self.chains]
        finite = {name: value if math.isfinite(value) else str(value) for name, value in self.r_hat.items()}
        return {"chains": lines, "r_hat": finite, "ratios": list(self.ratios), "rounded": self.rounded}


def samples_of(table: Table) -> Samples:
    """From records where the store has them, else as the report that is rendered anew holds them."""
    done = [d for d in table.finished if d.task.cell.method != "reference" and d.result is not None]
    if not done:
        return Samples()
    if all(d.shown is None for d in done):
        return _from_spins(_spins(done))
    points = {c.name.removeprefix("pca/"): c for d in done for c in d.shown or () if c.name.startswith("pca/")}
    coordinates: dict[str, Points] = {label: tuple(zip(c.x, c.y, strict=True)) for label, c in points.items()}
    return _kept(table.kept, coordinates) if "chains" in table.kept else _of_lines(table.lines, coordinates)


def _spins(finished: Sequence[Finished]) -> list[tuple[str, str, int | None, Spins, float | None]]:
    """Label, method, start, spins and acceptance of each chain, direct samples first."""
    found: list[tuple[str, str, int | None, Spins, float | None]] = []
    for done in finished:
        if done.result is None or done.found.inferred is None:
            continue
        method = done.task.cell.method
        spins = kept_samples(done.found.inferred.records(), done.task.run.system.size)
        if method == "direct":
            found.insert(0, ("direct sampling", method, None, spins[0], None))
            continue
        name, acceptance = method.removeprefix("mcmc-"), done.result.estimate("acceptance").value
        for chain in spins:
            number = 1 + sum(one[2] is not None for one in found)
            found.append((f"MCMC {number}, begun {name}", method, STARTS[name], chain, acceptance))
    return found


def _from_spins(found: Sequence[tuple[str, str, int | None, Spins, float | None]]) -> Samples:
    components = principal_components(np.concatenate([spins for *_, spins, _ in found]))
    chains = []
    for label, method, start, spins, acceptance in found:
        chosen = np.unique(np.linspace(0, len(spins) - 1, min(POINTS_SHOWN, len(spins))).astype(int))
        points = components.project(spins[chosen]).round(4)
        chain = Chain.of(label, method, start, spins, acceptance)
        chains.append(replace(chain, points=tuple((float(x), float(y)) for x, y in points)))
    series = {f"{k}": (method, spins) for k, (_, method, start, spins, _) in enumerate(found) if start is not None}
    r_hat = {m: _r_hat([s for o, s in series.values() if o == m]) for m in dict.fromkeys(o for o, _ in series.values())}
    if series:
        r_hat[ALL] = _r_hat([s for _, s in series.values()])
    return Samples(tuple(chains), r_hat, tuple(float(r) for r in components.ratios))


def _r_hat(chains: Sequence[Spins]) -> float:
    """Of the magnetisation, over chains of the same length; NaN if they are too short to be halved."""
    if min(len(spins) for spins in chains) < 4:
        return math.nan
    return split_r_hat(np.stack([spins.mean(axis=1, dtype=float) for spins in chains]))


def _kept(kept: Mapping[str, Any], points: Mapping[str, Points]) -> Samples:
    chains = []
    for line in kept["chains"]:
        means = {name: Mean(**line[name]) for name in ("magnetisation", "size")}
        chains.append(Chain(**{**line, **means, "points": points.get(line["label"], ())}))
    r_hat = {name: float(value) for name, value in kept["r_hat"].items()}
    return Samples(tuple(chains), r_hat, tuple(kept["ratios"]), kept["rounded"])


def _of_lines(lines: Sequence[Mapping[str, str]], points: Mapping[str, Points]) -> Samples:
    """From the table of a report that is older than what renderers keep: digits as shown, orientations of the points.

    Far from the transition the first component is the magnetisation: its sign tells the orientation.
    """
    upwards = [x for label, found in points.items() if label.endswith("begun up") for x, _ in found]
    side = math.copysign(1.0, sum(upwards))
    chains: list[Chain] = []
    r_hat: dict[str, float] = {}
    for line in lines:
        label, shown = line["samples from"], line["R-hat of m"].removesuffix(" (same start)")
        if label not in points:
            r_hat |= {ALL: float(shown)} if label.startswith("all") and shown != "–" else {}
            continue
        name = label.rpartition(" ")[2]
        start = STARTS.get(name)
        method = "direct" if start is None else f"mcmc-{name}"
        if start is not None and shown != "–":
            r_hat[method] = float(shown)
        up, down = (sum(sign * side * x > 0 for x, _ in points[label]) for sign in (1, -1))
        tau = line["τ_int of m"]
        chains.append(
            Chain(
                label,
                method,
                start,
                n := int(line["number"]),
                up,
                down,
                _mean(line["m = ⟨Σσz⟩/N"], n, tau),
                _mean(line["⟨|Σσz|⟩/N"], n),
                None if line["acceptance"] == "–" else float(line["acceptance"]),
                points[label],
            )
        )
    return Samples(tuple(chains), r_hat, rounded=True)


def _mean(shown: str, n: int, tau: str = "–") -> Mean:
    """``0.790(6)``."""
    from uncertainties import ufloat_fromstr

    number = ufloat_fromstr(shown)
    return Mean(number.nominal_value, number.std_dev, None, n, None if tau == "–" else float(tau))
