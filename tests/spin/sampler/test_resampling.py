"""Importance weights: effective sample size, what is drawn again, divergences, weighted batches."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.spin.sampler.nir.resampling import LOWEST, Proposals
from pipeline.spin.space import space_of
from tests.spin import dense
from tests.spin.sampler.tables import everything, lattice, proposal_of, scattered


def proposals(log_psi: list[float], log_q: float = 0.0) -> Proposals:
    """Configurations of three spins, one after the other, of equal log q."""
    n = len(log_psi)
    return Proposals(everything(3)[:n], torch.full((n,), log_q).double(), torch.tensor(log_psi, dtype=torch.float64))


def drawn(n: int, seed: int = 3) -> tuple[Proposals, np.ndarray]:
    """From a network on three sites in two copies, with |ψ|² by enumeration."""
    network, psi = proposal_of(space_of(lattice(3), 2)), scattered(6, 0.5)
    uniforms = torch.rand((n, 6), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    spins, log_q = network.draw(uniforms)
    return Proposals(spins, log_q, psi.log_amplitude(spins).detach()), psi.probabilities()


def test_effective_sample_size() -> None:
    assert proposals([0.3, 0.3, 0.3]).effective() == pytest.approx(3.0)
    assert proposals([0.0, 0.0, 0.5 * math.log(2.0)], 700.0).effective() == pytest.approx(16 / 6)
    assert proposals([0.0, -math.inf]).effective() == pytest.approx(1.0)
    assert proposals([-math.inf, -math.inf]).effective() == 0.0
    assert proposals([5.0]).effective() == pytest.approx(1.0)
    assert proposals([400.0, 0.0]).effective() == pytest.approx(1.0)  # |ψ|² beyond single precision


def test_draws_again_follow_the_weights() -> None:
    """In proportion to |ψ|²/q, never where ψ vanishes, and the same from the same generator."""
    found = proposals([0.0, -math.inf, 0.5 * math.log(3.0), -math.inf])
    rows = found.resampled(40_000, torch.Generator().manual_seed(1))
    share = np.bincount(rows, minlength=4) / 40_000
    np.testing.assert_allclose(share, [0.25, 0.0, 0.75, 0.0], atol=4 * math.sqrt(0.25 * 0.75 / 40_000))
    assert share[1] == share[3] == 0.0
    assert torch.equal(rows, found.resampled(40_000, torch.Generator().manual_seed(1)))
    only = proposals([-math.inf, 2.0]).resampled(1, torch.Generator().manual_seed(2))
    assert only.tolist() == [1]


def test_both_kinds_of_estimates_are_those_of_enumeration() -> None:
    """Means over the basis, weighted and resampled, from the same proposals; under q they would be others."""
    found, p = drawn(40_000)
    values = torch.from_numpy(dense.basis(6) @ np.arange(1.0, 7.0))
    exact = float(values.numpy() @ p)

    def mean(rows: Tensor, weights: Tensor) -> float:
        return float(weights @ values[dense.row(rows.numpy())])

    batch = found.weighted()
    again = found.drawn(found.resampled(20_000, torch.Generator().manual_seed(4)))
    sigma = float(values.std()) / math.sqrt(found.effective())
    assert mean(batch.spins, batch.weights) == pytest.approx(exact, abs=4 * sigma)
    assert mean(again.spins, again.weights) == pytest.approx(exact, abs=4 * sigma + 4 * float(values.std()) / 141)
    assert abs(float(values[dense.row(found.spins.numpy())].mean()) - exact) > 20 * sigma
    assert again.order is not None
    assert again.log_amplitudes is not None
    assert again.order.shape == (1, 20_000)
    torch.testing.assert_close(again.log_amplitudes, scattered(6, 0.5).log_amplitude(again.spins).detach())


def test_draws_on_which_psi_vanishes_are_counted() -> None:
    batch = proposals([0.0, -math.inf, 1.0, -math.inf]).weighted()
    assert batch.vanishing == 2
    assert len(batch.spins) == 2
    assert bool(batch.weights.isfinite().all())
    assert float(batch.weights.sum()) == pytest.approx(1.0)


@pytest.mark.parametrize("kind", ["forward", "backward"])
def test_divergences_are_those_of_enumeration(kind: str) -> None:
    """Every configuration once is what uniform proposals would be, on average."""
    psi, n = scattered(5, 0.6), 32
    p, q = psi.probabilities(), np.full(32, 1 / 32)
    first, second = (p, q) if kind == "forward" else (q, p)
    found = Proposals(everything(5), torch.full((n,), -math.log(n)).double(), psi.log_psi.detach() + 3.0)
    assert found.divergence(kind) == pytest.approx(float((first * np.log(first / second)).sum()))


def test_divergences_stay_numbers_where_psi_vanishes() -> None:
    found = proposals([0.0, -math.inf])
    assert found.divergence("forward") == pytest.approx(math.log(2.0))
    assert found.divergence("backward") == pytest.approx(-LOWEST / 2 - math.log(2.0))


def test_what_is_not_a_finite_number_is_found() -> None:
    assert proposals([math.nan, 0.0, math.inf, -math.inf]).broken().tolist() == [0, 2]
    assert len(proposals([0.0]).broken()) == 0
