"""What joint flows keep of their configurations, U(1) and SU(3): weights, observables and the correlator of Eq. C3."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from pipeline.base.contracts import KeepsEnsemble
from pipeline.base.errors import ConfigError
from pipeline.base.numbers.rng import torch_generator
from pipeline.gauge.fermions.dirac import WilsonDirac
from pipeline.gauge.group import group_of
from pipeline.gauge.joint.method import JointFlowTraining
from pipeline.gauge.systems import SU3TwoD, TwoFlavours
from pipeline.stages.compose import compose_run
from tests.gauge.joint.small_joint import SYSTEM, small

SU3 = SU3TwoD(length=4, beta=3.0, kappa=0.2)
AMOUNTS: dict[str, Any] = {"configurations": 3, "draws": 2, "correlator_time": 1}


def made(system: TwoFlavours) -> tuple[JointFlowTraining, Any]:
    marginal = None if system is SYSTEM else {"layers": 1}
    method = small(system, infer=AMOUNTS, marginal=marginal)
    return method, method.init(3)


@pytest.mark.parametrize("system", [SYSTEM, SU3])
def test_correlator_is_the_inverse_of_the_matrix(system: TwoFlavours) -> None:
    """Eq. C3 by Wick's theorem: Σ |D^{-1}(x; y)|² over spins, colours, x_1 and y_1, from the whole matrix."""
    method, state = made(system)
    record = method.measure(state, 5)
    generator = torch_generator(7, "joint flow inference", 5)
    links = method._sample(state.flow, 3, 2, generator, True).links
    dirac = WilsonDirac(group_of(system).matrices(links), system.kappa)
    inverse = torch.linalg.inv(dirac.dense()).abs().square().reshape(3, 4, -1, 4, dirac.dimension // 4)
    np.testing.assert_allclose(record["correlator"], inverse[:, 1, :, 0, :].sum(dim=(1, 2)).numpy(), rtol=1e-9)
    assert (method.measure(state, 5)["correlator"] == record["correlator"]).all()


@pytest.mark.parametrize("system", [SYSTEM, SU3])
def test_ensemble_has_weights_that_give_the_estimates(system: TwoFlavours) -> None:
    method, state = made(system)
    assert isinstance(method, KeepsEnsemble)
    records = [method.measure(state, k) for k in range(2)]
    result = method.summarise(records)
    one = method.ensemble(records[0])
    names = {"log_weight", "log_marginal", "plaquette", "correlator"}
    assert set(one) == names | ({"topological_charge"} if system is SYSTEM else set())
    kept = {name: np.concatenate([method.ensemble(record)[name] for record in records]) for name in names}
    for name in ("plaquette", "correlator"):
        for weights, end in (("log_weight", ""), ("log_marginal", "_exact_weights")):
            w = np.exp(kept[weights] - kept[weights].max())
            assert result.estimate(name + end).value == pytest.approx(w @ kept[name] / w.sum())
    ratios = records[0]["log_ratios"]
    expected = records[0]["log_gauge"] + np.log(np.exp(ratios - 40.0).mean(axis=2)).sum(axis=0) + 40.0 * len(ratios)
    np.testing.assert_allclose(one["log_weight"], expected, rtol=1e-12)


def test_times_beyond_the_lattice_are_refused() -> None:
    words = ["paper=pseudofermion/su3_joint", "scale=smoke"]
    assert compose_run([*words, "infer.correlator_time=3"]).infer.correlator_time == 3
    with pytest.raises(ConfigError, match=r"infer\.correlator_time=4: must be less than system\.length = 4"):
        compose_run([*words, "infer.correlator_time=4"])
    with pytest.raises(ConfigError, match=r"infer\.correlator_time=-1"):
        compose_run([*words, "infer.correlator_time=-1"])
