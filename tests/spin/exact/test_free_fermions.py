"""Free fermions against dense matrices, and what they refuse."""

import pytest

from pipeline.base.contracts import DirectBaseline
from pipeline.spin.exact.free_fermions import FreeFermions
from pipeline.spin.systems import ChainHeisenberg, ChainTFIM, OpenChainTFIM, SquareTFIM
from tests.spin.dense import lowest, open_chain, ring


def chain(n_sites: int, interaction_range: int = 1, coupling: float = 1.0, field: float = 1.0) -> ChainTFIM:
    return ChainTFIM(n_sites=n_sites, range=interaction_range, coupling=coupling, field=field)


def test_critical_chain_of_ten() -> None:
    estimate = FreeFermions().run(chain(10)).estimate("energy")
    assert estimate.value == pytest.approx(-12.784906442999, abs=1e-11)
    assert (estimate.bound, estimate.sigma, estimate.sigma_kind, estimate.unit) == ("exact", 0.0, "none", "total")


@pytest.mark.parametrize("n_sites", range(3, 10))
@pytest.mark.parametrize(("coupling", "field"), [(1.0, 1.0), (1.7, 0.4), (0.3, 1.1), (1.0, 0.0), (0.0, 0.7)])
def test_even_and_odd_rings_agree_with_dense(n_sites: int, coupling: float, field: float) -> None:
    energy = FreeFermions().run(chain(n_sites, 1, coupling, field)).estimate("energy").value
    assert energy == pytest.approx(lowest(ring(n_sites, 1, coupling, field)), abs=1e-11)


@pytest.mark.parametrize(
    ("system", "reason"),
    [
        (chain(8, 2), "sites 0 and 2 interact"),
        (chain(2), "n_sites >= 3"),
        (chain(7, 1, -1.0), "parity sector"),
        (chain(8, 1, 1.0, -1.0), "parity sector"),
        (SquareTFIM(length_x=3, length_y=1, periodic=False, coupling=1.0, field=1.0), "sites 0 and 2 do not interact"),
        (ChainHeisenberg(n_sites=6, periodic=True, j1=1.0, j2=0.0), "ChainHeisenberg"),
    ],
)
def test_refuses(system: object, reason: str) -> None:
    assert reason in (FreeFermions().supports(system) or "")


def test_odd_antiferromagnet_would_be_wrong() -> None:
    """The refusal of V < 0 is needed: the formula is off there."""
    energy = FreeFermions().run(chain(7, 1, -1.0, 0.5)).estimate("energy").value
    assert abs(energy - lowest(ring(7, 1, -1.0, 0.5))) > 0.1


def test_is_a_direct_baseline() -> None:
    assert isinstance(FreeFermions(), DirectBaseline)
    assert FreeFermions().supports(chain(1000)) is None
    assert FreeFermions().cost(chain(1000)).seconds > FreeFermions().cost(chain(10)).seconds


def test_any_system_that_is_a_ring_of_nearest_neighbours() -> None:
    """Three sites of an open chain with range 2 are a triangle."""
    triangle = OpenChainTFIM(n_sites=3, range=2, coupling=0.8, field=0.6)
    assert FreeFermions().supports(triangle) is None
    energy = FreeFermions().run(triangle).estimate("energy").value
    assert energy == pytest.approx(lowest(open_chain(3, 2, 0.8, 0.6)), abs=1e-12)
