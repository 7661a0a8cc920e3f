"""Configurations as words, and back."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.spin.bits import pack, unique_spins, unpack


def test_bit_convention() -> None:
    assert pack(torch.tensor([1, -1, -1, 1, 1])).tolist() == [0b00110]
    assert pack(torch.tensor([-1.0, 1.0, 1.0])).tolist() == [1]
    assert unpack(torch.tensor([0b00110]), 5).tolist() == [1, -1, -1, 1, 1]


@pytest.mark.parametrize("n_sites", [1, 2, 8, 31, 32, 33, 53, 54, 61, 62, 63, 124, 125])
def test_round_trip(n_sites: int) -> None:
    random = np.random.default_rng(n_sites)
    spins = torch.from_numpy(random.choice([-1, 1], (3, 40, n_sites))).to(torch.int8)
    spins[0, 0], spins[0, 1] = -1, 1
    words = pack(spins)
    assert words.dtype == torch.int64
    assert words.shape == (3, 40, -(-n_sites // 62))

    def number(state: list[int]) -> list[int]:
        parts = [state[begin : begin + 62] for begin in range(0, n_sites, 62)]
        return [sum(2**i for i, s in enumerate(part) if s < 0) for part in parts]

    assert words.tolist() == [[number(state) for state in block] for block in spins.tolist()]
    assert unpack(words, n_sites).dtype == torch.int8
    assert torch.equal(unpack(words, n_sites), spins)
    assert torch.equal(pack(spins.float()), words)


@pytest.mark.parametrize("n_sites", [30, 70])
def test_unique_spins(n_sites: int) -> None:
    spins = torch.from_numpy(np.random.default_rng(1).choice([-1, 1], (20, n_sites))).to(torch.int8)
    drawn = spins[torch.tensor([3, 1, 3, 3, 7, 1])]
    found, order, counts = unique_spins(drawn)
    assert torch.equal(found[order], drawn)
    assert sorted(counts.tolist()) == [1, 2, 3]
