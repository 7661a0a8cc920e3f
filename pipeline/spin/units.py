"""The one conversion table of energies: total in Pauli matrices inside, other conventions at the edges only."""

from __future__ import annotations

from typing import Literal

Convention = Literal["pauli", "spin-1/2"]
EnergyUnit = Literal["total", "per site"]
ENERGY_UNITS: tuple[EnergyUnit, ...] = ("total", "per site")


def energy_factor(unit: str, convention: str, n_sites: int) -> float:
    """What a total energy in Pauli matrices is multiplied by, to be in ``unit`` and ``convention``.

    ``spin-1/2`` is for Heisenberg and XXZ models, whose couplings act on S = σ/2: S·S = σ·σ/4. Ising models have no
    such factor, since their field term is linear in σ.

    Raises:
        ValueError: an unknown unit or convention.
    """
    units = {"total": 1.0, "per site": 1.0 / n_sites}
    conventions = {"pauli": 1.0, "spin-1/2": 0.25}
    if unit not in units or convention not in conventions:
        raise ValueError(f"no conversion to '{unit}', '{convention}' (have {list(units)}, {list(conventions)})")
    return units[unit] * conventions[convention]
