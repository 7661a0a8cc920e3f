"""Phases that learn from configurations of the ground state."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.base.config.nodes import TrainConfig
from pipeline.base.config.phases import AdamConfig, LikelihoodConfig, PhaseConfig, SRConfig, StepSettings
from pipeline.base.errors import ConfigError, UserError
from pipeline.base.run.ranks import ALONE
from pipeline.base.store.files import load_tree, save_tree
from pipeline.spin.ansatz.build import build_unprojected
from pipeline.spin.ansatz.schema import PixelCNNConfig
from pipeline.spin.chunks import Chunks
from pipeline.spin.optimizers import build_optimizer
from pipeline.spin.sampler.schema import DirectConfig
from pipeline.spin.systems import SquareHeisenberg, SquareTFIM
from pipeline.spin.vmc.likelihood import Source, learn
from pipeline.spin.vmc.method import VariationalMonteCarlo
from pipeline.spin.vmc.schema import VMCConfig, VMCInferConfig
from pipeline.spin.vmc.update import set_gradients
from pipeline.spin.wave_function import WaveFunction
from pipeline.stages.compose import compose_run
from tests.spin import dense

NEEL = SquareHeisenberg(length_x=3, length_y=2, periodic=False, j1=1.0, j2=0.0)
MATRIX = dense.square_heisenberg(3, 2, False, 1.0, 0.0)
OF_SIX = PixelCNNConfig(phase=False, output_scale=0.1, symmetries=[], depth=2, width=8, spread=1.0, magnetisation=0)
LEARNT = LikelihoodConfig(beta_per_length=4.0, times=4, warmup=20, updates=8, symmetries=["point_group", "spin_flip"])
ADAM = AdamConfig(lr=0.02, betas=(0.9, 0.99))
TRAIN = TrainConfig(
    method=VMCConfig(sign_rule="stoquastic", gradient_clip=None, max_rejected=3, memory_gib=None),
    ansatz=OF_SIX,
    sampler=DirectConfig(samples=64),
    optimizer=ADAM,
    steps=7,
    seed=0,
    dtype="float64",
)
INFER = VMCInferConfig(units=1, seed=5, samples=None, chains="fresh", keep_samples=False)
SMALL: dict[str, int | float] = {"length_x": 2, "length_y": 2}


def method_of(phases: list[PhaseConfig], **changes: Any) -> VariationalMonteCarlo:
    return VariationalMonteCarlo(NEEL, replace(TRAIN, phases=phases, **changes), INFER, "cpu")


def all_configurations() -> torch.Tensor:
    return torch.tensor(dense.basis(6), dtype=torch.int8)


def test_the_gradient_is_that_of_the_cross_entropy() -> None:
    """Finite differences, of configurations of which some are outside of the sector."""
    network = build_unprojected(OF_SIX, NEEL, 1).double()
    assert isinstance(network, WaveFunction)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():  # with biases of zero the padding is where ReLU has no derivative
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    spins = all_configurations()[::3]
    inside = spins[spins.sum(1) == 0]
    assert 0 < len(inside) < len(spins)
    optimizer = build_optimizer(AdamConfig(lr=1e-30, betas=(0.9, 0.99)), network.parameters())
    found = learn(optimizer, network, spins, Chunks(1.0), None, ALONE)

    def entropy() -> float:
        with torch.no_grad():
            return float(-2 * network.log_amplitude(inside).mean())

    assert found["cross_entropy"] == pytest.approx(entropy(), rel=1e-12)
    norm = 0.0
    for parameter in network.parameters():
        assert parameter.grad is not None
        norm += float(parameter.grad.square().sum())
        index = tuple(torch.unravel_index(parameter.grad.abs().argmax(), parameter.shape))
        with torch.no_grad():
            parameter[index] += 1e-5
            above = entropy()
            parameter[index] -= 2e-5
            below = entropy()
            parameter[index] += 1e-5
        assert float(parameter.grad[index]) == pytest.approx((above - below) / 2e-5, rel=1e-5, abs=1e-8)
    assert found["gradient_norm"] == pytest.approx(norm**0.5)


def test_likelihood_leads_to_the_ground_state() -> None:
    phases = [PhaseConfig(steps=400, samples=256, lr_end=1e-3, likelihood=LEARNT)]
    method = method_of(phases)
    state = method.init(0)
    curve = [method.step(state, k)["cross_entropy"] for k in range(400)]
    energies, vectors = np.linalg.eigh(MATRIX)
    density = vectors[:, 0] ** 2
    density = density[density > 1e-12]
    least = float(-(density * np.log(density)).sum())
    assert np.mean(curve[-100:]) == pytest.approx(least, abs=0.03)
    assert curve[0] > least + 0.3
    with torch.no_grad():
        ours = state.ansatz.log_amplitude(all_configurations()).exp().numpy()
    assert (ours @ np.abs(vectors[:, 0])) ** 2 > 0.99
    marshall = ours * np.sign(vectors[:, 0])
    assert marshall @ MATRIX @ marshall == pytest.approx(energies[0], rel=0.01)


def test_batches_are_a_function_of_seed_and_step() -> None:
    source = Source(NEEL, "cpu")
    settings, other = (StepSettings(0, 0.1, 16, likelihood=LEARNT, first=first) for first in (0, 20))
    straight = [source.batch(settings, 1, 3, k) for k in range(20)]
    for k in (13, 2, 19):
        assert torch.equal(Source(NEEL, "cpu").batch(settings, 1, 3, k), straight[k])
    assert len({batch.numpy().tobytes() for batch in straight}) == 20
    assert not torch.equal(source.batch(settings, 1, 4, 0), straight[0])
    later = [source.batch(other, 1, 3, k) for k in range(20, 40)]
    assert not {batch.numpy().tobytes() for batch in straight} & {batch.numpy().tobytes() for batch in later}


def test_configurations_are_transformed_by_the_symmetries() -> None:
    """Of the two orders of one state only that one is drawn; with the spin flip both."""
    ordered = SquareTFIM(length_x=3, length_y=2, periodic=False, coupling=1.0, field=0.01)
    plain = replace(LEARNT, symmetries=[], updates=1, warmup=5, times=64)
    flipped = replace(plain, symmetries=["spin_flip"])
    settings = [StepSettings(0, 0.1, None, likelihood=config) for config in (plain, flipped)]
    one, both = (Source(ordered, "cpu").batch(one, 64, 0, 0).sum(1).sign() for one in settings)
    assert set(one.tolist()) in ({1}, {-1})
    assert set(both.tolist()) == {1, -1}


def test_resuming_inside_and_after_a_phase_of_likelihood(tmp_path: Path) -> None:
    phases = [
        PhaseConfig(steps=2, system=SMALL, likelihood=LEARNT),
        PhaseConfig(steps=3, likelihood=LEARNT),
        PhaseConfig(steps=2, sr=SRConfig(lr=0.05, shift=0.01, momentum=0.0, max_distance=None)),
    ]
    method = method_of(phases)
    straight = method.init(4)
    metrics = [method.step(straight, k) for k in range(7)]
    assert ["small_cross_entropy" in m for m in metrics] == [True] * 2 + [False] * 5
    assert ["cross_entropy" in m for m in metrics] == [False] * 2 + [True] * 3 + [False] * 2
    assert "energy" in metrics[-1]
    for stop in (1, 2, 4, 5, 6):
        first = method.init(4)
        for k in range(stop):
            method.step(first, k)
        save_tree(tmp_path / "state", first.state_dict())
        again = method_of(phases)
        second = again.init(4)
        second.load_state_dict(load_tree(tmp_path / "state"))
        assert [again.step(second, k) for k in range(stop, 7)] == metrics[stop:]


def test_a_state_of_another_magnetisation_learns_nothing() -> None:
    network = build_unprojected(replace(OF_SIX, magnetisation=6), NEEL, 1)
    assert isinstance(network, WaveFunction)
    optimizer = build_optimizer(ADAM, network.parameters())
    settings = StepSettings(0, 0.1, 8, likelihood=LEARNT)
    with pytest.raises(UserError, match="vanishes on every configuration"):
        learn(optimizer, network, Source(NEEL, "cpu").batch(settings, 1, 0, 0), Chunks(1.0), None, ALONE)


@pytest.mark.parametrize("broken", ["value", "norm"])
def test_a_step_that_is_not_finite_is_rejected(broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gradients are there, and would change the parameters."""
    method = method_of([PhaseConfig(steps=2, likelihood=LEARNT)])
    state = method.init(0)
    before = [p.clone() for p in state.ansatz.parameters()]

    def not_finite(*arguments: Any) -> tuple[Tensor, Tensor]:
        norm, value = set_gradients(*arguments)
        return (norm * math.inf, value) if broken == "norm" else (norm, value * math.nan)

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.spin.vmc.likelihood.set_gradients", not_finite)
        assert method.step(state, 0) == {"rejected_steps": 1}
    assert all(torch.equal(a, b) for a, b in zip(before, state.ansatz.parameters(), strict=True))
    assert "cross_entropy" in method.step(state, 1)
    assert not all(torch.equal(a, b) for a, b in zip(before, state.ansatz.parameters(), strict=True))


def test_chains_start_anew_after_a_phase_of_likelihood() -> None:
    """They have not moved while ψ became another one."""
    run = compose_run([*BASE[:2], "sampler=metropolis", "train.sampler.chains=4", "train.sampler.samples=8"])
    phases = [PhaseConfig(steps=2), PhaseConfig(steps=2, likelihood=LEARNT), PhaseConfig(steps=2)]
    method = method_of(phases, sampler=run.train.sampler)
    state = method.init(0)
    for k in range(4):
        method.step(state, k)
    chains = state.sampling
    assert chains.state_dict()["burned_in"]
    method.step(state, 4)
    assert state.sampling is not chains
    chains = state.sampling
    method.step(state, 5)
    assert state.sampling is chains


LIKELIHOOD = "likelihood:{beta_per_length:2,times:2,warmup:2,updates:2}"
BASE = ["method=vmc", "system=square_heisenberg", "ansatz=pixelcnn", "sampler=direct", "train.ansatz.phase=false"]
BASE += ["train.method.sign_rule=stoquastic"]


@pytest.mark.parametrize(
    ("words", "phase", "message"),
    [
        (["system.j2=0.5", "train.method.sign_rule=none"], LIKELIHOOD, "draws no configurations"),
        (["ansatz=rbm", "sampler=metropolis"], LIKELIHOOD, "one normalised state.*ansatz=rbm"),
        ([], f"projection:[spin_flip],{LIKELIHOOD}", "projected on spin_flip"),
        (["optimizer=sr"], LIKELIHOOD, "takes energies; give the phase its own adam"),
        (
            ["system.periodic=false"],
            LIKELIHOOD.replace("updates:2", "updates:2,symmetries:[translations]"),
            "translations",
        ),
        ([], LIKELIHOOD.replace("updates:2", "updates:2,symmetries:[point_grup]"), "point_grup.*point_group"),
        (["train.ansatz.magnetisation=2", "train.method.sign_rule=stoquastic"], LIKELIHOOD, r"magnetisation=2.*<= 0"),
        (["train.method.sign_rule=none", "train.ansatz.phase=true"], LIKELIHOOD, "say nothing of the signs"),
        (["infer.chains=training", "sampler=metropolis"], LIKELIHOOD, "moves no chains; use fresh"),
        ([], LIKELIHOOD.replace("updates:2", "updates:0"), "updates.*at least 1|updates.*between"),
        ([], LIKELIHOOD.replace("beta_per_length:2", "beta_per_length:-1"), "beta_per_length"),
        ([], LIKELIHOOD.replace("warmup:2", "warmup:-2"), "warmup"),
        ([], LIKELIHOOD.replace("warmup:2", "warmth:2"), "warmth"),
    ],
)
def test_what_cannot_learn_is_refused(words: list[str], phase: str, message: str) -> None:
    given = [word for word in BASE if word.split("=")[0] not in [w.split("=")[0] for w in words]]
    given = [word for word in given if "ansatz=rbm" not in words or not word.startswith("train.ansatz")]
    with pytest.raises(ConfigError, match=message):
        compose_run([*given, *words, f"train.phases=[{{steps:2,{phase}}}]", "train.steps=2"])


def test_a_chain_of_frustrated_systems_is_only_refused_where_it_learns() -> None:
    phases = f"train.phases=[{{steps:2,system:{{j2:0.0}},{LIKELIHOOD}}},{{steps:2}}]"
    words = [*BASE[:-2], "system.j2=0.5", "train.method.sign_rule=marshall", "train.ansatz.phase=true"]
    run = compose_run([*words, phases, "train.steps=4"])
    assert run.train.phases[0].likelihood is not None
