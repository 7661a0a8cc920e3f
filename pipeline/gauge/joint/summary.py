"""From weighted configurations of a joint flow to reweighted observables and the quality of the model (torch-free)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pipeline.base.contracts import Record
from pipeline.base.later import NDArray, np
from pipeline.base.numbers import rng
from pipeline.base.numbers.result import Curve, Estimate, Result
from pipeline.base.numbers.statistics import (
    FEWEST_SAMPLES,
    correlated_mean,
    doubt_of_few,
    doubts,
    effective_sample_size,
    independent_mean,
    weighted_mean,
)
from pipeline.gauge.flow.weights import Chain, ess, independence_metropolis, kl_divergence
from pipeline.gauge.joint.draws import of_batches, of_spectra, powers_of_two
from pipeline.gauge.pseudofermion.estimators import conditional_divergence, log_determinant

Numbers = NDArray[np.float64]

SERIES = ("log_gauge", "log_ratios", "log_marginal", "plaquette", "topological_charge", "correlator")
"""What records have of every configuration; (monomials, batch, draws) of the second, (batch,) of the others."""


OBSERVED = ("plaquette", "topological_charge", "correlator")
"""Of each configuration, where a record has it."""


def kept(record: Record) -> dict[str, NDArray[Any]]:
    """What is kept of the configurations of a record, for comparison with other samplers.

    Returns:
        ``log_weight`` with the stochastic determinant of all draws (Eq. 46), ``log_marginal`` where it is known, and
        those :data:`OBSERVED` that were measured; (batch,) each.
    """
    ratios = record["log_ratios"]
    found = {"log_weight": record["log_gauge"] + log_determinant(ratios, ratios.shape[2])[0]}
    return found | {name: record[name] for name in ("log_marginal", *OBSERVED) if name in record}


def quality(name: str, log_weights: Numbers) -> dict[str, float]:
    """``<name>_ess`` and ``<name>_kl`` from one batch, (n,); nothing where weights are not finite."""
    if not np.isfinite(log_weights).all():
        return {}
    return {f"{name}_ess": effective_sample_size(log_weights), f"{name}_kl": kl_divergence(log_weights)}


def reweighted(name: str, samples: Numbers, log_weights: Numbers, against: str = "") -> Estimate:
    """Σ w x / Σ w with its error by the jackknife over single samples.

    Args:
        name: of the estimate.
        samples: x of independent configurations, (n,).
        log_weights: log w up to a constant, (n,).
        against: see :class:`pipeline.base.numbers.result.Estimate`.
    """
    mean, n = weighted_mean(samples, log_weights), samples.size
    found = mean.estimate(name, bound="stochastic", against=against)
    found = replace(found, ess=n * effective_sample_size(log_weights))
    if mean.sigma is None:
        return found
    w = np.exp(log_weights - log_weights.max())
    left_out = (w @ samples - w * samples) / (w.sum() - w)
    return replace(found, sigma=float(np.sqrt((n - 1) * left_out.var())))


def divergence(name: str, log_weights: Numbers) -> Estimate:
    """D_KL(q‖p) = log ⟨w⟩ - ⟨log w⟩ of samples of q, (n,), with the error of the δ method.

    Joint weights have heavy tails: a small eigenvalue of D D† makes S, and with it -log w, as large as its inverse.
    """
    value, n = kl_divergence(log_weights), log_weights.size
    if n < FEWEST_SAMPLES:
        return Estimate(name, value, n=n, doubt=doubt_of_few(n))
    w = np.exp(log_weights - log_weights.max())
    sigma = float((w / w.mean() - log_weights).std(ddof=1) / np.sqrt(n))
    return Estimate(name, value, sigma or None, "standard-error" if sigma else "none", n=n)


def ess_by_draws(log_gauge: Numbers, log_ratios: Numbers) -> Curve:
    """ESS(N_pf) of Eq. 44 at N_pf = 1, 2, 4, ... up to the draws there are; errors from the scatter of weights.

    Each value is the mean over disjoint groups of draws, with the error of one of them, as all share their links.
    """
    draws = powers_of_two(int(log_ratios.shape[2]))
    found = [[ess(log_gauge + one) for one in log_determinant(log_ratios, n)] for n in draws]
    values = [float(np.mean([one.value for one in group])) for group in found]
    errors = [np.nan if group[0].sigma is None else group[0].sigma for group in found]
    return Curve.of("ess_by_draws", "pseudofermion draws", "ess", draws, values, errors)


def summarise(records: Sequence[Record]) -> Result:
    """Reweighted observables with the stochastic determinant of all draws (Eq. 46), and with the exact one if known.

    Args:
        records: see :meth:`pipeline.gauge.joint.method.JointFlowTraining.measure`.

    Returns:
        Estimates ``plaquette``, for U(1) ``topological_charge`` and ``topological_susceptibility`` ⟨Q²⟩/V, and
        ``correlator`` C(x_0) where it was measured; ``joint_ess`` at N_pf = 1, ``ess_all_draws`` at that of the
        inference if larger, ``joint_kl``; with exact determinants ``plaquette_exact_weights`` and the like,
        ``marginal_ess``, ``marginal_kl`` and ``conditional_kl``; of chains ``acceptance`` with all draws,
        ``acceptance_one_draw``, ``plaquette_metropolis`` and for U(1) ``topological_charge_metropolis`` and
        ``topological_susceptibility_metropolis``. Curve ``ess_by_draws``. Besides what
        :mod:`pipeline.gauge.joint.draws` makes. A note on updates of the training that were skipped.
    """
    names = [name for name in SERIES if name in records[0]]
    series = {name: np.concatenate([r[name] for r in records], axis=int(name == "log_ratios")) for name in names}
    log_gauge, log_ratios = series["log_gauge"], series["log_ratios"]
    draws = log_ratios.shape[2]
    log_joint = log_gauge + log_ratios[..., 0].sum(axis=0)
    log_w = log_gauge + log_determinant(log_ratios, draws)[0]
    observed = _observables(series, float(records[0]["volume"]))
    estimates = [reweighted(name, x, log_w) for name, x in observed.items()]
    estimates += [replace(ess(log_joint), name="joint_ess"), divergence("joint_kl", log_joint)]
    if draws > 1:
        estimates.append(replace(ess(log_w), name="ess_all_draws"))
    if "log_marginal" in series:
        estimates += _of_exact_weights(observed, series["log_marginal"])
        log_det = series["log_marginal"] - log_gauge
        each = conditional_divergence(log_det, log_ratios, float(records[0]["log_volume"]))
        estimates.append(independent_mean(each).estimate("conditional_kl"))
    if records[0]["metropolis"]:
        estimates += _of_chain(observed, log_w, log_joint, int(records[0]["seed"]))
    curves = [ess_by_draws(log_gauge, log_ratios)]
    for found, more in (of_batches(records), of_spectra(records)):
        estimates += found
        curves += more
    return Result(tuple(estimates), tuple(curves), (*doubts(estimates), *_skipped(records)))


def _skipped(records: Sequence[Record]) -> list[str]:
    count = int(records[0].get("skipped_steps", 0))
    return [f"{count} update(s) of the training were skipped: solves or gradients failed."] if count else []


def _observables(series: dict[str, Numbers], volume: float) -> dict[str, Numbers]:
    found = {"plaquette": series["plaquette"]}
    if "topological_charge" in series:
        charge = series["topological_charge"].astype(float)
        found |= {"topological_charge": charge, "topological_susceptibility": charge**2 / volume}
    if "correlator" in series:
        found["correlator"] = series["correlator"]
    return found


def _of_exact_weights(observed: dict[str, Numbers], log_marginal: Numbers) -> list[Estimate]:
    again = [
        reweighted(f"{name}_exact_weights", x, log_marginal, against=name)
        for name, x in observed.items()
        if name != "topological_charge"
    ]
    return [
        *again,
        replace(ess(log_marginal), name="marginal_ess"),
        divergence("marginal_kl", log_marginal),
    ]


def _of_chain(observed: dict[str, Numbers], log_w: Numbers, log_joint: Numbers, seed: int) -> list[Estimate]:
    """Of independence Metropolis with unbiased estimates of weights (pseudomarginal where there are determinants)."""
    chain = independence_metropolis(log_w, rng.numpy_generator(seed, "joint flow metropolis"))
    single = independence_metropolis(log_joint, rng.numpy_generator(seed, "joint flow metropolis, one draw"))
    means = {name: correlated_mean(x[chain.positions][None]) for name, x in observed.items() if name != "correlator"}
    return [
        *(_acceptance(name, one) for name, one in (("acceptance", chain), ("acceptance_one_draw", single))),
        *(mean.estimate(f"{name}_metropolis", bound="stochastic", against=name) for name, mean in means.items()),
    ]


def _acceptance(name: str, chain: Chain) -> Estimate:
    """With the error that rejections, which come in rows, leave."""
    if len(chain.accepted) < 3:
        return Estimate(name, chain.acceptance, n=len(chain.accepted) - 1)
    found = correlated_mean(chain.accepted[None, 1:].astype(float)).estimate(name)
    return replace(found, n=len(chain.accepted) - 1)
