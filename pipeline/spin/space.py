"""What a sampler draws in: sites, copies, what is conserved and which pairs may be exchanged (torch-free)."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.spin.lattice import Bond
from pipeline.spin.symmetry.charges import conserves_magnetisation
from pipeline.spin.systems import SpinSystem
from pipeline.spin.terms import pauli_terms


@dataclass(frozen=True)
class Space:
    """Configurations of ``copies`` times ``sites`` spins, one copy after the other.

    Attributes:
        sites: N.
        magnetisation: Σ σz of each copy where moves that keep it begin: 0, or 1 for odd N; None where the Hamiltonian
            does not conserve it.
        exchange_pairs: neighbours within each copy, every pair once.
        copies: K, of as many states as are treated at once.
        sector: Σ σz of each copy in all configurations that count, for instance because a training explored no others;
            None: any.
        system: one copy, for samplers that ask where its sites are and which symmetries it has; None: they cannot.
    """

    sites: int
    magnetisation: int | None
    exchange_pairs: tuple[Bond, ...]
    copies: int = 1
    sector: int | None = None
    system: SpinSystem | None = None

    @property
    def extents(self) -> tuple[int, ...]:
        """Of the lattice of one copy, (length_x, length_y) or (N,); (N,) too where no lattice is known."""
        lattice = None if self.system is None else self.system.lattice
        return (self.sites,) if lattice is None else lattice.extents

    @property
    def size(self) -> int:
        """Spins of a configuration, K N."""
        return self.copies * self.sites


def space_of(system: SpinSystem, copies: int = 1) -> Space:
    """The space of ``copies`` of ``system``, from its Pauli strings and its lattice."""
    n, pairs = system.size, system.nearest_bonds()
    magnetisation = n % 2 if conserves_magnetisation(pauli_terms(system)) else None
    shifted = tuple((i + copy * n, j + copy * n) for copy in range(copies) for i, j in pairs)
    return Space(n, magnetisation, shifted, copies, system=system)
