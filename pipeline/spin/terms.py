"""A Hamiltonian as a list of Pauli strings: the one description from which every solver is built.

Our connected elements, QuSpin, TeNPy and the dense matrices of the tests all read the strings that a system gives, and
are tested against each other. Torch-free.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, is_dataclass, replace
from typing import Protocol, runtime_checkable

from pipeline.spin.lattice import Bond

ORDINARY = 2.0**20
"""Couplings up to this size and down to its inverse are treated as they are: their squares are far from any limit."""


@dataclass(frozen=True)
class PauliTerm:
    """``coefficient * prod_k sigma^{paulis[k]}_{sites[k]}`` with ``paulis`` in {x, y, z}; sites are distinct."""

    coefficient: float
    paulis: str
    sites: tuple[int, ...]


@runtime_checkable
class GivesStrings(Protocol):
    """A system with a Hamiltonian of Pauli strings."""

    def strings(self) -> list[PauliTerm]:
        """Pauli strings of H, total energy."""


def pauli_terms(system: object) -> list[PauliTerm]:
    """Pauli strings of ``system``, total energy.

    Raises:
        TypeError: a system that gives none.
    """
    if not isinstance(system, GivesStrings):
        raise TypeError(f"no Pauli terms for {type(system).__name__}")
    if not is_dataclass(system):
        return system.strings()
    key = (type(system), repr(system))
    if key not in _latest:
        found = system.strings()
        _latest.clear()
        _latest[key] = found
    return list(_latest[key])


_latest: dict[tuple[type, str], list[PauliTerm]] = {}
"""The strings of one system, which checks and baselines ask for again and again."""


def on_bonds(bonds: Iterable[Bond], couplings: Mapping[str, float]) -> list[PauliTerm]:
    """The strings of ``couplings``, such as ``{"zz": -1.0}``, on each bond in turn."""
    return [PauliTerm(coefficient, paulis, bond) for bond in bonds for paulis, coefficient in couplings.items()]


def on_sites(size: int, pauli: str, coefficient: float) -> list[PauliTerm]:
    """``coefficient`` Σ σ on all of ``size`` sites."""
    return [PauliTerm(coefficient, pauli, (site,)) for site in range(size)]


def of_copies(terms: Sequence[PauliTerm], size: int, copies: int) -> list[PauliTerm]:
    """The sum of ``terms``, of ``size`` sites, over ``copies`` of these, one copy after the other."""
    return [replace(t, sites=tuple(site + k * size for site in t.sites)) for k in range(copies) for t in terms]


def flipped(term: PauliTerm) -> frozenset[int]:
    """Sites that ``term`` flips."""
    return frozenset(site for pauli, site in zip(term.paulis, term.sites, strict=True) if pauli != "z")


def by_letters(terms: Iterable[PauliTerm]) -> dict[str, dict[tuple[int, ...], float]]:
    """Coefficients by letters and sites, these in increasing order; those of equal strings are added up."""
    sums: dict[str, dict[tuple[int, ...], float]] = {}
    for term in terms:
        placed = sorted(zip(term.sites, term.paulis, strict=True))
        same = sums.setdefault("".join(pauli for _, pauli in placed), {})
        sites = tuple(site for site, _ in placed)
        same[sites] = same.get(sites, 0.0) + term.coefficient
    return sums


def in_own_unit(terms: Sequence[PauliTerm]) -> tuple[list[PauliTerm], float]:
    """``terms`` with a largest coefficient between 1 and 2, and the unit of energy that this takes, a power of two.

    Energies in that unit times the unit are, to the last bit, what they would be if no number were too large or too
    small for its square, or for an absolute tolerance. Terms of ordinary size come back as they are, with the unit 1.
    """
    largest = max((abs(term.coefficient) for term in terms), default=0.0)
    if not largest or 1 / ORDINARY <= largest <= ORDINARY:
        return list(terms), 1.0
    unit = 2.0 ** (math.frexp(largest)[1] - 1)
    return [replace(term, coefficient=term.coefficient / unit) for term in terms], unit
