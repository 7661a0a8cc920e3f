"""Gradients of both divergences against finite differences and enumeration; random transformations."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.base.descent import SGD
from pipeline.base.run.ranks import ALONE
from pipeline.spin.chunks import Chunks
from pipeline.spin.sampler.nir.proposal import Proposal
from pipeline.spin.sampler.nir.resampling import Proposals
from pipeline.spin.sampler.nir.training import Transformations, backward_slopes, descend, forward_slopes
from pipeline.spin.space import space_of
from pipeline.spin.symmetry.groups import symmetry_group
from tests.spin.sampler.tables import everything, lattice, proposal_of, scattered
from tests.threads import Threads, in_threads

PSI = scattered(2)


def moved(network: Proposal, spins: Tensor, slopes: Tensor, ranks: Any = ALONE) -> Tensor:
    """Minus the change of all parameters by a step of gradient descent of length 1."""
    before = torch.nn.utils.parameters_to_vector(network.parameters()).detach().clone()
    descend(network, SGD(network.parameters(), lr=1.0), spins, slopes, Chunks(0.05), ranks)
    after = torch.nn.utils.parameters_to_vector(network.parameters()).detach()
    torch.nn.utils.vector_to_parameters(before, network.parameters())
    return before - after


def divergence(network: Proposal, kind: str) -> Tensor:
    """By enumeration, Eqs. 9 and 10; the form that no gradient estimate enters."""
    log_q = network.log_probability(everything(2))
    log_p = torch.from_numpy(PSI.probabilities()).log()
    first, second = (log_p, log_q) if kind == "forward" else (log_q, log_p)
    return (first.exp() * (first - second)).sum()


def by_differences(network: Proposal, kind: str, step: float = 1e-5) -> Tensor:
    start = torch.nn.utils.parameters_to_vector(network.parameters()).detach().clone()
    found = torch.zeros_like(start)
    with torch.no_grad():
        for i in range(len(start)):
            for sign in (1.0, -1.0):
                there = start.clone()
                there[i] += sign * step
                torch.nn.utils.vector_to_parameters(there, network.parameters())
                found[i] += sign * divergence(network, kind) / (2 * step)
    torch.nn.utils.vector_to_parameters(start, network.parameters())
    return found


def test_forward_gradient_against_differences() -> None:
    """Eq. 11 with every configuration as often as |ψ|² has it."""
    network = proposal_of(space_of(lattice(2)), embedding=2, heads=1)
    found = moved(network, everything(2), -torch.from_numpy(PSI.probabilities()))
    torch.testing.assert_close(found, by_differences(network, "forward"), rtol=1e-6, atol=1e-9)


def test_backward_gradient_against_differences() -> None:
    """Eq. 12 with the mean of the others taken off, averaged over all pairs of proposals, q(s) q(t) of each."""
    network = proposal_of(space_of(lattice(2)), embedding=2, heads=1)
    basis, log_q = everything(2), network.log_probability(everything(2)).detach()
    found = torch.zeros(())
    for s, t in itertools.product(range(4), repeat=2):
        pair = Proposals(basis[[s, t]], log_q[[s, t]], PSI.log_psi.detach()[[s, t]] + 7.0)
        found = found + (log_q[s] + log_q[t]).exp() * moved(network, *backward_slopes(pair, 2))
    torch.testing.assert_close(found, by_differences(network, "backward"), rtol=1e-6, atol=1e-9)


def test_equal_draws_are_evaluated_once() -> None:
    network, rows = proposal_of(space_of(lattice(2))), torch.tensor([0, 3, 3, 1, 3])
    spins, slopes = forward_slopes(everything(2)[rows])
    assert len(spins) == 3
    assert float(slopes.sum()) == pytest.approx(-1.0)
    one_by_one = torch.full((5,), -0.2).double()
    torch.testing.assert_close(moved(network, spins, slopes), moved(network, everything(2)[rows], one_by_one))


def test_a_single_proposal_says_nothing_of_the_backward_divergence() -> None:
    one = Proposals(everything(2)[:1], torch.tensor([-1.0]).double(), torch.tensor([0.5]).double())
    assert backward_slopes(one, 1)[1].tolist() == [0.0]


def test_gradients_that_are_no_numbers_change_nothing() -> None:
    network = proposal_of(space_of(lattice(2)))
    assert not moved(network, everything(2), torch.tensor([0.0, torch.nan, 0.0, 0.0]).double()).any()


@pytest.mark.parametrize("size", [2, 3])
def test_ranks_share_a_batch(size: int) -> None:
    """More ranks than rows too: three on two of them."""

    def of_rank(ranks: Threads) -> Tensor:
        network = proposal_of(space_of(lattice(2)))
        return moved(network, everything(2)[:2], torch.tensor([-0.25, -0.75]).double(), ranks)

    alone = moved(proposal_of(space_of(lattice(2))), everything(2)[:2], torch.tensor([-0.25, -0.75]).double())
    for found in in_threads(size, of_rank):
        torch.testing.assert_close(found, alone)


def test_copies_are_put_in_every_order() -> None:
    space = space_of(lattice(2), 3)
    transformed = Transformations(space, True, [], "cpu")
    spins = torch.tensor([[1, 1, 1, -1, -1, -1]], dtype=torch.int8).expand(6000, -1)
    found = transformed(spins, torch.Generator().manual_seed(1)).view(6000, 3, 2)
    kinds = found.sum(2)  # 2, 0, -2 in any order
    assert torch.equal(kinds.sort(1).values, torch.tensor([[-2, 0, 2]]).expand(6000, -1))
    assert torch.equal(found[kinds == 0], torch.tensor([[1, -1]], dtype=torch.int8).expand(6000, -1))
    counts = np.unique(kinds.numpy(), axis=0, return_counts=True)[1]
    assert len(counts) == 6
    assert ((counts - 1000) ** 2 / 1000).sum() < 20
    same = Transformations(space, False, [], "cpu")
    assert torch.equal(same(spins, torch.Generator().manual_seed(1)), spins)


def test_symmetries_transform_all_copies_alike() -> None:
    """Against the definition s'_i = sign · s_p(i), each element of the group about as often as any other."""
    system = lattice(3, 2)
    group = symmetry_group(system, ["point_group", "spin_flip"])
    transformed = Transformations(space_of(system, 2), False, group, "cpu")
    first = torch.tensor([1, 1, 1, -1, 1, 1], dtype=torch.int8)
    second = torch.tensor([1, -1, 1, 1, 1, 1], dtype=torch.int8)
    found = transformed(torch.cat([first, second]).expand(4000, -1), torch.Generator().manual_seed(2))
    allowed = {tuple((sign * torch.cat([first[list(p)], second[list(p)]])).tolist()) for p, sign in group}
    rows, counts = np.unique(found.numpy(), axis=0, return_counts=True)
    assert {tuple(row) for row in rows.tolist()} == allowed
    assert len(allowed) == 8
    assert ((counts - 500) ** 2 / 500).sum() < 25


@pytest.mark.parametrize("kind", ["forward", "backward"])
def test_training_lowers_the_divergence(kind: str) -> None:
    network, generator = proposal_of(space_of(lattice(2))), torch.Generator().manual_seed(3)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.03)
    before = float(divergence(network, kind).detach())
    for _ in range(60):
        if kind == "forward":
            rows = torch.multinomial(torch.from_numpy(PSI.probabilities()), 200, True, generator=generator)
            spins, slopes = forward_slopes(everything(2)[rows])
        else:
            drawn, log_q = network.draw(torch.rand((200, 2), generator=generator, dtype=torch.float64))
            spins, slopes = backward_slopes(Proposals(drawn, log_q, PSI.log_amplitude(drawn).detach()), 200)
        descend(network, optimizer, spins, slopes, Chunks(0.05), ALONE)
    assert float(divergence(network, kind).detach()) < 0.1 * before
