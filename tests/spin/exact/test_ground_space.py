"""Observables of degenerate ground states, and amounts far from one, against dense matrices and scaling."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pipeline.base.contracts import DirectBaseline
from pipeline.base.numbers.result import Result
from pipeline.spin.exact.collective_spin import CollectiveSpin
from pipeline.spin.exact.free_fermions import FreeFermions
from pipeline.spin.symmetry.uniqueness import is_unique, is_unique_at_each_magnetisation
from pipeline.spin.systems import (
    ChainHeisenberg,
    ChainTFIM,
    ChainXXZ,
    OpenChainTFIM,
    SpinSystem,
    SquareHeisenberg,
    SquareTFIM,
)
from pipeline.spin.terms import PauliTerm, in_own_unit, pauli_terms
from tests.spin import dense
from tests.spin.exact.solvers import quspin

SYSTEMS = {
    "unique": ChainTFIM(n_sites=5, range=2, coupling=-0.8, field=-0.4),
    "classical ferromagnet": OpenChainTFIM(n_sites=4, range=1, coupling=1.0, field=0.0),
    "classical, frustrated": ChainTFIM(n_sites=5, range=1, coupling=-1.0, field=0.0),
    "nothing": ChainTFIM(n_sites=4, range=1, coupling=0.0, field=0.0),
    "paramagnet": ChainTFIM(n_sites=4, range=1, coupling=0.0, field=0.7),
    "open paramagnet": OpenChainTFIM(n_sites=4, range=1, coupling=0.0, field=0.7),
    "plane without couplings": SquareTFIM(length_x=2, length_y=3, periodic=False, coupling=0.0, field=-0.7),
    "two chains": ChainHeisenberg(n_sites=6, periodic=False, j1=0.0, j2=1.0),
    "Heisenberg ferromagnet": ChainHeisenberg(n_sites=5, periodic=False, j1=-1.0, j2=0.0),
    "doublet": ChainHeisenberg(n_sites=5, periodic=False, j1=1.0, j2=0.0),
    "frustrated doublets": ChainHeisenberg(n_sites=5, periodic=True, j1=1.0, j2=0.0),
    "triplet": SquareHeisenberg(length_x=2, length_y=3, periodic=False, j1=-1.0, j2=1.0),
    "Majumdar-Ghosh": ChainHeisenberg(n_sites=6, periodic=True, j1=1.0, j2=0.5),
    "easy plane": ChainXXZ(n_sites=6, periodic=True, jxy=1.0, jz=0.5),
    "easy plane, odd ring": ChainXXZ(n_sites=5, periodic=True, jxy=1.0, jz=0.5),
    "easy axis": ChainXXZ(n_sites=5, periodic=False, jxy=1.0, jz=-3.0),
    "at the ferromagnetic point": ChainXXZ(n_sites=6, periodic=True, jxy=-1.0, jz=-1.0),
}


def shared(system: SpinSystem) -> tuple[int, dict[str, float]]:
    """Number of ground states, and observables that are multiples of the identity among them, from all 2^N states."""
    strings = [(term.coefficient, term.paulis, term.sites) for term in pauli_terms(system)]
    energies, vectors = np.linalg.eigh(dense.strings(system.size, strings))
    ground = vectors[:, energies < energies[0] + 1e-8]
    spins, bonds = dense.basis(system.size), system.nearest_bonds()
    diagonals = {
        "absolute_magnetisation": np.abs(spins.sum(1)) / system.size,
        "nearest_correlation": np.mean([spins[:, i] * spins[:, j] for i, j in bonds], axis=0),
    }
    inside = {name: ground.conj().T @ (d[:, None] * ground) for name, d in diagonals.items()}
    one = np.eye(ground.shape[1])
    alike = {name: float(w[0, 0].real) for name, w in inside.items() if np.allclose(w, w[0, 0] * one, atol=1e-9)}
    return ground.shape[1], alike


def given(result: Result) -> dict[str, float]:
    names = ("absolute_magnetisation", "nearest_correlation")
    return {e.name: e.value for e in result.estimates if e.name in names}


@pytest.mark.parametrize("name", SYSTEMS)
def test_only_what_all_ground_states_share_is_given(name: str) -> None:
    count, alike = shared(SYSTEMS[name])
    result = quspin().run(SYSTEMS[name])
    assert given(result) == pytest.approx(alike, abs=1e-9)
    assert any("degenerate" in note for note in result.notes) == (count > 1)
    assert any("none is given" in note for note in result.notes) == (len(alike) < 2)
    if count > 1 and len(alike) == 2:
        assert f"its {count} states share" in result.notes[-1]


def test_values_are_known_without_an_error() -> None:
    """What is compared with them gets a verdict."""
    result = quspin().run(SYSTEMS["unique"])
    assert [result.estimate(name).sigma for name in given(result)] == [0.0, 0.0]


@pytest.mark.parametrize("name", SYSTEMS)
def test_what_is_proven_holds(name: str) -> None:
    system = SYSTEMS[name]
    terms, count = pauli_terms(system), shared(system)[0]
    if is_unique(terms, system.size):
        assert count == 1
    if is_unique_at_each_magnetisation(terms, system.size):
        matrix = dense.strings(system.size, [(t.coefficient, t.paulis, t.sites) for t in terms])
        total = dense.basis(system.size).sum(1)
        for value in np.unique(total):
            kept = np.flatnonzero(total == value)
            energies = np.linalg.eigvalsh(matrix[np.ix_(kept, kept)])
            assert len(energies) == 1 or energies[1] > energies[0] + 1e-6


def test_proofs_are_found_where_they_are_needed() -> None:
    """Without them every sector would be searched."""
    unique = {name for name, s in SYSTEMS.items() if is_unique(pauli_terms(s), s.size)}
    assert unique == {"unique", "paramagnet", "open paramagnet", "plane without couplings"}
    each = {name for name, s in SYSTEMS.items() if is_unique_at_each_magnetisation(pauli_terms(s), s.size)}
    assert each == {
        "Heisenberg ferromagnet", "doublet", "easy plane", "easy axis", "at the ferromagnetic point"
    }  # fmt: skip


def energy(baseline: DirectBaseline, system: SpinSystem) -> float:
    return baseline.run(system).estimate("energy").value


@pytest.mark.parametrize("factor", [1e-200, 1e-9, 1e9, 1e155])
@pytest.mark.parametrize("baseline", [FreeFermions(), CollectiveSpin(), quspin()], ids=lambda b: b.kind)
def test_energies_scale_with_the_couplings(baseline: DirectBaseline, factor: float) -> None:
    """However large or small they are: no square of an energy leaves the range of numbers."""
    reach = 2 if isinstance(baseline, CollectiveSpin) else 1
    ordinary = ChainTFIM(n_sites=5, range=reach, coupling=1.0, field=0.7)
    scaled = ChainTFIM(n_sites=5, range=reach, coupling=factor, field=0.7 * factor)
    assert energy(baseline, scaled) / factor == pytest.approx(energy(baseline, ordinary), rel=1e-12)


def test_one_amount_far_above_the_other() -> None:
    system = ChainTFIM(n_sites=4, range=1, coupling=1e155, field=1.0)
    for baseline in (FreeFermions(), quspin()):
        assert energy(baseline, system) == pytest.approx(-4e155, rel=1e-12)
    assert math.isinf(energy(FreeFermions(), ChainTFIM(n_sites=4, range=1, coupling=1e308, field=1.0)))


def test_ordinary_amounts_stay_as_they_are() -> None:
    terms = [PauliTerm(3e5, "zz", (0, 1)), PauliTerm(-1e-300, "x", (0,))]
    assert in_own_unit(terms) == (terms, 1.0)
    large, unit = in_own_unit([PauliTerm(-3e20, "zz", (0, 1)), PauliTerm(2.0, "x", (0,))])
    assert 1.0 <= abs(large[0].coefficient) < 2.0
    assert [term.coefficient * unit for term in large] == [-3e20, 2.0]
    assert in_own_unit([PauliTerm(0.0, "x", (0,))])[1] == 1.0
