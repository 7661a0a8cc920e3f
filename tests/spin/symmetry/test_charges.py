"""Conserved charges read from strings against dense matrices."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from pipeline.spin.symmetry.charges import (
    conserves_magnetisation,
    conserves_spin_flip,
    conserves_total_spin,
    is_real,
    ladder_strings,
)
from pipeline.spin.symmetry.stoquastic import is_stoquastic, overlapping_state
from pipeline.spin.terms import PauliTerm
from tests.spin import dense

SITES = 4


def matrix(terms: list[PauliTerm]) -> np.ndarray:
    return dense.strings(SITES, [(t.coefficient, t.paulis, t.sites) for t in terms])


def random_strings(draw: np.random.Generator, letters: int, count: int) -> list[PauliTerm]:
    words = ["".join(word) for word in itertools.product("xyz", repeat=letters)]
    return [
        PauliTerm(float(draw.normal()), str(draw.choice(words)), tuple(map(int, draw.permutation(SITES)[:letters])))
        for _ in range(count)
    ]


def conserving(draw: np.random.Generator) -> list[PauliTerm]:
    """Exchanges, chiral exchanges and exchanges with a control: each string alone would not conserve Σ σz."""
    i, j, k, _ = map(int, draw.permutation(SITES))
    a, b, c, d = (float(value) for value in draw.normal(size=4))
    return [
        PauliTerm(a, "xx", (i, j)), PauliTerm(a, "yy", (j, i)), PauliTerm(b, "xy", (i, k)), PauliTerm(-b, "yx", (i, k)),
        PauliTerm(c, "xzx", (i, k, j)), PauliTerm(c, "yyz", (j, i, k)), PauliTerm(d, "zz", (j, k)),
        PauliTerm(a + b, "z", (k,)),
    ]  # fmt: skip


def cases() -> list[list[PauliTerm]]:
    found = [conserving(np.random.default_rng(seed)) for seed in range(4)]
    found += [random_strings(np.random.default_rng(seed), seed % 3 + 1, 3) for seed in range(12)]
    found += [[*conserving(np.random.default_rng(seed)), *random_strings(np.random.default_rng(seed), 2, 1)]
              for seed in range(4)]  # fmt: skip
    heisenberg = [PauliTerm(j, 2 * axis, pair) for j, pair in ((0.7, (0, 1)), (-0.2, (1, 3))) for axis in "xyz"]
    chirality = [
        PauliTerm(sign * 0.3, "".join(word), (0, 1, 2))
        for word, sign in zip(itertools.permutations("xyz"), (1, -1, -1, 1, 1, -1), strict=True)
    ]
    found += [heisenberg, chirality, heisenberg + chirality, [*heisenberg, PauliTerm(1e-3, "z", (2,))]]
    return [*found, [*heisenberg, PauliTerm(1e-3, "zz", (1, 0))], [PauliTerm(1.0, "xx", (0, 1))]]


@pytest.mark.parametrize("terms", cases())
def test_charges_are_those_of_the_matrix(terms: list[PauliTerm]) -> None:
    """Σ σz: every connected pair of basis states has the same; spin, flip: commutators; reality: no imaginary part."""
    h, total = matrix(terms), dense.basis(SITES).sum(1)
    connected = np.abs(h) > 1e-12
    assert conserves_magnetisation(terms) == bool((total[:, None] == total[None, :])[connected].all())
    spins = [
        sum(dense.operator(SITES, **{f"s{i}": sigma}) for i in range(SITES))
        for sigma in (dense.SIGMA_X, dense.SIGMA_Y, dense.SIGMA_Z)
    ]
    assert conserves_total_spin(terms) == all(np.allclose(s @ h, h @ s) for s in spins)
    flip = np.fliplr(np.eye(2**SITES))
    assert conserves_spin_flip(terms) == np.allclose(flip @ h, h @ flip)
    if is_real(terms):
        assert not h.imag.any()


def test_both_answers_occur() -> None:
    """The comparison above would prove little of a function that always says no."""
    for conserved in (conserves_magnetisation, conserves_total_spin, conserves_spin_flip, is_real):
        assert {conserved(terms) for terms in cases()} == {True, False}


def test_rounding_of_coefficients_that_cancel() -> None:
    """0.1 + 0.2 - 0.3 is 6e-17 in one order of the sum and 3e-17 in another; equal coefficients cancel in any order."""
    terms = [PauliTerm(j, axis, (0, 1)) for axis in ("xx", "yy") for j in (0.1, 0.2, -0.3)]
    assert conserves_magnetisation(terms)
    assert conserves_magnetisation([*terms[:3], *terms[:2:-1]])


@pytest.mark.parametrize("terms", cases())
def test_ladder_strings_are_the_same_matrix(terms: list[PauliTerm]) -> None:
    """σ± written out; where Σ σz is conserved every string raises as often as it lowers."""
    letters = {"+": np.array([[0.0, 1.0], [0.0, 0.0]]), "-": np.array([[0.0, 0.0], [1.0, 0.0]]), "z": dense.SIGMA_Z}
    total = np.zeros((2**SITES, 2**SITES), dtype=complex)
    strings = ladder_strings(terms)
    for coefficient, word, sites in strings:
        factors = {f"s{site}": letters[letter] for letter, site in zip(word, sites, strict=True)}
        total += coefficient * dense.operator(SITES, **factors)
    np.testing.assert_allclose(total, matrix(terms), rtol=0, atol=1e-12)
    assert all(word.count("+") == word.count("-") for _, word, _ in strings) == conserves_magnetisation(terms)


def test_complex_elements_prove_nothing() -> None:
    """A spiral: exchange with a weaker chiral part has its ground state at a momentum of its own."""
    bonds = [(i, (i + 1) % 4) for i in range(4)]
    spiral = [
        PauliTerm(c, word, b) for b in bonds for c, word in ((-1.0, "xx"), (-1.0, "yy"), (0.4, "xy"), (-0.4, "yx"))
    ]
    assert not is_stoquastic(spiral)
    assert not is_stoquastic([PauliTerm(-1.0, "x", (0,)), PauliTerm(0.1, "y", (0,))])


@pytest.mark.parametrize("seed", range(20))
def test_overlapping_state_of_random_strings(seed: int) -> None:
    """Wherever one is found, a ground state has a part of it, Σ σz conserved or not."""
    draw = np.random.default_rng(seed)
    terms = [PauliTerm(float(draw.normal()), "zz", (int(draw.integers(j)), j)) for j in range(1, SITES)]
    terms += [
        PauliTerm(float(draw.uniform(-1, 1)) * abs(t.coefficient), axis, t.sites) for t in terms for axis in ("xx",)
    ]
    terms += [PauliTerm(float(draw.normal()), "z", (0,)), PauliTerm(float(draw.normal()), "x", (1,))]
    state = overlapping_state(terms, SITES)
    assert state is not None
    values, vectors = np.linalg.eigh(matrix(terms))
    ground = vectors[:, values < values[0] + 1e-9]
    assert np.abs(ground[dense.row(np.array(state))]).max() > 1e-6
