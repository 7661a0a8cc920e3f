"""Residual CNN against its formulas written out, its symmetries and what is refused."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.base.errors import ConfigError
from pipeline.spin.ansatz.build import build_ansatz, share_parameters
from pipeline.spin.ansatz.resnet_config import ResNetConfig
from pipeline.spin.symmetry.groups import symmetry_group
from pipeline.spin.systems import SquareHeisenberg
from pipeline.stages.compose import compose_run
from tests.spin.ansatz import common

Array = np.ndarray
RECTANGLE = SquareHeisenberg(length_x=4, length_y=3, periodic=True, j1=1.0, j2=0.5)
SQUARE = replace(RECTANGLE, length_y=4)
CONFIG = ResNetConfig(depth=1, width=3, kernel=3, activation="gelu", averaged=[], first_up=False, magnetisation=None)


def some_spins(n_sites: int, count: int = 6) -> torch.Tensor:
    draw = torch.Generator().manual_seed(7)
    return torch.where(torch.rand((count, n_sites), generator=draw) < 0.5, 1, -1).to(torch.int8)


def numbers(parameter: Any) -> Array:
    return np.asarray(parameter.detach().numpy())


def convolved(x: Array, layer: Any, shape: tuple[int, int], name: str) -> Array:
    """Circular convolution term by term, norm over channels, activation; x is (sites, channels)."""
    weight, (lx, ly), half = numbers(layer.convolution.weight), shape, layer.convolution.kernel_size[0] // 2
    y = np.tile(numbers(layer.convolution.bias), (len(x), 1))
    for site in range(len(x)):
        for dy in range(-half, half + 1):
            for dx in range(-half, half + 1):
                there = (site // lx + dy) % ly * lx + (site % lx + dx) % lx
                y[site] += weight[:, :, dy + half, dx + half] @ x[there]
    centred = y - y.mean(1, keepdims=True)
    y = centred / np.sqrt((centred**2).mean(1, keepdims=True) + 1e-5) * numbers(layer.norm.weight)
    y = y + numbers(layer.norm.bias)
    return y * 0.5 * (1 + np.vectorize(math.erf)(y / math.sqrt(2))) if name == "gelu" else np.maximum(y, 0)


@pytest.mark.parametrize(
    ("kernel", "depth", "activation"), [(3, 1, "gelu"), (3, 2, "relu"), (1, 1, "gelu"), (3, 0, "relu")]
)
def test_formula(kernel: int, depth: int, activation: str) -> None:
    settings = replace(CONFIG, kernel=kernel, depth=depth, activation=activation)
    state, spins = common.random_network(settings, RECTANGLE), some_spins(12)
    found = state.log_amplitude(spins).detach().numpy()
    for row, value in zip(spins.numpy(), found, strict=True):
        x = convolved(row[:, None].astype(float), state.input, (4, 3), activation)
        for block in state.blocks:
            inner = convolved(x, block.first, (4, 3), activation)
            x = x + convolved(inner, block.second, (4, 3), activation)
        real, imaginary = numbers(state.output.weight) @ x.mean(0) + numbers(state.output.bias)
        assert value == pytest.approx(complex(real, imaginary), abs=1e-12)
    assert sum(p.numel() for p in state.parameters()) == settings.weights(12)


def test_the_network_of_the_paper() -> None:
    """16 channels, 4 blocks of two 3 × 3 convolutions, any size."""
    settings = replace(CONFIG, depth=4, width=16)
    state = build_ansatz(settings, replace(SQUARE, length_x=6, length_y=6), 1)
    assert sum(p.numel() for p in state.parameters()) == settings.weights(36) == 19042
    larger: Any = build_ansatz(settings, replace(SQUARE, length_x=10, length_y=10), 2)
    share_parameters(larger, state)  # type: ignore[arg-type]
    assert larger.log_amplitude(some_spins(100)).dtype == torch.complex64


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_symmetries(dtype: torch.dtype) -> None:
    tolerance = 1e-5 if dtype == torch.float32 else 1e-12
    spins = some_spins(16)

    def changes(settings: ResNetConfig, names: list[str]) -> list[float]:
        state: Any = common.random_network(settings, SQUARE, dtype)
        before = state.log_amplitude(spins)
        images = [spins[:, list(move)] * sign for move, sign in symmetry_group(SQUARE, names)]
        return [float((state.log_amplitude(image) - before).detach().abs().max()) for image in images]

    assert max(changes(CONFIG, ["translations"])) < tolerance
    assert max(changes(CONFIG, ["rotations"])) > 1e-3
    point_group = replace(CONFIG, averaged=["rotations", "reflections"])
    assert max(changes(point_group, ["point_group", "translations"])) < tolerance
    assert max(changes(point_group, ["spin_flip"])) > 1e-3
    of_the_paper = replace(point_group, first_up=True)
    assert max(changes(of_the_paper, ["point_group", "spin_flip"])) < tolerance
    assert max(changes(of_the_paper, ["translations"])) > 1e-3
    assert of_the_paper.invariances(SQUARE) == ()


def test_averages_are_of_logarithms() -> None:
    names = ["rotations", "spin_flip"]
    average: Any = common.random_network(replace(CONFIG, averaged=names), SQUARE)
    plain: Any = common.random_network(CONFIG, SQUARE)
    plain.load_state_dict(average.state_dict())
    spins = some_spins(16)
    expected = torch.stack([
        plain.log_amplitude(spins[:, list(move)] * sign) for move, sign in symmetry_group(SQUARE, names)
    ])  # fmt: skip
    torch.testing.assert_close(average.log_amplitude(spins), expected.mean(0))


def test_projection_needs_no_translations() -> None:
    names = ["translations", "rotations", "reflections", "spin_flip"]
    state: Any = common.random_network(replace(CONFIG, projection=names), SQUARE)
    assert state.images == 16
    assert common.random_network(replace(CONFIG, first_up=True, projection=names), SQUARE).images == 256
    spins = some_spins(16)
    before = state.log_amplitude(spins)
    for move, sign in symmetry_group(SQUARE, names)[::23]:
        after = state.log_amplitude(spins[:, list(move)] * sign)
        assert ((after - before).exp() - 1).abs().max() < 1e-12


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["train.ansatz.kernel=2"], r"^train\.ansatz\.kernel=2: must be odd"),
        (["train.ansatz.kernel=5"], r"^train\.ansatz\.kernel=5: is larger than the lattice, 4 sites wide"),
        (["train.ansatz.width=0"], r"^train\.ansatz\.width=0: must be at least 1"),
        (["train.ansatz.depth=-1"], r"^train\.ansatz\.depth=-1: must be at least 0"),
        (["train.ansatz.activation=selu"], r"^train\.ansatz\.activation=selu: must be one of relu, gelu"),
        (["train.ansatz.averaged=[flip]"], r"^train\.ansatz\.averaged=flip: must be one of"),
        (["system.periodic=false"], r"^ansatz=resnet: needs a square lattice with periodic boundaries"),
        (["system=chain_heisenberg"], r"^ansatz=resnet: needs a square lattice with periodic boundaries"),
    ],
)
def test_refusals_name_the_key(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        compose_run(["method=vmc", "system=square_heisenberg", "ansatz=resnet", "baseline=none", *overrides])


def test_configuration() -> None:
    words = ["method=vmc", "system=square_heisenberg", "ansatz=resnet", "baseline=none"]
    assert type(compose_run(words).train.ansatz) is ResNetConfig
