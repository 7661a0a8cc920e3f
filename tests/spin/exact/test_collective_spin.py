"""Collective spin against dense matrices, and what it refuses."""

import pytest

from pipeline.spin.exact.collective_spin import CollectiveSpin
from pipeline.spin.systems import ChainHeisenberg, ChainTFIM, OpenChainTFIM, SquareTFIM
from tests.spin.dense import lowest, open_chain, ring


def all_to_all(n_sites: int, coupling: float = 1.0, field: float = 1.0) -> ChainTFIM:
    return ChainTFIM(n_sites=n_sites, range=n_sites // 2, coupling=coupling, field=field)


@pytest.mark.parametrize("n_sites", [2, 3, 4, 5, 8, 9])
@pytest.mark.parametrize(
    ("coupling", "field"),
    [(1.0, 1.0), (0.1, 1.0), (0.8, -0.5), (1.0, 0.0), (0.0, 1.0), (-1.0, 0.4), (-0.6, -0.2), (-1.0, 0.0)],
)
def test_agrees_with_dense(n_sites: int, coupling: float, field: float) -> None:
    energy = CollectiveSpin().run(all_to_all(n_sites, coupling, field)).estimate("energy").value
    assert energy == pytest.approx(lowest(ring(n_sites, n_sites // 2, coupling, field)), abs=1e-10)


def test_paper_size() -> None:
    energy = CollectiveSpin().run(all_to_all(30)).estimate("energy")
    assert energy.value == pytest.approx(-435.51725, abs=5e-6)
    assert energy.bound == "exact"


def test_refuses() -> None:
    baseline = CollectiveSpin()
    assert "range=5" in (baseline.supports(ChainTFIM(n_sites=10, range=4, coupling=1.0, field=1.0)) or "")
    square = SquareTFIM(length_x=3, length_y=1, periodic=False, coupling=1.0, field=1.0)
    assert "2 of 3 pairs" in (baseline.supports(square) or "")
    heisenberg = ChainHeisenberg(n_sites=3, periodic=True, j1=1.0, j2=0.0)
    assert "ChainHeisenberg" in (baseline.supports(heisenberg) or "")
    assert baseline.supports(all_to_all(3)) is None


def test_any_system_of_which_all_pairs_interact() -> None:
    """An open chain of full range is the same Hamiltonian as the ring."""
    opened = OpenChainTFIM(n_sites=6, range=5, coupling=0.8, field=-0.6)
    assert CollectiveSpin().supports(opened) is None
    energy = CollectiveSpin().run(opened).estimate("energy").value
    assert energy == pytest.approx(lowest(open_chain(6, 5, 0.8, -0.6)), abs=1e-11)
