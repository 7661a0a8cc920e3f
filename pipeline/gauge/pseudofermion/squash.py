"""Hyperbolic tangents of what networks put out, for convolutions that do the rest of their backward pass."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def squash(values: Tensor) -> Tensor:
    """tanh in the place of its argument; the gradient that it passes on is the one of the argument.

    :func:`pipeline.gauge.pseudofermion.transport.convolve_repeatedly` multiplies by the slope 1 - tanh² as it writes
    gradients, which spares passes over the largest tensors that there are.

    Args:
        values: overwritten; the result of an operation that does not need it.
    """
    result: Tensor = _Squash.apply(values)  # type: ignore[no-untyped-call]
    return result


class _Squash(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        ctx.mark_dirty(values)
        return values.tanh_()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (gradient,) = gradients
        return gradient
