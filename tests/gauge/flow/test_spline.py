"""Rational-quadratic splines against their own conditions, derivatives and inverses."""

import pytest
import torch
from torch import Tensor

from pipeline.base.numbers.rng import torch_generator
from pipeline.gauge.flow.spline import FLOOR, Spline, check_domain

BINS = 8
GRID = torch.linspace(0.0, 1.0, 201, dtype=torch.float64)


def some(kind: str, scale: float, bins: int = BINS, dtype: torch.dtype = torch.float64) -> Spline:
    """Seven splines with normal parameters of deviation ``scale``."""
    count = 3 * bins + (kind == "interval")
    parameters = scale * torch.randn(count, 7, 1, dtype=dtype, generator=torch_generator(0, kind))
    spline: Spline = getattr(Spline, kind)(parameters)
    return spline


def on_grid(spline: Spline, grid: Tensor) -> Spline:
    """The splines at every point of a grid, (7, n)."""
    return Spline(spline.knots.expand(-1, -1, 7, len(grid)))


@pytest.mark.parametrize("kind", ["interval", "circle"])
@pytest.mark.parametrize("bins", [2, 3, 8])
def test_zeros_make_the_identity(kind: str, bins: int) -> None:
    spline = on_grid(some(kind, 0.0, bins), GRID)
    for moved, log_slope in (spline.forward(GRID.expand(7, -1)), spline.inverse(GRID.expand(7, -1))):
        assert (moved - GRID).abs().max() < 1e-15
        assert log_slope.abs().max() < 1e-14


@pytest.mark.parametrize("kind", ["interval", "circle"])
@pytest.mark.parametrize("scale", [1.0, 5.0, 1000.0])
def test_knots_slopes_and_ends(kind: str, scale: float) -> None:
    """The map takes the knots to each other, with the slopes there, from either side."""
    spline = some(kind, scale)
    assert (spline.x.diff(dim=0).min() > 0.9 * FLOOR) & (spline.y.diff(dim=0).min() > 0.9 * FLOOR)
    assert spline.slopes.min() >= FLOOR
    x, y, slopes = (values[..., 0].T for values in (spline.x, spline.y, spline.slopes))
    wide = on_grid(spline, x[0])
    moved, log_slope = wide.forward(x)
    torch.testing.assert_close(moved, y, rtol=0, atol=1e-13)
    torch.testing.assert_close(log_slope.exp(), slopes, rtol=1e-9, atol=0)
    below = wide.forward((x - 1e-9).clamp(min=0.0))[0]
    assert (below - y).abs().max() < 1e-8 * slopes.max() + 1e-13
    assert torch.equal(moved[:, [0, -1]], torch.tensor([[0.0, 1.0]], dtype=torch.float64).expand(7, 2))
    if kind == "circle":
        torch.testing.assert_close(slopes[:, 0], slopes[:, -1], rtol=1e-14, atol=0)


@pytest.mark.parametrize("kind", ["interval", "circle"])
@pytest.mark.parametrize("scale", [0.3, 1.5, 5.0, 1000.0])
def test_inverse_at_knots_ends_and_between(kind: str, scale: float) -> None:
    """As good as the rounding of y allows, which a slope s makes 1/s times as large: 1e-10 for ordinary splines."""
    spline = some(kind, scale)
    grid = torch.cat([GRID.expand(7, -1), spline.x[..., 0].T], dim=1).sort(dim=1).values
    spline = on_grid(spline, grid[0])
    y, log_slope = spline.forward(grid)
    assert (y.diff(dim=1) >= 0.0).all()
    x, log_back = spline.inverse(y)
    assert ((x - grid).abs() * log_slope.exp().clamp(max=1.0)).max() < 1e-14
    if scale < 2.0:
        assert (x - grid).abs().max() < 1e-10
        assert (log_slope + log_back).abs().max() < 1e-10


@pytest.mark.parametrize("kind", ["interval", "circle"])
@pytest.mark.parametrize("direction", ["forward", "inverse"])
def test_slope_is_the_derivative(kind: str, direction: str) -> None:
    grid = torch.rand(7, 50, dtype=torch.float64, generator=torch_generator(0, "points")).requires_grad_()
    moved, log_slope = getattr(on_grid(some(kind, 2.0), grid[0]), direction)(grid)
    (slope,) = torch.autograd.grad(moved.sum(), grid)
    torch.testing.assert_close(slope.log(), log_slope, rtol=0, atol=1e-9)


def test_gradients_of_parameters() -> None:
    parameters = torch.randn(3 * BINS, 3, dtype=torch.float64, generator=torch_generator(0, "p")).requires_grad_()
    value = torch.rand(3, dtype=torch.float64, generator=torch_generator(0, "v")).requires_grad_()
    for direction in ("forward", "inverse"):
        assert torch.autograd.gradcheck(lambda p, v, d=direction: getattr(Spline.circle(p), d)(v), (parameters, value))


def test_single_precision() -> None:
    grid = GRID.float()
    spline = on_grid(some("circle", 1.0, dtype=torch.float32), grid)
    y, log_slope = spline.forward(grid.expand(7, -1))
    assert y.dtype == torch.float32
    assert y.min() >= 0.0
    assert y.max() <= 1.0
    assert (spline.inverse(y)[0] - grid).abs().max() < 1e-4
    assert log_slope.isfinite().all()


@pytest.mark.parametrize("value", [-1e-9, 1.0 + 1e-9, 7.0, float("inf")])
def test_values_outside_of_the_domain(value: float) -> None:
    values = torch.tensor([0.5, value], dtype=torch.float64)
    for call in (check_domain, Spline.circle(torch.zeros(6, 2)).forward, Spline.circle(torch.zeros(6, 2)).inverse):
        with pytest.raises(ValueError, match=r"a spline maps \[0, 1\]; .* is outside"):
            call(values)


def test_nan_stays_nan() -> None:
    """So that the loop's own guard finds it."""
    moved, _ = Spline.circle(torch.zeros(6, 1)).forward(torch.tensor([float("nan")]))
    assert moved.isnan().all()
