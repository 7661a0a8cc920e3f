"""Matrices Ψ⁻¹ O Ψ of a determinant of K states over a batch of configurations (NIR paper, Eq. 3).

⟨Ψ⁻¹ O Ψ⟩ over |Ψ|² is S⁻¹ O, with S and O the matrices of overlaps and of the operator between the single states: the
operator within the space that they span, in a basis that is not orthonormal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pipeline.spin.ansatz.determinant import Determinant, cofactors
from pipeline.spin.bits import distinct, pack
from pipeline.spin.chunks import Chunks, in_chunks
from pipeline.spin.hamiltonian import Hamiltonian
from pipeline.spin.sampler.contract import Batch, Errors

ITERATIONS, CLOSE = 2000, 1e-11
"""Most steps of the fixed-point iteration for overlaps, and the change at which it ends."""

GROUPS, CLOSE_ENOUGH = 10, 1e-6
"""Most groups of chains without which overlaps are solved, one at a time, and the change at which that ends."""


@dataclass(frozen=True)
class Matrices:
    """Of a batch of B configurations of K copies.

    Attributes:
        of: Ψ⁻¹ O Ψ in states ψ_j e^{-c_j}, by the name of the operator, ``energy`` first, (B, K, K) float64 or
            complex128.
        columns: c, (K,).
        overlaps: ⟨ψ_i|ψ_j⟩ of the states ψ_j e^{-c_j}, up to a factor that makes the mean of its diagonal 1, (K, K)
            float64 or complex128; NaN where an amplitude is not finite.
        without: the same without one group of chains at a time, (G, K, K); None of anything but chains.
    """

    of: dict[str, Tensor]
    columns: Tensor
    overlaps: Tensor
    without: Tensor | None = None

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
    shares = torch.zeros(len(some), dtype=torch.float64, device=some.device)
    shares = shares.index_add(0, inverse, batch.weights.repeat_interleave(size) / size)
    columns = _columns(logs.real.double(), shares)
    largest, moved = _moved(hamiltonian, determinant, some, logs, columns, chunks)
    own = _finite((logs.real.double() - columns).amax(1))
    here = determinant.plain(logs, logs.real.double() - columns - own[:, None])
    there = moved * (largest - own).exp()[:, None]
    entries = here[inverse].view(-1, size, size)
    factors = _inverse(entries, own[inverse].view(-1, size).sum(1) + columns.sum(), batch.log_floor)
    found = {"energy": factors @ there[inverse].view(-1, size, size)}
    for name, values in diagonals.items():
        found[name] = factors @ (values[:, :, None] * entries)
    overlaps = _overlaps(here, shares)
    return Matrices(found, columns, overlaps, _without(here, inverse.view(-1, size), overlaps, batch))


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


def _overlaps(amplitudes: Tensor, weights: Tensor, start: Tensor | None = None, close: float = CLOSE) -> Tensor:
    """S_ij of single states with amplitudes (R, K), up to a factor a row, at rows of |Ψ|²; the mean of S_ii is 1.

    A copy has the density ψ† S⁻¹ ψ / K, so that S = K ⟨ψ* ψᵀ / (ψ† S⁻¹ ψ)⟩, whose solution is unique up to a factor
    (Tyler, Ann. Statist. 15, 234 (1987)): found by iteration.
    """
    size = amplitudes.shape[1]
    if not bool(amplitudes.isfinite().all()):
        return torch.full((size, size), torch.nan, dtype=amplitudes.dtype, device=amplitudes.device)
    overlaps = torch.eye(size, dtype=amplitudes.dtype, device=amplitudes.device) if start is None else start
    for _ in range(ITERATIONS):
        inverse = torch.linalg.pinv(overlaps, hermitian=True)
        density = ((amplitudes @ inverse) * amplitudes.conj()).sum(1).real.clamp(min=1e-300)
        before = overlaps
        overlaps = (amplitudes.mH * (weights / density)) @ amplitudes
        overlaps = 0.5 * (overlaps + overlaps.mH)
        overlaps = overlaps / overlaps.diagonal().real.mean()
        if (overlaps - before).abs().max() < close:
            break
    return overlaps


def _without(amplitudes: Tensor, rows: Tensor, overlaps: Tensor, batch: Batch) -> Tensor | None:
    """Overlaps without one group of chains at a time; ``rows`` (B, K) are those of every configuration."""
    if batch.order is None or batch.log_weights is not None or len(batch.order) == 1:
        return None
    counted = []
    for first in range(min(GROUPS, len(batch.order))):
        drawn = rows[batch.order[first::GROUPS].flatten()].flatten()
        counted.append(torch.bincount(drawn, minlength=len(amplitudes)).double())
    total = torch.stack(counted).sum(0)
    left = [(total - group) / (total - group).sum() for group in counted]
    return torch.stack([_overlaps(amplitudes, weights, overlaps, CLOSE_ENOUGH) for weights in left])


def record_matrices(batch: Batch, found: Matrices, errors: Errors) -> dict[str, Any]:
    """What is kept of the matrices of a batch: ``matrices`` (blocks, operators, K, K), ``columns`` and overlaps.

    ``overlap_matrix`` (K, K), and of chains ``overlap_matrices_without`` (groups, K, K). A block of the
    others is a Markov chain, else the batch. Operators in the order of ``found``.
    """
    all_of_them = torch.stack(list(found.of.values()), 1)
    if errors == "chains" and batch.order is not None:
        blocks = torch.stack([all_of_them[chain].mean(0) for chain in batch.order])
    else:
        blocks = torch.einsum("b,bqij->qij", batch.weights.to(all_of_them.dtype), all_of_them)[None]
    arrays = {"matrices": blocks, "columns": found.columns, "overlap_matrix": found.overlaps}
    if errors == "chains" and found.without is not None:
        arrays["overlap_matrices_without"] = found.without
    return {name: array.cpu().numpy() for name, array in arrays.items()}


def _finite(logs: Tensor) -> Tensor:
    """Scales: 0 in place of -∞."""
    return torch.where(logs == -torch.inf, 0.0, logs)
