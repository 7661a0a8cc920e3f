"""Training of the proposal: forward and backward Kullback-Leibler divergence (NIR paper, Section 3.3)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pipeline.base.run.ranks import Ranks, able, share
from pipeline.spin.bits import unique_spins
from pipeline.spin.chunks import Chunks
from pipeline.spin.moved import moved
from pipeline.spin.sampler.nir.proposal import Proposal
from pipeline.spin.sampler.nir.resampling import Proposals
from pipeline.spin.space import Space
from pipeline.spin.symmetry.groups import Transformation

TOGETHER = 8
"""Configurations that the compiled loop treats at once: chunks are multiples, and so much larger that they can be."""


class Transformations:
    """What |ψ|² is the same for: orders of the copies and, of each configuration as a whole, symmetries of H.

    Args:
        space: sites and copies.
        permute: whether copies are put in random order.
        group: of the symmetries of one copy; all copies are transformed alike, for a determinant of states that span a
            representation is the same, but for a phase, only then. Empty: none.
        device: torch device name.
    """

    def __init__(self, space: Space, permute: bool, group: Sequence[Transformation], device: str) -> None:
        self._copies, self._permute = space.copies, permute and space.copies > 1
        self._moves = torch.tensor([move for move, _ in group], device=device) if group else None
        self._signs = torch.tensor([sign for _, sign in group], dtype=torch.int8, device=device)

    def __call__(self, spins: Tensor, generator: torch.Generator) -> Tensor:
        """Random ones of each configuration, (B, K N) int8 → (B, K N)."""
        rows, device = len(spins), spins.device
        x = spins.view(rows, self._copies, -1)
        if self._permute:
            uniforms = torch.rand((rows, self._copies), generator=generator, dtype=torch.float64, device=device)
            x = x.gather(1, uniforms.argsort(1)[..., None].expand_as(x))
        if self._moves is not None:
            chosen = torch.randint(len(self._moves), (rows,), generator=generator, device=device)
            x = moved(x, self._moves[chosen], self._signs[chosen])
        return x.reshape(spins.shape)


def some_of(pool: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """``count`` of the rows at random, none twice, (n, M) → (count, M).

    Args:
        pool: at least so many.
        generator: on the device of the rows.
    """
    uniforms = torch.rand(len(pool), generator=generator, dtype=torch.float64, device=pool.device)
    return pool[uniforms.argsort()[:count]]


def forward_slopes(spins: Tensor) -> tuple[Tensor, Tensor]:
    """Distinct ones of draws from |ψ|² (n, M), and minus the share of each: what ∂ log q is summed with (Eq. 11)."""
    found, _, counts = unique_spins(spins)
    return found, -counts.double() / len(spins)


def backward_slopes(proposals: Proposals, count: int) -> tuple[Tensor, Tensor]:
    """The first ``count`` proposals, and (log q - log |ψ|² - its mean over the others)/count of each (Eq. 12).

    The mean, which leaves the gradient unbiased for ⟨∂ log q⟩ = 0, takes the unknown norm of ψ out and most noise. A
    single proposal has no others, and tells nothing.
    """
    values = (proposals.log_q - proposals.log_probability)[:count]
    return proposals.spins[:count], (values - values.mean()) / max(1, len(values) - 1)


def descend(
    proposal: Proposal,
    optimizer: torch.optim.Optimizer,
    spins: Tensor,
    slopes: Tensor,
    chunks: Chunks,
    ranks: Ranks,
) -> None:
    """One update along the gradient of Σ slopes × log q over a batch, each rank on its share.

    A gradient that is not finite changes nothing.

    Args:
        proposal: to be trained.
        optimizer: of its parameters.
        spins: (B, M).
        slopes: (B,) float64.
        chunks: keeps the evaluation within memory.
        ranks: which share the batch.
    """
    parameters = list(proposal.parameters())
    total, count = [torch.zeros_like(p) for p in parameters], len(spins)
    compiled, several = proposal.compiles(spins), able(ranks, count)  # of the whole batch, as for draws
    mine = share(several, count)
    spins, slopes = spins[mine], slopes[mine]

    def body(begin: int, size: int) -> int:
        if compiled and size > TOGETHER:
            size -= size % TOGETHER
        end = min(begin + size, len(spins))
        log_q = proposal.log_probability(spins[begin:end], compiled)
        found = torch.autograd.grad(log_q, parameters, slopes[begin:end], allow_unused=True)
        for so_far, gradient in zip(total, found, strict=True):
            if gradient is not None:
                so_far += gradient
        return end

    def probe() -> Tensor:
        return proposal.log_probability(spins[:1].expand(2, -1), compiled)

    # a name of its own for either loop: what one takes says little of the other
    name = "compiled gradients of the proposal" if compiled else "gradients of the proposal"
    chunks.run(name, len(spins), body, probe, 2, gradients=True, share=TOGETHER if compiled else 1.0)
    for parameter, gradient in zip(parameters, total, strict=True):
        parameter.grad = several.reduce(gradient)
    if all(bool(p.grad.isfinite().all()) for p in parameters if p.grad is not None):
        optimizer.step()
    optimizer.zero_grad()
