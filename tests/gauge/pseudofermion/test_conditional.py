"""Conditional flows against the dense matrices that they stand for, their symmetries and their inverses."""

import math

import numpy as np
import pytest
import torch

from pipeline.gauge import su3, u1
from pipeline.gauge.group import Group
from pipeline.gauge.pseudofermion.context import Context, SharedContext, context_inputs, plaquette_traces
from pipeline.gauge.pseudofermion.masks import field_sites
from pipeline.gauge.pseudofermion.schema import ConditionalFlowConfig
from pipeline.gauge.pseudofermion.spectrum import dense_map
from tests.gauge.pseudofermion.small_flows import MIXED, config, flows, generator, rotate

CASES = [
    pytest.param(group, even_odd, config(partition=partition), id=f"{group.name}-{even_odd}-{'-'.join(partition)}")
    for group in (u1, su3)
    for even_odd, partition in [(False, ["spatial"]), (False, MIXED), (True, ["spatial"]), (True, ["columns", "spin"])]
]
cases = pytest.mark.parametrize(("group", "even_odd", "settings"), CASES)


def hot(group: Group, length: int = 4, batch: int = 2) -> torch.Tensor:
    return group.random_links(batch, length, generator("test.links"))


@cases
def test_the_dense_matrix_tells_everything(group: Group, even_odd: bool, settings: ConditionalFlowConfig) -> None:
    """Basis vectors through the map give F: draws, log J = log|det F|² and the density of a Gaussian follow."""
    (flow,) = flows(group, 4, even_odd, settings)(hot(group))
    base = flow.base(3, generator("test.chi"))
    fields, log_q = flow.push(base)
    assert fields.dtype == torch.complex128
    assert log_q.dtype == torch.float64
    dense = dense_map(flow)
    expected = (dense @ base.flatten(2).mT).mT.reshape(base.shape)
    torch.testing.assert_close(fields, expected, atol=1e-11, rtol=0)
    torch.testing.assert_close(flow.log_jacobian, 2.0 * torch.linalg.slogdet(dense)[1], atol=1e-10, rtol=0)
    covariance, phi = dense @ dense.mH, fields.flatten(2).mT
    quadratic = (phi.conj() * torch.linalg.solve(covariance, phi)).sum(dim=1).real
    gaussian = -quadratic - torch.linalg.slogdet(math.pi * covariance)[1][:, None]
    torch.testing.assert_close(log_q, gaussian, atol=1e-9, rtol=0)
    torch.testing.assert_close(flow.log_prob(fields), gaussian, atol=1e-9, rtol=0)
    assert flow.log_jacobian.abs().min() > 0.01


@cases
def test_inverse_of_forward(group: Group, even_odd: bool, settings: ConditionalFlowConfig) -> None:
    (flow,) = flows(group, 4, even_odd, settings)(hot(group))
    base = flow.base(3, generator("test.chi"))
    fields, _ = flow.push(base)
    assert (fields - base).abs().max() > 0.1
    torch.testing.assert_close(flow.pull(fields), base, atol=1e-10, rtol=0)


@cases
def test_every_layer_is_gauge_covariant(group: Group, even_odd: bool, settings: ConditionalFlowConfig) -> None:
    """With all sites turned at random, those on both sides of the antiperiodic boundary too; an odd and an even L."""
    for length in (4,) if even_odd else (3, 4):
        model, links = flows(group, length, even_odd, settings), hot(group, length)
        gauge = group.random_gauge(2, length, generator("test.gauge"))
        (flow,), (turned,) = model(links), model(group.gauge_transform(links, gauge))
        everywhere = field_sites(length, False)
        omega = group.gauge_matrices(gauge).flatten(1, 2)
        torch.testing.assert_close(turned.log_jacobian, flow.log_jacobian, atol=1e-10, rtol=0)
        planes = torch.randn(
            2, 2, group.n_colors, 2, length**2, 2, dtype=torch.float64, generator=generator("test.field")
        )

        def turn(x: torch.Tensor, omega: torch.Tensor = omega) -> torch.Tensor:
            result = torch.einsum("bxij,sjnxb->sinxb", omega, torch.complex(x[0], x[1]))
            return torch.stack([result.real, result.imag])

        for one, other in zip(flow.couplings, turned.couplings, strict=True):
            torch.testing.assert_close(other.forward(turn(planes)), turn(one.forward(planes)), atol=1e-10, rtol=0)
            torch.testing.assert_close(other.inverse(turn(planes)), turn(one.inverse(planes)), atol=1e-10, rtol=1e-10)
        base = flow.base(2, generator("test.chi"))
        fields, log_q = flow.push(base)
        also, also_log_q = turned.push(rotate(group, gauge, base, flow.sites))
        torch.testing.assert_close(also, rotate(group, gauge, fields, flow.sites), atol=1e-10, rtol=0)
        torch.testing.assert_close(also_log_q, log_q, atol=1e-10, rtol=0)
        assert len(everywhere) == length**2


@cases
def test_every_component_reaches_every_other(group: Group, even_odd: bool, settings: ConditionalFlowConfig) -> None:
    """Two cycles of masks connect all of a 4 × 4 lattice: no entry of F vanishes by construction, spins included."""
    settings = config(layers=8, partition=list(settings.partition))
    (flow,) = flows(group, 4, even_odd, settings)(hot(group, batch=1))
    dense = dense_map(flow)[0]
    assert (dense.abs() > 1e-9).double().mean() > 0.999


@pytest.mark.parametrize("even_odd", [False, True])
def test_translations_by_the_period_of_the_constants(even_odd: bool) -> None:
    """By 4 sites in space; in time, links that cross the boundary change sign, which a gauge transformation mends."""
    (flow,) = flows(u1, 8, even_odd, config(layers=2))(hot(u1, 8, 1))
    (moved,) = flows(u1, 8, even_odd, config(layers=2))(hot(u1, 8, 1).roll(4, dims=3))
    x = flow.sites
    image = x // 8 * 8 + (x % 8 + 4) % 8
    order = torch.argsort(image)
    base = flow.base(1, generator("test.chi"))
    fields, log_q = flow.push(base)
    also, also_log_q = moved.push(base[:, :, order])
    torch.testing.assert_close(also, fields[:, :, order], atol=1e-12, rtol=0)
    torch.testing.assert_close(also_log_q, log_q, atol=1e-12, rtol=0)


def test_configurations_and_draws_are_independent() -> None:
    model, links = flows(u1, 4, True), hot(u1, batch=3)
    (flow,), (alone,) = model(links), model(links[1:2])
    base = flow.base(4, generator("test.chi"))
    fields, log_q = flow.push(base)
    one, one_log_q = alone.push(base[1:2, 2:3])
    torch.testing.assert_close(one, fields[1:2, 2:3], atol=1e-13, rtol=0)
    torch.testing.assert_close(one_log_q, log_q[1:2, 2:3], atol=1e-12, rtol=0)


def test_context_is_computed_once_for_all_monomials_and_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    forward = SharedContext.forward

    def counted(shared: SharedContext, links: torch.Tensor, frozen: bool = False) -> Context:
        calls.append(links)
        return forward(shared, links, frozen)

    monkeypatch.setattr(SharedContext, "forward", counted)
    model = flows(u1, 4, True, monomials=3)
    fields, log_q = model.sample_with_log_prob(hot(u1), 5, generator("test.chi"))
    assert len(calls) == 1
    assert [each.shape for each in fields] == [(2, 5, 8, 2, 1)] * 3
    assert log_q.shape == (3, 2, 5)
    torch.testing.assert_close(model.log_prob(fields, hot(u1)), log_q, atol=1e-10, rtol=0)
    assert (fields[0] - fields[1]).abs().max() > 0.1


@pytest.mark.parametrize("group", [u1, su3])
def test_hidden_channels_are_a_periodic_convolution(group: Group) -> None:
    links = hot(group)
    shared = flows(group, 4, True).shared
    weight, bias = shared.convolution.weight, shared.convolution.bias
    traces = plaquette_traces(group.matrices(links))
    mean = traces.real.mean(dim=(1, 2)) / group.n_colors
    torch.testing.assert_close(mean, group.mean_plaquette(links), atol=1e-14, rtol=0)
    i = torch.arange(4, dtype=torch.float64)
    constants = torch.stack(torch.meshgrid(i, i, indexing="ij"))
    images = torch.cat([torch.stack([traces.real, traces.imag], dim=1), constants.expand(2, -1, -1, -1)], dim=1)
    padded = torch.nn.functional.pad(images, (1, 1, 1, 1), mode="circular")
    hidden = torch.nn.functional.elu(torch.nn.functional.conv2d(padded, weight.unflatten(1, (4, 3, 3)), bias))
    found = shared(links)
    torch.testing.assert_close(found.hidden, hidden.flatten(2).permute(1, 2, 0), atol=1e-13, rtol=0)
    torch.testing.assert_close(found.channels[:-1].unflatten(0, (-1, 9))[:, 4], found.hidden, atol=0, rtol=0)
    inputs = context_inputs(group.matrices(links), torch.float64)
    torch.testing.assert_close(inputs, images.flatten(2).permute(1, 2, 0), atol=0, rtol=0)


def test_initial_weights() -> None:
    """Xavier-normal with the gain of Appendix B.1; biases zero: at zero gain the map is the identity."""
    settings = config(gain=0.5)
    drawn = generator("test.init")
    model = type(flows(u1, 4, True))(settings, u1, 4, True, 1, drawn)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            assert not parameter.any()
        else:
            out, inputs = parameter.shape[0], parameter.shape[1] // 9
            deviation = 0.5 * math.sqrt(2.0 / (9 * (out + inputs)))
            assert parameter.std().item() == pytest.approx(deviation, rel=4 / math.sqrt(2 * parameter.numel()))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    (flow,) = model(hot(u1))
    base = flow.base(2, generator("test.chi"))
    torch.testing.assert_close(flow.push(base)[0], base.to(torch.complex128), atol=0, rtol=0)
    assert base.dtype == torch.complex64
    assert not flow.log_jacobian.any()


def test_single_precision_is_precise_enough() -> None:
    model, links = flows(u1, 4, True), hot(u1)
    (double,) = model(links)
    (single,) = model.float()(links)
    base = single.base(3, generator("test.chi"))
    (one, one_log_q), (two, two_log_q) = single.push(base), double.push(base.to(torch.complex128))
    torch.testing.assert_close(one, two, atol=1e-4, rtol=0)
    torch.testing.assert_close(one_log_q, two_log_q, atol=1e-4, rtol=0)


@pytest.mark.parametrize("group", [u1, su3])
def test_gradients_in_links_against_finite_differences(group: Group) -> None:
    """Joint training differentiates fields and log q in the links: transporters and context functions alike."""
    model, cold = flows(group, 2, True, config(layers=2)), group.identity(1, 2)
    links = group.drift(cold, group.random_momenta(cold, generator("test.links")), 0.7)
    (flow,) = model(links)
    base = flow.base(1, generator("test.chi"))
    weight = flow.base(1, generator("test.weight"))

    def value(at: torch.Tensor) -> torch.Tensor:
        (bound,) = model(at)
        fields, log_q = bound.push(base)
        return log_q.sum() + (weight.conj() * fields).real.sum()

    matrices = links.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(value(matrices), matrices)
    momenta = group.random_momenta(links, generator("test.momenta"))
    step = 1e-5
    slope = (value(group.drift(links, momenta, step)) - value(group.drift(links, momenta, -step))) / (2 * step)
    if group.name == "u1":
        expected = (gradient * momenta).sum()
    else:
        expected = -(group.force_from_gradient(links, gradient) * momenta).sum()
    assert slope.item() == pytest.approx(expected.item(), rel=1e-7)
    assert abs(slope.item()) > 0.1


def test_frozen_parameters_leave_gradients_in_links() -> None:
    model, links = flows(u1, 4, True), hot(u1).requires_grad_()
    (flow,) = model(links, frozen=True)
    _, log_q = flow.push(flow.base(1, generator("test.chi")))
    parameters = list(model.parameters())
    found = torch.autograd.grad(log_q.sum(), [links, *parameters], allow_unused=True)
    assert found[0] is not None
    assert found[0].abs().max() > 1e-3
    assert all(each is None for each in found[1:])


def test_large_fields_and_a_single_site_pair() -> None:
    """L = 2, one configuration, one draw; linear up to enormous fields."""
    (flow,) = flows(su3, 2, True, config(layers=2))(hot(su3, 2, 1))
    base = flow.base(1, generator("test.chi"))
    fields, _ = flow.push(base)
    huge, _ = flow.push(1e100 * base)
    np.testing.assert_allclose(huge.detach().numpy() / 1e100, fields.detach().numpy(), rtol=1e-12)
