"""Jastrow wave function against its formula written out, and in a training."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from pipeline.base.config.phases import PhaseConfig, SRConfig
from pipeline.base.errors import ConfigError
from pipeline.spin.ansatz.build import build_ansatz
from pipeline.spin.ansatz.jastrow_config import JastrowConfig
from pipeline.spin.systems import ChainTFIM
from pipeline.stages.compose import compose_run
from tests.spin import dense
from tests.spin.ansatz import common
from tests.spin.small_vmc import build, rayleigh

RING = ChainTFIM(n_sites=6, range=1, coupling=1.0, field=1.5)
FORMS = ["real", "complex"]


def network(parameters: str, n_sites: int = 6) -> Any:
    system = ChainTFIM(n_sites=n_sites, range=1, coupling=1.0, field=1.0)
    return build_ansatz(JastrowConfig(deviation=0.3, parameters=parameters), system, 1).double()


def fields_and_couplings(state: Any, n_sites: int) -> tuple[np.ndarray, np.ndarray]:
    """a and the upper triangle W, complex where the parameters are."""
    parts = state.coefficients.detach().numpy()
    values = parts[0] + 1j * parts[1] if len(parts) == 2 else parts[0]
    couplings = np.zeros((n_sites, n_sites), dtype=values.dtype)
    rest = iter(values[n_sites:])
    for i in range(n_sites):
        for j in range(i + 1, n_sites):
            couplings[i, j] = next(rest)
    assert next(rest, None) is None
    return values[:n_sites], couplings


@pytest.mark.parametrize("parameters", FORMS)
@pytest.mark.parametrize("n_sites", [2, 6])
def test_amplitudes(parameters: str, n_sites: int) -> None:
    state, spins = network(parameters, n_sites), common.configurations(n_sites)
    a, w = fields_and_couplings(state, n_sites)
    found = state.log_amplitude(spins).detach().numpy()
    for row, value in zip(spins.numpy().astype(float), found, strict=True):
        expected = sum(a[i] * row[i] for i in range(n_sites))
        expected += sum(w[i, j] * row[i] * row[j] for i in range(n_sites) for j in range(i + 1, n_sites))
        assert value == pytest.approx(expected, rel=1e-12)
    assert np.iscomplexobj(found) == (parameters == "complex")


@pytest.mark.parametrize("parameters", FORMS)
def test_ratios_of_single_flips(parameters: str) -> None:
    """log ψ(x')/ψ(x) = -2 s_i (a_i + Σ_j W_ij s_j), W symmetric."""
    state, spins = network(parameters), common.configurations(6)
    a, w = fields_and_couplings(state, 6)
    x = spins.numpy().astype(float)
    expected = -2.0 * x * (a + x @ (w + w.T))
    with torch.no_grad():
        there = state.connected_log_amplitudes(spins, torch.eye(6, dtype=torch.bool))
        found = there - state.log_amplitude(spins)[:, None]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-10, atol=1e-12)


def test_ground_state_of_a_chain() -> None:
    """Pair products leave out correlations of four spins and more: close to the ground state, never below it."""
    matrix = dense.ring(6, 1, 1.0, 1.5)
    exact = dense.lowest(matrix)
    config = JastrowConfig(deviation=0.01, parameters="real")
    sr = SRConfig(lr=0.05, shift=1e-4, momentum=0.0, max_distance=0.1)
    method = build(RING, ansatz=config, optimizer=sr, phases=[PhaseConfig(steps=150)])
    state = method.init(1)
    first = method.step(state, 0)["energy"]
    for k in range(1, 150):
        method.step(state, k)
    energy = rayleigh(state.ansatz, matrix)
    assert exact <= energy < exact * (1 - 5e-3)
    assert first > exact * (1 - 5e-2)


def test_configuration() -> None:
    run = compose_run(["method=vmc", "ansatz=jastrow", "train.ansatz.parameters=complex"])
    assert type(run.train.ansatz) is JastrowConfig
    with pytest.raises(ConfigError, match=r"train\.ansatz\.deviation=0"):
        compose_run(["method=vmc", "ansatz=jastrow", "train.ansatz.deviation=0"])
    with pytest.raises(ConfigError, match=r"train\.ansatz\.parameters=phases: must be one of real, complex"):
        compose_run(["method=vmc", "ansatz=jastrow", "train.ansatz.parameters=phases"])
