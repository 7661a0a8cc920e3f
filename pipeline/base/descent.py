"""Gradient descent: that of torch, without what nobody here uses of it, and by orthogonal steps of matrices."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn


class _Uncompiled(torch.optim.Optimizer):
    """An optimizer of torch without what keeps torch.compile out of it.

    The first call of any of these methods would import the compiler, its thousand modules and sympy: two or three
    seconds of every process that trains, for something that nobody here uses.
    """

    add_param_group = inspect.unwrap(torch.optim.Optimizer.add_param_group)
    load_state_dict = inspect.unwrap(torch.optim.Optimizer.load_state_dict)
    state_dict = inspect.unwrap(torch.optim.Optimizer.state_dict)
    zero_grad = inspect.unwrap(torch.optim.Optimizer.zero_grad)


class Adam(_Uncompiled, torch.optim.Adam):
    """torch's own, see :class:`_Uncompiled`."""

    step = torch.no_grad()(inspect.unwrap(torch.optim.Adam.step))


class SGD(_Uncompiled, torch.optim.SGD):
    """torch's own, see :class:`_Uncompiled`."""

    step = torch.no_grad()(inspect.unwrap(torch.optim.SGD.step))


class AdamW(_Uncompiled, torch.optim.AdamW):
    """torch's own, see :class:`_Uncompiled`."""

    # torch's AdamW takes the step of its Adam
    step = torch.no_grad()(inspect.unwrap(torch.optim.AdamW.step))


class Muon(_Uncompiled):
    """Momentum of weight matrices whose steps are made orthogonal (Jordan et al., 2024).

    m <- momentum m + (1 - momentum) g and W <- W - lr :func:`orthogonalised` (momentum m + (1 - momentum) g): all
    singular values of a step are near lr, however unequal those of the gradient g are.

    Args:
        parameters: matrices (rows, columns).
        lr: spectral norm of a step.
        momentum: share of m that stays.

    Raises:
        ValueError: a parameter that is no matrix.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float, momentum: float = 0.9) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum})
        for group in self.param_groups:
            if any(p.ndim != 2 for p in group["params"]):
                raise ValueError("Muon makes steps of matrices orthogonal, and of nothing else")

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One update of every matrix that has a gradient; ``closure`` is not used."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["momentum"] = torch.zeros_like(p)
                moving = state["momentum"].lerp_(p.grad, 1.0 - group["momentum"])
                p.sub_(orthogonalised(p.grad.lerp(moving, group["momentum"])), alpha=group["lr"])


NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""Coefficients of an odd polynomial that takes singular values of 0.003 to 1 into 0.68 to 1.14 when applied 5 times."""


def orthogonalised(matrix: Tensor) -> Tensor:
    """U Vᵀ of U S Vᵀ up to a third, singular value by singular value, by matrix products alone (Newton-Schulz).

    Those more than about three hundred times below the Frobenius norm stay smaller; zero stays zero.

    Args:
        matrix: (rows, columns), real floating point.

    Returns:
        Of the same shape and dtype.
    """
    x = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    tiny = torch.finfo(x.dtype).tiny
    x = x / x.abs().max().clamp(min=tiny)  # so that no square of the norm leaves the range of numbers
    x = x / x.norm().clamp(min=tiny)
    a, b, c = NEWTON_SCHULZ
    for _ in range(5):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x if matrix.shape[0] <= matrix.shape[1] else x.T
