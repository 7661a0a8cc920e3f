"""What samplers draw in, from Pauli strings and lattices; several copies of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from pipeline.spin.chunks import Chunks
from pipeline.spin.sampler.metropolis import MetropolisSampler
from pipeline.spin.space import space_of
from pipeline.spin.systems import ChainHeisenberg, ChainTFIM, SquareTFIM
from pipeline.spin.wave_function import WaveFunction
from tests.spin.small_vmc import METROPOLIS

RING = ChainHeisenberg(n_sites=5, periodic=True, j1=1.0, j2=0.5)
TFIM = ChainTFIM(n_sites=6, range=2, coupling=1.0, field=1.0)


def test_spaces_of_systems() -> None:
    assert space_of(RING).magnetisation == 1
    assert space_of(replace(RING, n_sites=6)).magnetisation == 0
    assert space_of(TFIM).magnetisation is None
    assert space_of(RING).exchange_pairs == tuple(RING.nearest_bonds())
    lattice = SquareTFIM(length_x=3, length_y=2, periodic=False, coupling=1.0, field=1.0)
    assert space_of(lattice).exchange_pairs == tuple(lattice.nearest_bonds())
    assert (space_of(lattice).size, space_of(lattice).sites, space_of(lattice).copies) == (6, 6, 1)


def test_copies_lie_one_after_the_other() -> None:
    space = space_of(RING, copies=3)
    assert (space.size, space.sites, space.magnetisation) == (15, 5, 1)
    pairs = [(i + 5 * c, j + 5 * c) for c in range(3) for i, j in RING.nearest_bonds()]
    assert list(space.exchange_pairs) == pairs


class Uniform(WaveFunction):
    def log_amplitude(self, spins: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(spins), dtype=torch.float64, device=spins.device)


@pytest.mark.parametrize("pairs", ["neighbours", "any", "mixed"])
def test_exchanges_keep_the_magnetisation_of_every_copy(pairs: str) -> None:
    sampler = MetropolisSampler(
        replace(METROPOLIS, rule="exchange", pairs=pairs, samples=4000), space_of(RING, copies=2), "cpu", Chunks(0.1)
    )
    state: Any = sampler.start(1, "test")
    starts = state.spins.clone()
    batch = sampler.sample(Uniform(), state, None, 1, "test", 0)
    for spins in (starts, batch.spins):
        assert (spins.view(-1, 2, 5).sum(2) == 1).all()
    # 10 × 10 configurations, all with the same weight
    assert len(batch.spins) == 100
    assert batch.weights.max() < 0.025


def test_single_flips_reach_all_sites_of_all_copies() -> None:
    sampler = MetropolisSampler(METROPOLIS, space_of(TFIM, copies=2), "cpu", Chunks(0.1))
    batch = sampler.sample(Uniform(), sampler.start(1, "test"), None, 1, "test", 0)
    assert batch.spins.shape[1] == 12
    assert (batch.spins == 1).any(0).all()
    assert (batch.spins == -1).any(0).all()
