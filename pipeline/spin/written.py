"""Pauli strings as text: ``-0.5 X0 Z1 X2`` is -0.5 σx_0 σz_1 σx_2 (torch-free)."""

from __future__ import annotations

import math
import re

from pipeline.spin.terms import PauliTerm

FORM = "is not of the form '-1.0 Z0 Z1': a coefficient (1 where it is left out), then letters X, Y, Z with their sites"

_LETTER = re.compile(r"([xyzXYZ])(\d{1,9})")


def read_string(text: str) -> PauliTerm:
    """The string that ``text`` spells, sites in increasing order.

    Raises:
        ValueError: in words, without the text itself: not of that form, a site twice, or a coefficient that is no
            finite number.
    """
    words = text.replace("*", " ").split()
    coefficient = 1.0
    if words and _LETTER.fullmatch(words[0]) is None:
        coefficient = _number(words.pop(0))
    found = [_LETTER.fullmatch(word) for word in words]
    if not found or not all(found):
        raise ValueError(FORM)
    placed = sorted((int(match[2]), match[1].lower()) for match in found if match)
    sites = tuple(site for site, _ in placed)
    if len(set(sites)) < len(sites):
        raise ValueError("names a site twice; multiply the matrices first: XY = iZ")
    return PauliTerm(coefficient, "".join(letter for _, letter in placed), sites)


def _number(word: str) -> float:
    try:
        value = float(word)
    except ValueError as error:
        raise ValueError(FORM) from error
    if not math.isfinite(value):
        raise ValueError("needs a finite coefficient")
    return value


def letters(term: PauliTerm) -> str:
    """``X0 Z1`` of a term, without its coefficient."""
    return " ".join(f"{letter.upper()}{site}" for letter, site in zip(term.paulis, term.sites, strict=True))


def write_string(term: PauliTerm) -> str:
    """Inverse of :func:`read_string`; the coefficient keeps all its bits."""
    return f"{float(term.coefficient)!r} {letters(term)}"
