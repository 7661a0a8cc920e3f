"""Marginal flows on a pretend accelerator (see :mod:`tests.pretend`): the numbers of the CPU, and gradients."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from pipeline.base.numbers.rng import torch_generator
from pipeline.gauge import neighbours
from pipeline.gauge.flow import masks, periodic
from pipeline.gauge.flow.theory import log_target
from pipeline.gauge.flow.weights import reverse_kl
from pipeline.gauge.systems import GaugeSystem, Schwinger, SU3PureGauge
from tests import pretend
from tests.gauge.flow.small_flows import small


@pytest.fixture
def device() -> Iterator[torch.device]:
    """The pretend one; tables that are cached by device must not outlive it."""
    with pretend.accelerator() as found:
        yield found
    for cached in (masks._moved, periodic._windows, periodic._padding, neighbours.all_sites, neighbours.even_odd):
        cached.cache_clear()


@pytest.mark.parametrize("system", [Schwinger(length=4, beta=2.0, kappa=0.1), SU3PureGauge(length=4, beta=6.0)])
def test_numbers_are_those_of_the_cpu(system: GaugeSystem, device: torch.device) -> None:
    flow = small(system, layers=5)
    links = flow.group.random_links(2, 4, torch_generator(0, "links"))
    moved, log_j = flow(links)
    flow.to(device)
    found, of_device = flow(links.to(device))
    assert found.device == of_device.device == device
    torch.testing.assert_close(found.cpu(), moved)
    torch.testing.assert_close(of_device.cpu(), log_j)
    torch.testing.assert_close(flow.log_prob(found).cpu(), -log_j)
    sample, log_q = flow.sample_with_log_prob(2, torch_generator(0, "z", device=str(device)))
    reverse_kl(log_target(system, sample), log_q).backward()
    for parameter in flow.parameters():
        assert parameter.grad is not None
        assert parameter.grad.device == device
        assert parameter.grad.isfinite().all()
