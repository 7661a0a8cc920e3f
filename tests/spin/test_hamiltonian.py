"""Matrix elements against Kronecker products, bonds against counting."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.base.errors import ConfigError
from pipeline.spin.hamiltonian import Hamiltonian
from pipeline.spin.lattice import chain_bonds, square_bonds
from pipeline.spin.systems import ChainTFIM, SpinSystem, SquareTFIM
from pipeline.spin.terms import PauliTerm, pauli_terms
from tests.spin import dense
from tests.spin.elements import assembled


def of(system: SpinSystem) -> Hamiltonian:
    return Hamiltonian(pauli_terms(system), system.size)


@pytest.mark.parametrize(
    ("n_sites", "interaction_range"), [(2, 1), (3, 1), (4, 2), (5, 1), (5, 2), (6, 1), (6, 2), (6, 3), (7, 3), (8, 4)]
)
def test_chain(n_sites: int, interaction_range: int) -> None:
    system = ChainTFIM(n_sites=n_sites, range=interaction_range, coupling=0.7, field=1.3)
    np.testing.assert_allclose(
        assembled(of(system)), dense.ring(n_sites, interaction_range, 0.7, 1.3), rtol=0, atol=1e-13
    )


@pytest.mark.parametrize(
    ("length_x", "length_y", "periodic"), [(2, 3, False), (3, 2, False), (1, 5, False), (4, 2, False), (3, 3, True)]
)
def test_square(length_x: int, length_y: int, periodic: bool) -> None:
    system = SquareTFIM(length_x=length_x, length_y=length_y, periodic=periodic, coupling=-0.4, field=2.1)
    expected = dense.square(length_x, length_y, periodic, -0.4, 2.1)
    np.testing.assert_allclose(assembled(of(system)), expected, rtol=0, atol=1e-13)


def test_known_energies() -> None:
    chain = ChainTFIM(n_sites=10, range=1, coupling=1.0, field=1.0)
    assert dense.lowest(assembled(of(chain))) == pytest.approx(-12.784906442999, abs=1e-11)


@pytest.mark.parametrize("n_sites", [2, 3, 4, 5, 8, 9])
def test_number_of_chain_bonds(n_sites: int) -> None:
    for interaction_range in range(1, n_sites // 2 + 1):
        bonds = chain_bonds(n_sites, interaction_range)
        whole_ring = 2 * interaction_range == n_sites
        assert len(bonds) == n_sites * interaction_range - (n_sites // 2 if whole_ring else 0)
        assert bonds == sorted(set(bonds))
        assert all(i < j for i, j in bonds)
    assert len(chain_bonds(n_sites, n_sites // 2)) == n_sites * (n_sites - 1) // 2


@pytest.mark.parametrize(("length_x", "length_y"), [(1, 1), (1, 4), (2, 2), (3, 4), (5, 3)])
def test_number_of_square_bonds(length_x: int, length_y: int) -> None:
    assert len(square_bonds(length_x, length_y, False)) == 2 * length_x * length_y - length_x - length_y
    if min(length_x, length_y) >= 3:
        assert len(square_bonds(length_x, length_y, True)) == 2 * length_x * length_y


STRINGS: dict[str, list[tuple[float, str, tuple[int, ...]]]] = {
    "xx": [(0.7, "xx", (0, 2))],
    "yy": [(0.7, "yy", (0, 2)), (-0.2, "yy", (3, 1))],
    "zz": [(0.7, "zz", (3, 1))],
    "z": [(0.7, "z", (1,)), (-0.3, "z", (2,))],
    "xz": [(0.7, "xz", (2, 0)), (0.1, "zx", (2, 0))],
    "heisenberg": [(1.0, p, (i, (i + 1) % 4)) for p in ("xx", "yy", "zz") for i in range(4)],
    "xx and yy on one bond": [(0.3, "xx", (1, 3)), (0.9, "yy", (3, 1))],
    "yzy": [(0.7, "yzy", (3, 0, 1)), (0.7, "zzz", (0, 1, 2))],
    "yyyy": [(0.7, "yyyy", (2, 0, 1, 3)), (0.2, "xxyy", (0, 1, 2, 3))],
    "x repeated": [(0.7, "x", (1,)), (0.4, "x", (1,)), (0.5, "xz", (1, 3)), (1.5, "zxz", (0, 1, 2))],
    "constant": [(0.7, "", ()), (-0.1, "x", (3,))],
}


@pytest.mark.parametrize("name", STRINGS)
def test_strings(name: str) -> None:
    expected = dense.strings(4, STRINGS[name])
    assert np.abs(expected.imag).max() == 0
    hamiltonian = Hamiltonian([PauliTerm(*term) for term in STRINGS[name]], 4)
    np.testing.assert_allclose(assembled(hamiltonian), expected.real, rtol=0, atol=1e-14)


@pytest.mark.parametrize("seed", range(5))
def test_random_strings(seed: int) -> None:
    random = np.random.default_rng(seed)
    terms: list[tuple[float, str, tuple[int, ...]]] = []
    while len(terms) < 25:
        length = int(random.integers(1, 6))
        word = "".join(random.choice(list("xyz"), length))
        if word.count("y") % 2 == 0:
            sites = tuple(int(s) for s in random.choice(5, length, replace=False))
            terms.append((float(random.normal()), word, sites))
    hamiltonian = Hamiltonian([PauliTerm(*term) for term in terms], 5)
    np.testing.assert_allclose(assembled(hamiltonian), dense.strings(5, terms).real, rtol=0, atol=1e-13)


@pytest.mark.parametrize("dtype", [torch.int8, torch.int64, torch.float32, torch.float64])
def test_any_dtype_of_spins(dtype: torch.dtype) -> None:
    terms = [PauliTerm(*term) for term in STRINGS["yzy"] + STRINGS["heisenberg"]]
    hamiltonian = Hamiltonian(terms, 4)
    np.testing.assert_array_equal(assembled(hamiltonian, dtype), assembled(hamiltonian))


def test_one_connection_for_each_set_of_flips() -> None:
    hamiltonian = Hamiltonian([PauliTerm(*term) for term in STRINGS["heisenberg"]], 4)
    assert sorted(map(tuple, hamiltonian.flip_masks.nonzero().tolist())) == sorted(
        (k, site) for k, bond in enumerate([(0, 1), (1, 2), (2, 3), (0, 3)]) for site in bond
    )


def test_large_diagonal_does_not_overflow() -> None:
    n_sites = 62
    hamiltonian = of(ChainTFIM(n_sites=n_sites, range=31, coupling=1.0, field=1.0))
    spins = torch.ones(3, n_sites, dtype=torch.int8)
    spins[1, :31] = -1
    spins[2] = -1
    magnetisation = spins.long().sum(1)
    assert hamiltonian.diagonal(spins).tolist() == (-(magnetisation**2 - n_sites) / 2).tolist()


def test_inputs_are_left_alone() -> None:
    hamiltonian = of(ChainTFIM(n_sites=4, range=1, coupling=1.0, field=1.0))
    spins = torch.ones(2, 4, dtype=torch.int8)
    hamiltonian.diagonal(spins)
    first = hamiltonian.off_diagonal(spins).clone()
    assert torch.equal(spins, torch.ones(2, 4, dtype=torch.int8))
    assert torch.equal(first, hamiltonian.off_diagonal(spins))


def test_diagonal_hamiltonian_has_no_connections() -> None:
    hamiltonian = Hamiltonian([PauliTerm(1.0, "zz", (0, 1))], 3)
    assert hamiltonian.flip_masks.shape == (0, 3)
    assert hamiltonian.off_diagonal(torch.ones(2, 3, dtype=torch.int8)).shape == (2, 0)


@pytest.mark.parametrize(
    ("term", "message"),
    [
        (PauliTerm(1.0, "y", (0,)), "odd number"),
        (PauliTerm(1.0, "xy", (0, 1)), "odd number"),
        (PauliTerm(1.0, "yyy", (0, 1, 2)), "odd number"),
        (PauliTerm(1.0, "zz", (0, 0)), "distinct"),
        (PauliTerm(1.0, "zz", (0,)), "one for each"),
        (PauliTerm(1.0, "z", (0, 1)), "one for each"),
        (PauliTerm(1.0, "x", (3,)), "outside"),
        (PauliTerm(1.0, "z", (-1,)), "outside"),
    ],
)
def test_bad_terms(term: PauliTerm, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Hamiltonian([term], 3)


def test_unknown_letter() -> None:
    with pytest.raises(ValueError, match="X"):
        Hamiltonian([PauliTerm(1.0, "X", (0,))], 3)


def test_unknown_system() -> None:
    with pytest.raises(TypeError, match="SpinSystem"):
        pauli_terms(SpinSystem())


@pytest.mark.parametrize(("n_sites", "interaction_range"), [(6, 4), (7, 4), (6, 0), (1, 1)])
def test_refused_chains(n_sites: int, interaction_range: int) -> None:
    with pytest.raises(ConfigError):
        ChainTFIM(n_sites=n_sites, range=interaction_range, coupling=1.0, field=1.0)


def test_refused_square() -> None:
    with pytest.raises(ConfigError):
        SquareTFIM(length_x=2, length_y=3, periodic=True, coupling=1.0, field=1.0)
    with pytest.raises(ConfigError):
        SquareTFIM(length_x=3, length_y=3, periodic=True, coupling=float("nan"), field=1.0)


def test_to_the_same_device() -> None:
    hamiltonian = of(ChainTFIM(n_sites=4, range=1, coupling=1.0, field=1.0))
    assert hamiltonian.to("cpu") is hamiltonian
    assert hamiltonian.to("meta").flip_masks.device.type == "meta"
