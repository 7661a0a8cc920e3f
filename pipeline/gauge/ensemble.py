"""From the records of hybrid Monte Carlo to estimates, curves and the ensemble that is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.base.contracts import Record
from pipeline.base.result import Bound, Curve, Estimate, Result
from pipeline.base.statistics import correlated_mean, jackknife, short_series
from pipeline.gauge.spectroscopy import effective_mass, fitted_mass, folded

FEWEST_BLOCKS = 20
"""Jackknife blocks: whole chains, or, of fewer chains, pieces of them."""

SHOWN_CHAINS = 4
"""Chains whose topological charge is kept as a curve."""

SHOWN_POINTS = 500
"""Most points of a history; longer ones are thinned."""

BOUNDS: Mapping[str, Bound] = {
    "plaquette": "stochastic",
    "topological_charge": "stochastic",
    "topological_susceptibility": "stochastic",
    "acceptance": "none",
    "exp_minus_delta_h": "stochastic",
    "condition_number": "none",
    "condition_number_even_odd": "none",
}
"""Per-chain series that are averaged, in the order in which they are reported."""

Series = dict[str, NDArray[Any]]


def series_of(records: Sequence[Record]) -> Series:
    """Each per-chain quantity of the records as an array (chains, measurements, ...)."""
    series = {name: np.stack([r[name] for r in records], axis=1) for name in records[0] if name != "volume"}
    if "topological_charge" in series:
        series["topological_susceptibility"] = series["topological_charge"] ** 2 / records[0]["volume"]
    return series


def summarise(records: Sequence[Record], trajectories: int) -> Result:
    """Means over chains and measurements, with errors from the integrated autocorrelation time.

    Args:
        records: see :meth:`pipeline.gauge.hmc.HMC.measure`.
        trajectories: from one measurement to the next.

    Returns:
        Estimates ``plaquette`` ⟨Re tr P / N⟩, ``acceptance`` and ``exp_minus_delta_h`` ⟨e^{-ΔH}⟩ (1 in equilibrium); for
        U(1) ``topological_charge`` and ``topological_susceptibility`` ⟨Q²⟩/V; ``pseudoscalar_mass`` (a M_PS), and
        means, medians and maxima of condition numbers, where measured. Curves of the history of the plaquette and of
        the charge, the correlator and the effective mass. A note for each reason to distrust the errors.

    Raises:
        ValueError: fewer than two records.
    """
    series = series_of(records)
    estimates = [_mean(name, series[name], bound) for name, bound in BOUNDS.items() if name in series]
    notes = short_series([e for e in estimates if e.name in series and BOUNDS[e.name] == "stochastic"], len(records))
    for name in ("condition_number", "condition_number_even_odd"):
        if name in series:
            estimates += [_median(name, series[name]), Estimate(f"{name}_max", float(series[name].max()))]
    curves = histories(series, trajectories)
    if "correlator" in series:
        mass, *found = spectrum(series["correlator"])
        estimates.append(mass)
        curves += found
    return Result(tuple(estimates), tuple(curves), (*notes, *_warnings(series, trajectories)))


def _mean(name: str, series: NDArray[Any], bound: Bound) -> Estimate:
    mean = correlated_mean(series)
    return Estimate(name, mean.value, mean.sigma, "standard-error", mean.spread, "1", bound, mean.n, mean.tau)


def _median(name: str, series: NDArray[Any]) -> Estimate:
    """Median of all values; its error from the medians of blocks."""
    medians = np.array([np.median(block) for block in _blocks(series)])
    sigma = float(medians.std(ddof=1) / np.sqrt(len(medians)))
    return Estimate(f"{name}_median", float(np.median(series)), sigma, "standard-error", n=series.size)


def _blocks(series: NDArray[Any]) -> list[NDArray[Any]]:
    """Chains, or pieces of chains of equal length, as nearly independent blocks; (chains, n, ...) -> [(m, ...)]."""
    chains, n = series.shape[:2]
    pieces = min(max(1, -(-FEWEST_BLOCKS // chains)), n)
    length = n // pieces
    return [series[c, n - length * (p + 1) : n - length * p] for c in range(chains) for p in range(pieces)]


def spectrum(correlator: NDArray[np.float64]) -> tuple[Estimate, Curve, Curve]:
    """Mass, correlator and effective mass with jackknife errors from (chains, measurements, T)."""
    blocks = np.array([block.mean(axis=0) for block in _blocks(correlator)])
    extent = correlator.shape[-1]
    mean, sigma = jackknife(blocks, folded)
    masses, mass_sigma = jackknife(blocks, effective_mass)
    mass, error = jackknife(blocks, lambda c: fitted_mass(c, sigma))
    times = np.arange(extent // 2 + 1)
    known = np.isfinite(masses) & np.isfinite(mass_sigma)
    return (
        Estimate("pseudoscalar_mass", float(mass), float(error), "standard-error", bound="stochastic", n=len(blocks)),
        Curve.of("correlator", "time", "correlator", times, mean, sigma),
        Curve.of("effective_mass", "time", "effective_mass", times[1:][known], masses[known], mass_sigma[known]),
    )


def histories(series: Series, trajectories: int) -> list[Curve]:
    """The plaquette, mean over chains, and the topological charge of the first chains, against trajectories."""
    plaquette = series["plaquette"]
    chains, n = plaquette.shape
    kept = np.arange(0, n, -(-n // SHOWN_POINTS))
    x = trajectories * (kept + 1)
    sigma = plaquette.std(axis=0, ddof=1)[kept] / np.sqrt(chains) if chains > 1 else ()
    curves = [Curve.of("plaquette", "trajectory", "plaquette", x, plaquette.mean(axis=0)[kept], sigma)]
    for chain, charge in enumerate(series.get("topological_charge", [])[:SHOWN_CHAINS]):
        curves.append(Curve.of(f"topological_charge_{chain}", "trajectory", "topological_charge", x, charge[kept]))
    return curves


def _warnings(series: Series, trajectories: int) -> list[str]:
    """What makes the numbers untrustworthy: a charge that never moves, trajectories that broke off."""
    notes = []
    charge = series.get("topological_charge")
    if charge is not None and (charge == charge[:, :1]).all():
        notes.append("The topological charge never changed: its sectors are frozen and its error means nothing.")
    broken = int(series["broken"].sum())
    if broken:
        total = series["broken"].size * trajectories
        notes.append(f"{broken} of {total} trajectories met NaN or infinity and were rejected.")
    return notes


def kept(records: Sequence[Record]) -> Series:
    """What is kept of each configuration for figures and for comparison with other samplers.

    Returns:
        ``plaquette``, ``topological_charge``, ``correlator``, ``links``, as far as measured, (chains, measurements, ...).
    """
    series = series_of(records)
    names = ("plaquette", "topological_charge", "correlator", "links")
    return {name: series[name] for name in names if name in series}


