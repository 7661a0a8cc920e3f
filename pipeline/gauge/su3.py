"""SU(3) gauge fields in two dimensions and the algebra of traceless Hermitian 3 × 3 matrices.

Links are matrices, complex128, shape (batch, 2, L, L, 3, 3): axis 1 is the direction μ, axes 2 and 3 are the periodic
coordinates x_0 and x_1; U_μ(x) leads from x to x + μ. Algebra elements H = Σ_a ω_a T_a are given by their eight real
coefficients ω in the last axis, T_a = λ_a/2 with the Gell-Mann matrices λ_a, so that Tr T_a T_b = δ_ab/2.

The module is a :class:`pipeline.gauge.group.Group`; momenta have eight coefficients a link.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import torch
from torch import Tensor

name: str = "su3"
"""As in the system's ``group``."""

n_colors: int = 3
"""N, dimension of the fundamental representation."""

UNITARITY = 1e-8
"""Largest deviation of U†U from 1 that :func:`check` lets pass; rounding stays below 1e-12."""

PROJECTION_STEPS = 60
"""Newton-Schulz steps allowed: a singular value of 1e-8 grows by 3/2 a step and still gets there."""


@functools.cache
def _generators(device: torch.device) -> Tensor:
    matrices = np.zeros((8, 3, 3), dtype=np.complex128)
    for a, (i, j) in {0: (0, 1), 3: (0, 2), 5: (1, 2)}.items():
        matrices[a, i, j] = matrices[a, j, i] = 0.5
        matrices[a + 1, i, j], matrices[a + 1, j, i] = -0.5j, 0.5j
    matrices[2] = np.diag([0.5, -0.5, 0.0])
    matrices[7] = np.diag([1.0, 1.0, -2.0]) / (2.0 * math.sqrt(3.0))
    return torch.from_numpy(matrices).to(device)


def generators() -> Tensor:
    """T_a = λ_a/2 in the order of Gell-Mann, (8, 3, 3), complex128; a copy."""
    return _generators(torch.device("cpu")).clone()


def algebra(coefficients: Tensor) -> Tensor:
    """H = Σ_a ω_a T_a; ``coefficients`` (..., 8) float64 -> (..., 3, 3) complex128, Hermitian and traceless."""
    basis = torch.view_as_real(_generators(coefficients.device)).reshape(8, 18).to(coefficients.dtype)
    return torch.view_as_complex((coefficients @ basis).unflatten(-1, (3, 3, 2)))


def traces_with_generators(matrices: Tensor) -> Tensor:
    """Im Tr(T_a M) for all a; ``matrices`` (..., 3, 3) complex128 -> (..., 8) float64."""
    # Tr(T M) = Σ_ij T*_ij M_ij for a Hermitian T, and its imaginary part mixes the real planes of both.
    dual = torch.view_as_real(1j * _generators(matrices.device)).reshape(8, 18)
    planes = torch.view_as_real(matrices).flatten(-3)
    return planes @ dual.T.to(planes.dtype)


def coefficients_of(hermitian: Tensor) -> Tensor:
    """ω_a = 2 Tr(T_a H), inverse of :func:`algebra`; (..., 3, 3) -> (..., 8); a trace of H is ignored."""
    return 2.0 * traces_with_generators(1j * hermitian)


def exponential(hermitian: Tensor) -> Tensor:
    """exp(iH) of traceless Hermitian H, (..., 3, 3) complex128, to machine precision for all spectra.

    Cayley-Hamilton: exp(iH) = f_0 + f_1 H + f_2 H² with f_j functions of det H and Tr H² (Morningstar and Peardon,
    Phys. Rev. D 69, 054501 (2004), Eqs. 19-34). The f_j are even in w, which is inaccurate (1e-8) where two
    eigenvalues meet, so that nothing is lost there.
    """
    square = hermitian @ hermitian
    c1 = 0.5 * torch.einsum("...ii->...", square).real
    c0 = torch.einsum("...ij,...ji->...", square, hermitian).real / 3.0
    scale = (c1 / 3.0).sqrt()
    largest = 2.0 * scale**3
    # c0 -> -c0 maps H to -H, hence f_j to (-1)^j f_j*; for c0 >= 0 the denominator is at least 2 Tr H²/2 = 2 c1.
    flipped = c0 < 0.0
    least, vanishing = (1e-300, 1e-280) if c0.dtype == torch.float64 else (1e-37, 1e-25)
    theta = (c0.abs() / largest.clamp(min=least)).clamp(max=1.0).acos() / 3.0
    u, w = scale * theta.cos(), math.sqrt(3.0) * scale * theta.sin()
    u2, w2 = u * u, w * w
    cos_w, sinc_w = w.cos(), torch.sinc(w / math.pi)
    fast, slow = torch.polar(torch.ones_like(u), 2.0 * u), torch.polar(torch.ones_like(u), -u)
    h0 = (u2 - w2) * fast + slow * torch.complex(8.0 * u2 * cos_w, 2.0 * u * (3.0 * u2 + w2) * sinc_w)
    h1 = 2.0 * u * fast - slow * torch.complex(2.0 * u * cos_w, (w2 - 3.0 * u2) * sinc_w)
    h2 = fast - slow * torch.complex(cos_w, 3.0 * u * sinc_w)
    denominator = 9.0 * u2 - w2
    # Below 1e-150 c1 underflows, and exp(iH) = 1 + iH to all digits; in single precision below 1e-19.
    tiny = denominator < vanishing
    safe = torch.where(tiny, torch.ones_like(denominator), denominator)
    f = torch.stack([h0, h1, h2], dim=-1) / safe.unsqueeze(-1)
    f = torch.where(tiny.unsqueeze(-1), torch.tensor([1.0, 1.0j, -0.5], dtype=f.dtype, device=f.device), f)
    sign = torch.tensor([1.0, -1.0, 1.0], dtype=u.dtype, device=f.device)
    f = torch.where(flipped.unsqueeze(-1), f.conj() * sign, f)[..., None, None]
    return (
        f[..., 0, :, :] * torch.eye(3, dtype=f.dtype, device=f.device)
        + f[..., 1, :, :] * hermitian
        + f[..., 2, :, :] * square
    )


def project(matrices: Tensor) -> Tensor:
    """The unitary polar factor M (M†M)^{-1/2}, freed of the phase of its determinant; (..., 3, 3) complex128.

    Newton-Schulz iteration X -> X (3 - X†X)/2, one or two steps for matrices that left SU(3) by rounding only. It
    commutes with gauge transformations, M -> V M W.

    Raises:
        ValueError: a matrix is singular (condition number beyond about 1e8) or not finite.
    """
    x = matrices * (math.sqrt(3.0) / torch.linalg.matrix_norm(matrices, keepdim=True))
    three = 3.0 * torch.eye(3, dtype=x.dtype, device=x.device)
    for _ in range(PROJECTION_STEPS):
        gram = x.mH @ x
        x = 0.5 * x @ (three - gram)
        # Convergence is quadratic: a deviation of 1e-8 before the step is one of 1e-16 after it.
        if (gram - three / 3.0).abs().max() < (1e-8 if x.dtype == torch.complex128 else 1e-4):
            return x / torch.polar(torch.ones_like(gram[..., 0, 0].real), determinant(x).angle() / 3.0)[..., None, None]
    raise ValueError("cannot project on SU(3): a matrix is singular or not finite")


def determinant(matrices: Tensor) -> Tensor:
    """det M; (..., 3, 3) -> (...). The product of a row with the cross product of the others: no pivots."""
    return (matrices[..., 0, :] * torch.linalg.cross(matrices[..., 1, :], matrices[..., 2, :])).sum(dim=-1)


def random_matrices(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Haar-distributed elements, ``shape`` + (3, 3), complex128, on the generator's device.

    The first two rows are orthonormalised Gaussians, the third is (row_0 × row_1)*: as right multiplication by SU(3)
    commutes with all of it and leaves the Gaussians alone, the distribution is invariant.
    """
    gaussian = torch.randn((*shape, 2, 3), dtype=torch.complex128, generator=generator, device=generator.device)
    first, second = gaussian.unbind(dim=-2)
    first = first / torch.linalg.vector_norm(first, dim=-1, keepdim=True)
    second = second - (first.conj() * second).sum(dim=-1, keepdim=True) * first
    second = second / torch.linalg.vector_norm(second, dim=-1, keepdim=True)
    return torch.stack([first, second, torch.linalg.cross(first, second).conj()], dim=-2)


def check_shape(links: Tensor) -> None:
    """Refuse what is not of shape (batch, 2, L, L, 3, 3).

    Raises:
        ValueError: naming the shape.
    """
    if links.ndim != 6 or links.shape[1] != 2 or links.shape[2] != links.shape[3] or links.shape[4:] != (3, 3):
        raise ValueError(f"links must have shape (batch, 2, L, L, 3, 3), not {tuple(links.shape)}")


def line(links: Tensor, direction: int, steps: int) -> Tensor:
    """Transporter U_μ(x) U_μ(x+μ) ... over ``steps`` >= 1 links in ``direction``; (batch, L, L, 3, 3)."""
    step = links[:, direction]
    product = step
    for distance in range(1, steps):
        product = product @ step.roll(-distance, dims=1 + direction)
    return product


def wilson_loops(links: Tensor, extent_0: int, extent_1: int) -> Tensor:
    """Transporter around the rectangle with corner x: along 0, along 1, back along 0, back along 1.

    Args:
        links: (batch, 2, L, L, 3, 3).
        extent_0, extent_1: sides in links, at least 1.

    Returns:
        (batch, L, L, 3, 3); W(x) -> Ω(x) W(x) Ω†(x) under gauge transformations.
    """
    check_shape(links)
    line_0, line_1 = line(links, 0, extent_0), line(links, 1, extent_1)
    there = line_0 @ line_1.roll(-extent_0, dims=1)
    back = line_1 @ line_0.roll(-extent_1, dims=2)
    return there @ back.mH


def plaquettes(links: Tensor) -> Tensor:
    """P(x) = U_0(x) U_1(x+0) U_0†(x+1) U_1†(x) (Eq. 3 of Abbott et al. 2022); (batch, L, L, 3, 3)."""
    return wilson_loops(links, 1, 1)


def mean_plaquette(links: Tensor) -> Tensor:
    """(1/V) Σ_x Re Tr P(x)/3 of each configuration; (batch,), between -1/2 and 1."""
    return torch.einsum("bxyii->bxy", plaquettes(links)).real.mean(dim=(1, 2)) / 3.0


def gauge_transform(links: Tensor, omega: Tensor) -> Tensor:
    """U_μ(x) -> Ω(x) U_μ(x) Ω†(x+μ) (Eq. 6); ``omega`` (batch, L, L, 3, 3)."""
    ahead = torch.stack([omega.roll(-1, dims=1), omega.roll(-1, dims=2)], dim=1)
    return omega.unsqueeze(1) @ links @ ahead.mH


def random_links(batch: int, length: int, generator: torch.Generator) -> Tensor:
    """Haar-random ("hot") links, (batch, 2, length, length, 3, 3), complex128, on the generator's device."""
    return random_matrices((batch, 2, length, length), generator)


def identity(batch: int, length: int) -> Tensor:
    """Trivial ("cold") links on the CPU: unit matrices."""
    return torch.eye(3, dtype=torch.complex128).repeat(batch, 2, length, length, 1, 1)


def matrices(links: Tensor) -> Tensor:
    """The links themselves."""
    return links


def random_momenta(links: Tensor, generator: torch.Generator) -> Tensor:
    """Independent normal coefficients of unit variance, (batch, 2, L, L, 8), in the precision of the links."""
    shape = (*links.shape[:4], 8)
    return torch.randn(shape, dtype=links.dtype.to_real(), device=links.device, generator=generator)


def drift(links: Tensor, momenta: Tensor, time: float) -> Tensor:
    """Free motion U -> exp(i time Σ_a π_a T_a) U, by the closed-form exponential."""
    return exponential(algebra(time * momenta)) @ links


def reproject(links: Tensor) -> Tensor:
    """The same fields, projected on SU(3)."""
    return project(links)


def force_from_gradient(links: Tensor, gradient: Tensor) -> Tensor:
    """F_a = Im Tr(T_a U G†) from the gradient with respect to the links, (batch, 2, L, L, 8)."""
    return traces_with_generators(links @ gradient.mH)


def random_gauge(batch: int, length: int, generator: torch.Generator) -> Tensor:
    """A Haar-random gauge transformation, (batch, length, length, 3, 3), complex128."""
    return random_matrices((batch, length, length), generator)


def gauge_matrices(gauge: Tensor) -> Tensor:
    """The transformation itself."""
    return gauge


def check(links: Tensor) -> None:
    """Refuse what is no configuration: unitarity and determinant, both within ``UNITARITY``.

    Raises:
        ValueError: wrong shape or dtype, NaN or infinity, or a link that is not in the group.
    """
    check_shape(links)
    if links.dtype != torch.complex128:
        raise ValueError(f"SU(3) links must be matrices of dtype complex128, not {links.dtype}")
    unit = torch.eye(3, dtype=links.dtype, device=links.device)
    unitarity = (links @ links.mH - unit).abs().max().item()
    # NaN compares false, and must not pass.
    if not unitarity <= UNITARITY:
        raise ValueError(f"SU(3) links must be unitary: U†U is off 1 by {unitarity:.1e}")
    phase = (determinant(links) - 1.0).abs().max().item()
    if not phase <= UNITARITY:
        raise ValueError(f"SU(3) links must have determinant 1: one is off by {phase:.1e}")
