"""Several states by DMRG against dense spectra, and the power law in the bond dimension."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.spin.exact.dmrg import DMRG
from pipeline.spin.exact.dmrg_states import Point, lowest_states, power_law
from pipeline.spin.systems import ChainHeisenberg, ChainTFIM, SpinSystem, SquareTFIM
from tests.spin import dense


def dmrg(states: int | None, *bond_dimensions: int) -> DMRG:
    series = list(bond_dimensions) or [4, 8]
    return DMRG(series, 1e-9, max_sweeps=8, svd_min=1e-11, max_sites=64, states=states)


SMALL: dict[str, tuple[SpinSystem, np.ndarray]] = {
    "both aligned states, nearly": (
        SquareTFIM(length_x=3, length_y=2, periodic=False, coupling=1.0, field=0.1),
        dense.square(3, 2, False, 1.0, 0.1),
    ),
    "multiplets": (
        ChainHeisenberg(n_sites=6, periodic=True, j1=1.0, j2=0.4),
        dense.chain_heisenberg(6, True, 1.0, 0.4),
    ),
}


@pytest.mark.parametrize(("system", "matrix"), SMALL.values(), ids=SMALL)
def test_levels_with_multiplicity(system: SpinSystem, matrix: np.ndarray) -> None:
    exact = np.linalg.eigvalsh(matrix)[:3]
    result = dmrg(3).run(system)
    names = ["energy", "energy_1", "energy_2"]
    assert [result.estimate(name).value for name in names] == pytest.approx(list(exact), abs=1e-8)
    assert result.estimate("trace").value == pytest.approx(exact.sum(), abs=1e-7)
    assert result.estimate("variational_energy").bound == "variational"
    assert result.estimate("variational_energy_2").bound == "none"
    assert [curve.name for curve in result.curves] == names


def test_one_state_is_what_it_was() -> None:
    system = ChainTFIM(n_sites=6, range=1, coupling=1.0, field=1.0)
    assert dmrg(1).run(system).to_json() == dmrg(None).run(system).to_json()


def test_too_few_sites_for_several_states() -> None:
    reason = dmrg(2).supports(ChainTFIM(n_sites=5, range=1, coupling=1.0, field=1.0))
    assert reason == "DMRG: several states need at least 6 sites (have 5); use baseline=quspin"
    assert dmrg(1).supports(ChainTFIM(n_sites=5, range=1, coupling=1.0, field=1.0)) is None


def test_sectors_are_asked_no_more_than_needed() -> None:
    levels = {"even": [0.0, 3.0, 4.0], "odd": [1.0, 2.0, 9.0]}
    asked = []

    def next_of(sector: str, before: list[int]) -> tuple[list[Point], int]:
        asked.append(sector)
        return [Point(8, levels[sector][len(before)], 0.0)], len(before)

    found = lowest_states(list(levels), 3, next_of)
    assert [points[-1].energy for points in found] == [0.0, 1.0, 2.0]
    assert sorted(asked) == ["even", "even", "odd", "odd"]


@pytest.mark.parametrize("exponent", [-0.7, -2.0, -5.0])
@pytest.mark.parametrize("offset", [-10.0, 0.0, 40.0])
def test_power_law_finds_its_limit(exponent: float, offset: float) -> None:
    chi = [25, 50, 100, 200]
    points = [Point(x, -100.0 + 1e-2 * ((x + offset) / (25 + offset)) ** exponent, 0.0) for x in chi]
    limit = power_law(points)
    assert limit is not None
    left = points[-1].energy - -100.0
    assert limit == pytest.approx(-100.0, abs=0.02 * left + 1e-9)


def test_power_law_needs_four_energies_that_fall() -> None:
    points = [Point(8 * 2**k, -1.0 - k, 0.0) for k in range(3)]
    assert power_law(points) is None
    assert power_law([*points, Point(64, -2.5, 0.0)]) is None
    assert power_law([Point(8, -1.0, 0.0)] * 4) is None
