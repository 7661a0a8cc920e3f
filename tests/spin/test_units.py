"""Energies at the edges: per site, and in spins of 1/2."""

from __future__ import annotations

import pytest

from pipeline.spin.units import energy_factor


def test_printed_values_of_the_heisenberg_model() -> None:
    """4x4 with periodic boundaries: -44.9139328 in Pauli matrices is the well-known -0.7017802 per site in spins."""
    assert -44.9139328 * energy_factor("per site", "spin-1/2", 16) == pytest.approx(-0.7017802, abs=5e-8)
    assert energy_factor("total", "pauli", 7) == 1.0
    assert -251.46248 * energy_factor("per site", "spin-1/2", 100) == pytest.approx(-0.628656, abs=5e-7)


@pytest.mark.parametrize(("unit", "convention"), [("per bond", "pauli"), ("total", "spin-1")])
def test_unknown_units(unit: str, convention: str) -> None:
    with pytest.raises(ValueError, match="no conversion"):
        energy_factor(unit, convention, 4)
