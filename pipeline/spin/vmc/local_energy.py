"""Local energies E_loc(x) = Σ_x' ⟨x|H|x'⟩ ψ(x')/ψ(x), ratios taken in the log domain."""

from __future__ import annotations

import torch
from torch import Tensor

from pipeline.spin.chunks import Chunks, in_chunks
from pipeline.spin.hamiltonian import Hamiltonian
from pipeline.spin.wave_function import WaveFunction


@torch.no_grad()
def local_energy(hamiltonian: Hamiltonian, ansatz: WaveFunction, spins: Tensor, chunks: Chunks) -> Tensor:
    """E_loc of every row (NF+NQS paper, Eq. 5).

    Elements that vanish, such as those of σ·σ on a parallel pair, are not evaluated.

    Args:
        hamiltonian: real matrix elements.
        ansatz: log ψ, real or complex.
        spins: configurations ±1, (B, N); repeated rows are evaluated repeatedly.
        chunks: keeps the evaluations within memory.

    Returns:
        (B,) float64, or complex128 for an ansatz with phases. NaN or infinity where ψ vanishes or is not finite.
    """
    diagonal = hamiltonian.diagonal(spins)
    masks = hamiltonian.flip_masks
    if not len(masks):
        return diagonal
    log_here = _double(in_chunks(chunks, "amplitudes", ansatz.log_amplitude, spins))
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
    return diagonal + moved


def _connected(ansatz: WaveFunction, spins: Tensor, masks: Tensor, wanted: Tensor | None) -> Tensor:
    """log ψ of flipped configurations, all of them where all are wanted."""
    if wanted is None or bool(wanted.all()):
        return ansatz.connected_log_amplitudes(spins, masks)
    if not bool(wanted.any()):
        return torch.zeros(wanted.shape, dtype=torch.float64, device=spins.device)
    return ansatz.connected_log_amplitudes(spins, masks, wanted)


def _double(values: Tensor) -> Tensor:
    """float64 or complex128."""
    return values.to(torch.complex128 if values.is_complex() else torch.float64)
