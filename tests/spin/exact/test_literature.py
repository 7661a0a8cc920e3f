"""Published energies: of which systems, in which unit, and never before what can be computed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.spin.exact.literature import Literature
from pipeline.spin.systems import ChainTFIM, SquareHeisenberg

SIX = SquareHeisenberg(length_x=6, length_y=6, periodic=True, j1=1.0, j2=0.5)


def test_a_published_energy_per_site_of_spins_is_a_total_one_in_pauli_matrices() -> None:
    # the same energy to more digits
    energy = Literature().run(SIX).estimate("energy")
    assert energy.value == pytest.approx(-72.548590160, abs=3 * (energy.sigma or 0.0))
    assert energy.sigma == pytest.approx(0.5e-6 * 4 * 36)
    assert (energy.unit, energy.bound) == ("total", "exact")


def test_a_variational_energy_is_no_bound_from_below() -> None:
    energy = Literature().run(replace(SIX, length_x=10, length_y=10)).estimate("energy")
    assert energy.bound == "variational"
    assert energy.value / 400 == pytest.approx(-0.4976921)


@pytest.mark.parametrize(
    "system",
    [
        replace(SIX, j2=0.4),
        replace(SIX, periodic=False),
        replace(SIX, length_x=4),
        ChainTFIM(n_sites=4, range=1, coupling=1.0, field=1.0),
    ],
)
def test_other_systems_have_none(system: object) -> None:
    assert "no energy of this" in (Literature().supports(system) or "")


def test_it_says_whose_number_it_is() -> None:
    assert "Schulz" in Literature().run(SIX).notes[0]
