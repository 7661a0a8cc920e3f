"""Marshall's sign rule as a prior: a change of basis, whatever the couplings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.base.errors import ConfigError
from pipeline.spin.symmetry.stoquastic import marshall_form, stoquastic_form
from pipeline.spin.systems import ChainHeisenberg, SquareHeisenberg
from pipeline.spin.terms import PauliTerm
from pipeline.stages.compose import compose_run
from pipeline.stages.hints import hints
from tests.spin import dense

RING = ChainHeisenberg(n_sites=6, periodic=True, j1=1.0, j2=0.4)
RECTANGLE = SquareHeisenberg(length_x=3, length_y=2, periodic=False, j1=1.0, j2=0.5)


def matrix(terms: list[PauliTerm] | None, n_sites: int) -> np.ndarray:
    assert terms is not None
    return dense.strings(n_sites, [(t.coefficient, t.paulis, t.sites) for t in terms]).real


@pytest.mark.parametrize("system", [RING, RECTANGLE])
def test_a_change_of_basis(system: ChainHeisenberg | SquareHeisenberg) -> None:
    """Same spectrum; nearest neighbours lower the energy by exchanges of positive amplitudes, J2 raises it."""
    if isinstance(system, ChainHeisenberg):
        before = dense.chain_heisenberg(6, True, 1.0, 0.4)
    else:
        before = dense.square_heisenberg(3, 2, False, 1.0, 0.5)
    after = matrix(marshall_form(system), 6)
    np.testing.assert_allclose(np.linalg.eigvalsh(after), np.linalg.eigvalsh(before), atol=1e-10)
    np.testing.assert_allclose(np.diag(after), np.diag(before), atol=1e-12)
    assert stoquastic_form(system.strings()) is None
    couplings = set((after - np.diag(np.diag(after)))[after != 0].tolist()) - {0.0}
    assert couplings == {-2.0, 2 * system.j2}


def test_without_frustration_it_is_the_stoquastic_form() -> None:
    system = replace(RING, j2=0.0)
    ours, theirs = marshall_form(system), stoquastic_form(system.strings())
    np.testing.assert_array_equal(matrix(ours, 6), matrix(theirs, 6))


def test_a_ring_of_odd_length_has_no_sublattices() -> None:
    assert marshall_form(replace(RING, n_sites=5)) is None
    with pytest.raises(ConfigError, match=r"^train\.method\.sign_rule=marshall: nearest neighbours form rings of odd"):
        compose_run(["method=vmc", "system=chain_heisenberg", "system.n_sites=5", "train.method.sign_rule=marshall"])


def test_positive_amplitudes_are_still_hinted_at_where_couplings_are_frustrated() -> None:
    words = ["method=vmc", "system=chain_heisenberg", "system.n_sites=6", "train.method.sign_rule=marshall"]
    assert hints(compose_run(words)) == []
    assert "no sign rule is known" in " ".join(hints(compose_run([*words, "system.j2=0.4"])))
