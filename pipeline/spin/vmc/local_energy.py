"""Local energies E_loc(x) = Σ_x' ⟨x|H|x'⟩ ψ(x')/ψ(x), ratios taken in the log domain."""

from __future__ import annotations

import torch
from torch import Tensor

from pipeline.spin.chunks import Chunks, in_chunks
from pipeline.spin.hamiltonian import Hamiltonian
from pipeline.spin.wave_function import WaveFunction


@torch.no_grad()
def local_energy(
    hamiltonian: Hamiltonian, ansatz: WaveFunction, spins: Tensor, chunks: Chunks, log_floor: Tensor | None = None
) -> Tensor:
    """E_loc of every row (NF+NQS paper, Eq. 5).

    Elements that vanish, such as those of σ·σ on a parallel pair, are not evaluated.

    Args:
        hamiltonian: real matrix elements.
        ansatz: log ψ, real or complex.
        spins: configurations ±1, (B, N); repeated rows are evaluated repeatedly.
        chunks: keeps the evaluations within memory.
        log_floor: smallest log|ψ(x)| to divide by, of weights that have the same one
            (:class:`pipeline.spin.sampler.contract.Batch`): w E_loc and w |E_loc|² are then ψ* Hψ and |Hψ|² where ψ
            vanishes, too. None: none.

    Returns:
        (B,) float64, or complex128 for an ansatz with phases. NaN or infinity where ψ(x) vanishes and there is no
        floor, and where log ψ is NaN or +∞ for x or for a configuration that H connects with it.
    """
    diagonal = hamiltonian.diagonal(spins)
    masks = hamiltonian.flip_masks
    if not len(masks):
        return diagonal
    log_here = _double(in_chunks(chunks, "amplitudes", ansatz.log_amplitude, spins))
    if log_floor is not None:
        log_here = _raised(log_here, log_floor)
    # a quotient by an infinite amplitude would be zero, and nobody would see it
    log_here = torch.where(log_here.real < torch.inf, log_here, torch.nan)
    moved = torch.zeros_like(log_here)

    def body(begin: int, size: int) -> int:
        width = min(size, len(masks))
        rows = slice(begin, begin + max(1, size // len(masks)))
        elements = hamiltonian.off_diagonal(spins[rows])
        total = torch.zeros_like(log_here[rows])
        for some, flips in zip(elements.split(width, dim=1), masks.split(width), strict=True):
            wanted = some != 0
            log_there = _double(_connected(ansatz, spins[rows], flips, wanted))
            ratios = (log_there - log_here[rows, None]).exp()
            total += torch.where(wanted, some * ratios, 0.0).sum(-1)
        moved[rows] = total
        return min(rows.stop, len(spins))

    def probe() -> None:
        _connected(ansatz, spins[:1].expand(2, -1), masks[:width], None)

    width = min(len(masks), 64)
    chunks.run("connected amplitudes", len(spins), body, probe, 2 * width)
    return torch.where(log_here.isnan(), log_here, diagonal + moved)


def _connected(ansatz: WaveFunction, spins: Tensor, masks: Tensor, wanted: Tensor | None) -> Tensor:
    """log ψ of flipped configurations, all of them where all are wanted."""
    if wanted is None or bool(wanted.all()):
        return ansatz.connected_log_amplitudes(spins, masks)
    if not bool(wanted.any()):
        return torch.zeros(wanted.shape, dtype=torch.float64, device=spins.device)
    return ansatz.connected_log_amplitudes(spins, masks, wanted)


def _raised(logs: Tensor, floor: Tensor) -> Tensor:
    """log ψ with real parts of at least ``floor``; NaN stays NaN."""
    return torch.complex(logs.real.maximum(floor), logs.imag) if logs.is_complex() else logs.maximum(floor)


def _double(values: Tensor) -> Tensor:
    """float64 or complex128."""
    return values.to(torch.complex128 if values.is_complex() else torch.float64)
