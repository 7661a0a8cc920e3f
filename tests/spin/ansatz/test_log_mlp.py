"""Multilayer perceptron with layer norms against its formula written out."""

from __future__ import annotations

from dataclasses import replace
from math import erf
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.base.errors import ConfigError
from pipeline.spin.ansatz.build import build_ansatz
from pipeline.spin.ansatz.log_mlp_config import AMPLITUDES, LogMLPConfig
from pipeline.spin.systems import ChainTFIM, SquareTFIM
from pipeline.stages.compose import compose_run
from tests.spin.ansatz import common

CONFIG = LogMLPConfig(depth=2, width=5, activation="gelu", amplitudes="signed")
RING = ChainTFIM(n_sites=6, range=1, coupling=1.0, field=1.0)


def outputs(network: Any, spins: np.ndarray) -> np.ndarray:
    """Linear, LayerNorm, GELU; at the end linear."""
    parameters = [p.detach().numpy() for p in network.parameters()]
    x = spins.astype(float)
    while len(parameters) > 2:
        weight, bias, gain, shift, *parameters = parameters
        x = x @ weight.T + bias
        x = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5) * gain + shift
        x = x * 0.5 * (1 + np.vectorize(erf)(x / np.sqrt(2)))
    return np.asarray(x @ parameters[0].T + parameters[1])


@pytest.mark.parametrize("amplitudes", AMPLITUDES)
@pytest.mark.parametrize("system", [RING, SquareTFIM(length_x=1, length_y=1, periodic=False, coupling=1.0, field=1.0)])
def test_amplitudes(amplitudes: str, system: Any) -> None:
    network: Any = common.random_network(replace(CONFIG, amplitudes=amplitudes), system)
    spins = common.configurations(system.size)
    values = outputs(network, spins.numpy())
    log_psi = network.log_amplitude(spins).detach().numpy()
    expected = {
        "signed": lambda v: np.exp(v[:, 0]) * v[:, -1],
        "complex": lambda v: np.exp(v[:, 0] + 1j * v[:, -1]),
        "positive": lambda v: np.exp(v[:, 0]),
    }[amplitudes](values)
    np.testing.assert_allclose(np.exp(log_psi), expected, rtol=1e-10)
    assert np.iscomplexobj(log_psi) == (amplitudes != "positive")
    assert network.signed == (amplitudes == "signed")


def test_size_and_precision() -> None:
    network: Any = build_ansatz(replace(CONFIG, depth=4, width=128), RING, 1)
    assert sum(p.numel() for p in network.parameters()) == 6 * 128 + 3 * 128**2 + 4 * 3 * 128 + 2 * 128 + 2
    single = network.log_amplitude(common.configurations(6))
    double = network.double().log_amplitude(common.configurations(6))
    assert single.dtype == torch.complex64
    torch.testing.assert_close(single.exp(), double.exp().to(torch.complex64), rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        network.network[-1].weight.mul_(1e4)
    assert network.log_amplitude(common.configurations(6)).isfinite().all()


def test_file_is_that_of_the_appendix() -> None:
    config = compose_run(["method=vmc", "ansatz=log_mlp"]).train.ansatz
    assert (config.depth, config.width, config.activation) == (4, 128, "gelu")
    with pytest.raises(ConfigError, match="amplitudes"):
        compose_run(["method=vmc", "ansatz=log_mlp", "train.ansatz.amplitudes=real"])


def test_a_width_of_one_is_refused() -> None:
    """A layer norm of one number would be a constant."""
    with pytest.raises(ConfigError, match="at least 2"):
        replace(CONFIG, width=1)
