"""Divergence of draws from |ψ|²: by hand, by enumeration, and of samplers that are known to be right or wrong."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.base.errors import ConfigError
from pipeline.spin.vmc.divergence import estimates, jensen_shannon
from pipeline.spin.vmc.method import VariationalMonteCarlo
from pipeline.stages.compose import compose_run
from tests.spin.sampler.tables import CONFIG, lattice
from tests.spin.small_vmc import DIRECT, INFER, METROPOLIS, TRAIN, TinyConfig, build

SIX = lattice(3, 2)
DRAWS = 4000


def measured(sampler: Any, ansatz: Any = TRAIN.ansatz, units: int = 1, **changes: Any) -> list[dict[str, Any]]:
    """Records of an inference of the untrained state on 3 × 2 sites."""
    train = replace(TRAIN, ansatz=ansatz, sampler=sampler)
    infer = replace(INFER, units=units, samples=DRAWS, divergence=True, **changes)
    method: VariationalMonteCarlo = build(SIX, train=train, infer=infer)
    state = method.init(1)
    return [method.measure(state, k) for k in range(units)]


@pytest.mark.parametrize(
    ("p", "q", "value"),
    [
        ([1.0, 0.0], [0.0, 1.0], math.log(2)),
        ([0.5, 0.5], [0.5, 0.5], 0.0),
        ([1.0, 0.0], [0.5, 0.5], 0.5 * (math.log(4 / 3) + 0.5 * math.log(2 / 3) + 0.5 * math.log(2))),
        ([1.0], [1.0], 0.0),
    ],
)
def test_values_by_hand(p: list[float], q: list[float], value: float) -> None:
    one, other = torch.tensor(p, dtype=torch.float64), torch.tensor(q, dtype=torch.float64)
    assert jensen_shannon(one, other) == pytest.approx(value, abs=1e-15)
    assert jensen_shannon(other, one) == pytest.approx(value, abs=1e-15)


def test_against_entropies() -> None:
    """H(m) - (H(p) + H(q))/2."""
    p, q = (np.random.default_rng(k).dirichlet(np.ones(20)) for k in (1, 2))
    entropy = lambda x: -(x * np.log(x)).sum()  # noqa: E731
    expected = entropy((p + q) / 2) - (entropy(p) + entropy(q)) / 2
    assert jensen_shannon(torch.from_numpy(p), torch.from_numpy(q)) == pytest.approx(expected, rel=1e-12)


def test_independent_draws_are_at_the_floor() -> None:
    """Of n draws from M probable configurations the divergence is about (M - 1)/(8 n)."""
    records = measured(DIRECT, TinyConfig(deviation=0.1), units=4)
    for name in ("divergence", "divergence_floor"):
        mean = np.mean([record[name] for record in records])
        assert mean == pytest.approx(63 / (8 * DRAWS), rel=0.25)
    assert records[0]["divergence"] != records[1]["divergence"]


def test_draws_of_a_proposal_are_close_and_chains_that_stand_still_are_not() -> None:
    """Drawn again from 16,000 proposals, 4000 draws are nearly independent; from 500 they are not."""
    state = TinyConfig(deviation=0.1)
    floor = measured(DIRECT, state)[0]["divergence_floor"]
    many = replace(CONFIG, samples=DRAWS, proposals=4 * DRAWS)
    assert measured(many, state)[0]["divergence"] < 3 * floor
    assert measured(replace(many, proposals=500), state)[0]["divergence"] > 3 * floor
    stuck = replace(METROPOLIS, thinning=1, burn_in=0, start="up", chains=2000, samples=2000)
    assert measured(stuck, state)[0]["divergence"] > 0.1


def test_batches_of_a_fixed_number_of_proposals_have_proposals_of_their_own() -> None:
    state = TinyConfig(deviation=0.1)
    small = replace(CONFIG, samples=100, proposals=100)
    at_once = replace(small, samples=DRAWS)
    assert measured(small, state)[0]["divergence"] < 0.3 * measured(at_once, state)[0]["divergence"]


def test_the_proposal_learns_nothing_and_estimates_stay_what_they_are() -> None:
    sampler = replace(CONFIG, samples=500)
    train = replace(TRAIN, sampler=sampler)
    values = []
    for wanted in (False, True):
        infer = replace(INFER, units=2, samples=200, divergence=wanted)
        method = build(SIX, train=train, infer=infer)
        state = method.init(1)
        values.append([method.measure(state, k)["energy"] for k in range(2)])
    assert values[0] == values[1]


def test_estimates() -> None:
    records = [{"divergence": value, "divergence_floor": 0.1} for value in (0.2, 0.3, 0.4)]
    divergence, floor = estimates(records)
    assert divergence.value == pytest.approx(0.3)
    assert divergence.sigma == pytest.approx(0.1 / math.sqrt(3))
    assert floor.value == pytest.approx(0.1)
    assert estimates(records[:1])[0].sigma is None
    assert estimates([{"energy": 1.0}]) == []
    assert estimates([]) == []


def test_what_cannot_be_compared_is_said_when_composing() -> None:
    with pytest.raises(ConfigError, match=r"infer.divergence.*draws nothing"):
        compose_run(("method=vmc", "infer.divergence=true"))
    big = ("method=vmc", "system=square_tfim", "sampler=metropolis", "ansatz=log_mlp", "train.ansatz.states=3")
    with pytest.raises(ConfigError, match=r"infer.divergence.*2\^27 configurations"):
        compose_run((*big, "infer.divergence=true"))
