"""Symmetries found from the graph of the strings, against all permutations and known groups."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import numpy as np
import pytest

from pipeline.base.errors import ConfigError
from pipeline.spin.exact.sector_matrix import build
from pipeline.spin.symmetry import automorphisms as module
from pipeline.spin.symmetry.automorphisms import automorphisms
from pipeline.spin.symmetry.characters import Permutation, compose
from pipeline.spin.symmetry.groups import symmetry_group
from pipeline.spin.symmetry.permutations import what_breaks
from pipeline.spin.symmetry.sectors import plan
from pipeline.spin.systems import ChainTFIM, SpinSystem, SquareTFIM
from pipeline.spin.terms import PauliTerm, on_bonds, on_sites, pauli_terms
from tests.spin import dense
from tests.spin.exact.solvers import quspin

OUTER, INNER = [(i, (i + 1) % 5) for i in range(5)], [(5 + i, 5 + (i + 2) % 5) for i in range(5)]
PETERSEN = [*OUTER, *INNER, *((i, i + 5) for i in range(5))]


@dataclass
class Molecule(SpinSystem):
    """Strings without a geometry."""

    n_sites: int = 0
    terms: list[PauliTerm] = field(default_factory=list)

    @property
    def size(self) -> int:
        return self.n_sites

    def strings(self) -> list[PauliTerm]:
        return self.terms


def generated(size: int, generators: list[Permutation]) -> set[Permutation]:
    found = {tuple(range(size))}
    while True:
        more = {compose(g, p) for g in generators for p in found} - found
        if not more:
            return found
        found |= more


def strings_of(draw: np.random.Generator) -> list[PauliTerm]:
    """Few values of couplings and letters on five sites, so that some permutations are symmetries."""
    terms = on_sites(5, "x", -0.5)
    for i, j in itertools.combinations(range(5), 2):
        if draw.random() < 0.5:
            letters = str(draw.choice(["zz", "xx", "xz", "zx"], p=[0.8, 0.1, 0.05, 0.05]))
            terms.append(PauliTerm(1.0, letters, (i, j)))
    return terms


@pytest.mark.parametrize("seed", range(30))
def test_all_symmetries_of_random_strings(seed: int) -> None:
    terms = strings_of(np.random.default_rng(seed))
    every = {p for p in itertools.permutations(range(5)) if what_breaks(terms, p) is None}
    assert generated(5, list(automorphisms(terms, 5).values())) == every


def test_random_strings_have_symmetries() -> None:
    """The comparison above must not be one of trivial groups."""
    orders = [len(generated(5, list(automorphisms(strings_of(np.random.default_rng(seed)), 5).values())))
              for seed in range(30)]  # fmt: skip
    assert sum(order > 1 for order in orders) > 10
    assert max(orders) >= 4


@pytest.mark.parametrize(
    ("terms", "size", "number"),
    [
        (pauli_terms(ChainTFIM(n_sites=12, range=1, coupling=1.0, field=1.0)), 12, 24),
        (pauli_terms(SquareTFIM(length_x=3, length_y=3, periodic=True, coupling=1.0, field=1.0)), 9, 72),
        (pauli_terms(SquareTFIM(length_x=4, length_y=4, periodic=True, coupling=1.0, field=1.0)), 16, 384),
        (on_bonds(PETERSEN, {"zz": 1.0}), 10, 120),
        ([PauliTerm(1.0, "xyz", (i, (i + 1) % 6, (i + 2) % 6)) for i in range(6)], 6, 6),
    ],
    ids=["ring", "3x3 torus", "4x4 torus", "Petersen", "chiral ring"],
)
def test_known_groups(terms: list[PauliTerm], size: int, number: int) -> None:
    """Dihedral; (S3 × S3) ⋊ Z2; the hypercube's; S5; cyclic, as the reflection would reverse the strings."""
    found = automorphisms(terms, size)
    assert all(what_breaks(terms, permutation) is None for permutation in found.values())
    assert len(generated(size, list(found.values()))) == number


def test_all_to_all_does_not_explode() -> None:
    """16! symmetries, of which a few generators are given."""
    terms = pauli_terms(ChainTFIM(n_sites=16, range=8, coupling=1.0, field=1.0))
    found = automorphisms(terms, 16)
    assert 1 <= len(found) <= module.MOST_GENERATORS
    assert all(what_breaks(terms, permutation) is None for permutation in found.values())


def test_giving_up_leaves_symmetries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_REFINEMENTS", 40)
    terms = pauli_terms(SquareTFIM(length_x=4, length_y=4, periodic=True, coupling=1.0, field=1.0))
    assert all(what_breaks(terms, permutation) is None for permutation in automorphisms(terms, 16).values())


@pytest.mark.parametrize("couplings", [{"zz": 1.0}, {"xx": 1.0, "yy": 1.0, "zz": 0.5}], ids=["Ising", "XXZ"])
def test_sectors_of_a_molecule(couplings: dict[str, float]) -> None:
    """Two triangles that share a site: QuSpin uses what was found, and all sectors hold the whole spectrum."""
    bonds = [(0, 1), (1, 2), (0, 2), (2, 3), (3, 4), (2, 4)]
    terms = on_bonds(bonds, couplings) + (on_sites(5, "x", -0.7) if "xx" not in couplings else [])
    system, matrix = Molecule(5, terms), dense.strings(5, [(t.coefficient, t.paulis, t.sites) for t in terms])
    sectors = plan(system, terms, 2).sectors
    assert any(sector.lattice for sector in sectors)
    found: list[float] = []
    for sector in sectors:
        block = build(5, terms, sector)
        found += np.linalg.eigvalsh(block.toarray()).tolist() * sector.multiplicity if block.Ns else []
    assert np.sort(found) == pytest.approx(np.linalg.eigvalsh(matrix), abs=1e-11)
    assert quspin().run(system).estimate("energy").value == pytest.approx(dense.lowest(matrix), abs=1e-11)


def test_a_molecule_has_neither_translations_nor_reflections() -> None:
    system = Molecule(3, on_bonds([(0, 1), (1, 2), (0, 2)], {"zz": 1.0}))
    for name in ("translations", "point_group"):
        with pytest.raises(ConfigError, match="has none"):
            symmetry_group(system, [name])
    assert len(symmetry_group(system, ["spin_flip"])) == 2
