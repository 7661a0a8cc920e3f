"""Levels, sectors and observables of QuSpin ED: against dense spectra and the literature."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.base.errors import ConfigError
from pipeline.base.numbers.result import Result
from pipeline.spin.exact.collective_spin import CollectiveSpin
from pipeline.spin.exact.ground_space import absolute_magnetisation, mean_correlation
from pipeline.spin.exact.sector_matrix import build
from pipeline.spin.symmetry.charges import conserves_total_spin
from pipeline.spin.symmetry.sectors import Sector, plan
from pipeline.spin.symmetry.stoquastic import is_stoquastic, stoquastic_form
from pipeline.spin.systems import ChainHeisenberg, ChainTFIM, OpenChainTFIM, SpinSystem, SquareHeisenberg, SquareTFIM
from pipeline.spin.terms import PauliTerm, pauli_terms
from tests.spin import dense
from tests.spin.exact.solvers import quspin


def solve(system: SpinSystem, levels: int = 1) -> Result:
    return quspin(levels).run(system)


def energies(result: Result) -> list[float]:
    return [e.value for e in result.estimates if e.name == "energy" or e.name[:-1] == "energy_"]


def four_by_four(j2: float) -> SquareHeisenberg:
    return SquareHeisenberg(length_x=4, length_y=4, periodic=True, j1=1.0, j2=j2)


def test_heisenberg_four_by_four_in_the_symmetric_sector() -> None:
    result = solve(four_by_four(0.0))
    assert result.estimate("energy").value == pytest.approx(-44.9139328, abs=1e-7)
    assert result.extra["symmetries"][0] == "magnetisation"
    assert len(result.extra["symmetries"]) == 7
    assert result.extra["basis_states"] < 150
    # A singlet: ⟨σz σz⟩ is a third of ⟨σ·σ⟩, and Σ σz = 0.
    correlation = result.estimate("nearest_correlation").value
    assert correlation == pytest.approx(result.estimate("energy").value / (3 * 32), abs=1e-12)
    assert result.estimate("absolute_magnetisation").value == 0.0


def test_frustrated_four_by_four() -> None:
    result = solve(four_by_four(0.5))
    assert result.estimate("energy").value == pytest.approx(-33.83169340558, abs=1e-10)
    assert result.extra["basis_states"] < 12870 / 2
    assert len(result.extra["symmetries"]) == 7
    assert result.estimate("energy_variance").value < 1e-20


def test_ising_four_by_four_levels() -> None:
    """Against all 2^16 states at once; the third excited level is fourfold degenerate."""
    system = SquareTFIM(length_x=4, length_y=4, periodic=True, coupling=1.0, field=3.0)
    levels = energies(solve(system, 7))
    plain = build(16, pauli_terms(system), Sector()).tocsr()
    from scipy.sparse.linalg import eigsh

    reference = np.sort(eigsh(plain, k=12, which="SA", return_eigenvectors=False))[:7]
    assert levels == pytest.approx(reference, abs=1e-9)
    assert levels[3:7] == pytest.approx([levels[3]] * 4, abs=1e-10)
    assert levels[0] == pytest.approx(solve(system).estimate("energy").value, abs=1e-10)


@pytest.mark.parametrize(
    ("system", "matrix"),
    [
        (ChainTFIM(n_sites=8, range=2, coupling=0.7, field=1.1), dense.ring(8, 2, 0.7, 1.1)),
        (ChainTFIM(n_sites=7, range=3, coupling=-0.8, field=-0.4), dense.ring(7, 3, -0.8, -0.4)),
        (ChainTFIM(n_sites=8, range=1, coupling=1.0, field=0.0), dense.ring(8, 1, 1.0, 0.0)),
        (OpenChainTFIM(n_sites=8, range=1, coupling=1.0, field=0.2), dense.open_chain(8, 1, 1.0, 0.2)),
        (
            SquareTFIM(length_x=3, length_y=3, periodic=True, coupling=-1.0, field=0.7),
            dense.square(3, 3, True, -1.0, 0.7),
        ),
    ],
)
def test_ising_levels_with_multiplicity(system: SpinSystem, matrix: np.ndarray) -> None:
    assert energies(solve(system, 10)) == pytest.approx(np.linalg.eigvalsh(matrix)[:10], abs=1e-10)


@pytest.mark.parametrize("n_sites", [7, 8, 9, 10])
@pytest.mark.parametrize(("j1", "j2"), [(1.0, 0.0), (1.0, 0.5), (-1.0, 0.7)])
def test_heisenberg_levels_count_each_multiplet_once(n_sites: int, j1: float, j2: float) -> None:
    """The dense spectrum restricted to ⌊N/2⌋ spins up, all symmetries ignored."""
    system = ChainHeisenberg(n_sites=n_sites, periodic=True, j1=j1, j2=j2)
    matrix = dense.chain_heisenberg(n_sites, True, j1, j2)
    kept = np.flatnonzero((dense.basis(n_sites) > 0).sum(1) == n_sites // 2)
    reference = np.linalg.eigvalsh(matrix[np.ix_(kept, kept)])[:10]
    result = solve(system, 10)
    assert energies(result) == pytest.approx(reference, abs=1e-10)
    assert result.estimate("energy").value == pytest.approx(dense.lowest(matrix), abs=1e-10)
    assert "QuSpin: each multiplet of the total spin counts as one level." in result.notes


def test_degenerate_ground_state_is_named() -> None:
    """Majumdar and Ghosh: two dimer states of energy -3 N/2 (Pauli), exactly."""
    result = solve(ChainHeisenberg(n_sites=12, periodic=True, j1=1.0, j2=0.5), 3)
    assert energies(result)[:2] == pytest.approx([-18.0, -18.0], abs=1e-11)
    assert energies(result)[2] > -17
    assert any("degenerate" in note for note in result.notes)


@pytest.mark.parametrize(
    ("system", "matrix"),
    [
        (ChainTFIM(n_sites=8, range=2, coupling=0.7, field=1.1), dense.ring(8, 2, 0.7, 1.1)),
        (OpenChainTFIM(n_sites=7, range=3, coupling=0.4, field=-0.9), dense.open_chain(7, 3, 0.4, -0.9)),
        (
            SquareTFIM(length_x=4, length_y=2, periodic=False, coupling=1.0, field=2.0),
            dense.square(4, 2, False, 1.0, 2.0),
        ),
        (ChainHeisenberg(n_sites=8, periodic=False, j1=1.0, j2=0.3), dense.chain_heisenberg(8, False, 1.0, 0.3)),
        (
            SquareHeisenberg(length_x=4, length_y=2, periodic=False, j1=1.0, j2=0.0),
            dense.square_heisenberg(4, 2, False, 1.0, 0.0),
        ),
    ],
)
def test_observables_of_the_ground_state(system: SpinSystem, matrix: np.ndarray) -> None:
    """Non-degenerate ground states, with and without lattice symmetries."""
    weights = np.linalg.eigh(matrix)[1][:, 0] ** 2
    spins = dense.basis(system.size)
    bonds = system.nearest_bonds()
    correlation = sum(weights @ (spins[:, i] * spins[:, j]) for i, j in bonds) / len(bonds)
    result = solve(system)
    found = {e.name: e for e in result.estimates}
    assert found["absolute_magnetisation"].value == pytest.approx(
        weights @ np.abs(spins.sum(1)) / system.size, abs=1e-10
    )
    assert found["nearest_correlation"].value == pytest.approx(correlation, abs=1e-10)
    assert 0 <= found["energy_variance"].value < 1e-20


def test_bits_of_basis_states() -> None:
    """Site-dependent strings: the diagonal that QuSpin builds is the one that we read from its integers."""
    matrix = build(5, [PauliTerm(0.5, "zz", (0, 1)), PauliTerm(0.5, "zz", (1, 4))], Sector())
    states = np.array(matrix.basis.states)
    assert mean_correlation(states, 5, [(0, 1), (1, 4)]) == pytest.approx(matrix.tocsr().diagonal())
    assert absolute_magnetisation(states, 5)[:3] == pytest.approx([1.0, 0.6, 0.6])


def test_single_spin_has_no_neighbours() -> None:
    result = solve(SquareTFIM(length_x=1, length_y=1, periodic=False, coupling=1.0, field=0.5), 2)
    assert energies(result) == pytest.approx([-0.5, 0.5])
    assert [e.name for e in result.estimates if "correlation" in e.name] == []


def test_nothing_at_all() -> None:
    """H = 0, on which Lanczos cannot start."""
    assert energies(solve(ChainTFIM(n_sites=12, range=1, coupling=0.0, field=0.0), 3)) == [0.0] * 3


def test_marshall_rotation() -> None:
    antiferromagnet = pauli_terms(SquareHeisenberg(length_x=4, length_y=4, periodic=True, j1=1.0, j2=-0.2))
    assert not is_stoquastic(antiferromagnet)
    rotated = stoquastic_form(antiferromagnet)
    assert rotated is not None
    assert is_stoquastic(rotated)
    assert [t.coefficient for t in rotated if t.paulis == "zz"] == [
        t.coefficient for t in antiferromagnet if t.paulis == "zz"
    ]
    for system in (four_by_four(0.5), SquareHeisenberg(length_x=3, length_y=3, periodic=True, j1=1.0, j2=0.0)):
        assert stoquastic_form(pauli_terms(system)) is None
    wrong_field = pauli_terms(ChainTFIM(n_sites=5, range=1, coupling=1.0, field=-0.3))
    assert stoquastic_form(wrong_field) == pauli_terms(ChainTFIM(n_sites=5, range=1, coupling=1.0, field=0.3))


def test_strings_of_y_must_be_outweighed() -> None:
    pair = [PauliTerm(-1.0, "xx", (0, 1)), PauliTerm(1.0, "yy", (1, 0))]
    assert is_stoquastic(pair)
    assert not is_stoquastic([*pair, PauliTerm(0.1, "yy", (0, 1))])
    assert not is_stoquastic([PauliTerm(-1.0, "xx", (0, 1)), PauliTerm(-0.1, "y", (0,))])
    assert stoquastic_form([PauliTerm(1.0, "xxx", (0, 1, 2))]) is None


@pytest.mark.parametrize("seed", range(8))
def test_rotated_random_strings_keep_the_spectrum(seed: int) -> None:
    """Random signs on a tree have a rotation; the spectrum and the sign of every element follow from it."""
    draw = np.random.default_rng(seed)
    terms = [PauliTerm(float(draw.normal()), "xx", (int(draw.integers(j)), j)) for j in range(1, 5)]
    terms += [PauliTerm(abs(term.coefficient) / 2, "yy", term.sites) for term in terms]
    terms += [PauliTerm(float(draw.normal()), "zz", (0, 3)), PauliTerm(float(draw.normal()), "z", (2,))]
    rotated = stoquastic_form(terms)
    assert rotated is not None
    before, after = (dense.strings(5, [(t.coefficient, t.paulis, t.sites) for t in some]) for some in (terms, rotated))
    assert np.linalg.eigvalsh(before) == pytest.approx(np.linalg.eigvalsh(after), abs=1e-12)
    assert (after - np.diag(np.diag(after))).real.max() <= 0


def test_total_spin_is_recognised() -> None:
    bond = [PauliTerm(0.7, 2 * axis, (0, 1)) for axis in "xyz"]
    assert conserves_total_spin(bond)
    assert not conserves_total_spin([*bond, PauliTerm(1e-3, "zz", (1, 0))])
    assert not conserves_total_spin([*bond, PauliTerm(1e-3, "z", (1,))])


def test_more_levels_take_all_momenta() -> None:
    """Momenta 0 and 3 with both reflections, 1 and 2 together with 5 and 4; each with both parities."""
    system = ChainTFIM(n_sites=6, range=1, coupling=1.0, field=1.0)
    one, two = (plan(system, pauli_terms(system), levels).sectors for levels in (1, 2))
    assert [s.names for s in one] == [["translation", "reflection", "spin_flip"]]
    assert sorted((s.lattice["translation"][1], s.multiplicity, len(s.lattice)) for s in two) == [
        *[(0, 1, 2)] * 4, *[(1, 2, 1)] * 2, *[(2, 2, 1)] * 2, *[(3, 1, 2)] * 4
    ]  # fmt: skip


def test_refuses_levels() -> None:
    with pytest.raises(ConfigError, match=r"^levels=0"):
        quspin(0)
    small = ChainHeisenberg(n_sites=4, periodic=True, j1=1.0, j2=0.0)
    assert "4 sites have 6 levels" in (quspin(7).supports(small) or "")
    assert quspin(6).supports(small) is None
    assert len(energies(solve(small, 6))) == 6


def test_twenty_sites_fit_a_laptop() -> None:
    """Estimates for every range; the ring of twenty itself is solved in about two seconds, here against another way."""
    for interaction_range in (1, 5, 10):
        system = ChainTFIM(n_sites=20, range=interaction_range, coupling=1.0, field=1.0)
        cost = quspin().cost(system)
        assert cost.seconds < 30
        assert cost.bytes < 2e9
    result = solve(system)
    assert result.extra["basis_states"] < 2**20 / 75
    assert result.estimate("energy").value == pytest.approx(
        CollectiveSpin().run(system).estimate("energy").value, abs=1e-9
    )
