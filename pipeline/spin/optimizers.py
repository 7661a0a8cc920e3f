"""Optimizers by the names that configurations give them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

from pipeline.base.descent import SGD, Adam, AdamW
from pipeline.spin.sr.optimizer import StochasticReconfiguration

Optimizer = torch.optim.Optimizer | StochasticReconfiguration

OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "adam": Adam,
    "adamw": AdamW,
    "sgd": SGD,
    "sr": StochasticReconfiguration,
}


def build_optimizer(config: Any, parameters: Iterable[nn.Parameter]) -> Optimizer:
    """The optimizer that ``config.name`` names, with the node's other entries as keyword arguments."""
    options = {name: value for name, value in vars(config).items() if name != "name"}
    return OPTIMIZERS[config.name](parameters, **options)
