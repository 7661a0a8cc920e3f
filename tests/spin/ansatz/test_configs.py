"""The configuration files of the ansätze, and that each of them can hold a ground state."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from pipeline.base.errors import ConfigError
from pipeline.base.store.keys import plain
from pipeline.spin.ansatz.build import build_ansatz
from pipeline.spin.ansatz.schema import ConvARConfig, DenseARConfig, MPSConfig, PixelCNNConfig
from pipeline.spin.systems import ChainTFIM, SpinSystem, SquareTFIM
from pipeline.stages.compose import compose_run
from tests.spin import dense

SQUARE = SquareTFIM(length_x=3, length_y=2, periodic=False, coupling=1.0, field=1.5)
RING = ChainTFIM(n_sites=6, range=2, coupling=1.0, field=1.0)
FILES = {
    "pixelcnn": (PixelCNNConfig, "square_tfim"),
    "dense_ar": (DenseARConfig, "chain_tfim"),
    "conv_ar": (ConvARConfig, "chain_tfim"),
    "mps": (MPSConfig, "chain_tfim"),
}


@pytest.mark.parametrize("name", FILES)
def test_files(name: str) -> None:
    config, system = FILES[name]
    run = compose_run(["method=vmc", f"system={system}", f"ansatz={name}"])
    assert type(run.train.ansatz) is config
    assert config.log_domain
    assert config.direct == (name != "mps")


def test_refusals_name_the_key() -> None:
    with pytest.raises(ConfigError, match=r"train\.ansatz\.symmetries=pointgroup.*did you mean 'point_group'"):
        compose_run(["method=vmc", "ansatz=dense_ar", "train.ansatz.symmetries=[pointgroup]"])
    with pytest.raises(ConfigError, match="square lattice, not chain_tfim"):
        compose_run(["method=vmc", "system=chain_tfim", "ansatz=pixelcnn"])
    with pytest.raises(ConfigError, match="needs a ring"):
        compose_run(["method=vmc", "system=open_chain_tfim", "ansatz=mps"])


@pytest.mark.parametrize(
    ("config", "system"),
    [
        (
            PixelCNNConfig(
                depth=2,
                width=8,
                phase=False,
                spread=0.03,
                output_scale=0.1,
                symmetries=["spin_flip"],
                magnetisation=None,
            ),
            SQUARE,
        ),
        (DenseARConfig(layers=3, features=4, phase=False, output_scale=1.0, symmetries=[]), RING),
        (ConvARConfig(layers=3, features=8, kernel=None, phase=True, output_scale=1.0, symmetries=[]), RING),
        (MPSConfig(bond_dimension=4, deviation=0.1), RING),
    ],
    ids=["pixelcnn", "dense", "conv", "mps"],
)
def test_ground_states(config: Any, system: SpinSystem) -> None:
    """Energies over all configurations come within 1e-3 of the lowest eigenvalue, and never below it."""
    matrix = dense.square(3, 2, False, 1.0, 1.5) if system is SQUARE else dense.ring(6, 2, 1.0, 1.0)
    exact = dense.lowest(matrix)
    network = build_ansatz(config, system, 2).double()
    spins = torch.from_numpy(dense.basis(system.size))
    hamiltonian = torch.from_numpy(matrix).to(torch.complex128)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    energies = []
    for _ in range(250):
        psi = network(spins).to(torch.complex128)
        energy = (psi.conj() @ hamiltonian @ psi).real / psi.abs().square().sum()
        optimizer.zero_grad()
        energy.backward()
        optimizer.step()
        energies.append(energy.item())
    assert min(energies) > exact - 1e-9
    assert energies[-1] < exact + 1e-3 * abs(exact)


def test_branches_leave_older_keys_as_they_are() -> None:
    """Two branches, as before there was a choice, are not hashed; one is another state."""
    ansatz = [
        compose_run(["method=vmc", "system=square_tfim", "ansatz=pixelcnn", *more]).train.ansatz
        for more in ([], ["train.ansatz.branches=2"], ["train.ansatz.branches=1"])
    ]
    two, same, one = (plain(node) for node in ansatz)
    assert two == same != one
    assert "branches" not in str(two)
