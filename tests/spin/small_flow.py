"""A small SubspaceFlow and helpers that its tests share."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from pipeline.base.config.nodes import TrainConfig
from pipeline.base.config.phases import AdamConfig
from pipeline.spin.ansatz.schema import MLPConfig
from pipeline.spin.subspace.method import SubspaceFlow, SubspaceFlowState
from pipeline.spin.subspace.realnvp import AffineCoupling
from pipeline.spin.subspace.schema import SubspaceFlowConfig, SubspaceInferConfig
from pipeline.spin.systems import ChainTFIM, SpinSystem
from tests.spin import dense

METHOD = SubspaceFlowConfig(
    subspaces=3,
    draws=60,
    flow_layers=4,
    flow_hidden=[16, 16],
    prior="normal",
    prior_width=0.33,
    points=4,
    region_centre=0.5,
    region_width=0.1,
    regions=32,
    gradient_clip=1000.0,
    stop="floor",
    unique_threshold=0.9,
    patience=5,
    chunk=100_000,
)
TRAIN = TrainConfig(
    method=METHOD,
    ansatz=MLPConfig(hidden=[24, 24], initialisation="orthogonal"),
    optimizer=AdamConfig(lr=3e-3, betas=(0.9, 0.999)),
    steps=6,
    seed=7,
    dtype="float64",
)
INFER = SubspaceInferConfig(units=2, seed=1, draws=80, iterations=40, lr=1e-2, plateau_factor=0.5, plateau_patience=20)
CHAIN = ChainTFIM(n_sites=8, range=4, coupling=1.0, field=1.0)
EXACT = dense.lowest(dense.ring(8, 4, 1.0, 1.0))


def build(
    system: SpinSystem = CHAIN, dtype: str = "float64", infer: SubspaceInferConfig = INFER, **changes: Any
) -> SubspaceFlow:
    return SubspaceFlow(system, replace(TRAIN, method=replace(METHOD, **changes), dtype=dtype), infer, "cpu")


def run(method: SubspaceFlow, state: SubspaceFlowState, steps: range) -> list[dict[str, float]]:
    return [method.step(state, k) for k in steps]


def same(a: Any, b: Any) -> bool:
    """Bitwise equality of nested states."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else bool(a == b)


def scramble(state: SubspaceFlowState, scale: float = 0.4) -> SubspaceFlowState:
    """A flow far from the identity and an NQS far from a constant."""
    generator = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for coupling in state.flow.couplings:
            assert isinstance(coupling, AffineCoupling)
            last: Any = coupling.network[-2]
            for p in (last.weight, last.bias):
                p.copy_(scale * torch.randn(p.shape, generator=generator, dtype=p.dtype))
        for p in state.nqs.parameters():
            p.add_(0.2 * torch.randn(p.shape, generator=generator, dtype=p.dtype))
    return state


def gradients(network: torch.nn.Module) -> torch.Tensor:
    return torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])
