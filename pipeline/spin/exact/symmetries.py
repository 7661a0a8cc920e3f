"""What can be proven about a Hamiltonian from its Pauli strings alone: the ground state's symmetry sector.

If every off-diagonal element in the σz basis is <= 0 (a stoquastic H), H has a ground state ψ with ψ(s) >= 0
(Perron-Frobenius). For any permutation g of basis states that commutes with H, Σ_g gψ is again a ground state and does
not vanish, so that a ground state lies in the trivial sector of every such symmetry: momentum 0, even under
reflections and under the spin flip Π σx. The sign of the σzσz couplings plays no role in this.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.spin.schema import ChainTFIM, SpinSystem, SquareTFIM
from pipeline.spin.terms import PauliTerm

Permutation = tuple[int, ...]
"""``permutation[i]`` is the site to which site ``i`` goes."""

_String = tuple[tuple[int, str], ...]


def is_stoquastic(terms: Sequence[PauliTerm]) -> bool:
    """True if the strings are products of σz alone or products of σx alone with coefficients <= 0.

    Sufficient, not necessary: False only means that nothing is proven.
    """
    for term in terms:
        diagonal = set(term.paulis) <= {"z"}
        lowering = set(term.paulis) <= {"x"} and term.coefficient <= 0
        if not (diagonal or lowering):
            return False
    return True


def conserves_spin_flip(terms: Sequence[PauliTerm]) -> bool:
    """True if every string commutes with Π_i σx_i, i.e. holds an even number of σy and σz."""
    return all((len(term.paulis) - term.paulis.count("x")) % 2 == 0 for term in terms)


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
    if isinstance(system, ChainTFIM):
        n = system.n_sites
        return {"translation": tuple((i + 1) % n for i in sites), "reflection": tuple(n - 1 - i for i in sites)}
    if isinstance(system, SquareTFIM):
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
