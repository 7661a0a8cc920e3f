"""A Hamiltonian as a list of Pauli strings: the one description from which every solver is built.

Our connected elements, QuSpin, TeNPy and the dense matrices of the tests all read :func:`pauli_terms`, and are
tested against each other. Torch-free.
"""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.spin.systems import ChainTFIM, HeisenbergSystem, OpenChainTFIM, SpinSystem, SquareTFIM


@dataclass(frozen=True)
class PauliTerm:
    """``coefficient * prod_k sigma^{paulis[k]}_{sites[k]}`` with ``paulis`` in {x, y, z}; sites are distinct."""

    coefficient: float
    paulis: str
    sites: tuple[int, ...]


def pauli_terms(system: SpinSystem) -> list[PauliTerm]:
    """Pauli strings of ``system``, total energy.

    H = -V Σ σzσz - h Σ σx for the transverse-field Ising models, Σ J (σxσx + σyσy + σzσz) for the Heisenberg models.

    Raises:
        TypeError: a system this function does not know.
    """
    if isinstance(system, ChainTFIM | OpenChainTFIM | SquareTFIM):
        bonds = [PauliTerm(-system.coupling, "zz", bond) for bond in system.bonds()]
        return bonds + [PauliTerm(-system.field, "x", (i,)) for i in range(system.size)]
    if isinstance(system, HeisenbergSystem):
        return [PauliTerm(j, 2 * axis, bond) for j, bond in system.coupled_bonds() for axis in "xyz"]
    raise TypeError(f"no Pauli terms for {type(system).__name__}")


def flipped(term: PauliTerm) -> frozenset[int]:
    """Sites that ``term`` flips."""
    return frozenset(site for pauli, site in zip(term.paulis, term.sites, strict=True) if pauli != "z")
