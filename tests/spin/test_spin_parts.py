"""The wave function of NF+NQS, and parts and settings that are refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.base.config.phases import AdamConfig
from pipeline.base.errors import ConfigError
from pipeline.spin.ansatz.build import build_ansatz
from pipeline.spin.ansatz.mlp import LAST_LAYER_SCALE, MLP
from pipeline.spin.ansatz.schema import MLPConfig, RBMConfig
from pipeline.spin.optimizers import build_optimizer
from pipeline.spin.systems import ChainTFIM
from tests.spin.small_flow import INFER, METHOD, TRAIN, build, same


def ring(n_sites: int) -> ChainTFIM:
    return ChainTFIM(n_sites=n_sites, range=1, coupling=1.0, field=1.0)


@pytest.mark.parametrize("initialisation", ["torch", "orthogonal"])
def test_mlp(initialisation: str) -> None:
    config = MLPConfig(hidden=[30, 20], initialisation=initialisation)
    network = build_ansatz(config, ring(12), 5)
    assert isinstance(network, MLP)
    spins = torch.from_numpy(np.random.default_rng(0).choice([-1, 1], (500, 12))).to(torch.int8)
    psi = network(spins)
    assert psi.shape == (500,)
    linear = [layer for layer in network.network if isinstance(layer, torch.nn.Linear)]
    x = spins.numpy().astype(float)
    for layer in linear[:-1]:
        x = np.maximum(x @ layer.weight.detach().numpy().T + layer.bias.detach().numpy(), 0)
    x = np.tanh(x @ linear[-1].weight.detach().numpy().T + linear[-1].bias.detach().numpy())[:, 0]
    np.testing.assert_allclose(psi.detach().numpy(), x, rtol=1e-4, atol=1e-6)
    assert network.double()(spins).dtype == torch.float64
    if initialisation == "orthogonal":
        first, second, last = (layer.weight.double() for layer in linear)
        torch.testing.assert_close(first.T @ first, 2 * torch.eye(12, dtype=torch.float64), rtol=0, atol=1e-5)
        torch.testing.assert_close(second @ second.T, 2 * torch.eye(20, dtype=torch.float64), rtol=0, atol=1e-5)
        assert last.norm().item() == pytest.approx(LAST_LAYER_SCALE * 2**0.5, rel=1e-5)
        assert all(not layer.bias.any() for layer in linear)
        assert psi.abs().max() < 0.98


def test_parts_are_built_from_the_seed_alone() -> None:
    before = torch.random.get_rng_state()
    first, again, other = (build_ansatz(TRAIN.ansatz, ring(8), seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(before, torch.random.get_rng_state())
    assert same(dict(first), dict(again))
    assert not same(dict(first), dict(other))
    optimizer = build_optimizer(AdamConfig(lr=0.02, betas=(0.5, 0.7)), [torch.nn.Parameter(torch.zeros(1))])
    assert isinstance(optimizer, torch.optim.Adam)
    assert optimizer.param_groups[0]["lr"] == 0.02
    assert tuple(optimizer.param_groups[0]["betas"]) == (0.5, 0.7)


@pytest.mark.parametrize(
    "changes",
    [
        {"subspaces": 0},
        {"draws": 0},
        {"flow_layers": 0},
        {"flow_hidden": []},
        {"flow_hidden": [8, 0]},
        {"prior": "gaussian"},
        {"prior_width": 0.0},
        {"points": 0},
        {"region_centre": 1.5},
        {"region_width": -0.1},
        {"regions": 0},
        {"gradient_clip": float("nan")},
        {"stop": "sometimes"},
        {"unique_threshold": 1.1},
        {"patience": 0},
        {"chunk": 0},
    ],
)
def test_refused_methods(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="^" + next(iter(changes))):
        replace(METHOD, **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"draws": 0},
        {"iterations": 0},
        {"lr": 0.0},
        {"matrix_lr": 0.0},
        {"matrix_lr": 1e9},
        {"schedule": "linear"},
        {"plateau_factor": 1.5},
        {"plateau_patience": -1},
    ],
)
def test_refused_inference(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="^" + next(iter(changes))):
        replace(INFER, **changes)


def test_plateau_factor_of_one() -> None:
    try:
        method = build(infer=replace(INFER, plateau_factor=1.0, iterations=2))
    except ConfigError:
        return
    method.measure(method.init(3), 0)


def test_refused_networks() -> None:
    with pytest.raises(ConfigError):
        MLPConfig(hidden=[], initialisation="torch")
    with pytest.raises(ConfigError):
        MLPConfig(hidden=[3], initialisation="xavier")
    with pytest.raises(ConfigError):
        AdamConfig(lr=0.0, betas=(0.9, 0.999))
    with pytest.raises(ConfigError):
        RBMConfig(alpha=0, deviation=0.1, parameters="real")


def test_refused_systems() -> None:
    METHOD.check(ChainTFIM(n_sites=62, range=1, coupling=1.0, field=1.0))
    with pytest.raises(ConfigError, match="63 sites"):
        METHOD.check(ChainTFIM(n_sites=63, range=1, coupling=1.0, field=1.0))
    with pytest.raises(ConfigError, match="spin systems"):
        METHOD.check(object())
