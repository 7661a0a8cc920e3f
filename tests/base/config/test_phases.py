"""Phases of a training: settings of every step, what is refused, and what enters the train key."""

from __future__ import annotations

import math
from typing import Any

import pytest
from omegaconf import OmegaConf

from pipeline.base.config.nodes import TrainConfig
from pipeline.base.config.phases import AdamConfig, PhaseConfig, Schedule, SGDConfig, StepSettings
from pipeline.base.errors import ConfigError
from pipeline.stages.compose import compose_run
from pipeline.stages.keys import Keys, train_nodes

ADAM = AdamConfig(lr=1e-3, betas=(0.9, 0.999))
SGD = SGDConfig(lr=0.5, momentum=0.9)
VMC = ["method=vmc", "system=square_tfim", "baseline=none"]
CHAINS = [*VMC, "sampler=metropolis", "train.steps=30"]


def test_without_phases_everything_is_constant() -> None:
    schedule = Schedule(ADAM, [])
    assert schedule.at(0) == schedule.at(10**9) == StepSettings(0, 1e-3, None)


def test_batch_size_optimizer_and_learning_rate_along_training() -> None:
    """NAQS paper, Appendix B.3: Adam with 100 samples, then 1000, then SGD with momentum and more."""
    phases = [
        PhaseConfig(steps=10, samples=100),
        PhaseConfig(steps=10, samples=1000),
        PhaseConfig(steps=5, samples=8192, sgd=SGD),
        PhaseConfig(steps=5, lr=0.25),
    ]
    schedule = Schedule(ADAM, phases)
    assert schedule.optimizers == [ADAM, SGD]
    expected = {
        0: StepSettings(0, 1e-3, 100),
        9: StepSettings(0, 1e-3, 100),
        10: StepSettings(0, 1e-3, 1000, first=10),
        20: StepSettings(1, 0.5, 8192, first=20),
        24: StepSettings(1, 0.5, 8192, first=20),
        25: StepSettings(1, 0.25, 8192, first=25),
        30: StepSettings(1, 0.25, 8192, first=25),
        10**6: StepSettings(1, 0.25, 8192, first=25),
    }
    assert {k: schedule.at(k) for k in expected} == expected


def test_halving_every_fifty_steps() -> None:
    schedule = Schedule(AdamConfig(lr=0.01, betas=(0.9, 0.999)), [PhaseConfig(50, lr=0.01 * 0.5**i) for i in range(8)])
    for k in range(400):
        assert schedule.at(k).lr == 0.01 * 0.5 ** (k // 50)


def test_cosine() -> None:
    schedule = Schedule(ADAM, [PhaseConfig(4, lr=1.0), PhaseConfig(100, lr_end=0.2), PhaseConfig(10)])
    rates = [schedule.at(k).lr for k in range(4, 104)]
    assert rates[0] == 1.0
    assert rates[50] == pytest.approx(0.6)
    assert rates == sorted(rates, reverse=True)
    assert rates[99] == pytest.approx(0.2 + 0.8 * 0.5 * (1 + math.cos(math.pi * 0.99)))
    assert schedule.at(104).lr == schedule.at(200).lr == 0.2


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"steps": 0}, "steps"),
        ({"samples": 0}, "samples"),
        ({"lr": 0.0}, "lr"),
        ({"lr": math.nan}, "lr"),
        ({"lr_end": -1e-3}, "lr_end"),
        ({"adam": ADAM, "sgd": SGD}, "one of adam, sgd and sr"),
    ],
)
def test_refused_phases(changes: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError, match=key):
        PhaseConfig(**{"steps": 5, **changes})


def test_learning_rate_of_zero() -> None:
    with pytest.raises(ConfigError, match=r"^phases\[1\]\.lr: needs a value"):
        Schedule(ADAM, [PhaseConfig(5, lr_end=0.0), PhaseConfig(5)])
    Schedule(ADAM, [PhaseConfig(5, lr_end=0.0), PhaseConfig(5, sgd=SGD)])

    def train(steps: int) -> TrainConfig:
        phases = [PhaseConfig(5, lr_end=0.0)]
        return TrainConfig(method=None, optimizer=ADAM, steps=steps, seed=0, dtype="float64", phases=phases)

    train(3)
    train(5)
    with pytest.raises(ConfigError, match=r"^steps=6: the phases end after 5 steps .* rate of 0"):
        train(6)


def test_sgd_is_refused_with_a_momentum_of_one() -> None:
    with pytest.raises(ConfigError, match=r"momentum=1\.0"):
        SGDConfig(lr=0.1, momentum=1.0)
    optimizer = compose_run([*VMC, "optimizer=sgd", "train.optimizer.lr=0.2"]).train.optimizer
    assert optimizer == SGDConfig(lr=0.2, momentum=0.9)


def test_phases_on_the_command_line_and_in_files() -> None:
    words = "train.phases=[{steps:10,samples:100},{steps:5,samples:400,lr:0.2,lr_end:0.1,sgd:{lr:1,momentum:0.5}}]"
    expected = [
        PhaseConfig(10, 100),
        PhaseConfig(5, 400, 0.2, 0.1, sgd=SGDConfig(lr=1.0, momentum=0.5)),
    ]
    assert compose_run([*CHAINS, words]).train.phases == expected
    typed = OmegaConf.structured(TrainConfig)
    file = {"phases": [{"steps": 10, "samples": 100}, {"steps": 5, "sgd": {"lr": 1, "momentum": 0.5}}]}
    merged: Any = OmegaConf.to_object(OmegaConf.merge(typed, file).phases)
    assert merged[1].sgd == SGDConfig(lr=1.0, momentum=0.5)


@pytest.mark.parametrize(
    ("phases", "message"),
    [
        ("[{step:3}]", r"train\.phases\[0\]\.step: no such key \(did you mean 'steps'\?\)"),
        ("[{steps:1},{steps:a}]", r"train\.phases\[1\]\.steps=a: must be an integer"),
        ("[{steps:1,adam:{name:sr}}]", r"train\.phases\[0\]\.adam\.name=sr: is chosen by"),
        ("[{steps:" + "9" * 30 + "}]", r"train\.phases\[0\]\.steps=9+: must fit 64 bits"),
        ("[3]", r"train\.phases\[0\]=3: must be a group of keys"),
        ("[{}]", r"train\.phases\[0\]\.steps: needs a value"),
        ("[{steps:1,sgd:{lr:1}}]", r"train\.phases\[0\]\.sgd\.momentum: needs a value"),
        ("3", r"train\.phases=3: must be a list"),
        ("[{steps:1,samples:130}]", r"train\.phases\[0\]\.samples=130: must be a multiple of the 100 chains"),
        ("[{steps:1,lr:0}]", r"train\.phases\[0\]\.lr=0\.0: must be a positive number"),
        ("[{steps:1,system:{field:strong}}]", r"train\.phases\[0\]\.system\.field=strong: must be a number$"),
        ("[{steps:1,system:{field:true}}]", r"train\.phases\[0\]\.system\.field=true: must be a number$"),
        ("[{steps:1,system:{length_x:'6.5'}}]", r"train\.phases\[0\]\.system\.length_x=6\.5: must be an integer"),
    ],
)
def test_refused_on_the_command_line(phases: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        compose_run([*CHAINS, f"train.phases={phases}"])


@pytest.mark.parametrize(("typed", "number"), [("'1e3'", 1000.0), ("1e3", 1000.0), ("'3'", 3), ("2.5", 2.5)])
def test_numbers_of_a_phase_are_read_like_those_of_the_system(typed: str, number: float) -> None:
    """In quotes, too, as some shells and files need them."""
    (phase,) = compose_run([*CHAINS, f"train.phases=[{{steps:1,system:{{field:{typed}}}}}]"]).train.phases
    assert phase.system == {"field": number}
    assert compose_run([*CHAINS, f"system.field={typed}"]).system.field == number


def test_exhaustive_sampling_has_no_batch_size() -> None:
    with pytest.raises(ConfigError, match=r"train\.phases\[1\]\.samples=50: sampler=exhaustive takes every"):
        compose_run([*VMC, "train.phases=[{steps:5,lr:0.1},{steps:5,samples:50}]"])
    compose_run([*VMC, "train.phases=[{steps:5,lr:0.1}]"])


def test_subspace_flow_has_no_phases() -> None:
    with pytest.raises(ConfigError, match=r"train\.phases: method=subspace_flow has none"):
        compose_run(["paper=nf_nqs", "scale=smoke", "train.phases=[{steps:5}]"])


def test_phases_are_in_the_train_key_where_there_are_any() -> None:
    base = compose_run(CHAINS)
    assert "phases" not in train_nodes(Keys(base))["train"]
    one, two = (compose_run([*CHAINS, f"train.phases=[{{steps:{n}}}]"]) for n in (5, 6))
    assert len({Keys(base).train, Keys(one).train, Keys(two).train}) == 3
    assert Keys(compose_run([*CHAINS, "train.phases=[{steps:5}]", "train.steps=99"])).train == Keys(one).train


def test_who_has_no_phases_hashes_what_they_did_before_there_were_any() -> None:
    nodes = train_nodes(Keys(compose_run(["paper=nf_nqs", "scale=laptop"])))["train"]
    assert set(nodes) == {"method", "ansatz", "sampler", "optimizer", "seed", "dtype"}
