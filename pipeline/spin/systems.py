"""Typed configuration of spin systems: geometry and Pauli strings (torch-free). Values live in ``conf/``.

Pauli matrices and total energies throughout; sites are numbered row by row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import ClassVar

from omegaconf import MISSING

from pipeline.base.config import checks
from pipeline.base.errors import ConfigError
from pipeline.spin.lattice import Bond, Lattice, chain_bonds, square_diagonals
from pipeline.spin.terms import PauliTerm, on_bonds, on_sites

SITES_A_WORD = 62
"""A basis state of this many spins fits one signed 64-bit word."""

MOST_SITES = 4096
"""Nothing here treats more, and a slip of the keyboard should not fill the memory with bonds."""


MOST_COUPLING = 1e15
"""Of training: energies of this size, and their squares, are still numbers."""

LARGEST_AMOUNT = 1e300
"""Of references: sums over all bonds are still numbers."""

MOST_BONDS = 2**17
"""Of long-range couplings: all pairs of 512 sites. Strings are made one by one."""


@dataclass
class SpinSystem:
    """Base of all spin systems; ``version`` enters the keys of everything computed for the system.

    A system says where its sites are and what its Pauli strings are. What is true of it follows from these two.
    """

    version: ClassVar[int] = 1

    @property
    def lattice(self) -> Lattice | None:
        """Where the sites are; None: only the strings say which sites are near each other."""
        return None

    @property
    def size(self) -> int:
        """Number of spins N."""
        if self.lattice is None:
            raise NotImplementedError
        return self.lattice.size

    def strings(self) -> list[PauliTerm]:
        """Pauli strings of H, total energy.

        Raises:
            TypeError: a system that has none.
        """
        raise TypeError(f"no Pauli terms for {type(self).__name__}")

    def bonds(self) -> list[Bond]:
        """Pairs of sites that a string couples, each once, sorted."""
        return sorted({(min(term.sites), max(term.sites)) for term in self.strings() if len(term.sites) == 2})

    def nearest_bonds(self) -> list[Bond]:
        """Pairs of nearest neighbours of the lattice, each once, whether they interact or not."""
        return self.bonds() if self.lattice is None else self.lattice.nearest()


def must_be_spins(method: str, system: object) -> SpinSystem:
    """``system`` as a spin system that a network can be trained on; ConfigError for ``method`` on anything else."""
    if not isinstance(system, SpinSystem):
        allowed = f"works on spin systems, not on {getattr(system, 'kind', system)}"
        raise ConfigError("method", method, allowed, whole=True)
    for amount in fields(system):
        value = getattr(system, amount.name)
        if isinstance(value, float) and abs(value) > MOST_COUPLING:
            allowed = f"method={method} takes couplings up to {MOST_COUPLING:g}, whose squares fit single precision"
            raise ConfigError(f"system.{amount.name}", value, allowed, "choose another unit of energy", whole=True)
    return system


def beyond_range(system: object) -> str | None:
    """Why no reference for ``system`` is a number: an amount whose sums leave the range of double precision."""
    for amount in fields(system) if isinstance(system, SpinSystem) else ():
        value = getattr(system, amount.name)
        if isinstance(value, float) and abs(value) > LARGEST_AMOUNT:
            return f"system.{amount.name}={value:g} is larger than {LARGEST_AMOUNT:g}: sums of it are no numbers"
    return None


def check_bonds(n_sites: int, reach: int) -> None:
    """Raise ConfigError where a chain would have more bonds than :data:`MOST_BONDS`."""
    if n_sites * reach > MOST_BONDS:
        allowed = f"would be {n_sites * reach} bonds on {n_sites} sites; at most {MOST_BONDS}"
        raise ConfigError("range", reach, allowed)


@dataclass
class ChainTFIM(SpinSystem):
    """Periodic chain H = -V Σ_{0<d(i,j)<=L} σz_i σz_j - h Σ σx_i (NF+NQS paper, Eq. 14).

    Attributes:
        n_sites: N.
        range: L, largest distance round the ring that interacts, 1 <= L <= N/2.
        coupling: V.
        field: h.
    """

    kind: str = "chain_tfim"
    n_sites: int = MISSING
    range: int = MISSING
    coupling: float = MISSING
    field: float = MISSING

    def __post_init__(self) -> None:
        checks.one_of("kind", self.kind, ["chain_tfim"])
        checks.between("n_sites", self.n_sites, 2, MOST_SITES)
        checks.finite("coupling", self.coupling)
        checks.finite("field", self.field)
        largest = self.n_sites // 2
        if not 1 <= self.range <= largest:
            raise ConfigError(
                "range", self.range, f"must lie between 1 and n_sites/2 = {largest} on a ring of {self.n_sites}"
            )
        check_bonds(self.n_sites, self.range)

    @property
    def lattice(self) -> Lattice:
        return Lattice((self.n_sites,), periodic=True)

    def strings(self) -> list[PauliTerm]:
        bonds = chain_bonds(self.n_sites, self.range)
        return [*on_bonds(bonds, {"zz": -self.coupling}), *on_sites(self.size, "x", -self.field)]


@dataclass
class OpenChainTFIM(SpinSystem):
    """Open chain H = -V Σ_{0<j-i<=L} σz_i σz_j - h Σ σx_i.

    Attributes:
        n_sites: N >= 2.
        range: L, largest distance that interacts, 1 <= L <= N-1.
        coupling: V.
        field: h.

    Raises:
        ConfigError: a value outside these bounds, or a coupling that is not finite.
    """

    kind: str = "open_chain_tfim"
    n_sites: int = MISSING
    range: int = MISSING
    coupling: float = MISSING
    field: float = MISSING

    def __post_init__(self) -> None:
        checks.one_of("kind", self.kind, ["open_chain_tfim"])
        checks.between("n_sites", self.n_sites, 2, MOST_SITES)
        checks.finite("coupling", self.coupling)
        checks.finite("field", self.field)
        largest = self.n_sites - 1
        if not 1 <= self.range <= largest:
            allowed = f"must lie between 1 and n_sites-1 = {largest} on an open chain of {self.n_sites}"
            raise ConfigError("range", self.range, allowed)
        check_bonds(self.n_sites, self.range)

    @property
    def lattice(self) -> Lattice:
        return Lattice((self.n_sites,), periodic=False)

    def strings(self) -> list[PauliTerm]:
        bonds = chain_bonds(self.n_sites, self.range, periodic=False)
        return [*on_bonds(bonds, {"zz": -self.coupling}), *on_sites(self.size, "x", -self.field)]


@dataclass
class SquareTFIM(SpinSystem):
    """Nearest-neighbour H = -V Σ_<ij> σz_i σz_j - h Σ σx_i on a length_y × length_x square lattice.

    Attributes:
        length_x, length_y: extents; site = y * length_x + x.
        periodic: wrap both directions (then both extents must be at least 3, or bonds would double).
        coupling: V.
        field: h.
    """

    kind: str = "square_tfim"
    length_x: int = MISSING
    length_y: int = MISSING
    periodic: bool = MISSING
    coupling: float = MISSING
    field: float = MISSING

    def __post_init__(self) -> None:
        checks.one_of("kind", self.kind, ["square_tfim"])
        low = 3 if self.periodic else 1
        checks.at_least("length_x", self.length_x, low)
        checks.at_least("length_y", self.length_y, low)
        checks.between("length_x * system.length_y", self.size, 1, MOST_SITES)
        checks.finite("coupling", self.coupling)
        checks.finite("field", self.field)

    @property
    def lattice(self) -> Lattice:
        return Lattice((self.length_x, self.length_y), self.periodic)

    def strings(self) -> list[PauliTerm]:
        return [*on_bonds(self.nearest_bonds(), {"zz": -self.coupling}), *on_sites(self.size, "x", -self.field)]


def _exchanges(j1: float, nearest: Sequence[Bond], j2: float, further: Sequence[Bond]) -> list[PauliTerm]:
    """J1 Σ_<ij> σ_i·σ_j + J2 Σ_<<ij>> σ_i·σ_j; without J2 the Heisenberg model, of nearest neighbours only."""
    isotropic = [dict.fromkeys(("xx", "yy", "zz"), j) for j in (j1, j2)]
    return on_bonds(nearest, isotropic[0]) + (on_bonds(further, isotropic[1]) if j2 else [])


@dataclass
class ChainHeisenberg(SpinSystem):
    """Chain H = J1 Σ_i σ_i·σ_{i+1} + J2 Σ_i σ_i·σ_{i+2} in Pauli matrices, periodic or open.

    That is four times the energy of spins S = σ/2. J1 > 0 is antiferromagnetic.

    Attributes:
        n_sites: N >= 2; periodic: N >= 3, and N >= 4 with J2 (at N = 4 the two pairs at distance 2 count once).
        periodic: close the ring.
        j1, j2: couplings of nearest and next-nearest neighbours.

    Raises:
        ConfigError: too few sites for the boundary, or couplings that are not finite.
    """

    kind: str = "chain_heisenberg"
    n_sites: int = MISSING
    periodic: bool = MISSING
    j1: float = MISSING
    j2: float = MISSING

    def __post_init__(self) -> None:
        checks.one_of("kind", self.kind, ["chain_heisenberg"])
        checks.finite("j1", self.j1)
        checks.finite("j2", self.j2)
        low = (4 if self.j2 else 3) if self.periodic else 2
        checks.between("n_sites", self.n_sites, low, MOST_SITES)

    @property
    def lattice(self) -> Lattice:
        return Lattice((self.n_sites,), self.periodic)

    def strings(self) -> list[PauliTerm]:
        return _exchanges(self.j1, self.nearest_bonds(), self.j2, self.next_nearest_bonds())

    def next_nearest_bonds(self) -> list[Bond]:
        """Pairs that J2 couples, each once, none of them a nearest-neighbour pair."""
        nearest = set(self.nearest_bonds())
        return [bond for bond in chain_bonds(self.n_sites, 2, self.periodic) if bond not in nearest]


@dataclass
class SquareHeisenberg(SpinSystem):
    """J1-J2 model of σ_i·σ_j on a length_y × length_x square lattice, J2 along both diagonals of every plaquette.

    Attributes:
        length_x, length_y: extents; site = y * length_x + x.
        periodic: wrap both directions (then both extents must be at least 3, or bonds would double).
        j1, j2: couplings of nearest neighbours and along the diagonals.

    Raises:
        ConfigError: extents too small for the boundary, or couplings that are not finite.
    """

    kind: str = "square_heisenberg"
    length_x: int = MISSING
    length_y: int = MISSING
    periodic: bool = MISSING
    j1: float = MISSING
    j2: float = MISSING

    def __post_init__(self) -> None:
        checks.one_of("kind", self.kind, ["square_heisenberg"])
        low = 3 if self.periodic else 1
        checks.at_least("length_x", self.length_x, low)
        checks.at_least("length_y", self.length_y, low)
        checks.between("length_x * system.length_y", self.size, 2, MOST_SITES)
        checks.finite("j1", self.j1)
        checks.finite("j2", self.j2)

    @property
    def lattice(self) -> Lattice:
        return Lattice((self.length_x, self.length_y), self.periodic)

    def strings(self) -> list[PauliTerm]:
        return _exchanges(self.j1, self.nearest_bonds(), self.j2, self.next_nearest_bonds())

    def next_nearest_bonds(self) -> list[Bond]:
        """Pairs that J2 couples, each once, none of them a nearest-neighbour pair."""
        return square_diagonals(self.length_x, self.length_y, self.periodic)


@dataclass
class ChainXXZ(SpinSystem):
    """Chain H = Σ_i [Jxy (σx_i σx_{i+1} + σy_i σy_{i+1}) + Jz σz_i σz_{i+1}] in Pauli matrices, periodic or open.

    Attributes:
        n_sites: N >= 2; periodic: N >= 3.
        periodic: close the ring.
        jxy, jz: couplings; jxy = jz is the Heisenberg model.

    Raises:
        ConfigError: too few sites for the boundary, or couplings that are not finite.
    """

    kind: str = "chain_xxz"
    n_sites: int = MISSING
    periodic: bool = MISSING
    jxy: float = MISSING
    jz: float = MISSING

    def __post_init__(self) -> None:
        checks.one_of("kind", self.kind, ["chain_xxz"])
        checks.between("n_sites", self.n_sites, 3 if self.periodic else 2, MOST_SITES)
        checks.finite("jxy", self.jxy)
        checks.finite("jz", self.jz)

    @property
    def lattice(self) -> Lattice:
        return Lattice((self.n_sites,), self.periodic)

    def strings(self) -> list[PauliTerm]:
        return on_bonds(self.nearest_bonds(), {"xx": self.jxy, "yy": self.jxy, "zz": self.jz})


@dataclass
class SquareXXZ(SpinSystem):
    """H = Σ_<ij> [Jxy (σx_i σx_j + σy_i σy_j) + Jz σz_i σz_j] on a length_y × length_x square lattice.

    Attributes:
        length_x, length_y: extents; site = y * length_x + x.
        periodic: wrap both directions (then both extents must be at least 3, or bonds would double).
        jxy, jz: couplings; jxy = jz is the Heisenberg model.

    Raises:
        ConfigError: extents too small for the boundary, or couplings that are not finite.
    """

    kind: str = "square_xxz"
    length_x: int = MISSING
    length_y: int = MISSING
    periodic: bool = MISSING
    jxy: float = MISSING
    jz: float = MISSING

    def __post_init__(self) -> None:
        checks.one_of("kind", self.kind, ["square_xxz"])
        low = 3 if self.periodic else 1
        checks.at_least("length_x", self.length_x, low)
        checks.at_least("length_y", self.length_y, low)
        checks.between("length_x * system.length_y", self.size, 2, MOST_SITES)
        checks.finite("jxy", self.jxy)
        checks.finite("jz", self.jz)

    @property
    def lattice(self) -> Lattice:
        return Lattice((self.length_x, self.length_y), self.periodic)

    def strings(self) -> list[PauliTerm]:
        return on_bonds(self.nearest_bonds(), {"xx": self.jxy, "yy": self.jxy, "zz": self.jz})
