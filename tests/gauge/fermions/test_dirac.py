"""Wilson-Dirac operator, Schur complement and their determinants against explicit matrices and exact spectra."""

import math

import numpy as np
import pytest
import torch

from pipeline.base.numbers import rng
from pipeline.gauge import neighbours, su3, u1
from pipeline.gauge.fermions import hopping
from pipeline.gauge.fermions.determinants import log_det, normal_eigenvalues
from pipeline.gauge.fermions.dirac import FermionMatrix, WilsonDirac, gamma_5
from pipeline.gauge.fermions.even_odd import SchurComplement
from pipeline.gauge.group import Group
from tests.gauge import fermion_matrices

GROUPS = [pytest.param(u1, id="u1"), pytest.param(su3, id="su3")]
MATRICES = [pytest.param(WilsonDirac, id="D"), pytest.param(SchurComplement, id="schur")]
KAPPA = 0.265


def generator(purpose: str) -> torch.Generator:
    return rng.torch_generator(17, purpose)


def hot(group: Group, length: int, batch: int = 2) -> torch.Tensor:
    return group.random_links(batch, length, generator("test.links"))


def explicit(group: Group, links: torch.Tensor, kappa: float) -> torch.Tensor:
    matrices = group.matrices(links).numpy()
    return torch.from_numpy(np.stack([fermion_matrices.wilson_dirac(each, kappa) for each in matrices]))


def multiply(dense: torch.Tensor, field: torch.Tensor) -> torch.Tensor:
    return (dense @ field.flatten(2).mT).mT.reshape(field.shape)


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("length", [2, 3, 4])
def test_operator_is_that_of_equation_5(group: Group, length: int) -> None:
    links = hot(group, length)
    dirac, expected = WilsonDirac(group.matrices(links), KAPPA), explicit(group, links, KAPPA)
    torch.testing.assert_close(dirac.dense(), expected, atol=1e-14, rtol=0)
    psi = dirac.noise(3, generator("test.psi"))
    assert psi.shape == (2, 3, length**2, 2, group.n_colors)
    assert dirac.dimension == expected.shape[-1]
    torch.testing.assert_close(dirac.apply(psi), multiply(expected, psi), atol=1e-13, rtol=0)
    torch.testing.assert_close(dirac.dagger(psi), multiply(expected.mH, psi), atol=1e-13, rtol=0)
    torch.testing.assert_close(dirac.normal(psi), multiply(expected @ expected.mH, psi), atol=1e-13, rtol=0)


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("length", [2, 4, 6])
def test_schur_complement_is_that_of_the_blocks(group: Group, length: int) -> None:
    links = hot(group, length)
    dirac = explicit(group, links, KAPPA)
    even = torch.from_numpy(fermion_matrices.even_order(length, group.n_colors))
    odd = torch.tensor(sorted(set(range(dirac.shape[-1])) - set(even.tolist())))
    blocks = {
        (r, c): dirac[:, rows][:, :, cols] for r, rows in enumerate((even, odd)) for c, cols in enumerate((even, odd))
    }
    assert torch.equal(blocks[0, 0], torch.eye(len(even), dtype=torch.complex128).expand_as(blocks[0, 0]))
    expected = blocks[0, 0] - blocks[0, 1] @ blocks[1, 0]
    schur = SchurComplement(group.matrices(links), KAPPA)
    torch.testing.assert_close(schur.dense(), expected, atol=1e-13, rtol=0)
    psi = schur.noise(3, generator("test.psi"))
    torch.testing.assert_close(schur.dagger(psi), multiply(expected.mH, psi), atol=1e-13, rtol=0)


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("kind", MATRICES)
def test_gamma_5_hermiticity(group: Group, kind: type[FermionMatrix]) -> None:
    matrix = kind(group.matrices(hot(group, 4)), KAPPA)
    psi = matrix.noise(2, generator("test.psi"))
    torch.testing.assert_close(gamma_5(matrix.apply(gamma_5(psi))), matrix.dagger(psi), atol=1e-13, rtol=0)
    torch.testing.assert_close(matrix.hermitian(matrix.hermitian(psi)), matrix.normal(psi), atol=1e-13, rtol=0)
    dense, sigma_z = matrix.dense(), torch.tensor([1.0, -1.0]).repeat_interleave(group.n_colors).repeat(matrix.sites)
    assert (dense - dense.mH).abs().max() > 0.1
    torch.testing.assert_close(sigma_z[:, None] * dense * sigma_z, dense.mH, atol=1e-14, rtol=0)


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("kind", MATRICES)
def test_gauge_covariance_across_the_boundary(group: Group, kind: type[FermionMatrix]) -> None:
    """D[U^Ω] Ω ψ = Ω D[U] ψ with an independent Ω at every site, those next to the boundary included."""
    links = hot(group, 4)
    gauge = group.random_gauge(2, 4, generator("test.gauge"))
    matrix, moved = (kind(group.matrices(each), KAPPA) for each in (links, group.gauge_transform(links, gauge)))
    omega = group.gauge_matrices(gauge).flatten(1, 2)
    if kind is SchurComplement:
        omega = omega[:, neighbours.parity_sites(4)[0]]

    def rotate(field: torch.Tensor) -> torch.Tensor:
        return torch.einsum("bxij,bkxsj->bkxsi", omega, field)

    psi = matrix.noise(3, generator("test.psi"))
    torch.testing.assert_close(moved.apply(rotate(psi)), rotate(matrix.apply(psi)), atol=1e-13, rtol=0)
    assert (moved.apply(psi) - matrix.apply(psi)).abs().max() > 0.1
    for ours, theirs in zip(log_det(moved), log_det(matrix), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=0)


@pytest.mark.parametrize("length", [3, 4])
def test_plane_waves_of_the_free_operator(length: int) -> None:
    """D e^{ipx} χ = e^{ipx} [1 - 2κ Σ cos p + 2iκ Σ σ_μ sin p_μ] χ with p_0 = (2n+1)π/L and p_1 = 2πn/L.

    Tells the directions and their boundary conditions apart, which no spectrum does.
    """
    dirac = WilsonDirac(u1.matrices(u1.identity(1, length)), KAPPA)
    x = torch.arange(length, dtype=torch.float64)
    chi = torch.tensor([0.3 - 0.5j, 0.7 + 0.2j], dtype=torch.complex128)
    for n_0 in range(length):
        for n_1 in range(length):
            p_0, p_1 = (2 * n_0 + 1) * math.pi / length, 2 * n_1 * math.pi / length
            wave = torch.exp(1j * (p_0 * x[:, None] + p_1 * x)).flatten()
            sines = math.sin(p_0) * fermion_matrices.SIGMA[0] + math.sin(p_1) * fermion_matrices.SIGMA[1]
            symbol = np.eye(2) * (1 - 2 * KAPPA * (math.cos(p_0) + math.cos(p_1))) + 2j * KAPPA * sines
            field = (wave[:, None] * chi)[None, None, :, :, None]
            expected = (wave[:, None] * (torch.from_numpy(symbol) @ chi))[None, None, :, :, None]
            torch.testing.assert_close(dirac.apply(field), expected, atol=1e-14, rtol=0)


@pytest.mark.parametrize("group", GROUPS)
def test_free_spectrum(group: Group) -> None:
    """1 - 2κ Σ cos p ± 2iκ sqrt(Σ sin² p), each N times."""
    length = 4
    n = np.arange(length)
    p_0, p_1 = (2 * n[:, None] + 1) * math.pi / length, 2 * n[None, :] * math.pi / length
    real = 1 - 2 * KAPPA * (np.cos(p_0) + np.cos(p_1))
    imaginary = 2 * KAPPA * np.sqrt(np.sin(p_0) ** 2 + np.sin(p_1) ** 2)
    expected = np.concatenate([real + 1j * imaginary, real - 1j * imaginary]).ravel()
    dirac = WilsonDirac(group.matrices(group.identity(1, length)), KAPPA)
    found = np.linalg.eigvals(dirac.dense()[0].numpy())
    assert len(found) == group.n_colors * len(expected)
    # Every coefficient of the characteristic polynomial follows from these power sums.
    for power in range(1, 2 * length**2 + 1):
        assert (found**power).sum() == pytest.approx(group.n_colors * (expected**power).sum(), rel=1e-10, abs=1e-10)
    logarithm = group.n_colors * np.log(np.abs(expected)).sum()
    assert log_det(dirac)[1].item() == pytest.approx(logarithm, abs=1e-10)


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("kappa", [0.1, 0.265, 0.4])
def test_determinants(group: Group, kappa: float) -> None:
    """det D is real, equals det D_sc to 1e-10, and det M = (det D)² by the spectrum of M."""
    links = hot(group, 4, batch=5)
    dirac, schur = (kind(group.matrices(links), kappa) for kind in (WilsonDirac, SchurComplement))
    reference = torch.linalg.slogdet(explicit(group, links, kappa))
    assert reference.sign.imag.abs().max() < 1e-10
    for matrix in (dirac, schur):
        sign, logarithm = log_det(matrix)
        torch.testing.assert_close(sign, reference.sign.real, atol=1e-10, rtol=0)
        torch.testing.assert_close(logarithm, reference.logabsdet, atol=1e-10, rtol=0)
        spectrum = normal_eigenvalues(matrix)
        assert spectrum.min() > 0
        torch.testing.assert_close(0.5 * spectrum.log().sum(dim=1), logarithm, atol=1e-10, rtol=0)


def test_determinants_of_equilibrium_sized_links_at_paper_parameters() -> None:
    """L = 16 and κ = 0.265, where a wrong order of sites would not go unnoticed on a smooth field."""
    links = 0.7 * torch.randn(2, 2, 16, 16, dtype=torch.float64, generator=generator("test.links"))
    dirac, schur = (kind(u1.matrices(links), KAPPA) for kind in (WilsonDirac, SchurComplement))
    torch.testing.assert_close(log_det(dirac)[1], log_det(schur)[1], atol=1e-10, rtol=0)


@pytest.mark.parametrize("group", GROUPS)
def test_compiled_loops_are_the_plain_operations(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    """Values and all gradients of the numba kernels against torch's own differentiation of elementwise operations."""
    length, device = 4, torch.device("cpu")
    for way in (neighbours.all_sites(length, device), *neighbours.even_odd(length, device)):
        inputs = [
            torch.randn(shape, dtype=torch.complex128, generator=generator(f"test.{name}"), requires_grad=True)
            for name, shape in [
                ("field", (2, 3, len(way.back.sites), 2, group.n_colors)),
                ("links", (2, 2, length**2, group.n_colors, group.n_colors)),
                ("base", (2, 3, len(way.there.sites), 2, group.n_colors)),
            ]
        ]
        field, links, base = inputs
        weight = torch.randn(base.shape, dtype=torch.complex128, generator=generator("test.weight"))
        for sign in (1.0, -1.0):
            outcomes = []
            for use_numba in (True, False):
                with monkeypatch.context() as patch:
                    patch.setattr(hopping, "compiled", lambda _, use=use_numba: use)
                    value = hopping.hop(field, links, way, sign, -0.3, base)
                gradients = torch.autograd.grad((weight.conj() * value).real.sum(), inputs)
                outcomes.append((value.detach(), *gradients))
            assert outcomes[0][0].abs().max() > 0.1
            for ours, plain in zip(*outcomes, strict=True):
                torch.testing.assert_close(ours, plain, atol=1e-13, rtol=0)


def test_without_numba_the_plain_operations_take_over(monkeypatch: pytest.MonkeyPatch) -> None:
    field = torch.zeros(1)
    assert hopping.compiled(field)
    monkeypatch.setitem(__import__("sys").modules, "numba", None)
    assert not hopping.compiled(field)


def test_even_odd_needs_an_even_length() -> None:
    with pytest.raises(ValueError, match="even lattice length, not 3"):
        SchurComplement(u1.matrices(u1.identity(1, 3)), KAPPA)


def test_nan_stays_in_its_configuration() -> None:
    links = hot(su3, 4)
    links[0, 0, 0, 0] = math.nan
    for kind in (WilsonDirac, SchurComplement):
        matrix = kind(links, KAPPA)
        image = matrix.normal(matrix.noise(1, generator("test.psi")))
        assert image[0].isnan().any()
        assert image[1].isfinite().all()
