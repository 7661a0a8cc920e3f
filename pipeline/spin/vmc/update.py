"""The two kinds of update of variational Monte Carlo: optimizers that take a gradient, and reconfiguration."""

from __future__ import annotations

import torch
from torch import Tensor

from pipeline.base.run.ranks import ALONE, Ranks, share
from pipeline.spin.chunks import Chunks
from pipeline.spin.optimizers import Optimizer
from pipeline.spin.sampler.contract import Batch
from pipeline.spin.sr.choice import derivatives_of
from pipeline.spin.sr.guard import Energy
from pipeline.spin.sr.operator import forces
from pipeline.spin.sr.optimizer import StochasticReconfiguration
from pipeline.spin.wave_function import WaveFunction


def clipped(local: Tensor, weights: Tensor, deviations: float) -> Tensor:
    """Local energies no further from their median than so many mean absolute deviations from it.

    Without a bound on ψ(x')/ψ(x) their distribution has heavy tails, and a few draws make the whole step. Real and
    imaginary parts have a median each, as in the code of FermiNet (Pfau et al., Phys. Rev. Research 2, 033429 (2020)).

    Args:
        local: E_loc of a batch, of all ranks together, (B,) float64 or complex128.
        weights: (B,) float64, sum 1.
        deviations: > 0; 5 in FermiNet.
    """
    if local.is_complex():
        return torch.complex(clipped(local.real, weights, deviations), clipped(local.imag, weights, deviations))
    centre = _median(local, weights)
    most = deviations * (weights * (local - centre).abs()).sum()
    return local.clamp(centre - most, centre + most)


def _median(values: Tensor, weights: Tensor) -> Tensor:
    """Weighted median of real ``values`` (B,); half-way between the two in the middle where there are two."""
    ordered, order = values.sort()
    # rounding of the sum must not decide between one and two
    half = ordered.new_tensor([0.5 - 1e-9, 0.5 + 1e-9])
    middle = torch.searchsorted(weights[order].cumsum(0), half).clamp(max=len(ordered) - 1)
    return ordered[middle].mean()


def update(
    optimizer: Optimizer,
    ansatz: WaveFunction,
    batch: Batch,
    local: Tensor,
    chunks: Chunks,
    clip: float | None,
    ranks: Ranks = ALONE,
) -> dict[str, float]:
    """Change the parameters; not at all where what comes back is not finite.

    Args:
        optimizer: of the parameters of ``ansatz``.
        ansatz: log ψ, real or complex.
        batch: configurations and weights.
        local: E_loc of every configuration, (B,), perhaps :func:`clipped`.
        chunks: keeps backward passes within memory.
        clip: largest norm of a gradient; None: no limit. Reconfiguration has a limit of its own.
        ranks: which share the derivatives.

    Returns:
        How large the change was, or the gradient: ``distance`` or ``gradient_norm``; of guarded reconfiguration also
        its ``shift`` and how many steps were undone, ``undone_steps``.
    """
    if isinstance(optimizer, StochasticReconfiguration):
        guard = optimizer.guard
        if guard is not None:
            dtype = next(ansatz.parameters()).dtype
            if optimizer.undo(Energy.of(batch, local, dtype)):
                return {"distance": 0.0, "shift": guard.shift, "undone_steps": guard.undone}
        operator = derivatives_of(
            optimizer.derivatives, ansatz, batch.spins, batch.weights, chunks, ranks, optimizer.shift
        )
        target = forces(local, batch.weights, operator.is_complex)
        distance = {"distance": optimizer.step(operator, target)}
        return distance if guard is None else distance | {"shift": guard.shift, "undone_steps": guard.undone}
    energy = (batch.weights * local).sum()
    slope = 2.0 * batch.weights * (local - energy)
    norm, _ = set_gradients(ansatz, batch.spins, slope, chunks, clip, ranks)
    if norm.isfinite():
        optimizer.step()
    return {"gradient_norm": float(norm)}


def forget_energies(optimizer: Optimizer) -> None:
    """What is remembered of energies says nothing about those to come: of another system."""
    if isinstance(optimizer, StochasticReconfiguration) and optimizer.guard is not None:
        optimizer.guard.forget()


def set_gradients(
    ansatz: WaveFunction, spins: Tensor, slope: Tensor, chunks: Chunks, clip: float | None, ranks: Ranks
) -> tuple[Tensor, Tensor]:
    """Gradients of Re Σ_x conj(slope(x)) log ψ(x), put into the parameters.

    Of an energy slope = 2 w (E_loc - E), so that ∇E = 2 Re⟨conj(E_loc - E) ∇log ψ⟩ (NF+NQS paper, Eq. 6).

    Args:
        ansatz: log ψ, real or complex.
        spins: (B, N), of all ranks together.
        slope: (B,) float64 or complex128.
        chunks, clip, ranks: as in :func:`update`.

    Returns:
        The norm before clipping; the sum itself, float64. Scalars.
    """
    parameters = [p for p in ansatz.parameters() if p.requires_grad]
    value = slope.new_zeros((), dtype=torch.float64)
    total = [torch.zeros_like(p) for p in parameters]
    several = 1 < ranks.size <= len(spins)
    if several:
        mine = share(ranks, len(spins))
        spins, slope = spins[mine], slope[mine]

    def body(begin: int, size: int) -> int:
        end = min(begin + size, len(spins))
        log_psi = ansatz.batch_log_amplitude(spins[begin:end])
        part = slope[begin:end] if log_psi.is_complex() else slope[begin:end].real
        # added up only when the whole chunk is there: memory may run out half-way through a backward pass
        sum_of_chunk = (part.conj() * log_psi.detach()).real.double().sum()
        gradients = torch.autograd.grad(log_psi, parameters, part.to(log_psi.dtype), allow_unused=True)
        for sum_so_far, gradient in zip(total, gradients, strict=True):
            if gradient is not None:
                sum_so_far += gradient
        value.add_(sum_of_chunk)
        return end

    def probe(count: int) -> Tensor:
        return ansatz.batch_log_amplitude(spins[:1].expand(count, -1))

    chunks.run("gradients", len(spins), body, lambda: probe(2), 2, gradients=True, single=lambda: probe(1))
    for parameter, gradient in zip(parameters, total, strict=True):
        parameter.grad = ranks.reduce(gradient) if several else gradient
    norm = torch.nn.utils.clip_grad_norm_(parameters, float("inf") if clip is None else clip)
    return norm, ranks.reduce(value) if several else value
