"""Automatic choice of the reference."""

import pytest
from omegaconf import OmegaConf

from pipeline.base.contracts import Baseline
from pipeline.base.errors import UserError
from pipeline.spin.exact.collective_spin import CollectiveSpin
from pipeline.spin.exact.dmrg import DMRG
from pipeline.spin.exact.free_fermions import FreeFermions
from pipeline.spin.exact.qmc import QMC
from pipeline.spin.systems import ChainTFIM, SpinSystem, SquareHeisenberg, SquareTFIM
from pipeline.stages.choose import choose
from tests.spin.exact.solvers import quspin

CANDIDATES: dict[str, Baseline] = {
    "dmrg": DMRG([16, 32], 1e-8, 10, 1e-10, 64, states=None),
    "quspin": quspin(),
    "collective_spin": CollectiveSpin(),
    "free_fermions": FreeFermions(),
    "qmc": QMC(2.0, chains=2, warmup=1, measurements=2, sweeps=1, half_beta_sweeps=1, seed=0),
}


@pytest.mark.parametrize(
    ("n_sites", "interaction_range", "coupling", "expected"),
    [
        (10, 1, 1.0, "free_fermions"),
        (50, 1, 1.0, "free_fermions"),
        (3, 1, 1.0, "free_fermions"),
        (2, 1, 1.0, "collective_spin"),
        (30, 15, 1.0, "collective_spin"),
        (20, 5, 1.0, "quspin"),
        (20, 10, -1.0, "collective_spin"),
        (20, 1, -1.0, "quspin"),
        (30, 8, 1.0, "dmrg"),
    ],
)
def test_most_exact_then_cheapest(n_sites: int, interaction_range: int, coupling: float, expected: str) -> None:
    system = ChainTFIM(n_sites=n_sites, range=interaction_range, coupling=coupling, field=1.0)
    assert choose(CANDIDATES, system) == expected


@pytest.mark.parametrize(
    ("system", "expected"),
    [
        (SquareTFIM(length_x=4, length_y=4, periodic=False, coupling=1.0, field=3.0), "quspin"),
        (SquareTFIM(length_x=8, length_y=8, periodic=False, coupling=1.0, field=3.0), "dmrg"),
        (SquareTFIM(length_x=12, length_y=12, periodic=False, coupling=1.0, field=3.0), "qmc"),
        (SquareHeisenberg(length_x=10, length_y=10, periodic=False, j1=1.0, j2=0.0), "qmc"),
    ],
)
def test_samples_come_last(system: SpinSystem, expected: str) -> None:
    assert choose(CANDIDATES, system) == expected


def test_none_supports() -> None:
    system = SquareHeisenberg(length_x=10, length_y=10, periodic=False, j1=1.0, j2=0.5)
    with pytest.raises(UserError) as caught:
        choose(CANDIDATES, system)
    lines = str(caught.value).splitlines()
    assert [line.split(":")[0].strip() for line in lines[1:]] == list(CANDIDATES)


@pytest.mark.parametrize("baseline", CANDIDATES.values(), ids=CANDIDATES.keys())
def test_configs_are_structured(baseline: Baseline) -> None:
    """Each class is a typed OmegaConf node whose fields all come from the configuration files."""
    node = OmegaConf.merge(OmegaConf.structured(type(baseline)), OmegaConf.create(vars(baseline)))
    assert OmegaConf.to_object(node) == baseline
    assert all(OmegaConf.is_missing(OmegaConf.structured(type(baseline)), key) for key in vars(baseline))
