"""Periodic matrix product state against products written out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from pipeline.base.errors import ConfigError
from pipeline.spin.ansatz.build import build_ansatz
from pipeline.spin.ansatz.schema import MPSConfig
from pipeline.spin.systems import ChainHeisenberg, ChainTFIM, OpenChainTFIM
from tests.spin.ansatz import common

CONFIG = MPSConfig(bond_dimension=3, deviation=0.8)


def ring(n_sites: int) -> ChainTFIM:
    return ChainTFIM(n_sites=n_sites, range=1, coupling=1.0, field=1.0)


def network(n_sites: int, config: MPSConfig = CONFIG) -> Any:
    return build_ansatz(config, ring(n_sites), 4).double()


def product(state: Any, spins: np.ndarray) -> float:
    """Tr Π_i A^(i)_{s_i}."""
    matrices = state.matrices.detach().numpy()
    total = np.eye(matrices.shape[-1])
    for site, spin in enumerate(spins):
        total = total @ matrices[site, 0 if spin > 0 else 1]
    return float(np.trace(total))


@pytest.mark.parametrize("n_sites", [2, 5, 8])
def test_amplitudes(n_sites: int) -> None:
    state, spins = network(n_sites), common.configurations(n_sites)
    expected = np.array([product(state, s) for s in spins.numpy()])
    assert n_sites < 5 or (expected < 0).any()
    np.testing.assert_allclose(state(spins).detach().numpy(), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("n_sites", [2, 7])
def test_flips(n_sites: int) -> None:
    state, spins = network(n_sites), common.configurations(n_sites)
    masks = common.some_masks(n_sites)
    found = state.connected_log_amplitudes(spins, masks, torch.zeros(len(spins), len(masks), dtype=torch.bool))
    flipped = torch.where(masks, -spins[:, None], spins[:, None])
    expected = [[product(state, s) for s in row] for row in flipped.numpy()]
    np.testing.assert_allclose(found.exp().numpy(), expected, rtol=1e-9, atol=1e-12)


def test_gradients() -> None:
    """Re ∂ log ψ against finite differences: the scales taken out on the way do not count."""
    state, spins = network(5), common.configurations(5)[3:9]
    weights = torch.linspace(-1, 1, 6, dtype=torch.float64)
    (state.log_amplitude(spins).real * weights).sum().backward()
    for index in ((0, 0, 1, 2), (3, 1, 0, 0), (4, 0, 2, 1)):
        values = []
        for shift in (1e-6, -1e-6):
            with torch.no_grad():
                state.matrices[index] += shift
                values.append((state.log_amplitude(spins).real * weights).sum().item())
                state.matrices[index] -= shift
        assert state.matrices.grad[index].item() == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-5, abs=1e-8)


def test_long_rings_do_not_overflow() -> None:
    """ψ ~ 10^±500 at N = 50, beyond the range of float32 and float64."""
    for factor in (1e10, 1e-10):
        state = network(50).float()
        with torch.no_grad():
            state.matrices.mul_(factor)
        spins = torch.from_numpy(np.random.default_rng(0).choice([-1, 1], (20, 50)))
        log_psi = state.log_amplitude(spins)
        assert log_psi.real.isfinite().all()
        assert (log_psi.real / (50 * np.log(factor)) - 1).abs().max() < 0.1
        masks = torch.eye(50, dtype=torch.bool)[::7]
        flips = torch.stack([state.log_amplitude(torch.where(mask, -spins, spins)) for mask in masks], 1)
        torch.testing.assert_close(state.connected_log_amplitudes(spins, masks).real, flips.real, rtol=1e-4, atol=1e-3)


def test_initial_state_is_close_to_uniform() -> None:
    state = network(6, MPSConfig(bond_dimension=5, deviation=0.01))
    psi = state(common.configurations(6)).detach()
    assert (psi / 5 - 1).abs().max() < 0.2
    assert psi.std() > 0


def test_refused() -> None:
    for changes in ({"bond_dimension": 0}, {"deviation": 0.0}):
        with pytest.raises(ConfigError, match="^" + next(iter(changes))):
            MPSConfig(**{"bond_dimension": 2, "deviation": 0.1, **changes})  # type: ignore[arg-type]
    CONFIG.check(ChainHeisenberg(n_sites=6, periodic=True, j1=1.0, j2=0.0))
    for system in (
        OpenChainTFIM(n_sites=6, range=1, coupling=1.0, field=1.0),
        ChainHeisenberg(n_sites=6, periodic=False, j1=1.0, j2=0.0),
    ):
        with pytest.raises(ConfigError, match="ring"):
            CONFIG.check(system)
