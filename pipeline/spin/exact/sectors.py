"""Which symmetry sectors have to be searched for the lowest levels of a Hamiltonian."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import comb

from pipeline.spin.exact.symmetries import (
    Permutation,
    conserves_spin_flip,
    conserves_total_spin,
    lattice_symmetries,
    stoquastic_form,
)
from pipeline.spin.systems import SpinSystem
from pipeline.spin.terms import PauliTerm


@dataclass(frozen=True)
class Sector:
    """Basis states that are treated together; the default is all 2^N.

    Attributes:
        up: number of spins up, i.e. Σ σz = 2 up - N; None: any.
        lattice: permutations of the sites by name; states are even under each.
        flip: states are even (0) or odd (1) under Π σx; None: either.
    """

    up: int | None = None
    lattice: dict[str, Permutation] = field(default_factory=dict)
    flip: int | None = None

    @property
    def names(self) -> list[str]:
        """Names of the symmetries used."""
        spins = [] if self.up is None else ["magnetisation"]
        return [*spins, *self.lattice, *([] if self.flip is None else ["spin_flip"])]

    def scanned(self, size: int) -> float:
        """Number of states that a search for representatives visits."""
        return float(2**size if self.up is None else comb(size, self.up))

    def states(self, size: int) -> float:
        """Estimated dimension: ``scanned`` over the length of each symmetry's longest orbit."""
        states = self.scanned(size) / (1 if self.flip is None else 2)
        for permutation in self.lattice.values():
            states /= _cycle_length(permutation)
        return max(states, 1.0)


@dataclass(frozen=True)
class Search:
    """Where the lowest levels are.

    Attributes:
        terms: Pauli strings with the spectrum and the σz-diagonal observables of the given ones.
        sectors: the lowest levels are the lowest of all of these together.
    """

    terms: list[PauliTerm]
    sectors: list[Sector]


def plan(system: SpinSystem, terms: Sequence[PauliTerm], levels: int) -> Search:
    """The smallest sectors that are proven to hold the ``levels`` lowest energies of ``terms``.

    - H = Σ J σ·σ: only states with ⌊N/2⌋ spins up; every multiplet has exactly one member among them, so that each
      counts once.
    - The ground state of a Hamiltonian with a stoquastic form: the even sector of all lattice symmetries and of the
      spin flip (:mod:`pipeline.spin.exact.symmetries`).
    - Otherwise nothing is known of the lattice symmetries and none is used; both parities of the flip are searched.
    """
    size = system.size
    up = size // 2 if conserves_total_spin(terms) else None
    # The flip maps ⌊N/2⌋ spins up to itself only for even N.
    flips = conserves_spin_flip(terms) and (up is None or size % 2 == 0)
    proven = stoquastic_form(terms) if levels == 1 else None
    if proven is not None:
        return Search(proven, [Sector(up, lattice_symmetries(system, proven), 0 if flips else None)])
    return Search(list(terms), [Sector(up, flip=parity) for parity in ((0, 1) if flips else (None,))])


def _cycle_length(permutation: Permutation) -> int:
    """Length of the longest cycle: the order of a translation (its length) or of a reflection (2)."""
    longest = 1
    for first in range(len(permutation)):
        site, length = permutation[first], 1
        while site != first:
            site, length = permutation[site], length + 1
        longest = max(longest, length)
    return longest
