"""Pseudo-inverse, MARCH and the guard of stochastic reconfiguration, against formulas and by what they do."""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pipeline.base.config.phases import PhaseConfig, SRConfig
from pipeline.base.errors import ConfigError
from pipeline.base.store.files import load_tree, save_tree
from pipeline.base.store.keys import plain
from pipeline.spin.ansatz.schema import RBMConfig
from pipeline.spin.sampler.contract import Batch
from pipeline.spin.sampler.schema import DirectConfig
from pipeline.spin.sr import optimizer as module
from pipeline.spin.sr import solve as solving
from pipeline.spin.sr.dense import DenseLogDerivatives
from pipeline.spin.sr.guard import Energy, Guard
from pipeline.spin.sr.optimizer import StochasticReconfiguration
from pipeline.spin.sr.solve import CHOLESKY, Solver
from pipeline.spin.systems import OpenChainTFIM
from tests.spin import dense
from tests.spin.small_vmc import CHAIN, CHAIN_MATRIX, DIRECT, TinyConfig, build, rayleigh

SR = SRConfig(lr=0.05, shift=1e-2, momentum=0.9, max_distance=0.1)
PARAMETERS = 12


def operator(seed: int, samples: int = 5) -> tuple[DenseLogDerivatives, Tensor]:
    """X and f of random numbers."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn((samples, PARAMETERS), generator=generator, dtype=torch.float64)
    weights = torch.full((samples,), 1 / samples, dtype=torch.float64)
    return DenseLogDerivatives(rows, weights), torch.randn(samples, generator=generator, dtype=torch.float64)


def matrix(x: DenseLogDerivatives) -> Tensor:
    return x.pull(torch.eye(x.shape[1], dtype=torch.float64))


def optimizer(**changes: Any) -> tuple[StochasticReconfiguration, nn.Parameter]:
    parameter = nn.Parameter(torch.zeros(PARAMETERS, dtype=torch.float64))
    options = {"lr": 0.1, "shift": 1e-3, "momentum": 0.0, "max_distance": None} | changes
    return StochasticReconfiguration([parameter], **options), parameter


@pytest.mark.parametrize(("rtol", "atol"), [(1e-12, 0.0), (0.3, 0.0), (0.0, 0.2)])
def test_the_pseudo_inverse_cuts_small_eigenvalues_off(rtol: float, atol: float) -> None:
    """1/[s (1 + (c/s)⁶)] of each eigenvalue s of XᵀX, c = rtol max(s) + atol; the zero of the centring has none."""
    x, f = operator(1)
    sr, parameter = optimizer(solver="pinv", rtol=rtol, atol=atol, shift=0.0)
    sr.step(x, f)
    left, singular, right = torch.linalg.svd(matrix(x), full_matrices=False)
    s = singular.square()
    cut = rtol * s.max() + atol
    inverse = torch.where(s > 1e-12, 1 / (s * (1 + (cut / s) ** 6)), torch.zeros_like(s))
    expected = left @ (singular * inverse * (right @ f))
    torch.testing.assert_close(parameter.detach(), 0.1 * expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("large", [False, True])
def test_a_matrix_is_factorised_in_its_own_memory_or_made_anew(large: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(solving, "LARGE", 0 if large else 100)
    x, f = operator(2, samples=30)
    made: list[Tensor] = []

    def make(indefinite: bool) -> Tensor:
        made.append(x.gram())
        if indefinite:
            made[-1][:2, :2] = made[-1].new_tensor([[1.0, 3.0], [3.0, 1.0]])
        return made[-1]

    expected = torch.linalg.solve(x.gram() + 0.1 * torch.eye(30, dtype=torch.float64), f)
    torch.testing.assert_close(CHOLESKY(lambda: make(False), 0.1, f), expected, rtol=1e-10, atol=1e-12)
    assert len(made) == 1
    # no Cholesky factor: what is left of it are the positive eigenvalues
    values, vectors = torch.linalg.eigh(make(True))
    kept = values > 1e-12
    expected = vectors[:, kept] @ ((vectors[:, kept].T @ f) / (values[kept] + 0.1))
    torch.testing.assert_close(CHOLESKY(lambda: make(True), 0.1, f), expected, rtol=1e-9, atol=1e-12)
    assert len(made) == 4
    broken = x.gram()
    broken[3, 1] = float("inf")
    assert Solver()(lambda: broken, 0.1, f).isnan().all()


@pytest.mark.parametrize("samples", [5, 40], ids=["samples", "parameters"])
def test_march_is_spring_in_a_metric_of_second_moments(samples: int) -> None:
    """d = argmin |Xᵀd - f|² + λ (d - μ d')ᵀ diag(v)^{1/2} (d - μ d'), v = β v' + (d' - d'')²."""
    sr, parameter = optimizer(second_moment=0.7, momentum=0.9)
    zero = torch.zeros(PARAMETERS, dtype=torch.float64)
    last, before, moment = zero, zero, torch.ones_like(zero)
    for k in range(4):
        x, f = operator(k, samples)
        here = parameter.detach().clone()
        sr.step(x, f)
        metric = 1e-3 * torch.diag(moment.sqrt())
        guess = 0.9 * last
        big = matrix(x)
        expected = guess + torch.linalg.solve(big @ big.T + metric, big @ (f - big.T @ guess))
        torch.testing.assert_close((parameter.detach() - here) / 0.1, expected, rtol=1e-5, atol=1e-7)
        last, before = expected, last
        moment = (last - before).square() + (0.7 * moment if k else 0.0)


def test_march_without_memory_of_moments_is_spring() -> None:
    """β = 0 switches it off; equal second moments are a shift."""
    (plain_sr, one), (off, other) = optimizer(momentum=0.9), optimizer(momentum=0.9, second_moment=0.0)
    for k in range(3):
        plain_sr.step(*operator(k))
        off.step(*operator(k))
    assert torch.equal(one, other)
    assert "second_moment" not in off.state_dict()
    equal, third = optimizer(momentum=0.9, second_moment=0.5)
    equal.step(*operator(0))
    state = equal.state_dict()
    state["second_moment"]["moment"] = torch.full((PARAMETERS,), 9.0, dtype=torch.float64)
    equal.load_state_dict(state)
    shifted, fourth = optimizer(momentum=0.9, shift=3e-3)
    shifted.load_state_dict({"previous": state["previous"]})
    before = third.detach().clone()
    equal.step(*operator(1))
    shifted.step(*operator(1))
    torch.testing.assert_close(third.detach() - before, fourth.detach(), rtol=1e-6, atol=1e-9)


def energy(value: float, error: float = 0.1) -> Energy:
    return Energy(value, error, 0.0)


def test_a_step_that_raised_the_energy_is_undone() -> None:
    sr, parameter = optimizer(guard=True, momentum=0.9, second_moment=0.5)
    assert sr.guard is not None
    start = parameter.detach().clone()
    assert not sr.undo(energy(-1.0))
    sr.step(*operator(0))
    assert not sr.undo(energy(-0.9))  # noise
    first, remembered = parameter.detach().clone(), sr.state_dict()
    sr.step(*operator(1))
    shift = sr.guard.shift
    assert sr.undo(energy(-0.2))
    assert torch.equal(parameter, first)
    assert not torch.equal(parameter, start)
    assert sr.guard.shift == 4 * shift
    assert sr.guard.undone == 1
    assert sr.state_dict()["previous"] is None
    assert torch.equal(sr.state_dict()["second_moment"]["moment"], remembered["second_moment"]["moment"])
    # nothing is left to undo, and the batch tells anew what the energy is
    assert not sr.undo(energy(5.0))
    sr.step(*operator(2))
    assert not sr.undo(energy(5.1))


def test_the_shift_follows_the_predictions() -> None:
    """A step that brings less than a quarter of what was predicted is undone, whether or not the energy rose."""
    guard, here = Guard(1e-3), torch.zeros(1)
    assert not guard.rejects(energy(0.0, 0.01))
    for undone in (1, 2):
        guard.starts(here, -4.0, 1.0)
        assert guard.rejects(energy(-0.5, 0.01))
        assert guard.shift == pytest.approx(1e-3 * 4.0**undone)
        assert guard.undone == undone
        guard.before = None  # as the optimizer does where it undoes
        assert not guard.rejects(energy(0.0, 0.01))
    shifts = []
    for value in (-4.0, -8.0, -9.5, -13.0):
        guard.starts(here, -4.0, 1.0)
        assert not guard.rejects(energy(value, 0.01))
        shifts.append(guard.shift)
    assert shifts == pytest.approx([16e-3 / 1.5**k for k in range(1, 5)])
    for _ in range(5):
        guard.starts(here, -1.0, 1.0)
        assert not guard.rejects(energy(-13.0, 1.0)), "within the noise"
    assert guard.shift == 1e-3
    guard.forget()
    assert not guard.rejects(energy(1e6))


@pytest.mark.parametrize(("coupling", "left"), [(1e3, 0.01), (1e4, 0.5)])
def test_strong_couplings_with_the_steps_of_weak_ones(coupling: float, left: float) -> None:
    """Without the guard a long step makes all but two configurations so rare that they never come back."""
    method = build(OpenChainTFIM(n_sites=4, range=1, coupling=coupling, field=1.0), optimizer=replace(SR, guard=True))
    state = method.init(0)
    for k in range(150):
        method.step(state, k)
    hamiltonian = dense.open_chain(4, 1, coupling, 1.0)
    exact = float(np.linalg.eigvalsh(hamiltonian)[0])
    # aligned spins lack 1.5/V: two ends that flip for 2 V, two sites within for 4 V
    assert rayleigh(state.ansatz, hamiltonian) - exact < left * 1.5 / coupling


@pytest.mark.parametrize("deviation", [math.inf, 1.0], ids=["sum", "draws"])
def test_the_step_remembered_is_not_far_longer_than_the_one_that_was_taken(deviation: float) -> None:
    """Where all configurations are summed over; of draws it is the one of SPRING."""
    x, f = operator(0)
    (free, far), (guarded, near) = optimizer(max_distance=1e-3), optimizer(max_distance=1e-3, guard=True)
    assert not guarded.undo(Energy(1.0, 0.0, 0.0, deviation))
    for sr in (free, guarded):
        sr.step(x, f)
    torch.testing.assert_close(near, far)
    assert float((0.1 * free.state_dict()["previous"]).norm()) > 10 * float(far.detach().norm())
    if deviation == 1.0:
        assert torch.equal(guarded.state_dict()["previous"], free.state_dict()["previous"])
    else:
        torch.testing.assert_close(0.1 * guarded.state_dict()["previous"], module.REMEMBERED * near.detach())


@pytest.mark.parametrize("sampler", [replace(DIRECT, samples=200), None], ids=["draws", "sum"])
def test_a_guard_that_undoes_nothing_changes_nothing(sampler: DirectConfig | None) -> None:
    """Bit for bit."""
    options: dict[str, Any] = {} if sampler is None else {"sampler": sampler}
    runs = []
    for guard in (False, True):
        method = build(**options, ansatz=TinyConfig(), optimizer=replace(SR, guard=guard))
        state = method.init(3)
        runs.append([method.step(state, k) for k in range(6)])
    assert all(m["undone_steps"] == 0 for m in runs[1])
    assert [m["energy"] for m in runs[0]] == [m["energy"] for m in runs[1]]


def test_rises_beyond_what_a_step_can_do_are_not_blamed_on_it() -> None:
    """Configurations that no batch had are what made them: of draws, 2 σ d is the largest first-order change."""
    here = torch.zeros(1)
    for deviation, length, change, undone in [
        (1.0, 0.1, 0.3, True),
        (1.0, 0.1, 0.5, False),
        (1.0, 1e-4, 0.3, False),
        (10.0, 0.1, 0.5, True),
        (math.inf, 1e-4, 0.5, True),
    ]:
        guard = Guard(1e-3)
        guard.rejects(Energy(0.0, 1e-3, 0.0, min(deviation, 1.0) if deviation < math.inf else deviation))
        guard.starts(here, -1e-9, length)
        assert guard.rejects(Energy(change, 1e-3, 0.0, deviation)) == undone, (deviation, length, change)


def test_predicted_changes_are_those_of_the_energy() -> None:
    """To first order in a small step, all configurations summed over."""
    method = build(optimizer=replace(SR, lr=1e-4, momentum=0.0, guard=True))
    state = method.init(1)
    before = rayleigh(state.ansatz, CHAIN_MATRIX)
    method.step(state, 0)
    guard = state.optimizer.state_dict()["guard"]
    assert guard["energy"][0] == pytest.approx(before, rel=1e-9)
    change = rayleigh(state.ansatz, CHAIN_MATRIX) - before
    assert change < 0
    assert guard["predicted"] == pytest.approx(change, rel=1e-2)


def test_the_noise_of_a_batch() -> None:
    """σ/sqrt(n) of independent draws, however often a row was drawn; more where chains differ; none of a sum."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.tensor([[1, 1], [1, -1], [-1, 1], [-1, -1]], dtype=torch.int8)
    local = torch.tensor([0.0, 1.0, 2.0, 5.0], dtype=torch.float64)
    draws = rows[torch.randint(4, (1, 400), generator=generator)]
    batch = Batch.of_draws(draws)
    values = local[(2 * (batch.spins[:, 0] < 0) + (batch.spins[:, 1] < 0)).long()]
    each = values[batch.order.flatten()] if batch.order is not None else values
    found = Energy.of(batch, values, torch.float64)
    assert found.value == pytest.approx(float(each.mean()))
    assert found.error == pytest.approx(float(each.std(correction=0)) / 20)
    stuck = Batch.of_draws(rows[torch.arange(16) % 4][:, None].expand(-1, 25, -1))
    sorted_values = local[(2 * (stuck.spins[:, 0] < 0) + (stuck.spins[:, 1] < 0)).long()]
    of_chains = float(local.std(correction=0)) / math.sqrt(15)
    assert Energy.of(stuck, sorted_values, torch.float64).error == pytest.approx(of_chains)
    exact = Batch(rows, torch.full((4,), 0.25, dtype=torch.float64))
    assert Energy.of(exact, local, torch.float64).error == 0
    assert 0 < Energy.of(exact, local, torch.float64).rounding < 1e-13
    weighted = Batch.of_weighted_draws(rows, torch.tensor([0.0, 1.0, 0.5, 0.2], dtype=torch.float64))
    w, x = weighted.weights, local[(2 * (weighted.spins[:, 0] < 0) + (weighted.spins[:, 1] < 0)).long()]
    expected = float((w.square() * (x - w @ x).square()).sum().sqrt())
    assert Energy.of(weighted, x, torch.float64).error == pytest.approx(expected)


def test_steps_far_too_long_for_a_spectrum_still_find_the_ground_state() -> None:
    """E = -7V - 5h²/2V at V = 1000; without the guard the spins end aligned, 3.6e-7 above it, and stay so."""
    system = OpenChainTFIM(n_sites=8, range=1, coupling=1000.0, field=1.0)
    sr = SRConfig(lr=2.5e-2, shift=1e-2, momentum=0.9, max_distance=0.1, guard=True)
    method = build(system, optimizer=sr, ansatz=RBMConfig(alpha=2, deviation=0.05, parameters="real"), dtype="float32")
    state = method.init(1)
    for k in range(70):
        metrics = method.step(state, k)
    assert metrics["undone_steps"] > 0
    assert metrics["shift"] >= 1e-2
    assert 0 < metrics["energy"] + 7000.0025 < 2e-4


def test_a_step_that_is_not_finite_is_tried_with_a_larger_shift(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[float] = []

    def solve(x: Any, target: Tensor, shift: float, solver: Solver) -> Tensor:
        asked.append(shift)
        found = solving.solve(x, target, shift, solver)
        return found if shift > 0.05 else found * float("inf")

    monkeypatch.setattr(module, "solve", solve)
    sr, parameter = optimizer()
    x, f = operator(0)
    with caplog.at_level(logging.WARNING):
        assert math.isfinite(sr.step(x, f))
    assert asked == pytest.approx([1e-3, 1e-2, 1e-1])
    assert "trying the shift" in caplog.text
    expected = matrix(x) @ torch.linalg.solve(x.gram() + 0.1 * torch.eye(5, dtype=torch.float64), f)
    torch.testing.assert_close(parameter.detach(), 0.1 * expected, rtol=1e-9, atol=1e-12)
    assert sr.shift == 1e-3
    asked.clear()
    f[0] = float("nan")
    assert math.isnan(sr.step(x, f))
    assert len(asked) == 1


def test_a_guarded_step_does_not_explode() -> None:
    sr, parameter = optimizer(guard=True, shift=0.1)
    x, f = operator(0)
    assert 0 < sr.step(x, 3e3 * f) < module.FARTHEST
    assert sr.guard is not None
    assert sr.guard.shift == pytest.approx(10)
    before = parameter.detach().clone()
    assert math.isnan(sr.step(x, 1e9 * f))
    assert torch.equal(parameter, before)
    assert sr.guard.shift == pytest.approx(1e4)


@pytest.mark.parametrize("stop", [3, 6])
def test_resume_is_exact_with_all_of_it(tmp_path: Path, stop: int) -> None:
    sr = replace(SR, lr=1.0, second_moment=0.9, guard=True, solver="pinv", derivatives="layerwise", max_distance=2.0)
    options: Any = {
        "sampler": replace(DIRECT, samples=60),
        "ansatz": TinyConfig(phases=True),
        "optimizer": sr,
        "phases": [PhaseConfig(steps=5), PhaseConfig(steps=3, system={"field": 1.1})],
    }
    method = build(CHAIN, **options)
    state = method.init(2)
    expected = [method.step(state, k) for k in range(8)]
    half = method.init(2)
    metrics = [method.step(half, k) for k in range(stop)]
    save_tree(tmp_path / "state", half.state_dict())
    other = build(CHAIN, **options)
    resumed = other.init(2)
    resumed.load_state_dict(load_tree(tmp_path / "state"))
    metrics += [other.step(resumed, k) for k in range(stop, 8)]
    assert metrics == expected
    assert any(m["undone_steps"] for m in metrics)


def test_checkpoints_and_keys_are_those_from_before_the_options() -> None:
    sr, _ = optimizer(momentum=0.5)
    sr.step(*operator(0))
    assert list(sr.state_dict()) == ["previous"]
    sr.load_state_dict({"previous": None})
    assert plain(SR) == {
        "name": "sr",
        "lr": 0.05,
        "shift": 0.01,
        "momentum": 0.9,
        "max_distance": 0.1,
        "__version__": 1,
    }
    assert plain(replace(SR, guard=True))["guard"] is True


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shift": 0.0}, "shift=0"),
        ({"shift": 0.0, "solver": "pinv", "guard": True}, "shift=0"),
        ({"shift": -1.0, "solver": "pinv"}, "shift=-1"),
        ({"derivatives": "layer"}, "derivatives=layer"),
        ({"solver": "svd"}, "solver=svd"),
        ({"second_moment": 1.0}, "second_moment=1"),
        ({"rtol": -1e-3}, "rtol=-0.001"),
        ({"atol": float("nan")}, "atol=nan"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(SR, **changes)
