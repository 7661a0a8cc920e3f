"""Training with any sampler: phases, sign rule, steps that are rejected, resuming in the middle of everything."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from pipeline.base.config.phases import PhaseConfig, SGDConfig
from pipeline.base.errors import NonFiniteError
from pipeline.base.run.loop import Loop, LoopSettings
from pipeline.base.store.files import load_tree, save_tree
from pipeline.spin.ansatz.schema import RBMConfig
from pipeline.spin.systems import ChainHeisenberg, SquareHeisenberg
from pipeline.spin.vmc.method import VariationalMonteCarlo
from pipeline.spin.vmc.state import VMCState
from tests.spin import dense
from tests.spin.elements import assembled
from tests.spin.small_vmc import (
    CHAIN_MATRIX,
    COMPLEX_RBM,
    DIRECT,
    METROPOLIS,
    TRAIN,
    TinyConfig,
    amplitudes,
    build,
    rayleigh,
)

PHASES = [
    PhaseConfig(steps=4, samples=40),
    PhaseConfig(steps=4, samples=100, lr=0.02, lr_end=0.005),
    PhaseConfig(steps=4, samples=200, sgd=SGDConfig(lr=0.1, momentum=0.9)),
]


def parameters(state: VMCState) -> list[Tensor]:
    return [p.detach().clone() for p in state.ansatz.parameters()]


def same(a: list[Tensor], b: list[Tensor]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize(
    ("sampler", "ansatz", "tolerance"),
    [
        (replace(DIRECT, samples=400), TinyConfig(deviation=0.1), 3e-2),  # what its few parameters can represent
        (replace(METROPOLIS, samples=400, chains=100), TRAIN.ansatz, 5e-3),
    ],
    ids=["direct", "metropolis"],
)
def test_sampled_training_reaches_the_ground_state(sampler: Any, ansatz: Any, tolerance: float) -> None:
    exact = dense.lowest(CHAIN_MATRIX)
    method = build(sampler=sampler, ansatz=ansatz, phases=[PhaseConfig(steps=200, lr=0.03, lr_end=0.002)])
    state = method.init(1)
    first = method.step(state, 0)["energy"]
    for k in range(1, 200):
        method.step(state, k)
    assert first > exact * (1 - 0.05)
    assert exact <= rayleigh(state.ansatz, CHAIN_MATRIX) < exact * (1 - tolerance)


def test_gradient_of_samples_is_that_of_all_configurations() -> None:
    """With many samples, within their error; duplicates are weighted, not dropped."""
    whole, drawn = build(ansatz=TinyConfig(phases=True)), build(ansatz=TinyConfig(phases=True), sampler=DIRECT)
    exact, sampled = whole.init(1), drawn.init(1)
    whole.step(exact, 0)
    gradients = []
    for k in range(60):
        fresh = copy.deepcopy(sampled)
        drawn.step(fresh, k)
        gradients.append(torch.cat([p.grad.flatten() for p in fresh.ansatz.parameters() if p.grad is not None]))
    found = torch.stack(gradients)
    expected = torch.cat([p.grad.flatten() for p in exact.ansatz.parameters() if p.grad is not None])
    error = found.std(0) / 60**0.5
    moving = error > 0
    pulls = (found.mean(0) - expected)[moving] / error[moving]
    assert pulls.square().mean() < 1.6
    assert expected.norm() > 10 * error.norm()
    assert found.mean(0)[~moving].abs().max() == 0


def test_phases_set_batch_size_learning_rate_and_optimizer() -> None:
    method = build(sampler=METROPOLIS, phases=PHASES)
    state = method.init(1)
    sizes = []
    inner = method.sampler.sample

    def counting(ansatz: Any, chains: Any, samples: Any, *rest: Any) -> Any:
        sizes.append(samples)
        return inner(ansatz, chains, samples, *rest)

    method.sampler.sample = counting  # type: ignore[method-assign, assignment]
    rates, kinds = [], []
    for k in range(14):
        rates.append(method.step(state, k)["lr"])
        kinds.append(type(state.optimizer).__name__)
        assert state.optimizer.param_groups[0]["lr"] == rates[-1]
    assert sizes == [40] * 4 + [100] * 4 + [200] * 6
    assert kinds == ["Adam"] * 8 + ["SGD"] * 6
    assert rates[:4] == [0.01] * 4
    assert rates[4] == 0.02 > rates[5] > rates[6] > rates[7] > 0.005
    assert rates[8:] == [0.1] * 6


def test_sgd_with_momentum_moves_by_the_gradient() -> None:
    method = build(optimizer=SGDConfig(lr=0.05, momentum=0.5))
    state = method.init(1)
    places, gradients = [parameters(state)], []
    for k in range(2):
        method.step(state, k)
        places.append(parameters(state))
        gradients.append([p.grad.clone() for p in state.ansatz.parameters() if p.grad is not None])
    for before, after, last, g0, g1 in zip(*places, *gradients, strict=True):
        torch.testing.assert_close(after - before, -0.05 * g0, rtol=1e-9, atol=1e-15)
        torch.testing.assert_close(last - after, -0.05 * (g1 + 0.5 * g0), rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("stop", [2, 6, 8, 10])
@pytest.mark.parametrize(
    ("sampler", "ansatz"),
    [(METROPOLIS, COMPLEX_RBM), (DIRECT, TinyConfig(phases=True))],
    ids=["metropolis", "direct"],
)
def test_resume_in_the_middle_of_a_phase_is_exact(tmp_path: Path, sampler: Any, ansatz: Any, stop: int) -> None:
    """Chains, optimizer of the phase, moments, count of rejected steps: all come back bit for bit."""
    method = build(sampler=sampler, ansatz=ansatz, phases=PHASES)
    state = method.init(1)
    expected = [method.step(state, k) for k in range(14)]
    half = method.init(1)
    metrics = [method.step(half, k) for k in range(stop)]
    half.rejected = 7
    save_tree(tmp_path / "state", half.state_dict())
    other = build(sampler=sampler, ansatz=ansatz, phases=PHASES)
    resumed = other.init(99)
    resumed.seed = state.seed
    resumed.load_state_dict(load_tree(tmp_path / "state"))
    assert resumed.rejected == 7
    resumed.rejected = 0
    metrics += [other.step(resumed, k) for k in range(stop, 14)]
    assert metrics == expected
    assert same(parameters(state), parameters(resumed))
    if sampler is METROPOLIS:
        assert torch.equal(state.sampling.state_dict()["spins"], resumed.sampling.state_dict()["spins"])


class _Poison:
    """Makes local energies or the gradient of chosen steps NaN, through the ansatz."""

    def __init__(self, method: VariationalMonteCarlo, state: VMCState, what: str) -> None:
        self.method, self.state, self.what = method, state, what

    def step(self, k: int) -> dict[str, float]:
        inner = self.state.ansatz.log_amplitude

        def poisoned(spins: Tensor) -> Tensor:
            values = inner(spins)
            if torch.is_grad_enabled() == (self.what == "gradient"):
                values = values + torch.where(values.real > -1e9, (values.real - values.real.detach()).sqrt(), 0.0)
                if self.what == "local energies":
                    values = values * torch.nan
            return values

        self.state.ansatz.log_amplitude = poisoned  # type: ignore[method-assign]
        try:
            return self.method.step(self.state, k)
        finally:
            del self.state.ansatz.log_amplitude


@pytest.mark.parametrize("what", ["local energies", "gradient"])
@pytest.mark.parametrize("sampler", [TRAIN.sampler, METROPOLIS], ids=["exhaustive", "metropolis"])
def test_steps_that_are_not_finite_are_rejected(what: str, sampler: Any, caplog: pytest.LogCaptureFixture) -> None:
    method = build(sampler=sampler)
    state = method.init(1)
    for k in range(3):
        method.step(state, k)
    before, moments = parameters(state), copy.deepcopy(state.optimizer.state_dict())
    poison = _Poison(method, state, what)
    for k in (3, 4):
        assert poison.step(k) == {"rejected_steps": k - 2}
    assert f"step 4 rejected: {what} not finite" in caplog.text
    assert same(before, parameters(state))
    after = state.optimizer.state_dict()
    assert after["param_groups"] == moments["param_groups"]
    for i, values in moments["state"].items():
        assert all(torch.equal(value, after["state"][i][name]) for name, value in values.items())
    metrics = method.step(state, 5)
    assert metrics["rejected_steps"] == 2
    assert all(map(torch.isfinite, parameters(state)[0]))
    assert not same(before, parameters(state))
    assert [poison.step(k) for k in (6, 7)] == [{"rejected_steps": 3}, {"rejected_steps": 4}]
    with pytest.raises(NonFiniteError, match=rf"training: {what} not finite in 3 steps in a row, the last one step 8"):
        poison.step(8)


def test_the_loop_survives_a_rejected_step(tmp_path: Path) -> None:
    method = build()
    state = method.init(1)
    poison = _Poison(method, state, "local energies")
    loop = Loop(tmp_path, state, LoopSettings())
    outcome = loop.run("train", lambda s, k: poison.step(k) if k in (2, 3) else method.step(s, k), 6)
    assert (outcome.done, outcome.stopped) == (6, None)
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 6
    assert (state.rejected, state.rejected_in_a_row) == (2, 0)


def test_sign_rule_rotates_a_bipartite_antiferromagnet() -> None:
    """A positive ansatz reaches the ground state of the rotated model only; correlations of σz stay what they are."""
    system = SquareHeisenberg(length_x=3, length_y=2, periodic=False, j1=1.0, j2=0.0)
    matrix = dense.square_heisenberg(3, 2, False, 1.0, 0.0)
    values, vectors = torch.linalg.eigh(torch.from_numpy(matrix))
    exact, ground = float(values[0]), vectors[:, 0].numpy()
    results = {}
    for rule in ("none", "stoquastic"):
        ansatz = RBMConfig(alpha=2, deviation=0.1, parameters="real")
        phases = [PhaseConfig(steps=300, lr=0.05, lr_end=0.001)]
        method = build(system, method_sign_rule=rule, ansatz=ansatz, phases=phases)
        state = method.init(1)
        for k in range(300):
            method.step(state, k)
        results[rule] = method.summarise([method.measure(state, 0)])
    assert results["none"].estimate("energy").value > exact * (1 - 0.1)
    energy = results["stoquastic"].estimate("energy").value
    assert exact - 1e-9 <= energy < exact * (1 - 5e-3)
    spins = dense.basis(6)
    bonds = system.nearest_bonds()
    correlation = sum((ground**2 * spins[:, i] * spins[:, j]).sum() for i, j in bonds) / len(bonds)
    assert results["stoquastic"].estimate("nearest_correlation").value == pytest.approx(correlation, abs=0.02)


def test_sign_rule_leaves_the_spectrum_alone() -> None:
    ring = ChainHeisenberg(n_sites=6, periodic=True, j1=1.0, j2=0.0)
    energies = []
    for rule in ("none", "stoquastic"):
        method = build(ring, method_sign_rule=rule)
        matrix = torch.from_numpy(assembled(method.hamiltonian))
        energies.append(torch.linalg.eigvalsh(matrix))
        assert (matrix - matrix.diag().diag() <= 0).all() == (rule == "stoquastic")
    torch.testing.assert_close(energies[0], energies[1], rtol=0, atol=1e-12)


def test_complex_ansatz_learns_signs() -> None:
    """Without the sign rule, from phases."""
    ring = ChainHeisenberg(n_sites=4, periodic=True, j1=1.0, j2=0.0)
    exact = dense.lowest(dense.chain_heisenberg(4, True, 1.0, 0.0))
    method = build(
        ring, ansatz=replace(COMPLEX_RBM, deviation=0.2), phases=[PhaseConfig(steps=400, lr=0.05, lr_end=0.001)]
    )
    state = method.init(2)
    for k in range(400):
        method.step(state, k)
    psi = amplitudes(state.ansatz, 4)
    assert abs(psi.imag).max() > 0
    assert exact - 1e-9 <= rayleigh(state.ansatz, dense.chain_heisenberg(4, True, 1.0, 0.0)) < exact * (1 - 1e-2)


def test_memory_running_out_during_a_step_changes_round_off_only() -> None:
    method, small = build(), build()
    state, other = method.init(1), small.init(1)
    inner = other.ansatz.log_amplitude

    def limited(spins: Tensor) -> Tensor:
        if len(spins) > (5 if torch.is_grad_enabled() else 20):
            raise torch.OutOfMemoryError("CUDA out of memory")
        return inner(spins)

    other.ansatz.log_amplitude = limited  # type: ignore[method-assign]
    for k in range(3):
        assert small.step(other, k) == pytest.approx(method.step(state, k), rel=1e-9)
    assert small.chunks.size("gradients") <= 5
    for a, b in zip(parameters(state), parameters(other), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)
