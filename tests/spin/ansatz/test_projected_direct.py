"""Direct draws of projected states by rejection: |ψ̃|², acceptance and what vanishes, by enumeration."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from pipeline.base.errors import NonFiniteError
from pipeline.spin.ansatz.projected import ProjectedDirect
from pipeline.spin.ansatz.schema import PixelCNNConfig
from pipeline.spin.chunks import Chunks
from pipeline.spin.sampler.contract import NoState
from pipeline.spin.sampler.direct import DirectSampler
from pipeline.spin.sampler.schema import DirectConfig
from pipeline.spin.space import space_of
from pipeline.spin.systems import SquareHeisenberg
from pipeline.spin.vmc.method import VariationalMonteCarlo
from pipeline.stages.compose import compose_run
from pipeline.stages.train import build_method
from tests.spin import dense
from tests.spin.ansatz import common
from tests.spin.small_vmc import rayleigh

PIXELCNN = PixelCNNConfig(
    depth=1, width=4, phase=True, spread=1.0, output_scale=1.0, symmetries=[], magnetisation=None, projection=[]
)
DIRECT = DirectConfig(samples=400)
OPEN = SquareHeisenberg(length_x=2, length_y=3, periodic=False, j1=1.0, j2=0.0)


@pytest.mark.parametrize("names", [["point_group", "spin_flip"], ["-reflections"], ["-spin_flip"]])
@pytest.mark.parametrize("phase", [True, False])
def test_direct_draws_of_a_projected_state(names: list[str], phase: bool) -> None:
    """They follow |ψ̃|², are independent, and as many are accepted as the norm of ψ̃ says, which the envelope bounds."""
    config = replace(PIXELCNN, phase=phase, projection=names)
    state = common.random_network(config, OPEN)
    assert isinstance(state, ProjectedDirect)
    everything = common.configurations(6)
    terms = state.terms(everything)
    logs, ratios = state.judge(terms)
    torch.testing.assert_close(logs, state._evaluate(everything), rtol=0, atol=1e-12)
    weights, envelope = (2 * logs.real).exp().detach(), (2 * terms.real).exp().mean(1).detach()
    assert abs(float(envelope.sum()) - 1) < 1e-12
    torch.testing.assert_close(ratios.exp().detach(), weights / envelope, rtol=1e-10, atol=1e-12)
    assert ratios.max() <= 1e-12
    sampler = DirectSampler(DIRECT, space_of(OPEN), "cpu", Chunks(0.1))
    batches = [sampler.sample(state, sampler.start(0, "t"), None, 5, "t", k) for k in range(25)]
    drawn = torch.zeros(64, dtype=torch.float64)
    for batch in batches:
        assert batch.log_amplitudes is not None
        torch.testing.assert_close(batch.log_amplitudes, state.log_amplitude(batch.spins), rtol=0, atol=1e-10)
        drawn[((batch.spins < 0).long() << torch.arange(6)).sum(1)] += batch.weights / len(batches)
    expected, draws = (weights / weights.sum()).numpy(), 25 * 400
    there = expected * draws > 5
    chi2 = draws * ((drawn.numpy() - expected)[there] ** 2 / expected[there]).sum()
    assert stats.chi2.sf(chi2, there.sum() - 1) > 1e-3
    norm = float(weights.sum())
    accepted = np.mean([batch.metrics["acceptance"] for batch in batches])
    assert abs(accepted - norm) < 4 * np.sqrt(norm * (1 - norm) / (draws / norm)) + 1e-12


def test_a_projected_state_that_vanishes_cannot_be_drawn() -> None:
    config = replace(PIXELCNN, phase=False, symmetries=["spin_flip"], projection=["-spin_flip"])
    state = common.random_network(config, OPEN)
    with pytest.raises(NonFiniteError, match="of 4000 proposals for 4 samples 0 were accepted"):
        DirectSampler(DIRECT, space_of(OPEN), "cpu", Chunks(0.1)).sample(state, NoState(), 4, 5, "t", 0)


def test_training_draws_directly_from_a_projected_state() -> None:
    """A last phase projects; inference then is that of the projected state, by independent draws, as by its sum."""
    phases = "train.phases=[{steps:3,lr:1.0e-2},{steps:3,lr:1.0e-2,projection:[point_group,spin_flip]}]"
    system = ["system=square_tfim", "system.length_x=2", "system.length_y=3", "system.periodic=false"]
    amounts = ["train.sampler.samples=64", "train.steps=6", "infer.samples=2000", "infer.units=4"]
    small = ["ansatz=pixelcnn", "train.ansatz.depth=2", "train.ansatz.width=4", "train.dtype=float64"]
    run = compose_run(["method=vmc", "sampler=direct", "baseline=none", *system, *small, *amounts, phases])
    method = build_method(run)
    assert isinstance(method, VariationalMonteCarlo)
    state = method.init(0)
    metrics = [method.step(state, k) for k in range(6)]
    assert "acceptance" not in metrics[2]
    assert 0.2 < metrics[5]["acceptance"] <= 1
    result = method.summarise([method.measure(state, k) for k in range(4)])
    energy = next(e for e in result.estimates if e.name == "energy")
    assert energy.sigma is not None
    exact = rayleigh(method._view(state, 0), dense.square(2, 3, False, run.system.coupling, run.system.field))
    assert abs(energy.value - exact) < 4 * energy.sigma
