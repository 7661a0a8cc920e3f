"""Decomposition of the Hilbert space by a group of site permutations, as far as one-dimensional characters go.

Generators join one at a time. A sector is a set S of generators that have joined with the eigenvalue of each, that is
a one-dimensional character χ of the group that S generates, and two facts make the result complete:

- A symmetry g with g S g⁻¹ in the group of S and χ(g s g⁻¹) = χ(s) maps the sector to itself. It is unitary there, and
  its eigenspaces together are the sector: g joins with each of its eigenvalues. Any other g (a reflection at a momentum
  that it reverses, a transposition where the two reflections have opposite signs) does not join, and the sector stays
  whole.
- Any symmetry u with u S u⁻¹ in the group of S maps the sector of χ to that of χ(u⁻¹ s u), and complex conjugation
  maps it to that of χ* if H is real: equal spectra. One of them is kept, with the number of them as its multiplicity.

With translations first this is the star of each momentum and its little group; the two-dimensional representation of a
square's point group appears as one of its two states, counted twice.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

Permutation = tuple[int, ...]
"""``permutation[i]`` is the site to which site ``i`` goes."""


def compose(after: Permutation, before: Permutation) -> Permutation:
    """The permutation ``before`` followed by ``after``."""
    return tuple(after[site] for site in before)


def inverse(permutation: Permutation) -> Permutation:
    """The permutation that undoes ``permutation``."""
    back = [0] * len(permutation)
    for site, image in enumerate(permutation):
        back[image] = site
    return tuple(back)


def order(permutation: Permutation) -> int:
    """Smallest m > 0 with g^m = 1."""
    identity = tuple(range(len(permutation)))
    power, m = permutation, 1
    while power != identity:
        power, m = compose(permutation, power), m + 1
    return m


@dataclass(frozen=True)
class Group:
    """A group of which every element is s_1^a_1 ... s_n^a_n in exactly one way, 0 <= a_i < order of s_i.

    Attributes:
        generators: s_1, ..., s_n by name.
        orders: of each generator.
        exponents: (a_1, ..., a_n) of every element.
    """

    generators: dict[str, Permutation]
    orders: tuple[int, ...]
    exponents: dict[Permutation, tuple[int, ...]]

    @staticmethod
    def trivial(size: int) -> Group:
        """The identity of ``size`` sites alone."""
        return Group({}, (), {tuple(range(size)): ()})

    def extended(self, name: str, generator: Permutation) -> Group | None:
        """The group with ``generator`` as s_{n+1}; None if that would not be a semidirect product."""
        if not all(element in self.exponents for element in self.conjugated(generator)):
            return None
        m = order(generator)
        power = tuple(range(len(generator)))
        found: dict[Permutation, tuple[int, ...]] = {}
        for exponent in range(m):
            found |= {compose(g, power): (*a, exponent) for g, a in self.exponents.items()}
            power = compose(power, generator)
        if len(found) != m * len(self.exponents):
            return None
        return Group({**self.generators, name: generator}, (*self.orders, m), found)

    def conjugated(self, by: Permutation) -> list[Permutation]:
        """``by`` s_i ``by``⁻¹ of every generator."""
        back = inverse(by)
        return [compose(by, compose(generator, back)) for generator in self.generators.values()]


@dataclass(frozen=True)
class Character:
    """The states with s_i ψ = exp(-2πi ``numbers[i]`` / order of s_i) ψ under every generator s_i of ``group``.

    Attributes:
        group: the symmetries in use.
        numbers: quantum number of each generator: a momentum, or 0 (even) and 1 (odd) for a reflection.
        multiplicity: how many such sets of states have this one's spectrum, itself included.
    """

    group: Group
    numbers: tuple[int, ...]
    multiplicity: int = 1

    def moved(self, by: Permutation) -> tuple[int, ...] | None:
        """Quantum numbers to which the symmetry ``by`` takes the states; None if these generators cannot tell."""
        numbers = []
        for element, m in zip(self.group.conjugated(inverse(by)), self.group.orders, strict=True):
            exponents = self.group.exponents.get(element)
            if exponents is None:
                return None
            terms = zip(exponents, self.numbers, self.group.orders, strict=True)
            number = m * sum((Fraction(a * q, n) for a, q, n in terms), Fraction(0))
            numbers.append(int(number) % m)
        return tuple(numbers)

    def conjugated(self) -> tuple[int, ...]:
        """Quantum numbers of the complex conjugate states."""
        return tuple(-q % m for q, m in zip(self.numbers, self.group.orders, strict=True))


def decompose(size: int, generators: Mapping[str, Permutation], real: bool) -> list[Character]:
    """Sectors whose levels, counted with multiplicity, are all levels of a Hamiltonian on ``size`` sites.

    Args:
        size: N.
        generators: symmetries of the Hamiltonian by name, translations first.
        real: the Hamiltonian is a real matrix in the basis that the permutations act on.

    Returns:
        The trivial character, which every generator joins that can join any, is the first.
    """
    return list(_decomposed(size, tuple(generators.items()), real))


@functools.lru_cache(maxsize=64)
def _decomposed(size: int, named: tuple[tuple[str, Permutation], ...], real: bool) -> tuple[Character, ...]:
    """:func:`decompose`, once for the many runs of a table on one lattice."""
    generators, found = dict(named), [Character(Group.trivial(size), ())]
    groups: dict[tuple[str, ...], Group | None] = {}
    for name, generator in generators.items():
        joined = []
        for sector in found:
            names = (*sector.group.generators, name)
            if names not in groups:
                groups[names] = sector.group.extended(name, generator)
            group = groups[names]
            if group is None or sector.moved(generator) != sector.numbers:
                joined.append(sector)
                continue
            numbers = range(group.orders[-1])
            joined += [Character(group, (*sector.numbers, q), sector.multiplicity) for q in numbers]
        found = _merged(joined, list(generators.values()), real)
    return tuple(found)


def _merged(sectors: Sequence[Character], symmetries: Sequence[Permutation], real: bool) -> list[Character]:
    """One sector, that with the smallest quantum numbers, of each orbit of ``symmetries`` (and conjugation)."""
    known = {(tuple(s.group.generators), s.numbers): s for s in sectors}
    seen: set[tuple[tuple[str, ...], tuple[int, ...]]] = set()
    kept = []
    for names, numbers in sorted(known, key=lambda label: (any(label[1]), -len(label[0]), label[1], label[0])):
        if (names, numbers) in seen:
            continue
        orbit, waiting = {numbers}, [known[names, numbers]]
        while waiting:
            sector = waiting.pop()
            images = [sector.moved(symmetry) for symmetry in symmetries] + ([sector.conjugated()] if real else [])
            for image in images:
                # What is not among the sectors was merged into another one before and is counted there.
                if image is not None and image not in orbit and (names, image) in known:
                    orbit.add(image)
                    waiting.append(known[names, image])
        seen |= {(names, image) for image in orbit}
        first = known[names, numbers]
        multiplicity = sum(known[names, image].multiplicity for image in orbit)
        kept.append(Character(first.group, first.numbers, multiplicity))
    return kept
