"""QuSpin ED against dense matrices: conventions, ordering, symmetry sectors."""

import numpy as np
import pytest

from pipeline.spin.exact.sector_matrix import build
from pipeline.spin.symmetry.charges import conserves_spin_flip
from pipeline.spin.symmetry.permutations import lattice_symmetries
from pipeline.spin.symmetry.sectors import Sector
from pipeline.spin.symmetry.stoquastic import is_stoquastic
from pipeline.spin.systems import ChainTFIM, SpinSystem, SquareTFIM
from pipeline.spin.terms import PauliTerm, pauli_terms
from tests.spin.dense import SIGMA_X, SIGMA_Z, ising, lowest, operator, ring, square
from tests.spin.exact.solvers import quspin

SIGMA_Y = np.array([[0, -1j], [1j, 0]])


class Lattice(SpinSystem):
    """Some spins without a known geometry."""

    def __init__(self, n_sites: int) -> None:
        self.n_sites = n_sites

    @property
    def size(self) -> int:
        return self.n_sites


def energy(system: SpinSystem) -> float:
    return quspin().run(system).estimate("energy").value


def test_critical_chain_of_ten_in_the_symmetric_sector() -> None:
    result = quspin().run(ChainTFIM(n_sites=10, range=1, coupling=1.0, field=1.0))
    estimate = result.estimate("energy")
    assert estimate.value == pytest.approx(-12.784906442999, abs=1e-11)
    assert (estimate.bound, estimate.sigma_kind, estimate.unit) == ("exact", "numerical", "total")
    assert estimate.sigma is not None
    assert 0 < estimate.sigma < 1e-9
    assert result.extra["basis_states"] < 60
    assert result.extra["symmetries"] == ["translation", "reflection", "spin_flip"]


@pytest.mark.parametrize("n_sites", [2, 3, 7, 8])
@pytest.mark.parametrize(("coupling", "field"), [(1.0, 1.0), (-0.7, 0.4), (-1.0, 0.0), (0.6, -0.9), (-0.8, -0.3)])
def test_rings_of_any_sign_agree_with_dense(n_sites: int, coupling: float, field: float) -> None:
    for interaction_range in range(1, n_sites // 2 + 1):
        system = ChainTFIM(n_sites=n_sites, range=interaction_range, coupling=coupling, field=field)
        assert energy(system) == pytest.approx(lowest(ring(n_sites, interaction_range, coupling, field)), abs=1e-10)


@pytest.mark.parametrize(
    ("length_x", "length_y", "periodic"), [(1, 1, False), (3, 2, False), (2, 3, False), (3, 3, False), (3, 3, True)]
)
@pytest.mark.parametrize(("coupling", "field"), [(1.0, 3.0), (-1.0, 0.6), (0.9, -0.6)])
def test_squares_agree_with_dense(length_x: int, length_y: int, periodic: bool, coupling: float, field: float) -> None:
    system = SquareTFIM(length_x=length_x, length_y=length_y, periodic=periodic, coupling=coupling, field=field)
    assert energy(system) == pytest.approx(lowest(square(length_x, length_y, periodic, coupling, field)), abs=1e-10)


def test_four_by_four_uses_every_symmetry() -> None:
    """The fully symmetric sector has the ground state of the sector that only the spin flip defines."""
    system = SquareTFIM(length_x=4, length_y=4, periodic=True, coupling=1.0, field=3.0)
    terms = pauli_terms(system)
    result = quspin().run(system)
    assert len(result.extra["symmetries"]) == 6
    plain = build(16, terms, Sector(flip=0))
    unsymmetrised = plain.eigsh(k=1, which="SA", return_eigenvectors=False)[0]
    assert result.estimate("energy").value == pytest.approx(unsymmetrised, abs=1e-9)


def test_site_dependent_terms_have_the_dense_spectrum() -> None:
    """Every coupling and field different on 2 × 3: a wrong order of sites would show in the spectrum."""
    couplings = {(0, 1): 0.3, (1, 2): -1.1, (3, 4): 0.7, (4, 5): 1.9, (0, 3): -0.4, (1, 4): 1.3, (2, 5): 0.55}
    fields = [0.2, 1.4, -0.6, 0.9, 0.35, 1.15]
    terms = [PauliTerm(-v, "zz", bond) for bond, v in couplings.items()]
    terms += [PauliTerm(-h, "x", (site,)) for site, h in enumerate(fields)]
    matrix = build(6, terms, Sector())
    dense = matrix.toarray()
    assert np.array_equal(dense, dense.conj().T)
    assert np.linalg.eigvalsh(dense) == pytest.approx(np.linalg.eigvalsh(ising(6, couplings, fields)), abs=1e-12)


def test_signs_of_each_pauli_matrix() -> None:
    """One field along each axis and a chirality-like product fix signs and order of x, y and z."""
    terms = [PauliTerm(0.3, "z", (0,)), PauliTerm(0.5, "y", (1,)), PauliTerm(-0.8, "xyz", (2, 0, 1))]
    expected = (
        0.3 * operator(3, s0=SIGMA_Z) + 0.5 * operator(3, s1=SIGMA_Y)
        - 0.8 * operator(3, s2=SIGMA_X, s0=SIGMA_Y, s1=SIGMA_Z)
    )  # fmt: skip
    matrix = build(3, terms, Sector())
    dense = matrix.toarray()
    assert np.array_equal(dense, dense.conj().T)
    assert np.linalg.eigvalsh(dense) == pytest.approx(np.linalg.eigvalsh(expected), abs=1e-12)


def test_what_is_proven_from_the_terms() -> None:
    assert is_stoquastic([PauliTerm(1.0, "zz", (0, 1)), PauliTerm(-1.0, "x", (0,))])
    assert not is_stoquastic([PauliTerm(1.0, "x", (0,))])
    assert not is_stoquastic([PauliTerm(-1.0, "xz", (0, 1))])
    assert conserves_spin_flip([PauliTerm(1.0, "yz", (0, 1)), PauliTerm(1.0, "x", (0,))])
    assert not conserves_spin_flip([PauliTerm(1.0, "z", (0,))])


def test_lattice_symmetries_are_checked_against_the_terms() -> None:
    system = SquareTFIM(length_x=3, length_y=3, periodic=True, coupling=1.0, field=1.0)
    terms = pauli_terms(system)
    assert len(lattice_symmetries(system, terms)) == 5
    opened = SquareTFIM(length_x=3, length_y=3, periodic=False, coupling=1.0, field=1.0)
    assert set(lattice_symmetries(opened, pauli_terms(opened))) == {"reflection_x", "reflection_y", "transposition"}
    assert lattice_symmetries(system, [*terms, PauliTerm(0.5, "z", (1,))]).keys() == {"reflection_x"}


def test_refuses() -> None:
    baseline = quspin()
    reason = baseline.supports(ChainTFIM(n_sites=40, range=3, coupling=1.0, field=1.0))
    assert reason is not None
    assert "1.1e+12 basis states of 40 spins" in reason
    assert "baseline=dmrg" in reason
    assert "Lattice" in (baseline.supports(Lattice(4)) or "")


def test_cost_grows_with_the_ring() -> None:
    costs = [quspin().cost(ChainTFIM(n_sites=n, range=3, coupling=1.0, field=1.0)) for n in (8, 16, 24)]
    assert costs[0].seconds < costs[1].seconds < costs[2].seconds
    assert costs[0].bytes < costs[1].bytes < costs[2].bytes
