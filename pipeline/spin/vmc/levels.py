"""Levels of a determinant of K states: the energy matrix averaged, then diagonalised (NIR paper, Eq. 3).

Its eigenvalues are Ritz values of the space that the states span: with exact averages each is an upper bound of the
level of its number, with draws only their sum is one on average.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.base.contracts import Record
from pipeline.base.numbers.result import Bound, Estimate, Result
from pipeline.base.numbers.statistics import (
    FEWEST_SAMPLES,
    Mean,
    doubt_of_equals,
    doubt_of_few,
    doubt_of_weights,
    doubted_by_mixing,
    doubts,
    is_rounding,
    jackknife,
)
from pipeline.spin.sampler.contract import Errors
from pipeline.spin.vmc.inference import OBSERVABLES, UNITS, worth

SAME_LEVEL = 1e-6
"""Levels closer than this, relative to the largest, or than three errors, are one: observables of its states mix."""


def of_several_states(
    result: Result, records: Sequence[Record], errors: Errors, states: int, magnetisation: int | None
) -> Result:
    """The result of a determinant, from that of its trace taken for an energy.

    ``trace``, the headline, stands for the energy of K copies; V-score and variance are its own. Observables are those
    of each state, but for those that are fixed by ``magnetisation``, Σ σz of all configurations.
    """
    fixed = () if magnetisation is None else ("magnetisation", "absolute_magnetisation")
    names = ("energy", *(name for name in OBSERVABLES if name in records[0]))
    levels, notes = estimates(records, errors, names, fixed)
    before: list[Estimate] = []
    for one in result.estimates:
        if one.name == "energy":
            before.append(replace(one, name="trace"))
        elif one.name == "v_score":
            before.append(one.scaled(states, "1"))
        elif one.name not in OBSERVABLES or one.name in fixed:
            before.append(one)
    found = doubted_by_mixing((*before, *levels))
    told = [note for note in result.notes if not note.startswith("Errors unknown")]
    return replace(result, estimates=found, notes=(*told, *notes, *doubts(found)), headline="trace")


def estimates(
    records: Sequence[Record], errors: Errors, names: Sequence[str], left_out: Sequence[str] = ()
) -> tuple[list[Estimate], list[str]]:
    """K levels and observables of their states, with errors by the jackknife over chains or batches, and notes.

    ``energy``, ``energy_1``, ... in ascending order, and every observable in the same way; ``overlap_0_1``, ... of the
    single states. Averages are over all records, weighted by the sum of their weights where draws have any; only then
    is the matrix diagonalised.

    Args:
        records: of :func:`pipeline.spin.vmc.matrices.record_matrices`; with ``log_weight`` and ``draws`` if weighted.
        errors: of the sampler.
        names: of the operators, ``energy`` first.
        left_out: names that are not reported.
    """
    blocks, weights, unit = _blocks(records, errors)
    states = blocks.shape[-1]

    def solve(means: NDArray[np.float64]) -> NDArray[np.float64]:
        return _levels((means[1:].view(complex) / means[0]).reshape(blocks.shape[1:])).ravel()

    flat = np.ascontiguousarray((weights[:, None] * blocks.reshape(len(blocks), -1)).view(float))
    columns = np.concatenate([weights[:, None], flat], axis=1)
    exact = errors == "exact"
    doubt = "" if exact else doubt_of_few(len(blocks), *unit) or _doubt_of_weights(records, errors)
    if exact or len(blocks) < FEWEST_SAMPLES:
        values, sigmas = solve(columns.mean(0)).reshape(-1, states), None
    else:
        values, sigmas = (x.reshape(-1, states) for x in jackknife(columns, solve))
    bound: Bound = "variational" if exact else "stochastic"
    found = []
    for q, name in enumerate(names):
        for n in range(0 if name in left_out else states):
            value, sigma, why = float(values[q, n]), 0.0 if exact else None, doubt
            if sigmas is not None:
                sigma = None if is_rounding(sigmas[q, n], value) else float(sigmas[q, n])
                why = doubt if sigma else doubt_of_equals(len(blocks))
            level = name == "energy"
            # noise drives levels apart; without any they are what they are
            mixed = "" if level and exact else _mixed(n, values[0], None if sigmas is None else sigmas[0])
            mean = Mean(value, sigma, None, len(blocks), doubt=why or mixed)
            called = f"{name}_{n}" if n else name
            found.append(mean.estimate(called, UNITS.get(name, "1"), bound if level else "none"))
    over = f"{len(blocks)} {unit[len(blocks) > 1]}"
    notes = [] if exact else [f"Levels: the matrix of energies averaged over {over}, then diagonalised."]
    overlaps, more = _overlap_estimates(records, errors)
    return found + overlaps, notes + more


def _blocks(records: Sequence[Record], errors: Errors) -> tuple[NDArray[Any], NDArray[Any], tuple[str, str]]:
    """Complex matrices of blocks (n, operators, K, K) in one basis, their weights (n,), and what a block is called."""
    first = records[0]["columns"]
    rebased = []
    for one in records:
        factor = np.exp(one["columns"] - first)
        rebased.append(np.asarray(one["matrices"]).astype(complex) * (factor / factor[:, None]))
    if errors == "chains":
        chains = np.mean(rebased, axis=0)
        return chains, np.ones(len(chains)), ("chain", "chains")
    batches = np.stack([one.mean(axis=0) for one in rebased])
    weights = worth(records)[0] if errors == "weighted" else np.ones(len(batches))
    return batches, weights, ("batch", "batches")


def _doubt_of_weights(records: Sequence[Record], errors: Errors) -> str:
    return doubt_of_weights(worth(records)[2]) if errors == "weighted" else ""


def _levels(mean: NDArray[np.complex128]) -> NDArray[np.float64]:
    """Eigenvalues of the first of (operators, K, K), ascending, and diagonals of all others in its eigenbasis."""
    values, vectors = np.linalg.eig(mean[0])
    order = np.argsort(values.real, kind="stable")
    vectors = vectors[:, order]
    found = [values.real[order]]
    for matrix in mean[1:]:
        found.append(np.diagonal(np.linalg.lstsq(vectors, matrix @ vectors, rcond=None)[0]).real)
    return np.array(found)


def _mixed(n: int, levels: NDArray[np.float64], sigmas: NDArray[np.float64] | None) -> str:
    """Why a level ``n`` that is drawn and its observables say little: another level is the same as far as is known."""
    for m in range(len(levels)):
        least = SAME_LEVEL * float(np.abs(levels).max())
        if sigmas is not None:
            least = max(least, 3 * float(np.hypot(sigmas[n], sigmas[m])))
        if m != n and abs(levels[n] - levels[m]) <= least:
            return f"levels {min(n, m)} and {max(n, m)} are the same within errors, and their states mix"
    return ""


def _overlap_estimates(records: Sequence[Record], errors: Errors) -> tuple[list[Estimate], list[str]]:
    """|⟨ψ_i|ψ_j⟩|, normalised, of the matrix of overlaps averaged over all records, and what is to be said of it.

    Errors by the jackknife over groups of chains or over batches.
    """
    if any("overlap_matrix" not in one for one in records):  # of before they were kept with their phases
        return [], []
    unknown = sum(not np.isfinite(one["overlap_matrix"]).all() for one in records)
    if unknown:
        of = f"{unknown} of {len(records)} batch{'' if len(records) == 1 else 'es'}"
        return [], [f"Overlaps unknown: amplitudes of single states are not finite in {of}."]
    wholes = np.stack([_in_first_basis(one["overlap_matrix"], one, records[0]) for one in records])
    values, sigmas, n, unit = _overlap_errors(records, wholes, errors)
    few = doubt_of_few(n, *unit) or _doubt_of_weights(records, errors)
    found, states = [], wholes.shape[1]
    for i in range(states):
        for j in range(i + 1, states):
            sigma, doubt = (0.0, "") if errors == "exact" else (None, few)
            if errors != "exact" and sigmas is not None:
                # of the unit of an overlap, for itself it may be 0
                sigma = None if is_rounding(sigmas[i, j], 1.0) else float(sigmas[i, j])
                doubt = few if sigma else doubt_of_equals(n)
            found.append(Mean(float(values[i, j]), sigma, None, n, doubt=doubt).estimate(f"overlap_{i}_{j}"))
    return found, []


def _overlap_errors(
    records: Sequence[Record], wholes: NDArray[Any], errors: Errors
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None, int, tuple[str, str]]:
    """Normalised overlaps (K, K), their errors if there are blocks enough, the number of blocks and what they are."""
    if errors == "chains":
        value, n = _normalised(wholes.mean(0)), 1
        if all("overlap_matrices_without" in one for one in records):
            left_out = np.mean([_in_first_basis(r["overlap_matrices_without"], r, records[0]) for r in records], axis=0)
            n = len(left_out)
        if n < FEWEST_SAMPLES:
            return value, None, n, ("chain", "chains")
        sigmas = np.sqrt((n - 1) * np.stack([_normalised(one) for one in left_out]).var(axis=0))
        return value, sigmas, n, ("chain", "chains")
    weights = worth(records)[0] if errors == "weighted" else np.ones(len(records))
    flat = np.ascontiguousarray((weights[:, None] * wholes.reshape(len(wholes), -1)).view(float))
    # a factor of all of it drops out
    means = flat / weights.sum()

    def solve(mean: NDArray[np.float64]) -> NDArray[np.float64]:
        return _normalised(mean.view(complex).reshape(wholes.shape[1:]))

    if errors == "exact" or len(records) < FEWEST_SAMPLES:
        return solve(means.mean(0)), None, len(records), ("batch", "batches")
    values, sigmas = jackknife(means, solve)
    return values, sigmas, len(records), ("batch", "batches")


def _in_first_basis(overlaps: Any, one: Record, first: Record) -> NDArray[np.complex128]:
    """Overlaps (..., K, K) of a record in the basis of another one, the mean of their diagonals 1."""
    factor = np.exp(one["columns"] - first["columns"])
    found = np.asarray(overlaps).astype(complex) * (factor[:, None] * factor)
    scale = np.diagonal(found, axis1=-2, axis2=-1).real.mean(-1)
    rebased: NDArray[np.complex128] = found / scale[..., None, None]
    return rebased


def _normalised(overlaps: NDArray[np.complex128]) -> NDArray[np.float64]:
    """|S_ij|/sqrt(S_ii S_jj)."""
    norms = np.sqrt(np.diagonal(overlaps).real)
    found: NDArray[np.float64] = np.abs(overlaps) / np.outer(norms, norms)
    return found
