"""Variational Monte Carlo with exact weights, against dense linear algebra."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.base.errors import ConfigError
from pipeline.base.store.files import load_tree, save_tree
from pipeline.spin.ansatz.build import build_ansatz
from pipeline.spin.ansatz.rbm import RBM
from pipeline.spin.ansatz.schema import RBMConfig
from pipeline.spin.chunks import Chunks
from pipeline.spin.sampler.exhaustive import ExhaustiveSampler
from pipeline.spin.space import space_of
from pipeline.spin.systems import ChainTFIM, SquareTFIM
from tests.spin import dense
from tests.spin.small_vmc import (
    CHAIN,
    CHAIN_MATRIX,
    COMPLEX_RBM,
    METHOD,
    TRAIN,
    TinyConfig,
    amplitudes,
    build,
    rayleigh,
)


def product_form(ansatz: torch.nn.Module, n_sites: int) -> np.ndarray:
    """ψ on the rows of the dense matrices, from the definition of the RBM (Π 2cosh)."""
    x = dense.basis(n_sites)
    p = {name: value.detach().numpy().astype(float) for name, value in ansatz.named_parameters()}
    theta, visible = x @ p["dense.weight"].T + p["dense.bias"], x @ p["visible_bias"]
    if "phase_visible_bias" in p:
        theta = theta + 1j * (x @ p["phase_dense.weight"].T + p["phase_dense.bias"])
        visible = visible + 1j * x @ p["phase_visible_bias"]
    return np.asarray(np.exp(visible) * np.prod(2 * np.cosh(theta), axis=1))


@pytest.mark.parametrize("parameters", ["real", "complex"])
def test_rbm(parameters: str) -> None:
    ansatz: Any = build_ansatz(replace(TRAIN.ansatz, parameters=parameters), CHAIN, 1).double()
    assert isinstance(ansatz, RBM)
    assert ansatz.dense.weight.shape == (10, 5)
    log_psi = ansatz.log_amplitude(torch.from_numpy(dense.basis(5)).to(torch.int8)).detach().numpy()
    np.testing.assert_allclose(np.exp(log_psi), product_form(ansatz, 5), rtol=1e-12)
    assert np.iscomplexobj(log_psi) == (parameters == "complex")
    with torch.no_grad():
        ansatz.dense.weight.mul_(1e4)
    assert ansatz.log_amplitude(torch.ones(1, 5)).isfinite().all()
    ring = ChainTFIM(n_sites=30, range=1, coupling=1.0, field=1.0)
    rbm = RBM(RBMConfig(alpha=4, deviation=0.05, parameters=parameters), ring)
    deviations = torch.cat([p.flatten() for p in rbm.parameters()]).std()
    assert deviations.item() == pytest.approx(0.05, rel=0.1)


def test_exhaustive_weights() -> None:
    method = build()
    state = method.init(1)
    sampler = ExhaustiveSampler(TRAIN.sampler, space_of(CHAIN), "cpu", Chunks(1e-6))
    batch = sampler.sample(state.ansatz, sampler.start(1, "any"), None, 1, "any", 0)
    spins, weights = batch.spins, batch.weights
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
    METHOD.check(CHAIN)
    with pytest.raises(ConfigError, match="spin systems"):
        METHOD.check(object())


@pytest.mark.parametrize("ansatz", [TRAIN.ansatz, COMPLEX_RBM, TinyConfig(phases=True)], ids=["real", "complex", "ar"])
@pytest.mark.parametrize("memory_gib", [0.01, 1e-5], ids=["whole", "chunks"])
def test_gradient_against_finite_differences(ansatz: Any, memory_gib: float) -> None:
    """Of the exact energy, for real log ψ and for log ψ with phases."""
    method = build(ansatz=ansatz, method_memory_gib=memory_gib)
    state = method.init(1)
    before: Any = copy.deepcopy(state.ansatz)
    metrics = method.step(state, 0)
    assert (method.chunks.size("gradients") < 32) == (memory_gib == 1e-5)
    psi = amplitudes(before, 5)
    assert np.iscomplexobj(psi) == (ansatz is not TRAIN.ansatz)
    h_psi = CHAIN_MATRIX @ psi
    energy, norm = rayleigh(before, CHAIN_MATRIX), (abs(psi) ** 2).sum()
    assert metrics["energy"] == pytest.approx(energy, rel=1e-12)
    assert metrics["variance"] == pytest.approx((abs(h_psi) ** 2).sum() / norm - energy**2, rel=1e-9)
    step = 1e-5
    squares = 0.0
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
            squares += ((up - down) / (2 * step)) ** 2
        moved = new.grad.abs() > 1e-4
        torch.testing.assert_close(
            (new.detach() - parameter.detach())[moved], -0.01 * new.grad.sign()[moved], rtol=1e-3, atol=0
        )
    assert metrics["gradient_norm"] == pytest.approx(squares**0.5, rel=1e-6)


def test_gradient_clipping() -> None:
    free, clipped = build(), build(method_gradient_clip=0.25)
    states = [method.init(1) for method in (free, clipped)]
    metrics = [method.step(state, 0) for method, state in zip((free, clipped), states, strict=True)]
    assert metrics[0] == metrics[1]
    norm = metrics[0]["gradient_norm"]
    assert norm > 0.5
    for a, b in zip(states[0].ansatz.parameters(), states[1].ansatz.parameters(), strict=True):
        assert a.grad is not None
        assert b.grad is not None
        torch.testing.assert_close(b.grad, a.grad * 0.25 / norm, rtol=1e-5, atol=0)


@pytest.mark.parametrize("periodic", [True, False])
def test_rbm_learns_the_square_lattice(periodic: bool) -> None:
    system = SquareTFIM(length_x=3, length_y=3, periodic=periodic, coupling=1.0, field=3.0 if periodic else 1.5)
    exact = dense.lowest(dense.square(3, 3, periodic, 1.0, system.field))
    method = build(system, ansatz=RBMConfig(alpha=2, deviation=0.05, parameters="real"))
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
    method = build(dtype=dtype)
    state = method.init(1)
    expected = [method.step(state, k) for k in range(6)]
    half = method.init(1)
    metrics = [method.step(half, k) for k in range(3)]
    save_tree(tmp_path / "state", half.state_dict())
    other = build(dtype=dtype)
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
