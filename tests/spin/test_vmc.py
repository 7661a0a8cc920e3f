"""Variational Monte Carlo with exact weights, against dense linear algebra."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.base.checkpoint import load_tree, save_tree
from pipeline.base.errors import ConfigError
from pipeline.base.schema import InferConfig, TrainConfig
from pipeline.spin.ansatz.rbm import RBM
from pipeline.spin.hamiltonian import Hamiltonian
from pipeline.spin.networks import build_ansatz
from pipeline.spin.sampler.exhaustive import ExhaustiveSampler
from pipeline.spin.schema import (
    AdamConfig,
    ChainTFIM,
    ExhaustiveConfig,
    RBMConfig,
    SpinSystem,
    SquareTFIM,
    VMCConfig,
)
from pipeline.spin.terms import PauliTerm, pauli_terms
from pipeline.spin.vmc import VariationalMonteCarlo, local_energy
from tests.spin import dense

TRAIN = TrainConfig(
    method=VMCConfig(),
    ansatz=RBMConfig(alpha=2, deviation=0.3),
    sampler=ExhaustiveConfig(max_sites=12),
    optimizer=AdamConfig(lr=0.01, betas=(0.9, 0.999)),
    steps=10,
    seed=3,
    dtype="float64",
)
INFER = InferConfig(units=1, seed=5)
CHAIN = ChainTFIM(n_sites=5, range=2, coupling=0.7, field=1.3)
CHAIN_MATRIX = dense.ring(5, 2, 0.7, 1.3)


def build(system: SpinSystem = CHAIN, train: TrainConfig = TRAIN) -> VariationalMonteCarlo:
    return VariationalMonteCarlo(system, train, INFER, "cpu")


def amplitudes(ansatz: torch.nn.Module, n_sites: int) -> np.ndarray:
    """ψ on the rows of the dense matrices, from the definition of the RBM (Π 2cosh)."""
    x = dense.basis(n_sites)
    p = {name: value.detach().numpy().astype(float) for name, value in ansatz.named_parameters()}
    theta = x @ p["dense.weight"].T + p["dense.bias"]
    return np.asarray(np.exp(x @ p["visible_bias"]) * np.prod(2 * np.cosh(theta), axis=1))


def rayleigh(ansatz: torch.nn.Module, matrix: np.ndarray) -> float:
    psi = amplitudes(ansatz, int(np.log2(len(matrix))))
    return float(psi @ matrix @ psi / (psi @ psi))


def test_rbm() -> None:
    ansatz: Any = build_ansatz(TRAIN.ansatz, CHAIN, 1).double()
    assert isinstance(ansatz, RBM)
    assert ansatz.dense.weight.shape == (10, 5)
    log_psi = ansatz.log_amplitude(torch.from_numpy(dense.basis(5)).to(torch.int8))
    np.testing.assert_allclose(log_psi.detach().numpy(), np.log(amplitudes(ansatz, 5)), rtol=1e-12)
    with torch.no_grad():
        ansatz.dense.weight.mul_(1e4)
    assert ansatz.log_amplitude(torch.ones(1, 5)).isfinite().all()
    ring = ChainTFIM(n_sites=30, range=1, coupling=1.0, field=1.0)
    deviations = torch.cat([p.flatten() for p in RBM(RBMConfig(alpha=4, deviation=0.05), ring).parameters()]).std()
    assert deviations.item() == pytest.approx(0.05, rel=0.1)


def test_local_energy() -> None:
    method = build()
    ansatz = method.init(1).ansatz
    psi = amplitudes(ansatz, 5)
    spins = torch.from_numpy(dense.basis(5)).to(torch.int8)
    local = local_energy(method.hamiltonian, ansatz, spins)
    assert local.dtype == torch.float64
    assert not local.requires_grad
    np.testing.assert_allclose(local.numpy(), CHAIN_MATRIX @ psi / psi, rtol=1e-11)
    some = torch.tensor([3, 3, 17])
    torch.testing.assert_close(local_energy(method.hamiltonian, ansatz, spins[some]), local[some], rtol=1e-12, atol=0)


def test_local_energy_of_general_strings() -> None:
    terms: list[tuple[float, str, tuple[int, ...]]] = [
        (0.5, "xx", (0, 3)),
        (0.8, "yy", (1, 2)),
        (-0.3, "zxz", (0, 2, 4)),
        (1.1, "yzy", (4, 0, 1)),
        (0.4, "z", (2,)),
    ]
    ansatz: Any = build_ansatz(TRAIN.ansatz, CHAIN, 1).double()
    psi = amplitudes(ansatz, 5)
    hamiltonian = Hamiltonian([PauliTerm(*term) for term in terms], 5)
    local = local_energy(hamiltonian, ansatz, torch.from_numpy(dense.basis(5)))
    np.testing.assert_allclose(local.numpy(), (dense.strings(5, terms).real @ psi) / psi, rtol=1e-10, atol=1e-10)


def test_local_energy_of_an_unnormalisable_amplitude() -> None:
    """Amplitudes of e^±2000 overflow; their ratios do not."""
    ansatz: Any = build_ansatz(TRAIN.ansatz, CHAIN, 1).double()
    spins = torch.from_numpy(dense.basis(5))
    hamiltonian = Hamiltonian(pauli_terms(CHAIN), 5)
    expected = local_energy(hamiltonian, ansatz, spins)
    with torch.no_grad():
        ansatz.dense.bias[0] += 2000.0
        ansatz.dense.weight[0] = 0.0
    assert local_energy(hamiltonian, ansatz, spins).isfinite().all()
    assert expected.isfinite().all()


def test_exhaustive_weights() -> None:
    method = build()
    state = method.init(1)
    spins, weights = ExhaustiveSampler(TRAIN.sampler, 5, "cpu").sample(state.ansatz, 1, "any", 0)
    assert spins.shape == (32, 5)
    assert spins.dtype == torch.int8
    assert sorted(dense.row(spins.numpy()).tolist()) == list(range(32))
    assert weights.dtype == torch.float64
    assert weights.sum().item() == pytest.approx(1.0, abs=1e-14)
    psi = amplitudes(state.ansatz, 5)[dense.row(spins.numpy())]
    np.testing.assert_allclose(weights.numpy(), psi**2 / (psi @ psi), rtol=1e-11)


def test_exhaustive_limit() -> None:
    TRAIN.sampler.check(ChainTFIM(n_sites=12, range=1, coupling=1.0, field=1.0))
    with pytest.raises(ConfigError, match=r"2\^13"):
        TRAIN.sampler.check(ChainTFIM(n_sites=13, range=1, coupling=1.0, field=1.0))
    VMCConfig().check(CHAIN)
    with pytest.raises(ConfigError, match="spin systems"):
        VMCConfig().check(object())


def test_gradient_against_finite_differences() -> None:
    method = build()
    state = method.init(1)
    before = copy.deepcopy(state.ansatz)
    metrics = method.step(state, 0)
    psi = amplitudes(before, 5)
    h_psi = CHAIN_MATRIX @ psi
    energy = rayleigh(before, CHAIN_MATRIX)
    assert metrics["energy"] == pytest.approx(energy, rel=1e-12)
    assert metrics["variance"] == pytest.approx(h_psi @ h_psi / (psi @ psi) - energy**2, rel=1e-9)
    step = 1e-5
    for (name, parameter), new in zip(before.named_parameters(), state.ansatz.parameters(), strict=True):
        assert new.grad is not None
        flat = parameter.data.view(-1)
        for i in range(len(flat)):
            centre = flat[i].item()
            flat[i] = centre + step
            up = rayleigh(before, CHAIN_MATRIX)
            flat[i] = centre - step
            down = rayleigh(before, CHAIN_MATRIX)
            flat[i] = centre
            assert new.grad.view(-1)[i].item() == pytest.approx((up - down) / (2 * step), rel=1e-6, abs=1e-8), name
        moved = new.grad.abs() > 1e-4
        torch.testing.assert_close(
            (new.detach() - parameter.detach())[moved], -0.01 * new.grad.sign()[moved], rtol=1e-3, atol=0
        )


@pytest.mark.parametrize("periodic", [True, False])
def test_rbm_learns_the_square_lattice(periodic: bool) -> None:
    system = SquareTFIM(length_x=3, length_y=3, periodic=periodic, coupling=1.0, field=3.0 if periodic else 1.5)
    exact = dense.lowest(dense.square(3, 3, periodic, 1.0, system.field))
    method = build(system, replace(TRAIN, ansatz=RBMConfig(alpha=2, deviation=0.05)))
    state = method.init(2)
    energies = [method.step(state, k)["energy"] for k in range(400)]
    assert min(energies) >= exact - 1e-11 * abs(exact)
    assert energies[0] > exact + 0.02 * abs(exact)
    record = method.measure(state, 0)
    assert exact <= record["energy"] <= exact + 1e-3 * abs(exact)
    result = method.summarise([record])
    energy = result.estimate("energy")
    assert (energy.value, energy.sigma, energy.bound) == (record["energy"], 0.0, "variational")
    assert result.estimate("variance").value == record["variance"]
    assert result.estimate("v_score").value == pytest.approx(9 * record["variance"] / record["energy"] ** 2)


def test_variance_vanishes_for_an_eigenstate() -> None:
    """Without couplings the uniform state is the ground state: E = -hN, no variance, no gradient."""
    method = build(ChainTFIM(n_sites=5, range=1, coupling=0.0, field=0.8))
    state = method.init(1)
    with torch.no_grad():
        for parameter in state.ansatz.parameters():
            parameter.zero_()
    metrics = method.step(state, 0)
    assert metrics["energy"] == pytest.approx(-4.0, rel=1e-13)
    assert abs(metrics["variance"]) < 1e-20
    assert all(p.grad is not None and p.grad.abs().max() < 1e-14 for p in state.ansatz.parameters())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_resume_is_exact(tmp_path: Path, dtype: str) -> None:
    train = replace(TRAIN, dtype=dtype)
    method = build(train=train)
    state = method.init(1)
    expected = [method.step(state, k) for k in range(6)]
    half = method.init(1)
    metrics = [method.step(half, k) for k in range(3)]
    save_tree(tmp_path / "state", half.state_dict())
    other = build(train=train)
    resumed = other.init(1)
    resumed.load_state_dict(load_tree(tmp_path / "state"))
    metrics += [other.step(resumed, k) for k in range(3, 6)]
    assert metrics == expected
    assert other.converged(resumed) is None
    for a, b in zip(state.ansatz.parameters(), resumed.ansatz.parameters(), strict=True):
        assert a.dtype == getattr(torch, dtype)
        assert torch.equal(a, b)
    moments = [s.optimizer.state_dict()["state"] for s in (state, resumed)]
    assert all(torch.equal(moments[0][i][name], moments[1][i][name]) for i in moments[0] for name in moments[0][i])
