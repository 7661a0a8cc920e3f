"""What a training explored and what an inference would: the same configurations, or a message that says which."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from pipeline.base.errors import ConfigError
from pipeline.spin.systems import ChainHeisenberg
from pipeline.stages.compose import compose_run
from tests.spin import dense
from tests.spin.small_vmc import COMPLEX_RBM, DIRECT, INFER, METROPOLIS, TRAIN, amplitudes, build

RING = ["method=vmc", "system=chain_heisenberg", "system.n_sites=6", "train.method.sign_rule=stoquastic"]
EXCHANGES = ["sampler=metropolis", "train.sampler.rule=exchange"]
AUTOREGRESSIVE = ["ansatz=dense_ar", "sampler=direct"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            [*EXCHANGES, "infer_sampler=metropolis"],
            "infer.sampler.rule=local: the training explored Σ σz = 0 only (train.sampler.rule=exchange), and this "
            "draws outside too: that would be another state; use infer_sampler=exhaustive",
        ),
        (
            [*EXCHANGES, "system.n_sites=5", "train.method.sign_rule=none", "infer_sampler=metropolis"],
            "infer.sampler.rule=local: the training explored Σ σz = 1 only",
        ),
        (
            ["ansatz=dense_ar", *EXCHANGES, "infer_sampler=direct"],
            "infer_sampler=direct: the training explored Σ σz = 0 only",
        ),
        (
            ["sampler=metropolis", "infer_sampler=metropolis", "infer.sampler.rule=exchange"],
            "infer.sampler.rule=exchange: the training explored every Σ σz, and exchanges stay at Σ σz = 0",
        ),
        (
            ["infer_sampler=metropolis", "infer.sampler.rule=exchange"],
            "infer.sampler.rule=exchange: the training explored every Σ σz",
        ),
        (
            [*AUTOREGRESSIVE, "infer_sampler=metropolis", "infer.sampler.rule=exchange"],
            "infer.sampler.rule=exchange: the training explored every Σ σz",
        ),
        ([*EXCHANGES, "train.sampler.start=up"], "train.sampler.start=up: aligned spins have nothing to exchange"),
        (
            [*EXCHANGES, "infer_sampler=metropolis", "infer.sampler.rule=exchange", "infer.sampler.start=down"],
            "infer.sampler.start=down: aligned spins have nothing to exchange",
        ),
    ],
)
def test_another_reach_is_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        compose_run([*RING, *overrides])


@pytest.mark.parametrize(
    "overrides",
    [
        [*EXCHANGES, "infer_sampler=exhaustive"],
        [*EXCHANGES, "infer_sampler=metropolis", "infer.sampler.rule=exchange", "infer.sampler.pairs=any"],
        ["sampler=metropolis", "infer_sampler=metropolis", "infer.sampler.global_flip=0.1"],
        ["infer_sampler=metropolis"],
        [*AUTOREGRESSIVE, "infer_sampler=exhaustive"],
    ],
)
def test_the_same_reach_is_not(overrides: list[str]) -> None:
    compose_run([*RING, *overrides])


def test_a_sum_over_all_configurations_keeps_to_the_sector_of_the_training() -> None:
    """The energy within the sector, exactly; over the whole space it would be another one."""
    ring = ChainHeisenberg(n_sites=5, periodic=True, j1=1.0, j2=0.3)
    infer = replace(INFER, sampler=TRAIN.sampler)
    method = build(ring, ansatz=COMPLEX_RBM, sampler=replace(METROPOLIS, rule="exchange"), infer=infer)
    state = method.init(1)
    result = method.summarise([method.measure(state, 0)])
    psi, matrix = amplitudes(state.ansatz, 5), dense.chain_heisenberg(5, True, 1.0, 0.3)

    def energy(psi: np.ndarray) -> float:
        return float((psi.conj() @ matrix @ psi).real / (np.abs(psi) ** 2).sum())

    inside = psi * (dense.basis(5).sum(1) == 1)
    assert abs(energy(inside) - energy(psi)) > 0.1
    assert result.estimate("energy").value == pytest.approx(energy(inside), rel=1e-10)
    assert (result.estimate("energy").sigma, result.estimate("energy").bound) == (0.0, "variational")
    assert result.estimate("magnetisation").value == pytest.approx(1.0)
    assert "Only the configurations with Σ σz = 1 are summed over" in result.notes[-1]
    whole = build(ring, ansatz=COMPLEX_RBM, sampler=METROPOLIS, infer=infer)
    assert whole.summarise([whole.measure(whole.init(1), 0)]).estimate("energy").value == pytest.approx(energy(psi))


def test_direct_draws_of_a_state_trained_by_them_may_be_anywhere() -> None:
    assert build(sampler=DIRECT, ansatz=COMPLEX_RBM).sector is None
