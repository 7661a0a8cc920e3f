"""Periodic convolutions by plane waves, against torch's own with circular padding and Fourier transforms of numpy."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from pipeline.base.numbers.rng import torch_generator
from pipeline.gauge import fourier, fourier_loops
from pipeline.gauge.waves import Waves

TOLERANCES = {torch.float64: 1e-12, torch.float32: 1e-4}


def inputs(length: int, dtype: torch.dtype, batch: int = 8) -> tuple[Tensor, Tensor]:
    """A field of three channels and weights with a bias for five."""
    generator = torch_generator(0, "test.waves", length)
    shapes = ((3, length**2, batch), (5, 28))
    field, weight = (torch.randn(shape, dtype=dtype, generator=generator) for shape in shapes)
    return field.requires_grad_(), weight.requires_grad_()


def by_padding(field: Tensor, weight: Tensor, dilation: int) -> Tensor:
    length = math.isqrt(field.shape[1])
    images = field.unflatten(1, (length, length)).permute(3, 0, 1, 2)
    padded = functional.pad(images, (dilation,) * 4, mode="circular")
    kernels = weight[:, :-1].unflatten(1, (-1, 3, 3))
    return functional.conv2d(padded, kernels, weight[:, -1], dilation=dilation).permute(1, 2, 3, 0).flatten(1, 2)


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize(("length", "dilation", "batch"), [(4, 1, 8), (4, 3, 24), (8, 1, 16), (8, 2, 8), (12, 3, 8)])
def test_convolutions_and_their_gradients(dtype: torch.dtype, length: int, dilation: int, batch: int) -> None:
    both = inputs(length, dtype, batch)
    expected = by_padding(*both, dilation)
    found = fourier.convolve(fourier.analyse(both[0]), both[1], 3, dilation)
    tolerance = TOLERANCES[dtype]
    torch.testing.assert_close(found, expected, atol=tolerance, rtol=tolerance)
    output = torch.randn(expected.shape, dtype=dtype, generator=torch_generator(0, "output"))
    for one, other in zip(*(torch.autograd.grad(x, both, output) for x in (found, expected)), strict=True):
        torch.testing.assert_close(one, other, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("dtype", TOLERANCES)
def test_hyperbolic_tangents_pass_gradients_of_their_arguments(dtype: torch.dtype) -> None:
    field, weight = inputs(4, dtype)
    found = fourier.convolve(fourier.analyse(field), weight, 3, squashed=True)
    plain = by_padding(field, weight, 1)
    assert plain.abs().max() > 8.0
    torch.testing.assert_close(found, plain.tanh(), atol=TOLERANCES[dtype], rtol=0)
    (one,), (other,) = (torch.autograd.grad(x.sum(), weight) for x in (found, plain))
    torch.testing.assert_close(one, other, atol=TOLERANCES[dtype], rtol=TOLERANCES[dtype])


def test_hyperbolic_tangents_in_single_precision() -> None:
    """Within a few roundings for all arguments; what is no number stays none."""
    x = torch.linspace(-20.0, 20.0, 16 * 8 * 999).view(999, 16, 8)
    waves = Waves.of(4, torch.float32)
    found = fourier_loops.synthesise(torch.zeros(8, 2, 999, 8), waves, x[:, 0, 0], True)
    exact = x[:, :1, :1].double().tanh().expand(found.shape)
    torch.testing.assert_close(found.double(), exact, atol=4e-7, rtol=4e-7)
    ends = torch.tensor([math.nan, math.inf, -math.inf, 1e-30])
    found = fourier_loops.synthesise(torch.zeros(8, 2, 4, 8), waves, ends, True)[:, 0, 0]
    assert found[0].isnan()
    assert found[1:3].tolist() == pytest.approx([1.0, -1.0], abs=4e-7)
    assert found[3].item() == pytest.approx(1e-30, rel=1e-6)


@pytest.mark.parametrize("length", [4, 8, 12])
def test_waves_are_those_of_their_momenta(length: int) -> None:
    """Power at each momentum as numpy has it; orthonormal, there and back."""
    field = torch.randn(1, length**2, 8, dtype=torch.float64, generator=torch_generator(0, "test.power"))
    spectrum = fourier.analyse(field)[:, :, 0]
    waves = Waves.of(length, torch.float64)
    transform = np.fft.fft2(field[0].numpy().reshape(length, length, 8), axes=(0, 1)) / length
    seen: set[tuple[int, int]] = set()
    for pair, momenta in zip(spectrum, waves.momenta, strict=True):
        powers = [pair.square().sum(dim=0)] if len(momenta) == 1 else list(pair.square())
        for power, (m, n) in zip(powers, momenta, strict=True):
            both = {(m % length, n % length), (-m % length, -n % length)}
            assert len(both) == 3 - len(momenta)
            assert not both & seen
            seen |= both
            np.testing.assert_allclose(power, sum(np.abs(transform[k]) ** 2 for k in both), rtol=1e-12)
    assert len(seen) == length**2
    back = fourier_loops.synthesise(fourier.analyse(field), waves, None, False)
    torch.testing.assert_close(back, field, atol=1e-14, rtol=0)


@pytest.mark.parametrize("rows", [1, 9])
def test_results_do_not_depend_on_the_number_of_threads(rows: int) -> None:
    field = torch.randn(rows, 16, 8, generator=torch_generator(0, "test.threads"))
    found = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        try:
            spectrum = fourier_loops.analyse(field, Waves.of(4, torch.float32))
            found.append((spectrum, fourier_loops.synthesise(spectrum, Waves.of(4, torch.float32), None, True)))
        finally:
            torch.set_num_threads(1)
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])


def test_gradients_against_finite_differences() -> None:
    field, weight = inputs(4, torch.float64)

    def act(f: Tensor, w: Tensor) -> Tensor:
        return fourier.convolve(fourier.analyse(f), w, 3, 2)

    assert torch.autograd.gradcheck(act, (field, weight), fast_mode=True)


@pytest.mark.parametrize(
    ("channels", "length", "batch", "kernel", "expected"),
    [(16, 8, 128, 3, True), (16, 8, 12, 3, False), (16, 6, 128, 3, False), (16, 8, 128, 1, False), (1, 8, 8, 3, False)],
)
def test_waves_where_they_are_worthwhile(channels: int, length: int, batch: int, kernel: int, expected: bool) -> None:
    """Whole vectors, lattices of the loops, and kernels and channels that spare something."""
    field = torch.zeros(channels, length**2, batch)
    assert fourier.worthwhile(field, 32, kernel) == expected
    assert not fourier.worthwhile(field.to("meta"), 32, kernel)
