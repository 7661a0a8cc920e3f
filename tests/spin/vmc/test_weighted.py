"""Estimates from draws with importance weights, by a sampler that draws from another distribution than |ψ|²."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from pipeline.base.numbers.result import Result
from pipeline.base.numbers.rng import torch_generator
from pipeline.base.run.ranks import Ranks
from pipeline.spin.chunks import Chunks
from pipeline.spin.sampler.contract import Batch, Errors, NoState
from pipeline.spin.sampler.schema import SamplerConfig
from pipeline.spin.space import Space
from pipeline.spin.systems import SquareTFIM
from pipeline.spin.vmc.inference import record
from pipeline.spin.vmc.local_energy import local_energy
from pipeline.spin.vmc.method import VariationalMonteCarlo
from pipeline.spin.vmc.state import VMCState
from pipeline.spin.wave_function import WaveFunction
from tests.spin import dense
from tests.spin.small_vmc import COMPLEX_RBM, INFER, TRAIN, amplitudes, build

LATTICE = SquareTFIM(length_x=3, length_y=2, periodic=False, coupling=1.0, field=1.5)
BATCHES, DRAWS = 10, 60
NAMES = ("energy", "variance", "magnetisation", "nearest_correlation")


@dataclass
class TiltedConfig(SamplerConfig):
    """Draws from |ψ|^(2 ``power``), renormalised."""

    version: ClassVar[int] = 1
    implementation: ClassVar[str] = "tests.spin.vmc.test_weighted:TiltedSampler"

    name: str = "tilted"
    power: float = 0.4
    samples: int = DRAWS


class TiltedSampler:
    """By enumeration; log weights carry an arbitrary constant, as those of an unnormalised ψ do."""

    errors: Errors = "weighted"

    def __init__(self, config: TiltedConfig, space: Space, device: str, chunks: Chunks, ranks: Ranks) -> None:
        del chunks, ranks
        self._config, self._device = config, device
        self.spins = torch.from_numpy(dense.basis(space.size)).to(torch.int8)

    def start(self, seed: int, purpose: str) -> NoState:
        return NoState()

    @torch.no_grad()
    def sample(
        self, ansatz: WaveFunction, state: NoState, samples: int | None, seed: int, purpose: str, k: int
    ) -> Batch:
        log_p = 2.0 * ansatz.log_amplitude(self.spins).real.double()
        log_q = self._config.power * log_p
        generator = torch_generator(seed, purpose, k, self._device)
        drawn = torch.multinomial(torch.softmax(log_q, 0), samples or self._config.samples, True, generator=generator)
        log_weights = (log_p - log_q)[drawn] + 800.0
        return Batch.of_weighted_draws(self.spins[drawn], log_weights, {"rounds": 3.0})


ANSATZ = replace(COMPLEX_RBM, deviation=0.25)


def vmc(**changes: Any) -> tuple[VariationalMonteCarlo, VMCState]:
    train = replace(TRAIN, ansatz=ANSATZ, sampler=TiltedConfig())
    method = build(LATTICE, train=train, infer=replace(INFER, units=BATCHES, **changes))
    return method, method.init(1)


def exact() -> dict[str, float]:
    """By enumeration and dense linear algebra."""
    psi = amplitudes(vmc()[1].ansatz, 6)
    p, spins = np.abs(psi) ** 2 / (np.abs(psi) ** 2).sum(), dense.basis(6)
    h_psi = dense.square(3, 2, False, 1.0, 1.5) @ psi
    energy = float((psi.conj() @ h_psi).real / (np.abs(psi) ** 2).sum())
    bonds = LATTICE.nearest_bonds()
    return {
        "energy": energy,
        "variance": float((np.abs(h_psi) ** 2).sum() / (np.abs(psi) ** 2).sum() - energy**2),
        "magnetisation": float(p @ spins.sum(1)),
        "nearest_correlation": float(sum(p @ (spins[:, i] * spins[:, j]) for i, j in bonds) / len(bonds)),
    }


@cache
def everything() -> tuple[VariationalMonteCarlo, VMCState, torch.Tensor]:
    """A method with its state, and the local energies of all configurations, which many repetitions share."""
    method, state = vmc()
    spins = torch.from_numpy(dense.basis(6)).to(torch.int8)
    return method, state, local_energy(method.hamiltonian, state.ansatz, spins, method.chunks)


def inferred(seed: int) -> Result:
    method, state, local = everything()
    records = []
    for k in range(BATCHES):
        batch = method.sampler.sample(state.ansatz, NoState(), None, seed, "test", k)
        observables = method.observables(batch.spins)
        records.append(
            record(batch, local[dense.row(batch.spins.numpy())], observables, "weighted", keep_samples=False)
        )
    return method.summarise(records)


def test_batches_merge_equal_draws_and_keep_their_weights() -> None:
    draws = torch.tensor([[1, 1], [-1, 1], [1, 1]], dtype=torch.int8)
    log_weights = torch.tensor([0.5, -1.0, 0.5], dtype=torch.float64)
    batch = Batch.of_weighted_draws(draws, log_weights)
    assert batch.order is not None
    assert batch.log_weights is not None
    assert torch.equal(batch.spins[batch.order[0]], draws)
    assert torch.equal(batch.log_weights[batch.order[0]], log_weights)
    per_draw = log_weights.exp() / log_weights.exp().sum()
    torch.testing.assert_close(batch.weights[batch.order[0, 0]], 2 * per_draw[0])
    torch.testing.assert_close(batch.weights[batch.order[0, 1]], per_draw[1])


def test_estimates_are_unbiased_and_their_errors_are_what_they_say() -> None:
    """300 repetitions against enumeration: means within their error, about 68 % within one sigma."""
    results, expected = [inferred(seed) for seed in range(300)], exact()
    for name in NAMES:
        estimates = [r.estimate(name) for r in results]
        values, sigmas = np.array([e.value for e in estimates]), np.array([e.sigma for e in estimates])
        assert abs(values.mean() - expected[name]) < 3.5 * values.std(ddof=1) / np.sqrt(300), name
        assert 0.58 < (np.abs(values - expected[name]) < sigmas).mean() < 0.75, name
        assert sigmas.mean() == pytest.approx(values.std(), rel=0.15), name
    # without their weights the same draws say something else, by many errors
    unweighted = _under_the_proposal(vmc()[1].ansatz)
    assert np.std([r.estimate("energy").value for r in results]) < 0.2 * abs(expected["energy"] - unweighted)


def _under_the_proposal(ansatz: WaveFunction) -> float:
    """Mean of the local energies over |ψ|^0.8."""
    psi = amplitudes(ansatz, 6)
    q = np.abs(psi) ** 0.8
    return float((q / q.sum()) @ ((dense.square(3, 2, False, 1.0, 1.5) @ psi) / psi).real)


def test_effective_sample_size_and_what_is_said() -> None:
    """Against the second moment of the weights, Σp²/q, by enumeration."""
    psi = amplitudes(vmc()[1].ansatz, 6)
    p = np.abs(psi) ** 2 / (np.abs(psi) ** 2).sum()
    q = p**0.4 / (p**0.4).sum()
    expected = 1.0 / float((p**2 / q).sum())
    results = [inferred(seed) for seed in range(20)]
    found = np.array([r.estimate("ess").value for r in results])
    assert 0.2 < expected < 0.9
    assert found.mean() == pytest.approx(expected, abs=4 * found.std() / np.sqrt(20) + 0.01)
    energy = results[0].estimate("energy")
    assert (energy.bound, energy.sigma_kind, energy.n) == ("stochastic", "standard-error", BATCHES * DRAWS)
    assert f"600 independent draws with weights, worth {600 * found[0]:.0f} of |ψ|²" in results[0].notes[0]


def test_one_batch_has_no_error() -> None:
    method, state = vmc()
    result = method.summarise([method.measure(state, 0)])
    assert result.estimate("energy").sigma is None
    assert "too few batches for an error" in result.notes[0]
    assert result.estimate("energy").doubt == "only 1 batch"


def test_batches_count_by_their_weights() -> None:
    """A batch without what weighs most counts little: the estimate is that of all draws put together."""
    method, state = vmc(samples=4)
    records, sampler = [method.measure(state, k) for k in range(6)], method.sampler
    batches = [sampler.sample(state.ansatz, NoState(), 4, INFER.seed, "inference samples", k) for k in range(6)]
    total = weighted = 0.0
    for batch in batches:
        assert batch.log_weights is not None
        assert batch.order is not None
        w = (batch.log_weights[batch.order[0]] - 800.0).exp()
        total += float(w.sum())
        weighted += float((w * batch.spins[batch.order[0]].double().sum(1)).sum())
    assert method.summarise(records).estimate("magnetisation").value == pytest.approx(weighted / total, rel=1e-10)


def test_training_descends_with_weights() -> None:
    """Metrics of the sampler are logged as they come."""
    train = replace(TRAIN, ansatz=ANSATZ, sampler=TiltedConfig(samples=300))
    method = build(LATTICE, train=train)
    state = method.init(1)
    metrics = [method.step(state, k) for k in range(60)]
    assert metrics[0]["rounds"] == 3.0
    assert "r_hat" not in metrics[0]
    assert np.mean([m["energy"] for m in metrics[-5:]]) < np.mean([m["energy"] for m in metrics[:5]]) - 0.5
    assert method.measure(state, 0)["rounds"] == 3.0
