"""Averages over symmetry groups: invariance, normalisation, draws."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.base.errors import ConfigError
from pipeline.spin.ansatz.schema import PixelCNNConfig
from pipeline.spin.ansatz.symmetrised import Symmetrised
from pipeline.spin.lattice import Lattice
from pipeline.spin.symmetry.groups import symmetry_group
from pipeline.spin.systems import (
    ChainHeisenberg,
    ChainTFIM,
    OpenChainTFIM,
    SpinSystem,
    SquareHeisenberg,
    SquareTFIM,
)
from pipeline.spin.terms import PauliTerm
from tests.spin.ansatz import common

BOTH = ["point_group", "spin_flip"]
CONFIG = PixelCNNConfig(depth=2, width=4, phase=True, spread=1.0, output_scale=1.0, symmetries=BOTH, magnetisation=None)
SQUARE = SquareTFIM(length_x=3, length_y=3, periodic=False, coupling=1.0, field=3.0)
RECTANGLE = SquareTFIM(length_x=3, length_y=2, periodic=False, coupling=1.0, field=3.0)


@pytest.mark.parametrize(
    ("system", "names", "order"),
    [
        (SQUARE, ["point_group"], 8),
        (SQUARE, BOTH, 16),
        (RECTANGLE, BOTH, 8),
        (replace(RECTANGLE, length_y=4), ["point_group"], 4),
        (replace(SQUARE, periodic=True), ["point_group", "translations"], 72),
        (SquareHeisenberg(length_x=4, length_y=4, periodic=True, j1=1.0, j2=0.5), ["translations", "spin_flip"], 32),
        (ChainTFIM(n_sites=7, range=2, coupling=1.0, field=1.0), ["point_group", "translations"], 14),
        (OpenChainTFIM(n_sites=5, range=1, coupling=1.0, field=1.0), BOTH, 4),
        (ChainHeisenberg(n_sites=6, periodic=False, j1=1.0, j2=0.0), ["spin_flip"], 2),
    ],
)
def test_groups(system: SpinSystem, names: list[str], order: int) -> None:
    group = symmetry_group(system, names)
    assert group[0] == (tuple(range(system.size)), 1)
    assert len(set(group)) == len(group) == order
    bonds = {frozenset(bond) for bond in system.bonds()}
    for permutation, _ in group:
        assert {frozenset(permutation[i] for i in bond) for bond in bonds} == bonds
    products = {(tuple(p[i] for i in q), s * t) for p, s in group for q, t in group}
    assert products == set(group)


def test_a_system_without_the_symmetry() -> None:
    """The message says which bond breaks it."""
    with pytest.raises(ConfigError, match=r"translations.*has none: translation_x maps zz of bond 1-2, coefficient -1, "
                       r"to zz of bond 0-2, which does not exist; translation_y maps zz of bond 3-6"):  # fmt: skip
        symmetry_group(SQUARE, ["translations"])


class Dimerised(SpinSystem):
    """A ring of four with two strong and two weak bonds, and a field on one site."""

    lattice = Lattice((4,), periodic=True)

    def strings(self) -> list[PauliTerm]:
        couplings = {(0, 1): -1.0, (1, 2): -0.5, (2, 3): -1.0, (0, 3): -0.5}
        return [*(PauliTerm(j, "zz", bond) for bond, j in couplings.items()), PauliTerm(0.3, "x", (1,))]


def test_couplings_that_differ() -> None:
    with pytest.raises(
        ConfigError, match=r"translation maps zz of bond 0-1, coefficient -1, to .* 1-2, which has -0\.5"
    ):
        symmetry_group(Dimerised(), ["translations"])
    with pytest.raises(
        ConfigError, match=r"reflection maps x of site 1, coefficient 0\.3, to x of site 2, which does no"
    ):
        symmetry_group(Dimerised(), ["point_group"])


@pytest.mark.parametrize("phase", [True, False])
@pytest.mark.parametrize("system", [SQUARE, RECTANGLE])
def test_mixture(system: SquareTFIM, phase: bool) -> None:
    """Eqs. B1 and B2 written out; exact normalisation, invariance."""
    network = common.random_network(replace(CONFIG, phase=phase), system)
    assert isinstance(network, Symmetrised)
    n = system.size
    common.check_normalised(network, n, 1e-12)
    common.check_normalised(common.random_network(replace(CONFIG, phase=phase), system, torch.float32), n, 1e-5)
    spins = common.configurations(n)
    log_psi = network.log_amplitude(spins).detach()
    group = symmetry_group(system, BOTH)
    base = network.base.log_amplitude(spins).detach().numpy()
    images = [(s * spins.numpy()[:, list(p)] < 0) @ (1 << np.arange(n)) for p, s in group]
    probability = np.mean([np.exp(2 * base.real[image]) for image in images], 0)
    np.testing.assert_allclose((2 * log_psi.real).exp(), probability, rtol=1e-10)
    for image in images:
        torch.testing.assert_close(log_psi.exp(), log_psi[image].exp(), rtol=1e-10, atol=1e-12)
    if phase:
        circle = np.sum([np.exp(1j * base.imag[image]) for image in images], 0)
        np.testing.assert_allclose((1j * log_psi.imag).exp(), circle / np.abs(circle), rtol=0, atol=1e-9)
    else:
        assert not log_psi.is_complex()


@pytest.mark.parametrize("phase", [True, False])
def test_flips(phase: bool) -> None:
    network: Any = common.random_network(replace(CONFIG, phase=phase), SQUARE)
    common.check_connected(network, common.configurations(9)[::37], common.some_masks(9))


def test_draw_frequencies() -> None:
    network = common.random_network(replace(CONFIG, phase=False), RECTANGLE)
    assert network.n_uniforms == 7
    common.check_draws(network, 6)


def test_gradients_reach_every_parameter() -> None:
    network = common.random_network(CONFIG, SQUARE)
    log_psi = network.log_amplitude(common.configurations(9)[:50])
    (log_psi.real * torch.randn(50) + log_psi.imag * torch.randn(50)).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in network.parameters())
