"""Typed configuration of spin systems: geometry and couplings (torch-free). Values live in ``conf/``.

Pauli matrices and total energies throughout; sites are numbered row by row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from omegaconf import MISSING

from pipeline.base.config import checks
from pipeline.base.errors import ConfigError
from pipeline.spin import lattice

SITES_A_WORD = 62
"""A basis state of this many spins fits one signed 64-bit word."""

MOST_SITES = 4096
"""Nothing here treats more, and a slip of the keyboard should not fill the memory with bonds."""


@dataclass
class SpinSystem:
    """Base of all spin systems; ``version`` enters the keys of everything computed for the system."""

    version: ClassVar[int] = 1

    @property
    def size(self) -> int:
        """Number of spins N."""
        raise NotImplementedError

    def bonds(self) -> list[lattice.Bond]:
        """Interacting pairs, each once."""
        raise NotImplementedError

    def nearest_bonds(self) -> list[lattice.Bond]:
        """Pairs of nearest neighbours of the lattice, each once, whether they interact or not."""
        raise NotImplementedError


def must_be_spins(method: str, system: object) -> SpinSystem:
    """``system`` as a spin system; ConfigError for ``method`` on anything else."""
    if not isinstance(system, SpinSystem):
        allowed = f"works on spin systems, not on {getattr(system, 'kind', system)}"
        raise ConfigError("method", method, allowed, whole=True)
    return system


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

    @property
    def size(self) -> int:
        return self.n_sites

    @property
    def all_to_all(self) -> bool:
        """Every pair interacts."""
        return self.range == self.n_sites // 2

    def bonds(self) -> list[lattice.Bond]:
        return lattice.chain_bonds(self.n_sites, self.range)

    def nearest_bonds(self) -> list[lattice.Bond]:
        return lattice.chain_bonds(self.n_sites, 1)


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

    @property
    def size(self) -> int:
        return self.n_sites

    def bonds(self) -> list[lattice.Bond]:
        return lattice.chain_bonds(self.n_sites, self.range, periodic=False)

    def nearest_bonds(self) -> list[lattice.Bond]:
        return lattice.chain_bonds(self.n_sites, 1, periodic=False)


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
    def size(self) -> int:
        return self.length_x * self.length_y

    def bonds(self) -> list[lattice.Bond]:
        return lattice.square_bonds(self.length_x, self.length_y, self.periodic)

    def nearest_bonds(self) -> list[lattice.Bond]:
        return self.bonds()


@dataclass
class HeisenbergSystem(SpinSystem):
    """H = J1 Σ_<ij> σ_i·σ_j + J2 Σ_<<ij>> σ_i·σ_j in Pauli matrices: four times the energy of spins S = σ/2.

    J1 > 0 is antiferromagnetic; J2 = 0 is the Heisenberg model, and then ``bonds`` has nearest neighbours only.
    """

    def next_nearest_bonds(self) -> list[lattice.Bond]:
        """Pairs that J2 couples, each once, none of them a nearest-neighbour pair."""
        raise NotImplementedError

    def coupled_bonds(self) -> list[tuple[float, lattice.Bond]]:
        """(J, (i, j)) of every interacting pair."""
        raise NotImplementedError

    def bonds(self) -> list[lattice.Bond]:
        return sorted(bond for _, bond in self.coupled_bonds())


@dataclass
class ChainHeisenberg(HeisenbergSystem):
    """Chain H = J1 Σ_i σ_i·σ_{i+1} + J2 Σ_i σ_i·σ_{i+2}, periodic or open.

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
    def size(self) -> int:
        return self.n_sites

    def nearest_bonds(self) -> list[lattice.Bond]:
        return lattice.chain_bonds(self.n_sites, 1, self.periodic)

    def next_nearest_bonds(self) -> list[lattice.Bond]:
        nearest = set(self.nearest_bonds())
        return [bond for bond in lattice.chain_bonds(self.n_sites, 2, self.periodic) if bond not in nearest]

    def coupled_bonds(self) -> list[tuple[float, lattice.Bond]]:
        return _coupled(self, self.j1, self.j2)


@dataclass
class SquareHeisenberg(HeisenbergSystem):
    """J1-J2 model on a length_y × length_x square lattice, J2 along both diagonals of every plaquette.

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
    def size(self) -> int:
        return self.length_x * self.length_y

    def nearest_bonds(self) -> list[lattice.Bond]:
        return lattice.square_bonds(self.length_x, self.length_y, self.periodic)

    def next_nearest_bonds(self) -> list[lattice.Bond]:
        return lattice.square_diagonals(self.length_x, self.length_y, self.periodic)

    def coupled_bonds(self) -> list[tuple[float, lattice.Bond]]:
        return _coupled(self, self.j1, self.j2)


def _coupled(system: HeisenbergSystem, j1: float, j2: float) -> list[tuple[float, lattice.Bond]]:
    """Nearest and, where J2 does not vanish, next-nearest pairs with their couplings."""
    further = [(j2, bond) for bond in system.next_nearest_bonds()] if j2 else []
    return [(j1, bond) for bond in system.nearest_bonds()] + further
