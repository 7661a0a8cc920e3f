"""PixelCNN: the definition by loops, enumeration, draws and flips."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.base.errors import ConfigError
from pipeline.spin.ansatz.build import build_ansatz
from pipeline.spin.ansatz.pixelcnn import flips as pixelcnn_flips
from pipeline.spin.ansatz.pixelcnn.changes import Box
from pipeline.spin.ansatz.pixelcnn.flips import cone
from pipeline.spin.ansatz.schema import PixelCNNConfig
from pipeline.spin.systems import ChainTFIM, SquareHeisenberg, SquareTFIM
from tests.spin.ansatz import common

CONFIG = PixelCNNConfig(depth=3, width=5, phase=True, spread=1.0, output_scale=1.0, symmetries=[], magnetisation=None)


def lattice(length_y: int, length_x: int) -> SquareTFIM:
    return SquareTFIM(length_x=length_x, length_y=length_y, periodic=False, coupling=1.0, field=3.0)


def definition(network: Any, spins: np.ndarray) -> np.ndarray:
    """log ψ of one configuration (y, x) from Appendix B.1, one weight at a time."""
    height, breadth = spins.shape
    vertical = horizontal = spins[..., None].astype(float)

    def convolve(image: np.ndarray, layer: Any, columns: tuple[int, ...], masked: bool) -> np.ndarray:
        weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
        out = np.tile(bias, (height, breadth, 1))
        for y, x, ky, kx in np.ndindex(height, breadth, 3, 3):
            row, column = y + ky - 2, x + columns[kx]
            if row >= 0 and 0 <= column < breadth:
                tap = weight[:, :, ky, kx].copy()
                if masked and ky == kx == 2:
                    tap[:, 0] = 0
                out[y, x] += tap @ image[row, column]
        return out

    for block in range(network.depth):
        vertical = np.maximum(convolve(vertical, network.vertical[block], (-1, 0, 1), False), 0)
        shifted = np.concatenate([np.zeros_like(vertical[:1]), vertical[:-1]])
        joined = np.concatenate([horizontal, shifted], -1)
        horizontal = convolve(joined, network.horizontal[block], (-2, -1, 0), block == 0)
        if block < network.depth - 1:
            horizontal = np.maximum(horizontal, 0)
    value = (spins < 0).astype(int)[..., None]
    norm = np.logaddexp(2 * horizontal[..., 0], 2 * horizontal[..., 1]).sum() / 2
    total = np.take_along_axis(horizontal, value, -1).sum() - norm
    if horizontal.shape[-1] == 4:
        return np.asarray(total + 1j * np.take_along_axis(horizontal, value + 2, -1).sum())
    return np.asarray(total)


@pytest.mark.parametrize("phase", [True, False])
def test_forward_is_the_definition(phase: bool) -> None:
    network = common.random_network(replace(CONFIG, phase=phase), lattice(4, 3))
    spins = common.configurations(12)[torch.tensor([0, 1, 77, 1234, 4095])]
    expected = [definition(network, s.reshape(4, 3).numpy()) for s in spins]
    np.testing.assert_allclose(network.log_amplitude(spins).detach().numpy(), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_normalised(dtype: torch.dtype, tolerance: float) -> None:
    common.check_normalised(common.random_network(CONFIG, lattice(3, 3), dtype), 9, tolerance)


@pytest.mark.parametrize(("y", "x"), [(3, 3), (2, 4), (4, 2)])
def test_every_earlier_spin_and_no_later_one_counts(y: int, x: int) -> None:
    common.check_conditionals(common.random_network(replace(CONFIG, depth=4, width=12), lattice(y, x)), y * x)


@pytest.mark.parametrize(("y", "x"), [(3, 4), (5, 2), (1, 5), (5, 1), (2, 6)])
@pytest.mark.parametrize("depth", [1, 2, 4])
@pytest.mark.parametrize("phase", [True, False])
def test_draws_and_flips_agree_with_whole_forward_passes(y: int, x: int, depth: int, phase: bool) -> None:
    network = common.random_network(replace(CONFIG, depth=depth, phase=phase), lattice(y, x))
    numbers = common.uniforms(300, network)
    spins = network.draw(numbers)
    assert not spins.is_inference()
    assert torch.equal(spins, common.naive_draw(network, numbers))
    common.check_connected(network, spins[:40], common.some_masks(y * x))


@pytest.mark.parametrize("lines", [False, True])
def test_flips_of_a_larger_lattice(lines: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cones that end before the lattice does, on all sides; both ways to convolve."""
    network = common.random_network(replace(CONFIG, depth=2, width=6), lattice(9, 11))
    masks = torch.eye(99, dtype=torch.bool)
    bond = masks[3 * 11 + 5] | masks[4 * 11 + 5]
    spins = network.draw(common.uniforms(2, network))
    monkeypatch.setattr(pixelcnn_flips, "_in_lines", lambda values: lines)
    common.check_connected(network, spins, torch.cat([masks[::3], bond[None]]))


def test_flips_in_single_precision() -> None:
    """Here convolutions take lines of configurations by themselves, many at a time and one."""
    network = common.random_network(replace(CONFIG, depth=4, width=16), lattice(6, 5), torch.float32)
    spins = network.draw(common.uniforms(64, network))
    for some in (spins, spins[:1]):
        common.check_connected(network, some, common.some_masks(30), 2e-4)


@pytest.mark.parametrize("flips", [Box(0, 1, 0, 1), Box(2, 3, 4, 5), Box(3, 5, 2, 3), Box(6, 7, 0, 8)])
def test_cones_hold_all_changes_and_no_empty_margin(flips: Box) -> None:
    network = common.random_network(replace(CONFIG, width=8), lattice(7, 8))
    spins = common.configurations(3)[:, :1].repeat(1, 56)
    spins[1:] = torch.from_numpy(np.random.default_rng(0).choice([-1, 1], (7, 56)))
    flipped = spins.clone().reshape(8, 7, 8)
    flipped[:, flips.top : flips.bottom, flips.left : flips.right] *= -1
    before, after = ([layer.clone() for layer in network.layers(s)] for s in (spins, flipped.flatten(1)))
    found = cone(flips, 3, 7, 8)
    for block in range(3):
        for branch, boxes in ((0, found.vertical), (1, found.horizontal)):
            change = (before[2 * block + branch] - after[2 * block + branch]).abs().amax((0, 1)) > 0
            ys, xs = (torch.nonzero(change.any(axis)).flatten().tolist() for axis in (1, 0))
            if not ys:
                assert boxes[block].top >= boxes[block].bottom
                continue
            changed = Box(ys[0], ys[-1] + 1, xs[0], xs[-1] + 1)
            assert boxes[block] == changed.join(flips) if branch else changed


def test_draw_frequencies() -> None:
    common.check_draws(common.random_network(replace(CONFIG, phase=False), lattice(2, 3)), 6)


def test_uniforms_at_the_ends_of_their_interval() -> None:
    network = common.random_network(CONFIG, lattice(2, 2))
    assert network.draw(torch.zeros(1, 4, dtype=torch.float64)).tolist() == [[1] * 4]
    largest = torch.full((1, 4), 1 - 2.0**-53, dtype=torch.float64)
    assert network.draw(largest).tolist() == [[-1] * 4]


@pytest.mark.parametrize(("depth", "width", "phase", "parameters"), [(20, 32, True, 520_228), (6, 32, False, 131_106)])
def test_number_of_parameters(depth: int, width: int, phase: bool, parameters: int) -> None:
    """Weights and biases of Appendix B.1: 0.52 million for the depth that the text gives "~1 million"."""
    network = build_ansatz(replace(CONFIG, depth=depth, width=width, phase=phase), lattice(4, 4), 0)
    w, outputs = width, 4 if phase else 2
    vertical = (9 * w + w) + (depth - 1) * (9 * w * w + w)
    horizontal = (9 * (1 + w) * w + w) + (depth - 2) * (18 * w * w + w) + (18 * w * outputs + outputs)
    assert sum(p.numel() for p in network.parameters()) == vertical + horizontal == parameters


def test_initial_state() -> None:
    """Deep networks start out almost uniform, but their signal does not die on the way, not even at the first sites."""
    config = replace(CONFIG, depth=20, width=32, spread=0.03, output_scale=0.1)
    network: Any = build_ansatz(config, lattice(6, 6), 3)
    spins = torch.from_numpy(np.random.default_rng(1).choice([-1, 1], (100, 36)))
    with torch.no_grad():
        *_, layer, _, _ = (layer.clone() for layer in network.layers(spins))
        power = layer.relu().square().mean((0, 1))
        log_psi = network.log_amplitude(spins)
    assert power[0, 0] == 0  # nothing lies before the first site, and biases vanish
    assert 0.005 < power.flatten()[1:].min() < power.max() < 50
    assert 0 < log_psi.real.std() < 1
    assert 0 < log_psi.imag.std() < 1


def test_refused() -> None:
    for changes in ({"depth": 0}, {"width": 0}, {"spread": -0.1}, {"output_scale": 0.0}, {"symmetries": ["point"]}):
        with pytest.raises(ConfigError, match="^" + next(iter(changes))):
            replace(CONFIG, **changes)
    with pytest.raises(ConfigError, match="symmetries"):
        replace(CONFIG, symmetries=["spin_flip", "spin_flip"])
    with pytest.raises(ConfigError, match="square lattice"):
        CONFIG.check(ChainTFIM(n_sites=8, range=1, coupling=1.0, field=1.0))
    with pytest.raises(ConfigError, match="translations"):
        replace(CONFIG, symmetries=["translations"]).check(lattice(3, 3))
    CONFIG.check(SquareHeisenberg(length_x=4, length_y=3, periodic=True, j1=1.0, j2=0.0))
