"""Levels and overlaps from records of two states that are written out: errors, doubts, phases."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipeline.spin.vmc.levels import _mixed, estimates

UNWEIGHTED = {"log_weight": 0.0, "draws": 50, "ess": 1.0}


def kept(matrix: Any, overlap: Any, norms: Any = (0.0, 0.0), **more: Any) -> dict[str, Any]:
    """A record of two states with one block, or with those of ``matrix``, (blocks, 2, 2)."""
    blocks = np.asarray(matrix, dtype=float).reshape(-1, 1, 2, 2)
    return {"matrices": blocks, "columns": np.array(norms), "overlap_matrix": np.asarray(overlap), **more}


def test_errors_of_levels_are_over_chains_or_unknown() -> None:
    """Two chains are too few, however many batches they are cut into."""
    rng = np.random.default_rng(1)
    records = [kept(np.diag([-2.0, 1.0]) + 0.1 * rng.normal(size=(2, 2, 2)), np.eye(2)) for _ in range(6)]
    found, notes = estimates(records, "chains", ["energy"])
    assert found[0].sigma is None
    assert found[0].doubt == "only 2 chains"
    assert "averaged over 2 chains" in notes[0]


def test_levels_of_few_effective_draws_are_in_doubt() -> None:
    rng = np.random.default_rng(1)
    worth = {"log_weight": 0.0, "draws": 50, "ess": 0.1}
    records = [kept(np.diag([-2.0, 1.0]) + 0.1 * rng.normal(size=(2, 2)), np.eye(2), **worth) for _ in range(10)]
    found, _ = estimates(records, "weighted", ["energy"])
    assert [one.doubt for one in found[:2]] == ["only 50 effective samples"] * 2
    found, _ = estimates([one | {"ess": 1.0} for one in records], "weighted", ["energy"])
    assert found[0].doubt == ""


def test_overlaps_are_averaged_with_their_phases() -> None:
    """Noise of any phase averages out, whatever the columns of a batch are scaled by."""
    phases = np.exp(2j * np.pi * np.arange(8) / 8)
    records = []
    for k, phase in enumerate(phases):
        norms = np.array([0.3 * k, -0.2 * k])
        matrix = np.array([[1.0, 0.2 + 0.4 * phase], [0.2 + 0.4 * phase.conjugate(), 1.0]])
        scale = np.exp(-norms)
        records.append(kept(np.diag([-2.0, 1.0]), 7.0 * matrix * np.outer(scale, scale), norms, **UNWEIGHTED))
    found = {one.name: one for one in estimates(records, "weighted", ["energy"])[0]}
    assert found["overlap_0_1"].value == pytest.approx(0.2)
    assert found["overlap_0_1"].sigma == pytest.approx(0.4 / np.sqrt(2 * 7), rel=0.1)
    same = {one.name: one for one in estimates([records[0]] * 8, "weighted", ["energy"])[0]}
    assert same["overlap_0_1"].sigma is None
    assert "same value" in same["overlap_0_1"].doubt
    broken = [*records[:-1], records[-1] | {"overlap_matrix": np.full((2, 2), np.nan)}]
    found_, notes = estimates(broken, "weighted", ["energy"])
    assert not any(one.name.startswith("overlap") for one in found_)
    assert "not finite in 1 of 8 batches" in notes[-1]


def test_nearly_degenerate_levels_from_draws_are_in_doubt() -> None:
    rng = np.random.default_rng(1)
    records = [kept(-1.0 * np.eye(2) + 0.1 * rng.normal(size=(2, 2)), np.eye(2), **UNWEIGHTED) for _ in range(10)]
    found, _ = estimates(records, "weighted", ["energy"])
    assert all("same within errors" in one.doubt for one in found[:2])
    # relative to the largest: a level at zero is the same as one next to it
    exact, _ = estimates([kept(np.diag([0.0, 1e-9]) + 0.0, np.eye(2))], "exact", ["energy"])
    assert exact[0].doubt == ""
    assert _mixed(0, np.array([0.0, 1e-9, 5.0]), None)
    assert not _mixed(0, np.array([0.0, 1e-3, 5.0]), None)
