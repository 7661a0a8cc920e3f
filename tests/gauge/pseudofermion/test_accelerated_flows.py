"""Pseudofermion flows on a pretend accelerator (see :mod:`tests.pretend`): the numbers of the CPU, and gradients."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from pipeline.gauge import neighbours, su3, u1
from pipeline.gauge.group import Group
from pipeline.gauge.pseudofermion import context, coupling, masks
from pipeline.gauge.pseudofermion.loss import Gradient, reverse_kl
from pipeline.gauge.pseudofermion.spectrum import relative_spectrum
from pipeline.gauge.pseudofermion.target import pseudofermion_target
from pipeline.gauge.systems import Schwinger, SU3TwoD
from tests import pretend
from tests.gauge.pseudofermion.small_flows import MIXED, config, flows, generator, preconditioning


@pytest.fixture
def device() -> Iterator[torch.device]:
    """The pretend one; tables that are cached by device must not outlive it."""
    with pretend.accelerator() as found:
        yield found
    for cached in (
        *(masks.on_device, coupling._unit, context.neighbourhoods),
        *(neighbours.all_sites, neighbours.even_odd),
    ):
        cached.cache_clear()


@pytest.mark.parametrize("group", [u1, su3])
@pytest.mark.parametrize("gradient", ["reparametrised", "path"])
def test_numbers_are_those_of_the_cpu(group: Group, gradient: Gradient, device: torch.device) -> None:
    model, links = flows(group, 2, True, config(partition=MIXED), 2), group.random_links(2, 2, generator("test.links"))
    (flow, _) = model(links)
    base = flow.base(2, generator("test.chi"))
    fields, log_q = flow.push(base)
    model.to(device)
    (bound, _) = model(links.to(device))
    found, found_log_q = bound.push(base.to(device))
    assert found.device == found_log_q.device == device
    torch.testing.assert_close(found.cpu(), fields)
    torch.testing.assert_close(found_log_q.cpu(), log_q)
    torch.testing.assert_close(bound.log_prob(found).cpu(), log_q)
    kind = Schwinger if group is u1 else SU3TwoD
    system = kind(length=2, beta=2.0, kappa=0.1)
    aim = pseudofermion_target(system, preconditioning(hasenbusch=[0.3]), regulated=True)
    draws = torch.Generator(device).manual_seed(1)
    loss, log_ratios = reverse_kl(model, aim, links.to(device), 2, draws, gradient)
    assert log_ratios.device == device
    loss.backward()
    for parameter in model.parameters():
        assert parameter.grad is not None
        assert parameter.grad.device == device
        assert parameter.grad.isfinite().all()
    spectrum = relative_spectrum(bound, aim.fermions.matrix(links.to(device)), aim.monomials[0])
    assert spectrum.device == device
