"""Every Hamiltonian against Kronecker products: our elements, QuSpin and TeNPy; bonds and refusals of the systems."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.base.errors import ConfigError
from pipeline.base.store.keys import digest
from pipeline.spin.exact.dmrg import DMRG
from pipeline.spin.exact.sector_matrix import build
from pipeline.spin.hamiltonian import Hamiltonian
from pipeline.spin.lattice import chain_bonds, square_bonds, square_diagonals
from pipeline.spin.symmetry.sectors import Sector
from pipeline.spin.systems import ChainHeisenberg, ChainTFIM, OpenChainTFIM, SpinSystem, SquareHeisenberg, SquareTFIM
from pipeline.spin.terms import pauli_terms
from pipeline.stages.compose import compose_run
from tests.spin import dense
from tests.spin.elements import assembled
from tests.spin.exact.solvers import quspin


def chain(n_sites: int, periodic: bool, j1: float, j2: float) -> tuple[SpinSystem, np.ndarray]:
    system = ChainHeisenberg(n_sites=n_sites, periodic=periodic, j1=j1, j2=j2)
    return system, dense.chain_heisenberg(n_sites, periodic, j1, j2)


def square(length_x: int, length_y: int, periodic: bool, j1: float, j2: float) -> tuple[SpinSystem, np.ndarray]:
    system = SquareHeisenberg(length_x=length_x, length_y=length_y, periodic=periodic, j1=j1, j2=j2)
    return system, dense.square_heisenberg(length_x, length_y, periodic, j1, j2)


def ring(n_sites: int, interaction_range: int, coupling: float, field: float) -> tuple[SpinSystem, np.ndarray]:
    system = ChainTFIM(n_sites=n_sites, range=interaction_range, coupling=coupling, field=field)
    return system, dense.ring(n_sites, interaction_range, coupling, field)


def opened(n_sites: int, interaction_range: int, coupling: float, field: float) -> tuple[SpinSystem, np.ndarray]:
    system = OpenChainTFIM(n_sites=n_sites, range=interaction_range, coupling=coupling, field=field)
    return system, dense.open_chain(n_sites, interaction_range, coupling, field)


def plane(length_x: int, length_y: int, periodic: bool, coupling: float) -> tuple[SpinSystem, np.ndarray]:
    system = SquareTFIM(length_x=length_x, length_y=length_y, periodic=periodic, coupling=coupling, field=1.7)
    return system, dense.square(length_x, length_y, periodic, coupling, 1.7)


CASES = {
    "ring": ring(7, 2, 0.7, 1.3),
    "frustrated ring": ring(7, 3, -0.8, 0.6),
    "open chain": opened(7, 1, 1.1, 0.9),
    "frustrated open chain": opened(6, 4, -0.9, -0.7),
    "two spins": opened(2, 1, 1.0, 0.5),
    "open plane": plane(2, 3, False, 0.8),
    "periodic plane": plane(3, 3, True, 0.8),
    "frustrated periodic plane": plane(3, 3, True, -0.8),
    "Heisenberg ring": chain(8, True, 1.0, 0.0),
    "Heisenberg ring of odd length": chain(7, True, 1.0, 0.0),
    "Heisenberg triangle": chain(3, True, 0.9, 0.0),
    "ferromagnetic ring": chain(6, True, -1.0, 0.0),
    "Heisenberg chain": chain(7, False, 0.8, 0.0),
    "Heisenberg pair": chain(2, False, 1.0, 0.7),
    "J1-J2 ring of four": chain(4, True, 1.0, 0.3),
    "J1-J2 ring": chain(8, True, 1.0, 0.4),
    "Majumdar-Ghosh ring": chain(8, True, 1.0, 0.5),
    "J1-J2 chain": chain(7, False, 1.0, 0.6),
    "unfrustrated J1-J2 chain": chain(6, False, 1.0, -0.6),
    "mixed J1-J2 chain": chain(6, False, -1.0, 0.4),
    "Heisenberg plane": square(3, 2, False, 1.0, 0.0),
    "J1-J2 plane": square(2, 3, False, 1.0, 0.5),
    "J1-J2 torus": square(3, 3, True, 1.0, 0.5),
    "unfrustrated J1-J2 plane": square(4, 2, False, 0.9, -0.3),
}
each_case = pytest.mark.parametrize(("system", "matrix"), CASES.values(), ids=list(CASES))


@each_case
def test_our_elements_are_the_kronecker_products(system: SpinSystem, matrix: np.ndarray) -> None:
    ours = assembled(Hamiltonian(pauli_terms(system), system.size))
    np.testing.assert_allclose(ours, matrix, rtol=0, atol=1e-12)


@each_case
def test_quspin_without_symmetries_is_the_kronecker_product(system: SpinSystem, matrix: np.ndarray) -> None:
    """QuSpin lists its states from all spins up on, with site 0 in the highest bit: the order of the dense matrices."""
    built = build(system.size, pauli_terms(system), Sector()).toarray()
    np.testing.assert_allclose(built, matrix, rtol=0, atol=1e-12)


@each_case
def test_quspin_ground_state_in_its_sector(system: SpinSystem, matrix: np.ndarray) -> None:
    energy = quspin().run(system).estimate("energy")
    assert energy.value == pytest.approx(dense.lowest(matrix), abs=1e-10)


@each_case
def test_dmrg(system: SpinSystem, matrix: np.ndarray) -> None:
    solver = DMRG([8, 16], energy_tolerance=1e-10, max_sweeps=8, svd_min=1e-14, max_sites=16, states=None)
    if system.size < 3:
        assert "at least 3 sites" in (solver.supports(system) or "")
        return
    result = solver.run(system)
    assert result.estimate("variational_energy").value == pytest.approx(dense.lowest(matrix), abs=1e-10)


@pytest.mark.parametrize("n_sites", [2, 3, 4, 5, 8])
def test_number_of_bonds_of_a_chain(n_sites: int) -> None:
    for interaction_range in range(1, n_sites):
        assert len(chain_bonds(n_sites, interaction_range, periodic=False)) == sum(
            n_sites - distance for distance in range(1, interaction_range + 1)
        )
    assert len(ChainHeisenberg(n_sites=n_sites, periodic=False, j1=1.0, j2=1.0).bonds()) == 2 * n_sites - 3
    if n_sites >= 5:
        assert len(ChainHeisenberg(n_sites=n_sites, periodic=True, j1=1.0, j2=1.0).bonds()) == 2 * n_sites
    if n_sites == 4:
        ring = ChainHeisenberg(n_sites=4, periodic=True, j1=1.0, j2=1.0)
        assert ring.nearest_bonds() == [(0, 1), (0, 3), (1, 2), (2, 3)]
        assert ring.next_nearest_bonds() == [(0, 2), (1, 3)]


@pytest.mark.parametrize(("length_x", "length_y"), [(1, 4), (2, 2), (3, 3), (3, 4), (4, 4), (5, 3)])
def test_number_of_diagonals(length_x: int, length_y: int) -> None:
    diagonals = square_diagonals(length_x, length_y, False)
    assert len(diagonals) == 2 * (length_x - 1) * (length_y - 1)
    if min(length_x, length_y) >= 3:
        wrapped = square_diagonals(length_x, length_y, True)
        assert len(wrapped) == 2 * length_x * length_y
        assert not set(wrapped) & set(square_bonds(length_x, length_y, True))
        assert set(diagonals) <= set(wrapped)


def test_without_j2_only_nearest_neighbours_interact() -> None:
    system = SquareHeisenberg(length_x=4, length_y=3, periodic=True, j1=1.0, j2=0.0)
    assert system.bonds() == system.nearest_bonds()
    assert len(pauli_terms(system)) == 3 * 24


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["system=chain_heisenberg", "system.n_sites=2"], r"system\.n_sites=2"),
        (["system=chain_heisenberg", "system.n_sites=3", "system.j2=0.5"], r"system\.n_sites=3"),
        (["system=chain_heisenberg", "system.j1=nan"], r"system\.j1=nan"),
        (["system=square_heisenberg", "system.length_x=2"], r"system\.length_x=2"),
        (["system=square_heisenberg", "system.j2=inf"], r"system\.j2=inf"),
        (["system=square_heisenberg", "system.periodic=false", "system.length_x=1", "system.length_y=1"], "length_y=1"),
        (["system=open_chain_tfim", "system.range=10"], r"system\.range=10: must lie between 1 and n_sites-1 = 9"),
    ],
)
def test_refuses(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        compose_run(["stages=[baseline]", *overrides])


@pytest.mark.parametrize("name", ["open_chain_tfim", "chain_heisenberg", "square_heisenberg"])
def test_composes_with_its_own_defaults(name: str) -> None:
    run = compose_run([f"system={name}", "baseline=quspin"])
    assert run.system.kind == name


def test_keys_of_the_ising_models_stay() -> None:
    """What was computed and stored for them must be found again."""
    chain = ChainTFIM(n_sites=30, range=15, coupling=1.0, field=1.0)
    plane = SquareTFIM(length_x=3, length_y=4, periodic=True, coupling=1.0, field=3.0)
    assert digest({"system": chain}) == "f6b1a6ddebfc2537"
    assert digest({"system": plane}) == "ccc0e70ba0cdd34d"
