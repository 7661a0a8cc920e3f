"""What a Hamiltonian conserves, read from its Pauli strings."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Sequence

from pipeline.spin.terms import PauliTerm

_NEXT = {"x": "y", "y": "z", "z": "x"}


def conserves_spin_flip(terms: Sequence[PauliTerm]) -> bool:
    """True if every string commutes with Π_i σx_i, i.e. holds an even number of σy and σz."""
    return all((len(term.paulis) - term.paulis.count("x")) % 2 == 0 for term in terms)


def is_real(terms: Sequence[PauliTerm]) -> bool:
    """True if every string holds an even number of σy, so that H is a real matrix."""
    return all(term.paulis.count("y") % 2 == 0 for term in terms)


def conserves_magnetisation(terms: Sequence[PauliTerm]) -> bool:
    """True if H commutes with Σ σz, i.e. connects only basis states of the same Σ σz (U(1))."""
    return _commutes_with_total(terms, "z")


def conserves_total_spin(terms: Sequence[PauliTerm]) -> bool:
    """True if H commutes with all rotations of the spins (SU(2)), as a sum of J_ij σ_i·σ_j does.

    Every multiplet then has one member with Σ σz = 0 (N even) or ±1 (N odd), so that these states hold all energies.
    """
    return all(_commutes_with_total(terms, axis) for axis in "zx")


def _commutes_with_total(terms: Sequence[PauliTerm], axis: str) -> bool:
    """True if [Σ_i σ^axis_i, H] = 0, by the strings of the commutator: [σa, σb] = 2i σc for a, b, c in cyclic order."""
    commutator: dict[tuple[tuple[int, str], ...], list[float]] = defaultdict(list)
    for term in terms:
        string = sorted(zip(term.sites, term.paulis, strict=True))
        for k, (site, pauli) in enumerate(string):
            if pauli != axis:
                forward = pauli == _NEXT[axis]
                other = (site, _NEXT[pauli] if forward else _NEXT[axis])
                commutator[*string[:k], other, *string[k + 1 :]].append(
                    term.coefficient if forward else -term.coefficient
                )
    # Correctly rounded sums: coefficients that cancel do so whatever their order.
    return not any(math.fsum(coefficients) for coefficients in commutator.values())


def ladder_strings(terms: Sequence[PauliTerm]) -> list[tuple[complex, str, tuple[int, ...]]]:
    """H in σ± = (σx ± iσy)/2 and σz: coefficient, letters ``+-z`` and sites in increasing order of each string.

    What cancels is left out. Coefficients are floats where they are real.
    """
    phases = {("x", "+"): 1, ("x", "-"): 1, ("y", "+"): -1j, ("y", "-"): 1j, ("z", "z"): 1}
    sums: dict[tuple[str, tuple[int, ...]], list[complex]] = defaultdict(list)
    for term in terms:
        placed = sorted(zip(term.sites, term.paulis, strict=True))
        sites, paulis = tuple(site for site, _ in placed), [pauli for _, pauli in placed]
        for letters in itertools.product(*("z" if pauli == "z" else "+-" for pauli in paulis)):
            phase = math.prod(phases[pair] for pair in zip(paulis, letters, strict=True))
            sums["".join(letters), sites].append(phase * term.coefficient)
    found: list[tuple[complex, str, tuple[int, ...]]] = []
    for (word, sites), parts in sums.items():
        coefficient = complex(math.fsum(part.real for part in parts), math.fsum(part.imag for part in parts))
        if coefficient:
            found.append((coefficient if coefficient.imag else coefficient.real, word, sites))
    return found
