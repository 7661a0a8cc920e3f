"""Cells, numbers and words that the artefacts of this paper share."""

from __future__ import annotations

import math

from pipeline.analysis.verdict import relative_error
from pipeline.base.numbers.formatting import with_error
from reproduce.artefact import Cell, Column
from reproduce.naqs.judgement import magnitude, with_exponent
from reproduce.tables import CellRow, Table

VIT = "vit"
PHYSICS = ("system=square_heisenberg", "system.j1=1.0", "system.j2=0.5")


def lattice(length: int) -> tuple[str, ...]:
    """Physics of a periodic square of this length at J2/J1 = 0.5."""
    return (*PHYSICS, f"system.length_x={length}", f"system.length_y={length}")


def columns(method: str) -> tuple[Column, ...]:
    """Energy per site for spins S = σ/2, how far the state is from an eigenstate, and its size."""
    return (
        Column(method, "energy", "energy", "per site", "spin-1/2"),
        Column(method, "v_score", "v_score"),
        Column(method, "parameters", "parameters"),
    )


def reference_columns(excited: bool = False) -> tuple[Column, ...]:
    """The energy of a reference, and its first excited level where that is wanted."""
    made = (
        Column("reference", "energy", "energy", "per site", "spin-1/2"),
        Column("reference", "energy_1", "first_excited", "per site", "spin-1/2"),
    )
    return made if excited else made[:1]


def reference(row: str, length: int, settings: str, excited: bool = False) -> Cell:
    """The best reference there is: exact diagonalisation where it is possible, else the literature.

    Args:
        excited: whether it has the first excited level too.
    """
    made = reference_columns(excited)
    return Cell(row, "reference", lattice(length), made, stages=("baseline",), settings=settings)


def ours(row: CellRow | None) -> str:
    """Our value with its error."""
    return with_error(row.ours, row.ours_sigma) if row and row.ours is not None else "–"


def count(row: CellRow | None) -> str:
    """A number of parameters."""
    return f"{row.ours:.0f}" if row and row.ours is not None else "–"


def deviation(row: CellRow | None, of_printed: bool = False) -> tuple[float, float | None] | None:
    """Signed relative distance from the reference of a row, with its error combined with the reference's."""
    if row is None or not row.reference:
        return None
    value, own = (row.published, row.published_sigma) if of_printed else (row.ours, row.ours_sigma)
    if value is None:
        return None
    sigma = None if own is None else math.hypot(own, row.reference_sigma or 0.0) / abs(row.reference)
    return relative_error(value, row.reference), sigma


def error(row: CellRow | None, of_printed: bool = False) -> str:
    """:func:`deviation` as ``+2.7(6)e-4``."""
    found = deviation(row, of_printed)
    return "–" if found is None else with_exponent(*found)


def distance(row: CellRow | None) -> str:
    """:func:`deviation` without its sign, for sentences."""
    found = deviation(row)
    return "–" if found is None else magnitude(*found)


def printed(table: Table, row: str, method: str, quantity: str = "energy") -> str:
    """A printed number, ``-0.497634(1)``."""
    number = table.number(row, method, quantity)
    if number is None:
        return "–"
    unit = 2 * number.half_last_digit
    return f"{number.text}({round(number.sigma / unit)})" if number.sigma else number.text
