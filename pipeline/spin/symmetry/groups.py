"""Groups of transformations of configurations over which a state can be averaged or projected (torch-free)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from pipeline.base.config import checks
from pipeline.base.errors import ConfigError
from pipeline.spin.symmetry.characters import Permutation, compose
from pipeline.spin.symmetry.charges import conserves_spin_flip
from pipeline.spin.symmetry.permutations import lattice_symmetries, proposals, what_breaks
from pipeline.spin.systems import SpinSystem
from pipeline.spin.terms import PauliTerm, pauli_terms

SYMMETRIES = ("point_group", "translations", "rotations", "reflections", "spin_flip")

Transformation = tuple[Permutation, int]
"""``(permutation, sign)`` takes s to s' with s'_i = sign · s_permutation[i]."""

Characters = dict[Transformation, int]
"""A group, identity first, with a one-dimensional character ±1 of each element."""


def check_names(names: Sequence[str], key: str = "symmetries", *, odd: bool = False) -> None:
    """Raise ConfigError for an unknown or a repeated symmetry; ``odd``: a minus before a name is allowed."""
    bare = [name.removeprefix("-") if odd else name for name in names]
    for name in bare:
        checks.one_of(key, name, SYMMETRIES)
    if len(set(bare)) != len(bare):
        raise ConfigError(key, list(names), "names each symmetry at most once")


def symmetry_group(system: SpinSystem, names: Sequence[str]) -> list[Transformation]:
    """All products of the symmetries of ``names``, identity first.

    ``translations`` are those round a ring or torus; ``point_group`` holds the reflections of the lattice and, where
    length_x == length_y, the rotations by 90° (C4v). Of these ``rotations`` are those by 90° (by 180° on a rectangle)
    and ``reflections`` those at the axes, which together make the point group. ``spin_flip`` is s → -s. Each generator
    is checked to commute with H.

    Raises:
        ConfigError: ``system`` does not have one of the symmetries.
    """
    return list(character_group(system, names, "symmetries"))


def character_group(system: SpinSystem, names: Sequence[str], key: str = "projection") -> Characters:
    """The group of :func:`symmetry_group` and a character of it.

    A minus before a name makes its generators odd, as ``-spin_flip`` or ``-translations`` (momentum π everywhere).

    Raises:
        ConfigError: about ``key``: ``system`` does not have one of the symmetries, or the group no such character.
    """
    generators = _generators(system, names, key)
    odd_generators = [move for move, character in generators if character < 0]
    found = _closure(system.size, generators)
    for move, character in found.items() if odd_generators else ():
        for generator, sign in generators:
            if found[compose(move, generator)] != character * sign:
                allowed = "there is no state that is odd under these and even under the others"
                raise ConfigError(key, list(names), allowed)
    group = {(move, 1): character for move, character in found.items()}
    flips = [name for name in names if name.removeprefix("-") == "spin_flip"]
    for name in flips:
        flipped = -1 if name.startswith("-") else 1
        group |= {(move, -1): character * flipped for move, character in found.items()}
    return group


def check_symmetries(system: SpinSystem, names: Sequence[str], key: str) -> None:
    """Raise ConfigError about ``key`` where ``system`` does not have one of the symmetries."""
    _generators(system, names, key)


def representatives(group: Mapping[Transformation, int], invariances: Iterable[Permutation]) -> Characters:
    """One element of each coset of the elements that leave a function unchanged: a sum over these is enough.

    Args:
        group: with a character.
        invariances: generators p of the permutations with f(s_p) = f(s); those that are not in the group play no part.

    Raises:
        ConfigError: the character of one of these is -1: the projection of f would vanish.
    """
    size = len(next(iter(group))[0])
    unchanged = [move for move in _closure(size, [(move, 1) for move in invariances]) if (move, 1) in group]
    if any(group[move, 1] < 0 for move in unchanged):
        raise ConfigError("projection", None, "is odd under what leaves every state of this ansatz unchanged")
    found: Characters = {}
    seen: set[Transformation] = set()
    for (move, sign), character in group.items():
        if (move, sign) not in seen:
            found[move, sign] = character
            seen |= {(compose(move, other), sign) for other in unchanged}
    return found


def dimension(
    system: SpinSystem, names: Sequence[str], invariances: Iterable[Permutation] = (), magnetisation: int | None = None
) -> int:
    """Number of independent states with the characters of ``names`` that do not change under ``invariances``.

    The trace of the projector, 1/|G| Σ_g χ(g) × the number of configurations that g leaves unchanged.

    Args:
        system: with N spins.
        names: as in :func:`character_group`.
        invariances: generators of permutations.
        magnetisation: Σ σz of the configurations that count; None: any.

    Raises:
        ConfigError: ``system`` does not have one of the symmetries.
    """
    generators = [*_generators(system, names, "projection"), *((move, 1) for move in invariances)]
    found, count = _closure(system.size, generators), 0
    parities = {1: 1}
    # flips leave every Σ σz but 0
    if not magnetisation:
        for name in (name for name in names if name.endswith("spin_flip")):
            parities[-1] = -1 if name.startswith("-") else 1
    for move, character in found.items():
        lengths = _cycles(move)
        for sign, parity in parities.items():
            count += character * parity * _unchanged(lengths, sign, magnetisation)
    return count // (len(found) * len(parities))


def _cycles(move: Permutation) -> list[int]:
    """Lengths of the cycles of a permutation."""
    seen: set[int] = set()
    lengths = []
    for first in move:
        length, site = 0, first
        while site not in seen:
            seen.add(site)
            length, site = length + 1, move[site]
        lengths += [length] if length else []
    return lengths


def _unchanged(lengths: Sequence[int], sign: int, magnetisation: int | None) -> int:
    """Number of configurations with Σ σz = ``magnetisation`` that are their own images, by the lengths of cycles."""
    if sign < 0:  # spins alternate along each cycle
        return 0 if any(length % 2 for length in lengths) else 2 ** len(lengths)
    if magnetisation is None:
        return 2 ** len(lengths)
    counts = {0: 1}
    for length in lengths:
        more: dict[int, int] = {}
        for total, number in counts.items():
            for spin in (-length, length):
                more[total + spin] = more.get(total + spin, 0) + number
        counts = more
    return counts.get(magnetisation, 0)


def _generators(system: SpinSystem, names: Sequence[str], key: str) -> list[tuple[Permutation, int]]:
    """Permutations that generate the symmetries of ``names``, with their characters; see :func:`symmetry_group`."""
    terms = pauli_terms(system)
    generators: list[tuple[Permutation, int]] = []
    for name in (name for name in ("point_group", *SYMMETRIES[1:-1]) if {name, f"-{name}"} & set(names)):
        chosen = _rotations(system, terms) if name == "rotations" else _listed(system, terms, name)
        if not chosen:
            raise ConfigError(key, name, _why_not(system, terms, name))
        generators += [(move, 1 if name in names else -1) for move in chosen]
    if {"spin_flip", "-spin_flip"} & set(names) and not conserves_spin_flip(terms):
        raise ConfigError(key, "spin_flip", "flipping all spins does not leave this Hamiltonian unchanged")
    return generators


def _listed(system: SpinSystem, terms: Sequence[PauliTerm], name: str) -> list[Permutation]:
    """Generators of the lattice that belong to ``name``."""
    return [move for kind, move in lattice_symmetries(system, terms).items() if _belongs(kind, move, name)]


def _rotations(system: SpinSystem, terms: Sequence[PauliTerm]) -> list[Permutation]:
    """The smallest rotation of a rectangle, if it is one of H and moves anything."""
    return [
        move
        for move in _turns(system).values()
        if move != tuple(range(system.size)) and what_breaks(terms, move) is None
    ]


def _turns(system: SpinSystem) -> dict[str, Permutation]:
    """The smallest rotation of a rectangle by name: by 90° where it is a square."""
    found = proposals(system.lattice)
    if "transposition" in found:
        return {"rotation by 90°": compose(found["transposition"], found["reflection_x"])}
    if "reflection_y" in found:
        return {"rotation by 180°": compose(found["reflection_y"], found["reflection_x"])}
    return {}


def _belongs(kind: str, move: Permutation, name: str) -> bool:
    """Whether the symmetry ``kind`` is one of the group ``name``."""
    if name == "translations":
        return kind.startswith("translation")
    kinds = ("reflection", "transposition") if name == "point_group" else ("reflection",)
    # Along two sites a translation is a reflection as well, and is listed once.
    return kind.startswith(kinds) or (kind.startswith("translation") and _is_involution(move))


def _why_not(system: SpinSystem, terms: Sequence[PauliTerm], name: str) -> str:
    """Which string breaks the symmetries of ``name``."""
    moves = _turns(system) if name == "rotations" else proposals(system.lattice)
    reasons = [
        f"{kind} maps {broken}"
        for kind, move in moves.items()
        if (name == "rotations" or _belongs(kind, move, name)) and (broken := what_breaks(terms, move))
    ]
    none = f"{getattr(system, 'kind', 'this system')} as it is set up has none"
    return f"{none}: {'; '.join(reasons)}" if reasons else none


def _is_involution(permutation: Permutation) -> bool:
    return all(permutation[j] == i for i, j in enumerate(permutation))


def _closure(n_sites: int, generators: Iterable[tuple[Permutation, int]]) -> dict[Permutation, int]:
    """Every product of ``generators``, identity first, with that of their characters along one way to it."""
    identity = tuple(range(n_sites))
    known, waiting = {identity: 1}, [identity]
    for permutation in waiting:  # grows on the way
        for generator, character in generators:
            product = compose(permutation, generator)
            if product not in known:
                known[product] = known[permutation] * character
                waiting.append(product)
    return known
