"""PixelCNN with one branch: the definition by loops, enumeration, causality, draws and flips."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.base.errors import ConfigError
from pipeline.spin.ansatz.build import build_ansatz
from pipeline.spin.ansatz.pixelcnn.changes import Box
from pipeline.spin.ansatz.pixelcnn.single_flips import cone
from pipeline.spin.ansatz.schema import PixelCNNConfig
from pipeline.spin.systems import SquareHeisenberg, SquareTFIM
from pipeline.spin.wave_function import WaveFunction
from tests.spin.ansatz import common

CONFIG = PixelCNNConfig(
    depth=3, width=5, phase=True, spread=1.0, output_scale=1.0, symmetries=[], magnetisation=None, branches=1
)


def lattice(length_y: int, length_x: int) -> SquareTFIM:
    return SquareTFIM(length_x=length_x, length_y=length_y, periodic=False, coupling=1.0, field=3.0)


def definition(network: Any, spins: np.ndarray) -> np.ndarray:
    """log ψ of one configuration (y, x), one weight at a time."""
    height, breadth = spins.shape
    hidden = spins[..., None].astype(float)
    for layer in range(network.depth):
        seen = np.maximum(hidden, 0) if layer else hidden
        above, beside = (part[layer].weight.detach().numpy()[:, :, 0] for part in (network.above, network.beside))
        out = np.tile(network.above[layer].bias.detach().numpy(), (height, breadth, 1))
        for y, x in np.ndindex(height, breadth):
            for column in range(max(0, x - 2), min(breadth, x + 3)):
                if y:
                    out[y, x] += above[:, :, column - x + 2] @ seen[y - 1, column]
                if column - x + 2 < beside.shape[2]:
                    out[y, x] += beside[:, :, column - x + 2] @ seen[y, column]
        hidden = hidden + out if 0 < layer < network.depth - 1 else out
    value = (spins < 0).astype(int)[..., None]
    norm = np.logaddexp(2 * hidden[..., 0], 2 * hidden[..., 1]).sum() / 2
    total = np.take_along_axis(hidden, value, -1).sum() - norm
    if hidden.shape[-1] == 4:
        return np.asarray(total + 1j * np.take_along_axis(hidden, value + 2, -1).sum())
    return np.asarray(total)


@pytest.mark.parametrize("phase", [True, False])
@pytest.mark.parametrize("depth", [1, 2, 4])
def test_forward_is_the_definition(depth: int, phase: bool) -> None:
    network = common.random_network(replace(CONFIG, depth=depth, phase=phase), lattice(4, 3))
    spins = common.configurations(12)[torch.tensor([0, 1, 77, 1234, 4095])]
    expected = [definition(network, s.reshape(4, 3).numpy()) for s in spins]
    np.testing.assert_allclose(network.log_amplitude(spins).detach().numpy(), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_normalised(dtype: torch.dtype, tolerance: float) -> None:
    common.check_normalised(common.random_network(CONFIG, lattice(3, 3), dtype), 9, tolerance)
    averaged = replace(CONFIG, symmetries=["point_group", "spin_flip"])
    common.check_normalised(common.random_network(averaged, lattice(3, 3), dtype), 9, tolerance)


@pytest.mark.parametrize(("y", "x"), [(3, 3), (4, 2), (1, 6)])
def test_every_earlier_spin_and_no_later_one_counts(y: int, x: int) -> None:
    """Up to three columns wide there is no blind spot."""
    common.check_conditionals(common.random_network(replace(CONFIG, depth=4, width=12), lattice(y, x)), y * x)


def test_the_blind_spot_is_where_it_is_said_to_be() -> None:
    network = common.random_network(replace(CONFIG, depth=6, width=12), lattice(3, 8))
    generator = torch.Generator().manual_seed(2)
    spins = 2 * torch.randint(0, 2, (16, 24), generator=generator) - 1
    before = network.conditionals(spins).detach()
    for flipped in range(24):
        moved = spins.clone()
        moved[:, flipped] *= -1
        change = (network.conditionals(moved).detach() - before).abs().amax((0, 2)).view(3, 8)
        row, column = divmod(flipped, 8)
        for y, x in np.ndindex(3, 8):
            seen = (y == row and x > column) or (y > row and column <= x + 2 * (y - row))
            assert (change[y, x] > 1e-9) == seen, (flipped, y, x)


@pytest.mark.parametrize(("y", "x"), [(3, 4), (5, 2), (1, 5), (5, 1), (2, 6), (1, 1)])
@pytest.mark.parametrize("depth", [1, 2, 4])
@pytest.mark.parametrize("phase", [True, False])
def test_draws_and_flips_agree_with_whole_forward_passes(y: int, x: int, depth: int, phase: bool) -> None:
    network = common.random_network(replace(CONFIG, depth=depth, phase=phase), lattice(y, x))
    numbers = common.uniforms(300, network)
    spins = network.draw(numbers)
    assert not spins.is_inference()
    assert torch.equal(spins, common.naive_draw(network, numbers))
    common.check_connected(network, spins[:40], common.some_masks(y * x))


def test_flips_of_a_larger_lattice() -> None:
    """Cones that end before the lattice does, on all sides, and batches longer than what is taken together."""
    network = common.random_network(replace(CONFIG, depth=2, width=6), lattice(9, 11))
    masks = torch.eye(99, dtype=torch.bool)
    bond = masks[3 * 11 + 5] | masks[4 * 11 + 5]
    spins = network.draw(common.uniforms(150, network))
    common.check_connected(network, spins[:2], torch.cat([masks[::3], bond[None]]))
    common.check_connected(network, spins, masks[[0, 60]])


def test_flips_in_single_precision() -> None:
    network = common.random_network(replace(CONFIG, depth=4, width=16), lattice(6, 5), torch.float32)
    spins = network.draw(common.uniforms(64, network))
    for some in (spins, spins[:1]):
        common.check_connected(network, some, common.some_masks(30), 2e-4)


@pytest.mark.parametrize("magnetisation", [0, 2, -12])
def test_in_a_sector(magnetisation: int) -> None:
    system = SquareHeisenberg(length_x=4, length_y=3, periodic=False, j1=1.0, j2=0.0)
    network = common.random_network(replace(CONFIG, magnetisation=magnetisation), system)
    common.check_normalised(network, 12, 1e-12)
    numbers = common.uniforms(200, network)
    spins = network.draw(numbers)
    assert (spins.sum(1) == magnetisation).all()
    assert torch.equal(spins, common.naive_draw(network, numbers))
    masks = common.some_masks(12)
    with torch.no_grad():
        expected = WaveFunction.connected_log_amplitudes(network, spins[:30], masks)
    found = network.connected_log_amplitudes(spins[:30], masks)
    torch.testing.assert_close(found.exp(), expected.exp(), rtol=0, atol=1e-10)


@pytest.mark.parametrize("flips", [Box(0, 1, 0, 1), Box(2, 3, 4, 5), Box(3, 5, 2, 3), Box(6, 7, 0, 8), Box(6, 7, 3, 4)])
def test_cones_hold_all_changes_and_no_empty_margin(flips: Box) -> None:
    network = common.random_network(replace(CONFIG, width=12), lattice(7, 8))
    spins = torch.from_numpy(np.random.default_rng(0).choice([-1, 1], (16, 56)))
    flipped = spins.clone().reshape(16, 7, 8)
    flipped[:, flips.top : flips.bottom, flips.left : flips.right] *= -1
    layers = [list(network.layers(s)) for s in (spins, flipped.flatten(1))]
    for box, before, after in zip(cone(flips, 3, 7, 8)[1:], *layers, strict=True):
        change = (before - after).abs().amax((0, 1)) > 0
        ys, xs = (torch.nonzero(change.any(axis)).flatten().tolist() for axis in (1, 0))
        changed = Box(ys[0], ys[-1] + 1, xs[0], xs[-1] + 1) if ys else flips
        assert box == changed.join(flips)


def test_draw_frequencies() -> None:
    common.check_draws(common.random_network(replace(CONFIG, phase=False), lattice(2, 3)), 6)


@pytest.mark.parametrize(("depth", "width", "phase", "parameters"), [(6, 32, False, 33_666), (20, 32, True, 149_316)])
def test_number_of_parameters(depth: int, width: int, phase: bool, parameters: int) -> None:
    network = build_ansatz(replace(CONFIG, depth=depth, width=width, phase=phase), lattice(4, 4), 0)
    outputs = 4 if phase else 2
    expected = 7 * width + (depth - 2) * 8 * width**2 + 8 * width * outputs + (depth - 1) * width + outputs
    assert sum(p.numel() for p in network.parameters()) == expected == parameters


def test_initial_state() -> None:
    """Deep networks start out almost uniform, and their signal neither dies nor explodes on the way."""
    network: Any = build_ansatz(replace(CONFIG, depth=20, width=32, spread=0.03, output_scale=0.1), lattice(6, 6), 3)
    spins = torch.from_numpy(np.random.default_rng(1).choice([-1, 1], (100, 36)))
    with torch.no_grad():
        *_, layer, _ = network.layers(spins)
        power = layer.relu().square().mean((0, 1))
        log_psi = network.log_amplitude(spins)
    assert power[0, 0] == 0  # nothing lies before the first site, and biases vanish
    assert 0.05 < power.flatten()[1:].min() < power.max() < 20
    assert 0 < log_psi.real.std() < 1
    assert 0 < log_psi.imag.std() < 1


def test_refused() -> None:
    for branches in (0, 3):
        with pytest.raises(ConfigError, match=r"^branches"):
            replace(CONFIG, branches=branches)
