"""Faults of resampling: determinants that vanish, proposals that exclude a mode, runs that are killed or give up."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.spin.ansatz.determinant import Determinant
from pipeline.spin.sampler.nir.sampler import NIRSampler, NIRState, PoorProposal
from pipeline.stages.compose import compose_run
from pipeline.stages.context import Context
from pipeline.stages.run import execute
from tests.spin import dense
from tests.spin.sampler.tables import Table, lattice, sampler_of, scattered

RUN = (
    *("method=vmc", "system=square_tfim", "system.length_x=2", "system.length_y=2", "ansatz=rbm", "sampler=nir"),
    *("tracker=none", "progress=false", "stages=[train,infer]", "train.steps=4", "checkpoint_seconds=0"),
    *("train.ansatz.states=2", "infer.chains=training", "infer.units=2", "optimizer=sr", "train.optimizer.lr=0.05"),
    *(
        f"train.sampler.{x}"
        for x in ("samples=24", "embedding=4", "heads=2", "layers=1", "max_rounds=60", "max_proposals=400", "lr=0.02")
    ),
)


def networks(copies: int) -> list[Table]:
    return [scattered(2, 0.4, seed=j) for j in range(copies)]


@pytest.mark.parametrize("copies", [2, 3])
@pytest.mark.parametrize("importance", ["resampling", "weighting"])
def test_singular_determinants_are_never_drawn(copies: int, importance: str) -> None:
    """Two copies alike: most proposals of a small basis, with a weight of zero and no log Ψ."""
    psi = Determinant(networks(copies), 2)
    sampler = sampler_of(lattice(2), copies, importance=importance, updates=3, efficiency=0.2, max_rounds=200)
    state = sampler.start(1, "test")
    for k in range(3):
        batch = sampler.sample(psi, state, None, 1, "test", k)
        rows = batch.spins.view(-1, copies, 2)
        same = [(rows[:, a] == rows[:, b]).all(1) for a, b in itertools.combinations(range(copies), 2)]
        assert not bool(torch.stack(same).any())
        assert bool(psi.log_amplitude(batch.spins).real.isfinite().all())
        assert all(np.isfinite(value) for value in batch.metrics.values())
    assert all(bool(p.isfinite().all()) for p in state.proposal.parameters())


@pytest.mark.parametrize("value", [0.0, -torch.inf])
def test_dependent_networks_end_the_run(value: float) -> None:
    """Two constants, or a network that vanishes: Ψ = 0 everywhere, nothing to draw, and said so."""
    constant = Table(torch.full((4,), value, dtype=torch.float64))
    psi = Determinant([constant, constant if value == 0.0 else networks(1)[0]], 2)
    sampler = sampler_of(lattice(2), 2)
    with pytest.raises(PoorProposal, match="ψ vanishes on all 4000 proposals"):
        sampler.sample(psi, sampler.start(1, "test"), None, 1, "test", 0)


def excluding(sampler: NIRSampler, bias: float) -> NIRState:
    """A state whose proposal has logits that leave spins down no probability in double precision."""
    state = sampler.start(1, "test")
    with torch.no_grad():
        state.proposal.logits.bias.copy_(torch.tensor([bias, -bias]))
    return state


def shares(sampler: NIRSampler, psi: Table) -> np.ndarray:
    """Of the configurations, over many batches of a proposal that does not learn; by their own weights."""
    state, total, norm = excluding(sampler, 400.0), np.zeros(4), 0.0
    for k in range(40):
        batch = sampler.weighted(psi, state, None, 1, "test", k)
        assert batch.log_weights is not None
        assert batch.order is not None
        log_w: Tensor = batch.log_weights
        assert bool(log_w.isfinite().all())
        counts = torch.bincount(batch.order[0], minlength=len(log_w)).double()
        weights = (log_w.exp() * counts).numpy()
        np.add.at(total, dense.row(batch.spins.numpy()), weights)
        norm += weights.sum()
    found: np.ndarray = total / norm
    return found


def test_configurations_of_probability_zero_are_missed_and_a_floor_finds_them() -> None:
    psi = scattered(2, 0.5)
    without = shares(sampler_of(lattice(2), proposals=400, p_floor=0.0), psi)
    assert without.tolist() == [1.0, 0.0, 0.0, 0.0]
    np.testing.assert_allclose(
        shares(sampler_of(lattice(2), proposals=400, p_floor=0.1), psi), psi.probabilities(), atol=0.04
    )


@pytest.mark.parametrize("divergence", ["forward", "backward"])
def test_training_from_a_proposal_that_excludes_all_but_one(divergence: str) -> None:
    """log q of the others is -∞ but for the rounding of a logarithm: no gradient may be."""
    sampler = sampler_of(lattice(2), p_floor=0.0, divergence=divergence, proposals=40)
    state = excluding(sampler, 400.0)
    for k in range(3):
        batch = sampler.sample(scattered(2, 0.5), state, None, 1, "test", k)
        assert all(np.isfinite(value) for value in batch.metrics.values())
    assert all(bool(p.isfinite().all()) for p in state.proposal.parameters())


class Killed(BaseException):
    """Stands for the end of a process: nothing in between catches it."""


def run(results: Path, *more: str) -> Any:
    output = execute(Context(compose_run([*RUN, f"results_dir={results}", *more]), notify=lambda said: None))
    assert output.result is not None
    assert output.trained is not None
    metrics = [{**line, "seconds": 0} for line in output.trained.entry.metrics()]
    return output.result.to_json(), metrics


def test_a_run_killed_inside_a_retraining_round_is_resumed_bit_by_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two rounds of one batch, after the proposal has learnt something that no checkpoint has."""
    efficient = "train.sampler.efficiency=0.45"
    expected = run(tmp_path / "whole", efficient)
    rounds = [line["rounds"] for line in expected[1]]
    assert max(rounds[1:]) >= 3, "no step after the first trains the proposal anew"
    step = 1 + int(np.argmax(rounds[1:]))
    original, count = NIRSampler._train, itertools.count()

    def train(self: Any, *arguments: Any) -> None:
        original(self, *arguments)
        if next(count) == sum(rounds[:step]) + 1:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(NIRSampler, "_train", train)
        with pytest.raises(Killed):
            run(tmp_path / "killed", efficient)
    assert list((tmp_path / "killed").glob("_store/train/*.partial"))
    assert run(tmp_path / "killed", efficient) == expected


def test_a_run_whose_proposal_stays_too_poor_ends_with_history_and_advice(tmp_path: Path) -> None:
    """After a bounded number of proposals; what was reached before is kept."""
    with pytest.raises(PoorProposal) as caught:
        run(tmp_path, "train.sampler.efficiency=0.99", "train.sampler.max_rounds=4", "train.sampler.max_proposals=300")
    assert caught.value.exit_code == 1
    for said in ("in 4 rounds", "efficiency of 0.99", " of ", "larger proposal", "max_proposals"):
        assert said in str(caught.value)
    assert list(tmp_path.glob("_store/train/*.partial"))
