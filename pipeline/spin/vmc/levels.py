"""Levels of a determinant of K states: matrices Ψ⁻¹ O Ψ of a batch, averaged and then diagonalised (NIR paper, Eq. 3).

⟨Ψ⁻¹ O Ψ⟩ over |Ψ|² is S⁻¹ O, with S and O the matrices of overlaps and of the operator between the single states: the
operator within the space that they span, in a basis that is not orthonormal. Its eigenvalues for O = H are Ritz values:
with exact averages each is an upper bound of the level of its number, with draws only their sum is one on average.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.base.contracts import Record
from pipeline.base.numbers.result import Bound, Estimate, Result
from pipeline.base.numbers.statistics import (
    FEWEST_SAMPLES,
    doubt_of_equals,
    doubt_of_few,
    doubted_by_mixing,
    doubts,
    is_rounding,
    jackknife,
)
from pipeline.spin.ansatz.determinant import Determinant, cofactors
from pipeline.spin.bits import distinct, pack
from pipeline.spin.chunks import Chunks, in_chunks
from pipeline.spin.hamiltonian import Hamiltonian
from pipeline.spin.sampler.contract import Batch, Errors
from pipeline.spin.vmc.inference import OBSERVABLES

SAME_LEVEL = 1e-6
"""Levels closer than this, relative to their size, or than three errors, are one: observables of its states mix."""

ITERATIONS = 200
"""Most of the fixed-point iteration for overlaps, which gains a digit in a few."""


@dataclass(frozen=True)
class Matrices:
    """Of a batch of B configurations of K copies.

    Attributes:
        of: Ψ⁻¹ O Ψ by the name of the operator, ``energy`` first, (B, K, K) float64 or complex128, in states ψ_j e^{-c_j}.
        columns: c, (K,).
        overlaps: |⟨ψ_i|ψ_j⟩| of the single states, normalised, (K, K).
    """

    of: dict[str, Tensor]
    columns: Tensor
    overlaps: Tensor

    @property
    def local_energy(self) -> Tensor:
        """tr(Ψ⁻¹ H Ψ), the local energy of K copies, (B,)."""
        return self.of["energy"].diagonal(dim1=1, dim2=2).sum(-1)


@torch.no_grad()
def matrices(
    hamiltonian: Hamiltonian,
    determinant: Determinant,
    batch: Batch,
    diagonals: Mapping[str, Tensor],
    chunks: Chunks,
) -> Matrices:
    """Ψ⁻¹ O Ψ of every configuration, for H and for operators that are diagonal in σz.

    Written with cofactors, (1/Ψ) Σ_k C_ki (Oψ_j)(s^k): where Ψ vanishes and weights are |Ψ|² itself, Ψ counts as the
    floor of the batch, as in :func:`pipeline.spin.vmc.local_energy.local_energy`.

    Args:
        hamiltonian: of one copy.
        batch: spins (B, K N), weights and floor.
        diagonals: values on every copy of every configuration, (B, K) float64.
        chunks: keeps the evaluations within memory.
    """
    size = determinant.states
    rows = batch.spins.reshape(-1, determinant.n_sites)
    words = pack(rows)
    _, first, inverse = distinct(words)
    some = rows[first]
    logs = in_chunks(chunks, "single amplitudes", determinant.single_log_amplitudes, some)
    columns = _columns(logs[inverse].real.double(), batch.weights.repeat_interleave(size))
    largest, moved = _moved(hamiltonian, determinant, some, logs, columns, chunks)
    own = _finite((logs.real.double() - columns).amax(1))
    here = determinant.plain(logs, logs.real.double() - columns - own[:, None])
    there = moved * (largest - own).exp()[:, None]
    entries = here[inverse].view(-1, size, size)
    factors = _inverse(entries, own[inverse].view(-1, size).sum(1) + columns.sum(), batch.log_floor)
    found = {"energy": factors @ there[inverse].view(-1, size, size)}
    for name, values in diagonals.items():
        found[name] = factors @ (values[:, :, None] * entries)
    return Matrices(found, columns, _overlaps(here[inverse], batch.weights.repeat_interleave(size) / size))


def _moved(
    hamiltonian: Hamiltonian, determinant: Determinant, rows: Tensor, logs: Tensor, columns: Tensor, chunks: Chunks
) -> tuple[Tensor, Tensor]:
    """(Hψ_j)(s) e^{-c_j} of rows (R, N) as a logarithm of its scale (R,) and numbers (R, K)."""
    masks, diagonal = hamiltonian.flip_masks, hamiltonian.diagonal(rows)
    scales, values = [], []

    def body(begin: int, size: int) -> int:
        part = slice(begin, begin + max(1, size // max(1, len(masks))))
        here = logs[part]
        magnitudes = here.real.double() - columns
        scale = magnitudes.amax(1)
        elements = hamiltonian.off_diagonal(rows[part])
        if len(masks) and bool(elements.any()):
            connected = determinant.single_connected(rows[part], masks, elements != 0)
            away = connected.real.double() - columns
            away = torch.where((elements != 0)[:, :, None], away, -torch.inf)
            scale = _finite(torch.maximum(scale, away.flatten(1).amax(1)))
            moves = determinant.plain(connected, away - scale[:, None, None])
            total = (elements[:, :, None] * moves).sum(1)
        else:
            scale, total = _finite(scale), torch.zeros((), dtype=torch.float64, device=rows.device)
        stays = determinant.plain(here, magnitudes - scale[:, None])
        scales.append(scale)
        values.append(diagonal[part, None] * stays + total)
        return min(part.stop, len(rows))

    def probe() -> None:
        if len(masks):
            wanted = torch.ones((2, len(masks)), dtype=torch.bool, device=rows.device)
            determinant.single_connected(rows[:1].expand(2, -1), masks, wanted)

    chunks.run("single connected amplitudes", len(rows), body, probe, 2 * max(1, len(masks)))
    return torch.cat(scales), torch.cat(values)


def _inverse(entries: Tensor, scale: Tensor, floor: Tensor | None) -> Tensor:
    """C^T/Ψ of scaled entries (B, K, K) with |Ψ| e^{scale} of at least e^{floor}; infinite where Ψ = 0 without one."""
    sign, magnitude = torch.linalg.slogdet(entries)
    if floor is not None:
        magnitude = magnitude.maximum(floor - scale)
        sign = torch.where(sign == 0, torch.ones_like(sign), sign)
    return cofactors(entries).mT * (sign.conj() * (-magnitude).exp())[:, None, None]


def _columns(magnitudes: Tensor, weights: Tensor) -> Tensor:
    """c_j, (K,): the mean of log|ψ_j| over rows (R, K), which takes differences in norm out of the states."""
    known = magnitudes > -torch.inf
    total = (weights[:, None] * known).sum(0)
    mean = (weights[:, None] * torch.where(known, magnitudes, 0.0)).sum(0) / total
    return torch.where(total > 0, mean, 0.0)


def _overlaps(amplitudes: Tensor, weights: Tensor) -> Tensor:
    """|S_ij|/sqrt(S_ii S_jj) of single states with amplitudes (R, K), up to a factor a row, at rows of |Ψ|².

    A copy has the density ψ† S⁻¹ ψ / K, so that S = K ⟨ψ* ψᵀ / (ψ† S⁻¹ ψ)⟩, whose solution is unique up to a factor
    (Tyler, Ann. Statist. 15, 234 (1987)): found by iteration.
    """
    size = amplitudes.shape[1]
    weights = weights / weights.sum()
    overlaps = torch.eye(size, dtype=amplitudes.dtype, device=amplitudes.device)
    for _ in range(ITERATIONS):
        inverse = torch.linalg.pinv(overlaps, hermitian=True)
        density = ((amplitudes @ inverse) * amplitudes.conj()).sum(1).real.clamp(min=1e-300)
        before = overlaps
        overlaps = (amplitudes.mT * (weights / density)) @ amplitudes.conj()
        overlaps = 0.5 * (overlaps + overlaps.mH)
        overlaps = overlaps / overlaps.diagonal().real.mean()
        if (overlaps - before).abs().max() < 1e-12:
            break
    norms = overlaps.diagonal().real.sqrt()
    return overlaps.abs() / (norms[:, None] * norms)


def record_matrices(batch: Batch, found: Matrices, errors: Errors) -> dict[str, Any]:
    """What is kept of the matrices of a batch: ``matrices`` (blocks, operators, K, K), ``columns`` and ``overlaps``.

    A block is a Markov chain, else the batch. Operators in the order of ``found``.
    """
    all_of_them = torch.stack(list(found.of.values()), 1)
    if errors == "chains" and batch.order is not None:
        blocks = torch.stack([all_of_them[chain].mean(0) for chain in batch.order])
    else:
        blocks = torch.einsum("b,bqij->qij", batch.weights.to(all_of_them.dtype), all_of_them)[None]
    arrays = {"matrices": blocks, "columns": found.columns, "overlaps": found.overlaps}
    return {name: array.cpu().numpy() for name, array in arrays.items()}


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
    single states. Averages are over all records, weighted by their ``log_weight`` where draws have weights; only then
    is the matrix diagonalised.

    Args:
        records: of :func:`record_matrices`, with the ``log_weight`` of weighted draws.
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
            kind = "standard-error" if sigma else "none"
            own: Bound = bound if level else "none"
            unit_of = "total" if name in ("energy", "magnetisation") else "1"
            called = f"{name}_{n}" if n else name
            found.append(
                Estimate(called, value, sigma, kind, unit=unit_of, bound=own, n=len(blocks), doubt=why or mixed)
            )
    notes = [] if exact else [f"Levels: the matrix of energies averaged over {len(blocks)} {unit[1]}, then diagonalised."]
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
    return batches, np.exp(logs - logs.max()), ("batch", "batches")


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
            kind = "standard-error" if sigma else "none"
            found.append(Estimate(f"overlap_{i}_{j}", value, sigma, kind, n=len(series), doubt=doubt))
    return found


def _finite(logs: Tensor) -> Tensor:
    """Scales: 0 in place of -∞."""
    return torch.where(logs == -torch.inf, 0.0, logs)
