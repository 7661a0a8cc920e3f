"""Hyperbolic tangents of what networks put out, for convolutions that do the rest of their backward pass."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pipeline.gauge.pseudofermion import transport


def squash(rows: Tensor, bias: Tensor) -> Tensor:
    """tanh(rows + bias) in the place of ``rows``; the gradient that it passes on is the one of its argument.

    :func:`pipeline.gauge.pseudofermion.transport.convolve_repeatedly` multiplies by the slope 1 - tanh² as it writes
    gradients, which spares a pass over the largest tensors that there are.

    Args:
        rows: (n, m), overwritten.
        bias: (n,).
    """
    result: Tensor = _Squash.apply(rows, bias)  # type: ignore[no-untyped-call]
    return result


class _Squash(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, bias: Tensor) -> Tensor:
        ctx.mark_dirty(rows)
        if rows.dtype == torch.float32 and transport.compiled(rows):
            from pipeline.gauge.pseudofermion import squash_loops

            squash_loops.squash(rows, bias)
            return rows
        return rows.add_(bias[:, None]).tanh_()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor | None]:
        (gradient,) = gradients
        return gradient, gradient.sum(dim=1) if ctx.needs_input_grad[1] else None
