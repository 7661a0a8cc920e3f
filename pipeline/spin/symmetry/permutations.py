"""Permutations of the sites that leave a Hamiltonian unchanged."""

from __future__ import annotations

import functools
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

from pipeline.spin.lattice import Lattice
from pipeline.spin.symmetry.automorphisms import automorphisms
from pipeline.spin.symmetry.characters import Permutation
from pipeline.spin.systems import SpinSystem
from pipeline.spin.terms import PauliTerm

_String = tuple[tuple[int, str], ...]


def lattice_symmetries(system: SpinSystem, terms: Sequence[PauliTerm]) -> dict[str, Permutation]:
    """Generators of the lattice symmetries of ``system`` by name, each checked to leave ``terms`` unchanged.

    Translations and reflections (and x <-> y on a square); for a system of unknown geometry what the graph of its
    strings shows (:mod:`pipeline.spin.symmetry.automorphisms`).
    """
    return dict(_lattice_symmetries(system.lattice, system.size, tuple(terms)))


@functools.lru_cache(maxsize=256)
def _lattice_symmetries(lattice: Lattice | None, size: int, terms: tuple[PauliTerm, ...]) -> Mapping[str, Permutation]:
    """Cached, since every part that is checked against a system asks again."""
    if lattice is None:
        return automorphisms(terms, size)
    coefficients = _coefficients(terms)
    found: dict[str, Permutation] = {}
    for name, permutation in proposals(lattice).items():
        new = permutation != tuple(range(size)) and permutation not in found.values()
        if new and _broken(coefficients, permutation) is None:
            found[name] = permutation
    return found


def proposals(lattice: Lattice | None) -> dict[str, Permutation]:
    """Permutations worth trying by name: what would be the symmetries of a lattice without an edge."""
    if lattice is None:
        return {}
    sites, moved = range(lattice.size), translations(lattice, 1)
    if len(lattice.extents) == 1:
        return {"translation": moved[0], "reflection": tuple(lattice.size - 1 - i for i in sites)}
    lx, ly = lattice.extents
    candidates = {
        "translation_x": moved[0],
        "translation_y": moved[1],
        "reflection_x": tuple(i // lx * lx + lx - 1 - i % lx for i in sites),
        "reflection_y": tuple((ly - 1 - i // lx) * lx + i % lx for i in sites),
    }
    if lx == ly:
        candidates["transposition"] = tuple(i % lx * lx + i // lx for i in sites)
    return candidates


def translations(lattice: Lattice, distance: int) -> tuple[Permutation, ...]:
    """Translations by ``distance`` sites round a ring, or round a torus along x and along y."""
    if len(lattice.extents) == 1:
        return (tuple((i + distance) % lattice.size for i in range(lattice.size)),)
    lx, _ = lattice.extents
    sites = range(lattice.size)
    along_x = tuple(i // lx * lx + (i + distance) % lx for i in sites)
    return along_x, tuple((i + distance * lx) % lattice.size for i in sites)


def what_breaks(terms: Sequence[PauliTerm], permutation: Permutation) -> str | None:
    """The first string that ``permutation`` maps to one of another coefficient, in words; None: it is a symmetry."""
    return _broken(_coefficients(terms), permutation)


def _coefficients(terms: Sequence[PauliTerm]) -> dict[_String, float]:
    """Coefficient of every string; those of equal strings are added up."""
    found: dict[_String, list[float]] = defaultdict(list)
    for term in terms:
        found[_string(term)].append(term.coefficient)
    return {string: math.fsum(values) for string, values in found.items()}


def _broken(coefficients: Mapping[_String, float], permutation: Permutation) -> str | None:
    """See :func:`what_breaks`.

    A string of coefficient zero is a string: what moves bonds to where there are none is no symmetry of the lattice,
    whose bonds are observed, coupled or not.
    """
    for string, here in coefficients.items():
        image = tuple(sorted([(permutation[site], pauli) for site, pauli in string]))
        there = coefficients.get(image)
        if there is None or here != there:
            has = "does not exist" if there is None else f"has {there:g}"
            return f"{_named(string)}, coefficient {here:g}, to {_named(image)}, which {has}"
    return None


def _named(string: _String) -> str:
    """``zz of bond 0-3`` or ``x of site 2``."""
    where = "site" if len(string) == 1 else "bond" if len(string) == 2 else "sites"
    return f"{''.join(pauli for _, pauli in string)} of {where} {'-'.join(str(site) for site, _ in string)}"


def _string(term: PauliTerm) -> _String:
    """Sites and letters of ``term``, in the order of the sites."""
    return tuple(sorted(zip(term.sites, term.paulis, strict=True)))
