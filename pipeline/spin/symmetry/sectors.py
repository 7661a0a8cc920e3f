"""Which symmetry sectors have to be searched for the lowest levels of a Hamiltonian."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import comb, prod

from pipeline.spin.symmetry.characters import Character, Group, Permutation, decompose, order
from pipeline.spin.symmetry.charges import (
    conserves_magnetisation,
    conserves_spin_flip,
    conserves_total_spin,
    is_real,
)
from pipeline.spin.symmetry.permutations import lattice_symmetries
from pipeline.spin.symmetry.stoquastic import overlapping_state, stoquastic_form
from pipeline.spin.systems import SpinSystem
from pipeline.spin.terms import PauliTerm


@dataclass(frozen=True)
class Sector:
    """Basis states that are treated together; the default is all 2^N.

    Attributes:
        up: number of spins up, i.e. Σ σz = 2 up - N; None: any.
        lattice: permutation of the sites and quantum number q by name: its eigenvalue is exp(-2πi q / order).
        flip: states are even (0) or odd (1) under Π σx; None: either.
        multiplicity: how many sectors have the same levels as this one, itself included.
    """

    up: int | None = None
    lattice: dict[str, tuple[Permutation, int]] = field(default_factory=dict)
    flip: int | None = None
    multiplicity: int = 1

    @property
    def names(self) -> list[str]:
        """Names of the symmetries used."""
        spins = [] if self.up is None else ["magnetisation"]
        return [*spins, *self.lattice, *([] if self.flip is None else ["spin_flip"])]

    @property
    def real(self) -> bool:
        """The eigenvalues of all symmetries are real."""
        return all(2 * q % order(permutation) == 0 for permutation, q in self.lattice.values())

    @property
    def group_order(self) -> int:
        """Number of symmetries, i.e. of basis states that a representative mostly stands for."""
        return prod((order(permutation) for permutation, _ in self.lattice.values()), start=1 + (self.flip is not None))

    def scanned(self, size: int) -> float:
        """Number of states that a search for representatives visits."""
        return float(visited(size, self.up))

    def states(self, size: int) -> float:
        """Estimated dimension."""
        return max(self.scanned(size) / self.group_order, 1.0)


@dataclass(frozen=True)
class Search:
    """Where the lowest levels are.

    Attributes:
        terms: Pauli strings with the spectrum and the σz-diagonal observables of the given ones.
        sectors: where to look; each level counts as often as its sector's multiplicity.
        proven: the lowest levels of these sectors together are those of H; if not, they are upper bounds.
    """

    terms: list[PauliTerm]
    sectors: list[Sector]
    proven: bool = True


def visited(size: int, up: int | None) -> int:
    """Number of basis states of ``size`` spins with ``up`` of them up (None: any number)."""
    return 2**size if up is None else comb(size, up)


def number_of_levels(size: int, terms: Sequence[PauliTerm], every_state: bool = False) -> int:
    """Number of levels of H: 2^N, or the number of its multiplets where H commutes with all rotations.

    Args:
        every_state: count each state of a multiplet.
    """
    return visited(size, size // 2 if conserves_total_spin(terms) and not every_state else None)


def spins_up(size: int, terms: Sequence[PauliTerm], levels: int, every_state: bool = False) -> dict[int | None, int]:
    """Numbers of spins up, each with its multiplicity, among which the ``levels`` lowest energies are proven to be.

    - H commutes with all rotations: ⌊N/2⌋, where each multiplet has exactly one member; unless ``every_state`` counts.
    - H commutes with Σ σz: for a ground state that of a basis state it overlaps, where one is known
      (:func:`pipeline.spin.symmetry.stoquastic.overlapping_state`); otherwise all numbers. Where H commutes with the
      spin flip too, n spins up have the levels of N - n, which are not searched again.
    - Otherwise any number of spins up together: None.
    """
    if conserves_total_spin(terms) and not every_state:
        return {size // 2: 1}
    if not conserves_magnetisation(terms):
        return {None: 1}
    overlapping = overlapping_state(terms, size) if levels == 1 else None
    known = range(size, -1, -1) if overlapping is None else [overlapping.count(1)]
    if not conserves_spin_flip(terms):
        return dict.fromkeys(known, 1)
    halved = sorted({min(up, size - up) for up in known}, reverse=True)
    return {up: 1 if 2 * up == size else 2 for up in halved}


def plan(
    system: SpinSystem,
    terms: Sequence[PauliTerm],
    levels: int,
    symmetric: bool = False,
    every_state: bool = False,
    up: int | None = None,
) -> Search:
    """The smallest sectors that are proven to hold the ``levels`` lowest energies of ``terms``.

    - Numbers of spins up: those of :func:`spins_up`.
    - The ground state of a Hamiltonian with a stoquastic form: the even sector of all lattice symmetries and of the
      spin flip (:mod:`pipeline.spin.symmetry.stoquastic`).
    - Otherwise all sectors of the lattice symmetries, those with equal spectra once
      (:mod:`pipeline.spin.symmetry.characters`), and both parities of the flip.

    ``symmetric`` asks for the even sectors alone, whether they are proven to hold the levels or not. By the min-max
    principle the k-th level of any sector is at least the k-th of H. ``every_state`` of a multiplet of the total spin
    counts as a level of its own. Where ``up`` is a number of spins up, the levels are those of the states that have it.
    """
    size = system.size
    numbers = spins_up(size, terms, levels, every_state) if up is None else {up: 1}
    stoquastic = stoquastic_form(terms)
    proven = levels == 1 and stoquastic is not None
    if stoquastic is not None and (proven or symmetric):
        terms = stoquastic
    generators = lattice_symmetries(system, terms)
    if proven or symmetric:
        characters, parities = [_trivial(size, generators)], [0]
    else:
        characters, parities = decompose(size, generators, is_real(terms)), [0, 1]
    flips = conserves_spin_flip(terms)
    sectors = []
    for number, multiplicity in numbers.items():
        # The flip maps n spins up to themselves only for n = N/2.
        flipped: Sequence[int | None] = parities if flips and number in (None, size / 2) else [None]
        sectors += [_sector(number, character, parity, multiplicity) for character in characters for parity in flipped]
    return Search(list(terms), sectors, proven or not symmetric)


def by_magnetisation(system: SpinSystem, terms: Sequence[PauliTerm]) -> Search:
    """The sectors that hold the lowest state of each Σ σz of an H with a stoquastic form: even under all symmetries."""
    size, rotated = system.size, stoquastic_form(terms)
    assert rotated is not None
    trivial = _trivial(size, lattice_symmetries(system, rotated))
    flips = conserves_spin_flip(rotated)
    sectors = []
    for up in range(size, (size - 1) // 2 if flips else -1, -1):
        middle = 2 * up == size
        sectors.append(_sector(up, trivial, 0 if flips and middle else None, 2 if flips and not middle else 1))
    return Search(rotated, sectors)


def _trivial(size: int, generators: dict[str, Permutation]) -> Character:
    """States that are even under all the generators."""
    group = Group.trivial(size)
    for name, generator in generators.items():
        group = group.extended(name, generator) or group
    return Character(group, (0,) * len(group.orders))


def _sector(up: int | None, character: Character, flip: int | None, multiplicity: int) -> Sector:
    """``character`` among the states with ``up`` spins up, of parity ``flip``; ``multiplicity`` is that of ``up``."""
    named = zip(character.group.generators.items(), character.numbers, strict=True)
    lattice = {name: (permutation, number) for (name, permutation), number in named}
    return Sector(up, lattice, flip, multiplicity * character.multiplicity)
