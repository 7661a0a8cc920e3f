"""The determinant of N_f = 2 as Gaussian integrals over pseudofermions, with Hasenbusch's factors.

det M = det(M + μ_N) Π_i det(M + μ_i) / det(M + μ_{i+1}) (Abbott et al. 2022, Eq. 38) with M = A A† and A = D or its
Schur complement. Every factor, "monomial", is the integral of e^{-S} with a quadratic form S = φ†Λφ whose determinant
is the inverse of the factor (Eqs. 10 and 37, with the measure dφ/π^n):

    det(M + μ):              Λ = (M + μ)^{-1},
    det(M + μ)/det(M + μ'):  Λ = (M + μ')(M + μ)^{-1} = 1 + (μ' - μ)(M + μ)^{-1}.

Both are Λ = c_0 + c_1 (M + μ)^{-1}. With X = (M + μ)^{-1} φ, taken as a constant, the expression
2 Re X†φ - |A†X|² - μ|X|² has the value of φ†(M + μ)^{-1}φ, and being stationary in X it has the exact gradients with
respect to the links and to φ: no solver is ever differentiated.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.gauge.fermions.determinants import normal_eigenvalues
from pipeline.gauge.fermions.dirac import FermionMatrix
from pipeline.gauge.fermions.solver import Solver


@dataclass(frozen=True)
class Monomial:
    """One factor of the determinant.

    Attributes:
        shift: μ >= 0 of the numerator.
        next_shift: μ' > μ of the denominator; None without one, det(M + μ).
    """

    shift: float
    next_shift: float | None

    @property
    def _coefficients(self) -> tuple[float, float]:
        return (0.0, 1.0) if self.next_shift is None else (1.0, self.next_shift - self.shift)

    def action(self, matrix: FermionMatrix, fields: Tensor, solver: Solver) -> Tensor:
        """S = φ†Λφ with exact gradients with respect to links and fields, where autograd is on.

        Args:
            matrix: A with M = A A†.
            fields: φ, (batch, k, sites, 2, N).
            solver: for M + μ.

        Returns:
            (batch, k), real.
        """
        constant, weight = self._coefficients
        solution = solver.solve(matrix, self.shift, fields.detach())
        stationary = 2.0 * _product(solution, fields) - _square(matrix.dagger(solution))
        return constant * _square(fields) + weight * (stationary - self.shift * _square(solution))

    @torch.no_grad()
    def draw(self, matrix: FermionMatrix, fields: int, generator: torch.Generator, solver: Solver) -> Tensor:
        """Fields distributed as e^{-S}, (batch, fields, sites, 2, N), at the price of at most one solution each.

        With Q = A γ_5, Q² = M, the field (Q + i√μ) η has the covariance M + μ if η†η is the action of η. Dividing by
        Q + i√μ', which commutes, gives (M + μ)/(M + μ'): φ = η + i(√μ - √μ')(Q - i√μ')(M + μ')^{-1} η.
        """
        eta = matrix.noise(fields, generator)
        root = math.sqrt(self.shift)
        if self.next_shift is None:
            return matrix.hermitian(eta) + 1j * root * eta
        next_root = math.sqrt(self.next_shift)
        solution = solver.solve(matrix, self.next_shift, eta)
        return eta + 1j * (root - next_root) * (matrix.hermitian(solution) - 1j * next_root * solution)

    def spectrum(self, eigenvalues: Tensor) -> Tensor:
        """Eigenvalues of Λ^{-1}, the covariance of the fields, from those of M; any shape."""
        shifted = eigenvalues + self.shift
        return shifted if self.next_shift is None else shifted / (eigenvalues + self.next_shift)


def hasenbusch(shifts: Sequence[float]) -> tuple[Monomial, ...]:
    """The N_h + 1 monomials of Eq. 38, the one with the smallest shift first.

    Args:
        shifts: μ_0 < μ_1 < ... < μ_{N_h}; the product is det(M + μ_0), where μ_0 is 0 or a regulator. (0,) alone is
            the plain pseudofermion action.

    Raises:
        ValueError: no shifts, a negative one, or not rising.
    """
    # NaN compares false, and must not pass.
    if not (shifts and shifts[0] >= 0.0 and all(low < high for low, high in itertools.pairwise(shifts))):
        raise ValueError(f"Hasenbusch shifts must rise from zero or a positive number, not {list(shifts)}")
    return tuple(Monomial(low, high) for low, high in zip(shifts, [*shifts[1:], None], strict=True))


@torch.no_grad()
def condition_numbers(matrix: FermionMatrix, monomials: Sequence[Monomial]) -> Tensor:
    """Condition number of the covariance Λ^{-1} of each monomial and configuration, (monomials, batch), float64.

    For det M it is the condition number of M, the quantity of Section IV A 2 of the paper.
    """
    eigenvalues = normal_eigenvalues(matrix)
    spectra = torch.stack([monomial.spectrum(eigenvalues) for monomial in monomials])
    return spectra.amax(dim=-1) / spectra.amin(dim=-1)


def _product(a: Tensor, b: Tensor) -> Tensor:
    """Re a†b of each field, (batch, k)."""
    return (a.real * b.real + a.imag * b.imag).flatten(2).sum(dim=-1)


def _square(a: Tensor) -> Tensor:
    return _product(a, a)
