"""The table of a run against references that vanish: by symmetry, but for rounding, or of a degenerate level."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from pipeline.base.numbers.result import Estimate, Result
from pipeline.stages.report import Row, facts


def shown(value: float, reference: Estimate | None) -> tuple[str, str]:
    """Relative error and verdict of an exact number of ours."""
    cells = Row(Estimate("nearest_correlation", value, 0.0), reference).cells()
    return cells[4], cells[5]


def test_errors_of_a_run() -> None:
    """A paramagnet has no correlation; QuSpin finds 1.9e-16 of it."""
    rounding = Estimate("nearest_correlation", 1.87350135405e-16, 0.0, bound="exact")
    assert shown(-1.39e-05, rounding) == ("-1.4e-05 (absolute)", "below")
    assert shown(-2e-16, rounding) == ("-3.9e-16 (absolute)", "agrees")
    assert shown(0.25, Estimate("nearest_correlation", 0.0, 0.0)) == ("+2.5e-01 (absolute)", "above")
    assert shown(0.25, Estimate("nearest_correlation", 0.5, 0.0)) == ("-5.0e-01", "below")
    assert shown(0.25, None) == ("–", "–")


def test_notes_of_a_reference_are_told_apart() -> None:
    """Both may have chains that are too short; a run without a method of its own is its reference."""

    def entry(*notes: str) -> SimpleNamespace:
        return SimpleNamespace(result=lambda: Result(notes=notes))

    theirs = entry("the chains differ", "Reference: a book.")
    both: Any = SimpleNamespace(last=lambda _: None, inferred=entry("chains are short"), reference=theirs)
    assert facts(both) == ["chains are short", "reference: the chains differ", "Reference: a book."]
    alone: Any = SimpleNamespace(last=lambda _: None, inferred=None, reference=theirs)
    assert facts(alone) == ["the chains differ", "Reference: a book."]
