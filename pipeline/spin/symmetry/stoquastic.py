"""What can be proven about a Hamiltonian from its Pauli strings alone: the ground state's symmetry sector.

If every off-diagonal element in the σz basis is <= 0 (a stoquastic H), H has a ground state ψ with ψ(s) >= 0
(Perron-Frobenius). For any permutation g of basis states that commutes with H, Σ_g gψ is again a ground state and does
not vanish, so that a ground state lies in the trivial sector of every such symmetry: momentum 0, even under
reflections and under the spin flip Π σx. The sign of the σzσz couplings plays no role in this. The same holds within
the states of one Σ σz, where H conserves it.

Conjugation by Π σz over some of the sites turns σx, σy there into -σx, -σy. It changes neither the spectrum nor
anything diagonal in σz, and makes more models stoquastic: an antiferromagnet on a bipartite lattice (Marshall's rule)
or a transverse field of the other sign.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod

from pipeline.spin.lattice import sublattices
from pipeline.spin.symmetry.charges import is_real
from pipeline.spin.systems import SpinSystem
from pipeline.spin.terms import PauliTerm, flipped, pauli_terms


def is_stoquastic(terms: Sequence[PauliTerm]) -> bool:
    """True if for each set of flipped sites the string of σx alone outweighs, with a sign <= 0, all the others.

    The element between states that differ on these sites is c + Σ ± c', with c the coefficient of the string of σx and
    c' those of the strings that hold σy or σz as well; c <= -Σ |c'| makes it <= 0 for all signs. Sufficient, not
    necessary: False only means that nothing is proven, as for complex elements, of strings with an odd number of σy.
    """
    if not is_real(terms):
        return False
    lowering: dict[frozenset[int], float] = defaultdict(float)
    for term in terms:
        flips = flipped(term)
        if flips:
            lowering[flips] += term.coefficient if set(term.paulis) == {"x"} else abs(term.coefficient)
    return all(total <= 0 for total in lowering.values())


def stoquastic_form(terms: Sequence[PauliTerm]) -> list[PauliTerm] | None:
    """``terms`` after a conjugation by Π σz over some sites that makes them stoquastic; None where none is found.

    Terms that are stoquastic already come back unchanged.
    """
    signs = stoquastic_signs(terms)
    if signs is None:
        return None
    return _conjugated(terms, signs)


def marshall_form(system: SpinSystem) -> list[PauliTerm] | None:
    """Strings of ``system`` after a conjugation by Π σz over one sublattice of its nearest neighbours.

    Marshall's rule, as a prior where couplings are frustrated and no rule holds; energies stay what they are. None
    where the nearest neighbours have no two sublattices.
    """
    signs = sublattices(system.size, system.nearest_bonds())
    return None if signs is None else _conjugated(pauli_terms(system), dict(enumerate(signs)))


def _conjugated(terms: Sequence[PauliTerm], signs: Mapping[int, int]) -> list[PauliTerm]:
    """``terms`` with Π σz over the sites of sign -1 on both sides."""
    return [replace(term, coefficient=prod(signs[i] for i in flipped(term)) * term.coefficient) for term in terms]


def stoquastic_signs(terms: Sequence[PauliTerm]) -> dict[int, int] | None:
    """-1 on the sites over which :func:`stoquastic_form` takes Π σz, +1 elsewhere; None where none is found.

    Strings of one or two σx fix the signs ε of their sites, c ε_i <= 0 and c ε_i ε_j <= 0, site after site along the
    couplings; the result is then checked.
    """
    signs: dict[int, int] = defaultdict(lambda: 1)
    if is_stoquastic(terms):
        return signs
    nobody = -1  # the end of a string with a single σx; its sign is +1
    wanted: dict[int, dict[int, int]] = defaultdict(dict)
    for term in terms:
        if set(term.paulis) == {"x"} and len(term.sites) <= 2 and term.coefficient:
            i, j = (*term.sites, nobody)[:2]
            wanted[i][j] = wanted[j][i] = -1 if term.coefficient > 0 else 1
    for root in sorted(wanted):
        waiting = [] if root in signs else [root]
        signs[root] = signs.get(root, 1)
        while waiting:
            site = waiting.pop()
            for other, product in wanted[site].items():
                if other not in signs:
                    signs[other] = product * signs[site]
                    waiting.append(other)
    return signs if is_stoquastic(_conjugated(terms, signs)) else None


def overlapping_state(terms: Sequence[PauliTerm], size: int) -> tuple[int, ...] | None:
    """Spins ±1 of a basis state that is not orthogonal to the ground states of H; None where none is proven.

    H is taken to the basis of σx, where letters x and z change places, and conjugated there to a stoquastic form. The
    sum of the positive amplitudes of a ground state is its overlap with the uniform state of that basis, of which the
    rotations make a state with a definite σz on each site. So where H conserves Σ σz, a ground state lies in the
    sector of the state returned: the ferromagnetic or the Néel state, as long as σzσz is not the weaker coupling.
    """
    exchanged = {"x": "z", "y": "y", "z": "x"}
    rotated = []
    for term in terms:
        letters = "".join(exchanged[pauli] for pauli in term.paulis)
        rotated.append(replace(term, paulis=letters, coefficient=(-1) ** letters.count("y") * term.coefficient))
    signs = stoquastic_signs(rotated)
    return None if signs is None else tuple(signs[site] for site in range(size))
