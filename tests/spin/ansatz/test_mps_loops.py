"""Compiled loops of matrix product states against plain products, finite differences and the general formulas."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.spin.ansatz.mps import MPS
from pipeline.spin.ansatz.schema import MPSConfig
from pipeline.spin.systems import ChainTFIM

pytest.importorskip("numba")


def state(n_sites: int, chi: int = 3, deviation: float = 0.4, dtype: torch.dtype = torch.float64) -> MPS:
    torch.manual_seed(n_sites + chi)
    chain = ChainTFIM(n_sites=n_sites, range=1, coupling=1.0, field=1.0)
    return MPS(MPSConfig(bond_dimension=chi, deviation=deviation), chain).to(dtype)


def configurations(batch: int, n_sites: int) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.where(torch.rand(batch, n_sites, generator=generator) < 0.5, -1, 1).to(torch.int8)


def amplitudes(mps: MPS, spins: Tensor) -> np.ndarray:
    """ψ by numpy, one matrix after the other."""
    matrices = mps.matrices.detach().double().numpy()
    found = []
    for row in spins.tolist():
        product = np.eye(matrices.shape[-1])
        for site, s in enumerate(row):
            product = product @ matrices[site, 0 if s > 0 else 1]
        found.append(np.trace(product))
    return np.array(found)


# batches that fill registers of eight, that do not, and of one
@pytest.mark.parametrize(("batch", "n_sites", "chi"), [(1, 2, 1), (8, 3, 2), (13, 7, 5)])
def test_amplitudes_and_flips_are_products_of_matrices(batch: int, n_sites: int, chi: int) -> None:
    mps, spins = state(n_sites, chi), configurations(batch, n_sites)
    expected = amplitudes(mps, spins)
    assert mps.evaluate(spins).exp().real.detach().numpy() == pytest.approx(expected, rel=1e-11)
    assert mps.batch_log_amplitude(spins).exp().real.detach().numpy() == pytest.approx(expected, rel=1e-11)
    masks = torch.eye(n_sites, dtype=torch.bool).flip(0)
    flipped = mps.connected_log_amplitudes(spins, masks).exp().real.numpy()
    for k, mask in enumerate(masks):
        there = amplitudes(mps, torch.where(mask, -spins, spins))
        assert flipped[:, k] == pytest.approx(there, rel=1e-10, abs=1e-12)


def test_derivatives_are_finite_differences() -> None:
    mps, spins = state(4), configurations(11, 4)
    slope = torch.randn(11, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    log_psi = mps.batch_log_amplitude(spins)
    assert log_psi.is_complex()
    (gradient,) = torch.autograd.grad(log_psi, [mps.matrices], slope.to(log_psi.dtype))
    step = 1e-6
    for index in [(0, 0, 0, 0), (1, 1, 2, 0), (3, 0, 1, 2), (2, 1, 1, 1)]:
        sides = []
        for sign in (1, -1):
            with torch.no_grad():
                mps.matrices[index] += sign * step
                sides.append(float(np.log(np.abs(amplitudes(mps, spins))) @ slope.numpy()))
                mps.matrices[index] -= sign * step
        assert float(gradient[index]) == pytest.approx((sides[0] - sides[1]) / (2 * step), rel=1e-6, abs=1e-8)


def test_single_precision_and_long_rings() -> None:
    """Products that leave the range of single precision many times over."""
    mps, spins = state(60, 5, dtype=torch.float32), configurations(9, 60)
    with torch.no_grad():
        mps.matrices.mul_(1e8)
        expected = mps.log_amplitude(spins)
        assert mps.evaluate(spins).real.numpy() == pytest.approx(expected.real.numpy(), rel=1e-5)
        assert expected.real.min() > 60 * math.log(1e7)
    assert mps.evaluate(spins).dtype == torch.complex64


def test_a_state_that_vanishes_is_minus_infinity() -> None:
    mps, spins = state(3), configurations(4, 3)
    with torch.no_grad():
        mps.matrices.zero_()
    assert (mps.evaluate(spins).real == -torch.inf).all()
    assert (mps.connected_log_amplitudes(spins, torch.eye(3, dtype=torch.bool)).real == -torch.inf).all()


def test_several_spins_flipped_together() -> None:
    mps, spins = state(5), configurations(6, 5)
    masks = torch.tensor([[True, True, False, False, False], [False] * 5])
    found = mps.connected_log_amplitudes(spins, masks).exp().real.numpy()
    assert found[:, 0] == pytest.approx(amplitudes(mps, torch.where(masks[0], -spins, spins)), rel=1e-10)
    assert found[:, 1] == pytest.approx(amplitudes(mps, spins), rel=1e-10)


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(
    ("n_sites", "chi", "factor"), [(2, 1, 1.0), (3, 2, 1.0), (8, 3, 1e15), (30, 5, 1.0), (50, 4, 1e-15)]
)
def test_walk_takes_the_steps_of_whole_evaluations(
    n_sites: int, chi: int, factor: float, dtype: torch.dtype, compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where products are out of the range of a double: 10^±750."""
    mps = state(n_sites, chi, dtype=dtype)
    with torch.no_grad():
        mps.matrices.mul_(factor)
    monkeypatch.setattr(MPS, "_compiled", lambda *_: compiled)
    generator = torch.Generator().manual_seed(3)
    spins = configurations(6, n_sites)
    sites = torch.randint(n_sites, (200, 6), generator=generator)
    thresholds = 0.5 * torch.rand((200, 6), generator=generator, dtype=torch.float64).log()
    thresholds[::7] = torch.inf
    ended, accepted = mps.walk(spins, sites, thresholds)
    exact = copy.deepcopy(mps).double()
    for step, (site, threshold) in enumerate(zip(sites[..., None], thresholds, strict=True)):
        flipped = spins.scatter(1, site, -spins.gather(1, site))
        with torch.no_grad():
            ratio = exact.log_amplitude(flipped).real - exact.log_amplitude(spins).real
        # what single precision decides otherwise is a tie
        doubtful = (ratio - threshold).abs() < (1e-9 if compiled or dtype == torch.float64 else 1e-3)
        assert torch.equal(accepted[step][~doubtful], (ratio > threshold)[~doubtful])
        spins = torch.where(accepted[step][:, None], flipped, spins)
    assert ended.dtype == torch.int8
    assert torch.equal(ended, spins)
    assert 0.0 < accepted.double().mean() < 1.0
    assert not accepted[::7].any()


@pytest.mark.parametrize("compiled", [True, False])
def test_walk_leaves_where_psi_vanishes_and_never_enters(compiled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """ψ = 0 unless all spins are up: of one spin down the first proposal is accepted, whichever it is."""
    mps = state(3, 2)
    with torch.no_grad():
        mps.matrices.copy_(torch.eye(2))
        mps.matrices[:, 1] = 0.0
    monkeypatch.setattr(MPS, "_compiled", lambda *_: compiled)
    spins = torch.tensor([[1, -1, 1], [1, 1, 1]], dtype=torch.int8)
    sites = torch.tensor([[1, 1], [0, 2], [0, 0]])
    ended, accepted = mps.walk(spins, sites, torch.full((3, 2), -30.0, dtype=torch.float64))
    assert torch.equal(accepted, torch.tensor([[True, False], [False, False], [False, False]]))
    assert torch.equal(ended, torch.ones_like(ended))


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_walk_never_enters_what_is_no_number(wrong: float, compiled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even from where ψ vanishes."""
    mps = state(2, 1)
    with torch.no_grad():
        mps.matrices.fill_(1.0)
        mps.matrices[0, 0], mps.matrices[0, 1] = 0.0, wrong
    monkeypatch.setattr(MPS, "_compiled", lambda *_: compiled)
    spins = torch.ones((1, 2), dtype=torch.int8)
    ended, accepted = mps.walk(spins, torch.zeros((5, 1), dtype=torch.int64), torch.full((5, 1), -30.0).double())
    assert not accepted.any()
    assert torch.equal(ended, spins)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_amplitudes_at_the_ends_of_the_range(dtype: torch.dtype) -> None:
    """Matrices whose products of two are out of it, and the smallest that there are."""
    exact, spins = state(6), configurations(16, 6)
    factors = (1e20, 1e-36, 1e-39) if dtype == torch.float32 else (1e200, 1e-200, 1e-310)
    for factor in factors:
        scaled = copy.deepcopy(exact)
        with torch.no_grad():
            scaled.matrices.mul_(factor)
        mps = scaled.to(dtype)
        expected = torch.from_numpy(np.log(np.abs(amplitudes(exact, spins)))) + 6 * math.log(factor)
        tolerance = 1e-3 if dtype == torch.float32 or factor == 1e-310 else 1e-10
        for found in (mps.evaluate(spins), mps.log_amplitude(spins), mps.batch_log_amplitude(spins)):
            assert found.real.detach().double().numpy() == pytest.approx(expected.numpy(), abs=tolerance)


def test_an_amplitude_does_not_depend_on_its_neighbours() -> None:
    """Some of which are rescaled on the way."""
    mps, spins = state(40, deviation=1.5), configurations(64, 40)
    together = mps.evaluate(spins)
    alone = torch.cat([mps.evaluate(row[None]) for row in spins])
    assert torch.equal(together.real, alone.real)
