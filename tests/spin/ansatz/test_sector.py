"""PixelCNN confined to one Σ σz: enumeration, draws, flips, gradients and energies."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.base.config.phases import PhaseConfig, SRConfig
from pipeline.base.errors import ConfigError
from pipeline.spin.ansatz.schema import PixelCNNConfig
from pipeline.spin.chunks import Chunks
from pipeline.spin.hamiltonian import Hamiltonian
from pipeline.spin.sampler.contract import NoState
from pipeline.spin.sampler.exhaustive import ExhaustiveSampler
from pipeline.spin.sampler.metropolis import MetropolisSampler
from pipeline.spin.sampler.schema import DirectConfig, ExhaustiveConfig
from pipeline.spin.space import space_of
from pipeline.spin.sr.derivatives import log_derivatives
from pipeline.spin.systems import SquareHeisenberg, SquareTFIM
from pipeline.spin.terms import pauli_terms
from pipeline.spin.vmc.local_energy import local_energy
from pipeline.spin.vmc.method import VariationalMonteCarlo
from pipeline.spin.vmc.schema import VMCInferConfig
from pipeline.spin.wave_function import WaveFunction
from tests.spin import dense
from tests.spin.ansatz import common
from tests.spin.small_vmc import METROPOLIS, TRAIN

CONFIG = PixelCNNConfig(depth=3, width=5, phase=True, spread=1.0, output_scale=1.0, symmetries=[], magnetisation=0)
INFER = VMCInferConfig(units=1, seed=5, samples=None, chains="fresh", keep_samples=False)
SHAPES = [(3, 4, 0), (3, 3, 1), (3, 3, -5), (4, 2, 8), (5, 2, -2), (1, 6, 0)]


def lattice(length_y: int, length_x: int) -> SquareHeisenberg:
    return SquareHeisenberg(length_x=length_x, length_y=length_y, periodic=False, j1=1.0, j2=0.0)


def network_of(y: int, x: int, magnetisation: int | None, **changes: Any) -> Any:
    return common.random_network(replace(CONFIG, magnetisation=magnetisation, **changes), lattice(y, x))


@pytest.mark.parametrize(("y", "x", "magnetisation"), SHAPES)
def test_amplitudes_by_counting_what_is_left(y: int, x: int, magnetisation: int) -> None:
    """From the conditionals of the same network without a sector."""
    spins = common.configurations(y * x)
    free = network_of(y, x, None).conditionals(spins).detach()
    ups, downs = (y * x + magnetisation) // 2, (y * x - magnetisation) // 2
    expected = np.zeros(len(spins), dtype=complex)
    for b, line in enumerate(spins.tolist()):
        probability, phase = float(line.count(1) == ups), 0.0
        for i, s in enumerate(line):
            left = (ups - line[:i].count(1), downs - line[:i].count(-1))
            if probability:
                weights = [n * math.exp(2 * c.real) for n, c in zip(left, free[b, i].tolist(), strict=True)]
                probability *= weights[s < 0] / sum(weights)
                phase += free[b, i, int(s < 0)].imag.item()
        expected[b] = math.sqrt(probability) * complex(math.cos(phase), math.sin(phase))
    network = network_of(y, x, magnetisation)
    found = network.log_amplitude(spins).detach()
    np.testing.assert_allclose(found.exp(), expected, rtol=0, atol=1e-12)
    assert torch.equal(found.real == -math.inf, spins.sum(1) != magnetisation)
    common.check_normalised(network, y * x, 1e-12)


def test_a_network_without_outputs_is_uniform_in_the_sector() -> None:
    network = network_of(3, 4, 2, phase=False)
    with torch.no_grad():
        network.horizontal[-1].weight.zero_()
        network.horizontal[-1].bias.zero_()
        log_psi = network.log_amplitude(common.configurations(12))
    assert (log_psi > -math.inf).sum() == math.comb(12, 7)
    np.testing.assert_allclose(log_psi[log_psi > -math.inf], -0.5 * math.log(math.comb(12, 7)), rtol=1e-12)


@pytest.mark.parametrize(("y", "x", "magnetisation"), SHAPES)
def test_draws_and_flips(y: int, x: int, magnetisation: int) -> None:
    network = network_of(y, x, magnetisation)
    numbers = common.uniforms(200, network)
    spins = network.draw(numbers)
    assert (spins.sum(1) == magnetisation).all()
    assert torch.equal(spins, common.naive_draw(network, numbers))
    pairs = torch.zeros(math.comb(y * x, 2), y * x, dtype=torch.bool)
    for mask, pair in zip(pairs, itertools.combinations(range(y * x), 2), strict=True):
        mask[list(pair)] = True
    masks = torch.cat([pairs, common.some_masks(y * x)])
    with torch.no_grad():
        expected = WaveFunction.connected_log_amplitudes(network, spins[:30], masks)
    found = network.connected_log_amplitudes(spins[:30], masks)
    assert torch.equal(found.real == -math.inf, expected.real == -math.inf)
    torch.testing.assert_close(found.exp(), expected.exp(), rtol=0, atol=1e-10)
    wanted = expected.real > -math.inf
    some = network.connected_log_amplitudes(spins[:30], masks, wanted)
    torch.testing.assert_close(some[wanted].exp(), expected[wanted].exp(), rtol=0, atol=1e-10)


def test_frequencies_and_symmetries() -> None:
    common.check_draws(network_of(2, 3, 0, phase=False), 6)
    averaged = network_of(2, 3, 0, symmetries=["point_group", "spin_flip"])
    common.check_normalised(averaged, 6, 1e-12)
    common.check_draws(averaged, 6)


@pytest.mark.filterwarnings("error")
def test_gradients_are_finite_and_those_of_finite_differences() -> None:
    """Without the warning of torch that it evaluates one configuration after the other."""
    network = network_of(2, 3, 0, phase=False)
    spins = common.configurations(6)
    spins = spins[spins.sum(1) == 0]
    jacobian = log_derivatives(network, spins, Chunks(None))
    parameters = list(network.parameters())
    flat = torch.nn.utils.parameters_to_vector(parameters).detach()
    assert jacobian.shape == (len(spins), len(flat))
    with torch.no_grad():
        for k in range(0, len(flat), 17):
            sides = []
            for step in (1e-6, -1e-6):
                moved = flat.clone()
                moved[k] += step
                torch.nn.utils.vector_to_parameters(moved, parameters)
                sides.append(network.log_amplitude(spins))
            np.testing.assert_allclose(jacobian[:, k], (sides[0] - sides[1]) / 2e-6, atol=1e-8)


def test_refused() -> None:
    with pytest.raises(ConfigError, match=r"magnetisation.*Σ σz = -9, -7, ..., 9"):
        CONFIG.check(lattice(3, 3))
    with pytest.raises(ConfigError, match="magnetisation"):
        replace(CONFIG, magnetisation=14).check(lattice(3, 4))
    with pytest.raises(ConfigError, match="conserve Σ σz; use null"):
        CONFIG.check(SquareTFIM(length_x=4, length_y=3, periodic=False, coupling=1.0, field=3.0))
    with pytest.raises(ConfigError, match="spin_flip"):
        replace(CONFIG, magnetisation=2, symmetries=["spin_flip"])
    with pytest.raises(ConfigError, match="rule=exchange"):
        METROPOLIS.check_ansatz(CONFIG)
    exchange = replace(METROPOLIS, rule="exchange", global_flip=0.0, start="random")
    exchange.check_ansatz(CONFIG)
    with pytest.raises(ConfigError, match="must be 0 or 1"):
        exchange.check_ansatz(replace(CONFIG, magnetisation=2))


def test_exact_expectation_values_within_the_sector() -> None:
    """Enumeration leaves out what has no amplitude; ⟨H⟩ of the state is that of its vector."""
    system, network = lattice(2, 3), network_of(2, 3, 0, phase=False)
    batch = ExhaustiveSampler(ExhaustiveConfig(max_sites=10), space_of(system), "cpu", Chunks(None)).sample(
        network, NoState(), None, 0, "test", 0
    )
    assert len(batch.spins) == math.comb(6, 3)
    energies = local_energy(Hamiltonian(pauli_terms(system), 6), network, batch.spins, Chunks(None))
    psi = network.log_amplitude(torch.from_numpy(dense.basis(6))).detach().exp().numpy()
    expected = psi @ dense.square_heisenberg(3, 2, False, 1.0, 0.0) @ psi
    np.testing.assert_allclose((batch.weights * energies).sum(), expected, rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("phase", [False, True])
def test_training_in_a_sector(dtype: str, phase: bool) -> None:
    """Direct draws, stochastic reconfiguration, phases on a smaller lattice, then chains of exchanges."""
    schedule = [
        PhaseConfig(steps=1, system={"length_x": 2, "length_y": 2}),
        PhaseConfig(steps=2, sr=SRConfig(lr=0.05, shift=0.01, momentum=0.9, max_distance=0.1)),
    ]
    train = replace(
        TRAIN,
        ansatz=replace(CONFIG, depth=2, width=4, phase=phase, symmetries=["spin_flip"]),
        sampler=DirectConfig(samples=32),
        phases=schedule,
        steps=3,
        dtype=dtype,
    )
    method = VariationalMonteCarlo(lattice(3, 4), train, INFER, "cpu")
    state = method.init(4)
    metrics = [method.step(state, k) for k in range(3)]
    assert all(np.isfinite(m["energy"] if "energy" in m else m["small_energy"]) for m in metrics)
    chains = replace(METROPOLIS, rule="exchange", global_flip=0.2, start="random")
    sampler = MetropolisSampler(chains, space_of(lattice(3, 4)), "cpu", Chunks(None))
    walkers = sampler.start(1, "test")
    batch = sampler.sample(state.ansatz, walkers, None, 1, "test", 0)
    assert (batch.spins.sum(1) == 0).all()
    assert batch.metrics["acceptance"] > 0
