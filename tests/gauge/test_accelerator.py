"""Lattice gauge theory on a pretend accelerator (see :mod:`tests.pretend`): HMC, and what it is made of."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.base.numbers.rng import torch_generator
from pipeline.base.store.files import load_tree, save_tree
from pipeline.gauge import neighbours, observables, su3
from pipeline.gauge.action import Action, wilson_action
from pipeline.gauge.fermions import hopping
from pipeline.gauge.fermions.actions import ExactDeterminantAction, PseudofermionAction, WilsonFermions
from pipeline.gauge.fermions.monomials import condition_numbers, hasenbusch
from pipeline.gauge.fermions.solver import ConjugateGradient, DenseSolver
from pipeline.gauge.group import SU3, U1, Group, group_of
from pipeline.gauge.hmc.integrator import SCHEMES, integrate
from pipeline.gauge.hmc.method import HMC
from pipeline.gauge.hmc.state import HMCState
from pipeline.gauge.systems import GaugeSystem, Schwinger, SU3PureGauge, SU3TwoD, U1PureGauge
from tests import pretend
from tests.gauge.small_hmc import small

KAPPA = 0.05
"""Conjugate gradients take few iterations."""

SCHWINGER, COLOURED = Schwinger(length=4, beta=2.0, kappa=KAPPA), SU3TwoD(length=2, beta=6.0, kappa=KAPPA)
PSEUDOFERMIONS = {"determinant": "pseudofermions", "hasenbusch": [0.5], "tolerance": 1e-6}
HMCS: dict[str, tuple[GaugeSystem, dict[str, Any]]] = {
    "u1": (U1PureGauge(length=4, beta=2.0), {}),
    "su3": (SU3PureGauge(length=2, beta=6.0), {}),
    "schwinger": (SCHWINGER, {"condition_numbers": True, "integrator": "omelyan"}),
    "schwinger_all_sites": (Schwinger(length=3, beta=2.0, kappa=KAPPA), {"fermions": {"even_odd": False}}),
    "schwinger_pseudofermions": (SCHWINGER, {"fermions": PSEUDOFERMIONS}),
    "su3_2d": (COLOURED, {"condition_numbers": True}),
    "su3_2d_pseudofermions": (COLOURED, {"fermions": {**PSEUDOFERMIONS, "even_odd": False}}),
}
GROUPS: dict[str, tuple[Group, int]] = {"u1": (U1, 4), "su3": (SU3, 2)}


@pytest.fixture
def device() -> Iterator[torch.device]:
    """The pretend one; tables that are cached by device must not outlive it."""
    with pretend.accelerator() as found:
        yield found
    for cached in (su3._generators, neighbours.all_sites, neighbours.even_odd):
        cached.cache_clear()


@pytest.mark.parametrize("name", HMCS)
def test_hmc(name: str, device: torch.device, tmp_path: Path) -> None:
    """A warm-up, the state by way of the disk, the same trajectories from there, and a summary."""
    system, settings = HMCS[name]
    settings = {"integrator": "leapfrog", **settings}
    hmc = small(chains=2, integrator_steps=1, trajectories_per_measurement=1, keep_links=True, **settings)
    state = started(hmc, system, device)
    metrics = hmc.step(state, 0)
    assert all(type(value) is float for value in metrics.values())
    save_tree(tmp_path / "state", state.state_dict())
    again = started(hmc, system, device)
    again.load_state_dict(load_tree(tmp_path / "state"))
    records = [hmc.measure(again, k) for k in range(2)]
    expected = hmc.measure(state, 0)
    assert records[0].keys() == expected.keys()
    for key, value in expected.items():
        assert not isinstance(value, Tensor)
        np.testing.assert_array_equal(records[0][key], value, err_msg=key)
    assert again.links.device == device
    result = hmc.summarise(records)
    assert np.isfinite(result.estimate("plaquette").value)
    assert hmc.ensemble(records)["links"].shape[:2] == (2, 2)


def started(hmc: HMC, system: GaugeSystem, device: torch.device) -> HMCState:
    """The hot start, moved to the device: where its links are, HMC goes on."""
    state = hmc.init(system)
    return dataclasses.replace(state, links=state.links.to(device))


Numbers = dict[str, Tensor]


def group_functions(group: Group, links: Tensor) -> Numbers:
    momenta, gauge = fixed_momenta(group, links), fixed_gauge(group, links)
    drifted = group.drift(links, momenta, 0.3)
    group.check(drifted)
    matrices = group.matrices(links)
    return {
        "drifted": drifted,
        "projected": group.reproject(drifted),
        "matrices": matrices,
        "force": group.force_from_gradient(links, matrices.roll(1, 2)),
        "transformed": group.gauge_transform(links, gauge),
        "gauge": group.gauge_matrices(gauge),
        "plaquette": group.mean_plaquette(links),
    }


def actions(group: Group, links: Tensor) -> Numbers:
    gauge = wilson_action(group, 2.0)
    found = {"gauge": gauge.value(links), "gauge_force": gauge.force(links)}
    for even_odd in (False, True):
        fermions = WilsonFermions(group, KAPPA, even_odd)
        monomials = hasenbusch([0.0, 0.5])
        pseudofermions = PseudofermionAction(fermions, monomials, DenseSolver())
        pseudofermions.refresh(links.cpu(), torch_generator(3, "fields"))
        pseudofermions.fields = tuple(field.to(links.device) for field in pseudofermions.fields)
        terms: dict[str, Action] = {"exact": ExactDeterminantAction(fermions), "pseudofermions": pseudofermions}
        for name, action in terms.items():
            found |= {f"{name}_{even_odd}": action.value(links), f"{name}_force_{even_odd}": action.force(links)}
        solver = ConjugateGradient(1e-12, 1000)
        found[f"solution_{even_odd}"] = solver.solve(fermions.matrix(links), 0.1, pseudofermions.fields[0])
        found[f"condition_{even_odd}"] = condition_numbers(fermions.matrix(links), monomials)
    return found


def molecular_dynamics(group: Group, links: Tensor) -> Numbers:
    action = wilson_action(group, 2.0)
    momenta = fixed_momenta(group, links)
    found = {}
    for name, scheme in SCHEMES.items():
        found[name], found[f"{name}_momenta"] = integrate(links, momenta, action, group, scheme, 0.2, 2)
    return found


def measurements(group: Group, links: Tensor) -> Numbers:
    system = SCHWINGER if group is U1 else COLOURED
    assert group_of(system) is group
    found = observables.gauge_observables(links, system)
    found |= observables.fermion_observables(links, system, correlator=True, condition_numbers=True)
    return {name: torch.as_tensor(value) for name, value in found.items()}


@pytest.mark.parametrize("part", [group_functions, actions, molecular_dynamics, measurements])
@pytest.mark.parametrize("name", GROUPS)
def test_numbers_are_those_of_the_cpu(
    name: str, part: Callable[[Group, Tensor], Numbers], device: torch.device
) -> None:
    """Compiled loops there, plain torch here."""
    group, length = GROUPS[name]
    links = group.random_links(2, length, torch_generator(5, "links"))
    expected = part(group, links)
    found = part(group, links.to(device))
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        if part is not measurements:
            assert found[key].device == device, key
        torch.testing.assert_close(found[key].cpu(), value, rtol=1e-10, atol=1e-10, msg=key)


def test_compiled_loops_stay_on_the_cpu(device: torch.device) -> None:
    field = torch.zeros(1, 1, 16, 2, 1, dtype=torch.complex128)
    assert hopping.compiled(field)
    assert not hopping.compiled(field.to(device))


def test_random_fields_are_made_on_the_device(device: torch.device) -> None:
    for group, length in GROUPS.values():
        generator = torch_generator(5, "links", device=str(device))
        links = group.random_links(2, length, generator)
        momenta = group.random_momenta(links, generator)
        gauge = group.random_gauge(2, length, generator)
        for tensor in (links, momenta, gauge):
            assert tensor.device == device
        assert not torch.equal(links.cpu(), group.random_links(2, length, torch_generator(5, "links")))


def fixed_momenta(group: Group, links: Tensor) -> Tensor:
    """Normal numbers of the CPU, wherever the links are."""
    return group.random_momenta(links.cpu(), torch_generator(3, "momenta")).to(links.device)


def fixed_gauge(group: Group, links: Tensor) -> Tensor:
    return group.random_gauge(len(links), links.shape[2], torch_generator(3, "gauge")).to(links.device)
