"""A system that is given by its Pauli strings alone: a Hamiltonian of one's own (torch-free)."""

from __future__ import annotations

from dataclasses import dataclass

from omegaconf import MISSING

from pipeline.base.config import checks
from pipeline.base.errors import ConfigError
from pipeline.spin.systems import MOST_BONDS, MOST_COUPLING, MOST_SITES, SpinSystem
from pipeline.spin.terms import PauliTerm
from pipeline.spin.written import letters, read_string, write_string


@dataclass
class PauliStrings(SpinSystem):
    """H = Σ_k c_k Π_i σ^{a_ki}_i, real: an even number of σy in every string.

    It has no lattice: neighbours are the sites of strings of two matrices. Equal strings are added up and put in
    order, so that the same H has the same key however it is written.

    Attributes:
        n_sites: N, from 1.
        terms: strings as text, ``-1.0 Z0 Z1``, total energy; sites from 0 to N - 1.

    Raises:
        ConfigError: no string, or one that is not of that form, leaves the sites, has an odd number of σy (H would be
            complex) or a coefficient that is too large.
    """

    kind: str = "pauli_strings"
    n_sites: int = MISSING
    terms: list[str] = MISSING

    def __post_init__(self) -> None:
        checks.one_of("kind", self.kind, ["pauli_strings"])
        checks.between("n_sites", self.n_sites, 1, MOST_SITES)
        if not 1 <= len(self.terms) <= MOST_BONDS:
            raise ConfigError("terms", f"({len(self.terms)} strings)", f"must be 1 to {MOST_BONDS} strings")
        sums: dict[str, PauliTerm] = {}
        for number, text in enumerate(self.terms):
            term = self._read(f"terms[{number}]", text)
            before = sums.get(letters(term))
            total = term.coefficient + (before.coefficient if before else 0.0)
            sums[letters(term)] = PauliTerm(total, term.paulis, term.sites)
        ordered = sorted(sums.values(), key=lambda term: (term.sites, term.paulis))
        for term in ordered:
            checks.within("terms", term.coefficient, MOST_COUPLING)
        self.terms = [write_string(term) for term in ordered]

    def _read(self, key: str, text: str) -> PauliTerm:
        try:
            term = read_string(text)
        except ValueError as error:
            raise ConfigError(key, text, str(error)) from error
        if term.sites[-1] >= self.n_sites:
            raise ConfigError(key, text, f"site {term.sites[-1]} of n_sites={self.n_sites}: they are counted from 0")
        if term.paulis.count("y") % 2:
            raise ConfigError(key, text, "an odd number of Y makes H complex; it must be a real matrix")
        checks.within(key, term.coefficient, MOST_COUPLING)
        return term

    @property
    def size(self) -> int:
        return self.n_sites

    def strings(self) -> list[PauliTerm]:
        return [read_string(text) for text in self.terms]
