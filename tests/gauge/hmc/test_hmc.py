"""Tuning, resume and results of hybrid Monte Carlo, against exact values."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.base.contracts import KeepsEnsemble, MonteCarloBaseline, Record
from pipeline.base.errors import ConfigError
from pipeline.base.numbers.result import Result
from pipeline.base.store.files import load_tree, save_tree
from pipeline.gauge import exact, u1
from pipeline.gauge.action import U1WilsonAction
from pipeline.gauge.hmc.method import HMC
from pipeline.gauge.hmc.state import HMCState
from pipeline.gauge.systems import GaugeSystem, Schwinger, SU3PureGauge, U1PureGauge
from tests.gauge.small_hmc import small, warmed

SYSTEM = U1PureGauge(length=4, beta=2.0)
TWO_FLAVOURS = Schwinger(length=4, beta=2.0, kappa=0.265)
SMALL = small()


Run = tuple[HMCState, list[Record], Result]


def run(system: GaugeSystem, **settings: Any) -> Run:
    """A whole run."""
    hmc = small(**settings)
    state = warmed(hmc, system)
    records = [hmc.measure(state, k) for k in range(hmc.measurements)]
    return state, records, hmc.summarise(records)


@pytest.fixture(scope="module")
def precise() -> Run:
    return run(SYSTEM, chains=512, warmup=60, measurements=150, trajectories_per_measurement=4)


@pytest.fixture(scope="module")
def precise_su3() -> Run:
    """On 2 × 2, where the volume shows."""
    system = SU3PureGauge(length=2, beta=6.0)
    return run(system, chains=512, warmup=20, measurements=30, trajectories_per_measurement=2)


def pull(result: Result, name: str, expected: float, largest_sigma: float) -> float:
    """Deviation from the expected value in standard errors, which are as small as the test wants."""
    estimate = result.estimate(name)
    assert estimate.sigma is not None
    assert 0 < estimate.sigma <= largest_sigma
    return abs(estimate.value - expected) / estimate.sigma


def test_agreement_with_the_exact_values(precise: Run) -> None:
    result = precise[2]
    assert pull(result, "plaquette", 0.699252, 5e-4) <= 3
    assert pull(result, "topological_susceptibility", exact.topological_susceptibility(4, 2.0), 3e-4) <= 3
    assert pull(result, "topological_charge", 0.0, 1e-2) <= 3


def test_agreement_of_su3_with_the_exact_plaquette(precise_su3: Run) -> None:
    expected = exact.su3_plaquette(2, 6.0)
    # The infinite lattice is many errors away.
    assert expected - exact.su3_plaquette(32, 6.0) > 0.009
    assert pull(precise_su3[2], "plaquette", expected, 1.5e-3) <= 3
    assert not [e.name for e in precise_su3[2].estimates if "topological" in e.name]


@pytest.mark.parametrize("name", ["precise", "precise_su3"])
def test_mean_of_exp_minus_delta_h_is_one(name: str, request: pytest.FixtureRequest) -> None:
    assert pull(request.getfixturevalue(name)[2], "exp_minus_delta_h", 1.0, 2e-3) <= 3


def test_summary_describes_its_records(precise: Run) -> None:
    state, records, result = precise
    plaquette = result.estimate("plaquette")
    assert plaquette.value == pytest.approx(float(np.mean([r["plaquette"] for r in records])), abs=1e-14)
    assert plaquette.bound == "stochastic"
    assert plaquette.n == 512 * 150 * 4
    assert plaquette.tau is not None
    assert 0.5 < plaquette.tau < 10.0
    curve = result.curves[0]
    assert (curve.name, len(curve.x), len(curve.sigma)) == ("plaquette", 300, 300)
    assert curve.x[4] == 9
    assert curve.y[4] == pytest.approx(float(records[2]["plaquette"][:, 0].mean()), abs=1e-14)
    np.testing.assert_array_equal(records[-1]["plaquette"][:, -1], u1.mean_plaquette(state.links).numpy())
    assert result.notes == ()
    assert Result.from_json(result.to_json()) == result


def test_records_hold_one_number_a_chain_and_trajectory() -> None:
    state = SMALL.init(SYSTEM)
    record = SMALL.measure(state, 0)
    shapes = {name: np.shape(value) for name, value in record.items()}
    names = ("plaquette", "topological_charge", "accepted", "exp_minus_delta_h", "broken")
    assert shapes == dict.fromkeys(names, (16, 2)) | {"volume": ()}
    assert record["topological_charge"].dtype == np.int64
    assert record["volume"] == 16
    assert state.trajectories == 2


@pytest.mark.parametrize(("length", "beta", "start"), [(8, 2.0, 1), (8, 2.0, 12), (6, 5.0, 1)])
def test_warm_up_tunes_the_steps_to_the_target(length: int, beta: float, start: int) -> None:
    hmc = small(chains=128, integrator_steps=start, warmup=60)
    state = warmed(hmc, U1PureGauge(length=length, beta=beta))
    tuned = state.integrator_steps

    def acceptance() -> float:
        return float(np.mean([hmc.measure(state, k)["accepted"] for k in range(20)]))

    assert acceptance() >= 0.78
    assert state.integrator_steps == tuned
    # No step is wasted: with one fewer the target is missed, or nearly so.
    state.integrator_steps = tuned - 1
    assert tuned == 1 or acceptance() < 0.85


RESUMED: dict[str, tuple[GaugeSystem, dict[str, Any]]] = {
    "u1": (SYSTEM, {}),
    "su3": (SU3PureGauge(length=2, beta=6.0), {}),
    "exact": (TWO_FLAVOURS, {}),
    "pseudofermions": (TWO_FLAVOURS, {"determinant": "pseudofermions", "hasenbusch": [0.1]}),
}
"""Systems and fermion settings whose runs are interrupted."""


@pytest.mark.parametrize("case", RESUMED)
def test_resume_is_bit_identical(case: str, tmp_path: Path) -> None:
    system, fermions = RESUMED[case]
    hmc = small(chains=4, warmup=6, measurements=6, trajectories_per_measurement=1, fermions=fermions)
    uninterrupted = warmed(hmc, system)
    whole = [hmc.measure(uninterrupted, k) for k in range(6)]

    killed = hmc.init(system)
    for k in range(4):
        hmc.step(killed, k)
    resumed = _reloaded(hmc, system, killed, tmp_path)
    for k in range(4, 6):
        hmc.step(resumed, k)
    parts = [hmc.measure(resumed, k) for k in range(3)]
    again = _reloaded(hmc, system, resumed, tmp_path)
    hmc.measure(resumed, 3)
    parts += [hmc.measure(again, k) for k in range(3, 6)]

    for expected, record in zip(whole, parts, strict=True):
        assert set(record) == set(expected)
        for name, value in expected.items():
            np.testing.assert_array_equal(record[name], value)
    assert torch.equal(again.links, uninterrupted.links)
    for name in ("integrator_steps", "violation", "trajectories"):
        assert getattr(again, name) == getattr(uninterrupted, name)


def _reloaded(hmc: HMC, system: GaugeSystem, state: HMCState, folder: Path) -> HMCState:
    """As another process would find it on disk."""
    save_tree(folder / "state.safetensors", state.state_dict())
    fresh = hmc.init(system)
    fresh.load_state_dict(load_tree(folder / "state.safetensors"))
    return fresh


def test_a_checkpoint_does_not_follow_the_state() -> None:
    state = SMALL.init(SYSTEM)
    checkpoint = state.state_dict()
    before = checkpoint["links"].clone()
    state.links.add_(1.0)
    assert torch.equal(checkpoint["links"], before)
    state.load_state_dict(checkpoint)
    state.links.add_(1.0)
    assert torch.equal(checkpoint["links"], before)


@pytest.mark.parametrize("other", [U1PureGauge(length=6, beta=2.0), SU3PureGauge(length=4, beta=2.0)])
def test_a_checkpoint_of_another_theory_is_refused(other: GaugeSystem) -> None:
    with pytest.raises(ValueError, match="do not fit"):
        SMALL.init(SYSTEM).load_state_dict(SMALL.init(other).state_dict())


@pytest.mark.parametrize(
    ("system", "spoilt"),
    [(SYSTEM, math.nan), (SU3PureGauge(length=2, beta=6.0), math.nan), (SU3PureGauge(length=2, beta=6.0), 1.001)],
)
def test_a_checkpoint_outside_the_group_is_refused(system: GaugeSystem, spoilt: float) -> None:
    checkpoint = SMALL.init(system).state_dict()
    checkpoint["links"][3, 1] *= spoilt
    state = SMALL.init(system)
    before = state.links.clone()
    with pytest.raises(ValueError, match=r"finite|unitary"):
        state.load_state_dict(checkpoint)
    assert torch.equal(state.links, before)


def test_the_seed_matters() -> None:
    other = small(seed=8)
    assert not torch.equal(SMALL.init(SYSTEM).links, other.init(SYSTEM).links)
    for advance in ("step", "measure"):
        same_start, reference = SMALL.init(SYSTEM), SMALL.init(SYSTEM)
        getattr(other, advance)(same_start, 0)
        getattr(SMALL, advance)(reference, 0)
        assert not torch.equal(same_start.links, reference.links)


def test_hot_start_far_from_equilibrium_keeps_metrics_finite() -> None:
    hmc = small(chains=4, integrator_steps=1, trajectory_length=0.02)
    state = hmc.init(U1PureGauge(length=16, beta=2000.0))
    metrics = [hmc.step(state, k) for k in range(3)]
    # e^{-ΔH} itself would overflow here.
    assert metrics[0]["delta_h"] < -1000.0
    assert all(math.isfinite(value) for line in metrics for value in line.values())


def test_hopeless_acceptance_does_not_tune_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong force is rejected at any step size."""
    force = U1WilsonAction.force
    monkeypatch.setattr(U1WilsonAction, "force", lambda action, links: -force(action, links))
    monkeypatch.setattr("pipeline.gauge.hmc.method.MOST_STEPS", 50)
    state = warmed(SMALL, U1PureGauge(length=8, beta=20.0))
    assert state.integrator_steps == 50


def test_a_frozen_charge_and_a_short_series_are_noted() -> None:
    state = warmed(SMALL, U1PureGauge(length=8, beta=12.0))
    result = SMALL.summarise([SMALL.measure(state, k) for k in range(10)])
    assert any("never changed" in note for note in result.notes)
    plaquette = result.estimate("plaquette")
    assert plaquette.doubt.startswith("chains are only ")
    assert f"plaquette ({plaquette.doubt})" in result.notes[0]
    assert not result.estimate("topological_charge").reliable


def test_broken_trajectories_are_counted_and_harmless(monkeypatch: pytest.MonkeyPatch) -> None:
    force = U1WilsonAction.force
    monkeypatch.setattr(
        U1WilsonAction, "force", lambda action, links: force(action, links).index_fill_(0, torch.tensor([3]), torch.nan)
    )
    state = SMALL.init(SYSTEM)
    start = state.links.clone()
    metrics = SMALL.step(state, 0)
    assert metrics["broken"] == 1
    assert all(math.isfinite(value) for value in metrics.values())
    records = [SMALL.measure(state, k) for k in range(10)]
    assert torch.equal(state.links[3], start[3])
    assert records[0]["broken"].sum(axis=1).tolist() == [0, 0, 0, 2, *[0] * 12]
    result = SMALL.summarise(records)
    assert any(
        note.startswith("20 of 320 trajectories met NaN or infinity and were rejected;") for note in result.notes
    )
    assert result.estimate("broken").value == 20 / 320
    assert result.estimate("exp_minus_delta_h").n == 300
    assert all(math.isfinite(e.value) for e in result.estimates)


def test_the_others_keep_their_balance(monkeypatch: pytest.MonkeyPatch) -> None:
    """An action that is lost above a plaquette of 0.7, there and back: ⟨e^-ΔH⟩ = 1 among the sound trajectories."""
    value = U1WilsonAction.value

    def lost(action: U1WilsonAction, links: torch.Tensor) -> torch.Tensor:
        return torch.where(u1.mean_plaquette(links) > 0.7, torch.nan, value(action, links))

    monkeypatch.setattr(U1WilsonAction, "value", lost)
    state = warmed(SMALL, SYSTEM)
    records = [SMALL.measure(state, k) for k in range(200)]
    weight = SMALL.summarise(records).estimate("exp_minus_delta_h")
    counted_as_zero = float(np.mean([record["exp_minus_delta_h"] for record in records]))
    assert weight.sigma is not None
    assert 0 < weight.sigma < 0.02
    assert abs(weight.value - 1.0) < 3 * weight.sigma
    assert counted_as_zero < 0.8


def test_nothing_is_said_of_energies_where_every_trajectory_breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(U1WilsonAction, "force", lambda action, links: torch.full_like(links, torch.nan))
    state = SMALL.init(SYSTEM)
    assert "exp_minus_delta_h" not in SMALL.step(state, 0)
    result = SMALL.summarise([SMALL.measure(state, k) for k in range(4)])
    assert result.estimate("broken").value == 1.0
    assert result.estimate("acceptance").value == 0.0
    assert "exp_minus_delta_h" not in [e.name for e in result.estimates]


def test_links_are_kept_if_asked_for() -> None:
    for system, shape in ((SYSTEM, (16, 2, 4, 4)), (SU3PureGauge(length=2, beta=6.0), (16, 2, 2, 2, 3, 3))):
        hmc = small(keep_links=True)
        state = hmc.init(system)
        records = [hmc.measure(state, k) for k in range(2)]
        kept = hmc.ensemble(records[-1])
        assert kept["links"].shape == shape
        assert kept["links"].dtype in (np.float32, np.complex64)
        np.testing.assert_allclose(kept["links"], state.links.numpy(), atol=1e-6)
        np.testing.assert_array_equal(kept["plaquette"], records[-1]["plaquette"][:, -1])
    assert "links" not in SMALL.ensemble(SMALL.measure(state, 0))


def test_hmc_is_a_baseline_for_gauge_theories() -> None:
    assert isinstance(SMALL, MonteCarloBaseline)
    assert isinstance(SMALL, KeepsEnsemble)
    assert SMALL.supports(SYSTEM) is None
    assert "dict" in (SMALL.supports({}) or "")
    odd = Schwinger(length=5, beta=2.0, kappa=0.2)
    assert "even system.length, not 5" in (SMALL.supports(odd) or "")
    assert small(fermions={"even_odd": False}).supports(odd) is None


@pytest.mark.parametrize("system", [SYSTEM, SU3PureGauge(length=4, beta=6.0), TWO_FLAVOURS])
@pytest.mark.parametrize("determinant", ["exact", "pseudofermions"])
def test_larger_lattices_cost_more(system: GaugeSystem, determinant: str) -> None:
    hmc = small(fermions={"determinant": determinant})
    little, much = (hmc.cost(dataclasses.replace(system, length=length)) for length in (4, 16))
    assert 0 < little.seconds < much.seconds
    assert 0 < little.bytes < much.bytes


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
        ("integrator", "leapfog"),
        ("seed", -1),
    ],
)
def test_a_bad_setting_names_its_key(field: str, value: Any) -> None:
    with pytest.raises(ConfigError) as refusal:
        small(**{field: value})
    assert refusal.value.key == field


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("determinant", "exat"),
        ("hasenbusch", [0.1, 0.1]),
        ("hasenbusch", [0.0]),
        ("hasenbusch", [0.1, math.inf]),
        ("hasenbusch", [math.nan]),
        ("tolerance", 0.0),
        ("max_iterations", 0),
    ],
)
def test_a_bad_fermion_setting_names_its_key(field: str, value: Any) -> None:
    with pytest.raises(ConfigError) as refusal:
        small(fermions={"determinant": "pseudofermions", field: value})
    assert refusal.value.key == field


def test_hasenbusch_is_for_pseudofermions() -> None:
    with pytest.raises(ConfigError, match="splits pseudofermions"):
        small(fermions={"hasenbusch": [0.1]})
