"""Hybrid Monte Carlo in single precision, on other paths than the compiled one, and on the configured device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.base.errors import ConfigError
from pipeline.base.numbers.rng import torch_generator
from pipeline.base.store.keys import plain
from pipeline.gauge import exact, su3, u1
from pipeline.gauge.fermions import hopping, solver
from pipeline.gauge.group import Group, group_of
from pipeline.gauge.hmc import theory
from pipeline.gauge.hmc.integrator import SCHEMES, in_double, integrate, trajectory
from pipeline.gauge.systems import GaugeSystem, Schwinger, SU3PureGauge, SU3TwoD, U1PureGauge
from pipeline.stages.compose import compose_run
from pipeline.stages.context import Context
from pipeline.stages.run import execute
from tests import pretend
from tests.gauge.small_hmc import small, warmed

SCHWINGER, COLOURED = Schwinger(length=4, beta=2.0, kappa=0.1), SU3TwoD(length=2, beta=6.0, kappa=0.1)
PSEUDOFERMIONS: dict[str, Any] = {"determinant": "pseudofermions", "hasenbusch": [0.3], "tolerance": 1e-12}
SYSTEMS: dict[str, tuple[GaugeSystem, dict[str, Any]]] = {
    "u1": (SCHWINGER, PSEUDOFERMIONS),
    "u1 all sites": (SCHWINGER, {**PSEUDOFERMIONS, "even_odd": False}),
    "u1 exact": (SCHWINGER, {"determinant": "exact"}),
    "su3": (COLOURED, PSEUDOFERMIONS),
}


@pytest.fixture
def in_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fermions as on an accelerator."""
    for module in (hopping, solver):
        monkeypatch.setattr(module, "compiled", lambda field: False)


@pytest.mark.parametrize("name", SYSTEMS)
def test_trajectories_in_torch_are_the_compiled_ones(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    system, fermions = SYSTEMS[name]
    hmc = small(chains=2, trajectories_per_measurement=1, fermions=fermions)
    found, counts = [], []
    for compiled in (True, False):
        if not compiled:
            for module in (hopping, solver):
                monkeypatch.setattr(module, "compiled", lambda field: False)
        state = hmc.init(system)
        records = [hmc.measure(state, k) for k in range(2)]
        found.append((state.links, np.stack([r["exp_minus_delta_h"] for r in records])))
        counts.append([r.get("dirac_applications") for r in records])
    assert (counts[0][0] is None) == (fermions["determinant"] == "exact")
    np.testing.assert_array_equal(counts[0], counts[1])
    torch.testing.assert_close(found[0][0], found[1][0], rtol=0, atol=1e-9)
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-8)


@pytest.mark.usefixtures("in_torch")
@pytest.mark.parametrize("name", SYSTEMS)
def test_single_precision_follows_the_double_one(name: str) -> None:
    """Links and momenta stay single, agree to its rounding, and come back when time runs backwards."""
    system, fermions = SYSTEMS[name]
    group, hmc = group_of(system), small(chains=2, fermions=fermions, precision="float32")
    links = hmc.init(system).links
    action = theory.refreshed_action(system, hmc.fermions, in_double(links), torch_generator(1, "test.fields"))
    momenta = group.random_momenta(links, torch_generator(1, "test.momenta"))
    assert momenta.dtype == torch.float32
    arguments = action, group, SCHEMES["omelyan"], 0.1, 4
    single, final = integrate(links, momenta, *arguments)
    double, expected = integrate(in_double(links), momenta.double(), *arguments)
    assert (single.dtype, final.dtype) == (links.dtype, torch.float32)
    assert (double - in_double(links)).abs().max() > 0.1
    torch.testing.assert_close(in_double(single), double, rtol=0, atol=2e-5)
    torch.testing.assert_close(final.double(), expected, rtol=0, atol=2e-5)
    back, _ = integrate(single, -final, *arguments)
    torch.testing.assert_close(back, links, rtol=0, atol=2e-5)


def test_the_metropolis_test_is_in_double_precision() -> None:
    """ΔH of the links that came out, which single sums of many sites would round."""
    system = U1PureGauge(length=16, beta=2.0)
    hmc = small(chains=3, precision="float32")
    links = hmc.init(system).links
    action = theory.refreshed_action(system, hmc.fermions, in_double(links), torch_generator(1, "test.fields"))
    outcome = trajectory(links, action, u1, SCHEMES["omelyan"], 1.0, 30, torch_generator(2, "test.run"))
    momenta = u1.random_momenta(links, torch_generator(2, "test.run"))
    final, moved = integrate(links, momenta, action, u1, SCHEMES["omelyan"], 1.0 / 30, 30)
    h = [
        0.5 * p.double().square().sum(dim=(1, 2, 3)) + action.value(u.double())
        for u, p in ((links, momenta), (u1.reproject(final), moved))
    ]
    assert outcome.delta_h.dtype == torch.float64
    torch.testing.assert_close(outcome.delta_h, h[1] - h[0], rtol=0, atol=1e-9)
    assert outcome.links.dtype == torch.float32


@pytest.mark.parametrize("system", [U1PureGauge(length=4, beta=2.0), SU3PureGauge(length=2, beta=6.0)])
def test_single_precision_samples_the_same_density(system: GaugeSystem) -> None:
    hmc = small(chains=256, warmup=20, measurements=20, precision="float32")
    state = warmed(hmc, system)
    result = hmc.summarise([hmc.measure(state, k) for k in range(hmc.measurements)])
    found, weight = result.estimate("plaquette"), result.estimate("exp_minus_delta_h")
    expected = 0.699252 if system.group == "u1" else exact.su3_plaquette(2, 6.0)
    assert found.sigma is not None
    assert found.sigma < 4e-3
    assert abs(found.value - expected) < 4 * found.sigma
    assert weight.sigma is not None
    assert abs(weight.value - 1.0) < 4 * weight.sigma
    assert state.links.dtype.to_real() != torch.float64


@pytest.mark.parametrize("system", [U1PureGauge(length=4, beta=2.0), SU3PureGauge(length=2, beta=6.0)])
def test_state_of_single_precision(system: GaugeSystem) -> None:
    hmc = small(chains=2, precision="float32")
    state = hmc.init(system)
    hmc.step(state, 0)
    again = hmc.init(system)
    again.load_state_dict(state.state_dict())
    assert torch.equal(again.links, state.links)
    with pytest.raises(ValueError, match=r"float32|complex64"):
        small(chains=2).init(system).load_state_dict(state.state_dict())
    tree = state.state_dict()
    tree["links"] = tree["links"] * torch.nan
    with pytest.raises(ValueError, match=r"finite|singular"):
        again.load_state_dict(tree)


@pytest.mark.parametrize("group", [u1, su3])
def test_no_motion_in_single_precision(group: Group) -> None:
    """exp(0) = 1, where coefficients of the exponential are 0/0."""
    links = group.identity(1, 2)
    single = links.to(torch.complex64 if links.is_complex() else torch.float32)
    momenta = torch.zeros_like(group.random_momenta(single, torch_generator(0, "test.momenta")))
    for size in (0.0, 1e-25, 1e-12):
        moved = group.drift(single, momenta + size, 1.0)
        torch.testing.assert_close(moved, single, rtol=0, atol=1e-6)


def test_double_precision_keeps_its_keys() -> None:
    assert "precision" not in plain(small())
    assert plain(small(precision="float32"))["precision"] == "float32"


def test_other_precisions_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"precision=float16: must be .*float64"):
        compose_run(["system=u1_pure_gauge", "baseline=hmc", "baseline.hmc.precision=float16"])


@pytest.mark.parametrize(("device", "expected"), [("cpu", "cpu"), ("cuda", "cuda"), ("auto", "cuda")])
def test_the_configured_device_is_where_it_runs(device: str, expected: str, tmp_path: Path) -> None:
    words = ["system=u1_pure_gauge", "baseline=hmc", "stages=[baseline]", f"results_dir={tmp_path}", "progress=false"]
    words += ["baseline.hmc.warmup=1", "baseline.hmc.measurements=2", "baseline.hmc.chains=2"]
    with pretend.accelerator():
        execute(Context(compose_run([*words, f"device={device}"]), notify=lambda _: None))
    (status,) = tmp_path.rglob("status.json")
    assert f'"device": "{expected}"' in status.read_text()
