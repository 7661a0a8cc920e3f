"""Which symmetry sectors have to be searched for the lowest levels of a Hamiltonian."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import comb, prod

from pipeline.spin.symmetry.characters import Character, Group, Permutation, decompose, order
from pipeline.spin.symmetry.charges import conserves_spin_flip, conserves_total_spin, is_real
from pipeline.spin.symmetry.permutations import lattice_symmetries
from pipeline.spin.symmetry.stoquastic import stoquastic_form
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


def spins_up(size: int, terms: Sequence[PauliTerm]) -> int | None:
    """⌊N/2⌋ for H = Σ J σ·σ, of which every multiplet has exactly one member there; else None, any number."""
    return size // 2 if conserves_total_spin(terms) else None


def plan(system: SpinSystem, terms: Sequence[PauliTerm], levels: int, symmetric: bool = False) -> Search:
    """The smallest sectors that are proven to hold the ``levels`` lowest energies of ``terms``.

    - H = Σ J σ·σ: only states with ⌊N/2⌋ spins up, where each multiplet counts once.
    - The ground state of a Hamiltonian with a stoquastic form: the even sector of all lattice symmetries and of the
      spin flip (:mod:`pipeline.spin.symmetry.symmetries`).
    - Otherwise all sectors of the lattice symmetries, those with equal spectra once
      (:mod:`pipeline.spin.symmetry.characters`), and both parities of the flip.

    ``symmetric`` asks for the even sector alone, whether it is proven to hold the levels or not. By the min-max
    principle the k-th level of any sector is at least the k-th of H.
    """
    size = system.size
    up = spins_up(size, terms)
    # The flip maps ⌊N/2⌋ spins up to itself only for even N.
    flips = conserves_spin_flip(terms) and (up is None or size % 2 == 0)
    stoquastic = stoquastic_form(terms)
    proven = levels == 1 and stoquastic is not None
    if stoquastic is not None and (proven or symmetric):
        terms = stoquastic
    generators = lattice_symmetries(system, terms)
    if proven or symmetric:
        trivial = _trivial(size, generators)
        return Search(list(terms), [_sector(up, trivial, 0 if flips else None)], proven)
    sectors = decompose(size, generators, is_real(terms))
    parities = (0, 1) if flips else (None,)
    return Search(list(terms), [_sector(up, character, parity) for character in sectors for parity in parities])


def _trivial(size: int, generators: dict[str, Permutation]) -> Character:
    """States that are even under all the generators."""
    group = Group.trivial(size)
    for name, generator in generators.items():
        group = group.extended(name, generator) or group
    return Character(group, (0,) * len(group.orders))


def _sector(up: int | None, character: Character, flip: int | None) -> Sector:
    """``character`` among the states with ``up`` spins up, of parity ``flip``."""
    named = zip(character.group.generators.items(), character.numbers, strict=True)
    lattice = {name: (permutation, number) for (name, permutation), number in named}
    return Sector(up, lattice, flip, character.multiplicity)
