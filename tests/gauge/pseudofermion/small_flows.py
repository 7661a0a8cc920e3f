"""Small pseudofermion flows that tests vary, in float64 and with weights large enough to matter."""

from __future__ import annotations

import torch
from torch import Tensor

from pipeline.base.numbers import rng
from pipeline.gauge.group import Group
from pipeline.gauge.pseudofermion.conditional import PseudofermionFlows
from pipeline.gauge.pseudofermion.schema import ConditionalFlowConfig, PreconditioningConfig

SPATIAL, MIXED = ["spatial"], ["spatial", "spin"]


def generator(purpose: str) -> torch.Generator:
    return rng.torch_generator(31, purpose)


def config(
    layers: int = 4, transports: int = 2, features: int = 3, partition: list[str] | None = None, gain: float = 1.0
) -> ConditionalFlowConfig:
    return ConditionalFlowConfig(
        layers=layers,
        transports=transports,
        features=features,
        hidden=3,
        kernel=3,
        gain=gain,
        partition=partition or SPATIAL,
    )


def preconditioning(
    even_odd: bool = True,
    hasenbusch: list[float] | None = None,
    regulator: float = 0.0,
    solver: str = "dense",
    max_iterations: int = 2000,
) -> PreconditioningConfig:
    return PreconditioningConfig(
        even_odd=even_odd,
        hasenbusch=hasenbusch or [],
        regulator=regulator,
        solver=solver,
        tolerance=1e-12,
        max_iterations=max_iterations,
    )


def flows(
    group: Group,
    length: int,
    even_odd: bool,
    settings: ConditionalFlowConfig | None = None,
    monomials: int = 1,
    biases: float = 0.3,
) -> PseudofermionFlows:
    """With random biases too, which initially are zero."""
    drawn = generator("test.init")
    model = PseudofermionFlows(settings or config(), group, length, even_odd, monomials, drawn).double()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.copy_(biases * torch.randn(parameter.shape, generator=drawn))
    return model


def rotate(group: Group, gauge: Tensor, fields: Tensor, sites: Tensor) -> Tensor:
    """Ω(x) φ(x), (batch, n, sites, 2, N)."""
    omega = group.gauge_matrices(gauge).flatten(1, 2)[:, sites]
    return torch.einsum("bxij,bnxsj->bnxsi", omega, fields)
