"""Symmetry sectors: together they hold every level of a Hamiltonian, once for each of its multiplicity."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest

from pipeline.base.errors import ConfigError, UserError
from pipeline.base.numbers.result import Result
from pipeline.spin.exact.ground_space import absolute_magnetisation, mean_correlation
from pipeline.spin.exact.quspin import QuSpinED
from pipeline.spin.exact.sector_matrix import build, solve
from pipeline.spin.symmetry.characters import Group, compose, decompose, inverse, order
from pipeline.spin.symmetry.permutations import lattice_symmetries
from pipeline.spin.symmetry.sectors import Sector, plan
from pipeline.spin.systems import ChainHeisenberg, ChainTFIM, OpenChainTFIM, SpinSystem, SquareHeisenberg, SquareTFIM
from pipeline.spin.terms import PauliTerm, pauli_terms
from tests.spin import dense
from tests.spin.exact.solvers import quspin


def union(size: int, terms: list[PauliTerm], sectors: list[Sector]) -> np.ndarray:
    """All eigenvalues of all sectors, as often as the sectors' multiplicities say."""
    found: list[float] = []
    for sector in sectors:
        matrix = build(size, terms, sector)
        if matrix.Ns:
            found += np.linalg.eigvalsh(matrix.toarray()).tolist() * sector.multiplicity
    return np.sort(found)


def spectrum(matrix: np.ndarray, up: int | None) -> np.ndarray:
    """All eigenvalues, or those of the states with ``up`` spins up."""
    size = int(np.log2(len(matrix)))
    kept = np.flatnonzero((dense.basis(size) > 0).sum(1) == up) if up is not None else np.arange(len(matrix))
    return np.linalg.eigvalsh(matrix[np.ix_(kept, kept)])


CHAINS: list[tuple[SpinSystem, np.ndarray]] = [
    *((ChainTFIM(n_sites=n, range=r, coupling=0.7, field=1.1), dense.ring(n, r, 0.7, 1.1))
      for n, r in ((2, 1), (3, 1), (6, 1), (6, 2), (7, 2), (8, 1), (8, 2))),
    *((OpenChainTFIM(n_sites=n, range=r, coupling=-0.7, field=1.1), dense.open_chain(n, r, -0.7, 1.1))
      for n, r in ((6, 1), (6, 2), (8, 2))),
    *((ChainHeisenberg(n_sites=n, periodic=p, j1=1.0, j2=j2), dense.chain_heisenberg(n, p, 1.0, j2))
      for n, p, j2 in itertools.product((6, 7, 8), (True, False), (0.0, 0.5))),
]  # fmt: skip
SQUARES: list[tuple[SpinSystem, np.ndarray]] = [
    *((SquareTFIM(length_x=x, length_y=y, periodic=p, coupling=0.7, field=1.1), dense.square(x, y, p, 0.7, 1.1))
      for x, y, p in ((3, 3, True), (3, 3, False), (2, 3, False), (2, 2, False), (1, 1, False))),
    *((SquareHeisenberg(length_x=x, length_y=y, periodic=p, j1=1.0, j2=j2), dense.square_heisenberg(x, y, p, 1.0, j2))
      for x, y, p, j2 in ((3, 3, True, 0.0), (3, 3, True, 0.5), (3, 3, False, 0.5), (2, 3, False, 0.5))),
]  # fmt: skip


@pytest.mark.parametrize(("system", "matrix"), [*CHAINS, *SQUARES], ids=lambda value: getattr(value, "kind", ""))
def test_sectors_together_hold_the_whole_spectrum(system: SpinSystem, matrix: np.ndarray) -> None:
    terms = pauli_terms(system)
    sectors = plan(system, terms, 2).sectors
    assert union(system.size, terms, sectors) == pytest.approx(spectrum(matrix, sectors[0].up), abs=1e-11)


@pytest.mark.parametrize("lengths", [(4, 3), (3, 4)])
def test_periodic_rectangle(lengths: tuple[int, int]) -> None:
    """Against the states with Σ σz = 0 without any other symmetry."""
    system = SquareHeisenberg(length_x=lengths[0], length_y=lengths[1], periodic=True, j1=1.0, j2=0.5)
    terms = pauli_terms(system)
    plain = np.linalg.eigvalsh(build(12, terms, Sector(up=6)).toarray())
    assert union(12, terms, plan(system, terms, 2).sectors) == pytest.approx(plain, abs=1e-11)


def test_periodic_rectangle_of_ising_spins() -> None:
    system = SquareTFIM(length_x=4, length_y=3, periodic=True, coupling=1.0, field=0.8)
    terms = pauli_terms(system)
    plain = np.linalg.eigvalsh(build(12, terms, Sector(flip=0)).toarray())
    even = [sector for sector in plan(system, terms, 2).sectors if sector.flip == 0]
    assert union(12, terms, even) == pytest.approx(plain, abs=1e-10)


@pytest.mark.parametrize("names", [
    *itertools.permutations(["translation_x", "translation_y", "reflection_x"]),
    ("transposition", "reflection_y", "reflection_x", "translation_x", "translation_y"), ("reflection_x",),
    ("transposition", "translation_x"), ("translation_x", "transposition", "reflection_y"),
])  # fmt: skip
def test_any_symmetries_in_any_order_are_complete(names: tuple[str, ...]) -> None:
    """What does not fit must be left out, not give a wrong basis."""
    system = SquareTFIM(length_x=3, length_y=3, periodic=True, coupling=0.7, field=1.1)
    terms = pauli_terms(system)
    known = lattice_symmetries(system, terms)
    sectors = []
    for character in decompose(9, {name: known[name] for name in names}, real=True):
        named = zip(character.group.generators.items(), character.numbers, strict=True)
        sectors.append(Sector(lattice={k: (g, q) for (k, g), q in named}, multiplicity=character.multiplicity))
    reference = np.linalg.eigvalsh(dense.square(3, 3, True, 0.7, 1.1))
    assert union(9, terms, sectors) == pytest.approx(reference, abs=1e-11)


def test_complex_hamiltonian_without_inversion() -> None:
    """A ring whose levels at k and -k differ: neither reflection nor complex conjugation is a symmetry."""
    n = 6
    terms = [PauliTerm(0.9, "xy", (i, (i + 1) % n)) for i in range(n)]
    terms += [PauliTerm(-0.4, "yx", (i, (i + 1) % n)) for i in range(n)]
    terms += [PauliTerm(0.3, "z", (i,)) for i in range(n)] + [PauliTerm(0.5, "xz", (i, (i + 2) % n)) for i in range(n)]
    sectors = plan(ChainTFIM(n_sites=n, range=1, coupling=1.0, field=1.0), terms, 1).sectors
    assert [(s.names, s.multiplicity) for s in sectors] == [(["translation"], 1)] * n
    reference = np.linalg.eigvalsh(dense.strings(n, [(t.coefficient, t.paulis, t.sites) for t in terms]))
    assert union(n, terms, sectors) == pytest.approx(reference, abs=1e-11)
    by_momentum = [np.linalg.eigvalsh(build(n, terms, sector).toarray())[0] for sector in sectors]
    assert abs(by_momentum[1] - by_momentum[5]) > 1e-3


def test_each_sector_is_an_eigenspace() -> None:
    """Energies of one sector of a ring from projectors written out as matrices: labels and momenta mean what they say.

    The other direction of the translation takes k to -k, which has the same levels here.
    """
    n, system = 6, ChainHeisenberg(n_sites=6, periodic=True, j1=1.0, j2=0.3)
    spins = dense.basis(n)
    shift = np.eye(2**n)[dense.row(np.roll(spins, 1, axis=1))]
    mirror, flip = np.eye(2**n)[dense.row(spins[:, ::-1])], np.eye(2**n)[dense.row(-spins)]
    matrix, terms = dense.chain_heisenberg(n, True, 1.0, 0.3), pauli_terms(system)
    neutral = np.diag((spins.sum(1) == 0).astype(float))
    for sector in plan(system, terms, 2).sectors:
        k = sector.lattice["translation"][1]
        projector = neutral @ (np.eye(2**n) + (1 - 2 * (sector.flip or 0)) * flip) / 2
        powers = (np.linalg.matrix_power(shift, m) * np.exp(2j * np.pi * k * m / n) for m in range(n))
        projector = projector @ sum(powers) / n
        if "reflection" in sector.lattice:
            projector = projector @ (np.eye(2**n) + (1 - 2 * sector.lattice["reflection"][1]) * mirror) / 2
        weights, vectors = np.linalg.eigh(projector)
        kept = vectors[:, weights > 0.5]
        expected = np.linalg.eigvalsh(kept.conj().T @ matrix @ kept)
        assert union(n, terms, [Sector(sector.up, sector.lattice, sector.flip)]) == pytest.approx(expected, abs=1e-11)


def test_stars_and_little_groups_of_a_square() -> None:
    """Γ and M have the whole point group, X half of it with a partner, the rest less: sixteen momenta in all."""
    system = SquareTFIM(length_x=4, length_y=4, periodic=True, coupling=1.0, field=1.0)
    found: dict[tuple[int, int], list[tuple[tuple[int, ...], int]]] = {}
    for character in decompose(16, lattice_symmetries(system, pauli_terms(system)), real=True):
        kx, ky = character.numbers[:2]
        found.setdefault((kx, ky), []).append((character.numbers[2:], character.multiplicity))
    assert set(found) == {(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)}
    point_group = [((0, 0, 0), 1), ((0, 0, 1), 1), ((0, 1), 2), ((1, 1, 0), 1), ((1, 1, 1), 1)]
    assert sorted(found[0, 0]) == sorted(found[2, 2]) == point_group
    assert sorted(found[0, 2]) == [((a, b), 2) for a in (0, 1) for b in (0, 1)]
    assert sorted(found[0, 1]) == sorted(found[1, 2]) == [((0,), 4), ((1,), 4)]
    assert sorted(found[1, 1]) == [((0,), 4), ((1,), 4)]


def test_group_elements_are_products_in_one_way() -> None:
    rotation, mirror = (1, 2, 3, 0), (3, 2, 1, 0)
    assert (order(rotation), order(mirror)) == (4, 2)
    assert compose(rotation, inverse(rotation)) == (0, 1, 2, 3)
    square = Group.trivial(4).extended("rotation", rotation)
    assert square is not None
    full = square.extended("mirror", mirror)
    assert full is not None
    assert len(full.exponents) == 8
    # Neither a square of the rotation again nor a permutation that does not map the group to itself may join.
    assert square.extended("half turn", (2, 3, 0, 1)) is None
    assert square.extended("swap", (1, 0, 2, 3)) is None


def test_levels_of_frustrated_square() -> None:
    """J1-J2 at J2 = J1/2 on 4 x 4, against one parity after the other without lattice symmetries."""
    system = SquareHeisenberg(length_x=4, length_y=4, periodic=True, j1=1.0, j2=0.5)
    result = quspin(6).run(system)
    plain = []
    for flip in (0, 1):
        plain += [level.energy for level in solve(build(16, pauli_terms(system), Sector(8, flip=flip)), 6)]
    assert energies(result) == pytest.approx(sorted(plain)[:6], abs=1e-9)
    assert energies(result)[0] == pytest.approx(-33.83169340558, abs=1e-10)


def energies(result: Result) -> list[float]:
    return [e.value for e in result.estimates if e.name == "energy" or e.name.removeprefix("energy_").isdigit()]


@pytest.mark.parametrize("n_sites", [9, 10])
def test_observables_where_the_ground_state_moves(n_sites: int) -> None:
    """Frustrated rings: momentum π for ten sites, a pair of complex momenta for nine."""
    system = ChainHeisenberg(n_sites=n_sites, periodic=True, j1=1.0, j2=0.3)
    spins = dense.basis(n_sites)
    kept = np.flatnonzero((spins > 0).sum(1) == n_sites // 2)
    values, vectors = np.linalg.eigh(dense.chain_heisenberg(n_sites, True, 1.0, 0.3)[np.ix_(kept, kept)])
    ground = values < values[0] + 1e-9
    assert ground.sum() == (2 if n_sites == 9 else 1)
    weights = (vectors[:, ground] ** 2).mean(1)
    correlation = weights @ (spins[kept] * np.roll(spins[kept], 1, axis=1)).mean(1)
    result = quspin().run(system)
    assert result.estimate("nearest_correlation").value == pytest.approx(correlation, abs=1e-11)
    assert result.estimate("absolute_magnetisation").value == pytest.approx(n_sites % 2 / n_sites, abs=1e-12)
    assert result.estimate("energy_variance").value < 1e-20
    assert any("degenerate" in note for note in result.notes) == (n_sites == 9)


def test_weights_of_representatives_in_every_sector() -> None:
    """⟨H_zz⟩ from |ψ|² on the representatives and from the derivative of the energy with the coupling."""
    step, field = 1e-4, 0.9

    def terms(coupling: float) -> list[PauliTerm]:
        return pauli_terms(SquareTFIM(length_x=3, length_y=3, periodic=True, coupling=coupling, field=field))

    system = SquareTFIM(length_x=3, length_y=3, periodic=True, coupling=1.0, field=field)
    bonds = system.bonds()
    for sector in plan(system, terms(1.0), 2).sectors:
        (level,) = solve(build(9, terms(1.0), sector), 1)
        weights = np.abs(level.vector) ** 2
        above, below = (solve(build(9, terms(1.0 + sign * step), sector), 1)[0].energy for sign in (1, -1))
        slope = (below - above) / (2 * step)
        assert len(bonds) * (weights @ mean_correlation(level.states, 9, bonds)) == pytest.approx(slope, abs=1e-4)
        assert weights.sum() == pytest.approx(1, abs=1e-12)
        assert 0 < weights @ absolute_magnetisation(level.states, 9) < 1


def test_symmetric_sector_says_that_it_is_a_bound() -> None:
    """Ten sites at J2 = 0.3 have their ground state at momentum π."""
    frustrated = ChainHeisenberg(n_sites=10, periodic=True, j1=1.0, j2=0.3)
    exact, bound = (quspin(sector=sector).run(frustrated) for sector in ("proven", "symmetric"))
    assert bound.estimate("energy").value > exact.estimate("energy").value + 1
    assert (exact.estimate("energy").bound, bound.estimate("energy").bound) == ("exact", "variational")
    assert not any("upper bounds" in note for note in exact.notes)
    assert any("upper bounds" in note for note in bound.notes)
    assert bound.extra["sectors"] == 1
    assert (quspin().exactness, quspin(sector="symmetric").exactness) == ("exact", "variational")


def test_symmetric_sector_of_the_frustrated_square() -> None:
    system = SquareHeisenberg(length_x=4, length_y=4, periodic=True, j1=1.0, j2=0.5)
    result = quspin(sector="symmetric").run(system)
    assert result.estimate("energy").value == pytest.approx(-33.83169340558, abs=1e-10)
    assert result.extra["basis_states"] == 107


def test_symmetric_sector_that_is_proven_stays_exact() -> None:
    ring = ChainTFIM(n_sites=8, range=1, coupling=1.0, field=1.0)
    one, three = (quspin(levels, "symmetric").run(ring) for levels in (1, 3))
    assert one == quspin().run(ring)
    assert {e.bound for e in three.estimates if e.name.startswith("energy") and e.unit == "total"} == {"variational"}
    assert energies(three)[1] > energies(quspin(3).run(ring))[1] + 0.1


def test_symmetric_sector_may_be_too_small() -> None:
    with pytest.raises(UserError, match=r"levels=5: the symmetric sector has 2 states only"):
        quspin(5, "symmetric").run(ChainHeisenberg(n_sites=4, periodic=True, j1=1.0, j2=0.0))


def test_two_runs_agree_to_the_last_bit() -> None:
    ring = ChainHeisenberg(n_sites=12, periodic=True, j1=1.0, j2=0.5)
    plain = Sector(up=6)
    first, second = (solve(build(12, pauli_terms(ring), plain), 4) for _ in range(2))
    assert [level.energy for level in first] == [level.energy for level in second]
    assert all(np.array_equal(a.vector, b.vector) for a, b in zip(first, second, strict=True))
    assert quspin(4).run(ring) == quspin(4).run(ring)


def test_limits_count_states_and_bytes() -> None:
    """6 x 6: 15.8 million states; possible if asked for, hopeless without the restriction, and quickly said so."""
    square = SquareHeisenberg(length_x=6, length_y=6, periodic=True, j1=1.0, j2=0.5)
    began = time.process_time()
    assert "9.1e+09 basis states of 36 spins" in (quspin(sector="symmetric").supports(square) or "")
    ready = QuSpinED("symmetric", 1, max_scanned=1e10, max_bytes=5e10, states=None, magnetisation=None)
    assert ready.supports(square) is None
    assert 1e10 < ready.cost(square).bytes < 5e10
    assert 3600 < ready.cost(square).seconds < 1e5
    assert plan(square, pauli_terms(square), 1, symmetric=True).sectors[0].states(36) == pytest.approx(
        15.76e6, rel=1e-3
    )
    hopeless = (
        QuSpinED("proven", 1, max_scanned=1e10, max_bytes=5e10, states=None, magnetisation=None).supports(square) or ""
    )
    assert "baseline.quspin.sector=symmetric" in hopeless
    assert "baseline=dmrg" in hopeless
    assert "2^4096" in (quspin().supports(ChainTFIM(n_sites=4096, range=1, coupling=1.0, field=1.0)) or "")
    assert time.process_time() - began < 1


@pytest.mark.parametrize(("sector", "scanned", "key"), [("even", 1e9, "sector=even"), ("proven", 0.0, "max_scanned=0")])
def test_refuses_settings(sector: str, scanned: float, key: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{key}"):
        QuSpinED(sector, 1, max_scanned=scanned, max_bytes=1e9, states=None, magnetisation=None)


def test_three_levels_of_twenty_spins_are_expected_to_take_seconds() -> None:
    for system in (
        *(ChainTFIM(n_sites=20, range=r, coupling=1.0, field=1.0) for r in (1, 5, 10)),
        ChainHeisenberg(n_sites=20, periodic=True, j1=1.0, j2=0.5),
    ):
        cost = quspin(3).cost(system)
        assert cost.seconds < 30
        assert cost.bytes < 2e9


def test_three_levels_of_a_heisenberg_ring_of_twenty() -> None:
    """The gap of the ring to the triplet at momentum π; both from the sector that has only Σ σz = 0 and the parity."""
    system = ChainHeisenberg(n_sites=20, periodic=True, j1=1.0, j2=0.0)
    result = quspin(3).run(system)
    assert energies(result)[0] == pytest.approx(quspin().run(system).estimate("energy").value, abs=1e-10)
    triplet = solve(build(20, pauli_terms(system), Sector(10, flip=1)), 1)[0].energy
    assert energies(result)[1] == pytest.approx(triplet, abs=1e-9)
