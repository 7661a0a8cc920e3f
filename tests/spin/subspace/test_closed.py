"""Packed states, and the Hamiltonian in a subspace against the submatrix of a dense one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.spin.hamiltonian import Hamiltonian
from pipeline.spin.subspace.closed import Subspace
from pipeline.spin.systems import ChainTFIM, SquareTFIM
from pipeline.spin.terms import PauliTerm, pauli_terms
from tests.spin import dense


def chain(n_sites: int, interaction_range: int, coupling: float, field: float) -> tuple[Hamiltonian, np.ndarray]:
    system = ChainTFIM(n_sites=n_sites, range=interaction_range, coupling=coupling, field=field)
    return Hamiltonian(pauli_terms(system), n_sites), dense.ring(n_sites, interaction_range, coupling, field)


def square() -> tuple[Hamiltonian, np.ndarray]:
    system = SquareTFIM(length_x=3, length_y=3, periodic=True, coupling=1.0, field=3.0)
    return Hamiltonian(pauli_terms(system), 9), dense.square(3, 3, True, 1.0, 3.0)


def strings() -> tuple[Hamiltonian, np.ndarray]:
    """Exchange, three-body and field terms: several flipped sites, elements that depend on the state."""
    terms: list[tuple[float, str, tuple[int, ...]]] = [
        (c, word, (i, (i + 1) % 7)) for i in range(7) for c, word in ((0.5, "xx"), (0.8, "yy"), (-0.3, "zz"))
    ]
    terms += [(0.6, "zxz", (i, (i + 2) % 7, (i + 5) % 7)) for i in range(7)] + [
        (0.2, "z", (3,)),
        (0.1, "yzy", (0, 3, 6)),
    ]
    return Hamiltonian([PauliTerm(*term) for term in terms], 7), dense.strings(7, terms).real


CASES = {
    "chain": lambda: chain(7, 2, 0.7, 1.1),
    "all to all": lambda: chain(8, 4, 1.0, 1.0),
    "square": square,
    "strings": strings,
}


def rows_of(codes: np.ndarray, n_sites: int) -> np.ndarray:
    """Rows of the dense matrix (site 0 is the most significant bit there, the least significant here)."""
    return np.array([int(f"{code:0{n_sites}b}"[::-1], 2) for code in codes])


def random_codes(n_sites: int, count: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).permutation(2**n_sites)[:count])


def test_too_many_sites() -> None:
    with pytest.raises(ValueError, match="63 sites"):
        Subspace(torch.zeros(1, dtype=torch.int64), Hamiltonian([PauliTerm(1.0, "z", (0,))], 63))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("count", [1, 2, 20, 90])
def test_matrix_is_the_submatrix(name: str, count: int) -> None:
    hamiltonian, full = CASES[name]()
    codes = random_codes(hamiltonian.n_sites, count)
    subspace = Subspace(codes, hamiltonian)
    assert len(subspace) == count
    assert torch.equal(subspace.codes, codes.sort().values)
    rows = rows_of(subspace.codes.numpy(), hamiltonian.n_sites)
    assert (dense.row(subspace.spins.numpy()) == rows).all()
    matrix = subspace.matrix.to_dense()
    assert matrix.dtype == torch.float64
    np.testing.assert_allclose(matrix.numpy(), full[np.ix_(rows, rows)], rtol=0, atol=1e-13)


def test_duplicates_are_removed() -> None:
    hamiltonian, _ = chain(6, 1, 1.0, 1.0)
    subspace = Subspace(torch.tensor([5, 3, 5, 60, 3, 3]), hamiltonian)
    assert subspace.codes.tolist() == [3, 5, 60]
    assert len(subspace) == 3
    assert torch.equal(subspace.matrix.to_dense(), Subspace(torch.tensor([60, 5, 3]), hamiltonian).matrix.to_dense())


@pytest.mark.parametrize("name", CASES)
def test_energy_and_gradient(name: str) -> None:
    hamiltonian, full = CASES[name]()
    subspace = Subspace(random_codes(hamiltonian.n_sites, 60, seed=1), hamiltonian)
    rows = rows_of(subspace.codes.numpy(), hamiltonian.n_sites)
    h = torch.from_numpy(full[np.ix_(rows, rows)])
    psi = torch.from_numpy(np.random.default_rng(2).normal(size=60) * 3.0).requires_grad_()
    quotient = (psi @ h @ psi) / (psi @ psi)
    (expected,) = torch.autograd.grad(quotient, psi)
    energy, gradient = subspace.energy_and_gradient(psi.detach())
    assert isinstance(energy, float)
    assert energy == pytest.approx(quotient.item(), rel=1e-13)
    torch.testing.assert_close(gradient, expected, rtol=1e-11, atol=1e-13)
    torch.testing.assert_close(subspace.apply(psi.detach()), (h @ psi).detach(), rtol=1e-12, atol=1e-12)
    # the quotient is the energy of the state on the whole basis that vanishes outside S
    embedded = np.zeros(len(full))
    embedded[rows] = psi.detach().numpy()
    assert energy == pytest.approx(embedded @ full @ embedded / (embedded @ embedded), rel=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_floor(name: str) -> None:
    hamiltonian, full = CASES[name]()
    exact = dense.lowest(full)
    for count in (1, 5, 32, 33, 64, 100):
        subspace = Subspace(random_codes(hamiltonian.n_sites, count, seed=count), hamiltonian)
        rows = rows_of(subspace.codes.numpy(), hamiltonian.n_sites)
        floor = subspace.floor()
        assert floor == pytest.approx(dense.lowest(full[np.ix_(rows, rows)]), rel=1e-11, abs=1e-11)
        assert floor >= exact - 1e-10 * abs(exact)
    everything = Subspace(torch.arange(2**hamiltonian.n_sites), hamiltonian)
    assert everything.floor() == pytest.approx(exact, rel=1e-11)


@pytest.mark.parametrize(
    ("n_sites", "interaction_range", "coupling", "field"),
    [(7, 1, 1.0, -1.0), (7, 3, 0.3, -1.0), (9, 1, -1.0, 0.7), (8, 4, -1.0, 1.0), (8, 1, 0.0, -1.0), (7, 2, 1.0, 0.0)],
)
def test_floor_for_any_signs(n_sites: int, interaction_range: int, coupling: float, field: float) -> None:
    """Also where the ground state is orthogonal to a positive start vector, or the spectrum is degenerate."""
    hamiltonian, full = chain(n_sites, interaction_range, coupling, field)
    everything = Subspace(torch.arange(2**n_sites), hamiltonian)
    assert everything.floor() == pytest.approx(dense.lowest(full), rel=1e-10)


def test_floor_of_a_zero_matrix() -> None:
    hamiltonian, _ = chain(6, 1, 0.0, 0.0)
    assert Subspace(torch.arange(64), hamiltonian).floor() == 0.0


def test_floor_of_states_that_are_not_connected() -> None:
    """States with an even number of down spins: single flips lead out of the subspace."""
    hamiltonian, full = chain(8, 4, 1.0, 1.0)
    codes = torch.tensor([code for code in range(256) if code.bit_count() % 2 == 0])
    subspace = Subspace(codes, hamiltonian)
    assert torch.count_nonzero(subspace.matrix.to_dense() - torch.diag(hamiltonian.diagonal(subspace.spins))) == 0
    assert subspace.floor() == pytest.approx(full.diagonal().min(), abs=1e-12)


def test_floor_is_reproducible() -> None:
    hamiltonian, _ = chain(8, 2, 1.0, 1.0)
    codes = random_codes(8, 150)
    assert Subspace(codes, hamiltonian).floor() == Subspace(codes.flip(0), hamiltonian).floor()


def test_floor_falls_as_the_subspace_grows() -> None:
    hamiltonian, _ = chain(8, 2, 1.0, 1.0)
    codes = random_codes(8, 256)
    floors = [Subspace(codes[:count], hamiltonian).floor() for count in (10, 40, 100, 200, 256)]
    assert floors == sorted(floors, reverse=True)


def test_two_states_at_62_sites() -> None:
    """The highest bit: all spins down and its neighbour, by hand."""
    n_sites = 62
    hamiltonian = Hamiltonian(pauli_terms(ChainTFIM(n_sites=n_sites, range=1, coupling=1.0, field=0.5)), n_sites)
    down, neighbour = 2**62 - 1, 2**61 - 1
    subspace = Subspace(torch.tensor([down, neighbour]), hamiltonian)
    assert subspace.codes.tolist() == [neighbour, down]
    assert subspace.matrix.to_dense().tolist() == [[-58.0, -0.5], [-0.5, -62.0]]
    assert subspace.floor() == pytest.approx(-60 - (4 + 0.25) ** 0.5, rel=1e-14)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_same_on_the_gpu() -> None:
    hamiltonian, _ = CASES["strings"]()
    codes = random_codes(7, 80)
    here, there = Subspace(codes, hamiltonian), Subspace(codes.cuda(), hamiltonian.to("cuda"))
    psi = torch.linspace(-1, 2, 80, dtype=torch.float64)
    assert there.matrix.device.type == "cuda"
    torch.testing.assert_close(there.matrix.to_dense().cpu(), here.matrix.to_dense(), rtol=0, atol=1e-14)
    assert there.energy_and_gradient(psi.cuda())[0] == pytest.approx(here.energy_and_gradient(psi)[0], rel=1e-13)
    assert there.floor() == pytest.approx(here.floor(), rel=1e-12)
