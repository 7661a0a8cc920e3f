"""Spectral flow of SU(3) loops: splines on the eigenphases, without derivatives of eigenvectors.

Boyda et al., Phys. Rev. D 103, 074504 (2021): L = V e^{iθ} V† -> V e^{iθ'} V† commutes with conjugation and has the
Jacobian |∂θ'/∂θ| Π_{k<l} |λ'_k - λ'_l|² / |λ_k - λ_l|² under the Haar measure. The eigenvalues are the roots of
λ³ - tλ² + t*λ - 1 with t = Tr L, and e^{i(θ'-θ)} of the matrix is the polynomial of second degree in L that takes its
value at each of them (Vandermonde): both are differentiable functions of L, and equivariant by construction.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pipeline.gauge.flow.spline import Spline

REFINEMENTS = 2
"""Newton steps after Cardano's formula, which loses half of the digits where eigenvalues are close."""

TINY = 1e-12
"""Gaps of eigenvalues, in radians, below which differences of functions of them are rounding alone."""


def phase_equation(phase: Tensor, trace: Tensor) -> tuple[Tensor, Tensor]:
    """F(θ) = sin(3θ/2) - Im(t e^{iθ/2}), zero at eigenphases, and F'; ``phase`` (..., 3), ``trace`` (..., 1) complex.

    The characteristic polynomial at e^{iθ} is 2i e^{3iθ/2} F(θ), since |λ| = 1 and det = 1.
    """
    half = phase / 2.0
    cosine, sine = half.cos(), half.sin()
    value = (3.0 * half).sin() - trace.real * sine - trace.imag * cosine
    slope = 1.5 * (3.0 * half).cos() - 0.5 * (trace.real * cosine - trace.imag * sine)
    return value, slope


@torch.no_grad()
def _cardano(trace: Tensor) -> Tensor:
    """Arguments of the roots of λ³ - tλ² + t*λ - 1, (..., 3), in no order; ``trace`` (...) complex."""
    third = trace / 3.0
    p = trace.conj() - 3.0 * third.square()
    q = third * trace.conj() - 2.0 * third**3 - 1.0
    root = (0.25 * q.square() + (p / 3.0) ** 3).sqrt()
    plus, minus = root - 0.5 * q, -root - 0.5 * q
    larger = torch.where(plus.abs() >= minus.abs(), plus, minus)
    cube_root = torch.polar(larger.abs() ** (1.0 / 3.0), larger.angle() / 3.0).unsqueeze(-1)
    turns = 2.0 * math.pi / 3.0 * torch.arange(3, dtype=trace.real.dtype, device=trace.device)
    cube_roots = cube_root * torch.polar(torch.ones_like(turns), turns)
    # Three equal eigenvalues: p = q = 0, and nothing is to be added.
    safe = torch.where(cube_roots.abs() < 1e-100, torch.ones_like(cube_roots), cube_roots)
    return (third.unsqueeze(-1) + cube_roots - p.unsqueeze(-1) / (3.0 * safe)).angle()


def eigenphases(trace: Tensor) -> Tensor:
    """Eigenphases θ_0 <= θ_1 <= θ_2 <= θ_0 + 2π of SU(3) matrices with Σθ = 0, in radians: one triple a class.

    Differentiable by the last Newton step. Phases of two eigenvalues at a distance g are good to 1e-16/g, of three
    to 1e-16/g², since the trace knows no more; where they coincide the gradient is left out.

    Args:
        trace: Tr L, (...), complex128.

    Returns:
        (..., 3) float64.
    """
    phase = _cardano(trace)
    for step in range(REFINEMENTS):
        with torch.set_grad_enabled(torch.is_grad_enabled() and step == REFINEMENTS - 1):
            value, slope = phase_equation(phase, trace.unsqueeze(-1))
            slope = slope.detach()
            double = slope.abs() < TINY
            phase = phase - torch.where(double, torch.zeros_like(value), value / slope.masked_fill(double, 1.0))
    return _canonical(phase)


def _canonical(phase: Tensor) -> Tensor:
    """The same phases modulo 2π, in rising order within 2π, adding up to zero."""
    phase = phase.sort(dim=-1).values
    turns = (phase.detach().sum(dim=-1, keepdim=True) / (2.0 * math.pi)).round()
    # One turn too many comes off the largest phase, one too few is added to the smallest.
    first, _, last = phase.detach().unbind(dim=-1)
    shift = torch.stack([(turns[..., 0] < 0) * 1.0, torch.zeros_like(first), -((turns[..., 0] > 0) * 1.0)], dim=-1)
    phase = (phase + 2.0 * math.pi * shift.to(last.dtype)).sort(dim=-1).values
    return phase - phase.mean(dim=-1, keepdim=True)


def to_box(phase: Tensor) -> tuple[Tensor, Tensor]:
    """w = (z - x)/2π and r = 1/2 + 3y/(4πw) of ordered phases x <= y <= z that add up to zero; both in [0, 1].

    dx dy is w dw dr, up to a constant.
    """
    x, y, z = phase.unbind(dim=-1)
    w = ((z - x) / (2.0 * math.pi)).clamp(TINY, 1.0)
    return w, (0.5 + 3.0 * y / (4.0 * math.pi * w)).clamp(0.0, 1.0)


def from_box(w: Tensor, r: Tensor) -> Tensor:
    """Inverse of :func:`to_box`: (...), (...) -> (..., 3)."""
    y = (r - 0.5) * w * (4.0 * math.pi / 3.0)
    return torch.stack([-0.5 * y - math.pi * w, y, -0.5 * y + math.pi * w], dim=-1)


def log_haar(phase: Tensor) -> Tensor:
    """log Π_{k<l} |e^{iθ_k} - e^{iθ_l}|², the Haar density of eigenphases up to a constant; (..., 3) -> (...)."""
    x, y, z = phase.unbind(dim=-1)
    gaps = torch.stack([y - x, z - y, z - x], dim=-1)
    return 2.0 * (2.0 * (0.5 * gaps).sin().abs().clamp(min=TINY)).log().sum(dim=-1)


def function_of_matrix(matrix: Tensor, phase: Tensor, angle: Tensor) -> Tensor:
    """f(L) with f = e^{iδ_k} at the eigenvalue e^{iθ_k}, by Newton's form of the interpolating polynomial.

    Args:
        matrix: L, (..., 3, 3).
        phase: θ, its eigenphases, (..., 3).
        angle: δ, (..., 3), equal where eigenvalues are.
    """
    first, second = _divided_difference(phase, angle, 0, 1), _divided_difference(phase, angle, 1, 2)
    unit = torch.polar(torch.ones_like(phase), phase)
    ends = unit[..., 2] - unit[..., 0]
    third = (second - first) / torch.where(ends.abs() < TINY, torch.ones_like(ends), ends)
    f_0 = torch.polar(torch.ones_like(angle[..., 0]), angle[..., 0])
    one = torch.eye(3, dtype=matrix.dtype, device=matrix.device)

    def scalar(values: Tensor) -> Tensor:
        return values[..., None, None]

    # f_0 + (L - λ_0) [first + (L - λ_1) third]
    inner = scalar(first - unit[..., 1] * third) * one + scalar(third) * matrix
    return scalar(f_0) * one + (matrix - scalar(unit[..., 0]) * one) @ inner


def _divided_difference(phase: Tensor, angle: Tensor, k: int, l: int) -> Tensor:  # noqa: E741
    """(e^{iδ_l} - e^{iδ_k}) / (e^{iθ_l} - e^{iθ_k}), by half angles, which do not cancel; (...) complex."""
    below = (0.5 * (phase[..., l] - phase[..., k])).sin()
    above = (0.5 * (angle[..., l] - angle[..., k])).sin()
    small = below.abs() < TINY
    ratio = torch.where(small, torch.zeros_like(below), above / torch.where(small, torch.ones_like(below), below))
    mean = 0.5 * (angle[..., k] + angle[..., l] - phase[..., k] - phase[..., l])
    return torch.polar(torch.ones_like(mean), mean) * ratio


class SpectralSpline:
    """Splines on the box coordinates of the eigenphases of SU(3) loops, a :class:`Transformation`.

    w is mapped first. The parameters of the spline of r are a + (2w - 1) b, with w as it was before: what comes of r
    may depend on w, and the Jacobian is triangular.

    Args:
        bins: of both splines.
    """

    def __init__(self, bins: int) -> None:
        self._each = 3 * bins + 1
        self.parameters = 3 * self._each
        """Widths, heights and slopes for w, for a and for b."""

    def forward(self, loops: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """L' L† and log J."""
        phase, w, r = self._coordinates(loops)
        of_w, a, b = parameters.split(self._each)
        new_w, slope_w = Spline.interval(of_w).forward(w, clamped=True)
        new_r, slope_r = self._of_r(a, b, w).forward(r, clamped=True)
        return self._change(loops, phase, w, new_w, new_r, slope_w + slope_r)

    def inverse(self, loops: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """L L'† and -log J."""
        phase, w, r = self._coordinates(loops)
        of_w, a, b = parameters.split(self._each)
        new_w, slope_w = Spline.interval(of_w).inverse(w, clamped=True)
        new_r, slope_r = self._of_r(a, b, new_w).inverse(r, clamped=True)
        return self._change(loops, phase, w, new_w, new_r, slope_w + slope_r)

    @staticmethod
    def _of_r(a: Tensor, b: Tensor, w: Tensor) -> Spline:
        return Spline.interval(a + (2.0 * w - 1.0) * b)

    @staticmethod
    def _coordinates(loops: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        phase = eigenphases(torch.einsum("...ii->...", loops))
        return (phase, *to_box(phase))

    @staticmethod
    def _change(
        loops: Tensor, phase: Tensor, w: Tensor, new_w: Tensor, new_r: Tensor, log_slope: Tensor
    ) -> tuple[Tensor, Tensor]:
        new_w = new_w.clamp(min=TINY)
        new = from_box(new_w, new_r)
        log_j = log_haar(new) - log_haar(phase) + log_slope + (new_w / w).log()
        return function_of_matrix(loops, phase, new - phase), log_j
