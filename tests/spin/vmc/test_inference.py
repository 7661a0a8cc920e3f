"""Inference of VMC: samplers agree with exact expectation values within their errors, which are what they say."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.base.errors import ConfigError, NonFiniteError
from pipeline.base.numbers.result import Result
from pipeline.base.store.files import load_tree, save_tree
from pipeline.base.store.records import Records, save_records
from pipeline.spin.bits import unpack
from pipeline.spin.exact.quspin import QuSpinED
from pipeline.spin.systems import ChainHeisenberg, SquareTFIM
from pipeline.spin.vmc.schema import VMCInferConfig
from pipeline.stages.compose import compose_run
from tests.spin import dense
from tests.spin.small_vmc import (
    CHAIN,
    CHAIN_MATRIX,
    COMPLEX_RBM,
    DIRECT,
    INFER,
    METROPOLIS,
    TRAIN,
    TinyConfig,
    amplitudes,
    build,
)

PHASED = TinyConfig(phases=True, deviation=0.3)
NAMES = ("energy", "variance", "v_score", "magnetisation", "absolute_magnetisation", "nearest_correlation")


def inferred(ansatz: Any, infer: VMCInferConfig, train_sampler: Any = TRAIN.sampler, seed: int = 1) -> Result:
    """Result of a random state."""
    method = build(train=replace(TRAIN, ansatz=ansatz, sampler=train_sampler), infer=infer)
    state = method.init(seed)
    return method.summarise([method.measure(state, k) for k in range(infer.units)])


def expected(ansatz: Any, seed: int = 1) -> dict[str, float]:
    """Exact values by dense linear algebra."""
    psi = amplitudes(build(ansatz=ansatz).init(seed).ansatz, 5)
    p = np.abs(psi) ** 2 / (np.abs(psi) ** 2).sum()
    spins = dense.basis(5)
    h_psi = CHAIN_MATRIX @ psi
    energy = float((psi.conj() @ h_psi).real / (np.abs(psi) ** 2).sum())
    variance = float((np.abs(h_psi) ** 2).sum() / (np.abs(psi) ** 2).sum() - energy**2)
    bonds = CHAIN.nearest_bonds()
    assert len(bonds) == 5
    return {
        "energy": energy,
        "variance": variance,
        "v_score": 5 * variance / energy**2,
        "magnetisation": float(p @ spins.sum(1)),
        "absolute_magnetisation": float(p @ np.abs(spins.sum(1)) / 5),
        "nearest_correlation": float(sum(p @ (spins[:, i] * spins[:, j]) for i, j in bonds) / 5),
    }


@pytest.mark.parametrize("ansatz", [TRAIN.ansatz, COMPLEX_RBM, PHASED], ids=["real", "complex", "ar"])
def test_exhaustive_estimates_are_exact(ansatz: Any) -> None:
    result = inferred(ansatz, replace(INFER, units=2))
    for name, value in expected(ansatz).items():
        estimate = result.estimate(name)
        assert estimate.value == pytest.approx(value, rel=1e-10, abs=1e-12), name
        assert (estimate.sigma, estimate.sigma_kind) == (0.0, "none")
    assert result.estimate("energy").bound == "variational"
    assert result.estimate("energy").unit == "total"


@pytest.mark.parametrize(
    ("ansatz", "infer"),
    [
        (PHASED, replace(INFER, units=5, sampler=replace(DIRECT, samples=1000))),
        (PHASED, replace(INFER, units=5, samples=1000, sampler=replace(METROPOLIS, thinning=4))),
        (COMPLEX_RBM, replace(INFER, units=5, seed=6, sampler=replace(METROPOLIS, samples=4000, thinning=2))),
    ],
    ids=["direct", "metropolis", "correlated metropolis"],
)
def test_sampled_estimates_agree_with_the_exact_ones_within_their_errors(ansatz: Any, infer: VMCInferConfig) -> None:
    result, exact = inferred(ansatz, infer), expected(ansatz)
    for name in NAMES:
        estimate = result.estimate(name)
        assert estimate.sigma is not None
        assert estimate.sigma_kind == "standard-error"
        assert 0 < estimate.sigma < 0.2 * max(1.0, abs(exact[name])), name
        assert abs(estimate.value - exact[name]) < 4 * estimate.sigma, name
    json.dumps(result.to_json(), allow_nan=False)


@pytest.mark.parametrize(
    "sampler",
    [replace(DIRECT, samples=100), replace(METROPOLIS, thinning=2, samples=1000)],
    ids=["direct", "metropolis"],
)
def test_errors_are_what_they_say(sampler: Any) -> None:
    """Pulls over repetitions have unit variance: the autocorrelation of short thinning is accounted for."""
    exact = expected(PHASED)
    results = [inferred(PHASED, replace(INFER, units=2, seed=100 + i, sampler=sampler)) for i in range(40)]
    for name in ("energy", "variance", "magnetisation", "nearest_correlation"):
        estimates = [r.estimate(name) for r in results]
        pulls = np.array([(e.value - exact[name]) / (e.sigma or np.nan) for e in estimates])
        assert 0.6 < pulls.std() < 1.45, name
        assert abs(pulls.mean()) < 0.7, name
    if sampler.__class__ is type(METROPOLIS):
        taus = [r.estimate("magnetisation").tau or 0.0 for r in results]
        assert np.mean(taus) > 0.9


def test_chains_report_their_quality() -> None:
    result = inferred(TRAIN.ansatz, replace(INFER, units=4, sampler=replace(METROPOLIS, samples=400)))
    energy, r_hat, acceptance = (result.estimate(name) for name in ("energy", "r_hat", "acceptance"))
    assert energy.bound == "stochastic"
    assert energy.n == 1600
    assert energy.tau is not None
    assert 0.98 < r_hat.value < 1.05
    assert 0.2 < acceptance.value < 0.95
    independent = 1600 / (2 * energy.tau)
    assert f"20 chains of 80 samples; τ_int of the energy is {energy.tau:.3g} samples" in result.notes[0]
    assert f"about {independent:.0f} independent ones" in result.notes[0]
    assert len(result.extra["chain_magnetisation"]) == 20
    assert np.mean(result.extra["chain_magnetisation"]) == pytest.approx(result.estimate("magnetisation").value)
    direct = inferred(PHASED, replace(INFER, units=2, sampler=DIRECT))
    assert direct.notes == ("1000 independent samples, drawn directly from |ψ|².",)
    with pytest.raises(KeyError):
        direct.estimate("r_hat")


def test_chains_that_disagree_have_errors_in_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Long as they are: what they spread within themselves is no error of their mean."""
    monkeypatch.setattr("pipeline.spin.vmc.inference.split_r_hat", lambda series: 1.3)
    result = inferred(TRAIN.ansatz, replace(INFER, units=4, sampler=replace(METROPOLIS, samples=400)))
    for name in ("energy", "variance", "magnetisation"):
        assert result.estimate(name).doubt == "chains disagree: R-hat 1.3 is above 1.1"
    assert any("R-hat 1.3 is above 1.1" in note for note in result.notes)


def test_stuck_chains_show() -> None:
    """Chains that do not cross from one orientation to the other disagree in the magnetisation."""
    method = build(infer=replace(INFER, units=3, sampler=replace(METROPOLIS, samples=400)))
    state = method.init(1)
    rbm: Any = state.ansatz
    with torch.no_grad():
        for parameter in rbm.parameters():
            parameter.zero_()
        rbm.dense.weight[0] = 1.0
    result = method.summarise([method.measure(state, k) for k in range(3)])
    assert result.estimate("r_hat_magnetisation").value > 3
    assert result.estimate("r_hat").value < 1.1, "both orientations have the same energy"
    assert (result.estimate("magnetisation").tau or 0) > 10
    assert set(np.sign(result.extra["chain_magnetisation"])) == {-1.0, 1.0}


def test_chains_that_do_not_move_at_all() -> None:
    method = build(infer=replace(INFER, units=2, sampler=replace(METROPOLIS, samples=400, burn_in=0)))
    state = method.init(1)
    places = torch.tensor([[1, 1, 1, 1, 1], [1, -1, -1, -1, 1]], dtype=torch.int8)

    def log_amplitude(spins: Tensor) -> Tensor:
        """All but zero elsewhere; no state is connected to both."""
        there = (spins[:, None, :] == places).all(-1).any(1)
        return torch.where(there, 0.0, -1e3).double()

    state.ansatz.log_amplitude = log_amplitude  # type: ignore[method-assign]
    state.ansatz.walks = False  # a walk would take the amplitudes from the parameters
    state.begin_inference(go_on=False).load_state_dict({"spins": places.repeat(10, 1), "burned_in": False})
    result = method.summarise([method.measure(state, k) for k in range(2)])
    assert result.estimate("acceptance").value == 0.0
    assert any("energy of no chain changes, and they disagree" in note for note in result.notes)


@pytest.mark.parametrize("sampler", [METROPOLIS, DIRECT], ids=["metropolis", "direct"])
def test_another_sampler_than_in_training(sampler: Any) -> None:
    """NAQS paper, Figure 2: chains started from one orientation sample a state that was trained directly."""
    infer = replace(INFER, units=2, sampler=replace(METROPOLIS, start="up"))
    method = build(ansatz=PHASED, sampler=sampler, infer=infer)
    state = method.init(1)
    trained = copy.deepcopy(state.sampling.state_dict())
    assert method.inference_sampler.start(1, "any").state_dict()["spins"].eq(1).all()
    first = method.measure(state, 0)
    assert state.inference is not None
    assert "energy_series" in first
    assert str(state.sampling.state_dict()) == str(trained)
    method.step(state, 0)


@pytest.mark.parametrize("sampler", [METROPOLIS, DIRECT, None], ids=["metropolis", "direct", "that of the training"])
def test_samples_are_kept_in_order(tmp_path: Path, sampler: Any) -> None:
    infer = replace(INFER, units=2, samples=60, sampler=sampler, keep_samples=True)
    method = build(ansatz=PHASED, sampler=METROPOLIS, infer=infer)
    state = method.init(1)
    records = [method.measure(state, k) for k in range(2)]
    save_records(tmp_path / "records.npz", records)
    chains = 1 if sampler is DIRECT else 20
    for record in Records([tmp_path / "records.npz"]):
        spins = unpack(torch.from_numpy(record["samples"]), 5).numpy().astype(int)
        assert spins.shape == (chains, 60 // chains, 5)
        assert spins.sum(-1).mean() == pytest.approx(record["magnetisation"])
        if sampler is not DIRECT:
            np.testing.assert_array_equal(spins.sum(-1), record["magnetisation_series"])
    assert "samples" not in build(ansatz=PHASED, sampler=DIRECT).measure(state, 0)


@pytest.mark.parametrize("chains", ["fresh", "training"])
def test_inference_resumes_exactly(tmp_path: Path, chains: str) -> None:
    method = build(sampler=METROPOLIS, ansatz=COMPLEX_RBM, infer=replace(INFER, chains=chains))
    state, half = method.init(1), method.init(1)
    for k in range(3):
        method.step(state, k)
        method.step(half, k)
    expected = [method.measure(state, k) for k in range(4)]
    records = [method.measure(half, k) for k in range(2)]
    save_tree(tmp_path / "state", half.state_dict())
    resumed = method.init(7)
    resumed.load_state_dict(load_tree(tmp_path / "state"))
    records += [method.measure(resumed, k) for k in range(2, 4)]
    for a, b in zip(expected, records, strict=True):
        assert a.keys() == b.keys()
        assert all(np.array_equal(a[name], b[name]) for name in a)


def test_inference_goes_on_with_the_chains_of_the_training() -> None:
    """They have burned in under another state than that of a fresh start, and the training keeps its own."""
    sampler = replace(METROPOLIS, burn_in=100, thinning=1)
    first = {}
    for chains in ("fresh", "training"):
        method = build(sampler=sampler, ansatz=COMPLEX_RBM, infer=replace(INFER, chains=chains, keep_samples=True))
        state = method.init(1)
        for k in range(3):
            method.step(state, k)
        left = copy.deepcopy(state.sampling.state_dict())
        calls: list[Any] = []
        inner = method.inference_sampler.sample

        def watched(
            ansatz: Any, chain: Any, *rest: Any, inner: Any = inner, calls: list[Any] = calls, left: Any = left
        ) -> Any:
            calls.append((torch.equal(chain.spins, left["spins"]), chain.burned_in))
            return inner(ansatz, chain, *rest)

        method.inference_sampler.sample = watched  # type: ignore[method-assign, assignment]
        first[chains] = method.measure(state, 0)["samples"]
        assert calls == [(chains == "training", chains == "training")]
        assert torch.equal(state.sampling.state_dict()["spins"], left["spins"])
        # a single flip a sample: the first sample is at most one spin from where the chain was left
        moved = unpack(torch.from_numpy(first[chains][:, 0]), 5) != left["spins"]
        assert (moved.sum(-1) <= 1).all() == (chains == "training")
    assert not np.array_equal(first["fresh"], first["training"])


GOING_ON = ["method=vmc", "system=chain_tfim", "sampler=metropolis", "baseline=none", "infer.chains=training"]
PHASE = "{steps:10},{steps:10,system:{field:2.0}}"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["infer.chains=old"], r"infer\.chains=old: must be one of fresh, training"),
        (["infer_sampler=metropolis"], r"infer\.chains=training: the training had another sampler"),
        ([f"train.phases=[{PHASE}]"], r"infer\.chains=training: after 200 steps the training is in a phase on another"),
        (
            [f"train.phases=[{PHASE},{{steps:100}}]", "train.snapshots=[15,60]"],
            r"infer\.chains=training: after 15 steps the training is in a phase on another system",
        ),
    ],
)
def test_chains_that_cannot_go_on_are_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        compose_run([*GOING_ON, *overrides])


def test_chains_that_can_go_on() -> None:
    phases = f"train.phases=[{PHASE},{{steps:100}}]"
    for overrides in ([], [phases], [phases, "train.snapshots=[0,10,60]"], ["sampler=exhaustive"]):
        assert compose_run([*GOING_ON, *overrides]).infer.chains == "training"


def test_observables_are_those_of_quspin() -> None:
    """Names and conventions of the exact reference, at the ground state."""
    system = SquareTFIM(length_x=3, length_y=2, periodic=False, coupling=1.0, field=2.0)
    exact = QuSpinED(sector="proven", levels=1, max_scanned=1e9, max_bytes=1e9, states=None, magnetisation=None).run(
        system
    )
    method = build(system)
    state = method.init(1)
    values, vectors = np.linalg.eigh(dense.square(3, 2, False, 1.0, 2.0))
    log_psi = torch.from_numpy(np.log(np.abs(vectors[:, 0])))

    def ground(spins: Tensor) -> Tensor:
        return log_psi[torch.from_numpy(dense.row(spins.numpy()))]

    state.ansatz.log_amplitude = ground  # type: ignore[method-assign]
    result = method.summarise([method.measure(state, 0)])
    assert result.estimate("energy").value == pytest.approx(values[0], rel=1e-10)
    assert abs(result.estimate("variance").value) < 1e-8
    for name in ("absolute_magnetisation", "nearest_correlation"):
        assert result.estimate(name).value == pytest.approx(exact.estimate(name).value, abs=1e-8)


def test_exchange_keeps_the_sector_of_the_ground_state() -> None:
    ring = ChainHeisenberg(n_sites=6, periodic=True, j1=1.0, j2=0.3)
    sampler = replace(METROPOLIS, rule="exchange", samples=2000)
    method = build(ring, ansatz=COMPLEX_RBM, infer=replace(INFER, sampler=sampler))
    state = method.init(1)
    result = method.summarise([method.measure(state, k) for k in range(3)])
    psi = amplitudes(state.ansatz, 6) * (dense.basis(6).sum(1) == 0)
    energy = (psi.conj() @ dense.chain_heisenberg(6, True, 1.0, 0.3) @ psi).real / (np.abs(psi) ** 2).sum()
    found = result.estimate("energy")
    assert found.sigma is not None
    assert abs(found.value - energy) < 4 * found.sigma
    assert result.estimate("absolute_magnetisation").value == 0.0


def test_amplitudes_that_are_not_finite_end_the_inference() -> None:
    method = build(ansatz=PHASED, sampler=DIRECT)
    state = method.init(1)
    with torch.no_grad():
        next(iter(state.ansatz.parameters())).fill_(torch.nan)
    with pytest.raises(NonFiniteError, match=r"inference: \d+ of \d+ local energies of batch 0 are not finite"):
        method.measure(state, 0)


def test_one_sample_a_chain_and_one_chain() -> None:
    many = inferred(TRAIN.ansatz, replace(INFER, sampler=replace(METROPOLIS, samples=200, chains=200)))
    assert many.estimate("energy").n == 200
    assert (many.estimate("energy").sigma or 0) > 0
    one = inferred(TRAIN.ansatz, replace(INFER, sampler=replace(METROPOLIS, samples=200, chains=1)))
    assert one.estimate("r_hat").value > 0.9
