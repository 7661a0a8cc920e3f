"""Inference of VMC: what one batch says about a state, and what all batches say together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.base.contracts import Record
from pipeline.base.numbers.result import Bound, Estimate, Result
from pipeline.base.numbers.statistics import (
    FEWEST_SAMPLES,
    Mean,
    correlated_mean,
    doubt_of_equals,
    doubt_of_few,
    doubt_of_weights,
    doubted_by_mixing,
    doubts,
    effective_sample_size,
    independent_mean,
    is_rounding,
    jackknife,
    split_r_hat,
)
from pipeline.spin.bits import pack
from pipeline.spin.sampler.contract import Batch, Errors
from pipeline.spin.systems import SpinSystem

UNITS = {"energy": "total", "variance": "total^2", "magnetisation": "total"}
OBSERVABLES = ("magnetisation", "absolute_magnetisation", "nearest_correlation")


class Observables:
    """Whatever is diagonal in σz and reported for every system.

    Args:
        system: gives N and the nearest-neighbour pairs.
        device: torch device name.
    """

    def __init__(self, system: SpinSystem, device: str) -> None:
        self._n_sites = system.size
        bonds = system.nearest_bonds()
        self._neighbours = torch.zeros((system.size, system.size), dtype=torch.float64, device=device)
        for i, j in bonds:
            self._neighbours[i, j] = 1.0 / len(bonds)

    def __call__(self, spins: Tensor) -> dict[str, Tensor]:
        """Values of each configuration (B, N), (B,) float64 by name.

        ``magnetisation`` Σ σz, ``absolute_magnetisation`` |Σ σz|/N, ``nearest_correlation`` the mean of σz_i σz_j over
        all nearest-neighbour pairs (not for a single site).
        """
        s = spins.double()
        total = s.sum(-1)
        values = {"magnetisation": total, "absolute_magnetisation": total.abs() / self._n_sites}
        if self._neighbours.any():
            values["nearest_correlation"] = ((s @ self._neighbours) * s).sum(-1)
        return values


def record(
    batch: Batch, local: Tensor, observables: dict[str, Tensor], errors: Errors, keep_samples: bool
) -> dict[str, Any]:
    """What is kept of one batch.

    For each quantity its mean ``name`` and its mean squared deviation ``name_spread2`` over the batch, and what the
    sampler says of it; with Markov chains also the series ``name_series`` (chains, n); with importance weights the
    ``ess`` (a fraction of the draws), their number ``draws``, the log of the mean weight ``log_weight`` and ``square``,
    the mean of |E_loc|².
    ``samples`` are the spins in the order of drawing, packed into words, (chains, n, ⌈N/62⌉) int64
    (:func:`pipeline.spin.bits.unpack` undoes it); ``sample_log_weights`` (1, n) beside them where they have weights.
    """
    energy = (batch.weights * local).sum()
    values = {"energy": local.real, "variance": (local - energy).abs().square(), **observables}
    kept: dict[str, Any] = {}
    for name, value in values.items():
        mean = (batch.weights * value).sum()
        kept[name] = float(mean)
        kept[f"{name}_spread2"] = float((batch.weights * (value - mean).square()).sum())
    kept |= batch.metrics
    if batch.log_weights is not None and batch.order is not None:
        of_draws = batch.log_weights[batch.order].cpu().numpy().ravel()
        draws = of_draws.size + batch.vanishing
        kept["ess"], kept["draws"] = effective_sample_size(of_draws) * of_draws.size / draws, draws
        kept["log_weight"] = float(np.logaddexp.reduce(of_draws)) - float(np.log(draws))
        kept["square"] = float((batch.weights * local.abs().square()).sum())
    if errors == "chains" and batch.order is not None:
        for name, value in {"energy": local, **observables}.items():
            kept[f"{name}_series"] = value[batch.order].cpu().numpy()
    if keep_samples and batch.order is not None:
        kept["samples"] = pack(batch.spins)[batch.order].cpu().numpy()
        if batch.log_weights is not None:
            kept["sample_log_weights"] = batch.log_weights[batch.order].cpu().numpy()
    return kept


def summarise(
    records: Sequence[Record], errors: Errors, n_sites: int, samples: int, magnetisation: int | None = None
) -> Result:
    """Estimates over all batches.

    Errors: none for exact weights, those of independent draws, with the integrated autocorrelation time of the chains,
    or from batch to batch where draws have weights. An energy from Markov chains or from weights is not called
    variational, for they may not have reached all of |ψ|². One draw has no variance.

    Args:
        records: of :func:`record`, in order.
        errors: of the sampler that drew them.
        n_sites: N.
        samples: draws a batch.
        magnetisation: Σ σz of all configurations that the sampler can reach, which is then no estimate; None: any.
    """
    if errors == "chains":
        means, notes, more = _of_chains(records)
    elif errors == "weighted":
        means, notes, more = _of_weights(records)
    else:
        means, notes, more = _of_draws(records, samples, errors == "exact"), [], []
        if errors != "exact":
            notes.append(f"{len(records) * samples} independent samples, drawn directly from |ψ|².")
    if magnetisation is not None:
        fixed = {"magnetisation": float(magnetisation), "absolute_magnetisation": abs(magnetisation) / n_sites}
        means |= {name: Mean(value, 0.0, None, means[name].n) for name, value in fixed.items()}
    bound: Bound = "stochastic" if errors in ("chains", "weighted") else "variational"
    estimates = _estimates(means, bound, n_sites)
    extra = {}
    if errors == "chains":
        series = np.concatenate([r["magnetisation_series"] for r in records], axis=1)
        extra["chain_magnetisation"] = series.mean(axis=1).tolist()
    found = doubted_by_mixing((*estimates, *more))
    return Result(found, (), (*notes, *doubts(found)), extra, "energy")


def _of_draws(records: Sequence[Record], samples: int, exact: bool) -> dict[str, Mean]:
    """Means over independent draws, or exact ones."""
    names = [name for name in ("energy", "variance", *OBSERVABLES) if name in records[0]]
    draws = len(records) * samples
    means = {name: _pooled(records, name, draws, exact) for name in names}
    # deviations from the mean of all batches, not from each batch's own
    variance = means["variance"]
    means["variance"] = replace(variance, value=variance.value + float(np.var([r["energy"] for r in records])))
    if not exact and draws < 2:
        del means["variance"]
    return means


def _of_chains(records: Sequence[Record]) -> tuple[dict[str, Mean], list[str], list[Estimate]]:
    """Chains go on from batch to batch: their series are joined.

    R-hat is given for the energy and for the magnetisation: chains stuck in states that a symmetry connects agree in
    the energy.

    Returns:
        Means by name, notes, and what else is estimated: acceptance and R-hat.
    """
    names = [name for name in OBSERVABLES if name in records[0]]
    series = {name: np.concatenate([r[f"{name}_series"] for r in records], axis=1) for name in ("energy", *names)}
    local = series["energy"]
    series["energy"], series["variance"] = local.real, np.abs(local - local.mean()) ** 2
    wanted = ("energy", "variance", *names) if local.size > 1 else ("energy", *names)
    means = {name: _chain_mean(series[name]) for name in wanted}
    chains, length = local.shape
    more = [Estimate("acceptance", float(np.mean([r["acceptance"] for r in records])), n=local.size)]
    notes, tau = [f"{chains} chains of {length} samples"], means["energy"].tau
    if tau is not None:
        notes[0] += f"; τ_int of the energy is {tau:.3g} samples: about {local.size / (2 * tau):.0f} independent ones"
    notes[0] += "."
    if length >= 4:
        for name, what in (("r_hat", "energy"), ("r_hat_magnetisation", "magnetisation")):
            r_hat = split_r_hat(series[what])
            if np.isfinite(r_hat):
                more.append(Estimate(name, r_hat, n=chains))
            else:
                notes.append(f"The {what} of no chain changes, and they disagree: its R-hat is infinite.")
    return means, notes, more


def _of_weights(records: Sequence[Record]) -> tuple[dict[str, Mean], list[str], list[Estimate]]:
    """Ratios Σ_b W_b ⟨O⟩_b / Σ_b W_b of batches b with total weights W_b, with errors by the jackknife over batches.

    The normalisation of |ψ|² over the proposal is not known: numerator and denominator are estimated from the same
    draws, and the bias of their ratio, of order 1/draws, is far below its error. Totals, not means: batches may differ
    in size.

    Returns:
        Means by name, notes, and the effective sample size.
    """
    names = [name for name in ("energy", *OBSERVABLES) if name in records[0]]
    weights, sizes, effective = worth(records)
    columns = [weights, *(weights * [r[name] for r in records] for name in (*names, "square"))]
    blocks = np.stack(columns, axis=1)

    def ratios(means: NDArray[np.float64]) -> NDArray[np.float64]:
        """Names, then the variance ⟨|E_loc|²⟩ - E²."""
        found = means[1:] / means[0]
        return np.append(found[:-1], found[-1] - found[0] ** 2)

    batches, draws = len(records), int(sizes.sum())
    doubt = doubt_of_few(batches, "batch", "batches") or doubt_of_weights(effective)
    values, sigmas = jackknife(blocks, ratios) if batches >= FEWEST_SAMPLES else (ratios(blocks.mean(axis=0)), None)
    found = {}
    for i, name in enumerate((*names, "variance")):
        sigma = None if sigmas is None or is_rounding(sigmas[i], values[i]) else float(sigmas[i])
        why = doubt if sigmas is None or sigma else doubt_of_equals(draws)
        found[name] = Mean(float(values[i]), sigma, None, draws, doubt=why)
    means = {name: found[name] for name in ("energy", "variance", *names[1:])}
    notes = [
        f"{draws} independent draws with weights, worth {effective:.0f} of |ψ|²; "
        + ("too few batches for an error." if sigmas is None else "errors by the jackknife over batches.")
    ]
    return means, notes, [Estimate("ess", effective / draws, n=batches)]


def worth(records: Sequence[Record]) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Total weights of batches up to a factor (n,), their draws (n,), and how many effective ones these are."""
    log_weights = np.array([r["log_weight"] for r in records])
    sizes = np.array([float(r["draws"]) for r in records])
    # totals, not means: batches of weighted draws may differ in size
    weights = sizes * np.exp(log_weights - log_weights.max())
    squares = sum(w**2 / (n * r["ess"]) for w, n, r in zip(weights, sizes, records, strict=True))
    return weights, sizes, float(weights.sum() ** 2 / squares)


def _chain_mean(series: NDArray[np.float64]) -> Mean:
    return correlated_mean(series) if series.shape[1] > 1 else independent_mean(series)


def _pooled(records: Sequence[Record], name: str, draws: int, exact: bool) -> Mean:
    """Mean over batches of equal size; deviations within batches and between them make its error."""
    means = np.array([r[name] for r in records])
    value = float(means.mean())
    if exact:
        return Mean(value, 0.0, None, len(records))
    squared = float(np.mean([r[f"{name}_spread2"] for r in records])) + float(means.var())
    if draws < FEWEST_SAMPLES:
        return Mean(value, None, None, draws, doubt=doubt_of_few(draws))
    if is_rounding(float(np.sqrt(squared)), value):
        return Mean(value, None, None, draws, doubt=doubt_of_equals(draws))
    return Mean(value, float(np.sqrt(squared / (draws - 1))), None, draws, doubt=doubt_of_few(draws))


def _estimates(means: dict[str, Mean], bound: Bound, n_sites: int) -> list[Estimate]:
    """Estimates of all means, and the V-score N Var(H)/E² with the error of the variance."""
    found = []
    for name, mean in means.items():
        found.append(mean.estimate(name, UNITS.get(name, "1"), bound if name == "energy" else "none"))
    energy, variance = means["energy"], means.get("variance")
    if energy.value and variance is not None:
        scale = n_sites / energy.value**2
        sigma = None if variance.sigma is None else scale * variance.sigma
        score = replace(variance, value=scale * variance.value, sigma=sigma, tau=None).estimate("v_score")
        found.insert(2, score)
    return found
