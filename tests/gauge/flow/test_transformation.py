"""Transformations of single loops: U(1) angles and SU(3) matrices."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.base.numbers.rng import torch_generator
from pipeline.gauge import su3, u1
from pipeline.gauge.flow import spectral, spline_loops, transformation
from pipeline.gauge.flow.spectral import SpectralSpline
from pipeline.gauge.flow.transformation import CircularSpline

PI = math.pi


def normal(*shape: int, scale: float = 1.0, purpose: str = "parameters") -> Tensor:
    return scale * torch.randn(*shape, dtype=torch.float64, generator=torch_generator(0, purpose))


def haar(count: int) -> Tensor:
    return su3.random_matrices((count,), torch_generator(1, "haar"))


CIRCLE, SPECTRAL = CircularSpline(8), SpectralSpline(8)


@pytest.mark.parametrize("shift", [0.0, 3.0, 1000.0])
def test_circle_inverse_and_periodicity(shift: float) -> None:
    """At ±π too, wherever between turns the angle comes from, and rotated many times."""
    angle = torch.cat([torch.linspace(-PI, PI, 101, dtype=torch.float64), torch.tensor([0.1, 4.0, -50.0, 50.0 * PI])])
    parameters = normal(CIRCLE.parameters, 1).expand(-1, len(angle)).clone()
    parameters[-1] += shift
    change, log_j = CIRCLE.forward(angle, parameters)
    back, log_back = CIRCLE.inverse(angle + change, parameters)
    assert u1.wrap(change + back).abs().max() < 1e-10
    assert (log_j + log_back).abs().max() < 1e-10
    turned, log_turned = CIRCLE.forward(angle + 6.0 * PI, parameters)
    assert u1.wrap(turned - change).abs().max() < 1e-9
    assert (log_turned - log_j).abs().max() < 1e-9


def test_circle_keeps_all_of_the_measure() -> None:
    """Around the circle the slope is 1 in the mean, and without a jump at ±π."""
    angle = torch.linspace(-PI, PI, 20001, dtype=torch.float64)
    change, log_j = CIRCLE.forward(angle, normal(CIRCLE.parameters, 1).expand(-1, len(angle)))
    assert abs(float(torch.trapezoid(log_j.exp(), angle)) / (2.0 * PI) - 1.0) < 1e-6
    assert abs(float(log_j[0] - log_j[-1])) < 1e-12
    assert u1.wrap(change[0] - change[-1]).abs() < 1e-12


def test_zero_parameters_change_nothing() -> None:
    angle = torch.linspace(-4.0, 4.0, 9, dtype=torch.float64)
    change, log_j = CIRCLE.forward(angle, torch.zeros(CIRCLE.parameters, 9, dtype=torch.float64))
    assert change.abs().max() < 1e-14
    assert log_j.abs().max() < 1e-14
    loops = haar(9)
    multiplier, log_j = SPECTRAL.forward(loops, torch.zeros(SPECTRAL.parameters, 9, dtype=torch.float64))
    assert (multiplier - torch.eye(3)).abs().max() < 1e-12
    assert log_j.abs().max() < 1e-11


def test_eigenphases_are_those_of_a_general_solver() -> None:
    loops = haar(500)
    phase = spectral.eigenphases(torch.einsum("...ii->...", loops))
    expected = np.sort(np.angle(np.linalg.eigvals(loops.numpy())), axis=1)
    found = np.sort(np.angle(np.exp(1j * phase.numpy())), axis=1)
    assert np.abs(found - expected).max() < 1e-10
    assert phase.sum(dim=1).abs().max() < 1e-14
    assert phase.diff(dim=1).min() >= 0.0
    assert (phase[:, 2] - phase[:, 0]).max() <= 2.0 * PI
    # All three sectors of the sum of the principal arguments are there.
    assert len(np.unique(np.round(expected.sum(axis=1) / (2.0 * PI)))) == 3


@pytest.mark.parametrize(
    "phases", [(0.0, 0.0), (2 * PI / 3, 2 * PI / 3), (-2 * PI / 3, -2 * PI / 3), (0.5, 0.5), (PI, 0.0), (1e-4, -3e-4)]
)
def test_degenerate_loops(phases: tuple[float, float]) -> None:
    """Eigenphases to the digits that the trace knows, a unitary change, and no NaN in gradients."""
    three = torch.tensor([*phases, -sum(phases)], dtype=torch.float64)
    loops = torch.diag(torch.polar(torch.ones_like(three), three)).unsqueeze(0).requires_grad_()
    found = spectral.eigenphases(torch.einsum("...ii->...", loops))[0]
    difference = (1j * found).exp().unsqueeze(0) - (1j * three).exp().unsqueeze(1)
    # Rounding of the trace, 1e-16, to the power of 1/2 or, where all three are equal, 1/3.
    assert difference.abs().min(dim=0).values.max() < (
        1e-3 if abs(2.0 * phases[0] + phases[1]) % (2.0 * PI) < 0.01 else 1e-7
    )
    multiplier, log_j = SPECTRAL.forward(loops, normal(SPECTRAL.parameters, 1))
    assert (multiplier.mH @ multiplier - torch.eye(3)).abs().max() < 1e-6
    assert log_j.isfinite().all()
    (gradient,) = torch.autograd.grad(log_j.sum() + multiplier.real.sum(), loops)
    assert gradient.isfinite().all()


def test_derivatives_of_eigenphases_are_those_of_perturbation_theory() -> None:
    """dθ_k = v_k† H v_k for a change e^{iεH} L."""
    loops, direction = haar(20), su3.algebra(normal(20, 8, purpose="direction"))
    step = torch.zeros((), dtype=torch.float64, requires_grad=True)
    moved = loops + 1j * step * direction @ loops
    values, vectors = np.linalg.eig(loops.numpy())
    expected = np.einsum("bik,bij,bjk->bk", vectors.conj(), direction.numpy(), vectors).real
    phase = spectral.eigenphases(torch.einsum("...ii->...", moved))
    for loop in range(20):
        nearest = np.abs(np.exp(1j * phase[loop].detach().numpy())[:, None] - values[loop]).argmin(axis=1)
        for k in range(3):
            (slope,) = torch.autograd.grad(phase[loop, k], step, retain_graph=True)
            assert abs(float(slope) - expected[loop, nearest[k]]) < 1e-9


def test_box_coordinates_cover_the_square() -> None:
    phase = spectral.eigenphases(torch.einsum("...ii->...", haar(1000)))
    w, r = spectral.to_box(phase)
    assert 0.0 <= float(w.min()) < 0.4 < 0.9 < float(w.max()) <= 1.0
    assert 0.0 <= float(r.min()) < 0.1 < 0.9 < float(r.max()) <= 1.0
    assert (spectral.from_box(w, r) - phase).abs().max() < 1e-14


def test_haar_density_in_box_coordinates() -> None:
    """⟨|Tr|²⟩ = 1, ⟨Tr³⟩ = 1 and ⟨Re Tr²⟩ = 0, with the density e^{log_haar} w dw dr."""
    axis = (torch.arange(400, dtype=torch.float64) + 0.5) / 400
    w, r = torch.meshgrid(axis, axis, indexing="ij")
    phase = spectral.from_box(w, r)
    density = spectral.log_haar(phase).exp() * w
    trace = torch.polar(torch.ones_like(phase), phase).sum(dim=-1)
    for function, expected in ((trace.abs().square(), 1.0), ((trace**3).real, 1.0), ((trace**2).real, 0.0)):
        assert abs(float((density * function).sum() / density.sum()) - expected) < 1e-4


def test_function_of_a_matrix() -> None:
    loops, angle = haar(50), normal(50, 3, purpose="angles")
    phase = spectral.eigenphases(torch.einsum("...ii->...", loops))
    values, vectors = np.linalg.eig(loops.numpy())
    nearest = np.abs(np.exp(1j * phase.numpy())[:, None, :] - values[:, :, None]).argmin(axis=2)
    of_values = np.take_along_axis(np.exp(1j * angle.numpy()), nearest, axis=1)
    expected = vectors * of_values[:, None, :] @ np.linalg.inv(vectors)
    assert np.abs(spectral.function_of_matrix(loops, phase, angle).numpy() - expected).max() < 1e-10


@pytest.mark.parametrize("scale", [0.5, 3.0])
def test_spectral_inverse_equivariance_and_group(scale: float) -> None:
    """Splines that are far from ordinary lose digits with their slopes, down to 1e-6, but never the group."""
    loops, parameters = haar(200), normal(SPECTRAL.parameters, 200, scale=scale)
    change, log_j = SPECTRAL.forward(loops, parameters)
    moved = change @ loops
    assert (moved.mH @ moved - torch.eye(3)).abs().max() < 1e-12
    assert (su3.determinant(moved) - 1.0).abs().max() < 1e-12
    omega = su3.random_matrices((200,), torch_generator(2, "omega"))
    turned, log_turned = SPECTRAL.forward(omega @ loops @ omega.mH, parameters)
    assert (turned - omega @ change @ omega.mH).abs().max() < 1e-9
    assert (log_turned - log_j).abs().max() < 1e-7
    if scale < 1.0:
        back, log_back = SPECTRAL.inverse(moved, parameters)
        assert (back @ change - torch.eye(3)).abs().max() < 1e-10
        assert (log_j + log_back).abs().max() < 1e-10


def test_spectral_jacobian_in_the_whole_algebra() -> None:
    """det ∂ω'/∂ω of e^{iω} L -> e^{iω'} L', eight generators each, without a word on eigenvalues."""
    loops, parameters = haar(6), normal(SPECTRAL.parameters, 6)
    change, log_j = SPECTRAL.forward(loops, parameters)
    moved = change @ loops
    step = 1e-5
    columns = []
    for generator in torch.eye(8, dtype=torch.float64):
        ends = [su3.exponential(su3.algebra(sign * step * generator)) @ loops for sign in (1.0, -1.0)]
        images = [SPECTRAL.forward(end, parameters)[0] @ end @ moved.mH for end in ends]
        columns.append(su3.coefficients_of(-1j * (images[0] - images[1]) / (2.0 * step)))
    expected = torch.linalg.slogdet(torch.stack(columns, dim=-1)).logabsdet
    assert (log_j - expected).abs().max() < 1e-5
    assert log_j.abs().max() > 0.1


@pytest.mark.parametrize(("batch", "bins"), [(1, 1), (3, 4), (40, 8)])
def test_compiled_circles_are_those_of_torch(batch: int, bins: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Values and gradients; what is no number stays none, and an angle at the seam is in the first bin."""
    generator = torch_generator(0, "test.compiled")
    loops = 20.0 * torch.rand(batch, 6, dtype=torch.float64, generator=generator) - 10.0
    parameters = 2.0 * torch.randn(3 * bins + 1, batch, 6, dtype=torch.float64, generator=generator)
    parameters[2 * bins, 0, 0] = 25.0
    loops[0, 1] = math.pi
    inputs = loops.requires_grad_(), parameters.requires_grad_()
    weights = torch.randn(2, batch, 6, dtype=torch.float64, generator=generator)
    found = []
    for way in (True, False):
        monkeypatch.setattr(transformation, "compiled", lambda _, way=way: way)
        outputs = CircularSpline(bins).forward(*inputs)
        total = sum((weight * output).sum() for weight, output in zip(weights, outputs, strict=True))
        found.append((*outputs, *torch.autograd.grad(total, inputs)))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)
    with torch.no_grad():
        loops[0, 2], parameters[0, 0, 3] = math.nan, math.nan
        nothing = [CircularSpline(bins).forward(*inputs)[0].isnan(), spline_loops.forward(*inputs)[0].isnan()]
    assert nothing[0][0, 2]
    assert torch.equal(*nothing)


def test_gradients_of_compiled_circles() -> None:
    generator = torch_generator(0, "test.differences")
    loops = 6.0 * torch.rand(2, 3, dtype=torch.float64, generator=generator) - 3.0
    parameters = torch.randn(13, 2, 3, dtype=torch.float64, generator=generator)
    assert torch.autograd.gradcheck(spline_loops.forward, (loops.requires_grad_(), parameters.requires_grad_()))
