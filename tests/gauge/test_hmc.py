"""Integrator, Metropolis test, tuning, resume and results of hybrid Monte Carlo."""

import copy
import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.base import rng
from pipeline.base.contracts import MonteCarloBaseline, Record
from pipeline.base.errors import ConfigError
from pipeline.base.result import Result
from pipeline.gauge import exact, integrator, u1
from pipeline.gauge.action import U1WilsonAction
from pipeline.gauge.hmc import HMC, HMCState
from pipeline.gauge.schema import U1PureGauge

SYSTEM = U1PureGauge(length=4, beta=2.0)
SMALL = HMC(
    chains=16,
    trajectory_length=1.0,
    integrator_steps=3,
    target_acceptance=0.8,
    warmup=20,
    measurements=10,
    trajectories_per_measurement=2,
    seed=7,
)


def warmed(hmc: HMC, system: U1PureGauge = SYSTEM) -> HMCState:
    state = hmc.init(system)
    for k in range(hmc.warmup):
        hmc.step(state, k)
    return state


@pytest.fixture(scope="module")
def precise() -> tuple[HMCState, list[Record], Result]:
    hmc = dataclasses.replace(SMALL, chains=512, warmup=60, measurements=150, trajectories_per_measurement=4)
    state = warmed(hmc)
    records = [hmc.measure(state, k) for k in range(hmc.measurements)]
    return state, records, hmc.summarise(records)


@pytest.fixture(scope="module")
def phase_space() -> tuple[torch.Tensor, torch.Tensor]:
    """Links in equilibrium and fresh momenta."""
    links = warmed(dataclasses.replace(SMALL, chains=64, warmup=40)).links
    return links, torch.randn(links.shape, dtype=links.dtype, generator=rng.torch_generator(5, "test.momenta"))


def test_integrator_is_reversible(phase_space: tuple[torch.Tensor, torch.Tensor]) -> None:
    links, momenta = phase_space
    action = U1WilsonAction(2.0)
    there, momenta_there = integrator.omelyan(links, momenta, action, u1.drift, 0.1, 20)
    back, momenta_back = integrator.omelyan(there, -momenta_there, action, u1.drift, 0.1, 20)
    assert (there - links).abs().max() > 1.0
    assert (back - links).abs().max() <= 1e-9
    assert (momenta_back + momenta).abs().max() <= 1e-9


def test_delta_h_falls_with_the_square_of_the_step_size(phase_space: tuple[torch.Tensor, torch.Tensor]) -> None:
    links, momenta = phase_space
    action = U1WilsonAction(2.0)

    def violation(steps: int) -> float:
        end, momenta_end = integrator.omelyan(links, momenta, action, u1.drift, 1.0 / steps, steps)
        kinetic = integrator.kinetic_energy(momenta_end) - integrator.kinetic_energy(momenta)
        return (kinetic + action.value(end) - action.value(links)).square().mean().sqrt().item()

    coarse, middle, fine = violation(8), violation(16), violation(32)
    assert coarse / middle == pytest.approx(4.0, abs=0.2)
    assert middle / fine == pytest.approx(4.0, abs=0.1)
    # The best λ makes ΔH small, not just second order: λ = 0.15 gives 0.0077 here, and λ = 1/4 (leapfrog) 0.016.
    assert 1e-5 < coarse < 0.006


def test_rejected_chains_stay_where_they_were(phase_space: tuple[torch.Tensor, torch.Tensor]) -> None:
    links, _ = phase_space
    generator = rng.torch_generator(5, "test.trajectory")
    outcome = integrator.trajectory(links, U1WilsonAction(2.0), u1.drift, 2.0, 2, generator)
    moved = (outcome.links != links).flatten(1).any(dim=1)
    assert 0 < outcome.accepted.sum() < len(links)
    assert torch.equal(moved, outcome.accepted)
    # A move downhill is never rejected.
    assert outcome.accepted[outcome.delta_h <= 0].all()


def test_agreement_with_the_exact_values(precise: tuple[HMCState, list[Record], Result]) -> None:
    result = precise[2]
    plaquette, charge = result.estimate("plaquette"), result.estimate("topological_susceptibility")
    assert plaquette.sigma is not None
    assert charge.sigma is not None
    assert 0 < plaquette.sigma <= 1e-3
    assert abs(plaquette.value - 0.699252) <= 3 * plaquette.sigma
    assert 0 < charge.sigma <= 3e-4
    assert abs(charge.value - exact.topological_susceptibility(4, 2.0)) <= 3 * charge.sigma


def test_mean_of_exp_minus_delta_h_is_one(precise: tuple[HMCState, list[Record], Result]) -> None:
    weight = precise[2].estimate("exp_minus_delta_h")
    assert weight.sigma is not None
    assert 0 < weight.sigma < 2e-3
    assert abs(weight.value - 1.0) <= 3 * weight.sigma


def test_summary_describes_its_records(precise: tuple[HMCState, list[Record], Result]) -> None:
    state, records, result = precise
    plaquette = result.estimate("plaquette")
    assert plaquette.value == pytest.approx(float(np.mean([r["plaquette"] for r in records])), abs=1e-14)
    assert plaquette.bound == "stochastic"
    assert plaquette.n == 512 * 150
    assert plaquette.tau is not None
    assert 0.5 < plaquette.tau < 3.0
    curve = result.curves[0]
    assert (curve.name, len(curve.x), len(curve.sigma)) == ("plaquette", 150, 150)
    assert curve.y[4] == pytest.approx(float(records[4]["plaquette"].mean()), abs=1e-14)
    np.testing.assert_array_equal(records[-1]["plaquette"], u1.mean_plaquette(state.links).numpy())
    assert result.notes == ()
    assert Result.from_json(result.to_json()) == result


def test_records_hold_one_number_a_chain() -> None:
    state = SMALL.init(SYSTEM)
    record = SMALL.measure(state, 0)
    shapes = {name: np.shape(value) for name, value in record.items()}
    names = ("plaquette", "topological_charge", "acceptance", "exp_minus_delta_h")
    assert shapes == dict.fromkeys(names, (16,)) | {"volume": ()}
    assert record["topological_charge"].dtype == np.int64
    assert record["volume"] == 16
    assert state.trajectories == 2


@pytest.mark.parametrize(("length", "beta", "start"), [(8, 2.0, 1), (8, 2.0, 12), (6, 5.0, 1)])
def test_warm_up_tunes_the_steps_to_the_target(length: int, beta: float, start: int) -> None:
    hmc = dataclasses.replace(SMALL, chains=128, integrator_steps=start, warmup=60)
    state = warmed(hmc, U1PureGauge(length=length, beta=beta))
    tuned = state.integrator_steps

    def acceptance() -> float:
        return float(np.mean([hmc.measure(state, k)["acceptance"] for k in range(20)]))

    assert acceptance() >= 0.78
    assert state.integrator_steps == tuned
    # No step is wasted: with one fewer the target is missed, or nearly so.
    state.integrator_steps = tuned - 1
    assert tuned == 1 or acceptance() < 0.85


def test_resume_is_bit_identical() -> None:
    uninterrupted = warmed(SMALL)
    whole = [SMALL.measure(uninterrupted, k) for k in range(10)]

    killed = warmed(SMALL)
    parts = [SMALL.measure(killed, k) for k in range(5)]
    checkpoint = copy.deepcopy(killed.state_dict())
    SMALL.measure(killed, 5)
    resumed = SMALL.init(SYSTEM)
    resumed.load_state_dict(checkpoint)
    parts += [SMALL.measure(resumed, k) for k in range(5, 10)]

    for expected, record in zip(whole, parts, strict=True):
        for name, value in expected.items():
            np.testing.assert_array_equal(record[name], value)
    assert torch.equal(resumed.links, uninterrupted.links)
    assert resumed.trajectories == uninterrupted.trajectories


def test_resume_in_the_middle_of_warm_up_is_bit_identical() -> None:
    whole = warmed(SMALL)
    killed = SMALL.init(SYSTEM)
    for k in range(8):
        SMALL.step(killed, k)
    resumed = SMALL.init(SYSTEM)
    resumed.load_state_dict(killed.state_dict())
    for k in range(8, SMALL.warmup):
        SMALL.step(resumed, k)
    assert torch.equal(resumed.links, whole.links)
    assert (resumed.integrator_steps, resumed.violation) == (whole.integrator_steps, whole.violation)


def test_a_checkpoint_does_not_follow_the_state() -> None:
    state = SMALL.init(SYSTEM)
    checkpoint = state.state_dict()
    before = checkpoint["links"].clone()
    state.links.add_(1.0)
    assert torch.equal(checkpoint["links"], before)
    state.load_state_dict(checkpoint)
    state.links.add_(1.0)
    assert torch.equal(checkpoint["links"], before)


def test_a_checkpoint_of_another_lattice_is_refused() -> None:
    other = SMALL.init(U1PureGauge(length=6, beta=2.0)).state_dict()
    with pytest.raises(ValueError, match="do not fit"):
        SMALL.init(SYSTEM).load_state_dict(other)


def test_the_seed_matters() -> None:
    other = dataclasses.replace(SMALL, seed=8)
    assert not torch.equal(SMALL.init(SYSTEM).links, other.init(SYSTEM).links)
    for advance in ("step", "measure"):
        same_start, reference = SMALL.init(SYSTEM), SMALL.init(SYSTEM)
        getattr(other, advance)(same_start, 0)
        getattr(SMALL, advance)(reference, 0)
        assert not torch.equal(same_start.links, reference.links)


def test_hot_start_far_from_equilibrium_keeps_metrics_finite() -> None:
    hmc = dataclasses.replace(SMALL, chains=4, integrator_steps=1, trajectory_length=0.02)
    state = hmc.init(U1PureGauge(length=16, beta=2000.0))
    metrics = [hmc.step(state, k) for k in range(3)]
    # e^{-ΔH} itself would overflow here.
    assert metrics[0]["delta_h"] < -1000.0
    assert all(math.isfinite(value) for line in metrics for value in line.values())


def test_hopeless_acceptance_does_not_tune_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong force is rejected at any step size."""
    force = U1WilsonAction.force
    monkeypatch.setattr(U1WilsonAction, "force", lambda action, links: -force(action, links))
    monkeypatch.setattr("pipeline.gauge.hmc.MOST_STEPS", 50)
    state = warmed(SMALL, U1PureGauge(length=8, beta=20.0))
    assert state.integrator_steps == 50


def test_a_frozen_charge_and_a_short_series_are_noted() -> None:
    state = warmed(SMALL, U1PureGauge(length=8, beta=12.0))
    result = SMALL.summarise([SMALL.measure(state, k) for k in range(10)])
    assert any("never changed" in note for note in result.notes)
    assert any(note.startswith("plaquette: tau") for note in result.notes)


def test_hmc_is_a_baseline_for_u1_only() -> None:
    assert isinstance(SMALL, MonteCarloBaseline)
    assert SMALL.supports(SYSTEM) is None
    assert "dict" in (SMALL.supports({}) or "")
    large = U1PureGauge(length=16, beta=2.0)
    assert 0 < SMALL.cost(SYSTEM).seconds < SMALL.cost(large).seconds
    assert 0 < SMALL.cost(SYSTEM).bytes < SMALL.cost(large).bytes


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("chains", 0),
        ("trajectory_length", 0.0),
        ("trajectory_length", math.inf),
        ("integrator_steps", 0),
        ("target_acceptance", 1.0),
        ("target_acceptance", math.nan),
        ("warmup", -1),
        ("measurements", 1),
        ("trajectories_per_measurement", 0),
        ("seed", -1),
    ],
)
def test_a_bad_setting_names_its_key(field: str, value: Any) -> None:
    with pytest.raises(ConfigError) as refusal:
        dataclasses.replace(SMALL, **{field: value})
    assert refusal.value.key == f"baseline.hmc.{field}"
