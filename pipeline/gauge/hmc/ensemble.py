"""From the records of hybrid Monte Carlo to estimates, curves and the ensemble that is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pipeline.base.contracts import Record
from pipeline.base.later import NDArray, np
from pipeline.base.numbers.result import Bound, Curve, Estimate, Result
from pipeline.base.numbers.statistics import (
    FEWEST_SAMPLES,
    Mean,
    correlated_mean,
    doubt_of_few,
    doubts,
    independent_mean,
    jackknife,
)
from pipeline.gauge.spectroscopy import FEWEST_TIMES, effective_mass, fitted_mass, folded, mass_fits

FEWEST_BLOCKS = 20
"""Jackknife blocks: whole chains, or, of fewer chains, pieces of them."""

SHOWN_CHAINS = 4
"""Chains whose topological charge is kept as a curve."""

SHOWN_POINTS = 500
"""Most points of a history; longer ones are thinned."""

ALONG = ("plaquette", "topological_charge", "accepted", "broken", "exp_minus_delta_h", "dirac_applications")
"""Known after each trajectory, (chains, T) in a record of T trajectories; all else after the last of them."""

KEPT = ("plaquette", "topological_charge", "correlator", "correlator_from_zero", "links")
"""Of the configuration at the end of each measurement."""

KEPT_ONLY = ("correlator_from_zero", "links")
"""Of these no estimate is made; all of an ensemble's links together may be larger than memory."""

NO_MASS = f"No pseudoscalar mass: it takes L of at least {FEWEST_TIMES} and correlators that fluctuate."

BOUNDS: dict[str, Bound] = {
    "plaquette": "stochastic",
    "topological_charge": "stochastic",
    "topological_susceptibility": "stochastic",
    "acceptance": "none",
    "exp_minus_delta_h": "stochastic",
    "dirac_applications": "none",
    "condition_number": "none",
    "condition_number_even_odd": "none",
}
"""Series that are averaged, in the order in which they are reported."""

Series = dict[str, NDArray[Any]]


def series_of(records: Sequence[Record]) -> Series:
    """Each quantity that is summarised as an array (chains, trajectories or measurements, ...)."""
    series = {
        name: np.concatenate([r[name] for r in records], axis=1)
        if name in ALONG
        else np.stack([r[name] for r in records], axis=1)
        for name in records[0]
        if name not in ("volume", *KEPT_ONLY)
    }
    series["acceptance"] = series.pop("accepted").astype(float)
    if "topological_charge" in series:
        series["topological_susceptibility"] = series["topological_charge"] ** 2 / records[0]["volume"]
    return series


def summarise(records: Sequence[Record]) -> Result:
    """Means over chains and trajectories, with errors from the integrated autocorrelation time, in trajectories.

    Args:
        records: see :meth:`pipeline.gauge.hmc.method.HMC.measure`.

    Returns:
        Estimates ``plaquette`` ⟨Re tr P / N⟩, ``acceptance`` and ``exp_minus_delta_h`` ⟨e^{-ΔH}⟩ (1 in equilibrium)
        over trajectories that did not break off; where any did, ``broken``, their fraction; for U(1)
        ``topological_charge`` and ``topological_susceptibility`` ⟨Q²⟩/V; with pseudofermions ``dirac_applications``
        a trajectory; ``pseudoscalar_mass`` (a M_PS), and means, medians and maxima of condition numbers, where
        measured. Curves of the history of the plaquette and of the charge, the correlator and the effective mass. A
        note for each reason to distrust the errors.

    Raises:
        ValueError: fewer than two trajectories.
    """
    series = series_of(records)
    conditions = [name for name in series if name.startswith("condition_number")]
    bounds = BOUNDS | {name: BOUNDS["condition_number"] for name in conditions if name not in BOUNDS}
    estimates = [
        correlated_mean(series[name]).estimate(name, bound=bound) for name, bound in bounds.items() if name in series
    ]
    if series["broken"].any():
        weight = _weight_of_sound(series)
        estimates = (
            [weight if e.name == weight.name else e for e in estimates]
            if weight
            else [e for e in estimates if e.name != "exp_minus_delta_h"]
        )
        estimates.append(correlated_mean(series["broken"].astype(float)).estimate("broken"))
    notes = doubts(e for e in estimates if e.bound == "stochastic")
    for name in conditions:
        estimates += [_median(name, series[name]), Estimate(f"{name}_max", float(series[name].max()))]
    curves = histories(series)
    if "correlator" in series:
        mass, *found = spectrum(series["correlator"])
        curves += found
        estimates += [mass] if mass else []
        notes.append(_other_fits(found[0], series["correlator"].shape[-1]) if mass else NO_MASS)
    return Result(tuple(estimates), tuple(curves), (*notes, *_warnings(series)))


def _weight_of_sound(series: Series) -> Estimate | None:
    """⟨e^{-ΔH}⟩ over the trajectories that did not break off; None where all did.

    A trajectory breaks off where its reverse would, so that the others preserve volume among themselves: 1 is the mean
    over these, with the e^{-ΔH} of what is lost unknown and not zero. The error is that of the ratio of two means.
    """
    weight, sound = series["exp_minus_delta_h"], ~series["broken"]
    if not sound.any():
        return None
    kept = weight[sound]
    value = float(kept.mean())
    deviation = np.where(sound, weight - value, 0.0) / sound.mean()
    mean = replace(correlated_mean(deviation), value=value, n=kept.size)
    return mean.estimate("exp_minus_delta_h", bound=BOUNDS["exp_minus_delta_h"])


def _median(name: str, series: NDArray[Any]) -> Estimate:
    """Median of all values; its error from the medians of blocks."""
    value, error = float(np.median(series)), independent_mean([np.median(block) for block in _blocks(series)])
    return replace(error, value=value, n=series.size).estimate(f"{name}_median")


def _blocks(series: NDArray[Any]) -> list[NDArray[Any]]:
    """Chains, or pieces of chains of equal length, as nearly independent blocks; (chains, n, ...) -> [(m, ...)]."""
    chains, n = series.shape[:2]
    pieces = min(max(1, -(-FEWEST_BLOCKS // chains)), n)
    length = n // pieces
    return [series[c, n - length * (p + 1) : n - length * p] for c in range(chains) for p in range(pieces)]


def spectrum(correlator: NDArray[np.float64]) -> tuple[Estimate | None, Curve, Curve]:
    """Mass, correlator and effective mass with jackknife errors from (chains, measurements, T).

    No mass where the lattice is too short for the fit, or where nothing moved so that there are no errors.
    """
    blocks = np.array([block.mean(axis=0) for block in _blocks(correlator)])
    extent = correlator.shape[-1]
    mean, sigma = jackknife(blocks, folded)
    masses, mass_sigma = jackknife(blocks, effective_mass)
    fitted = None
    if extent >= FEWEST_TIMES and (sigma > 0.0).all():
        mass, error = jackknife(blocks, lambda c: fitted_mass(c, sigma))
        n = len(blocks)
        fitted = Mean(
            float(mass),
            float(error) if n >= FEWEST_SAMPLES else None,
            None,
            n,
            doubt=doubt_of_few(n, "block", "blocks"),
        )
    times = np.arange(extent // 2 + 1)
    known = np.isfinite(masses) & np.isfinite(mass_sigma)
    return (
        fitted.estimate("pseudoscalar_mass", bound="stochastic") if fitted else None,
        Curve.of("correlator", "time", "correlator", times, mean, sigma),
        Curve.of("effective_mass", "time", "effective_mass", times[1:][known], masses[known], mass_sigma[known]),
    )


def _other_fits(correlator: Curve, extent: int) -> str:
    """What the mass would be by other fits than the one whose statistical error it has."""
    (fit, _), *others = mass_fits(np.array(correlator.y), np.array(correlator.sigma), extent).items()
    if not others:
        return f"pseudoscalar_mass: the only fit that this extent allows ({fit})."
    masses = [m for _, m in others]
    return f"pseudoscalar_mass: the fit of {fit}; others give {min(masses):.4f} to {max(masses):.4f}."


def histories(series: Series) -> list[Curve]:
    """The plaquette, mean over chains, and the topological charge of the first chains, against trajectories."""
    plaquette = series["plaquette"]
    chains, n = plaquette.shape
    shown = np.arange(0, n, -(-n // SHOWN_POINTS))
    sigma = plaquette.std(axis=0, ddof=1)[shown] / np.sqrt(chains) if chains > 1 else ()
    curves = [Curve.of("plaquette", "trajectory", "plaquette", shown + 1, plaquette.mean(axis=0)[shown], sigma)]
    for chain, charge in enumerate(series.get("topological_charge", [])[:SHOWN_CHAINS]):
        name = f"topological_charge_{chain}"
        curves.append(Curve.of(name, "trajectory", "topological_charge", shown + 1, charge[shown]))
    return curves


def _warnings(series: Series) -> list[str]:
    """What makes the numbers untrustworthy: a charge that never moves, trajectories that broke off."""
    notes = []
    charge, broken = series.get("topological_charge"), series["broken"]
    if charge is not None and (charge == charge[:, :1]).all():
        notes.append("The topological charge never changed: its sectors are frozen and its error means nothing.")
    if broken.any():
        lost = f"{broken.sum()} of {broken.size} trajectories met NaN or infinity"
        notes.append(f"{lost} and were rejected; their ΔH is unknown and ⟨e^−ΔH⟩ is that of the others.")
    return notes


def kept(record: Record) -> Series:
    """What is kept of the configurations at the end of a measurement, for comparison with other samplers.

    Returns:
        Those of ``KEPT`` that were measured, each of shape (chains, ...).
    """
    return {name: record[name][:, -1] if name in ALONG else record[name] for name in KEPT if name in record}
