"""What every directly sampled ansatz must satisfy, by enumeration."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from pipeline.spin.ansatz.build import build_ansatz
from pipeline.spin.systems import SpinSystem
from pipeline.spin.wave_function import AutoregressiveWaveFunction, DirectWaveFunction, WaveFunction


def configurations(n_sites: int) -> Tensor:
    """All (2^N, N) spins, int8; row number b has bit i of b set where spin i is -1."""
    return (1 - 2 * (torch.arange(2**n_sites)[:, None] >> torch.arange(n_sites) & 1)).to(torch.int8)


def random_network(config: Any, system: SpinSystem, dtype: torch.dtype = torch.float64, seed: int = 1) -> Any:
    """A network whose biases do not vanish."""
    network = build_ansatz(config, system, seed)
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim == 1:
                parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))
    return network.to(dtype)


def some_masks(n_sites: int) -> Tensor:
    """Single flips, neighbouring pairs, random sets, nothing and everything, (K, N) bool."""
    generator = torch.Generator().manual_seed(5)
    single = torch.eye(n_sites, dtype=torch.bool)
    random = torch.rand((8, n_sites), generator=generator) < 0.4
    ends = torch.stack([torch.zeros(n_sites, dtype=torch.bool), torch.ones(n_sites, dtype=torch.bool)])
    return torch.cat([single, single | single.roll(1, 0), random, ends])


def uniforms(batch: int, network: DirectWaveFunction, seed: int = 3) -> Tensor:
    return torch.rand((batch, network.n_uniforms), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def check_normalised(network: WaveFunction, n_sites: int, tolerance: float) -> None:
    log_psi = network.log_amplitude(configurations(n_sites))
    assert abs((2 * log_psi.real.double()).exp().sum().item() - 1) < tolerance


def check_conditionals(network: AutoregressiveWaveFunction, n_sites: int) -> None:
    """Each conditional is normalised, independent of later spins and dependent on every earlier one."""
    spins = configurations(n_sites)
    log_psi = network.conditionals(spins).detach()
    assert log_psi.shape == (2**n_sites, n_sites, 2)
    torch.testing.assert_close((2 * log_psi.real).exp().sum(-1), torch.ones(2**n_sites, n_sites, dtype=torch.float64))
    position = {site: k for k, site in enumerate(network.order)}
    assert sorted(position) == list(range(n_sites))
    for flipped in range(n_sites):
        partner = torch.arange(2**n_sites) ^ (1 << flipped)
        change = (log_psi - log_psi[partner]).abs().amax((0, 2))
        for site in range(n_sites):
            if position[site] <= position[flipped]:
                assert change[site] == 0, (site, flipped)
            else:
                assert change[site] > 1e-9, (site, flipped)


def naive_draw(network: AutoregressiveWaveFunction, numbers: Tensor) -> Tensor:
    """One forward pass a site: s = +1 where u < p(+1)."""
    spins = torch.ones(numbers.shape, dtype=torch.int8)
    for k, site in enumerate(network.order):
        up = (2 * network.conditionals(spins).detach().real[:, site, 0]).exp()
        spins[:, site] = torch.where(numbers[:, k] < up, 1, -1)
    return spins


def check_draws(network: DirectWaveFunction, n_sites: int, batch: int = 40_000) -> None:
    """Frequencies of draws against |ψ|²: χ² with p > 1e-4."""
    spins = network.draw(uniforms(batch, network))
    assert spins.dtype == torch.int8
    numbers = ((spins < 0).long() << torch.arange(n_sites)).sum(1)
    counts = torch.bincount(numbers, minlength=2**n_sites).numpy()
    with torch.no_grad():
        expected = batch * (2 * network.log_amplitude(configurations(n_sites)).real).exp().double().numpy()
    large = expected > 5
    statistic = ((counts - expected)[large] ** 2 / expected[large]).sum()
    rest = expected[~large].sum()
    if rest > 5:
        statistic += (counts[~large].sum() - rest) ** 2 / rest
    assert stats.chi2.sf(statistic, int(large.sum()) - 1) > 1e-4
    assert np.ptp(expected) > 0.2 * expected.mean()


def check_connected(network: WaveFunction, spins: Tensor, masks: Tensor, tolerance: float = 1e-10) -> None:
    """The faster evaluation of flips against the evaluation of each flipped configuration, exp() of both."""
    with torch.no_grad():
        expected = WaveFunction.connected_log_amplitudes(network, spins, masks)
    before = torch.is_grad_enabled()
    found = network.connected_log_amplitudes(spins, masks)
    assert torch.is_grad_enabled() == before
    assert not found.is_inference()
    assert found.dtype == expected.dtype
    assert (found.real - expected.real).abs().max() < tolerance
    assert (found.exp() - expected.exp()).abs().max() < tolerance
    for fraction in (0.0, 0.4):
        wanted = torch.rand((len(spins), len(masks)), generator=torch.Generator().manual_seed(7)) < fraction
        some = network.connected_log_amplitudes(spins, masks, wanted)
        assert some.real.isfinite().all()
        difference = torch.where(wanted, some.exp() - expected.exp(), torch.zeros_like(expected))
        assert difference.abs().max() < tolerance
