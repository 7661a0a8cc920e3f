"""Updates of the proposal on the draws of several batches: which they are, resumed runs, what they bring."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from pipeline.spin.sampler.nir import sampler as module
from pipeline.spin.sampler.nir.training import some_of
from tests.spin.sampler.tables import everything, lattice, sampler_of, scattered

SIX = lattice(3, 2)


def rows(spins: Tensor) -> list[tuple[int, ...]]:
    return sorted(tuple(row) for row in spins.tolist())


@pytest.mark.parametrize("replay", [1, 3])
def test_updates_see_the_latest_batches(replay: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Draws of the present batch and of the two before, of either size, as many as the present one has."""
    pools, seen = list[Tensor](), list[Tensor]()

    def watched(pool: Tensor, count: int, generator: torch.Generator) -> Tensor:
        pools.append(pool)
        seen.append(some_of(pool, count, generator))
        return seen[-1]

    monkeypatch.setattr(module, "some_of", watched)
    sampler = sampler_of(SIX, replay=replay, updates=2, efficiency=0.0)
    state = sampler.start(1, "test")
    psi, drawn = scattered(6, 0.5), list[Tensor]()
    for k, samples in enumerate((30, 50, 20, 40)):
        batch = sampler.sample(psi, state, samples, 1, "test", k)
        assert batch.order is not None
        drawn.append(batch.spins[batch.order.flatten()])
    if replay == 1:
        assert pools == []
        assert state.replayed == []
        return
    assert [len(pool) for pool in pools] == [80, 80, 100, 100, 110, 110]  # the first batch has no others
    assert [len(chosen) for chosen in seen] == [50, 50, 20, 20, 40, 40]
    assert rows(pools[-1]) == rows(torch.cat(drawn[1:]))
    assert rows(torch.cat(state.replayed)) == rows(torch.cat(drawn[2:]))
    assert all(a.dtype == torch.int8 for a in state.replayed)
    assert not torch.equal(seen[-1], seen[-2])


def test_none_is_chosen_twice() -> None:
    pool = torch.arange(20).view(10, 2)
    chosen = some_of(pool, 7, torch.Generator().manual_seed(1))
    assert len(set(rows(chosen))) == 7
    assert rows(some_of(pool, 10, torch.Generator().manual_seed(1))) == rows(pool)


def advance(sampler: Any, state: Any, steps: Sequence[int]) -> list[Any]:
    return [sampler.sample(scattered(6, 0.5, seed=k), state, None, 1, "test", k) for k in steps]


def test_a_resumed_run_goes_on_with_the_same_draws() -> None:
    sampler = sampler_of(SIX, replay=3, updates=2)
    state = sampler.start(1, "test")
    advance(sampler, state, range(3))
    saved = copy.deepcopy(state.state_dict())
    expected = advance(sampler, state, range(3, 6))
    found = []
    for tree in (saved, {**saved, "replayed": []}, {k: v for k, v in saved.items() if k != "replayed"}):
        resumed = sampler.start(1, "test")
        resumed.load_state_dict(copy.deepcopy(tree))
        found.append(advance(sampler, resumed, range(3, 6)))
    assert all(torch.equal(a.spins, b.spins) for a, b in zip(found[0], expected, strict=True))
    assert found[0][-1].metrics == expected[-1].metrics
    assert found[1][-1].metrics != expected[-1].metrics  # what was kept matters; an old checkpoint has nothing kept
    assert found[1][-1].metrics == found[2][-1].metrics


def test_more_draws_of_a_state_bring_the_proposal_closer() -> None:
    """Batches of eight of a ψ that stays: noise of the updates is what keeps the proposal away."""
    psi, found = scattered(6, 0.8), {1: 0.0, 16: 0.0}
    p = torch.from_numpy(psi.probabilities())
    for replay in found:
        for seed in range(3):
            sampler = sampler_of(SIX, replay=replay, samples=8, updates=4, lr=0.03, efficiency=0.0)
            state = sampler.start(seed, "test")
            for k in range(40):
                sampler.sample(psi, state, None, seed, "test", k)
            log_q = state.proposal.log_probability(everything(6)).detach()
            found[replay] += float((p * (p.log() - log_q)).sum()) / 3
    assert found[16] < 0.7 * found[1]
