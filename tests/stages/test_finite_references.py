"""A baseline that finds NaN or infinity is an error, never a finished reference."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.base.contracts import Record
from pipeline.base.numbers.result import Estimate, Result
from pipeline.base.store.files import checksum, sha256
from pipeline.gauge.reweighting import Reweighting
from pipeline.spin.exact.free_fermions import FreeFermions
from pipeline.stages.cli import main

CHAIN = ["stages=[baseline]", "system=chain_tfim", "system.n_sites=4", "system.range=1", "baseline=free_fermions"]


def run(results: Path, *overrides: str) -> int:
    return main([*overrides, "tracker=none", "progress=false", f"results_dir={results}"])


def finished(results: Path) -> list[Path]:
    return list((results / "_store" / "baseline").glob("*/result.json"))


def found(value: float, sigma: float | None = 0.0) -> Result:
    return Result((Estimate("energy", value, sigma, unit="total", bound="exact"),))


@pytest.mark.parametrize(
    ("result", "said"),
    [
        (found(math.nan), "energy is nan"),
        (found(-math.inf), "energy is -inf"),
        (found(-1.0, math.nan), "the error of energy is nan"),
    ],
)
def test_what_is_not_finite_is_refused_every_time(
    result: Result, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(FreeFermions, "run", lambda self, system: result)
    for _ in range(2):
        assert run(tmp_path, *CHAIN) == 3
        assert f"chain_tfim baseline free fermions: {said}; it is not kept as a reference" in capsys.readouterr().err
        assert finished(tmp_path) == []
    monkeypatch.undo()
    assert run(tmp_path, *CHAIN) == 0


def test_a_solver_that_leaves_the_range_of_numbers_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for error in (OverflowError("too large"), np.linalg.LinAlgError("no convergence")):

        def fail(self: Any, system: Any, error: Exception = error) -> Result:
            raise error

        monkeypatch.setattr(FreeFermions, "run", fail)
        assert run(tmp_path, *CHAIN) == 3
        assert f"free fermions: {error}" in capsys.readouterr().err
    assert finished(tmp_path) == []


def test_a_reference_with_nan_from_before_is_not_used(tmp_path: Path) -> None:
    assert run(tmp_path, *CHAIN) == 0
    (path,) = finished(tmp_path)
    good = path.read_text()
    path.write_text(json.dumps(found(math.nan).to_json()))
    status = json.loads((path.parent / "status.json").read_text())
    status["files"]["result.json"] = sha256(path)
    status.pop("checksum")
    (path.parent / "status.json").write_text(json.dumps({**status, "checksum": checksum(status)}))
    assert run(tmp_path, *CHAIN) == 0
    assert path.read_text() == good


def test_weights_that_overflow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Arrays in the records of a Monte Carlo, which the loop does not look into."""

    def broken(self: Reweighting, state: Any, k: int) -> Record:
        numbers: Sequence[float] = [1.0, 2.0]
        return {"log_weight": np.array([math.nan, 0.0]), "plaquette": np.array(numbers)} | {
            "topological_charge": np.array(numbers), "volume": 16
        }  # fmt: skip

    monkeypatch.setattr(Reweighting, "measure", broken)
    few = ["baseline.reweighting.measurements=2", "baseline.reweighting.configurations=2"]
    system = ["system=schwinger", "system.length=4", "baseline=reweighting"]
    assert run(tmp_path, "stages=[baseline]", *system, *few) == 3
    assert "plaquette is nan" in capsys.readouterr().err
    assert finished(tmp_path) == []


@pytest.mark.parametrize("baseline", ["free_fermions", "quspin", "collective_spin", "qmc", "dmrg", "auto"])
def test_couplings_at_the_end_of_the_range(baseline: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line, and nothing that looks like a number."""
    reach = 2 if baseline == "collective_spin" else 1
    word = ["stages=[baseline]", "system=chain_tfim", "system.n_sites=4", f"system.range={reach}"]
    assert run(tmp_path, *word, f"baseline={baseline}", "system.coupling=1e308") in (2, 3)
    output = capsys.readouterr()
    assert output.err.count("error:") == 1
    assert "unexpected" not in output.err
    assert "system.coupling=1e+308 is larger than 1e+300" in output.err
    assert output.out == ""
    assert finished(tmp_path) == []
