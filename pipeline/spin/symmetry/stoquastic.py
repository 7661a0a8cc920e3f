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
from collections.abc import Sequence
from dataclasses import replace

from pipeline.spin.terms import PauliTerm, flipped


def is_stoquastic(terms: Sequence[PauliTerm]) -> bool:
    """True if for each set of flipped sites the string of σx alone outweighs, with a sign <= 0, all the others.

    The element between states that differ on these sites is c + Σ ± c', with c the coefficient of the string of σx and
    c' those of the strings that hold σy or σz as well; c <= -Σ |c'| makes it <= 0 for all signs. Sufficient, not
    necessary: False only means that nothing is proven.
    """
    lowering: dict[frozenset[int], float] = defaultdict(float)
    for term in terms:
        flips = flipped(term)
        if flips:
            lowering[flips] += term.coefficient if set(term.paulis) == {"x"} else abs(term.coefficient)
    return all(total <= 0 for total in lowering.values())


def stoquastic_form(terms: Sequence[PauliTerm]) -> list[PauliTerm] | None:
    """``terms`` after a conjugation by Π σz over some sites that makes them stoquastic; None where none is found.

    Strings of one or two σx fix the signs ε of their sites, c ε_i <= 0 and c ε_i ε_j <= 0, site after site along the
    couplings; the result is then checked. Terms that are stoquastic already come back unchanged.
    """
    if is_stoquastic(terms):
        return list(terms)
    nobody = -1  # the end of a string with a single σx; its sign is +1
    wanted: dict[int, dict[int, int]] = defaultdict(dict)
    for term in terms:
        if set(term.paulis) == {"x"} and len(term.sites) <= 2 and term.coefficient:
            i, j = (*term.sites, nobody)[:2]
            wanted[i][j] = wanted[j][i] = -1 if term.coefficient > 0 else 1
    signs: dict[int, int] = {}
    for root in sorted(wanted):
        waiting = [] if root in signs else [root]
        signs.setdefault(root, 1)
        while waiting:
            site = waiting.pop()
            for other, product in wanted[site].items():
                if other not in signs:
                    signs[other] = product * signs[site]
                    waiting.append(other)
    rotated = []
    for term in terms:
        sign = 1
        for site in flipped(term):
            sign *= signs.get(site, 1)
        rotated.append(replace(term, coefficient=sign * term.coefficient))
    return rotated if is_stoquastic(rotated) else None
