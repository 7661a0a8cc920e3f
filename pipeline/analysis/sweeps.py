"""Runs that differ in a few settings: averaged over seeds, and extrapolated in size and in variance."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pipeline.analysis.extrapolation import Line, fit_line
from pipeline.analysis.seeds import over_seeds
from pipeline.base.numbers.result import Estimate

Value = str | int | float | bool | None
SEED = "seed"
"""Last word of the keys that runs are averaged over."""

FEWEST = 3
"""Points of an extrapolation: a line through two tells nothing about itself."""

LENGTHS = (("n_sites",), ("length_x", "length_y"), ("length", "length"))
"""Settings of a system whose product is the number of its sites."""

ENERGY, VARIANCE = "energy", "variance"
TOTAL = "total"
"""Unit of what grows with the system."""


@dataclass(frozen=True)
class Point:
    """A finished run, or the mean of several that differ in their seeds.

    Attributes:
        axes: settings in which runs differ, by key.
        system: settings of the system, by name.
        estimates, reference: ours and the reference's, by name.
        headline: name of the estimate that stands for the run.
        runs: how many it is the mean of.
    """

    axes: Mapping[str, Value]
    system: Mapping[str, Value]
    estimates: Mapping[str, Estimate]
    headline: str
    reference: Mapping[str, Estimate] = field(default_factory=dict)
    runs: int = 1

    @property
    def main(self) -> Estimate | None:
        """The estimate that stands for the run."""
        return self.estimates.get(self.headline)

    def against(self, estimate: Estimate) -> Estimate | None:
        """The reference of an estimate."""
        return self.reference.get(estimate.against or estimate.name)

    @property
    def sites(self) -> int | None:
        """Number of sites; None where the system does not say."""
        found = self._lengths()
        return math.prod(found) if found else None

    @property
    def linear(self) -> float | None:
        """Linear extent: N of a chain, √(L_x L_y) of a lattice."""
        found = self._lengths()
        return math.prod(found) ** (1 / len(found)) if found else None

    def _lengths(self) -> list[int]:
        for names in LENGTHS:
            values = [self.system.get(name) for name in names]
            if all(isinstance(value, int) for value in values):
                return [value for value in values if isinstance(value, int)]
        return []


def per_site(points: Sequence[Point]) -> list[Point]:
    """Points with totals divided by the number of sites, where that differs: totals would show little else."""
    if len({point.sites for point in points}) < 2 or not all(point.sites for point in points):
        return list(points)
    return [_divided(point, point.sites or 1) for point in points]


def _divided(point: Point, sites: int) -> Point:
    ours, theirs = (
        {name: e.scaled(1 / sites, "per site") if e.unit == TOTAL else e for name, e in found.items()}
        for found in (point.estimates, point.reference)
    )
    return replace(point, estimates=ours, reference=theirs)


def is_seed(key: str) -> bool:
    """Whether runs are averaged over the values of a key."""
    return key.rpartition(".")[2] == SEED


def averaged(points: Iterable[Point]) -> list[Point]:
    """One point for each combination of the settings that are no seeds, in the order of their first runs."""
    groups: dict[tuple[tuple[str, Value], ...], list[Point]] = {}
    for point in points:
        groups.setdefault(tuple((k, v) for k, v in point.axes.items() if not is_seed(k)), []).append(point)
    return [_mean(dict(axes), group) for axes, group in groups.items()]


def _mean(axes: Mapping[str, Value], group: Sequence[Point]) -> Point:
    first = group[0]
    names = [name for name in first.estimates if all(name in point.estimates for point in group)]
    means = {name: over_seeds([point.estimates[name] for point in group]) for name in names}
    reference = next((point.reference for point in group if point.reference), {})
    return Point(axes, first.system, means, first.headline, reference, sum(point.runs for point in group))


@dataclass(frozen=True)
class Extrapolation:
    """A line through points of one series.

    Attributes:
        series: the settings that its points share, by key.
        quantity: what is extrapolated.
        against: what goes to zero.
        x, y: its points.
        reference: what the intercept should be; None where nobody knows.
        doubt: about the error of one of its points; empty: none.
    """

    series: Mapping[str, Value]
    quantity: str
    against: str
    line: Line
    x: tuple[float, ...]
    y: tuple[Estimate, ...]
    reference: Estimate | None
    doubt: str = ""

    @property
    def intercept(self) -> Estimate:
        return self.line.at_zero(self.quantity, self.y[0].unit, self.doubt)


def power_of(system: Mapping[str, Value]) -> float:
    """p of the leading correction to the energy per site, 1/L^p: of a critical ring 2; an open end or edge adds 1/L."""
    is_open = system.get("periodic") is False or str(system.get("kind", "")).startswith("open_chain")
    return 1.0 if is_open else 2.0


def finite_size(points: Sequence[Point], power: float | None = None) -> list[Extrapolation]:
    """Energies per site against 1/L^power, for each series of at least three sizes.

    The reference of the infinite system is that of the finite ones, extrapolated alike.

    Args:
        power: None: that of each system, :func:`power_of`.
    """
    known = [p for p in points if p.sites and ENERGY in p.estimates]
    found = []
    for series, group in _series(known, _is_size):
        p = power_of(group[0].system) if power is None else power
        x = [float(point.linear or 1.0) ** -p for point in group]
        if len(set(x)) < FEWEST:
            continue
        ours = [point.estimates[ENERGY].scaled(1 / (point.sites or 1), "per site") for point in group]
        line = _line(x, ours)
        references = [_reference_per_site(point) for point in group]
        exact = [r for r in references if r is not None]
        limit = _line(x, exact).at_zero(ENERGY, "per site", _doubt(exact)) if len(exact) == len(x) else None
        against = f"1/L^{p:g}"
        found.append(
            Extrapolation(series, "energy per site", against, line, tuple(x), tuple(ours), limit, _doubt(ours))
        )
    return found


def zero_variance(points: Sequence[Point]) -> list[Extrapolation]:
    """Energies of one system against their variances, which vanish for its eigenstates.

    Close to the ground state E - E_0 is proportional to the variance of H, with the same factor for states of one kind:
    all runs of one system make one line, whatever else they differ in.
    """
    known = [p for p in points if ENERGY in p.estimates and VARIANCE in p.estimates]
    found = []
    for series, group in _series(known, lambda key: not key.startswith("system")):
        variances = [p.estimates[VARIANCE] for p in group]
        x = [v.value for v in variances]
        if len(set(x)) < FEWEST:
            continue
        energies = [p.estimates[ENERGY] for p in group]
        line = _line(x, energies, variances)
        reference = next((p.reference[ENERGY] for p in group if ENERGY in p.reference), None)
        doubt = _doubt([*energies, *variances])
        found.append(Extrapolation(series, ENERGY, VARIANCE, line, tuple(x), tuple(energies), reference, doubt))
    return found


def _series(points: Sequence[Point], along: Callable[[str], bool]) -> list[tuple[dict[str, Value], list[Point]]]:
    """Points that differ in nothing but the keys that ``along`` says."""
    groups: dict[tuple[tuple[str, Value], ...], list[Point]] = {}
    for point in points:
        groups.setdefault(tuple((k, v) for k, v in point.axes.items() if not along(k)), []).append(point)
    return [(dict(shared), group) for shared, group in groups.items()]


def _is_size(key: str) -> bool:
    return key.startswith("system.") and key.rpartition(".")[2] in {name for names in LENGTHS for name in names}


def _reference_per_site(point: Point) -> Estimate | None:
    reference = point.reference.get(ENERGY)
    return reference.scaled(1 / point.sites, "per site") if reference is not None and point.sites else None


def _line(x: Sequence[float], y: Sequence[Estimate], widths: Sequence[Estimate] = ()) -> Line:
    seeds = [0 if e.spread is None else e.n for e in y]
    line = fit_line(x, [e.value for e in y], [_sigma(e) for e in y], [_sigma(e) for e in widths], seeds)
    assert line is not None
    return line


def _doubt(estimates: Iterable[Estimate]) -> str:
    return next((e.doubt for e in estimates if e.doubt), "")


def _sigma(estimate: Estimate) -> float:
    return math.nan if estimate.sigma is None else estimate.sigma
