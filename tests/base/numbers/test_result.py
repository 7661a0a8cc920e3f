"""Results: what speaks for them, and what was written before all fields existed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.base.numbers.result import Curve, Estimate, Result

OLD = {
    "estimates": [
        *({"name": name, "value": 0.1 + 0.2, "sigma": None, "sigma_kind": "none"} for name in ("first", "second")),
    ],
    "curves": [{"name": "c", "x_name": "x", "y_name": "y", "x": [1], "y": [2], "sigma": [], "unit": "1"}],
    "notes": ["n"],
    "extra": {},
}


def test_round_trip_with_all_fields() -> None:
    result = Result(
        (Estimate("a", 0.1, ess=3.5), Estimate("b", 0.2, against="a")),
        (Curve.of("h", "x", "y", [0, 1], [2, 3], x_width=[1, 1]),),
        headline="b",
    )
    assert Result.from_json(json.loads(json.dumps(result.to_json()))) == result
    assert result.main == result.estimates[1]


def test_results_without_the_newer_fields_are_read() -> None:
    result = Result.from_json(OLD)
    assert result.main == Estimate("first", 0.1 + 0.2)
    assert (result.curves[0].x_width, result.estimates[0].against, result.headline) == ((), "", "")
    assert Result().main is None


def test_a_headline_that_is_no_estimate_is_an_error() -> None:
    with pytest.raises(KeyError, match="no estimate 'b'"):
        assert Result((Estimate("a", 0.1),), headline="b").main


COMMITTED = sorted(Path("results/references").glob("*.json"))


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.name)
def test_committed_results_are_read(path: Path) -> None:
    data = json.loads(path.read_text())["result"]
    result = Result.from_json(data)
    assert result.main is not None
    assert [e.value for e in result.estimates] == [e["value"] for e in data["estimates"]]


def test_the_base_and_the_stages_know_no_physics() -> None:
    """No word of a paper's: what is shown, compared and called what is declared by methods.

    Left out: imports and the table of ``register.py``, which name the parts, names of packages and that of an
    instruction of processors, which rounds down.
    """
    found = []
    for path in [*Path("pipeline/base").rglob("*.py"), *Path("pipeline/stages").rglob("*.py")]:
        for line in path.read_text(encoding="utf-8").lower().splitlines():
            known = path.name == "register.py" or line.startswith("packages ")
            line = line.replace('builder, "floor"', "")
            if not known and any(word in line for word in ("energy", "energies", "spin", "lattice", "floor")):
                found.append(f"{path}: {line.strip()}")
    assert found == []


def test_deviations_of_samples_that_older_files_call_a_spread_are_none() -> None:
    older = Result((Estimate("a", 1.0, 0.1, spread=2.0, tau=0.7), Estimate("b", 1.0, 0.1, spread=2.0))).to_json()
    for estimate in older["estimates"]:
        del estimate["doubt"]
    read = Result.from_json(older)
    assert [estimate.spread for estimate in read.estimates] == [None, 2.0]
    assert all(estimate.reliable for estimate in read.estimates)
