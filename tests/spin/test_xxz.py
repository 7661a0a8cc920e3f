"""XXZ models: everything that is true of them follows from their strings and geometry."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from pipeline.base.errors import ConfigError
from pipeline.spin.exact.dmrg import DMRG, initial_states
from pipeline.spin.exact.sector_matrix import build
from pipeline.spin.hamiltonian import Hamiltonian
from pipeline.spin.symmetry.charges import conserves_magnetisation, conserves_total_spin
from pipeline.spin.symmetry.groups import symmetry_group
from pipeline.spin.symmetry.sectors import plan
from pipeline.spin.symmetry.stoquastic import overlapping_state, stoquastic_form
from pipeline.spin.systems import ChainHeisenberg, ChainXXZ, SpinSystem, SquareXXZ
from pipeline.spin.terms import pauli_terms
from pipeline.stages.compose import compose_run
from tests.spin import dense
from tests.spin.elements import assembled
from tests.spin.exact.solvers import quspin

JZ = (0.5, 1.0, 2.0, -1.5, 0.0, -1.0)


def xxz(n_sites: int, bonds: list[tuple[int, int]], jxy: float, jz: float) -> np.ndarray:
    """Σ_bonds [Jxy (σxσx + σyσy) + Jz σzσz], written out."""
    strings: list[tuple[float, str, tuple[int, ...]]] = [
        (j, letters, bond) for bond in bonds for j, letters in ((jxy, "xx"), (jxy, "yy"), (jz, "zz"))
    ]
    matrix = dense.strings(n_sites, strings)
    assert not matrix.imag.any()
    return matrix.real


def ring(n_sites: int, jxy: float, jz: float, periodic: bool = True) -> tuple[SpinSystem, np.ndarray]:
    bonds = [(i, (i + 1) % n_sites) for i in range(n_sites if periodic else n_sites - 1)]
    return ChainXXZ(n_sites=n_sites, periodic=periodic, jxy=jxy, jz=jz), xxz(n_sites, bonds, jxy, jz)


def plane(jxy: float, jz: float) -> tuple[SpinSystem, np.ndarray]:
    """Two rows of three."""
    bonds = [(0, 1), (1, 2), (3, 4), (4, 5), (0, 3), (1, 4), (2, 5)]
    return SquareXXZ(length_x=3, length_y=2, periodic=False, jxy=jxy, jz=jz), xxz(6, bonds, jxy, jz)


CASES = [
    *(ring(n, jxy, jz) for n, jxy, jz in itertools.product((4, 5, 6), (1.0, -0.8), JZ)),
    *(ring(n, 1.0, jz, periodic=False) for n, jz in itertools.product((5, 6), (0.5, -1.5))),
    *(plane(jxy, jz) for jxy, jz in itertools.product((1.0, -0.8), JZ)),
]


@pytest.mark.parametrize(("system", "matrix"), CASES, ids=str)
def test_elements_sectors_and_energies(system: SpinSystem, matrix: np.ndarray) -> None:
    """Our elements and QuSpin's ground state; all sectors together hold every level once for its multiplicity."""
    terms = pauli_terms(system)
    np.testing.assert_allclose(assembled(Hamiltonian(terms, system.size)), matrix, rtol=0, atol=1e-12)
    levels = np.linalg.eigvalsh(matrix)
    solved = quspin().run(system)
    assert solved.estimate("energy").value == pytest.approx(levels[0], abs=1e-10)
    assert solved.estimate("energy").bound == "exact"
    if conserves_total_spin(terms):
        return  # of which one state of each multiplet is looked for
    found: list[float] = []
    for sector in plan(system, terms, 2).sectors:
        block = build(system.size, terms, sector)
        found += np.linalg.eigvalsh(block.toarray()).tolist() * sector.multiplicity if block.Ns else []
    assert np.sort(found) == pytest.approx(levels, abs=1e-10)


@pytest.mark.parametrize("jz", [0.5, 2.0, -1.5, 1.0])
def test_three_levels(jz: float) -> None:
    """With multiplicity: the ferromagnet's first two have all spins up or down."""
    system, matrix = ring(6, 1.0, jz)
    levels = [quspin(3).run(system).estimate(name).value for name in ("energy", "energy_1", "energy_2")]
    if jz == 1.0:
        heisenberg = ChainHeisenberg(n_sites=6, periodic=True, j1=1.0, j2=0.0)
        assert levels == [quspin(3).run(heisenberg).estimate(n).value for n in ("energy", "energy_1", "energy_2")]
    else:
        assert levels == pytest.approx(np.linalg.eigvalsh(matrix)[:3], abs=1e-10)
    if jz == -1.5:
        assert levels[:2] == pytest.approx([-9.0, -9.0], abs=1e-10)


@pytest.mark.parametrize(
    ("jxy", "jz", "up"),
    [(1.0, 2.0, [3]), (-1.0, 2.0, [3]), (1.0, -1.5, [0]), (-0.8, -1.5, [0]), (1.0, 0.5, [3, 2, 1, 0]), (1.0, 1.0, [3])],
)
def test_sectors_of_the_ground_state(jxy: float, jz: float, up: list[int]) -> None:
    """Proven where σzσz is the stronger coupling; otherwise all, those that the spin flip makes equal once."""
    system, _ = ring(6, jxy, jz)
    search = plan(system, pauli_terms(system), 1)
    assert search.proven
    assert [sector.up for sector in search.sectors] == up
    assert [sector.flip for sector in search.sectors] == [0 if n == 3 else None for n in up]
    assert [sector.multiplicity for sector in search.sectors] == [1 if n == 3 else 2 for n in up]


@pytest.mark.parametrize(("system", "matrix"), CASES, ids=str)
def test_overlapping_state_has_the_magnetisation_of_a_ground_state(system: SpinSystem, matrix: np.ndarray) -> None:
    """The lowest level of the states with its Σ σz is the lowest of all."""
    state = overlapping_state(pauli_terms(system), system.size)
    weaker = abs(matrix[0, 0]) / len(system.bonds()) < np.abs(matrix - np.diag(np.diag(matrix))).max() / 2 - 1e-12
    if weaker:
        assert state is None
    if state is not None:
        kept = np.flatnonzero(dense.basis(system.size).sum(1) == sum(state))
        assert dense.lowest(matrix[np.ix_(kept, kept)]) == pytest.approx(dense.lowest(matrix), abs=1e-10)


def test_some_states_are_proven() -> None:
    """The comparison above must not pass for want of states."""
    states = [overlapping_state(pauli_terms(system), system.size) for system, _ in CASES]
    assert {sum(state) for state in states if state is not None} >= {0, 4, 5, 6}


@pytest.mark.parametrize(
    ("system", "matrix"),
    [
        *(ring(6, jxy, jz) for jxy, jz in ((1.0, 0.5), (1.0, 2.0), (-0.7, 0.4), (1.0, -1.5), (-1.0, -1.5))),
        *(ring(7, 1.0, 0.5), ring(7, -1.0, 2.0, periodic=False), plane(1.0, 0.5), plane(1.0, 2.0)),
    ],
    ids=str,
)
def test_dmrg(system: SpinSystem, matrix: np.ndarray) -> None:
    solver = DMRG([8, 16], energy_tolerance=1e-10, max_sweeps=8, svd_min=1e-13, max_sites=16, states=None)
    energy = solver.run(system).estimate("variational_energy").value
    assert energy == pytest.approx(dense.lowest(matrix), abs=1e-9)


def test_dmrg_conserves_only_what_is_proven() -> None:
    def starts(jz: float) -> list[list[str]]:
        return initial_states(pauli_terms(ChainXXZ(n_sites=6, periodic=True, jxy=1.0, jz=jz)), 6)

    assert [len(starts(jz)) for jz in (0.5, 1.0, 2.0, -1.5)] == [2, 1, 1, 1]
    assert starts(2.0) in ([["up", "down"] * 3], [["down", "up"] * 3])
    assert starts(-1.5)[0] in (["up"] * 6, ["down"] * 6)


@pytest.mark.parametrize("n_sites", [4, 6, 8])
def test_free_fermions_without_jz(n_sites: int) -> None:
    """XX ring (Lieb, Schultz, Mattis 1961): 4 Jxy Σ cos k of the filled modes, minimised over both boundary terms."""
    parities = []
    for filled in range(n_sites + 1):
        shift = 0.0 if filled % 2 else 0.5
        modes = sorted(4 * math.cos(2 * math.pi * (m + shift) / n_sites) for m in range(n_sites))
        parities.append(sum(modes[:filled]))
    energy = quspin().run(ChainXXZ(n_sites=n_sites, periodic=True, jxy=1.0, jz=0.0)).estimate("energy").value
    assert energy == pytest.approx(min(parities), abs=1e-10)


@pytest.mark.parametrize("jz", [0.5, 2.0])
def test_bethe_ansatz_of_two_flipped_spins(jz: float) -> None:
    """Ring of four, Σ σz = 0, momentum 0: E solves E² + 4 Jz E - 32 Jxy² = 0 (two states: Néel and domain walls)."""
    energy = quspin().run(ChainXXZ(n_sites=4, periodic=True, jxy=1.0, jz=jz)).estimate("energy").value
    assert energy == pytest.approx(-2 * jz - math.sqrt(4 * jz**2 + 32), abs=1e-10)


def test_ising_limit_of_the_ring() -> None:
    """Second order in Jxy: each of N bonds of the Néel state gives -(2 Jxy)² / 4 Jz."""
    jz, jxy, n = 40.0, 1.0, 8
    energy = quspin().run(ChainXXZ(n_sites=n, periodic=True, jxy=jxy, jz=jz)).estimate("energy").value
    # Third order vanishes and fourth is of order Jxy⁴/Jz³.
    assert energy == pytest.approx(-n * (jz + jxy**2 / jz), abs=n * (jxy / jz) ** 3)


def test_stoquastic_form() -> None:
    for system in (ring(6, 1.0, 0.5)[0], ring(5, -1.0, 0.5)[0], plane(1.0, -1.5)[0]):
        rotated = stoquastic_form(pauli_terms(system))
        assert rotated is not None
        elements = assembled(Hamiltonian(rotated, system.size))
        assert (elements - np.diag(np.diag(elements))).max() <= 0
    assert stoquastic_form(pauli_terms(ring(5, 1.0, 0.5)[0])) is None


def test_symmetries() -> None:
    """D4 and translations of the torus, D6 of the ring, both with the spin flip."""
    torus = SquareXXZ(length_x=3, length_y=3, periodic=True, jxy=1.0, jz=0.5)
    assert len(symmetry_group(torus, ["point_group", "translations", "spin_flip"])) == 144
    assert len(symmetry_group(ring(6, 1.0, 0.5)[0], ["point_group", "translations", "spin_flip"])) == 24
    with pytest.raises(
        ConfigError, match="translation maps xx of bond 4-5, coefficient 1, to xx of bond 0-5, which does"
    ):
        symmetry_group(ring(6, 1.0, 0.5, periodic=False)[0], ["translations"])


VMC = ["method=vmc", "system=square_xxz", "ansatz=pixelcnn"]


def test_exchange_moves_and_sectors_are_allowed() -> None:
    run = compose_run([*VMC, "sampler=metropolis", "train.sampler.rule=exchange", "train.ansatz.magnetisation=0"])
    assert conserves_magnetisation(pauli_terms(run.system))
    assert (
        compose_run(["method=vmc", "system=chain_xxz", "ansatz=mps", "sampler=metropolis"]).train.ansatz.name == "mps"
    )
    with pytest.raises(ConfigError, match="16 spins have"):
        compose_run([*VMC, "train.ansatz.magnetisation=3"])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["system=chain_xxz", "system.n_sites=2"], r"system\.n_sites=2: must"),
        (["system=chain_xxz", "system.jz=nan"], r"system\.jz=nan"),
        (["system=square_xxz", "system.length_x=2"], r"system\.length_x=2"),
        (["system=square_xxz", "system.jx=1"], r"system\.jx: no such key \(did you mean 'system\.jxy'"),
        (["system=chain_xxz", "baseline=qmc"], "not ChainXXZ"),
        (["system=chain_xxz", "baseline=free_fermions"], "not ChainXXZ"),
    ],
)
def test_refuses(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        compose_run(["stages=[baseline]", *overrides])


def test_isotropic_point_is_the_heisenberg_model() -> None:
    system = ChainXXZ(n_sites=6, periodic=True, jxy=0.7, jz=0.7)
    assert pauli_terms(system) == pauli_terms(ChainHeisenberg(n_sites=6, periodic=True, j1=0.7, j2=0.0))
    assert conserves_total_spin(pauli_terms(system))
    assert not conserves_total_spin(pauli_terms(replace(system, jz=0.6)))
