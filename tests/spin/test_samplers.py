"""Samplers against exact probabilities, and against each other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.spin.ansatz.build import build_ansatz
from pipeline.spin.ansatz.rbm import RBM
from pipeline.spin.ansatz.schema import MPSConfig
from pipeline.spin.bits import unique_spins
from pipeline.spin.chunks import Chunks
from pipeline.spin.sampler import metropolis
from pipeline.spin.sampler.contract import Batch
from pipeline.spin.sampler.direct import DirectSampler
from pipeline.spin.sampler.metropolis import BLOCK, MetropolisSampler
from pipeline.spin.space import space_of
from pipeline.spin.systems import ChainHeisenberg, ChainTFIM, SpinSystem, SquareHeisenberg
from pipeline.spin.wave_function import WaveFunction
from tests.spin import dense
from tests.spin.small_vmc import CHAIN, COMPLEX_RBM, DIRECT, METROPOLIS, TRAIN, TinyConfig, amplitudes

TINY = TinyConfig(deviation=0.3)
RING = ChainHeisenberg(n_sites=6, periodic=True, j1=1.0, j2=0.0)
STAR = SquareHeisenberg(length_x=3, length_y=2, periodic=False, j1=1.0, j2=0.0)
"""Its antiparallel neighbours are more in some configurations than in others: proposals are not symmetric."""


def ansatz_of(config: Any, system: SpinSystem, seed: int = 1) -> Any:
    return build_ansatz(config, system, seed).double()


def probabilities(ansatz: WaveFunction, system: SpinSystem, magnetisation: int | None = None) -> np.ndarray:
    """|ψ|² on the rows of the dense matrices, within one sector of Σ σz."""
    p = np.abs(amplitudes(ansatz, system.size)) ** 2
    if magnetisation is not None:
        p = p * (dense.basis(system.size).sum(1) == magnetisation)
    return np.asarray(p / p.sum())


def frequencies(batches: list[Batch], n_sites: int) -> np.ndarray:
    found = np.zeros(2**n_sites)
    for batch in batches:
        np.add.at(found, dense.row(batch.spins.numpy()), batch.weights.numpy() / len(batches))
    return found


def draw(sampler: Any, ansatz: WaveFunction, batches: int, samples: int | None = None, seed: int = 4) -> list[Batch]:
    state = sampler.start(seed, "test")
    return [sampler.sample(ansatz, state, samples, seed, "test", k) for k in range(batches)]


def deviation(found: np.ndarray, expected: np.ndarray, draws: float) -> float:
    """χ² per degree of freedom; about 1 for independent draws from ``expected``."""
    there = expected * draws > 5
    assert found[~there].sum() * draws < 50
    assert there.sum() >= 8
    chi2 = draws * ((found - expected)[there] ** 2 / expected[there]).sum()
    return float(chi2 / there.sum())


@pytest.mark.parametrize("phases", [False, True])
def test_direct_draws_follow_the_probabilities(phases: bool) -> None:
    ansatz = ansatz_of(replace(TINY, phases=phases), CHAIN)
    sampler = DirectSampler(DIRECT, space_of(CHAIN), "cpu", Chunks(0.1))
    batches = draw(sampler, ansatz, 40)
    assert deviation(frequencies(batches, 5), probabilities(ansatz, CHAIN), 40 * 500) < 2.0
    other = probabilities(ansatz_of(TINY, CHAIN, 2), CHAIN)
    assert deviation(frequencies(batches, 5), other, 40 * 500) > 20
    assert draw(sampler, ansatz, 1, samples=7)[0].weights.shape[0] <= 7


@pytest.mark.parametrize(
    "config",
    [
        TINY,
        replace(COMPLEX_RBM, deviation=0.15),
        replace(TRAIN.ansatz, deviation=0.3),
        MPSConfig(bond_dimension=2, deviation=0.3),
    ],
    ids=["ar", "complex rbm", "real rbm", "mps"],
)
@pytest.mark.parametrize("global_flip", [0.0, 0.3])
def test_single_flips_follow_the_probabilities(config: Any, global_flip: float) -> None:
    ansatz = ansatz_of(config, CHAIN)
    chains = replace(METROPOLIS, samples=2000, chains=200, thinning=30, global_flip=global_flip)
    batches = draw(MetropolisSampler(chains, space_of(CHAIN), "cpu", Chunks(0.1)), ansatz, 10)
    assert deviation(frequencies(batches, 5), probabilities(ansatz, CHAIN), 20_000) < 2.0
    assert all(0.1 < b.metrics["acceptance"] < 0.99 for b in batches)


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("deviation", [0.3, 20.0, 100.0])
def test_walk_of_an_rbm_takes_the_steps_of_whole_evaluations(
    deviation: float, compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also in blocks, where few factors fit into a double, and where cosh would overflow in single precision."""
    ring = ChainTFIM(n_sites=9, range=1, coupling=1.0, field=1.0)
    generator = torch.Generator().manual_seed(2)
    ansatz = ansatz_of(replace(TRAIN.ansatz, alpha=2, deviation=deviation), ring)
    spins = torch.where(torch.rand((7, 9), generator=generator) < 0.5, 1, -1).to(torch.int8)
    sites = torch.randint(9, (300, 7), generator=generator)
    thresholds = 0.5 * torch.rand((300, 7), generator=generator, dtype=torch.float64).log()
    if compiled:
        possible = ansatz._compiled_walk(spins, sites, thresholds) is not None
        assert possible == (deviation < 100)
    else:
        monkeypatch.setattr(RBM, "_compiled_walk", lambda *_: None)
    ended, accepted = ansatz.walk(spins, sites, thresholds)
    expected, moves = spins.clone(), []
    for site, threshold in zip(sites, thresholds, strict=True):
        flipped = expected.scatter(1, site[:, None], -expected.gather(1, site[:, None]))
        with torch.no_grad():
            moves.append(ansatz.log_amplitude(flipped) - ansatz.log_amplitude(expected) > threshold)
        expected = torch.where(moves[-1][:, None], flipped, expected)
    assert ended.dtype == torch.int8
    assert torch.equal(ended, expected)
    assert torch.equal(accepted, torch.stack(moves))
    assert 0 < accepted.float().mean() < 1


def test_steps_of_a_column_that_would_overflow_are_not_compiled() -> None:
    """One weight that is its whole row: F fits into a double, its factor for a flip would not."""
    ansatz = ansatz_of(replace(TRAIN.ansatz, alpha=1), ChainTFIM(n_sites=2, range=1, coupling=1.0, field=1.0))
    with torch.no_grad():
        for parameter in ansatz.parameters():
            parameter.zero_()
        ansatz.dense.weight.copy_(torch.diag(torch.tensor([300.0, 0.1])))
    spins = torch.ones((3, 2), dtype=torch.int8)
    sites, thresholds = torch.zeros((50, 3), dtype=torch.int64), torch.full((50, 3), -1e-3, dtype=torch.float64)
    assert ansatz._compiled_walk(spins, sites, thresholds) is None
    assert ansatz.walk(spins, sites, thresholds)[1].all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("compiled", [True, False])
def test_walks_are_restarted_and_leave_tensors_that_can_be_trained_on(
    compiled: bool, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not compiled:
        monkeypatch.setattr(RBM, "_compiled_walk", lambda *_: None)
    ansatz = ansatz_of(TRAIN.ansatz, CHAIN).to(dtype)
    assert ansatz.walks
    assert not ansatz_of(COMPLEX_RBM, CHAIN).walks
    sampler = MetropolisSampler(replace(METROPOLIS, thinning=2 * BLOCK + 3), space_of(CHAIN), "cpu", Chunks(0.1))
    state = sampler.start(4, "test")
    batch = sampler.sample(ansatz, state, None, 4, "test", 0)
    assert not state.spins.is_inference()
    assert 0.3 < batch.metrics["acceptance"] < 1
    ansatz.log_amplitude(batch.spins).sum().backward()


@pytest.mark.parametrize("pairs", ["neighbours", "any", "mixed"])
@pytest.mark.parametrize("global_flip", [0.0, 0.3])
@pytest.mark.parametrize("system", [RING, STAR], ids=["ring", "lattice"])
def test_exchanges_follow_the_probabilities_within_the_sector(
    system: SpinSystem, pairs: str, global_flip: float
) -> None:
    ansatz = ansatz_of(replace(TRAIN.ansatz, deviation=0.15), system)
    chains = replace(
        METROPOLIS, rule="exchange", pairs=pairs, samples=2000, chains=200, thinning=20, global_flip=global_flip
    )
    batches = draw(MetropolisSampler(chains, space_of(system), "cpu", Chunks(0.1)), ansatz, 10)
    assert all((batch.spins.sum(1) == 0).all() for batch in batches)
    assert deviation(frequencies(batches, 6), probabilities(ansatz, system, 0), 20_000) < 2.2


def test_odd_numbers_of_spins_start_with_one_more_up() -> None:
    ring = ChainHeisenberg(n_sites=7, periodic=True, j1=1.0, j2=0.0)
    sampler = MetropolisSampler(replace(METROPOLIS, rule="exchange"), space_of(ring), "cpu", Chunks(0.1))
    starts = sampler.start(1, "test").spins
    assert (starts.sum(1) == 1).all()
    assert len(torch.unique(starts, dim=0)) > 5


@pytest.mark.parametrize(("start", "sign"), [("up", 1), ("down", -1)])
def test_chains_from_one_orientation_stay_there_where_flipping_is_costly(start: str, sign: int) -> None:
    """NAQS paper, Figure 2: single flips do not cross from one orientation to the other; global flips do."""
    ring = ChainTFIM(n_sites=8, range=1, coupling=1.0, field=1.0)
    ansatz = ansatz_of(TRAIN.ansatz, ring)
    with torch.no_grad():
        for parameter in ansatz.parameters():
            parameter.zero_()
        ansatz.dense.weight[0] = 2.5  # log ψ = log 2cosh(2.5 Σ s): both orientations, nothing in between
    stuck = MetropolisSampler(replace(METROPOLIS, start=start), space_of(ring), "cpu", Chunks(0.1))
    (batch,) = draw(stuck, ansatz, 1)
    assert (batch.weights * batch.spins.sum(1)).sum() == pytest.approx(8.0 * sign, abs=0.5)
    free = MetropolisSampler(replace(METROPOLIS, start=start, global_flip=0.2), space_of(ring), "cpu", Chunks(0.1))
    (batch,) = draw(free, ansatz, 1)
    assert abs((batch.weights * batch.spins.sum(1)).sum()) < 2.0


def test_chains_leave_where_the_amplitude_vanishes() -> None:
    class Excluding(WaveFunction):
        def log_amplitude(self, spins: torch.Tensor) -> torch.Tensor:
            return torch.where(spins.sum(1) == 5, -torch.inf, 0.0).double()

    sampler = MetropolisSampler(replace(METROPOLIS, start="up"), space_of(CHAIN), "cpu", Chunks(0.1))
    (batch,) = draw(sampler, Excluding(), 1)
    assert not (batch.spins.sum(1) == 5).any()
    assert len(batch.spins) > 20


def test_amplitudes_that_are_not_numbers_are_never_accepted() -> None:
    class Broken(WaveFunction):
        def log_amplitude(self, spins: torch.Tensor) -> torch.Tensor:
            return torch.where(spins[:, 0] == 1, torch.nan, 0.0).double()

    sampler = MetropolisSampler(replace(METROPOLIS, start="down"), space_of(CHAIN), "cpu", Chunks(0.1))
    (batch,) = draw(sampler, Broken(), 1)
    assert (batch.spins[:, 0] == -1).all()


def test_duplicates_are_merged_with_their_counts() -> None:
    draws = torch.tensor([[1, 1, -1], [-1, 1, 1], [1, 1, -1], [1, 1, -1]], dtype=torch.int8)
    batch = Batch.of_draws(draws.reshape(2, 2, 3), {"acceptance": 0.5})
    assert len(batch.spins) == 2
    assert batch.order is not None
    assert torch.equal(batch.spins[batch.order], draws.reshape(2, 2, 3))
    assert torch.equal(batch.weights[batch.order], torch.tensor([[0.75, 0.25], [0.75, 0.75]], dtype=torch.float64))


@pytest.mark.parametrize("n_sites", [1, 61, 62, 63, 130])
def test_distinct_configurations_of_any_length(n_sites: int) -> None:
    rows = torch.from_numpy(np.random.default_rng(0).choice([-1, 1], (6, n_sites))).to(torch.int8)
    rows[3], rows[4] = rows[0], rows[0]
    rows[4, -1] *= -1
    spins, order, counts = unique_spins(rows)
    expected, inverse = torch.unique(rows, dim=0, return_inverse=True)
    assert sorted(spins.tolist()) == sorted(expected.tolist())
    assert torch.equal(spins[order], rows)
    assert counts.sum() == 6
    assert torch.equal(counts[order], torch.bincount(inverse)[inverse])


@pytest.mark.parametrize(
    ("sampler", "config"),
    [
        (DirectSampler(DIRECT, space_of(CHAIN), "cpu", Chunks(0.1)), TINY),
        (MetropolisSampler(METROPOLIS, space_of(CHAIN), "cpu", Chunks(0.1)), TRAIN.ansatz),
    ],
    ids=["direct", "metropolis"],
)
def test_batches_depend_on_seed_purpose_number_and_state_alone(sampler: Any, config: Any) -> None:
    ansatz = ansatz_of(config, CHAIN)
    batches, again = draw(sampler, ansatz, 3), draw(sampler, ansatz, 3)
    for a, b in zip(batches, again, strict=True):
        assert torch.equal(a.spins, b.spins)
        assert torch.equal(a.weights, b.weights)
    assert not torch.equal(batches[0].spins[batches[0].order], batches[1].spins[batches[1].order])
    other = draw(sampler, ansatz, 1, seed=5)[0]
    assert not torch.equal(batches[0].spins[batches[0].order], other.spins[other.order])


def test_thinning_reduces_correlations() -> None:
    """NAQS paper, Figure 3: samples k steps apart."""
    ansatz = ansatz_of(TRAIN.ansatz, CHAIN)
    correlation = []
    for thinning in (1, 4, 40):
        chains = replace(METROPOLIS, thinning=thinning, samples=20_000, chains=100)
        (batch,) = draw(MetropolisSampler(chains, space_of(CHAIN), "cpu", Chunks(0.1)), ansatz, 1)
        assert batch.order is not None
        x = batch.spins[batch.order].double()[..., 0].numpy()
        x = x - x.mean()
        correlation.append(float((x[:, 1:] * x[:, :-1]).mean() / (x * x).mean()))
    assert correlation[0] > 0.6 > correlation[1] > 0.1 > abs(correlation[2])


@pytest.mark.parametrize(
    ("config", "rule", "chains"), [(COMPLEX_RBM, "local", 200), (TINY, "local", 20), (COMPLEX_RBM, "exchange", 20)]
)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_chains_know_the_amplitudes_where_they_are(config: Any, rule: str, chains: int, dtype: torch.dtype) -> None:
    """Of every draw, for each distinct configuration."""
    ansatz = ansatz_of(config, RING).to(dtype)
    settings = replace(METROPOLIS, rule=rule, chains=chains, global_flip=0.1)
    batch = draw(MetropolisSampler(settings, space_of(RING), "cpu", Chunks(0.1)), ansatz, 2)[1]
    with torch.no_grad():
        expected = ansatz.log_amplitude(batch.spins)
    assert batch.log_amplitudes is not None
    assert batch.log_amplitudes.dtype == (torch.complex128 if expected.is_complex() else torch.float64)
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    torch.testing.assert_close(batch.log_amplitudes, expected.to(batch.log_amplitudes.dtype), rtol=0, atol=tolerance)


def test_a_walk_leaves_no_amplitudes() -> None:
    sampler = MetropolisSampler(METROPOLIS, space_of(CHAIN), "cpu", Chunks(0.1))
    assert draw(sampler, ansatz_of(TRAIN.ansatz, CHAIN), 1)[0].log_amplitudes is None


@pytest.mark.parametrize("system", [STAR, RING, SquareHeisenberg(length_x=4, length_y=4, periodic=True, j1=1, j2=0.5)])
def test_exchanges_of_neighbours_one_by_one(system: SpinSystem) -> None:
    """The pair of a number, and the ratio of the numbers of antiparallel pairs there are to choose from."""
    space, generator = space_of(system), torch.Generator().manual_seed(3)
    up = torch.rand((30, system.size), generator=generator).argsort(1) < system.size // 2
    spins = torch.where(up, 1, -1).to(torch.int8)
    uniforms = torch.rand(30, generator=generator, dtype=torch.float64)
    uniforms[0] = 0.0
    proposed, log_ratios = metropolis._NeighbourExchange(space, "cpu")(spins, uniforms, uniforms)

    def pairs(state: list[int]) -> list[tuple[int, int]]:
        return [(i, j) for i, j in space.exchange_pairs if state[i] != state[j]]

    for before, after, uniform, log_ratio in zip(
        spins.tolist(), proposed.tolist(), uniforms.tolist(), log_ratios.tolist(), strict=True
    ):
        choice = pairs(before)
        i, j = choice[int(uniform * len(choice))]
        before[i], before[j] = before[j], before[i]
        assert after == before
        assert log_ratio == pytest.approx(np.log(len(choice) / len(pairs(after))), abs=1e-12)
