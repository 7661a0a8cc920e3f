"""What is measured on an ensemble of gauge configurations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pipeline.gauge import neighbours, u1
from pipeline.gauge.fermions import hopping
from pipeline.gauge.fermions.determinants import normal_eigenvalues
from pipeline.gauge.fermions.dirac import FermionMatrix, WilsonDirac, gamma_5
from pipeline.gauge.fermions.even_odd import SchurComplement
from pipeline.gauge.fermions.monomials import condition_numbers as of_monomials
from pipeline.gauge.fermions.monomials import hasenbusch
from pipeline.gauge.group import group_of
from pipeline.gauge.systems import GaugeSystem, TwoFlavours

CHUNK_BYTES = 2**26
"""Dense matrices are made for so many configurations at a time that one of them takes this much."""


def gauge_observables(links: Tensor, system: GaugeSystem) -> dict[str, Any]:
    """Of each configuration, (batch,): ``plaquette`` float64 and, for U(1), ``topological_charge`` int64."""
    group = group_of(system)
    found: dict[str, Any] = {"plaquette": group.mean_plaquette(links).cpu().numpy()}
    if group.name == "u1":
        found["topological_charge"] = u1.topological_charge(links).round().long().cpu().numpy()
    return found


@torch.no_grad()
def fermion_observables(
    links: Tensor, system: GaugeSystem, *, correlator: bool, condition_numbers: bool, shifts: Sequence[float] = ()
) -> dict[str, Any]:
    """Of each configuration, batch first, float64; nothing without fermions.

    Args:
        links: of the group.
        system: the theory.
        correlator: measure it.
        condition_numbers: measure them.
        shifts: Hasenbusch's μ_1 < μ_2 < ... of the monomials whose condition numbers are measured too, on the Schur
            complement where L is even.

    Returns:
        If asked for, ``correlator`` (batch, L), averaged over the time of the source, ``correlator_from_zero``, with
        the source at time 0; ``condition_number`` and, for even L, ``condition_number_even_odd``; with shifts
        ``condition_number_monomial_<i>``, the one of det M(M + μ_1)^{-1} first.
    """
    found: dict[str, Any] = {}
    if not isinstance(system, TwoFlavours):
        return found
    matrices = group_of(system).matrices(links)
    if correlator:
        squares = propagator_squares(matrices, system.kappa)
        found["correlator"] = by_distance(squares).cpu().numpy()
        found["correlator_from_zero"] = squares[:, 0].cpu().numpy()
    if condition_numbers:
        found["condition_number"] = condition_number(WilsonDirac, matrices, system.kappa).cpu().numpy()
        if system.length % 2 == 0:
            found["condition_number_even_odd"] = condition_number(SchurComplement, matrices, system.kappa).cpu().numpy()
        if shifts:
            kind = SchurComplement if system.length % 2 == 0 else WilsonDirac
            monomials = hasenbusch([0.0, *shifts])
            parts = [of_monomials(kind(part, system.kappa), monomials) for part in _chunks(matrices)]
            for i, values in enumerate(torch.cat(parts, dim=1).cpu().numpy()):
                found[f"condition_number_monomial_{i}"] = values
    return found


def condition_number(kind: type[FermionMatrix], matrices: Tensor, kappa: float) -> Tensor:
    """Condition number of A A†, its largest over its smallest eigenvalue, of each configuration; (batch,), float64.

    Args:
        kind: A, :class:`WilsonDirac` or :class:`SchurComplement`.
        matrices: links, (batch, 2, L, L, N, N).
        kappa: κ.
    """

    def of(part: Tensor) -> Tensor:
        eigenvalues = normal_eigenvalues(kind(part, kappa))
        return eigenvalues.amax(dim=1) / eigenvalues.amin(dim=1)

    return torch.cat([of(part) for part in _chunks(matrices)])


def propagator_squares(matrices: Tensor, kappa: float) -> Tensor:
    """Σ_{x_1, y_1} |D^{-1}(x; y)|² over spins and colours, (batch, L, L), float64, at [y_0, x_0]; positive.

    By γ_5-hermiticity the pseudoscalar correlator of Eq. C3 (without 1/L) is the row of y_0 = 0; every other row,
    counted from its y_0, has the same expectation value.

    Args:
        matrices: links, (batch, 2, L, L, N, N).
        kappa: κ.
    """
    squares = _squares_even_odd if matrices.shape[2] % 2 == 0 else _squares
    return torch.cat([squares(part, kappa) for part in _chunks(matrices)])


def pseudoscalar_correlator(matrices: Tensor, kappa: float) -> Tensor:
    """C(t) of each configuration (Eq. C3), averaged over the time of the source; (batch, L), float64."""
    return by_distance(propagator_squares(matrices, kappa))


def _chunks(matrices: Tensor) -> tuple[Tensor, ...]:
    dimension = 2 * matrices.shape[2] ** 2 * matrices.shape[-1]
    return matrices.split(max(1, CHUNK_BYTES // (16 * dimension**2)))


def by_distance(squares: Tensor) -> Tensor:
    """Mean over y of element [y, y + t], cyclically; (batch, L, L) -> (batch, L)."""
    length = squares.shape[1]
    source = torch.arange(length)
    return torch.stack([squares[:, source, (source + t) % length].mean(dim=1) for t in range(length)], dim=1)


def _sum_by_time(columns: Tensor, length: int) -> Tensor:
    """Σ |G|² over what shares the times of source and sink; columns (batch, n, m), both in rising order of time."""
    batch, sources, sinks = columns.shape
    squares = columns.real.square() + columns.imag.square()
    return squares.view(batch, length, sources // length, length, sinks // length).sum(dim=(2, 4))


def _squares(matrices: Tensor, kappa: float) -> Tensor:
    """Σ |D^{-1}(x; y)|² over all sites x, y of given times, (batch, time of y, time of x)."""
    inverse = torch.linalg.inv(WilsonDirac(matrices, kappa).dense())
    return _sum_by_time(inverse.mT, matrices.shape[2])


def _squares_even_odd(matrices: Tensor, kappa: float) -> Tensor:
    """The same from the inverse of the Schur complement S, at an eighth of the cost.

    G_ee = S^{-1}, G_oe = -D_oe S^{-1}, G_eo = γ_5 G_oe† γ_5 and G_oo = 1 - D_oe G_eo, with D_oe = -κ H_oe.
    """
    length, colors = matrices.shape[2], matrices.shape[-1]
    schur = SchurComplement(matrices, kappa)
    to_odd, _ = neighbours.even_odd(length, matrices.device)
    shape = (schur.batch, schur.dimension, schur.sites, 2, colors)

    def to_odd_sites(columns: Tensor, base: Tensor | None) -> Tensor:
        """base - D_oe acting on columns of even sites."""
        return hopping.hop(columns, schur.links, to_odd, 1.0, kappa, base)

    even_even = torch.linalg.inv(schur.dense()).mT.reshape(shape)
    odd_even = to_odd_sites(even_even, None)
    # In columns the Hermitian conjugate exchanges source and sink.
    even_odd = gamma_5(gamma_5(odd_even).flatten(2).mT.conj().reshape(shape))
    unit = torch.eye(schur.dimension, dtype=matrices.dtype, device=matrices.device).reshape(1, *shape[1:])
    odd_odd = to_odd_sites(even_odd, unit.expand(shape))
    # G_eo has the squares of G_oe, source and sink exchanged.
    mixed = _sum_by_time(odd_even.flatten(2), length)
    diagonal = sum(_sum_by_time(part.flatten(2), length) for part in (even_even, odd_odd))
    return mixed + mixed.mT + diagonal
