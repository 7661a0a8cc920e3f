"""Optimizers: torch's own numbers, without torch's compiler."""

from __future__ import annotations

import functools
import multiprocessing as mp
import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pipeline.spin.optimizers import build_optimizer

THEIRS: dict[str, Any] = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}
OPTIONS: dict[str, dict[str, Any]] = {
    "adam": {"lr": 0.01, "betas": (0.8, 0.99)},
    "sgd": {"lr": 0.01, "momentum": 0.9},
}


def trained(build: Any, dtype: torch.dtype) -> Tensor:
    """Parameters after 20 steps, the second half of them by an optimizer that was restored."""
    parameters = nn.Parameter(torch.linspace(-1, 1, 7, dtype=torch.float64).to(dtype))
    optimizer = build([parameters])
    for k in range(20):
        optimizer.zero_grad()
        weights = torch.arange(1, 8, dtype=torch.float64) / (k + 1)
        (weights * (parameters - 0.3).abs().square()).sum().backward()
        optimizer.step()
        if k == 9:
            tree, optimizer = optimizer.state_dict(), build([parameters])
            optimizer.load_state_dict(tree)
    return parameters.detach()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex128])
@pytest.mark.parametrize("name", ["adam", "sgd"])
def test_numbers_are_those_of_torch_bit_for_bit(name: str, dtype: torch.dtype) -> None:
    config = SimpleNamespace(name=name, **OPTIONS[name])
    ours = trained(functools.partial(build_optimizer, config), dtype)
    assert torch.equal(ours, trained(lambda parameters: THEIRS[name](parameters, **OPTIONS[name]), dtype))
    assert torch.isfinite(torch.view_as_real(ours) if ours.is_complex() else ours).all()


def _train(connection: Any) -> None:
    for name, options in OPTIONS.items():
        trained(
            lambda parameters, n=name, o=options: build_optimizer(SimpleNamespace(name=n, **o), parameters),
            torch.float32,
        )
    connection.send("torch._dynamo" in sys.modules)


def test_training_does_not_import_the_compiler() -> None:
    """In a process of its own: what workers are forked from has imported it for log-derivatives."""
    context = mp.get_context("spawn")
    here, there = context.Pipe()
    process: mp.process.BaseProcess = context.Process(target=_train, args=(there,))
    process.start()
    assert here.poll(60)
    assert here.recv() is False
    process.join()
