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

from pipeline.spin.exact.characters import Permutation
from pipeline.spin.schema import (
    ChainHeisenberg,
    ChainTFIM,
    OpenChainTFIM,
    SpinSystem,
    SquareHeisenberg,
    SquareTFIM,
)
from pipeline.spin.terms import PauliTerm

_String = tuple[tuple[int, str], ...]


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


def flipped(term: PauliTerm) -> frozenset[int]:
    """Sites that ``term`` flips."""
    return frozenset(site for pauli, site in zip(term.paulis, term.sites, strict=True) if pauli != "z")


def conserves_spin_flip(terms: Sequence[PauliTerm]) -> bool:
    """True if every string commutes with Π_i σx_i, i.e. holds an even number of σy and σz."""
    return all((len(term.paulis) - term.paulis.count("x")) % 2 == 0 for term in terms)


def is_real(terms: Sequence[PauliTerm]) -> bool:
    """True if every string holds an even number of σy, so that H is a real matrix."""
    return all(term.paulis.count("y") % 2 == 0 for term in terms)


def conserves_total_spin(terms: Sequence[PauliTerm]) -> bool:
    """True if ``terms`` are a sum of J_ij σ_i·σ_j, which commutes with all rotations of the spins (SU(2)).

    Every multiplet then has one member with Σ σz = 0 (N even) or ±1 (N odd), so that these states hold all energies.
    """
    couplings: dict[frozenset[int], dict[str, float]] = defaultdict(lambda: dict.fromkeys(("xx", "yy", "zz"), 0.0))
    for term in terms:
        if term.paulis not in ("xx", "yy", "zz"):
            return False
        couplings[frozenset(term.sites)][term.paulis] += term.coefficient
    return all(len(set(axes.values())) == 1 for axes in couplings.values())


def lattice_symmetries(system: SpinSystem, terms: Sequence[PauliTerm]) -> dict[str, Permutation]:
    """Generators of the lattice symmetries of ``system`` by name, each checked to leave ``terms`` unchanged.

    Translations and reflections (and x <-> y on a square); empty for a system of unknown geometry.
    """
    identity = tuple(range(system.size))
    known = _moved(terms, identity)
    found: dict[str, Permutation] = {}
    for name, permutation in _candidates(system).items():
        new = permutation != identity and permutation not in found.values()
        if new and _moved(terms, permutation) == known:
            found[name] = permutation
    return found


def _moved(terms: Sequence[PauliTerm], permutation: Permutation) -> list[tuple[_String, float]]:
    """Canonical form of ``terms`` after moving the sites by ``permutation``, for comparisons."""
    moved = []
    for term in terms:
        string = sorted((permutation[site], pauli) for site, pauli in zip(term.sites, term.paulis, strict=True))
        moved.append((tuple(string), term.coefficient))
    return sorted(moved)


def _candidates(system: SpinSystem) -> dict[str, Permutation]:
    """Permutations worth trying, from the geometry of the known systems."""
    sites = range(system.size)
    if isinstance(system, ChainTFIM | OpenChainTFIM | ChainHeisenberg):
        n = system.n_sites
        return {"translation": tuple((i + 1) % n for i in sites), "reflection": tuple(n - 1 - i for i in sites)}
    if isinstance(system, SquareTFIM | SquareHeisenberg):
        lx, ly = system.length_x, system.length_y
        candidates = {
            "translation_x": tuple(i // lx * lx + (i + 1) % lx for i in sites),
            "translation_y": tuple((i + lx) % (lx * ly) for i in sites),
            "reflection_x": tuple(i // lx * lx + lx - 1 - i % lx for i in sites),
            "reflection_y": tuple((ly - 1 - i // lx) * lx + i % lx for i in sites),
        }
        if lx == ly:
            candidates["transposition"] = tuple(i % lx * lx + i // lx for i in sites)
        return candidates
    return {}
