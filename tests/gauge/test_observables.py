"""Fermionic observables against explicit matrices and the free theory."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.base.numbers import rng
from pipeline.gauge import observables, su3, u1
from pipeline.gauge.fermions.dirac import WilsonDirac
from pipeline.gauge.fermions.even_odd import SchurComplement
from pipeline.gauge.group import Group
from pipeline.gauge.observables import (
    condition_number,
    fermion_observables,
    gauge_observables,
    propagator_squares,
    pseudoscalar_correlator,
)
from pipeline.gauge.spectroscopy import effective_mass
from pipeline.gauge.systems import Schwinger, SU3TwoD, U1PureGauge
from tests.gauge import fermion_matrices

KAPPA = 0.21


def hot(group: Group, length: int, batch: int = 2) -> torch.Tensor:
    return group.random_links(batch, length, rng.torch_generator(11, "test.links"))


def traces(propagator: np.ndarray, length: int, colors: int) -> np.ndarray:
    """-⟨ū γ_5 d(x) d̄ γ_5 u(y)⟩ summed over space, for each t_y and t_x: Tr[γ_5 G(x, y) γ_5 G(y, x)] by Wick."""
    g = propagator.reshape(length, length, 2, colors, length, length, 2, colors)
    gamma = np.array([1.0, -1.0])
    loops = np.einsum("s,abscdeuf,u,deufabsc->da", gamma, g, gamma, g)
    assert abs(loops.imag).max() < 1e-10
    return np.asarray(loops.real)


@pytest.mark.parametrize("length", [3, 4])
@pytest.mark.parametrize("group", [u1, su3], ids=["u1", "su3"])
def test_correlator_is_the_wick_contraction(group: Group, length: int) -> None:
    links = hot(group, length)
    matrices = group.matrices(links)
    result = pseudoscalar_correlator(matrices, KAPPA)
    assert result.shape == (2, length)
    squares = propagator_squares(matrices, KAPPA)
    for b in range(2):
        propagator = np.linalg.inv(fermion_matrices.wilson_dirac(matrices[b].numpy(), KAPPA))
        loops = traces(propagator, length, group.n_colors)
        np.testing.assert_allclose(squares[b], loops, rtol=1e-10)
        # Averaged over the time of the source.
        expected = [np.mean([loops[t, (t + d) % length] for t in range(length)]) for d in range(length)]
        np.testing.assert_allclose(result[b], expected, rtol=1e-10)


@pytest.mark.parametrize("group", [u1, su3], ids=["u1", "su3"])
def test_correlator_is_gauge_invariant_and_does_not_depend_on_chunks(
    group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    links = hot(group, 4, 5)
    rotated = group.gauge_transform(links, group.random_gauge(5, 4, rng.torch_generator(11, "test.gauge")))
    expected = pseudoscalar_correlator(group.matrices(links), KAPPA)
    torch.testing.assert_close(pseudoscalar_correlator(group.matrices(rotated), KAPPA), expected, rtol=1e-10, atol=0)
    monkeypatch.setattr(observables, "CHUNK_BYTES", 1)
    torch.testing.assert_close(pseudoscalar_correlator(group.matrices(links), KAPPA), expected, rtol=1e-12, atol=0)


def test_free_mesons_weigh_two_free_fermions() -> None:
    """Two fermions at rest: at p_1 = 0 each has the energy log(1 + am_0), with am_0 = 1/2κ - 2."""
    matrices = u1.matrices(torch.zeros(1, 2, 32, 32, dtype=torch.float64))
    masses = effective_mass(pseudoscalar_correlator(matrices, 0.2)[0].numpy())
    lightest = 2.0 * math.log(1.0 + 0.5 / 0.2 - 2.0)
    # Pairs with opposite momenta ±2π/32 and more lie close above: the approach is slow.
    assert (np.diff(masses[1:12]) < 0).all()
    assert lightest < masses[11] < 1.15 * lightest


@pytest.mark.parametrize("group", [u1, su3], ids=["u1", "su3"])
def test_condition_numbers(group: Group) -> None:
    matrices = group.matrices(hot(group, 2, 3))
    full, even_odd = (condition_number(kind, matrices, KAPPA) for kind in (WilsonDirac, SchurComplement))
    even = fermion_matrices.even_order(2, group.n_colors)
    for b in range(3):
        dense = fermion_matrices.wilson_dirac(matrices[b].numpy(), KAPPA)
        assert full[b].item() == pytest.approx(np.linalg.cond(dense) ** 2, rel=1e-9)
        # The inverse of the Schur complement is the even block of the inverse.
        schur = np.linalg.inv(np.linalg.inv(dense)[np.ix_(even, even)])
        assert even_odd[b].item() == pytest.approx(np.linalg.cond(schur) ** 2, rel=1e-9)


@pytest.mark.parametrize("length", [2, 3])
def test_condition_numbers_of_monomials(length: int) -> None:
    """From the eigenvalues of A A† by numpy: (λ + μ)/(λ + μ') of each pair of shifts, λ + μ of the last."""
    system, links = Schwinger(length=length, beta=2.0, kappa=KAPPA), hot(u1, length)
    found = fermion_observables(links, system, correlator=False, condition_numbers=True, shifts=[0.1, 0.5])
    kind = SchurComplement if length == 2 else WilsonDirac
    dense = kind(u1.matrices(links), KAPPA).dense().numpy()
    for b, matrix in enumerate(dense):
        m = np.linalg.eigvalsh(matrix @ matrix.conj().T)
        for i, covariance in enumerate((m / (m + 0.1), (m + 0.1) / (m + 0.5), m + 0.5)):
            ratio = covariance.max() / covariance.min()
            assert found[f"condition_number_monomial_{i}"][b] == pytest.approx(ratio, rel=1e-9)


def test_what_is_observed() -> None:
    assert set(gauge_observables(hot(u1, 4), U1PureGauge(length=4, beta=2.0))) == {"plaquette", "topological_charge"}
    assert set(gauge_observables(hot(su3, 2), SU3TwoD(length=2, beta=6.0, kappa=KAPPA))) == {"plaquette"}
    everything: dict[str, Any] = {"correlator": True, "condition_numbers": True}
    assert fermion_observables(hot(u1, 4), U1PureGauge(length=4, beta=2.0), **everything) == {}
    full = fermion_observables(hot(u1, 4), Schwinger(length=4, beta=2.0, kappa=KAPPA), **everything)
    conditions = ("condition_number", "condition_number_even_odd")
    assert set(full) == {"correlator", "correlator_from_zero", *conditions}
    assert {name: full[name].shape for name in conditions} == dict.fromkeys(conditions, (2,))
    odd = fermion_observables(hot(u1, 3), Schwinger(length=3, beta=2.0, kappa=KAPPA), **everything)
    assert set(odd) == {"correlator", "correlator_from_zero", "condition_number"}
    system = SU3TwoD(length=2, beta=6.0, kappa=KAPPA)
    only = fermion_observables(hot(su3, 2), system, correlator=True, condition_numbers=False)
    assert set(only) == {"correlator", "correlator_from_zero"}
