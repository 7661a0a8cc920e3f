"""Neural importance resampling against enumeration: draws, thresholds, rounds, faults, resumed runs."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.base.errors import UserError
from pipeline.spin.chunks import Chunks
from pipeline.spin.sampler.contract import Batch
from pipeline.spin.sampler.nir import proposal
from pipeline.spin.sampler.nir.proposal import Proposal
from pipeline.spin.sampler.nir.sampler import NIRSampler, NIRState, PoorProposal
from pipeline.spin.space import space_of
from pipeline.spin.wave_function import WaveFunction
from tests.spin import dense
from tests.spin.sampler.tables import CONFIG, Table, everything, lattice, sampler_of, scattered
from tests.threads import Threads, in_threads

SIX = lattice(3, 2)


def drawn(sampler: NIRSampler, psi: WaveFunction, batches: int, samples: int | None = None) -> list[Batch]:
    state = sampler.start(4, "test")
    return [sampler.sample(psi, state, samples, 4, "test", k) for k in range(batches)]


def shares(batches: list[Batch], size: int) -> np.ndarray:
    found = np.zeros(2**size)
    for batch in batches:
        np.add.at(found, dense.row(batch.spins.numpy()), batch.weights.numpy() / len(batches))
    return found


def divergence_of_shares(found: np.ndarray, expected: np.ndarray) -> float:
    """Of Jensen and Shannon."""
    middle = (found + expected) / 2
    return float(sum((p[p > 0] * np.log(p[p > 0] / middle[p > 0])).sum() / 2 for p in (found, expected)))


@pytest.mark.parametrize("importance", ["resampling", "weighting"])
@pytest.mark.parametrize(("sites", "copies"), [(1, 1), (2, 1), (3, 1), (1, 2), (2, 2), (1, 3), (2, 3), (6, 1)], ids=str)
def test_draws_are_those_of_psi(sites: int, copies: int, importance: str) -> None:
    """Both ways of using weights, over all configurations of up to six spins."""
    psi = scattered(sites * copies, 0.6)
    sampler = sampler_of(lattice(sites), copies, importance=importance, samples=400, ess=1.5, updates=3)
    batches, p = drawn(sampler, psi, 5), psi.probabilities()
    found = shares(batches, sites * copies)
    assert divergence_of_shares(found, p) < 2 * len(p) / (8 * 2000) + 1e-3
    assert divergence_of_shares(found, np.full(len(p), 1 / len(p))) > 0.007 or len(p) == 2
    assert all((batch.log_weights is None) == (importance == "resampling") for batch in batches)


def test_equal_psi_is_evaluated_once_a_block() -> None:
    psi = scattered(1)
    batch = drawn(sampler_of(lattice(1), samples=500, proposals=2000), psi, 1)[0]
    assert psi.evaluated <= 4  # two configurations, and two to find out what they take
    assert batch.log_amplitudes is not None
    torch.testing.assert_close(batch.log_amplitudes, psi.log_amplitude(batch.spins).detach())


def test_a_round_goes_on_until_it_is_worth_enough() -> None:
    """2 × 50 effective samples, from as many proposals as that takes; a fixed number is a fixed number."""
    psi = scattered(6, 0.8)
    metrics = [dict(batch.metrics) for batch in drawn(sampler_of(SIX), psi, 4)]
    for found in metrics:
        assert 100 <= found["ess"] < 250
        assert found["ess_fraction"] == found["ess"] / 50
        assert found["efficiency"] >= 0.1
        assert found["proposed"] >= found["ess"] / found["efficiency"] - 1e-9
    fixed = drawn(sampler_of(SIX, proposals=77), psi, 3)
    assert [(b.metrics["proposed"], b.metrics["rounds"]) for b in fixed] == [(77.0, 1.0)] * 3
    assert all(b.order is not None and b.order.shape == (1, 50) for b in fixed)
    assert drawn(sampler_of(SIX), psi, 1, samples=7)[0].metrics["ess"] < 60


@pytest.mark.parametrize("divergence", ["forward", "backward"])
def test_rounds_train_the_proposal_until_it_is_efficient(divergence: str) -> None:
    """Uniform proposals are worth far less than half a draw of this ψ each."""
    psi = scattered(6, 1.0)
    sampler = sampler_of(SIX, divergence=divergence, efficiency=0.5, max_rounds=300, samples=100, lr=0.03)
    batches = drawn(sampler, psi, 2)
    assert batches[0].metrics["rounds"] > 5
    assert all(batch.metrics["efficiency"] >= 0.5 for batch in batches)
    assert batches[1].metrics["rounds"] < 5
    assert batches[1].metrics["proposal_loss"] < 1.0


def test_one_sample() -> None:
    for divergence in ("forward", "backward"):
        batch = drawn(sampler_of(SIX, samples=1, ess=2.0, divergence=divergence), scattered(6), 2)[1]
        assert batch.weights.tolist() == [1.0]
        assert all(np.isfinite(value) for value in batch.metrics.values())


def test_networks_in_single_precision() -> None:
    """|ψ|² beyond its range too; weights are in double precision."""
    psi = Table(scattered(6, 0.5, dtype=torch.float32).log_psi.detach() + 60.0)
    batch = drawn(sampler_of(SIX), psi, 1)[0]
    assert batch.log_amplitudes is not None
    assert (batch.log_amplitudes.dtype, batch.weights.dtype) == (torch.float64, torch.float64)
    assert 100 <= batch.metrics["ess"] < 250


class Half(Table):
    """ψ = 0 where the first spin is down: known beforehand (``defined``), or found out."""

    def __init__(self, defined: bool) -> None:
        log_psi = scattered(6, 0.5).log_psi.detach()
        log_psi[32:] = -torch.inf
        super().__init__(log_psi)
        self.defined = defined

    def present(self, spins: Tensor) -> Tensor | None:
        return spins[:, 0] > 0 if self.defined else None

    def log_amplitude(self, spins: Tensor) -> Tensor:
        assert not self.defined or bool((spins[:, 0] > 0).all())
        return super().log_amplitude(spins)


@pytest.mark.parametrize("divergence", ["forward", "backward"])
@pytest.mark.parametrize("defined", [True, False])
def test_where_psi_vanishes_nothing_is_drawn(defined: bool, divergence: str) -> None:
    sampler, psi = sampler_of(SIX, divergence=divergence), Half(defined)
    state = sampler.start(1, "test")
    for k in range(3):
        batch = sampler.sample(psi, state, None, 1, "test", k)
        assert bool((batch.spins[:, 0] > 0).all())
        assert all(np.isfinite(value) for value in batch.metrics.values())
    batch = sampler.weighted(psi, state, None, 1, "test", 0)
    assert bool((batch.spins[:, 0] > 0).all())
    assert batch.order is not None
    assert batch.vanishing + batch.order.numel() == batch.metrics["proposed"]
    assert batch.vanishing > 0


def test_a_psi_that_vanishes_on_all_proposals() -> None:
    psi = Table(torch.full((64,), -torch.inf, dtype=torch.float64))
    with pytest.raises(PoorProposal, match="ψ vanishes on all 4000 proposals"):
        drawn(sampler_of(SIX), psi, 1)
    sampler = sampler_of(SIX, proposals=30)
    with pytest.raises(PoorProposal, match="ψ vanishes on all 30 proposals"):
        sampler.weighted(psi, sampler.start(1, "test"), None, 1, "test", 0)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_psi_that_is_no_number_is_handed_over(value: float) -> None:
    """Whoever takes local energies of it finds out, as with any sampler; the proposal learns nothing."""
    log_psi = scattered(6, 0.2).log_psi.detach()
    log_psi[5:9] = torch.tensor(complex(value, 0.0))
    sampler = sampler_of(SIX)
    state = sampler.start(1, "test")
    before = copy.deepcopy(state.state_dict())
    for batch in (
        sampler.sample(Table(log_psi), state, None, 1, "test", 0),
        sampler.weighted(Table(log_psi), state, None, 1, "test", 0),
    ):
        assert set(dense.row(batch.spins.numpy())) <= {5, 6, 7, 8}
        assert len(batch.spins) > 0
    assert_same(before, state.state_dict())


def test_an_efficiency_that_cannot_be_reached_ends_with_the_history() -> None:
    psi = scattered(6, 1.5)
    sampler = sampler_of(SIX, efficiency=0.99, max_rounds=15, max_proposals=200)
    with pytest.raises(PoorProposal) as caught:
        drawn(sampler, psi, 1)
    said = str(caught.value)
    assert "in 15 rounds" in said
    assert "an effective sample size of 100 was wanted" in said
    assert "efficiency of 0.99" in said
    assert said.count(" of 200") + said.count(" of 1") >= 10
    assert "..." in said
    assert "max_rounds" in said
    assert "\n" not in said
    assert psi.evaluated <= 15 * 4 * 64


def assert_same(left: Any, right: Any) -> None:
    assert type(left) is type(right)
    if isinstance(left, dict):
        assert left.keys() == right.keys()
        for key, value in left.items():
            assert_same(value, right[key])
    elif isinstance(left, list | tuple):
        for one, other in zip(left, right, strict=True):
            assert_same(one, other)
    elif isinstance(left, Tensor):
        assert torch.equal(left, right)
    else:
        assert left == right


class Killed(Exception):
    """Stands for the end of a process."""


class Mortal(Table):
    """Ends the process at the so-manieth evaluation."""

    lives: int | None = None

    def log_amplitude(self, spins: Tensor) -> Tensor:
        if self.lives is not None:
            self.lives -= 1
            if self.lives < 0:
                raise Killed
        return super().log_amplitude(spins)


def test_a_run_killed_inside_a_retraining_round_goes_on_with_the_same_numbers() -> None:
    """From the checkpoint before, whatever was proposed and learnt in the rounds in between."""
    psi = Mortal(scattered(6, 1.0).log_psi.detach())
    sampler = sampler_of(SIX, 1, efficiency=0.4, max_rounds=100)
    state = sampler.start(1, "test")
    sampler.sample(psi, state, None, 1, "test", 0)
    saved = copy.deepcopy(state.state_dict())
    other = Mortal(scattered(6, 1.0, seed=9).log_psi.detach())  # the ψ of the next step, far from the one before
    other.lives = 10**6
    expected = sampler.sample(other, state, None, 1, "test", 1)
    assert expected.metrics["rounds"] >= 4
    assert saved["optimizer"]["state"][0]["step"] < state.state_dict()["optimizer"]["state"][0]["step"]

    dying = sampler.start(1, "test")
    dying.load_state_dict(copy.deepcopy(saved))
    other.lives = (10**6 - other.lives) // 2
    with pytest.raises(Killed):
        sampler.sample(other, dying, None, 1, "test", 1)
    other.lives = None
    with pytest.raises(AssertionError):
        assert_same(dying.state_dict(), saved)  # it had learnt something by then
    again = sampler_of(SIX, 1, efficiency=0.4, max_rounds=100)
    resumed = again.start(1, "test")
    resumed.load_state_dict(copy.deepcopy(saved))
    batch = again.sample(other, resumed, None, 1, "test", 1)
    assert torch.equal(batch.spins, expected.spins)
    assert torch.equal(batch.weights, expected.weights)
    assert batch.metrics == expected.metrics
    assert_same(resumed.state_dict(), state.state_dict())


def test_a_proposal_for_other_sites_is_refused() -> None:
    state = sampler_of(lattice(3, 3)).start(1, "test").state_dict()
    for sampler in (sampler_of(SIX), sampler_of(lattice(3, 3), 2), sampler_of(lattice(3, 3), layers=2)):
        with pytest.raises(UserError, match="of another network, or for another number of sites"):
            sampler.start(1, "test").load_state_dict(state)


def test_proposals_start_from_the_seed_alone() -> None:
    first, second, third = (sampler_of(SIX).start(seed, "test").state_dict() for seed in (1, 1, 2))
    assert_same(first, second)
    assert not torch.equal(first["proposal"]["token"], third["proposal"]["token"])


def test_inferences_train_first_and_then_no_more() -> None:
    """Weighted batches do not depend on each other, and none is left out for its efficiency."""
    psi = scattered(6, 0.4)
    sampler = sampler_of(SIX, efficiency=0.5, max_rounds=100)
    state = sampler.start(1, "test")
    first = sampler.weighted(psi, state, None, 1, "test", 0)
    settled = copy.deepcopy(state.state_dict())
    batches = [sampler.weighted(psi, state, None, 1, "test", k) for k in (0, 1)]
    assert_same(settled, state.state_dict())
    assert torch.equal(first.weights, batches[0].weights)
    assert len(first.spins) != len(batches[1].spins) or not torch.equal(first.spins, batches[1].spins)
    assert all(25 <= batch.metrics["ess"] < 100 for batch in batches)
    assert len({batch.metrics["proposed"] for batch in (first, *batches)}) == 1
    fixed = sampler_of(SIX, proposals=33)
    batch = fixed.weighted(psi, fixed.start(1, "test"), None, 1, "test", 0)
    assert batch.metrics["proposed"] == 33
    larger = fixed.weighted(psi, fixed.start(1, "test"), 170, 1, "test", 0)  # more samples are worth more proposals
    assert larger.metrics["proposed"] == 113
    assert drawn(fixed, psi, 1, samples=170)[0].metrics["proposed"] == 113
    resumed = sampler.start(1, "test")
    resumed.load_state_dict(settled)
    assert torch.equal(sampler.weighted(psi, resumed, None, 1, "test", 1).weights, batches[1].weights)


def test_ranks_draw_what_one_process_draws() -> None:
    psi = scattered(4, 0.8)

    def of_rank(ranks: Threads | None) -> tuple[Batch, NIRState]:
        changes: dict[str, Any] = {} if ranks is None else {"ranks": ranks}
        sampler = sampler_of(lattice(2), 2, efficiency=0.6, max_rounds=50, **changes)
        state = sampler.start(1, "test")
        return sampler.sample(psi, state, 21, 1, "test", 0), state

    alone, state = of_rank(None)
    assert alone.metrics["rounds"] > 1
    for batch, other in in_threads(3, of_rank):
        assert torch.equal(batch.spins, alone.spins)
        torch.testing.assert_close(batch.weights, alone.weights)
        # not the parameters: Adam makes steps of rounding errors for biases of keys, on which nothing depends
        mine, theirs = (one.proposal.log_probability(everything(4)).detach() for one in (state, other))
        torch.testing.assert_close(theirs, mine, rtol=0, atol=1e-4)


def test_neither_ranks_nor_memory_decide_which_loop_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shares of a block, and chunks of them, that would be too small for the compiled loop."""
    called: list[int] = []

    def draw_compiled(network: Proposal, uniforms: Tensor) -> tuple[Tensor, Tensor]:
        called.append(len(uniforms))
        return network.draw_uncached(uniforms)

    monkeypatch.setattr(Proposal, "draw_compiled", draw_compiled)
    monkeypatch.setattr(proposal, "COMPILED_FROM", 540)
    psi = scattered(6, 0.5)

    def of_rank(ranks: Threads) -> Batch:
        sampler = sampler_of(SIX, ranks=ranks, proposals=90)
        return sampler.sample(psi, sampler.start(1, "test"), None, 1, "test", 0)

    in_threads(3, of_rank)
    assert [rows for rows in called if rows > 2] == [30] * 3  # and of two, to find out what they take
    called.clear()
    drawn(NIRSampler(replace(CONFIG, proposals=90), space_of(SIX), "cpu", Chunks(1e-9)), psi, 1)
    assert sorted(called) == [1] * 90 + [2]
    called.clear()
    drawn(sampler_of(SIX, proposals=89), psi, 1)
    assert called == []


def test_symmetries_of_a_system_reach_the_training() -> None:
    """Of a ψ that is not symmetric itself the proposal learns the symmetric part: both aligned states alike."""
    log_psi = torch.full((64,), -8.0, dtype=torch.float64)
    log_psi[0] = 0.0
    shares_of_down = []
    for symmetries in (["spin_flip"], []):
        sampler = sampler_of(SIX, symmetries=symmetries, updates=60, proposals=2000, samples=100)
        state = sampler.start(1, "test")
        sampler.sample(Table(log_psi), state, None, 1, "test", 0)
        q = state.proposal.log_probability(everything(6)).exp().detach()
        shares_of_down.append(float(q[63] / (q[0] + q[63])))
    assert shares_of_down[0] > 0.3
    assert shares_of_down[1] < 0.05
    assert replace(sampler.config, symmetries=[]).symmetries == []
