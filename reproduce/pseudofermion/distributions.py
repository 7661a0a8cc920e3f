"""Figures 6 and 7: observables of reweighted flows and of hybrid Monte Carlo as histograms, and whether they agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pipeline.analysis.histograms import Comparison, Sample, compare, equal_edges, integer_edges
from pipeline.base.numbers import rng
from pipeline.base.numbers.result import Curve
from pipeline.base.store.entry import Entry
from pipeline.gauge.joint import summary as joint_summary
from reproduce.artefact import ExtraCurve
from reproduce.colours import style
from reproduce.tables import Finished, Table

BOOTSTRAPS = 200
"""Figs. 6 and 7: "The uncertainties are estimated from 200 bootstrap ensembles"."""

BINS = 30
"""Ours, of observables that are no integers; the paper does not say."""

HMC, FLOW, EXACT, PLAIN, ORACLE = "hmc", "flow", "flow-exact", "flow-plain", "reference"
SAMPLERS = {
    HMC: "hybrid Monte Carlo",
    FLOW: "flow, reweighted",
    EXACT: "flow, exact weights",
    PLAIN: "flow, not reweighted",
    ORACLE: "reweighted pure gauge",
}
"""In words: with the stochastic determinants as in the paper, with exact ones, without weights; and the reference."""

CELLS = {EXACT: FLOW, PLAIN: FLOW}
"""Methods of the cells that samplers belong to, where these are called otherwise."""


@dataclass(frozen=True)
class Observable:
    """What a panel shows.

    Attributes:
        name: in ensembles of flows; ``plaquette``, ``topological_charge`` or ``correlator``.
        label: of the axis.
        integer: a bin for each value.
    """

    name: str
    label: str
    integer: bool = False


@dataclass(frozen=True)
class Histogram:
    """One sampler in one panel.

    Attributes:
        fractions, errors: in each bin, with standard errors from bootstraps.
        mean, sigma: of the observable, with its standard error.
        configurations, effective: drawn, and what they are worth by their weights.
        chi2, dof, p: against hybrid Monte Carlo; p is None where it is not known.
    """

    sampler: str
    fractions: tuple[float, ...]
    errors: tuple[float, ...]
    mean: float
    sigma: float
    configurations: int
    effective: float
    chi2: float | None
    dof: int
    p: float | None


@dataclass(frozen=True)
class Panel:
    """One observable of all samplers, hybrid Monte Carlo first."""

    observable: str
    label: str
    edges: tuple[float, ...]
    histograms: tuple[Histogram, ...]

    def of(self, sampler: str) -> Histogram | None:
        """The histogram of a sampler, or None."""
        return next((h for h in self.histograms if h.sampler == sampler), None)

    @staticmethod
    def of_kept(tree: Mapping[str, Any]) -> Panel:
        """From JSON, as :func:`dataclasses.asdict` makes it."""
        made = [
            Histogram(**{**one, "fractions": tuple(one["fractions"]), "errors": tuple(one["errors"])})
            for one in tree["histograms"]
        ]
        return Panel(tree["observable"], tree["label"], tuple(tree["edges"]), tuple(made))


def kept(panels: Sequence[Panel]) -> dict[str, Any]:
    """What a report keeps of them."""
    return {"panels": [asdict(panel) for panel in panels]}


def panels(table: Table, observables: Sequence[Observable]) -> list[Panel]:
    """Of the ensembles in the store, or as the report kept them; none without hybrid Monte Carlo."""
    if "panels" in table.kept:
        return [Panel.of_kept(tree) for tree in table.kept["panels"]]
    drawn = samples(table.finished, observables)
    if not drawn.get(HMC):
        return []
    return [_panel(observable, {s: found[observable.name] for s, found in drawn.items()}) for observable in observables]


def _panel(observable: Observable, drawn: Mapping[str, Sample]) -> Panel:
    trusted = drawn[HMC]
    edges = integer_edges(trusted) if observable.integer else equal_edges(trusted, BINS)
    made = [histogram(name, sample, trusted, edges, observable.name) for name, sample in drawn.items()]
    return Panel(observable.name, observable.label, tuple(edges.tolist()), tuple(made))


def histogram(sampler: str, sample: Sample, trusted: Sample, edges: Any, purpose: str) -> Histogram:
    """Of one sample, with bootstraps and the comparison with the ``trusted`` one; that is not compared with itself."""
    generator = rng.numpy_generator(0, f"histogram bootstrap {purpose} {sampler}")
    errors = sample.bootstrap(edges, BOOTSTRAPS, generator).std(axis=0, ddof=1)
    test = Comparison(None, 0, None, 1) if sample is trusted else compare(sample, trusted, edges)
    return Histogram(
        sampler,
        tuple(sample.fractions(edges).tolist()),
        tuple(errors.tolist()),
        *sample.mean,
        configurations=sample.values.size,
        effective=sample.effective,
        chi2=test.chi2,
        dof=test.dof,
        p=test.p,
    )


def samples(finished: Sequence[Finished], observables: Sequence[Observable]) -> dict[str, dict[str, Sample]]:
    """Each observable by sampler, hybrid Monte Carlo first; of those whose configurations were kept."""
    found: dict[str, dict[str, Sample]] = {HMC: {}}
    for done in finished:
        if done.result is None:
            continue
        method, factor = done.task.cell.method, colors(done)
        if method == HMC and done.found.reference is not None:
            time = done.task.run.infer.correlator_time
            arrays = done.found.reference.ensemble()
            if "correlator_from_zero" in arrays and time is not None:
                arrays["correlator"] = arrays["correlator_from_zero"][..., time]
            found[HMC] = {o.name: Sample.of_chains(_scaled(arrays, o, factor)) for o in observables}
        elif method == FLOW and done.found.inferred is not None:
            arrays = of_flow(done.found.inferred)
            weights = {FLOW: arrays["log_weight"], EXACT: arrays.get("log_marginal"), PLAIN: None}
            for name, log_w in weights.items():
                if log_w is not None or name == PLAIN:
                    found[name] = {o.name: Sample.weighted(_scaled(arrays, o, factor), log_w) for o in observables}
        elif method == ORACLE and done.found.reference is not None and len(done.found.reference.records()):
            records = done.found.reference.records()
            names = ("log_weight", *(o.name for o in observables))
            arrays = {name: np.concatenate([record[name] for record in records]) for name in names}
            log_w = arrays["log_weight"]
            found[ORACLE] = {o.name: Sample.weighted(_scaled(arrays, o, factor), log_w) for o in observables}
    return found


def of_flow(entry: Entry) -> dict[str, Any]:
    """What an inference kept of its configurations, (batch, batches); of an older one, from its records."""
    if arrays := entry.ensemble():
        return arrays
    parts = [joint_summary.kept(record) for record in entry.records()]
    return {name: np.stack([part[name] for part in parts], axis=1) for name in parts[0]}


def colors(done: Finished) -> int:
    """N of the group: Eq. C1 has Re tr P, which ensembles hold divided by N."""
    return 3 if done.task.run.system.group == "su3" else 1


def _scaled(arrays: Mapping[str, Any], observable: Observable, factor: int) -> Any:
    values = np.asarray(arrays[observable.name], dtype=float)
    return factor * values if observable.name == "plaquette" else values


def curves(row: str, found: Sequence[Panel]) -> list[ExtraCurve]:
    """Densities of all histograms, for ``curves.csv``."""
    made = []
    for panel in found:
        edges = np.array(panel.edges)
        centres, widths = 0.5 * (edges[1:] + edges[:-1]), np.diff(edges)
        for one in panel.histograms:
            name = f"density_{panel.observable}" + {EXACT: "_exact_weights", PLAIN: "_unweighted"}.get(one.sampler, "")
            y, sigma = np.array(one.fractions) / widths, np.array(one.errors) / widths
            curve = Curve.of(name, panel.observable, "density", centres, y, sigma, x_width=widths)
            made.append(ExtraCurve(row, CELLS.get(one.sampler, one.sampler), 0, curve))
    return made


SHOWN = {HMC: style("hmc"), FLOW: style("flow"), ORACLE: style("reweighting")}
"""What is drawn, and how."""


def draw(figure: Any, found: Sequence[Panel]) -> None:
    """Densities above, below them their ratios to the central values of hybrid Monte Carlo."""
    axes = figure.subplots(2, len(found), sharex="col", squeeze=False, height_ratios=[2, 1])
    for (upper, lower), panel in zip(axes.T, found, strict=True):
        edges = np.array(panel.edges)
        centres, widths = 0.5 * (edges[1:] + edges[:-1]), np.diff(edges)
        trusted = panel.of(HMC)
        assert trusted is not None
        central = np.array(trusted.fractions)
        shown = [one for one in panel.histograms if one.sampler in SHOWN]
        for k, one in enumerate(shown):
            colour, marker = SHOWN[one.sampler].colour, SHOWN[one.sampler].marker
            y, errors = np.array(one.fractions), np.array(one.errors)
            line = {"color": colour, "lw": 1.0}
            upper.stairs(y / widths, edges, label=SAMPLERS[one.sampler], **line)
            shift = centres + 0.2 * widths * (k - 0.5 * (len(shown) - 1))
            upper.errorbar(shift, y / widths, errors / widths, fmt="none", capsize=1.0, **line)
            seen = central > 0.0
            ratio, error = y[seen] / central[seen], errors[seen] / central[seen]
            lower.errorbar(shift[seen], ratio, error, fmt=marker, ms=2.5, capsize=1.0, **line)
        lower.axhline(1.0, color="0.35", lw=0.6)
        lower.set_ylim(0.0, 2.0)
        lower.set_xlabel(panel.label)
    axes[0, 0].set_ylabel("density")
    axes[1, 0].set_ylabel("ratio to HMC")
    axes[0, 0].legend(frameon=False, fontsize=7, loc="upper left")
