"""Dense and convolutional autoregressive networks: definitions, enumeration, draws and flips."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.base.errors import ConfigError
from pipeline.spin.ansatz.build import build_ansatz
from pipeline.spin.ansatz.conv_ar import CausalConvolution
from pipeline.spin.ansatz.dense_ar import MaskedDense
from pipeline.spin.ansatz.schema import ConvARConfig, DenseARConfig, SequentialConfig
from pipeline.spin.ansatz.symmetrised import Symmetrised
from pipeline.spin.systems import ChainTFIM
from tests.spin.ansatz import common

DENSE = DenseARConfig(layers=3, features=3, phase=True, output_scale=1.0, symmetries=[])
CONV = ConvARConfig(layers=3, features=4, kernel=None, phase=True, output_scale=1.0, symmetries=[])
BOTH = pytest.mark.parametrize("config", [DENSE, CONV], ids=["dense", "conv"])


def ring(n_sites: int) -> ChainTFIM:
    return ChainTFIM(n_sites=n_sites, range=1, coupling=1.0, field=1.0)


def definition(network: Any, spins: np.ndarray) -> complex:
    """log ψ of one configuration, one pair of sites at a time."""
    n_sites = len(spins)
    features = spins[:, None].astype(float)
    for k, layer in enumerate(network.layers):
        weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
        rows = []
        for i in range(n_sites):
            total = (bias[i] if bias.ndim == 2 else bias).copy()
            for j in range(i + 1 if k else i):
                if weight.ndim == 4:
                    total += features[j] @ weight[i, j]
                else:
                    tap = weight.shape[2] - 1 - (i - j - (0 if k else 1))
                    total += weight[:, :, tap] @ features[j] if tap >= 0 else 0.0
            rows.append(total)
        features = np.array(rows)
        if k < len(network.layers) - 1:
            features = 1.0507009873554805 * np.where(features > 0, features, 1.6732632423543772 * np.expm1(features))
    value = (spins < 0).astype(int)
    sites = np.arange(n_sites)
    magnitude = features[sites, value] - np.logaddexp(2 * features[:, 0], 2 * features[:, 1]) / 2
    return complex(magnitude.sum() + 1j * features[sites, 2 + value].sum())


@BOTH
def test_forward_is_the_definition(config: SequentialConfig) -> None:
    network = common.random_network(config, ring(7))
    spins = common.configurations(7)[::9]
    expected = [definition(network, s.numpy()) for s in spins]
    np.testing.assert_allclose(network.log_amplitude(spins).detach().numpy(), expected, rtol=0, atol=1e-12)


@BOTH
def test_conditionals(config: SequentialConfig) -> None:
    network = common.random_network(config, ring(8))
    common.check_normalised(network, 8, 1e-12)
    common.check_conditionals(network, 8)
    common.check_normalised(common.random_network(replace(config, phase=False), ring(8), torch.float32), 8, 1e-5)


@BOTH
@pytest.mark.parametrize("layers", [1, 2, 4])
@pytest.mark.parametrize("phase", [True, False])
def test_draws_and_flips_agree_with_whole_forward_passes(config: SequentialConfig, layers: int, phase: bool) -> None:
    network = common.random_network(replace(config, layers=layers, phase=phase), ring(9))
    numbers = common.uniforms(300, network)
    spins = network.draw(numbers)
    assert not spins.is_inference()
    assert torch.equal(spins, common.naive_draw(network, numbers))
    common.check_connected(network, spins[:40], common.some_masks(9))


def test_flips_beyond_the_reach_of_the_kernels() -> None:
    network = common.random_network(replace(CONV, kernel=2, layers=2), ring(12))
    common.check_connected(network, network.draw(common.uniforms(9, network)), common.some_masks(12))


@BOTH
def test_draw_frequencies(config: SequentialConfig) -> None:
    common.check_draws(common.random_network(replace(config, phase=False), ring(6)), 6)


@BOTH
def test_averaged_over_a_ring(config: SequentialConfig) -> None:
    symmetries = ["point_group", "translations", "spin_flip"]
    network = common.random_network(replace(config, symmetries=symmetries, phase=False), ring(6))
    assert isinstance(network, Symmetrised)
    common.check_normalised(network, 6, 1e-12)
    spins = common.configurations(6)
    torch.testing.assert_close(network.log_amplitude(spins), network.log_amplitude(-spins.roll(2, 1).flip(1)))
    common.check_connected(network, spins[::9], common.some_masks(6))


def test_number_of_parameters() -> None:
    """The paper's settings at N = 30: six layers of 2N nodes; four of 512 kernels over 15 sites."""

    def count(config: SequentialConfig) -> int:
        return sum(p.numel() for p in build_ansatz(replace(config, phase=False), ring(30), 0).parameters())

    nodes = 60
    assert count(replace(DENSE, layers=6, features=2)) == 30 * nodes + 5 * nodes**2 + 6 * nodes
    assert count(replace(CONV, layers=4, features=512)) == 15 * (512 + 2 * 512**2 + 512 * 2) + 3 * 512 + 2


@BOTH
def test_refused(config: SequentialConfig) -> None:
    for changes in ({"layers": 0}, {"features": 0}, {"output_scale": float("nan")}, {"symmetries": ["mirror"]}):
        with pytest.raises(ConfigError, match="^" + next(iter(changes))):
            replace(config, **changes)
    with pytest.raises(ConfigError, match="kernel"):
        replace(CONV, kernel=0)


@pytest.mark.parametrize("exclusive", [True, False])
@pytest.mark.parametrize(("n_sites", "kernel"), [(1, 1), (3, 2), (2, 5), (30, 4), (31, 15)])
def test_a_line_of_sites_is_the_convolution(n_sites: int, kernel: int, exclusive: bool) -> None:
    """What some sites contribute to some others, by matrix products and by the convolution itself."""
    torch.manual_seed(n_sites)
    layer = CausalConvolution(2, 3, kernel, exclusive).double()
    part = layer.prepared(n_sites)
    assert part != layer.part
    features = torch.randn(4, n_sites, 2, dtype=torch.float64)
    for first in range(0, n_sites, 7):
        for seen in {1, n_sites - first}:
            stop = layer.reach(first + seen, n_sites)
            some = features[:, first : first + seen]
            torch.testing.assert_close(part(some, first, stop), layer.part(some, first, stop), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("exclusive", [True, False])
@pytest.mark.parametrize("n_sites", [1, 2, 3, 9])
def test_prepared_weights_are_those_of_the_masked_layer(n_sites: int, exclusive: bool, dtype: torch.dtype) -> None:
    torch.manual_seed(n_sites)
    layer = MaskedDense(n_sites, 2, 3, exclusive).to(dtype)
    with torch.no_grad():
        layer.weight.add_(1.0)  # where the mask is zero too
    part, tolerance = layer.prepared(n_sites), 1e-5 if dtype == torch.float32 else 1e-13
    features = torch.randn(4, n_sites, 2, dtype=dtype)
    for first in range(n_sites):
        for seen in range(1, n_sites - first + 1):
            for stop in range(first + seen, n_sites + 1):
                some = features[:, first : first + seen]
                expected = torch.zeros(4, stop - first, 3, dtype=dtype)
                for i in range(first, stop):
                    for j in range(first, min(first + seen, i if exclusive else i + 1)):
                        expected[:, i - first] += some[:, j - first] @ layer.weight[i, j].detach()
                for found in (part(some, first, stop), layer.part(some, first, stop)):
                    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)
    assert not part(features, 0, n_sites).requires_grad


def test_a_line_too_large_for_the_caches_is_left_to_the_convolution() -> None:
    layer = CausalConvolution(300, 300, 2, exclusive=False)
    assert layer.prepared(6) == layer.part
