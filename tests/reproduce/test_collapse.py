"""Whether a run collapsed to the aligned states, and what the report says about it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from reproduce.nf_nqs import claims
from reproduce.published import Published
from reproduce.tables import CellRow
from tests.reproduce.rows import Rows, done

ALIGNED = -435.0
REFERENCES = {"N30-L15": -435.517, "a": -6.0, "b": -7.0}


def state(cell: str, method: str, energy: float | None, sigma: float | None, magnetisation: float) -> list[CellRow]:
    common: Any = SimpleNamespace(artefact="nf_nqs/table1", cell=cell, method=method).__dict__
    return [
        CellRow(quantity="energy", unit="total", ours=energy, ours_sigma=sigma, **common),
        CellRow(quantity="absolute_magnetisation", unit="1", ours=magnetisation, **common),
    ]


@pytest.mark.parametrize(
    ("energy", "sigma", "magnetisation", "expected"),
    [
        (ALIGNED, 0.0, 1.0, True),
        (ALIGNED - 0.03, 0.0, 1.0, True),  # what is left of the flipped amplitudes
        (ALIGNED - 0.06, 0.0, 1.0, False),
        (ALIGNED + 0.01, 0.02, 1.0 - 1e-4, True),  # stray flips
        (ALIGNED + 0.2, 0.02, 1.0, False),
        (-435.43, 0.03, 0.9993, False),
        (ALIGNED, 0.0, 0.8, False),  # the energy alone is not enough
        (-10.0, 0.0, 1.0 / 3.0, False),  # a product state with domain walls
        (ALIGNED - 0.0086, None, 1.0, True),  # all samples are the same: their error is unknown
        (None, 0.0, 1.0, None),
    ],
)
def test_collapsed(energy: float | None, sigma: float | None, magnetisation: float, expected: bool | None) -> None:
    table: Any = Rows(state("N30-L15", "dense-ar", energy, sigma, magnetisation), (), REFERENCES)
    assert claims.collapsed(table, "N30-L15", "dense-ar", ALIGNED) is expected
    assert claims.collapsed(table, "N30-L15", "cnn-ar", ALIGNED) is None


def test_claim_counts_the_papers_methods_and_names_the_rows_that_escape() -> None:
    rows = state("a", "dense-ar", -5.0, 0.0, 1.0) + state("b", "dense-ar", -7.0, 0.1, 0.9)
    rows += state("a", "cnn-ar", -5.0, 0.0, 1.0) + state("a", "annealed-ar", -6.0, 0.01, 0.9)
    numbers = [_printed("a", "dense-ar", "-5"), _printed("b", "dense-ar", "-2")]
    runs = [done("a", "dense-ar"), done("a", "cnn-ar", ["train.ansatz.features: 512 → 16"])]
    table: Any = Rows(rows, numbers, REFERENCES, runs)
    claim = claims.autoregressive_collapse(table, {"a": -5.0, "b": -6.0})
    assert claim.seen == "in 2 of 3"
    assert "our Dense AR collapsed in 1 of 2 (not b)" in claim.evidence
    assert "our CNN AR, cut, collapsed in 1 of 1" in claim.evidence
    assert "our annealed AR collapsed in 0 of 1" in claim.evidence
    assert "1 of 2 printed energies are that of the all-up state" in claim.evidence
    assert "b dense-ar -2" in claim.evidence
    assert "(collapsed: 1 − |m| < 0.001 and" in claim.evidence
    assert "that it takes ∼30 updates is not judged" in claim.evidence


def test_claim_without_runs() -> None:
    table: Any = Rows([])
    claim = claims.autoregressive_collapse(table, {"a": -5.0})
    assert claim.seen == "not run"
    assert "no run of ours" in claim.evidence


def _printed(cell: str, method: str, text: str) -> Published:
    return Published("nf_nqs/table1", cell, method, "energy", text, 0.0, "total", "pauli", "stochastic", "Table I")
