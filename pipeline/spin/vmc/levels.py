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
    doubted_by_mixing,
    doubts,
    is_rounding,
    jackknife,
)
from pipeline.spin.sampler.contract import Errors
from pipeline.spin.vmc.inference import OBSERVABLES, UNITS

SAME_LEVEL = 1e-6
"""Levels closer than this, relative to their size, or than three errors, are one: observables of its states mix."""


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
    doubt = "" if exact else doubt_of_few(len(blocks), *unit)
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
            mixed = "" if level else _mixed(n, values[0], None if sigmas is None else sigmas[0])
            mean = Mean(value, sigma, None, len(blocks), doubt=why or mixed)
            called = f"{name}_{n}" if n else name
            found.append(mean.estimate(called, UNITS.get(name, "1"), bound if level else "none"))
    over = f"{len(blocks)} {unit[len(blocks) > 1]}"
    notes = [] if exact else [f"Levels: the matrix of energies averaged over {over}, then diagonalised."]
    return found + _overlap_estimates(records, exact), notes


def _blocks(records: Sequence[Record], errors: Errors) -> tuple[NDArray[Any], NDArray[Any], tuple[str, str]]:
    """Complex matrices of blocks (n, operators, K, K) in one basis, their weights (n,), and what a block is called."""
    first = records[0]["columns"]
    rebased = []
    for one in records:
        factor = np.exp(one["columns"] - first)
        rebased.append(np.asarray(one["matrices"]).astype(complex) * (factor / factor[:, None]))
    if errors == "chains" and len(rebased[0]) >= FEWEST_SAMPLES:
        chains = np.mean(rebased, axis=0)
        return chains, np.ones(len(chains)), ("chain", "chains")
    batches = np.stack([one.mean(axis=0) for one in rebased])
    logs = np.array([float(one.get("log_weight", 0.0)) for one in records])
    # totals, not means: batches of weighted draws may differ in size
    sizes = np.array([float(one.get("draws", 1)) for one in records])
    return batches, sizes * np.exp(logs - logs.max()), ("batch", "batches")


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
    """Why an observable of level ``n`` says nothing: another level is the same as far as is known."""
    for m in range(len(levels)):
        least = SAME_LEVEL * abs(levels[n])
        if sigmas is not None:
            least = max(least, 3 * float(np.hypot(sigmas[n], sigmas[m])))
        if m != n and abs(levels[n] - levels[m]) <= least:
            return f"levels {min(n, m)} and {max(n, m)} are the same within errors, and their states mix"
    return ""


def _overlap_estimates(records: Sequence[Record], exact: bool) -> list[Estimate]:
    """Means over batches of |⟨ψ_i|ψ_j⟩|, normalised."""
    overlaps = np.stack([np.asarray(one["overlaps"]) for one in records])
    few = len(records) < FEWEST_SAMPLES
    found = []
    for i in range(overlaps.shape[1]):
        for j in range(i + 1, overlaps.shape[1]):
            series = overlaps[:, i, j]
            value = float(series.mean())
            sigma = 0.0 if exact else None if few else float(series.std(ddof=1) / np.sqrt(len(series)))
            doubt = "" if exact else doubt_of_few(len(series), "batch", "batches")
            found.append(Mean(value, sigma, None, len(series), doubt=doubt).estimate(f"overlap_{i}_{j}"))
    return found
