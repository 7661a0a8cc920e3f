"""Gradient descent of torch, without what nobody here uses of it."""

from __future__ import annotations

import inspect

import torch


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
