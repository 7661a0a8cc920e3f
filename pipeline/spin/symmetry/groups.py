"""Groups of transformations of configurations over which a state can be averaged (torch-free)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pipeline.base.config import checks
from pipeline.base.errors import ConfigError
from pipeline.spin.symmetry.characters import Permutation
from pipeline.spin.symmetry.charges import conserves_spin_flip
from pipeline.spin.symmetry.permutations import lattice_symmetries, proposals, what_breaks
from pipeline.spin.systems import SpinSystem
from pipeline.spin.terms import PauliTerm, pauli_terms

SYMMETRIES = ("point_group", "translations", "spin_flip")

Transformation = tuple[Permutation, int]
"""``(permutation, sign)`` takes s to s' with s'_i = sign · s_permutation[i]."""


def check_names(names: Sequence[str]) -> None:
    """Raise ConfigError for an unknown or a repeated symmetry."""
    for name in names:
        checks.one_of("symmetries", name, SYMMETRIES)
    if len(set(names)) != len(names):
        raise ConfigError("symmetries", list(names), "names each symmetry at most once")


def symmetry_group(system: SpinSystem, names: Sequence[str]) -> list[Transformation]:
    """All products of the symmetries of ``names``, identity first.

    ``point_group`` holds the reflections of the lattice and, where length_x == length_y, the rotations by 90° (D4);
    ``translations`` those round a ring or torus; ``spin_flip`` is s → -s. Each generator is checked to commute with H.

    Raises:
        ConfigError: ``system`` does not have one of the symmetries.
    """
    terms = pauli_terms(system)
    found = lattice_symmetries(system, terms)
    generators: list[Permutation] = []
    for name in ("point_group", "translations"):
        if name in names:
            chosen = [move for kind, move in found.items() if _belongs(kind, move, name)]
            if not chosen:
                raise ConfigError("symmetries", name, _why_not(system, terms, name))
            generators += chosen
    if "spin_flip" in names and not conserves_spin_flip(terms):
        raise ConfigError("symmetries", "spin_flip", "flipping all spins does not leave this Hamiltonian unchanged")
    signs = (1, -1) if "spin_flip" in names else (1,)
    return [(permutation, sign) for sign in signs for permutation in _closure(system.size, generators)]


def _belongs(kind: str, move: Permutation, name: str) -> bool:
    """Whether the symmetry ``kind`` is one of the group ``name``."""
    if name == "translations":
        return kind.startswith("translation")
    # Along two sites a translation is a reflection as well, and is listed once.
    return kind.startswith(("reflection", "transposition")) or (kind.startswith("translation") and _is_involution(move))


def _why_not(system: SpinSystem, terms: Sequence[PauliTerm], name: str) -> str:
    """Which string breaks the symmetries of ``name``."""
    reasons = [
        f"{kind} maps {broken}"
        for kind, move in proposals(system.lattice).items()
        if _belongs(kind, move, name) and (broken := what_breaks(terms, move))
    ]
    none = f"{getattr(system, 'kind', 'this system')} as it is set up has none"
    return f"{none}: {'; '.join(reasons)}" if reasons else none


def _is_involution(permutation: Permutation) -> bool:
    return all(permutation[j] == i for i, j in enumerate(permutation))


def _closure(n_sites: int, generators: Iterable[Permutation]) -> list[Permutation]:
    """Every product of ``generators``, identity first."""
    found = [tuple(range(n_sites))]
    known = set(found)
    for permutation in found:  # grows on the way
        for generator in generators:
            product = tuple(permutation[i] for i in generator)
            if product not in known:
                known.add(product)
                found.append(product)
    return found
