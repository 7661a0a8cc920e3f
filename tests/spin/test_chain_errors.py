"""Coverage: means of Metropolis chains are as often right as their errors say, in flat and in peaked states."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.base.numbers.statistics import correlated_mean
from pipeline.spin.chunks import Chunks
from pipeline.spin.sampler.metropolis import MetropolisSampler
from pipeline.spin.sampler.schema import MetropolisConfig
from pipeline.spin.space import space_of
from pipeline.spin.systems import ChainHeisenberg, ChainTFIM
from pipeline.spin.wave_function import WaveFunction
from tests.spin import dense
from tests.spin.small_vmc import METROPOLIS

TRIALS, CHAINS, LENGTH = 200, 10, 50
"""Trials of ten chains each, which move side by side: chains are independent of each other."""


class Field(WaveFunction):
    """log ψ = b Σ s + J Σ s_i s_{i+1} on a ring; acceptance is 1 without either."""

    def __init__(self, field: float, coupling: float) -> None:
        super().__init__()
        self._field, self._coupling = field, coupling

    def log_amplitude(self, spins: Tensor) -> Tensor:
        s = spins.double()
        return self._field * s.sum(-1) + self._coupling * (s * s.roll(1, -1)).sum(-1)


def series(ansatz: WaveFunction, config: MetropolisConfig, n_sites: int) -> np.ndarray:
    """|Σ σz|/N of all samples, (trials, chains, length)."""
    ring = ChainTFIM(n_sites=n_sites, range=1, coupling=1.0, field=1.0)
    config = replace(config, chains=TRIALS * CHAINS, samples=TRIALS * CHAINS * LENGTH)
    sampler = MetropolisSampler(config, space_of(ring), "cpu", Chunks(0.1))
    batch = sampler.sample(ansatz, sampler.start(1, "test"), None, 1, "test", 0)
    assert batch.order is not None
    values: np.ndarray = batch.spins.double().mean(-1).abs()[batch.order].numpy()
    return values.reshape(TRIALS, CHAINS, LENGTH)


def exact(ansatz: WaveFunction, n_sites: int) -> float:
    basis = dense.basis(n_sites)
    p = np.exp(2 * ansatz.log_amplitude(torch.from_numpy(basis)).numpy())
    return float(p @ np.abs(basis.mean(1)) / p.sum())


@pytest.mark.parametrize(("n_sites", "start"), [(2, "up"), (4, "up"), (6, "up"), (4, "random")])
def test_a_uniform_state_is_sampled_with_either_parity(n_sites: int, start: str) -> None:
    """Every flip is accepted: chains that always moved would show an even number of spins up for ever."""
    ansatz, values = Field(0.0, 0.0), series(Field(0.0, 0.0), replace(METROPOLIS, start=start), n_sites)
    right = {2: 0.5, 4: 0.375, 6: 0.3125}[n_sites]
    assert exact(ansatz, n_sites) == pytest.approx(right)
    assert values.mean() == pytest.approx(right, abs=4 * values.std() / values.size**0.5 * 1.2)
    covered(values, right)


@pytest.mark.parametrize(
    ("n_sites", "field", "coupling", "thinning"),
    [(4, 0.5, 0.0, None), (4, 0.0, 0.3, 3), (5, 0.0, -0.4, 4), (5, 0.8, 0.1, 10)],
)
def test_peaked_states(n_sites: int, field: float, coupling: float, thinning: int | None) -> None:
    ansatz = Field(field, coupling)
    covered(series(ansatz, replace(METROPOLIS, thinning=thinning), n_sites), exact(ansatz, n_sites))


def covered(values: np.ndarray, right: float) -> None:
    """Two thirds of the means lie within an error of the exact value, 95 % within two; pulls have unit variance."""
    means = [correlated_mean(trial) for trial in values]
    pulls = np.array([(mean.value - right) / (mean.sigma or np.nan) for mean in means])
    assert np.mean([bool(mean.doubt) for mean in means]) < 0.02
    assert abs(pulls.mean()) < 4 / TRIALS**0.5
    assert 0.85 < pulls.std() < 1.2
    assert np.mean(np.abs(pulls) < 1) == pytest.approx(0.683, abs=4 * (0.683 * 0.317 / TRIALS) ** 0.5)
    assert np.mean(np.abs(pulls) < 2) > 0.9


@pytest.mark.parametrize("pairs", ["neighbours", "any"])
@pytest.mark.parametrize("n_sites", [2, 4])
def test_exchanges_show_both_halves_of_a_bipartite_lattice(pairs: str, n_sites: int) -> None:
    """On two sites every exchange is accepted: Σ σz over one sublattice changes its parity with each."""
    ring = ChainHeisenberg(n_sites=n_sites, periodic=n_sites > 2, j1=1.0, j2=0.0)
    config = replace(METROPOLIS, rule="exchange", pairs=pairs, samples=20_000, chains=200)
    sampler = MetropolisSampler(config, space_of(ring), "cpu", Chunks(0.1))
    state = sampler.start(1, "test")
    state.spins = state.spins[:1].repeat(200, 1)  # all in the same half
    batch = sampler.sample(Field(0.0, 0.0), state, None, 1, "test", 0)
    assert batch.weights.numpy() == pytest.approx(1 / {2: 2, 4: 6}[n_sites], abs=0.02)


def test_burn_in_is_counted_in_sweeps() -> None:
    """A chain of N sites makes burn_in N proposals before its first sample."""
    calls = []

    class Counting(Field):
        def log_amplitude(self, spins: Tensor) -> Tensor:
            calls.append(len(spins))
            return super().log_amplitude(spins)

    for n_sites in (3, 9):
        calls.clear()
        ring = ChainTFIM(n_sites=n_sites, range=1, coupling=1.0, field=1.0)
        config = replace(METROPOLIS, burn_in=7, thinning=1, chains=5, samples=5)
        sampler = MetropolisSampler(config, space_of(ring), "cpu", Chunks(0.1))
        sampler.sample(Counting(0.0, 0.0), sampler.start(1, "test"), None, 1, "test", 0)
        assert calls.count(5) == 1 + 7 * n_sites + 1
