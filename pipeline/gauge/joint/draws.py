"""What more draws of pseudofermions are worth: ESS(N_pf) batch by batch, its limit, and what spectra say of it.

Torch-free. Arrays are those of :meth:`pipeline.gauge.joint.method.JointFlowTraining.measure`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pipeline.base.contracts import Record
from pipeline.base.later import NDArray, np
from pipeline.base.numbers.result import Curve, Estimate
from pipeline.base.numbers.statistics import doubt_of_few, effective_sample_size, independent_mean, jackknife
from pipeline.gauge.pseudofermion.estimators import ess_of_draws, expected_inverse_ess, fit_inverse_ess

Numbers = NDArray[np.float64]

SPECTRA = ("condition_numbers", "smallest_eigenvalues", "weight_variances", "divergences", "log_normalisers")
"""Of :func:`pipeline.gauge.joint.conditional.exact_conditional`, (monomials, batch)."""

QUANTILES = 41
"""Points of a distribution that is kept."""

BINS = 8
"""Of configurations, by the predicted second moment of their weights."""

BLOCKS = 20
"""Of configurations, for the error of a median."""


def powers_of_two(draws: int) -> list[int]:
    """N_pf = 1, 2, 4, ... up to ``draws``."""
    return [2**i for i in range(draws.bit_length())]


def of_batches(records: Sequence[Record]) -> tuple[list[Estimate], list[Curve]]:
    """ESS(N_pf) as the mean over batches with the standard error over them, as in Fig. 3, and where it tends to.

    Returns:
        Nothing of a single batch or a single draw. Else ``ess_rise``, ESS at most draws less that at one, and for the
        degrees 1 (Eq. 45) and N_h + 1 that there are points for ``ess_limit_<degree>``, ESS(∞) of the polynomial in
        1/N_pf fitted to 1/ESS; with exact weights ``marginal_ess_of_batches``, and the limits less that. Curve
        ``ess_by_draws_of_batches``.
    """
    draws = powers_of_two(records[0]["log_ratios"].shape[2])
    if len(records) < 2 or len(draws) < 2:
        return [], []
    table = np.array([[ess_of_draws(r["log_gauge"], r["log_ratios"], n).mean() for n in draws] for r in records])
    errors = table.std(axis=0, ddof=1) / np.sqrt(len(table))
    curve = Curve.of("ess_by_draws_of_batches", "pseudofermion draws", "ess", draws, table.mean(axis=0), errors)
    estimates = [independent_mean(table[:, -1] - table[:, 0]).estimate("ess_rise")]
    marginal = None
    if "log_marginal" in records[0]:
        marginal = np.array([effective_sample_size(r["log_marginal"]) for r in records])
        estimates.append(independent_mean(marginal).estimate("marginal_ess_of_batches"))
    if (errors > 0.0).all():
        for degree in sorted({1, len(records[0]["log_ratios"])}):
            if degree < len(draws):
                estimates += _limits(draws, table, errors, degree, marginal)
    return estimates, [curve]


def _limits(
    draws: Sequence[int], table: Numbers, errors: Numbers, degree: int, marginal: Numbers | None
) -> list[Estimate]:
    """ESS(∞) of a fit to the mean over batches, errors by the jackknife over batches: points share their links."""

    def limit(row: Numbers) -> Numbers:
        found = fit_inverse_ess(draws, row[: len(draws)], errors, degree).marginal_ess
        return np.array([found, found - row[-1]])

    blocks = table if marginal is None else np.column_stack([table, marginal])
    values, sigmas = jackknife(blocks, limit)
    names = [f"ess_limit_{degree}"] + ([f"ess_limit_{degree}_less_marginal"] if marginal is not None else [])
    doubt = doubt_of_few(len(table), "batch", "batches")
    return [
        Estimate(name, float(value), float(sigma) or None, "standard-error", n=len(table), doubt=doubt)
        for name, value, sigma in zip(names, values, sigmas, strict=False)
    ]


def of_spectra(records: Sequence[Record]) -> tuple[list[Estimate], list[Curve]]:
    """What exact spectra of some configurations of each batch say; nothing where there are none.

    Returns:
        ``condition_number_monomial_<i>`` with ``_median`` and ``_max``; ``conditional_kl_exact``, the mean over links,
        and ``conditional_kl_median``, which near-zero modes of few of them do not carry; ``infinite_variance``, the
        share of configurations with an s <= 1/2, where weights have no variance; ``dirac_applications`` of one draw
        of all monomials, where they were counted. Curves
        ``smallest_eigenvalue``, the share of configurations below each s; of configurations whose weights have a
        variance ``weight_second_moment``, measured ⟨w²⟩ against Π s²/(2s - 1) of all monomials, both with ⟨w⟩ = 1,
        and ESS(N_pf) ``ess_by_draws_finite``, beside it ``expected_ess_by_draws_finite``.
    """
    if SPECTRA[0] not in records[0]:
        return [], []
    spectra = {name: np.concatenate([r[name] for r in records], axis=1) for name in SPECTRA}
    estimates = []
    for i, values in enumerate(spectra["condition_numbers"]):
        estimates += _condition_numbers(f"condition_number_monomial_{i}", values)
    smallest = spectra["smallest_eigenvalues"].min(axis=0)
    divergences = spectra["divergences"].sum(axis=0)
    estimates.append(independent_mean(divergences).estimate("conditional_kl_exact"))
    estimates.append(_median("conditional_kl_median", divergences))
    estimates.append(independent_mean(smallest <= 0.5).estimate("infinite_variance"))
    counts = [r["dirac_applications"] for r in records if "dirac_applications" in r]
    if len(counts) == len(records):
        estimates.append(independent_mean(np.concatenate(counts)).estimate("dirac_applications"))
    shares = np.linspace(0.0, 1.0, min(QUANTILES, smallest.size))
    curves = [
        Curve.of("smallest_eigenvalue", "smallest s", "share of configurations", np.quantile(smallest, shares), shares)
    ]
    finite = np.isfinite(spectra["weight_variances"]).all(axis=0)
    if "log_marginal" in records[0] and finite.sum() >= BINS:
        curves += _of_finite(records, spectra, finite)
    return estimates, curves


def _condition_numbers(name: str, values: Numbers) -> list[Estimate]:
    return [
        independent_mean(values).estimate(name),
        _median(f"{name}_median", values),
        Estimate(f"{name}_max", float(values.max()), n=values.size),
    ]


def _median(name: str, values: Numbers) -> Estimate:
    """Of independent configurations; its error from the medians of blocks."""
    blocks = [np.median(block) for block in np.array_split(values, min(BLOCKS, values.size))]
    return replace(independent_mean(blocks), value=float(np.median(values)), n=values.size).estimate(name)


def _of_finite(records: Sequence[Record], spectra: dict[str, Numbers], finite: NDArray[np.bool_]) -> list[Curve]:
    """Predictions for configurations over which the variance of weights is finite, and what their draws show."""
    counts = [r[SPECTRA[0]].shape[1] for r in records]
    log_ratios = np.concatenate([r["log_ratios"][:, :n] for r, n in zip(records, counts, strict=True)], axis=1)
    log_gauge, log_marginal = (
        np.concatenate([r[name][:n] for r, n in zip(records, counts, strict=True)])[finite]
        for name in ("log_gauge", "log_marginal")
    )
    log_ratios, variances = log_ratios[:, finite], spectra["weight_variances"][:, finite]
    log_w = (log_ratios - spectra["log_normalisers"][:, finite, None]).sum(axis=0)
    draws = powers_of_two(log_ratios.shape[2])
    measured = [float(ess_of_draws(log_gauge, log_ratios, n).mean()) for n in draws]
    expected = 1.0 / expected_inverse_ess(log_marginal, variances, draws)
    return [
        _second_moments(np.prod(1.0 + variances, axis=0), np.exp(2.0 * log_w).mean(axis=1)),
        Curve.of("ess_by_draws_finite", "pseudofermion draws", "ess", draws, measured),
        Curve.of("expected_ess_by_draws_finite", "pseudofermion draws", "ess", draws, expected),
    ]


def _second_moments(predicted: Numbers, measured: Numbers) -> Curve:
    """Means over configurations of similar prediction, with standard errors."""
    bins = np.array_split(np.argsort(predicted), min(BINS, predicted.size))
    means = [independent_mean(measured[chosen]) for chosen in bins]
    return Curve.of(
        "weight_second_moment",
        "predicted second moment",
        "measured second moment",
        [predicted[chosen].mean() for chosen in bins],
        [mean.value for mean in means],
        [np.nan if mean.sigma is None else mean.sigma for mean in means],
    )
