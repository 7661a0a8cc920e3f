"""Links, gauge symmetry, charge, action and force of compact U(1)."""

import math
from typing import Any

import pytest
import torch

from pipeline.base.errors import ConfigError
from pipeline.base.numbers import rng
from pipeline.gauge import u1
from pipeline.gauge.action import U1WilsonAction
from pipeline.gauge.systems import U1PureGauge


@pytest.fixture(params=[2, 3, 6])
def links(request: pytest.FixtureRequest) -> torch.Tensor:
    return u1.random_links(5, request.param, rng.torch_generator(3, "test.links"))


def test_hot_links_fill_the_circle() -> None:
    links = u1.random_links(64, 8, rng.torch_generator(3, "test.links"))
    assert links.dtype == torch.float64
    assert links.shape == (64, 2, 8, 8)
    assert links.min() >= -math.pi
    assert links.max() < math.pi
    assert links.var().item() == pytest.approx(math.pi**2 / 3, rel=0.05)


def test_one_link_turns_its_two_plaquettes_in_opposite_senses() -> None:
    links = torch.zeros(1, 2, 4, 4, dtype=torch.float64)
    links[0, 0, 1, 2] = 0.3
    expected = torch.zeros(4, 4, dtype=torch.float64)
    expected[1, 2], expected[1, 1] = 0.3, -0.3
    assert torch.equal(u1.plaquette_angles(links)[0], expected)

    links = torch.zeros(1, 2, 4, 4, dtype=torch.float64)
    links[0, 1, 1, 2] = 0.3
    expected = torch.zeros(4, 4, dtype=torch.float64)
    expected[1, 2], expected[0, 2] = -0.3, 0.3
    assert torch.equal(u1.plaquette_angles(links)[0], expected)


def test_gauge_transformations_change_links_but_nothing_physical(links: torch.Tensor) -> None:
    alpha = 6.0 * torch.rand(links[:, 0].shape, dtype=torch.float64, generator=rng.torch_generator(3, "test.alpha"))
    transformed = u1.gauge_transform(links, alpha)
    action = U1WilsonAction(2.0)
    assert (transformed - links).abs().max() > 1.0
    torch.testing.assert_close(u1.plaquette_angles(transformed), u1.plaquette_angles(links), atol=1e-13, rtol=0)
    torch.testing.assert_close(action.value(transformed), action.value(links), atol=1e-12, rtol=0)
    torch.testing.assert_close(action.force(transformed), action.force(links), atol=1e-12, rtol=0)
    torch.testing.assert_close(u1.topological_charge(transformed), u1.topological_charge(links), atol=1e-12, rtol=0)


def test_gauge_transformations_act_as_a_group_on_the_links(links: torch.Tensor) -> None:
    """The transport e^{iθ} leads from x to x + μ: a pure gauge α(x) - α(x+μ) is the transform of trivial links."""
    alpha = torch.rand(links[:, 0].shape, dtype=torch.float64, generator=rng.torch_generator(3, "test.alpha"))
    pure_gauge = u1.gauge_transform(torch.zeros_like(links), alpha)
    assert pure_gauge[2, 1, 1, 0].item() == pytest.approx((alpha[2, 1, 0] - alpha[2, 1, 1]).item(), abs=1e-15)
    assert pure_gauge[2, 0, 0, 1].item() == pytest.approx((alpha[2, 0, 1] - alpha[2, 1, 1]).item(), abs=1e-15)


def test_charge_is_an_integer_that_varies(links: torch.Tensor) -> None:
    charge = u1.topological_charge(u1.random_links(200, links.shape[-1], rng.torch_generator(4, "test.links")))
    assert (charge - charge.round()).abs().max() < 1e-12
    assert len(charge.round().unique()) >= 3


@pytest.mark.parametrize("charge", [-2, 1, 3])
def test_uniform_flux_has_its_charge(charge: int) -> None:
    """θ_1 = flux * x_0 with a transition function on the last column: θ_P = 2π charge / V everywhere."""
    length = 5
    flux = 2.0 * math.pi * charge / length**2
    links = torch.zeros(1, 2, length, length, dtype=torch.float64)
    links[0, 1] = flux * torch.arange(length, dtype=torch.float64).unsqueeze(1)
    links[0, 0, -1] = -flux * length * torch.arange(length, dtype=torch.float64)
    assert u1.topological_charge(links).item() == pytest.approx(charge, abs=1e-12)
    assert u1.mean_plaquette(links).item() == pytest.approx(math.cos(flux), abs=1e-12)
    assert U1WilsonAction(2.0).value(links).item() == pytest.approx(-2.0 * length**2 * math.cos(flux), abs=1e-10)


def test_force_is_minus_the_gradient_by_finite_differences(links: torch.Tensor) -> None:
    action, step = U1WilsonAction(2.3), 1e-5
    numerical = torch.empty_like(links)
    for index in range(links[0].numel()):
        shift = torch.zeros_like(links).flatten(1)
        shift[:, index] = step
        shift = shift.view_as(links)
        numerical.flatten(1)[:, index] = -(action.value(links + shift) - action.value(links - shift)) / (2 * step)
    assert numerical.abs().max() > 1.0
    torch.testing.assert_close(action.force(links), numerical, atol=1e-6, rtol=0)


@pytest.mark.parametrize("shape", [(2, 4, 4), (1, 3, 4, 4), (1, 2, 4, 6)])
def test_links_of_a_wrong_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="links must have shape"):
        U1WilsonAction(1.0).force(torch.zeros(shape, dtype=torch.float64))


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("length", {"length": 1, "beta": 2.0}),
        ("beta", {"length": 4, "beta": -1.0}),
        ("beta", {"length": 4, "beta": math.nan}),
        ("kind", {"length": 4, "beta": 2.0, "kind": "su3"}),
    ],
)
def test_a_bad_system_names_its_key(key: str, values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as refusal:
        U1PureGauge(**values)
    assert refusal.value.key == key


def test_size_counts_sites() -> None:
    assert U1PureGauge(length=6, beta=2.0).size == 36
