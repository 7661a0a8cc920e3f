"""Representatives against all images, one by one."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.spin import representatives
from pipeline.spin.bits import pack, unpack
from pipeline.spin.representatives import Invariance, Representatives


def ring(n_sites: int, characters: bool) -> Invariance:
    """Translations round a ring, each with and without a flip of all spins; momentum π and odd, with characters."""
    moves = [[(i + shift) % n_sites for i in range(n_sites)] for shift in range(n_sites)]
    signs = torch.tensor([1, -1]).repeat_interleave(n_sites)
    odd = (torch.arange(n_sites).repeat(2) + (signs < 0)) % 2
    factors = 1j * math.pi * odd.to(torch.complex128)
    return Invariance(torch.tensor(moves + moves), signs, factors if characters else None)


def image(spins: Tensor, invariance: Invariance, g: int) -> Tensor:
    return spins[:, invariance.permutations[g]] * invariance.signs[g].to(spins.dtype)


@pytest.mark.parametrize("n_sites", [1, 2, 3, 7, 16, 52, 53, 62, 63, 100])
@pytest.mark.parametrize("characters", [False, True])
def test_the_smallest_image(n_sites: int, characters: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(representatives, "BLOCK", 6 * n_sites)  # of three configurations
    invariance = ring(n_sites, characters)
    random = np.random.default_rng(n_sites)
    spins = torch.from_numpy(random.choice([-1, 1], (8, n_sites))).to(torch.int8)
    spins[:2] = torch.tensor([1, -1])[:, None]
    spins[2] = torch.where(torch.arange(n_sites) % 2 == 0, 1, -1)
    found, factors = Representatives(invariance)(pack(spins))
    images = [image(spins, invariance, g) for g in range(2 * n_sites)]

    def number(words: Tensor) -> list[int]:
        """Of the sites that are compared first, those of the first part of a word, in front."""
        rows = unpack(words, n_sites).tolist()
        parts = range(0, n_sites, representatives.EXACT_SITES)
        return [
            sum(2 ** (i - begin) * (s < 0) for i, s in enumerate(row[begin : begin + 52], begin)) << (52 * (1 - k))
            for row in rows
            for k, begin in enumerate(parts)
        ]

    every = np.array([number(pack(x)) for x in images], dtype=object).reshape(len(images), len(spins), -1).sum(2)
    assert np.array(number(found), dtype=object).reshape(len(spins), -1).sum(1).tolist() == every.min(0).tolist()
    for moved in (images[-1], images[n_sites // 2]):
        assert torch.equal(Representatives(invariance)(pack(moved))[0], found)
    if not characters:
        assert factors is None
        return
    assert factors is not None
    for row, word in enumerate(found):
        leads = [g for g in range(2 * n_sites) if torch.equal(pack(images[g])[row], word)]
        allowed = [complex(np.exp(-invariance.log_factors[g].item())) for g in leads]  # type: ignore[index]
        assert min(abs(complex(np.exp(factors[row].item())) - value) for value in allowed) < 1e-12
