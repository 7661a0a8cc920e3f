"""Operators as sums of Pauli strings: a Hamiltonian of one's own, an observable."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import TypeAlias

from pipeline.base.errors import ConfigError, UserError
from pipeline.spin.pauli_strings import PauliStrings
from pipeline.spin.terms import PauliTerm
from pipeline.spin.written import letters, read_string, write_string

Strings: TypeAlias = "str | Operator | Mapping[str, float] | Iterable[str | tuple[float, str]]"
"""``"Z0 Z1"``; ``{"Z0 Z1": -1.0, "X0": -0.5}``; ``["-1.0 Z0 Z1", (-0.5, "X0")]``; an operator. All of it is summed."""


@dataclass(frozen=True)
class Operator:
    """A sum of Pauli strings, Σ_k c_k Π_i σ_i, on the sites 0 to ``n_sites`` - 1.

    Attributes:
        n_sites: N.
        strings: as text, ``-1.0 Z0 Z1``; equal ones added up, in order.
    """

    n_sites: int
    strings: tuple[str, ...]

    @property
    def overrides(self) -> tuple[str, ...]:
        """What asks for it as the system of a run, on the command line too."""
        listed = ",".join(f"'{text}'" for text in self.strings)
        return "system=pauli_strings", f"system.n_sites={self.n_sites}", f"system.terms=[{listed}]"

    def terms(self) -> list[PauliTerm]:
        """The strings as the pipeline has them."""
        return [read_string(text) for text in self.strings]


def hamiltonian(strings: Strings, n_sites: int | None = None) -> Operator:
    """A real Hamiltonian of Pauli strings, total energy, for ``nqs.run(system=...)``.

    Args:
        strings: see :data:`Strings`. ``X``, ``Y``, ``Z`` (or small letters) with the site behind; sites are counted
            from 0 and may stand in any order, each once in a string.
        n_sites: N; None: up to the last site that a string names.

    Raises:
        UserError: a string that cannot be read, leaves the sites, has an odd number of Y (the matrix would be
            complex), or a coefficient that is not finite or larger than 1e15; no strings.
    """
    terms = read(strings)
    if n_sites is not None and (isinstance(n_sites, bool) or not isinstance(n_sites, int)):
        raise UserError(f"hamiltonian: n_sites={n_sites!r}: must be an integer")
    last = max((term.sites[-1] for term in terms), default=0)
    return checked("hamiltonian", terms, last + 1 if n_sites is None else n_sites)


def checked(what: str, terms: Sequence[PauliTerm], n_sites: int) -> Operator:
    """The sum of ``terms`` on N sites, for ``what``.

    Raises:
        UserError: as for :func:`hamiltonian`.
    """
    try:
        system = PauliStrings(n_sites=n_sites, terms=[write_string(term) for term in terms])
    except ConfigError as error:
        raise UserError(f"{what}: {error}") from error
    return Operator(system.n_sites, tuple(system.terms))


def read(strings: Strings) -> list[PauliTerm]:
    """Terms of strings in any of their forms.

    Raises:
        UserError: one cannot be read.
    """
    if isinstance(strings, Operator):
        return strings.terms()
    if isinstance(strings, str):
        return [_read(strings)]
    if isinstance(strings, Mapping):
        return [_read(text, coefficient) for text, coefficient in strings.items()]
    if not isinstance(strings, Iterable):
        raise UserError(f"{strings!r}: strings are text such as 'Z0 Z1', a list of it, or {{'Z0 Z1': -1.0}}")
    terms = []
    for one in strings:
        if isinstance(one, tuple) and len(one) == 2:
            terms.append(_read(one[1], one[0]))
        else:
            terms.append(_read(one))
    return terms


def _read(text: object, coefficient: object = None) -> PauliTerm:
    if not isinstance(text, str):
        raise UserError(f"{text!r}: a string is text such as 'Z0 Z1', or a pair (coefficient, text)")
    try:
        term = read_string(text)
        if coefficient is None:
            return term
        if isinstance(coefficient, bool) or not isinstance(coefficient, Real):
            raise ValueError(f"has the coefficient {coefficient!r}, which is no real number")
        return read_string(write_string(PauliTerm(float(coefficient) * term.coefficient, term.paulis, term.sites)))
    except ValueError as error:
        raise UserError(f"{text!r}: {error}") from error


def named(terms: Iterable[PauliTerm]) -> str:
    """``Z0 Z1``, or how many strings there are."""
    listed = list(terms)
    if len(listed) == 1:
        return letters(listed[0]) if listed[0].coefficient == 1 else write_string(listed[0])
    return f"{len(listed)} strings"
