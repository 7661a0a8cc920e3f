"""Causal attention and activations with derivatives by compiled loops, for the training of the proposal on a CPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pipeline.base.run.compiled import in_threads
from pipeline.base.run.lanes import LANES
from pipeline.spin.sampler.nir import activation_loop, attention_loop


class _Attention(torch.autograd.Function):
    """``kept`` is (groups of as many rows as there are lanes, what the loop keeps of one)."""

    @staticmethod
    def forward(ctx: Any, projections: Tensor, heads: int) -> Tensor:  # type: ignore[override]
        rows, places, three = projections.shape
        projections = projections.detach().contiguous()
        out = projections.new_empty((rows, places, three // 3))
        kept = projections.new_empty((-(-rows // LANES), heads * places * 2 * LANES))
        x, y, z = projections.numpy(), out.numpy(), kept.numpy()

        def some(begin: int, end: int) -> None:
            attention_loop.forward(x[begin:end], heads, y[begin:end], _groups(z, begin, end))

        in_threads(some, rows, LANES, torch.get_num_threads())
        ctx.save_for_backward(projections, out, kept)
        ctx.heads = heads
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        projections, out, kept = ctx.saved_tensors
        found, heads = torch.empty_like(projections), ctx.heads
        x, y, z, w = projections.numpy(), out.detach().numpy(), kept.numpy(), found.numpy()
        given = gradients[0].contiguous().numpy()

        def some(begin: int, end: int) -> None:
            rows = slice(begin, end)
            attention_loop.backward(x[rows], heads, y[rows], _groups(z, begin, end), given[rows], w[rows])

        in_threads(some, len(found), LANES, torch.get_num_threads())
        return found, None


def _groups(kept: Any, begin: int, end: int) -> Any:
    """What is kept of some rows, flat."""
    return kept[begin // LANES : -(-end // LANES)].reshape(-1)


def attend(projections: Tensor, heads: int) -> Tensor:
    """Attention of every place to itself and those before it, by the compiled loop, up to rounding that of torch.

    Args:
        projections: queries, keys and values, heads one after the other in each, (B, M, 3 d) float32 on a CPU.
        heads: which share the d features.

    Returns:
        (B, M, d), differentiable once.
    """
    found: Tensor = _Attention.apply(projections, heads)  # type: ignore[no-untyped-call]
    return found


class _Gelu(torch.autograd.Function):
    """The derivatives are kept, not what they are taken at: their exponentials are those of the values."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # type: ignore[override]
        x = x.detach().contiguous()
        y, slopes = torch.empty_like(x), torch.empty_like(x)
        arrays = [part.numpy().reshape(-1) for part in (x, y, slopes)]

        def some(begin: int, end: int) -> None:
            activation_loop.gelu(*(part[begin:end] for part in arrays))

        in_threads(some, x.numel(), LANES, torch.get_num_threads())
        ctx.save_for_backward(slopes)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:  # type: ignore[override]
        (slopes,) = ctx.saved_tensors
        return gradients[0] * slopes


def gelu(x: Tensor) -> Tensor:
    """x Φ(x) by the compiled loop, up to rounding that of torch; float32 on a CPU, differentiable once."""
    found: Tensor = _Gelu.apply(x)  # type: ignore[no-untyped-call]
    return found
