"""Marginal flows: equivariance, inverses, Jacobians, and exact means and partition functions from their weights."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.base.errors import ConfigError
from pipeline.base.numbers.rng import torch_generator
from pipeline.base.numbers.statistics import effective_sample_size, weighted_mean
from pipeline.gauge import exact, su3, u1
from pipeline.gauge.action import SumOfActions, wilson_action
from pipeline.gauge.fermions.actions import ExactDeterminantAction, WilsonFermions
from pipeline.gauge.flow.coupling import Coupling
from pipeline.gauge.flow.loops import loops_of
from pipeline.gauge.flow.marginal import MarginalFlow, build_marginal_flow
from pipeline.gauge.flow.masks import CYCLE
from pipeline.gauge.flow.theory import log_target
from pipeline.gauge.flow.weights import log_partition, reverse_kl
from pipeline.gauge.group import Group
from pipeline.gauge.systems import GaugeSystem, Schwinger, SU3PureGauge, SU3TwoD, U1PureGauge
from tests.gauge.flow.small_flows import settings, small

SYSTEMS: dict[str, GaugeSystem] = {"u1": U1PureGauge(length=4, beta=2.0), "su3": SU3PureGauge(length=4, beta=6.0)}
PLAQUETTE: dict[str, Callable[[int, float], float]] = {"u1": exact.u1_plaquette, "su3": exact.su3_plaquette}
PARTITION: dict[str, Callable[[int, float], float]] = {"u1": exact.u1_log_partition, "su3": exact.su3_log_partition}


def distance(group: Group, one: Tensor, other: Tensor) -> float:
    """Largest difference of links as group elements."""
    return float((group.matrices(one) - group.matrices(other)).detach().abs().max())


def layers(flow: MarginalFlow) -> list[Coupling]:
    return [layer for layer in flow.couplings if isinstance(layer, Coupling)]


@pytest.mark.parametrize("length", [4, 8])
@pytest.mark.parametrize("name", SYSTEMS)
def test_every_layer_is_equivariant_and_invertible(name: str, length: int) -> None:
    flow = small(type(SYSTEMS[name])(length=length, beta=1.0), layers=CYCLE)
    links = flow.group.random_links(3, length, torch_generator(0, "links"))
    gauge = flow.group.random_gauge(3, length, torch_generator(0, "gauge"))
    transformed = flow.group.gauge_transform(links, gauge)
    for layer in layers(flow):
        moved, log_j = layer(links)
        of_transformed, same = layer(transformed)
        assert distance(flow.group, of_transformed, flow.group.gauge_transform(moved, gauge)) < 1e-10
        assert (same - log_j).abs().max() < 1e-10
        back, log_back = layer.inverse(moved)
        assert distance(flow.group, back, links) < 1e-10
        assert (log_back + log_j).abs().max() < 1e-10
        changed = (flow.group.matrices(moved) - flow.group.matrices(links)).abs().amax(dim=(0, -1, -2)) > 1e-6
        assert int(changed.sum()) == len(layer.mask.sites)
        assert changed[layer.mask.direction].flatten()[layer.mask.sites].all()
        flow.group.check(moved)


@pytest.mark.parametrize("name", SYSTEMS)
def test_features_do_not_depend_on_active_links(name: str) -> None:
    flow = small(SYSTEMS[name], layers=CYCLE)
    links = flow.group.random_links(2, 4, torch_generator(0, "links"))
    others = flow.group.random_links(2, 4, torch_generator(0, "others"))
    for layer in layers(flow):
        where = layer.mask.sites + layer.mask.direction * 16
        mixed = links.flatten(1, 3).index_copy(1, where, others.flatten(1, 3)[:, where]).view(links.shape)
        loops, features = loops_of(flow.group).observe(links, layer.mask)
        changed, same = loops_of(flow.group).observe(mixed, layer.mask)
        assert (features - same).abs().max() < 1e-15
        assert distance(flow.group, loops, changed) > 1e-6
        # Every other link is seen by at least one feature.
        frozen = torch.ones(32, dtype=torch.bool).index_fill(0, where, False).nonzero()[:, 0]
        for link in frozen:
            one = links.flatten(1, 3).index_copy(1, link[None], others.flatten(1, 3)[:, link[None]]).view(links.shape)
            assert (loops_of(flow.group).observe(one, layer.mask)[1] - features).abs().max() > 1e-6


def test_u1_jacobian_of_all_links() -> None:
    flow = small(SYSTEMS["u1"], layers=3)
    links = flow.group.random_links(1, 4, torch_generator(0, "links"))
    matrix = torch.autograd.functional.jacobian(lambda x: flow(x)[0], links).reshape(32, 32)
    expected = torch.linalg.slogdet(matrix)
    assert expected.sign == 1
    assert abs(float(flow(links)[1].detach() - expected.logabsdet)) < 1e-10
    assert abs(float(expected.logabsdet)) > 0.1


@pytest.mark.parametrize("layer", [2, 6])
def test_su3_jacobian_of_all_links(layer: int) -> None:
    """det ∂ω'/∂ω of e^{iω} U -> e^{iω'} U', all 2 · 16 · 8 generators, by differences: no autograd, no eigenvalues."""
    coupling = layers(small(SYSTEMS["su3"], layers=CYCLE))[layer]
    links = su3.random_links(1, 4, torch_generator(0, "links"))
    moved, log_j = coupling(links)
    step = 1e-4
    directions = torch.eye(256, dtype=torch.float64).view(256, 2, 4, 4, 8)
    with torch.no_grad():
        ahead, behind = (coupling(su3.drift(links, directions, sign * step))[0] for sign in (1.0, -1.0))
    matrix = su3.coefficients_of(-1j * (ahead - behind) @ moved.detach().mH / (2.0 * step)).reshape(256, 256)
    assert abs(float(log_j.detach() - torch.linalg.slogdet(matrix).logabsdet)) < 1e-5
    assert abs(float(log_j.detach())) > 0.02


@pytest.mark.parametrize("name", SYSTEMS)
def test_density_of_a_sample_by_the_inverse_flow(name: str) -> None:
    flow = small(SYSTEMS[name], layers=CYCLE)
    links, log_q = flow.sample_with_log_prob(5, torch_generator(0, "z"))
    assert log_q.dtype == torch.float64
    assert (flow.log_prob(links) - log_q).abs().max() < 1e-10
    again, _ = flow.sample_with_log_prob(5, torch_generator(0, "z"))
    assert torch.equal(links, again)
    flow.float()
    links, log_q = flow.sample_with_log_prob(5, torch_generator(0, "z"))
    assert log_q.dtype == torch.float64
    assert (flow.log_prob(links) - log_q).abs().max() < 1e-4


@pytest.mark.parametrize("name", SYSTEMS)
def test_no_layers_leave_the_haar_measure(name: str) -> None:
    flow = small(SYSTEMS[name], layers=0)
    links, log_q = flow.sample_with_log_prob(1, torch_generator(0, "z"))
    assert torch.equal(log_q, torch.zeros(1, dtype=torch.float64))
    assert torch.equal(links, flow.group.random_links(1, 4, torch_generator(0, "z")))


def weighted(flow: MarginalFlow, system: GaugeSystem, batches: int) -> tuple[np.ndarray, np.ndarray]:
    """log w and mean plaquettes of ``batches`` times 500 samples."""
    with torch.no_grad():
        drawn = [flow.sample_with_log_prob(500, torch_generator(0, "fresh", k)) for k in range(batches)]
        log_w = torch.cat([log_target(system, links) - log_q for links, log_q in drawn])
        return log_w.numpy(), torch.cat([flow.group.mean_plaquette(links) for links, _ in drawn]).numpy()


@pytest.mark.parametrize(
    ("name", "length", "beta"), [("u1", 4, 0.4), ("u1", 8, 0.2), ("su3", 4, 0.8), ("u1", 4, 0.0), ("su3", 4, 0.0)]
)
def test_weights_of_an_untrained_flow_are_exact(name: str, length: int, beta: float) -> None:
    system = type(SYSTEMS[name])(length=length, beta=beta)
    log_w, plaquette = weighted(small(system, layers=2, gain=0.3), system, 4)
    mean, partition = weighted_mean(plaquette, log_w), log_partition(log_w)
    assert 0.05 < effective_sample_size(log_w) < 0.999
    assert mean.sigma is not None
    assert abs(mean.value - PLAQUETTE[name](length, beta)) < 4.0 * mean.sigma
    assert partition.sigma is not None
    assert abs(partition.value - PARTITION[name](length, beta)) < 4.0 * partition.sigma


@pytest.mark.parametrize(("name", "beta", "steps"), [("u1", 1.0, 30), ("su3", 2.0, 12)])
def test_a_briefly_trained_flow_is_better_and_exact(name: str, beta: float, steps: int) -> None:
    system = type(SYSTEMS[name])(length=4, beta=beta)
    flow = build_marginal_flow(settings(layers=CYCLE, gain=0.3), system, 0)
    before = effective_sample_size(weighted(flow, system, 1)[0])
    optimizer = torch.optim.Adam(flow.parameters(), lr=0.01)
    for k in range(steps):
        links, log_q = flow.sample_with_log_prob(32, torch_generator(0, "train", k))
        optimizer.zero_grad()
        reverse_kl(log_target(system, links), log_q).backward()
        optimizer.step()
    log_w, plaquette = weighted(flow, system, 3)
    assert effective_sample_size(log_w) > max(0.3, 2.0 * before)
    mean, partition = weighted_mean(plaquette, log_w), log_partition(log_w)
    assert mean.sigma is not None
    assert abs(mean.value - PLAQUETTE[name](4, beta)) < 4.0 * mean.sigma
    assert partition.sigma is not None
    assert abs(partition.value - PARTITION[name](4, beta)) < 4.0 * partition.sigma


@pytest.mark.parametrize("name", SYSTEMS)
def test_gradient_of_the_loss_is_that_of_differences(name: str) -> None:
    flow, system = small(SYSTEMS[name], layers=3), SYSTEMS[name]

    def loss() -> Tensor:
        links, log_q = flow.sample_with_log_prob(4, torch_generator(0, "z"))
        return reverse_kl(log_target(system, links), log_q)

    loss().backward()
    direction = [torch.randn(p.shape, dtype=p.dtype, generator=torch_generator(0, "d")) for p in flow.parameters()]
    slope = sum(
        float((p.grad * d).sum()) for p, d in zip(flow.parameters(), direction, strict=True) if p.grad is not None
    )
    ends = []
    with torch.no_grad():
        for shift in (1e-5, -2e-5):
            for parameter, d in zip(flow.parameters(), direction, strict=True):
                parameter.add_(d, alpha=shift)
            ends.append(float(loss()))
    assert abs((ends[0] - ends[1]) / 2e-5 - slope) < 1e-5 * max(1.0, abs(slope))
    assert abs(slope) > 1e-3


def gradient(flow: MarginalFlow, links: Tensor, log_q: Tensor, target: Callable[[Tensor], Tensor]) -> Tensor:
    """Of the loss with respect to all weights, one after the other."""
    parts = torch.autograd.grad(reverse_kl(target(links), log_q), list(flow.parameters()))
    return torch.cat([part.flatten() for part in parts])


@pytest.mark.parametrize("name", SYSTEMS)
def test_path_gradient_is_without_noise_where_the_flow_is_the_target(name: str) -> None:
    flow, target = (small(SYSTEMS[name], layers=3) for _ in range(2))
    links, log_q = flow.sample_with_path_log_prob(4, torch_generator(0, "z"))
    same, expected = flow.sample_with_log_prob(4, torch_generator(0, "z"))
    assert torch.equal(links, same)
    assert torch.equal(log_q, expected)
    assert gradient(flow, links, log_q, target.log_prob).abs().max() < 1e-10
    assert gradient(flow, same, expected, target.log_prob).abs().max() > 1e-3


def test_path_gradient_is_unbiased() -> None:
    """Downhill, both gradients are the same in the mean, within a part of it."""
    flow, system = small(SYSTEMS["u1"]), SYSTEMS["u1"]

    def of(log_prob: Callable[[int, torch.Generator], tuple[Tensor, Tensor]], batch: int, k: int) -> Tensor:
        links, log_q = log_prob(batch, torch_generator(0, "z", k))
        return gradient(flow, links, log_q, lambda x: log_target(system, x))

    downhill = of(flow.sample_with_log_prob, 300, 0)
    downhill /= downhill.norm()
    draws = range(1, 26)
    total = np.array([float(of(flow.sample_with_log_prob, 40, k) @ downhill) for k in draws])
    path = np.array([float(of(flow.sample_with_path_log_prob, 40, k) @ downhill) for k in draws])
    sigma = (total - path).std() / len(draws) ** 0.5
    assert abs((total - path).mean()) < 4.0 * sigma
    assert 0.0 < 8.0 * sigma < total.mean()


@pytest.mark.parametrize(
    "system",
    [
        Schwinger(length=4, beta=2.0, kappa=0.2),
        Schwinger(length=3, beta=0.0, kappa=0.2),
        SU3TwoD(length=2, beta=6.0, kappa=0.2),
    ],
)
def test_target_with_fermions_has_the_value_and_force_of_the_action(system: Schwinger | SU3TwoD) -> None:
    group: Group = u1 if system.group == "u1" else su3
    fermions = WilsonFermions(group, system.kappa, even_odd=False)
    action = SumOfActions((wilson_action(group, system.beta), ExactDeterminantAction(fermions)))
    links = group.random_links(2, system.length, torch_generator(0, "links")).requires_grad_()
    found = log_target(system, links)
    torch.testing.assert_close(found.detach(), -action.value(links.detach()), rtol=1e-10, atol=1e-10)
    (gradient,) = torch.autograd.grad(found.sum(), links)
    force = gradient if group.name == "u1" else group.force_from_gradient(links.detach(), -gradient)
    torch.testing.assert_close(force, action.force(links.detach()), rtol=1e-8, atol=1e-9)


def test_initial_weights_are_those_of_the_seed() -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    flows = [small(SYSTEMS["u1"], seed) for seed in (0, 0, 1)]
    assert torch.equal(torch.rand(1), expected)
    weights = [torch.cat([p.flatten() for p in flow.parameters()]) for flow in flows]
    assert torch.equal(weights[0], weights[1])
    assert (weights[0] - weights[2]).abs().max() > 0.01


def test_links_of_another_lattice_or_group() -> None:
    flow = small(SYSTEMS["u1"])
    with pytest.raises(ValueError, match="4 x 4 sites, not 8"):
        flow.log_prob(u1.random_links(1, 8, torch_generator(0, "links")))
    with pytest.raises(ValueError, match="must have shape"):
        flow.log_prob(su3.random_links(1, 4, torch_generator(0, "links")))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"layers": -1}, "layers=-1"),
        ({"hidden": []}, "hidden=.*one or more"),
        ({"hidden": [8, 0], "dilations": [1, 1, 1]}, "hidden=.*at least 1"),
        ({"dilations": [1]}, "dilations=.*must be 2 numbers, one more than hidden"),
        ({"dilations": [1, 0]}, "dilations=.*at least 1"),
        ({"bins": 1}, "bins=1"),
        ({"bins": 101}, "bins=101"),
        ({"activation": "relu6"}, "activation=relu6"),
        ({"gain": -0.5}, "gain=-0.5"),
    ],
)
def test_settings_that_make_no_flow(changed: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        settings(**changed)


@pytest.mark.parametrize(("length", "near"), [(2, "4"), (6, "4 or 8"), (9, "8 or 12")])
def test_lattices_that_the_masks_do_not_tile(length: int, near: str) -> None:
    with pytest.raises(ConfigError, match=rf"system.length={length}: .* multiple of 4: {near}$"):
        small(U1PureGauge(length=length, beta=2.0))


def test_kernels_larger_than_the_lattice() -> None:
    with pytest.raises(ConfigError, match=r"dilations=.*must not exceed system.length = 4"):
        small(SYSTEMS["u1"], dilations=[1, 5])
