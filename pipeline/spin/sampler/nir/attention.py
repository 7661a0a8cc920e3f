"""Causal attention with derivatives by the compiled loop, for the training of the proposal on a CPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pipeline.base.run.lanes import LANES
from pipeline.spin.sampler.nir import attention_loop


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, projections: Tensor, heads: int) -> Tensor:  # type: ignore[override]
        rows, places, three = projections.shape
        projections = projections.contiguous()
        out = projections.new_empty((rows, places, three // 3))
        kept = projections.new_empty(-(-rows // LANES) * heads * places * 2 * LANES)
        attention_loop.forward(projections.detach().numpy(), heads, out.numpy(), kept.numpy())
        ctx.save_for_backward(projections, out, kept)
        ctx.heads = heads
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        projections, out, kept = ctx.saved_tensors
        found = torch.empty_like(projections)
        given = gradients[0].contiguous()
        arrays = [part.detach().numpy() for part in (out, kept, given, found)]
        attention_loop.backward(projections.detach().numpy(), ctx.heads, *arrays)
        return found, None


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
