"""Parallel transport convolutions: against loops, the Wilson-Dirac operator, plain torch and finite differences."""

import itertools

import numpy as np
import pytest
import torch

from pipeline.gauge import su3, u1
from pipeline.gauge.fermions.dirac import WilsonDirac
from pipeline.gauge.group import Group
from pipeline.gauge.pseudofermion import transport
from pipeline.gauge.pseudofermion.masks import field_sites
from pipeline.gauge.pseudofermion.squash import squash
from pipeline.gauge.pseudofermion.transport import (
    Transporters,
    convolve,
    convolve_repeatedly,
    multiply,
    split_coefficients,
    to_field,
    to_planes,
)
from tests.gauge.fermion_matrices import SIGMA
from tests.gauge.pseudofermion.small_flows import generator, rotate

WAYS = pytest.mark.parametrize("loops", [pytest.param(True, id="compiled"), pytest.param(False, id="gathered")])
GROUPS = [pytest.param(u1, id="u1"), pytest.param(su3, id="su3")]


def inputs(
    group: Group, length: int, batch: int = 2, draws: int = 2, into: int = 3, features: int = 2
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Links, a field and coefficients."""
    g = generator("test.transport")
    links = group.random_links(batch, length, g)
    field = torch.randn(2, features, group.n_colors, draws, length**2, batch, dtype=torch.float64, generator=g)
    coefficients = torch.randn(2, into, 5, features, length**2, batch, dtype=torch.float64, generator=g)
    return links, field, coefficients


def over(group: Group, links: torch.Tensor, dtype: torch.dtype = torch.float64) -> Transporters:
    return transport.transporters(group.matrices(links), dtype)


def plain_convolve(field: torch.Tensor, coefficients: torch.Tensor, over: Transporters) -> torch.Tensor:
    """What :func:`convolve` does, operation by operation, differentiated by torch."""
    around = torch.stack([field.index_select(4, sites) for sites in over.table], dim=1)
    moved = multiply(over.planes[:, :, None, :, :, None], around[:, 1:, :, None], dim=3)
    moved = torch.cat([around[:, :1], moved], dim=1).flatten(1, 2)
    return multiply(coefficients.flatten(2, 3)[:, :, :, None, None], moved[:, None], dim=1)


@pytest.fixture
def _way(loops: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiled loops, or what accelerators do."""
    if not loops:
        monkeypatch.setattr(transport, "compiled", lambda _: False)


@WAYS
@pytest.mark.usefixtures("_way")
@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("length", [2, 3])
def test_convolutions_element_by_element(group: Group, length: int) -> None:
    links, field, coefficients = inputs(group, length)
    found = convolve(field, coefficients, over(group, links))
    u = group.matrices(links).numpy()
    phi, m = (np.asarray(x[0] + 1j * x[1]) for x in (field.numpy(), coefficients.numpy()))
    expected = np.zeros((3, group.n_colors, 2, length**2, 2), dtype=complex)
    for b, y in itertools.product(range(2), itertools.product(range(length), repeat=2)):
        site = y[0] * length + y[1]
        expected[..., site, b] += np.einsum("hk,kis->his", m[:, 0, :, site, b], phi[..., site, b])
        for way, (step, mu) in enumerate(itertools.product((1, -1), (0, 1)), start=1):
            x = list(y)
            x[mu] = (y[mu] + step) % length
            # Antiperiodic in time: hops between x_0 = L-1 and 0.
            sign = -1.0 if mu == 0 and y[0] + step in (-1, length) else 1.0
            link = u[b, mu, y[0], y[1]] if step == 1 else u[b, mu, x[0], x[1]].conj().T
            moved = sign * np.einsum("ij,kjs->kis", link, phi[..., x[0] * length + x[1], b])
            expected[..., site, b] += np.einsum("hk,kis->his", m[:, way, :, site, b], moved)
    np.testing.assert_allclose(found[0].numpy() + 1j * found[1].numpy(), expected, atol=1e-13)


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("length", [2, 4])
def test_the_wilson_dirac_operator_is_a_convolution(group: Group, length: int) -> None:
    kappa = 0.265
    links, field, _ = inputs(group, length)
    unit = np.eye(2)
    spin = [unit, *(-kappa * (unit - s) for s in SIGMA), *(-kappa * (unit + s) for s in SIGMA)]
    m = torch.from_numpy(np.stack(spin, axis=1))
    coefficients = torch.stack([m.real, m.imag])[..., None, None].expand(-1, -1, -1, -1, length**2, 2)
    found = to_field(convolve(field, coefficients, over(group, links)), torch.arange(length**2))
    expected = WilsonDirac(group.matrices(links), kappa).apply(to_field(field, torch.arange(length**2)))
    torch.testing.assert_close(found, expected, atol=1e-13, rtol=0)


@WAYS
@pytest.mark.usefixtures("_way")
@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("batch", "draws", "into", "features"), [(1, 1, 1, 1), (3, 2, 2, 3)])
def test_both_ways_do_what_torch_does(
    group: Group, dtype: torch.dtype, batch: int, draws: int, into: int, features: int
) -> None:
    """Values and gradients, for some of the sites as targets."""
    links, field, coefficients = inputs(group, 4, batch, draws, into, features)
    targets = torch.tensor([0, 3, 9, 12, 15])
    matrices = group.matrices(links).detach().requires_grad_()
    field = field.to(dtype).requires_grad_()
    coefficients = coefficients[..., targets, :].to(dtype).requires_grad_()
    weight = torch.randn(2, into, group.n_colors, draws, 5, batch, generator=generator("test.weight")).to(dtype)
    found = []
    for act in (convolve, plain_convolve):
        result = act(field, coefficients, transport.transporters(matrices, dtype).at(targets))
        found.append((result, *torch.autograd.grad((result * weight).sum(), (field, coefficients, matrices))))
    assert found[0][3].abs().max() > 0.1
    for ours, plain in zip(*found, strict=True):
        torch.testing.assert_close(ours, plain, atol=1e-12 if dtype == torch.float64 else 3e-5, rtol=0)


@WAYS
@pytest.mark.usefixtures("_way")
@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("links_wanted", [False, True])
def test_convolutions_in_one_piece(group: Group, links_wanted: bool) -> None:
    """Values and gradients of three of them, 2 -> 3 -> 1 -> 2 features, beside plain torch one by one."""
    links, field, _ = inputs(group, 4)
    shapes = ((3, 5, 2), (1, 5, 3), (2, 5, 1))
    raw = torch.randn(110, 16, 2, dtype=torch.float64, generator=generator("test.raw")).requires_grad_()
    matrices = group.matrices(links).detach().requires_grad_(links_wanted)
    field.requires_grad_()
    wanted = [field, raw, matrices][: 3 if links_wanted else 2]
    over = transport.transporters(matrices, torch.float64)
    block = squash(raw.clone())
    ours, plain = convolve_repeatedly(field, block, shapes, over), field
    for coefficients in split_coefficients(raw.tanh(), shapes):
        plain = plain_convolve(plain, coefficients, over)
    torch.testing.assert_close(ours, plain, atol=1e-12, rtol=0)
    weight = torch.randn(ours.shape, dtype=torch.float64, generator=generator("test.weight"))
    found, expected = (torch.autograd.grad((x * weight).sum(), wanted, retain_graph=True) for x in (ours, plain))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-11, rtol=0)


@pytest.mark.parametrize("batch", [37, 64])
def test_results_do_not_depend_on_the_number_of_threads(batch: int) -> None:
    """To the last bit, gradients included."""
    links, field, _ = inputs(u1, 4, batch, draws=2)
    block = torch.randn(60, 16, batch, dtype=torch.float64, generator=generator("test.raw")).tanh()
    found = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        try:
            phi, m, planes = (x.detach().float().requires_grad_() for x in (field, block, over(u1, links).planes))
            to_all = Transporters(planes, over(u1, links).table, 16)
            result = convolve_repeatedly(phi, m, ((2, 5, 2), (1, 5, 2)), to_all)
            found.append((result, *torch.autograd.grad(result.square().sum(), (phi, m, planes))))
        finally:
            torch.set_num_threads(1)
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)


@WAYS
@pytest.mark.usefixtures("_way")
@pytest.mark.parametrize("group", GROUPS)
def test_gradients_against_finite_differences(group: Group) -> None:
    links, field, coefficients = inputs(group, 2, 1, 1, 1, 1)
    whole = over(group, links)

    def act(f: torch.Tensor, m: torch.Tensor, planes: torch.Tensor) -> torch.Tensor:
        return convolve(f, m, Transporters(planes, whole.table, whole.volume))

    arguments = tuple(x.detach().clone().requires_grad_() for x in (field, coefficients, whole.planes))
    assert torch.autograd.gradcheck(act, arguments, fast_mode=True)


@pytest.mark.parametrize("group", GROUPS)
def test_convolutions_are_gauge_covariant(group: Group) -> None:
    links, field, coefficients = inputs(group, 4, into=2)
    everywhere = torch.arange(16)
    gauge = group.random_gauge(2, 4, generator("test.gauge"))
    phi = to_field(field, everywhere)
    turned = to_planes(rotate(group, gauge, phi, everywhere), everywhere, 4, torch.float64)
    found = convolve(turned, coefficients, over(group, group.gauge_transform(links, gauge)))
    plain = to_field(convolve(field, coefficients, over(group, links)), everywhere)
    expected = rotate(group, gauge, plain, everywhere)
    torch.testing.assert_close(to_field(found, everywhere), expected, atol=1e-12, rtol=0)
    assert (expected - plain).abs().max() > 0.1


@pytest.mark.parametrize("even_odd", [False, True])
def test_planes_and_back(even_odd: bool) -> None:
    sites = field_sites(4, even_odd)
    field = torch.randn(3, 2, len(sites), 2, 3, dtype=torch.complex128, generator=generator("test.field"))
    planes = to_planes(field, sites, 4, torch.float64)
    assert planes.shape == (2, 2, 3, 2, 16, 3)
    torch.testing.assert_close(to_field(planes, sites), field, atol=0, rtol=0)
    assert planes.count_nonzero() == 2 * field.numel()
