"""Phases on a smaller system: the same parameters, another number of sites."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from pipeline.base.config.nodes import TrainConfig
from pipeline.base.config.phases import AdamConfig, PhaseConfig, Schedule
from pipeline.base.errors import ConfigError
from pipeline.base.store.files import load_tree, save_tree
from pipeline.spin.ansatz.build import share_parameters
from pipeline.spin.ansatz.schema import DenseARConfig, PixelCNNConfig
from pipeline.spin.sampler.contract import Batch
from pipeline.spin.sampler.metropolis import ChainState, MetropolisSampler
from pipeline.spin.sampler.nir.sampler import NIRState
from pipeline.spin.sampler.schema import DirectConfig
from pipeline.spin.systems import SquareTFIM
from pipeline.spin.vmc.method import PURPOSE, VariationalMonteCarlo
from pipeline.spin.vmc.schema import VMCConfig, VMCInferConfig
from pipeline.spin.wave_function import WaveFunction
from pipeline.stages.compose import compose_run

LARGE = SquareTFIM(length_x=4, length_y=3, periodic=False, coupling=1.0, field=2.0)
SMALL: dict[str, int | float] = {"length_x": 3, "length_y": 2}
PHASES = [PhaseConfig(steps=3, system=SMALL), PhaseConfig(steps=2), PhaseConfig(steps=2, system=SMALL)]
TRAIN = TrainConfig(
    method=VMCConfig(sign_rule="none", gradient_clip=None, max_rejected=3, memory_gib=None),
    ansatz=PixelCNNConfig(
        phase=False, output_scale=0.1, symmetries=["spin_flip"], depth=2, width=4, spread=1.0, magnetisation=None
    ),
    sampler=DirectConfig(samples=32),
    optimizer=AdamConfig(lr=0.01, betas=(0.9, 0.999)),
    steps=7,
    seed=0,
    dtype="float64",
)
INFER = VMCInferConfig(units=1, seed=5, samples=None, chains="fresh", keep_samples=False)


def build(system: SquareTFIM, phases: list[PhaseConfig]) -> VariationalMonteCarlo:
    return VariationalMonteCarlo(system, replace(TRAIN, phases=phases), INFER, "cpu")


IN_FIELDS = [PhaseConfig(steps=2, system={"field": field}) for field in (6.0, 4.0)] + [PhaseConfig(steps=1)]


def carrying(sampler: str, carried: bool, phases: list[PhaseConfig]) -> VariationalMonteCarlo:
    """Small ones of a sampler, whose state phases hand on or not."""
    sizes = {"metropolis": "chains=8", "nir": "embedding=4", "direct": "samples=32"}
    given = ["method=vmc", "ansatz=pixelcnn", f"sampler={sampler}", f"train.sampler.{sizes[sampler]}"]
    run = compose_run([*given, "train.sampler.samples=32", "system=square_tfim"])
    method = replace(TRAIN.method, carry_sampler=carried)
    train = replace(TRAIN, method=method, sampler=run.train.sampler, phases=phases)
    return VariationalMonteCarlo(LARGE, train, INFER, "cpu")


def test_small_phases_are_the_training_of_the_small_system() -> None:
    method = build(LARGE, PHASES)
    state = method.init(4)
    alone = build(replace(LARGE, length_x=3, length_y=2), [])
    theirs = alone.init(4)
    for k in range(3):
        ours, expected = method.step(state, k), alone.step(theirs, k)
        assert ours["small_energy"] == expected["energy"]
        assert "energy" not in ours
    for a, b in zip(state.ansatz.parameters(), theirs.ansatz.parameters(), strict=True):
        assert torch.equal(a, b)
    assert "energy" in method.step(state, 3)  # on the large system again, from these parameters
    assert len(method.sampler.sample(state.ansatz, state.sampling, 8, 0, "x", 0).spins[0]) == 12


def test_phases_in_another_field_are_the_training_in_that_field() -> None:
    config = DenseARConfig(phase=False, output_scale=0.1, symmetries=[], layers=2, features=2)
    train = replace(TRAIN, ansatz=config, phases=[PhaseConfig(steps=2, system={"field": 6.0}), PhaseConfig(steps=1)])
    method = VariationalMonteCarlo(LARGE, train, INFER, "cpu")
    alone = VariationalMonteCarlo(replace(LARGE, field=6.0), replace(train, phases=[]), INFER, "cpu")
    last = VariationalMonteCarlo(LARGE, replace(train, phases=[]), INFER, "cpu")
    state, theirs = method.init(4), alone.init(4)
    for k in range(2):
        assert method.step(state, k)["small_energy"] == alone.step(theirs, k)["energy"]
    assert method.step(state, 2)["energy"] == last.step(theirs, 2)["energy"]


@pytest.mark.parametrize("carried", [False, True])
def test_chains_go_on_or_start_anew_in_another_field(carried: bool) -> None:
    method = carrying("metropolis", carried, IN_FIELDS)
    state = method.init(4)
    for k in range(2):
        method.step(state, k)
    chains, start = state.sampling.state_dict()["spins"].clone(), method.parts[1].sampler.start(state.seed, PURPOSE)
    expected = chains if carried else start.state_dict()["spins"]
    seen = list[Tensor]()
    sample = MetropolisSampler.sample

    def watched(self: MetropolisSampler, ansatz: WaveFunction, chains: ChainState, *rest: Any) -> Batch:
        seen.append(chains.spins.clone())
        return sample(self, ansatz, chains, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MetropolisSampler, "sample", watched)
        method.step(state, 2)
    assert torch.equal(seen[0], expected)
    assert not torch.equal(chains, start.state_dict()["spins"])


def test_a_trained_proposal_goes_on_in_another_field_and_after_a_resume(tmp_path: Path) -> None:
    method = carrying("nir", True, IN_FIELDS)
    straight = method.init(4)
    metrics = [method.step(straight, k) for k in range(5)]
    for stop in (2, 3, 4):
        first = method.init(4)
        for k in range(stop):
            method.step(first, k)
        assert isinstance(first.sampling, NIRState)
        proposal = first.sampling.proposal
        save_tree(tmp_path / "state", first.state_dict())
        again = carrying("nir", True, IN_FIELDS)
        second = again.init(4)
        second.load_state_dict(load_tree(tmp_path / "state"))
        assert [again.step(second, k) for k in range(stop, 5)] == metrics[stop:]
        method.step(first, stop)
        assert first.sampling.proposal is proposal


@pytest.mark.parametrize("other", [SMALL, {"length_x": 6, "length_y": 2}], ids=["fewer", "as many"])
def test_samplers_start_anew_on_another_lattice(other: dict[str, int | float]) -> None:
    method = carrying("nir", True, [PhaseConfig(steps=1, system=other), PhaseConfig(steps=1)])
    state = method.init(4)
    method.step(state, 0)
    before = state.sampling
    method.step(state, 1)
    assert state.sampling is not before


def test_nothing_to_carry_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"carry_sampler.*no phase is on another system"):
        compose_run(["method=vmc", "train.method.carry_sampler=true"])


def test_resuming_between_and_inside_small_phases(tmp_path: Path) -> None:
    method = build(LARGE, PHASES)
    straight = method.init(4)
    metrics = [method.step(straight, k) for k in range(7)]
    for stop in (2, 3, 5, 6):
        first = method.init(4)
        for k in range(stop):
            method.step(first, k)
        save_tree(tmp_path / "state", first.state_dict())
        again = build(LARGE, PHASES)
        resumed = again.init(4)
        resumed.load_state_dict(load_tree(tmp_path / "state"))
        assert [again.step(resumed, k) for k in range(stop, 7)] == metrics[stop:]


def test_systems_of_a_schedule() -> None:
    schedule = Schedule(TRAIN.optimizer, PHASES)
    assert schedule.systems == [{}, SMALL]
    assert [schedule.at(k).system for k in range(9)] == [1, 1, 1, 0, 0, 1, 1, 1, 1]


def test_parameters_that_depend_on_the_number_of_sites_are_not_shared() -> None:
    from pipeline.spin.ansatz.rbm import RBM
    from pipeline.spin.ansatz.schema import RBMConfig

    config = RBMConfig(alpha=1, deviation=0.1, parameters="real")
    with pytest.raises(ValueError, match="depend on the number of sites"):
        share_parameters(RBM(config, replace(LARGE, length_x=3)), RBM(config, LARGE))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["train.phases=[{steps:2,system:{length_z:3}}]"],
            r"phases\[0\]\.system\.length_z=3: a phase can change length_x, length_y, coupling, field",
        ),
        (["train.phases=[{steps:2,system:{feild:3.0}}]"], r"phases\[0\]\.system\.feild=3\.0: .*did you mean 'field'\?"),
        (["train.phases=[{steps:2,system:{periodic:true}}]"], r"system\.periodic"),
        (["train.phases=[{steps:2,system:{field:strong}}]"], r"system\.field"),
        (["train.phases=[{steps:2,system:{length_x:0}}]"], r"train\.phases\[0\]\.system\.length_x=0: must be at least"),
        (["train.phases=[{steps:2,system:{length_x:2.5}}]"], r"system\.length_x"),
        (["ansatz=rbm", "sampler=metropolis", "train.phases=[{steps:2,system:{length_x:2}}]"], r"fit one size only"),
        (
            [
                "train.ansatz.symmetries=[point_group]",
                "train.phases=[{steps:2},{steps:2,system:{length_x:1,length_y:1}}]",
            ],
            r"phases\[1\]",
        ),
    ],
)
def test_bad_small_systems(words: list[str], message: str) -> None:
    base = ["method=vmc", "system=square_tfim", "system.periodic=false", "ansatz=pixelcnn", "sampler=direct"]
    with pytest.raises(ConfigError, match=message):
        compose_run([*base, "stages=[train]", *words])
