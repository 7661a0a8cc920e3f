"""Pauli strings as text and as a system, against dense matrices and systems that are given otherwise."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.base.errors import ConfigError
from pipeline.spin.hamiltonian import Hamiltonian
from pipeline.spin.pauli_strings import PauliStrings
from pipeline.spin.systems import ChainHeisenberg, ChainTFIM, SpinSystem
from pipeline.spin.terms import PauliTerm
from pipeline.spin.written import read_string, write_string
from pipeline.stages.compose import compose_run
from tests.spin import dense
from tests.spin.elements import assembled


def matrix_of(system: SpinSystem) -> np.ndarray:
    return assembled(Hamiltonian(system.strings(), system.size))


@pytest.mark.parametrize(
    ("text", "term"),
    [
        ("Z0 Z1", PauliTerm(1.0, "zz", (0, 1))),
        ("-0.5 X2 z0", PauliTerm(-0.5, "zx", (0, 2))),
        ("1e-3*Y1*Y0", PauliTerm(1e-3, "yy", (0, 1))),
        ("  +2   x17 ", PauliTerm(2.0, "x", (17,))),
    ],
)
def test_strings_are_read(text: str, term: PauliTerm) -> None:
    assert read_string(text) == term
    assert read_string(write_string(term)) == term


@pytest.mark.parametrize(
    "text", ["", "1.0", "Z", "0Z", "Z0Z1", "Z-1", "W0", "1 2 Z0", "Z0 Z0", "nan Z0", "1e999 X0", "ZZ 0 1"]
)
def test_what_is_no_string_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"form|twice|finite"):
        read_string(text)


def strings_of(system: SpinSystem) -> list[str]:
    return [write_string(term) for term in system.strings()]


@pytest.mark.parametrize(
    "system",
    [
        ChainTFIM(n_sites=5, range=2, coupling=0.7, field=-1.3),
        ChainHeisenberg(n_sites=4, periodic=True, j1=1.0, j2=0.5),
        ChainTFIM(n_sites=2, range=1, coupling=0.0, field=0.0),
    ],
)
def test_a_system_is_the_same_by_its_strings(system: SpinSystem) -> None:
    ours = PauliStrings(n_sites=system.size, terms=strings_of(system)[::-1])
    assert np.array_equal(matrix_of(ours), matrix_of(system))
    assert ours.bonds() == system.bonds()


def test_many_body_strings_are_their_kronecker_product() -> None:
    """With sites in any order; the basis of the dense matrices has the first site on the left, +1 first."""
    system = PauliStrings(n_sites=4, terms=["0.3 X2 Z0 X3", "-1 Y1 Y3 Z2", "0.25 Z3", "X1"])
    expected = dense.strings(4, [(0.3, "xzx", (2, 0, 3)), (-1, "yyz", (1, 3, 2)), (0.25, "z", (3,)), (1, "x", (1,))])
    assert np.allclose(matrix_of(system), expected, atol=1e-15)


def test_the_same_hamiltonian_has_the_same_settings_however_it_is_written() -> None:
    written = PauliStrings(n_sites=2, terms=["-0.25 Z1 Z0", "x1", "-0.75*Z0*Z1"])
    assert written == PauliStrings(n_sites=2, terms=["-1 Z0 Z1", "1.0 X1"])
    assert PauliStrings(n_sites=1, terms=["X0"]).size == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["system.terms=[]"], r"system\.terms=\(0 strings\): must be 1 to"),
        (["system.terms=[Z0,Z4]"], r"system\.terms\[1\]=Z4: site 4 of n_sites=4: they are counted from 0"),
        (["system.terms=[X0 Y1]"], r"system\.terms\[0\]=X0 Y1: an odd number of Y makes H complex"),
        (["system.terms=[1e16 X0]"], r"system\.terms\[0\]=1e\+16: must not be larger than 1e\+15"),
        (["system.terms=[9e14 X0,9e14 X0]"], r"system\.terms=1800000000000000\.0: must not be larger"),
        (["system.terms=[XX]"], r"system\.terms\[0\]=XX: is not of the form '-1\.0 Z0 Z1'"),
        (["system.terms=X0"], r"system\.terms=X0: must be a list"),
        (["system.n_sites=0"], r"system\.n_sites=0: must lie between 1 and 4096"),
    ],
)
def test_bad_strings_are_one_clear_line(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        compose_run(["method=vmc", "system=pauli_strings", *words])
