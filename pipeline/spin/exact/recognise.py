"""The models that solvers of their own exist for, recognised by their Pauli strings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.spin.lattice import Bond
from pipeline.spin.terms import PauliTerm, by_letters


@dataclass(frozen=True)
class IsingModel:
    """-V Σ_<ij> σz_i σz_j - h Σ σx_i.

    Attributes:
        size: number of spins N.
        bonds: pairs that V couples, i < j, sorted.
        coupling: V.
        field: h.
    """

    size: int
    bonds: tuple[Bond, ...]
    coupling: float
    field: float


def ising_model(terms: Sequence[PauliTerm], size: int) -> IsingModel | None:
    """The Ising model in a transverse field that ``terms`` are; None for anything else, one field or V a bond too."""
    strings = by_letters(terms)
    couplings, fields = strings.pop("zz", {}), strings.pop("x", {})
    uniform = len(set(couplings.values())) <= 1 and len(set(fields.values())) <= 1
    if strings or not uniform or len(fields) not in (0, size):
        return None
    bonds = tuple(sorted((i, j) for i, j in couplings))
    return IsingModel(size, bonds, -next(iter(couplings.values()), -0.0), -next(iter(fields.values()), -0.0))


def isotropic_couplings(terms: Sequence[PauliTerm]) -> dict[Bond, float] | None:
    """J_ij by bond (i, j), i < j, if ``terms`` are Σ J_ij σ_i·σ_j in the order of the strings; else None."""
    strings = by_letters(terms)
    along = [strings.pop(letters, {}) for letters in ("xx", "yy", "zz")]
    if strings or not along[0] or along[0] != along[1] or along[1] != along[2]:
        return None
    return {(i, j): coupling for (i, j), coupling in along[0].items()}
