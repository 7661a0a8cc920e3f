"""Permutations of the sites that leave a Hamiltonian unchanged."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.spin.symmetry.characters import Permutation
from pipeline.spin.systems import (
    ChainHeisenberg,
    ChainTFIM,
    OpenChainTFIM,
    SpinSystem,
    SquareHeisenberg,
    SquareTFIM,
)
from pipeline.spin.terms import PauliTerm

_String = tuple[tuple[int, str], ...]


def lattice_symmetries(system: SpinSystem, terms: Sequence[PauliTerm]) -> dict[str, Permutation]:
    """Generators of the lattice symmetries of ``system`` by name, each checked to leave ``terms`` unchanged.

    Translations and reflections (and x <-> y on a square); empty for a system of unknown geometry.
    """
    identity = tuple(range(system.size))
    known = _moved(terms, identity)
    found: dict[str, Permutation] = {}
    for name, permutation in _candidates(system).items():
        new = permutation != identity and permutation not in found.values()
        if new and _moved(terms, permutation) == known:
            found[name] = permutation
    return found


def _moved(terms: Sequence[PauliTerm], permutation: Permutation) -> list[tuple[_String, float]]:
    """Canonical form of ``terms`` after moving the sites by ``permutation``, for comparisons."""
    moved = []
    for term in terms:
        string = sorted((permutation[site], pauli) for site, pauli in zip(term.sites, term.paulis, strict=True))
        moved.append((tuple(string), term.coefficient))
    return sorted(moved)


def _candidates(system: SpinSystem) -> dict[str, Permutation]:
    """Permutations worth trying, from the geometry of the known systems."""
    sites = range(system.size)
    if isinstance(system, ChainTFIM | OpenChainTFIM | ChainHeisenberg):
        n = system.n_sites
        return {"translation": tuple((i + 1) % n for i in sites), "reflection": tuple(n - 1 - i for i in sites)}
    if isinstance(system, SquareTFIM | SquareHeisenberg):
        lx, ly = system.length_x, system.length_y
        candidates = {
            "translation_x": tuple(i // lx * lx + (i + 1) % lx for i in sites),
            "translation_y": tuple((i + lx) % (lx * ly) for i in sites),
            "reflection_x": tuple(i // lx * lx + lx - 1 - i % lx for i in sites),
            "reflection_y": tuple((ly - 1 - i // lx) * lx + i % lx for i in sites),
        }
        if lx == ly:
            candidates["transposition"] = tuple(i % lx * lx + i // lx for i in sites)
        return candidates
    return {}
