"""Matrix elements of a Pauli-string Hamiltonian in the σz basis, batched, on any device."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor

from pipeline.spin.terms import PauliTerm


class _SignedSums:
    """Sums of coefficient * Π_k s_{sites_k} over terms, one sum per group."""

    def __init__(self, entries: Sequence[tuple[int, float, tuple[int, ...]]], groups: int, device: str) -> None:
        by_order: dict[int, list[tuple[int, float, tuple[int, ...]]]] = defaultdict(list)
        for entry in entries:
            by_order[len(entry[2])].append(entry)
        self.constant = torch.zeros(groups, dtype=torch.float64, device=device)
        for group, coefficient, _ in by_order.pop(0, []):
            self.constant[group] += coefficient
        self.orders = [
            (
                torch.tensor([sites for _, _, sites in rows], device=device),
                torch.tensor([c for _, c, _ in rows], dtype=torch.float64, device=device),
                torch.tensor([g for g, _, _ in rows], device=device),
            )
            for _, rows in sorted(by_order.items())
        ]

    def __call__(self, spins: Tensor) -> Tensor:
        total = self.constant.expand(spins.shape[0], -1).clone()
        for sites, coefficients, groups in self.orders:
            total.index_add_(1, groups, spins[:, sites].prod(-1, dtype=torch.float64) * coefficients)
        return total


class Hamiltonian:
    """H = Σ_t c_t Π σ, with strings grouped by the set of sites that they flip.

    Every basis state is connected to itself and to one state per group, so elements come as (batch, groups) arrays.

    Args:
        terms: Pauli strings; an odd number of σy in one string would make H complex.
        n_sites: number of spins N.
        device: where the tables live; inputs must be on the same device.

    Raises:
        ValueError: a string with letters other than x, y, z, an odd number of σy, repeated or out-of-range sites.
    """

    def __init__(self, terms: Sequence[PauliTerm], n_sites: int, device: str = "cpu") -> None:
        self.terms, self.n_sites, self.device = tuple(terms), n_sites, device
        groups: dict[tuple[int, ...], int] = {}
        diagonal, off_diagonal = [], []
        for term in terms:
            flips, signs, coefficient = _split(term, n_sites)
            if flips:
                off_diagonal.append((groups.setdefault(flips, len(groups)), coefficient, signs))
            else:
                diagonal.append((0, coefficient, signs))
        self.flip_masks = torch.zeros((len(groups), n_sites), dtype=torch.bool, device=device)
        for flips, group in groups.items():
            self.flip_masks[group, list(flips)] = True
        self._pairs = torch.zeros((n_sites, n_sites), dtype=torch.float64, device=device)
        rest = []
        for entry in diagonal:
            if len(entry[2]) == 2:
                self._pairs[entry[2]] += entry[1]
            else:
                rest.append(entry)
        self._diagonal = _SignedSums(rest, 1, device)
        self._off_diagonal = _SignedSums(off_diagonal, len(groups), device)

    def to(self, device: str) -> Hamiltonian:
        """The same Hamiltonian with its tables on ``device``."""
        return self if device == self.device else Hamiltonian(self.terms, self.n_sites, device)

    def diagonal(self, spins: Tensor) -> Tensor:
        """⟨x|H|x⟩ for spins ±1 of shape (B, N), any dtype; returns (B,) float64."""
        s = spins.double()
        return self._diagonal(spins)[:, 0] + ((s @ self._pairs) * s).sum(-1)

    def off_diagonal(self, spins: Tensor) -> Tensor:
        """⟨x|H|x ⊕ mask_k⟩ for every flip group k; (B, N) → (B, K) float64."""
        return self._off_diagonal(spins)


def _split(term: PauliTerm, n_sites: int) -> tuple[tuple[int, ...], tuple[int, ...], float]:
    """Flipped sites, sites whose sign multiplies the element, and the real coefficient.

    With the bra state s: ⟨s|σy|-s⟩ = -i s, so a pair of σy contributes -1 times both signs.
    """
    if not set(term.paulis) <= set("xyz"):
        raise ValueError(f"{term}: Pauli matrices are x, y and z")
    if len(set(term.sites)) != len(term.sites) or len(term.sites) != len(term.paulis):
        raise ValueError(f"{term}: sites must be distinct, one for each Pauli matrix")
    if not all(0 <= site < n_sites for site in term.sites):
        raise ValueError(f"{term}: site outside 0..{n_sites - 1}")
    number_of_y = term.paulis.count("y")
    if number_of_y % 2:
        raise ValueError(f"{term}: an odd number of σy makes the Hamiltonian complex")
    flips = tuple(sorted(s for p, s in zip(term.paulis, term.sites, strict=True) if p in "xy"))
    signs = tuple(sorted(s for p, s in zip(term.paulis, term.sites, strict=True) if p in "yz"))
    return flips, signs, term.coefficient * (-1) ** (number_of_y // 2)
