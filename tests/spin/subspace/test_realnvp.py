"""The flow as a map (inverse, Jacobian), as a density (quadrature at N=2) and as a sampler of spins."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.base.numbers.rng import torch_generator
from pipeline.spin.subspace.realnvp import (
    AffineCoupling,
    Prior,
    RealNVP,
    log_region_probability,
    region_points,
    smoothing_bias_at_identity,
)

WIDTH = 0.33
CUTOFF = 7.2
"""|atanh y| up to which the quadratures reach; the density beyond it is negligible for the flows below."""


def random_flow(
    n: int, kind: str = "normal", dtype: torch.dtype = torch.float64, scale: float = 0.5, shift: float = 0.0
) -> RealNVP:
    """Four layers whose last layers are random: a map far from the identity. ``shift`` moves all coordinates up."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5 + n)
        flow = RealNVP(n, 4, [16, 16], Prior(kind, WIDTH))
        for coupling in flow.couplings:
            assert isinstance(coupling, AffineCoupling)
            last: Any = coupling.network[-2]
            torch.nn.init.normal_(last.weight, std=scale)
            torch.nn.init.normal_(last.bias, std=scale)
            last.bias.data[n // 2 :] += shift
    return flow.to(dtype)


def identity_flow(n: int, kind: str) -> RealNVP:
    return RealNVP(n, 4, [8], Prior(kind, WIDTH)).double()


def normals(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape)).to(dtype)


def orthant_nodes() -> tuple[torch.Tensor, torch.Tensor]:
    """Nodes y in (0, 1)^2 with weights such that Σ w p(y) is the integral over the positive orthant."""
    nodes, weights = np.polynomial.legendre.leggauss(160)
    u = torch.from_numpy((nodes + 1) * CUTOFF / 2)
    w = torch.from_numpy(weights) * CUTOFF / 2 / torch.cosh(u) ** 2
    y = torch.tanh(u)
    return torch.cartesian_prod(y, y), torch.outer(w, w).ravel()


def orthant_masses(flow: RealNVP) -> dict[tuple[int, int], float]:
    """Integrals of p_Y over the four orthants of the square."""
    y, w = orthant_nodes()
    masses = {}
    with torch.no_grad():
        for signs in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
            masses[signs] = float((w * flow.log_prob(y * torch.tensor(signs)).exp()).sum())
    return masses


@pytest.mark.parametrize("n", [2, 3, 4, 7, 10])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_inverse(n: int, dtype: torch.dtype, tolerance: float) -> None:
    flow = random_flow(n, dtype=dtype)
    z = normals(500, n, dtype=dtype)
    with torch.no_grad():
        y, log_det = flow(z)
        back, log_det_back = flow.inverse(y)
        resolved = (y.abs() < 0.9).all(-1)  # elsewhere atanh magnifies rounding errors
        assert (y.abs() <= 1).all()
        assert resolved.sum() >= 5
        assert (y.abs() - z.roll(-4 * (n // 2), -1).tanh().abs()).abs().max() > 0.1
        torch.testing.assert_close(back[resolved], z[resolved], rtol=0, atol=tolerance)
        torch.testing.assert_close(log_det_back[resolved], -log_det[resolved], rtol=0, atol=3 * n * tolerance)
        inside = 0.98 * torch.tanh(normals(500, n, seed=1, dtype=dtype))
        again, _ = flow(flow.inverse(inside)[0])
        torch.testing.assert_close(again, inside, rtol=0, atol=tolerance)


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_log_determinant(n: int) -> None:
    flow = random_flow(n)
    z = 0.7 * normals(6, n)
    y, log_det = flow(z)
    _, log_det_back = flow.inverse(y)
    for i in range(len(z)):
        jacobian = torch.autograd.functional.jacobian(lambda point: flow(point)[0], z[i])
        assert log_det[i].item() == pytest.approx(torch.linalg.slogdet(jacobian).logabsdet.item(), abs=1e-10)
        jacobian = torch.autograd.functional.jacobian(lambda point: flow.inverse(point)[0], y[i].detach())
        assert log_det_back[i].item() == pytest.approx(torch.linalg.slogdet(jacobian).logabsdet.item(), abs=1e-10)


@pytest.mark.parametrize("n", [2, 3, 4, 5, 9])
def test_every_coordinate_is_transformed(n: int) -> None:
    jacobian = torch.autograd.functional.jacobian(lambda z: random_flow(n)(z)[0], 0.3 * normals(n, seed=2))
    shifted = jacobian.roll(4 * (n // 2), 0)
    assert (torch.count_nonzero(shifted - torch.diag(shifted.diagonal()), dim=1) > 0).all()


def test_architecture() -> None:
    """d = ceil(N/2), one network with 2 (N - d) outputs a layer (NF+NQS paper, Section IV.B)."""
    for n, d in ((10, 5), (15, 8)):
        flow = RealNVP(n, 4, [512, 512], Prior("bimodal", WIDTH))
        layer = (d * 512 + 512) + (512 * 512 + 512) + (512 * 2 * (n - d) + 2 * (n - d))
        assert sum(p.numel() for p in flow.parameters()) == 4 * layer


@pytest.mark.parametrize("n", [4, 5])
def test_coupling_leaves_the_first_half_and_is_bounded(n: int) -> None:
    coupling = AffineCoupling(n, [8]).double()
    last: Any = coupling.network[-2]
    torch.nn.init.constant_(last.bias, 50.0)
    z = normals(20, n)
    moved, log_det = coupling(z)
    d = (n + 1) // 2
    assert torch.equal(moved[:, :d], z[:, :d])
    torch.testing.assert_close(moved[:, d:], z[:, d:] * math.e + 1.0)
    torch.testing.assert_close(log_det, torch.full((20,), float(n - d), dtype=torch.float64))


@pytest.mark.parametrize("kind", ["normal", "bimodal"])
@pytest.mark.parametrize("n", [2, 5, 6])
def test_identity_at_initialisation(n: int, kind: str) -> None:
    """Up to the exchange of halves: a rotation of the coordinates, which the priors do not see."""
    flow = identity_flow(n, kind)
    z = normals(50, n)
    y, log_det = flow(z)
    torch.testing.assert_close(y, torch.tanh(z).roll(-4 * (n // 2), -1), rtol=0, atol=1e-15)
    torch.testing.assert_close(log_det, torch.log1p(-(torch.tanh(z) ** 2)).sum(-1), rtol=0, atol=1e-9)
    expected = flow.prior.log_prob(z) - torch.log1p(-(torch.tanh(z) ** 2)).sum(-1)
    torch.testing.assert_close(flow.log_prob(y), expected, rtol=0, atol=1e-8)


def test_prior_densities() -> None:
    z = normals(100, 3) * 1.5
    x = z.numpy()
    normal = np.prod(np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi), axis=-1)
    np.testing.assert_allclose(Prior("normal", WIDTH).log_prob(z).exp().numpy(), normal, rtol=1e-12)
    mode = lambda centre: np.exp(-(((x - centre) / WIDTH) ** 2) / 2) / (WIDTH * np.sqrt(2 * np.pi))  # noqa: E731
    bimodal = np.prod(0.5 * (mode(1) + mode(-1)), axis=-1)
    np.testing.assert_allclose(Prior("bimodal", WIDTH).log_prob(z).exp().numpy(), bimodal, rtol=1e-12)


@pytest.mark.parametrize(("kind", "variance", "fourth"), [("normal", 1.0, 3.0), ("bimodal", 1.1089, 1.6889778)])
def test_prior_samples(kind: str, variance: float, fourth: float) -> None:
    """Moments of the mixture: <z²> = 1 + w², <z⁴> = 1 + 6 w² + 3 w⁴."""
    z = Prior(kind, WIDTH).sample((200_000, 2), torch_generator(1, "prior"), torch.float64)
    assert z.dtype == torch.float64
    for power, expected in ((1, 0.0), (2, variance), (3, 0.0), (4, fourth)):
        moments = z**power
        assert abs(moments.mean(0) - expected).max() < 4.5 * moments.std() / 200_000**0.5
    assert abs((z[:, 0] * z[:, 1]).mean()) < 4.5 * variance / 200_000**0.5


@pytest.mark.parametrize("kind", ["normal", "bimodal"])
@pytest.mark.parametrize(("scale", "shift"), [(0.0, 0.0), (0.25, 0.0), (0.2, 0.4)])
def test_density_is_normalised(kind: str, scale: float, shift: float) -> None:
    assert sum(orthant_masses(random_flow(2, kind, scale=scale, shift=shift)).values()) == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("kind", ["normal", "bimodal"])
def test_equal_orthants_at_initialisation(kind: str) -> None:
    masses = orthant_masses(identity_flow(2, kind))
    assert list(masses.values()) == pytest.approx([0.25] * 4, abs=1e-5)
    count = 64_000
    for n in (4, 5):
        spins = identity_flow(n, kind).sample_signs(count, torch_generator(2, "orthants"))
        assert spins.dtype == torch.int8
        assert spins.shape == (count, n)
        assert set(spins.unique().tolist()) == {-1, 1}
        observed = np.bincount(((spins < 0).long() @ 2 ** torch.arange(n)).numpy(), minlength=2**n)
        chi_squared = ((observed - count / 2**n) ** 2 / (count / 2**n)).sum()
        assert abs(chi_squared - (2**n - 1)) < 4.5 * (2 * (2**n - 1)) ** 0.5


@pytest.mark.parametrize("kind", ["normal", "bimodal"])
def test_sampled_orthant_weights(kind: str) -> None:
    flow = random_flow(2, kind, scale=0.25, shift=0.6)
    masses = orthant_masses(flow)
    assert max(masses.values()) > 2 * min(masses.values())
    count = 200_000
    spins = flow.sample_signs(count, torch_generator(3, "orthants"))
    for signs, mass in masses.items():
        fraction = (spins == torch.tensor(signs)).all(-1).double().mean().item()
        assert abs(fraction - mass) < 4.5 * (mass * (1 - mass) / count) ** 0.5 + 3e-4


def smoothed(flow: RealNVP, spins: torch.Tensor, centre: float, width: float) -> float:
    """∫ N(y; centre x, width) p_Y(y) dy at N=2 by Gauss-Hermite quadrature; Vol = 1."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    x, w = torch.from_numpy(nodes), torch.from_numpy(weights / weights.sum())
    y = centre * spins + width * torch.cartesian_prod(x, x)
    inside = (y.abs() < 1).all(-1)
    with torch.no_grad():
        return float((torch.outer(w, w).ravel() * flow.log_prob(y).exp())[inside].sum())


@pytest.mark.parametrize("kind", ["normal", "bimodal"])
def test_region_probability_is_a_smoothed_density(kind: str) -> None:
    """p̂ averages p_Y over N(±1/2, 0.1), not over the orthant (Eq. 10 as trained)."""
    flow = random_flow(2, kind)
    spins = torch.tensor([[1, 1], [1, -1], [-1, 1], [-1, -1]], dtype=torch.int8)
    y = region_points(spins, 100_000, 0.5, 0.1, torch_generator(4, "points"), torch.float64)
    assert y.shape == (4, 100_000, 2)
    with torch.no_grad():
        estimates = log_region_probability(flow, y).exp()
        errors = flow.log_prob(y).exp().std(-1) / 100_000**0.5
    for x, estimate, error in zip(spins, estimates, errors, strict=True):
        expected = smoothed(flow, x, 0.5, 0.1)
        assert 0 < error < 0.02 * expected
        assert abs(estimate - expected) < 4.5 * error + 1e-6


def test_region_points() -> None:
    spins = torch.tensor([[1, -1, 1], [-1, -1, 1]], dtype=torch.int8)
    y = region_points(spins, 50_000, 0.4, 0.05, torch_generator(5, "points"), torch.float32)
    assert y.dtype == torch.float32
    torch.testing.assert_close(y.mean(1), 0.4 * spins, rtol=0, atol=4.5 * 0.05 / 50_000**0.5)
    torch.testing.assert_close(y.std(1), torch.full((2, 3), 0.05), rtol=0.02, atol=0)
    centred = (y - 0.4 * spins[:, None])[0]
    assert abs((centred[:, 0] * centred[:, 1]).mean()) < 4.5 * 0.05**2 / 50_000**0.5


def test_bias_of_the_region_probability() -> None:
    """Identity flow, bimodal prior: p̂/p is 0.59 at N=2 and falls to a few 1e-4 at N=30."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    y = 0.5 + 0.1 * nodes
    y, weights = y[abs(y) < 1], (weights / weights.sum())[abs(y) < 1]
    z = np.arctanh(y)
    density = 0.5 * (np.exp(-(((z - 1) / WIDTH) ** 2) / 2) + np.exp(-(((z + 1) / WIDTH) ** 2) / 2))
    one_site = 2 * float((weights * density / (WIDTH * np.sqrt(2 * np.pi)) / (1 - y**2)).sum())
    assert one_site**2 == pytest.approx(0.59, abs=0.005)
    assert one_site**30 == pytest.approx(3.5e-4, rel=0.15)
    for n, count, tolerance in ((2, 200_000, 0.01), (30, 200_000, 0.3)):
        x = torch.ones(1, n, dtype=torch.int8)
        points = region_points(x, count, 0.5, 0.1, torch_generator(6, "points"), torch.float64)
        with torch.no_grad():
            ratio = 2.0**n * log_region_probability(identity_flow(n, "bimodal"), points).exp().item()
        assert ratio == pytest.approx(one_site**n, rel=tolerance)


def test_region_probability_survives_underflow() -> None:
    """Densities below the smallest float32 still have finite logarithms."""
    flow = RealNVP(40, 4, [8], Prior("bimodal", 0.05))
    y = region_points(torch.ones(3, 40), 4, 0.5, 0.1, torch_generator(7, "points"), torch.float32)
    log_p = log_region_probability(flow, y)
    assert log_p.isfinite().all()
    assert (log_p < -200).all()


def test_points_outside_the_cube_have_finite_densities_and_gradients() -> None:
    flow = random_flow(3, dtype=torch.float32)
    log_p = flow.log_prob(torch.tensor([[1.0, -1.0, 0.2], [1.3, 0.1, -2.0]]))
    log_p.sum().backward()
    assert log_p.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in flow.parameters())


def test_saturated_points_have_a_finite_slope() -> None:
    """log(1 - tanh²) does not cancel to log 0 in float32."""
    flow = identity_flow(2, "normal").float()
    _, log_det = flow(torch.tensor([[30.0, -30.0]]))
    assert log_det.item() == pytest.approx(2 * (math.log(4) - 60), rel=1e-6)


def test_samples_depend_on_the_generator_alone() -> None:
    flow = random_flow(6, dtype=torch.float32)
    state = torch.random.get_rng_state()
    first = flow.sample_signs(100, torch_generator(1, "a"))
    assert torch.equal(first, flow.sample_signs(100, torch_generator(1, "a")))
    assert not torch.equal(first, flow.sample_signs(100, torch_generator(1, "a", 1)))
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("n", "count"), [(2, 300), (3, 1), (7, 500), (10, 2)])
def test_samples_are_signs_of_the_map(n: int, count: int, dtype: torch.dtype) -> None:
    """Without densities, in memory that is used again: the same points, up to those that rounding takes across 0."""
    flow = random_flow(n, dtype=dtype)
    z = flow.prior.sample((count, n), torch_generator(4, "a"), dtype)
    kept = z.clone()
    with torch.no_grad():
        for coupling in flow.couplings:
            assert isinstance(coupling, AffineCoupling)
            torch.testing.assert_close(coupling.moved(z), coupling(z)[0])
        y, _ = flow(z)
    assert torch.equal(z, kept)
    signs = flow.sample_signs(count, torch_generator(4, "a"))
    assert signs.dtype == torch.int8
    clear = y.abs() > 1e-4
    assert torch.equal(signs[clear].to(dtype), y[clear].sign())
    assert set(signs.unique().tolist()) <= {-1, 1}


@pytest.mark.parametrize("kind", ["bimodal", "normal"])
def test_smoothing_bias_against_sampled_points(kind: str) -> None:
    """E[p̂] / p at the identity map, by the points that training draws; p is 2^-N there."""
    prior = Prior(kind, 0.33)
    flow = RealNVP(2, 2, [4], prior).double()
    points = region_points(torch.ones(1, 2), 400_000, 0.5, 0.1, torch_generator(8, "points"), torch.float64)
    with torch.no_grad():
        sampled = 4.0 * float(log_region_probability(flow, points).exp())
    assert smoothing_bias_at_identity(2, prior, 0.5, 0.1) == pytest.approx(sampled, rel=5e-3)
    assert smoothing_bias_at_identity(6, prior, 0.5, 0.1) == pytest.approx(sampled**3, rel=2e-2)


@pytest.mark.parametrize("centre", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("width", [1e-6, 1e3])
def test_smoothing_bias_of_extreme_points(centre: float, width: float) -> None:
    """Points at the centre: the density there, of which half lies outside of the region where it is 0 or 1."""
    found = smoothing_bias_at_identity(3, Prior("normal", 1.0), centre, width)
    z = math.atanh(min(centre, 1 - 1e-6))
    density = math.exp(-0.5 * z * z) / math.sqrt(2 * math.pi) / (1 - math.tanh(z) ** 2)
    if width < 1 and centre < 1:
        assert found == pytest.approx((2 * density * (1.0 if centre else 0.5)) ** 3, rel=1e-4)
    elif width < 1:
        assert 0 <= found < (2 * density) ** 3
    else:  # a normal that is flat over the region: its height times the weight of the region
        assert found == pytest.approx((1 / (width * math.sqrt(2 * math.pi))) ** 3, rel=1e-4)
    assert smoothing_bias_at_identity(62, Prior("bimodal", 1e-6), math.tanh(1.0), 1e-6) > 1e100
