"""Convolutions on a periodic lattice, against torch's own with circular padding."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from pipeline.base.numbers.rng import torch_generator
from pipeline.gauge import fourier
from pipeline.gauge.flow.conditioner import ACTIVATIONS, ConvConditioner
from pipeline.gauge.flow.masks import mask
from pipeline.gauge.flow.periodic import convolution, convolution_at
from pipeline.gauge.flow.schema import ACTIVATIONS as NAMES


def fields(length: int) -> tuple[Tensor, Tensor, Tensor]:
    """A field (2, L, L, 3), weights for 5 outputs and a bias."""
    generator = torch_generator(0, "fields", length)
    shapes = ((2, length, length, 3), (5, 3, 3, 3), (5,))
    field, weight, bias = (torch.randn(shape, dtype=torch.float64, generator=generator) for shape in shapes)
    return field.requires_grad_(), weight.requires_grad_(), bias.requires_grad_()


def by_padding(field: Tensor, weight: Tensor, bias: Tensor, dilation: int) -> Tensor:
    padded = functional.pad(field.permute(0, 3, 1, 2), (dilation,) * 4, mode="circular")
    return functional.conv2d(padded, weight, bias, dilation=dilation).permute(0, 2, 3, 1)


@pytest.mark.parametrize(("length", "dilation"), [(4, 1), (4, 3), (4, 4), (8, 2), (5, 3)])
def test_convolutions_and_their_gradients(length: int, dilation: int) -> None:
    inputs = fields(length)
    expected = by_padding(*inputs, dilation)
    output = torch.randn(expected.shape, dtype=torch.float64, generator=torch_generator(0, "output"))
    everywhere = convolution(*inputs, dilation)
    torch.testing.assert_close(everywhere, expected)
    gradients = torch.autograd.grad(expected, inputs, output)
    torch.testing.assert_close(torch.autograd.grad(everywhere, inputs, output), gradients)


@pytest.mark.parametrize("dilation", [1, 2, 3])
@pytest.mark.parametrize("sites", [[5], [15, 0, 6], "mask"])
def test_convolutions_at_some_sites(dilation: int, sites: list[int] | str) -> None:
    inputs = fields(4)
    where = mask(4, 1).sites if isinstance(sites, str) else torch.tensor(sites)
    expected = by_padding(*inputs, dilation).flatten(1, 2)[:, where].permute(2, 0, 1)
    output = torch.randn(expected.shape, dtype=torch.float64, generator=torch_generator(0, "output"))
    found = convolution_at(*inputs, dilation, where)
    torch.testing.assert_close(found, expected)
    gradients = torch.autograd.grad(expected, inputs, output)
    torch.testing.assert_close(torch.autograd.grad(found, inputs, output), gradients)


def test_networks_commute_with_translations_and_see_the_features() -> None:
    torch.manual_seed(0)
    network = ConvConditioner(4, [6, 6], 3, [1, 2, 3], "elu", 0.5)
    features = torch.randn(2, 8, 8, 4, generator=torch_generator(0, "features"))
    everywhere = torch.arange(64)
    found = network(features, everywhere).unflatten(2, (8, 8))
    moved = network(features.roll((3, 1), dims=(1, 2)), everywhere).unflatten(2, (8, 8))
    torch.testing.assert_close(moved, found.roll((3, 1), dims=(2, 3)))
    assert found.std() > 0.01
    assert network(features.double(), everywhere).dtype == torch.float32


def test_plane_waves_are_another_way_of_the_same_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Outputs and gradients."""
    torch.manual_seed(0)
    network = ConvConditioner(4, [6, 6], 3, [1, 2, 3], "leaky_relu", 0.5).double()
    features = torch.randn(8, 4, 4, 4, dtype=torch.float64, generator=torch_generator(0, "features")).requires_grad_()
    output = torch.randn(3, 8, 2, dtype=torch.float64, generator=torch_generator(0, "output"))
    found = []
    for waves in (True, False):
        monkeypatch.setattr(fourier, "worthwhile", lambda *_, waves=waves: waves)
        result = network(features, torch.tensor([3, 10]))
        found.append((result, *torch.autograd.grad(result, (features, *network.parameters()), output)))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, atol=1e-13, rtol=0)


def test_without_gain_the_features_do_not_matter() -> None:
    network = ConvConditioner(4, [6], 3, [1, 1], "leaky_relu", 0.0)
    one, other = (network(torch.full((1, 4, 4, 4), value), torch.tensor([3])) for value in (0.0, 1.0))
    assert torch.equal(one, other)


def test_activations_are_those_that_settings_name() -> None:
    assert tuple(ACTIVATIONS) == NAMES
