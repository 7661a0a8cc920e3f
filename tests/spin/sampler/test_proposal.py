"""The proposal network: its size, its normalisation, its draws with and without a cache."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from pipeline.spin.sampler.nir.proposal import COMPILED_FROM, Proposal
from pipeline.spin.space import space_of
from pipeline.spin.systems import ChainTFIM
from tests.spin import dense
from tests.spin.sampler.tables import CONFIG, everything, lattice, proposal_of

SPACES = [((1, 1), 1), ((2, 1), 1), ((3, 1), 1), ((3, 2), 1), ((1, 1), 2), ((1, 1), 3), ((2, 1), 3), ((3, 1), 2)]
"""Extents and copies."""

TABLE1 = {(16, 2): 7938, (16, 3): 11154, (16, 4): 14370, (32, 2): 30210, (32, 3): 42786, (32, 4): 55362}
"""Parameters by embedding dimension and layers on 10×10 sites (NIR paper, Table 1)."""


@pytest.mark.parametrize(("width", "layers"), TABLE1)
def test_parameters_are_those_of_the_paper(width: int, layers: int) -> None:
    config = replace(CONFIG, embedding=width, heads=4, layers=layers)
    network = Proposal(config, space_of(lattice(10, 10)))
    assert sum(p.numel() for p in network.parameters()) == TABLE1[width, layers]


@pytest.mark.parametrize("floor", [0.0, 1e-3, 0.3])
@pytest.mark.parametrize(("extents", "copies"), SPACES)
def test_probabilities_sum_to_one(extents: tuple[int, int], copies: int, floor: float) -> None:
    space = space_of(lattice(*extents), copies)
    q = proposal_of(space, p_floor=floor).log_probability(everything(space.size)).exp().detach()
    assert float(q.sum()) == pytest.approx(1.0, abs=1e-12)
    assert float(q.min()) >= floor**space.size
    assert float(q.max() / q.min()) > 1.05  # not the uniform distribution, which sums to one in any case


def test_values_that_logits_exclude_keep_the_floor() -> None:
    """Logits whose softmax is 1 in double precision."""
    space, uniforms = space_of(lattice(2)), torch.full((1, 2), 1.0 - 1e-9, dtype=torch.float64)
    for floor, least in ((0.01, 2 * np.log(0.01)), (0.0, -np.inf)):
        network = proposal_of(space, p_floor=floor)
        with torch.no_grad():
            network.logits.weight.zero_()
            network.logits.bias.copy_(torch.tensor([400.0, -400.0]))
        log_q = network.log_probability(everything(2)).detach()
        assert bool(log_q.isfinite().all())
        assert float(log_q.min()) >= least - 1e-9
        assert float(log_q.exp().sum()) == pytest.approx(1.0)
        spins, drawn = network.draw(uniforms)
        assert spins.tolist() == ([[-1, -1]] if floor else [[1, 1]])
        torch.testing.assert_close(drawn, network.log_probability(spins).detach())


def test_an_untrained_proposal_is_uniform() -> None:
    network = Proposal(CONFIG, space_of(lattice(3, 2)))
    torch.testing.assert_close(network.log_probability(everything(6)), torch.full((64,), -6 * np.log(2.0)).double())


@pytest.mark.parametrize("double", [True, False])
@pytest.mark.parametrize(("extents", "copies"), SPACES)
def test_draws_with_and_without_a_cache(extents: tuple[int, int], copies: int, double: bool) -> None:
    """The same spins from the same random numbers, with the log q of a forward pass over all of them."""
    space = space_of(lattice(*extents), copies)
    network = proposal_of(space, layers=2)
    network = network if double else network.float()
    uniforms = torch.rand((33, space.size), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    spins, log_q = network.draw(uniforms)
    slowly, log_q_slowly = network.draw_uncached(uniforms)
    assert (spins.dtype, log_q.dtype) == (torch.int8, torch.float64)
    assert torch.equal(spins, slowly)
    atol = 1e-12 if double else 2e-5
    torch.testing.assert_close(log_q, log_q_slowly, rtol=0.0, atol=atol)
    torch.testing.assert_close(log_q, network.log_probability(spins).detach(), rtol=0.0, atol=atol)
    one, _ = network.draw(uniforms[:1])
    assert torch.equal(one, spins[:1])


@pytest.mark.parametrize(("width", "heads", "floor"), [(16, 2, 1e-3), (6, 2, 0.0), (5, 1, 0.2)])
def test_compiled_draws_are_those_of_forward_passes(width: int, heads: int, floor: float) -> None:
    """Widths of heads that fours fill, and that they do not; scores far apart; one site too."""
    for extents, copies in (((3, 3), 2), ((1, 1), 1)):
        space = space_of(lattice(*extents), copies)
        network = proposal_of(space, embedding=width, heads=heads, layers=2, p_floor=floor).float()
        with torch.no_grad():
            next(network.blocks[0].parameters()).mul_(8.0)
            network.norm.bias.fill_(0.3)
        uniforms = torch.rand((40, space.size), generator=torch.Generator().manual_seed(3), dtype=torch.float64)
        spins, log_q = network.draw_compiled(uniforms)
        expected, log_q_expected = network.draw_uncached(uniforms)
        assert (spins.dtype, log_q.dtype) == (torch.int8, torch.float64)
        assert torch.equal(spins, expected)
        torch.testing.assert_close(log_q, log_q_expected, rtol=0.0, atol=1e-4)
        # neither how many are drawn nor where one stands among them
        for first in range(6):
            alone, log_q_alone = network.draw_compiled(uniforms[first : first + 1])
            assert torch.equal(alone, spins[first : first + 1])
            assert torch.equal(log_q_alone, log_q[first : first + 1])
            assert torch.equal(network.draw_compiled(uniforms[first:])[1], log_q[first:])


def test_large_batches_are_drawn_by_the_compiled_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    network, called = proposal_of(space_of(lattice(2)), scale=0.1).float(), []
    monkeypatch.setattr(Proposal, "draw_compiled", lambda self, uniforms: called.append(len(uniforms)))
    uniforms = torch.rand((COMPILED_FROM // 2, 2), dtype=torch.float64)
    network.draw(uniforms[:-1])
    network.double().draw(uniforms)
    assert called == []
    network.float().draw(uniforms)
    assert called == [len(uniforms)]
    assert not proposal_of(space_of(lattice(2)), embedding=132, heads=2).float().compiles(uniforms)


def test_draws_follow_the_probabilities() -> None:
    network, n = proposal_of(space_of(lattice(2), 2)), 20_000
    uniforms = torch.rand((n, 4), generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    found = np.bincount(dense.row(network.draw(uniforms)[0].numpy()), minlength=16)
    expected = n * network.log_probability(everything(4)).exp().detach().numpy()
    assert ((found - expected) ** 2 / expected).sum() / 15 < 2.5
    assert ((found - n / 16) ** 2 / (n / 16)).sum() / 15 > 50


def test_places_are_known_by_row_and_column() -> None:
    """Twelve places of a 4×3 lattice have 7 vectors, of a ring 12, and a second copy has two of its own."""
    d = CONFIG.embedding
    sizes = [
        sum(p.numel() for p in Proposal(CONFIG, space).parameters())
        for space in (
            space_of(lattice(4, 3)),
            space_of(ChainTFIM(n_sites=12, range=1, coupling=1.0, field=1.0)),
            space_of(lattice(4, 3), 2),
        )
    ]
    assert (sizes[1] - sizes[0], sizes[2] - sizes[0]) == (5 * d, 2 * d)
