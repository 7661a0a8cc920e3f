"""Determinants of several states, against sums over permutations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from pipeline.spin.ansatz.build import build_ansatz
from pipeline.spin.ansatz.determinant import Determinant, cofactors
from pipeline.spin.ansatz.schema import MPSConfig, PixelCNNConfig, RBMConfig
from pipeline.spin.bits import pack, unpack
from pipeline.spin.representatives import Representatives
from pipeline.spin.systems import ChainTFIM, SquareTFIM
from pipeline.spin.wave_function import WaveFunction
from tests.spin import dense
from tests.spin.several_states import TableConfig, columns, of_tables, whole

PLAQUETTE = SquareTFIM(length_x=2, length_y=2, periodic=False, coupling=1.0, field=1.0)
SITE = SquareTFIM(length_x=1, length_y=1, periodic=False, coupling=1.0, field=1.0)
PIXELS = PixelCNNConfig(
    depth=1, width=4, phase=True, spread=0.3, output_scale=1.0, symmetries=[], magnetisation=None, states=2
)
ANSATZE = {
    "positive": RBMConfig(alpha=1, deviation=0.5, parameters="real", states=3),
    "complex": RBMConfig(alpha=1, deviation=0.5, parameters="complex", states=3),
    "signed": TableConfig(states=3),
    "two": RBMConfig(alpha=1, deviation=0.5, parameters="complex", states=2),
    "flips of its own": PIXELS,
    "projected": RBMConfig(alpha=1, deviation=0.5, parameters="real", states=2, projection=["-spin_flip"]),
}


def spins_of(n_sites: int) -> torch.Tensor:
    return torch.from_numpy(dense.basis(n_sites)).to(torch.int8)


@pytest.mark.parametrize("config", ANSATZE.values(), ids=ANSATZE)
def test_amplitudes(config: Any) -> None:
    ansatz: Any = build_ansatz(config, PLAQUETTE, 1).double()
    assert isinstance(ansatz, Determinant)
    spins = spins_of(4 * config.states)
    with torch.no_grad():
        logs = ansatz.log_amplitude(spins)
    expected = whole(columns(ansatz))
    assert logs.dtype == torch.complex128
    np.testing.assert_allclose(np.exp(logs.numpy()), expected, rtol=0, atol=1e-12 * abs(expected).max())
    present = ansatz.present(spins).numpy()
    assert present[abs(expected) > 1e-13 * abs(expected).max()].all()
    assert present.sum() == np.prod(16 - np.arange(config.states))
    assert (logs.real[~torch.from_numpy(present)] == -torch.inf).all()


@pytest.mark.parametrize("config", ANSATZE.values(), ids=ANSATZE)
@pytest.mark.parametrize("wanted", [False, True])
def test_row_updates_are_whole_determinants(config: Any, wanted: bool) -> None:
    ansatz: Any = build_ansatz(config, PLAQUETTE, 2).double()
    generator = torch.Generator().manual_seed(3)
    spins = spins_of(4 * config.states)[torch.randint(0, 16**config.states, (20,), generator=generator)]
    single = torch.eye(spins.shape[1], dtype=torch.bool)
    masks = torch.cat([single, single | (single.roll(1, 1) & (torch.arange(spins.shape[1]) % 4 != 0))])
    asked = torch.rand((20, len(masks)), generator=generator) < 0.5 if wanted else None
    with torch.no_grad():
        found = ansatz.connected_log_amplitudes(spins, masks, asked)
        expected = WaveFunction.connected_log_amplitudes(ansatz, spins, masks)
    keep = torch.ones_like(expected, dtype=torch.bool) if asked is None else asked
    scale = expected.real.exp().max()
    torch.testing.assert_close(found[keep].exp(), expected[keep].exp(), rtol=0, atol=1e-12 * float(scale))
    assert ansatz._whole == (config is not PIXELS)
    # a mask of two copies is no row update
    both = torch.ones((1, spins.shape[1]), dtype=torch.bool)
    torch.testing.assert_close(
        ansatz.connected_log_amplitudes(spins, both).exp(), ansatz.log_amplitude(-spins)[:, None].exp()
    )


@pytest.mark.parametrize("states", [1, 2, 3, 5])
def test_cofactors(states: int) -> None:
    matrices = torch.randn((7, states, states), dtype=torch.complex128, generator=torch.Generator().manual_seed(1))
    expected = torch.linalg.det(matrices)[:, None, None] * torch.linalg.inv(matrices).mT
    torch.testing.assert_close(cofactors(matrices), expected)
    assert (cofactors(torch.zeros(1, 4, 4)) == 0).all()


def test_one_state_is_the_network_itself() -> None:
    network: Any = build_ansatz(RBMConfig(alpha=2, deviation=0.5, parameters="complex"), PLAQUETTE, 1).double()
    determinant, spins = Determinant([network], 4), spins_of(4)
    with torch.no_grad():
        torch.testing.assert_close(determinant.log_amplitude(spins).exp(), network.log_amplitude(spins).exp())
        masks = torch.eye(4, dtype=torch.bool)
        connected = [a.connected_log_amplitudes(spins, masks).exp() for a in (determinant, network)]
    torch.testing.assert_close(*connected, rtol=1e-13, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_singular_determinants(dtype: torch.dtype) -> None:
    """Equal copies, dependent networks, a network that vanishes: ψ = 0, log ψ = -∞, derivatives zero."""
    ansatz: Any = build_ansatz(ANSATZE["complex"], PLAQUETTE, 1).to(dtype)
    same = torch.ones((2, 12), dtype=torch.int8)
    same[1, 0] = -1  # of three copies two are the same
    logs = ansatz.log_amplitude(same)
    assert (logs.real == -torch.inf).all()
    gradients = torch.autograd.grad(torch.where(logs.real > -torch.inf, logs.real, 0.0).sum(), ansatz.parameters())
    assert all((g == 0).all() for g in gradients)
    spins = spins_of(8)
    zero = of_tables(np.stack([np.arange(16.0), np.zeros(16)], 1))
    assert (zero.log_amplitude(spins).real == -torch.inf).all()
    twice = of_tables(np.stack([np.ones(16), np.ones(16)], 1))
    assert (twice.log_amplitude(spins).real == -torch.inf).all()
    # out of such a configuration a row update still leads to the right amplitudes
    masks = torch.eye(12, dtype=torch.bool)
    with torch.no_grad():
        ansatz = ansatz.double()
        found = ansatz.connected_log_amplitudes(same, masks).exp()
        expected = WaveFunction.connected_log_amplitudes(ansatz, same, masks).exp()
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-13 * float(expected.abs().max()))
    assert expected.abs().max() > 1e-3


def test_amplitudes_of_any_size_and_nan() -> None:
    vectors = np.linspace(1.0, 2.0, 16)[:, None] ** np.arange(2)
    with torch.no_grad():
        for factors in ([1e300, 1e-300], [1e-200, 1e-200], [1e250, 1e250]):
            scaled = of_tables(vectors * factors).log_amplitude(spins_of(8))
            plain = of_tables(vectors).log_amplitude(spins_of(8))
            shift = np.log(factors[0]) + np.log(factors[1])
            torch.testing.assert_close(scaled.real, plain.real + shift, rtol=0, atol=1e-11)
    broken = of_tables(np.where(np.arange(16)[:, None] == 3, np.nan, vectors)).log_amplitude(spins_of(8))
    assert broken.real.isnan().sum() == 2 * 16 - 2  # whichever copy is there, but for both, where it vanishes


@pytest.mark.parametrize("config", [ANSATZE["complex"], ANSATZE["signed"], ANSATZE["positive"]])
def test_derivatives(config: Any) -> None:
    ansatz: Any = build_ansatz(config, PLAQUETTE, 4).double()
    spins = spins_of(12)[[90, 700, 3210]]
    parameters = list(ansatz.parameters())
    direction = [torch.randn(p.shape, dtype=p.dtype, generator=torch.Generator().manual_seed(7)) for p in parameters]

    def moved(step: float) -> torch.Tensor:
        with torch.no_grad():
            for p, d in zip(parameters, direction, strict=True):
                p.add_(step * d)
            logs = ansatz.log_amplitude(spins)
            for p, d in zip(parameters, direction, strict=True):
                p.sub_(step * d)
        return logs

    expected = (moved(1e-6) - moved(-1e-6)) / 2e-6
    for function in (ansatz.log_amplitude, ansatz.batch_log_amplitude):
        logs = function(spins)
        for i, part in enumerate(torch.view_as_real(logs).flatten()):
            gradient = torch.autograd.grad(part, parameters, retain_graph=True, allow_unused=True)
            slope = sum((g * d).sum() for g, d in zip(gradient, direction, strict=True) if g is not None)
            assert float(slope) == pytest.approx(float(torch.view_as_real(expected).flatten()[i]), rel=1e-5, abs=1e-7)


def test_permuted_copies_share_a_representative() -> None:
    ansatz: Any = build_ansatz(ANSATZE["signed"], PLAQUETTE, 1)
    spins = spins_of(12)
    invariance = ansatz.invariance()
    words, factors = Representatives(invariance)(pack(spins))
    assert factors is not None
    assert len(torch.unique(words[ansatz.present(spins)])) == 16 * 15 * 14 / 6
    with torch.no_grad():
        psi = ansatz.log_amplitude(spins).exp()
        again = ansatz.log_amplitude(unpack(words, 12)).exp() * factors.exp()
    torch.testing.assert_close(again, psi, rtol=1e-9, atol=1e-12)


def test_small_and_large_numbers_of_states() -> None:
    site: Any = build_ansatz(TableConfig(states=2), SITE, 1)
    logs = site.log_amplitude(spins_of(2)).detach()
    assert logs.real.isfinite().tolist() == [False, True, True, False]
    assert float((logs[1] - logs[2]).exp().real) == pytest.approx(-1)
    ring = ChainTFIM(n_sites=3, range=1, coupling=1.0, field=1.0)
    many: Any = build_ansatz(MPSConfig(bond_dimension=3, deviation=0.5, states=6), ring, 1).double()
    assert many.invariance() is None
    generator = torch.Generator().manual_seed(1)
    orders = torch.rand((4, 8), generator=generator).argsort(1)[:, :6]
    spins = spins_of(3)[orders].reshape(4, 18)
    vectors = columns(many)
    expected = np.array([np.linalg.det(vectors[dense.row(s.reshape(6, 3))]) for s in spins.numpy()])
    np.testing.assert_allclose(np.exp(many.log_amplitude(spins).detach().numpy()), expected, rtol=1e-8)
