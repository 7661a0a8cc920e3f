"""Local energies E_loc(x) = Σ_x' ⟨x|H|x'⟩ ψ(x')/ψ(x), ratios taken in the log domain."""

from __future__ import annotations

import torch
from torch import Tensor

from pipeline.spin.chunks import Chunks, in_chunks
from pipeline.spin.hamiltonian import Hamiltonian
from pipeline.spin.vmc.evaluations import Evaluations, double
from pipeline.spin.wave_function import WaveFunction

BLOCK = 2**20
"""Matrix elements whose configurations are compared with each other: about 100 MiB."""


@torch.no_grad()
def local_energy(
    hamiltonian: Hamiltonian,
    ansatz: WaveFunction,
    spins: Tensor,
    chunks: Chunks,
    log_floor: Tensor | None = None,
    log_amplitudes: Tensor | None = None,
) -> Tensor:
    """E_loc of every row (NF+NQS paper, Eq. 5).

    Elements that vanish, such as those of σ·σ on a parallel pair, are not evaluated. An ansatz that cannot reuse what
    it knows of x is asked only once for a configuration that several rows are connected with, that is a row itself, or
    that a symmetry of the ansatz maps onto one of these.

    Args:
        hamiltonian: real matrix elements.
        ansatz: log ψ, real or complex.
        spins: configurations ±1, (B, N).
        chunks: keeps the evaluations within memory.
        log_floor: smallest log|ψ(x)| to divide by, of weights that have the same one
            (:class:`pipeline.spin.sampler.contract.Batch`): w E_loc and w |E_loc|² are then ψ* Hψ and |Hψ|² where ψ
            vanishes, too. None: none.
        log_amplitudes: log ψ of every row, (B,), where it is known; None: it is evaluated.

    Returns:
        (B,) float64, or complex128 for an ansatz with phases. NaN or infinity where ψ(x) vanishes and there is no
        floor, and where log ψ is NaN or +∞ for x or for a configuration that H connects with it.
    """
    diagonal = hamiltonian.diagonal(spins)
    if not len(hamiltonian.flip_masks):
        return diagonal
    evaluations = None
    if type(ansatz).connected_log_amplitudes is WaveFunction.connected_log_amplitudes:
        evaluations = Evaluations(ansatz, spins, chunks, log_amplitudes)
        log_here = evaluations.log_here
    elif log_amplitudes is None:
        log_here = double(in_chunks(chunks, "amplitudes", ansatz.log_amplitude, spins))
    else:
        log_here = double(log_amplitudes)
    if log_floor is not None:
        log_here = _raised(log_here, log_floor)
    # a quotient by an infinite amplitude would be zero, and nobody would see it
    log_here = torch.where(log_here.real < torch.inf, log_here, torch.nan)
    if evaluations is None:
        moved = _reusing(hamiltonian, ansatz, spins, log_here, chunks)
    else:
        moved = _evaluated_once(hamiltonian, evaluations, spins, log_here)
    return torch.where(log_here.isnan(), log_here, diagonal + moved)


def _evaluated_once(hamiltonian: Hamiltonian, evaluations: Evaluations, spins: Tensor, log_here: Tensor) -> Tensor:
    """Σ over x' ≠ x; (B,), of an ansatz that evaluates whole configurations."""
    moved = torch.zeros_like(log_here)
    size = max(1, BLOCK // len(hamiltonian.flip_masks))
    for begin in range(0, len(spins), size):
        rows = slice(begin, begin + size)
        elements = hamiltonian.off_diagonal(spins[rows])
        places = elements.nonzero(as_tuple=True)
        row = places[0] + begin
        ratios = (evaluations.flipped(row, hamiltonian.flip_masks, places[1]) - log_here[row]).exp()
        # not added up by index: the order of the terms must be the same on every device, and from run to run
        terms = torch.zeros_like(elements, dtype=log_here.dtype).index_put(places, elements[places] * ratios)
        moved[rows] = terms.sum(-1)
    return moved


def _reusing(hamiltonian: Hamiltonian, ansatz: WaveFunction, spins: Tensor, log_here: Tensor, chunks: Chunks) -> Tensor:
    """Σ over x' ≠ x; (B,), of an ansatz with connected amplitudes of its own."""
    masks = hamiltonian.flip_masks
    moved = torch.zeros_like(log_here)

    def body(begin: int, size: int) -> int:
        width = min(size, len(masks))
        rows = slice(begin, begin + max(1, size // len(masks)))
        elements = hamiltonian.off_diagonal(spins[rows])
        total = torch.zeros_like(log_here[rows])
        for some, flips in zip(elements.split(width, dim=1), masks.split(width), strict=True):
            wanted = some != 0
            log_there = double(_connected(ansatz, spins[rows], flips, wanted))
            ratios = (log_there - log_here[rows, None]).exp()
            total += torch.where(wanted, some * ratios, 0.0).sum(-1)
        moved[rows] = total
        return min(rows.stop, len(spins))

    def probe() -> None:
        _connected(ansatz, spins[:1].expand(2, -1), masks[:width], None)

    width = min(len(masks), 64)
    chunks.run("connected amplitudes", len(spins), body, probe, 2 * width)
    return moved


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
