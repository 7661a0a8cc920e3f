"""Both gauge groups: exponential, projection, Haar measure, loops, symmetry, Wilson action and bad links."""

import math

import numpy as np
import pytest
import scipy.linalg
import torch

from pipeline.base.numbers import rng
from pipeline.gauge import su3, u1
from pipeline.gauge.action import SumOfActions, wilson_action
from pipeline.gauge.group import Group, group_of
from pipeline.gauge.systems import U1PureGauge

GROUPS = [pytest.param(u1, id="u1"), pytest.param(su3, id="su3")]


def generator(purpose: str) -> torch.Generator:
    return rng.torch_generator(11, purpose)


def random_algebra(count: int) -> torch.Tensor:
    return su3.algebra(torch.randn(count, 8, dtype=torch.float64, generator=generator("test.algebra")))


def test_generators_are_gell_mann_matrices() -> None:
    t = su3.generators()
    eye = torch.eye(8, dtype=torch.complex128)
    torch.testing.assert_close(torch.einsum("aij,bji->ab", t, t), 0.5 * eye, atol=1e-15, rtol=0)
    assert torch.equal(t, t.mH)
    assert torch.einsum("aii->a", t).abs().max() < 1e-15
    # The structure constants f_123 = 1, f_458 = sqrt(3)/2 fix order and signs: [T_a, T_b] = i f_abc T_c.
    assert 2 * torch.trace((t[0] @ t[1] - t[1] @ t[0]) @ t[2]) == pytest.approx(1j)
    assert 2 * torch.trace((t[3] @ t[4] - t[4] @ t[3]) @ t[7]) == pytest.approx(1j * math.sqrt(3) / 2)


def test_algebra_and_coefficients_are_inverse() -> None:
    omega = torch.randn(5, 8, dtype=torch.float64, generator=generator("test.algebra"))
    h = su3.algebra(omega)
    torch.testing.assert_close(h, torch.einsum("na,aij->nij", omega + 0j, su3.generators()), atol=1e-15, rtol=0)
    torch.testing.assert_close(su3.coefficients_of(h), omega, atol=1e-14, rtol=0)
    trace = torch.eye(3, dtype=torch.complex128)
    torch.testing.assert_close(su3.coefficients_of(h + trace), omega, atol=1e-14, rtol=0)


@pytest.mark.parametrize("scale", [1e-300, 1e-160, 1e-100, 1e-8, 1e-3, 0.3, 1.0, 5.0])
def test_exponential_of_generic_matrices(scale: float) -> None:
    h = scale * random_algebra(50)
    expected = torch.from_numpy(np.stack([scipy.linalg.expm(1j * each.numpy()) for each in h]))
    torch.testing.assert_close(su3.exponential(h), expected, atol=2e-14, rtol=0)


@pytest.mark.parametrize(
    "spectrum",
    [(1.0, 1.0, -2.0), (-1.0, -1.0, 2.0), (1.0, -1.0, 0.0), (1.0, 1.0 + 1e-8, -2.0 - 1e-8), (0.0, 0.0, 0.0)],
)
@pytest.mark.parametrize("scale", [1e-5, 1.0, 3.0])
def test_exponential_near_degenerate_eigenvalues(spectrum: tuple[float, ...], scale: float) -> None:
    frame = su3.random_matrices((50,), generator("test.frame"))
    phases = scale * torch.tensor(spectrum, dtype=torch.complex128)
    h = frame @ torch.diag(phases) @ frame.mH
    expected = frame @ torch.diag(torch.exp(1j * phases)) @ frame.mH
    torch.testing.assert_close(su3.exponential(h), expected, atol=2e-14, rtol=0)


def test_projection_is_the_polar_factor() -> None:
    matrices = torch.randn(200, 3, 3, dtype=torch.complex128, generator=generator("test.matrices"))
    left, _, right = torch.linalg.svd(matrices)
    polar = left @ right
    expected = polar * torch.exp(-1j * torch.linalg.det(polar).angle() / 3)[:, None, None]
    projected = su3.project(matrices)
    torch.testing.assert_close(projected, expected, atol=1e-12, rtol=0)
    assert (projected @ projected.mH - torch.eye(3)).abs().max() < 1e-14
    assert (torch.linalg.det(projected) - 1.0).abs().max() < 1e-14


def test_projection_mends_rounding_and_nothing_else() -> None:
    links = su3.random_links(2, 4, generator("test.links"))
    noise = torch.randn(links.shape, dtype=torch.complex128, generator=generator("test.noise"))
    mended = su3.reproject(links + 1e-9 * noise)
    assert 1e-10 < (mended - links).abs().max() < 1e-8
    assert (mended @ mended.mH - torch.eye(3)).abs().max() < 4e-15
    torch.testing.assert_close(su3.reproject(links), links, atol=1e-14, rtol=0)


@pytest.mark.parametrize("value", [0.0, math.nan])
def test_projection_of_singular_matrices_is_refused(value: float) -> None:
    matrices = torch.eye(3, dtype=torch.complex128).repeat(2, 1, 1)
    matrices[1, 1, 1] = value
    with pytest.raises(ValueError, match="singular or not finite"):
        su3.project(matrices)


def test_haar_moments_of_su3() -> None:
    """⟨Tr U⟩ = 0, ⟨|Tr U|²⟩ = 1, ⟨|Tr U|⁴⟩ = 2, ⟨(Tr U)³⟩ = 1: numbers of singlets in products of 3 and 3*.

    The variances follow from ⟨|Tr U|⁶⟩ = 6, ⟨|Tr U|⁸⟩ = 23 and ⟨(Tr U)⁶⟩ = 5.
    """
    u = su3.random_matrices((200_000,), generator("test.haar"))
    su3.check(u[:36].reshape(2, 2, 3, 3, 3, 3))
    trace = torch.einsum("nii->n", u)
    for moment, exact, variance in [
        (trace.real, 0.0, 0.5),
        (trace.abs() ** 2, 1.0, 1.0),
        (trace.abs() ** 4, 2.0, 19.0),
        ((trace**3).real, 1.0, 4.5),
    ]:
        assert moment.var().item() == pytest.approx(variance, rel=0.1)
        assert abs(moment.mean().item() - exact) < 4.5 * moment.std().item() / math.sqrt(len(u))


@pytest.mark.parametrize("group", GROUPS)
def test_momenta_are_normal_and_drift_is_a_one_parameter_group(group: Group) -> None:
    links = group.random_links(50, 4, generator("test.links"))
    momenta = group.random_momenta(links, generator("test.momenta"))
    assert momenta.mean().abs() < 4.5 / math.sqrt(momenta.numel())
    assert momenta.var().item() == pytest.approx(1.0, abs=4.5 * math.sqrt(2 / momenta.numel()))
    once = group.drift(links, momenta, 0.7)
    twice = group.drift(group.drift(links, momenta, 0.3), momenta, 0.4)
    torch.testing.assert_close(twice, once, atol=1e-13, rtol=0)
    torch.testing.assert_close(group.drift(once, momenta, -0.7), links, atol=1e-13, rtol=0)
    assert (once - links).abs().max() > 0.5


@pytest.mark.parametrize("group", GROUPS)
def test_reprojection_keeps_the_matrices(group: Group) -> None:
    links = group.random_links(3, 4, generator("test.links"))
    if group is u1:
        links = links + 7.0
    again = group.reproject(links)
    group.check(again)
    torch.testing.assert_close(group.matrices(again), group.matrices(links), atol=1e-14, rtol=0)


@pytest.mark.parametrize(("extent_0", "extent_1"), [(1, 1), (2, 1), (1, 3), (4, 2)])
def test_wilson_loops_against_a_walk(extent_0: int, extent_1: int) -> None:
    """Link by link around the rectangle, with x + μ taken modulo L."""
    length = 4
    links = su3.random_links(2, length, generator("test.links"))
    angles = u1.random_links(2, length, generator("test.links"))
    walk = [0] * extent_0 + [1] * extent_1
    for x in [(0, 0), (3, 2)]:
        position, product, angle = list(x), torch.eye(3, dtype=torch.complex128), torch.zeros(2, dtype=torch.float64)
        for mu in walk:
            product = product @ links[:, mu, position[0] % length, position[1] % length]
            angle = angle + angles[:, mu, position[0] % length, position[1] % length]
            position[mu] += 1
        for mu in walk:
            position[mu] -= 1
            product = product @ links[:, mu, position[0] % length, position[1] % length].mH
            angle = angle - angles[:, mu, position[0] % length, position[1] % length]
        found = su3.wilson_loops(links, extent_0, extent_1)[:, x[0], x[1]]
        torch.testing.assert_close(found, product, atol=1e-14, rtol=0)
        torch.testing.assert_close(u1.loop_angles(angles, extent_0, extent_1)[:, x[0], x[1]], angle, atol=1e-13, rtol=0)


@pytest.mark.parametrize("group", GROUPS)
def test_gauge_symmetry(group: Group) -> None:
    links = group.random_links(3, 4, generator("test.links"))
    gauge = group.random_gauge(3, 4, generator("test.gauge"))
    moved = group.gauge_transform(links, gauge)
    group.check(moved)
    omega, u = group.gauge_matrices(gauge), group.matrices(links)
    ahead = torch.stack([omega.roll(-1, 1), omega.roll(-1, 2)], dim=1)
    torch.testing.assert_close(group.matrices(moved), omega[:, None] @ u @ ahead.mH, atol=1e-14, rtol=0)
    assert (group.matrices(moved) - u).abs().max() > 0.5
    action = wilson_action(group, 2.0)
    torch.testing.assert_close(action.value(moved), action.value(links), atol=1e-12, rtol=0)
    torch.testing.assert_close(group.mean_plaquette(moved), group.mean_plaquette(links), atol=1e-14, rtol=0)


@pytest.mark.parametrize("group", GROUPS)
def test_wilson_action_of_a_cold_and_of_a_twisted_lattice(group: Group) -> None:
    action = wilson_action(group, 2.5)
    cold = group.identity(2, 3)
    group.check(cold)
    torch.testing.assert_close(action.value(cold), torch.full((2,), -2.5 * 9, dtype=torch.float64))
    assert action.force(cold).abs().max() < 1e-14
    # One link turned by exp(iω T_a) closes two plaquettes with Re Tr/N = cos ω, or (1 + 2 cos(ω/2))/3 for T_1.
    momenta = torch.zeros_like(group.random_momenta(cold, generator("test.momenta")))
    momenta.view(2, 2, 3, 3, -1)[:, 1, 2, 0, 0] = 1.0
    turned = math.cos(0.8) if group is u1 else (1 + 2 * math.cos(0.4)) / 3
    expected = -2.5 * (7 + 2 * turned)
    assert action.value(group.drift(cold, momenta, 0.8))[1].item() == pytest.approx(expected, abs=1e-13)


@pytest.mark.parametrize("group", GROUPS)
def test_wilson_force_and_force_from_gradient(group: Group) -> None:
    """The closed form against central differences along each generator and against torch's gradient."""
    links = group.random_links(2, 3, generator("test.links"))
    action = wilson_action(group, 2.3)
    force = action.force(links)
    zero, step = torch.zeros_like(force), 1e-5
    numerical = torch.empty_like(force)
    for index in range(force[0].numel()):
        shift = zero.clone()
        shift.flatten(1)[:, index] = 1.0
        up, down = (action.value(group.drift(links, shift, sign * step)) for sign in (1.0, -1.0))
        numerical.flatten(1)[:, index] = -(up - down) / (2 * step)
    assert numerical.abs().max() > 0.5
    torch.testing.assert_close(force, numerical, atol=1e-8, rtol=0)

    matrices = group.matrices(links).clone().requires_grad_()
    u_0, u_1 = matrices[:, 0], matrices[:, 1]
    loops = u_0 @ u_1.roll(-1, 1) @ u_0.roll(-1, 2).mH @ u_1.mH
    total = -2.3 / group.n_colors * torch.einsum("bxyii->", loops).real
    (gradient,) = torch.autograd.grad(total, matrices)
    torch.testing.assert_close(group.force_from_gradient(links, gradient), force, atol=1e-12, rtol=0)


def test_sum_of_actions() -> None:
    links = u1.random_links(2, 3, generator("test.links"))
    both = SumOfActions((wilson_action(u1, 1.0), wilson_action(u1, 0.5)))
    torch.testing.assert_close(both.value(links), wilson_action(u1, 1.5).value(links))
    torch.testing.assert_close(both.force(links), wilson_action(u1, 1.5).force(links))


@pytest.mark.parametrize("group", GROUPS)
def test_bad_links_are_refused(group: Group) -> None:
    good = group.random_links(2, 4, generator("test.links"))
    group.check(good)
    for bad in (good[:, :1], good[:, :, :3], good[0]):
        with pytest.raises(ValueError, match="links must have shape"):
            group.check(bad)
    with pytest.raises(ValueError, match="dtype"):
        group.check(good.to(torch.float32 if group is u1 else torch.complex64))
    broken = good.clone()
    broken[1, 0, 2, 3] = math.nan
    with pytest.raises(ValueError, match="must be"):
        group.check(broken)


def test_links_outside_su3_are_refused() -> None:
    links = su3.random_links(2, 4, generator("test.links"))
    scaled = links.clone()
    scaled[1, 0, 2, 3] *= 1.0 + 1e-6
    with pytest.raises(ValueError, match="must be unitary"):
        su3.check(scaled)
    phase = links.clone()
    phase[1, 0, 2, 3] *= np.exp(1e-6j)
    with pytest.raises(ValueError, match="determinant 1"):
        su3.check(phase)


def test_group_of_a_system() -> None:
    system = U1PureGauge(length=4, beta=1.0)
    assert group_of(system) is u1

    class Unknown(U1PureGauge):
        group = "e8"

    with pytest.raises(ValueError, match="e8"):
        group_of(Unknown(length=4, beta=1.0))
