"""An ansatz that a notebook brings: trained, found again, listed, and another one when its source changes."""

from __future__ import annotations

import linecache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import nqs
from pipeline.stages.compose import compose_run
from pipeline.stages.history import history
from pipeline.stages.recall import with_own
from tests.nqs.small_runs import small
from tests.spin import dense


def meanfield(scale: float = 1.0) -> type[nqs.WaveFunction]:
    class MeanField(nqs.WaveFunction):
        """log ψ(x) = Σ_i b_i s_i: a product state."""

        def __init__(self, config: Any, system: Any) -> None:
            super().__init__()
            self.b = nn.Parameter(scale * config.deviation * torch.randn(system.size))

        def log_amplitude(self, spins: Tensor) -> Tensor:
            return spins.to(self.b.dtype) @ self.b

    return MeanField


def test_a_product_state_finds_its_lowest_energy(tmp_path: Path) -> None:
    """H = -Σ (0.6 σz_i + 0.8 σx_i): -1 a site, by a product state; two settings, two runs."""
    nqs.ansatz("meanfield", deviation=0.1, version=1)(meanfield())
    strings = {f"{letter}{site}": -c for site in range(3) for letter, c in (("Z", 0.6), ("X", 0.8))}
    words = ("ansatz=meanfield", "train.steps=60", "optimizer=sr", "train.optimizer.lr=0.3", "train.dtype=float64")
    run = small(tmp_path, *words, system=nqs.hamiltonian(strings))
    assert run.energy.mean == pytest.approx(-3, abs=1e-4)
    state = nqs.load(run.key, results=tmp_path)
    assert state.expectation("Z0").mean == pytest.approx(0.6, abs=0.02)
    assert "meanfield on pauli_strings" in str(state)
    other = small(tmp_path, *words, "train.ansatz.deviation=0.2", "train.steps=1", system=nqs.hamiltonian(strings))
    assert other.key != run.key
    commands = [past.command for past in history([tmp_path])]
    assert any("ansatz=meanfield" in command and "train.ansatz.deviation=0.2" in command for command in commands)
    with pytest.raises(nqs.UserError, match=r"train\.ansatz\.deviatio: no such key \(did you mean"):
        small(tmp_path, "ansatz=meanfield", "train.ansatz.deviatio=1")


def test_an_edit_is_another_ansatz(tmp_path: Path) -> None:
    keys = []
    for version in (1, 1, 2):
        nqs.ansatz("edited", deviation=0.1, version=version)(meanfield())
        keys.append(small(tmp_path, "ansatz=edited", "system.n_sites=3").key)
    assert keys[0] == keys[1] != keys[2]
    nqs.ansatz("edited", deviation=0.1)(meanfield())
    assert small(tmp_path, "ansatz=edited", "system.n_sites=3").key not in keys


def test_a_state_of_an_older_version_is_not_asked(tmp_path: Path) -> None:
    nqs.ansatz("older", deviation=0.1, version=1)(meanfield())
    run = small(tmp_path, "ansatz=older", "system.n_sites=3")
    assert run.state.log_psi(dense.basis(3)).shape == (8,)
    nqs.ansatz("older", deviation=0.1, version=2)(meanfield())
    with pytest.raises(nqs.UserError, match="of another version of older"):
        nqs.load(run.key, results=tmp_path)


@pytest.mark.parametrize(
    ("name", "network", "settings", "message"),
    [
        ("rbm", None, {}, r"ansatz=rbm: is one of the project's own"),
        ("My ansatz", None, {}, r"ansatz=My ansatz: a name has small letters"),
        ("mine", nn.Linear, {}, r"ansatz=mine: .*Linear.* is no subclass of nqs\.WaveFunction"),
        ("mine", None, {"width": [1]}, r"train\.ansatz\.width=\[1\]: a setting is a number"),
        ("mine", None, {"states": 2}, r"train\.ansatz\.states=2: a setting is a number, .* of its own"),
    ],
)
def test_what_is_no_ansatz(name: str, network: Any, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(nqs.UserError, match=message):
        nqs.ansatz(name, **settings)(network or meanfield())


def test_a_class_without_source() -> None:
    kind = type("Typed", (nqs.WaveFunction,), {"__module__": "nowhere"})
    with pytest.raises(nqs.UserError, match="the source of Typed cannot be read; give a version=1"):
        nqs.ansatz("typed")(kind)


def in_a_notebook(bias: str) -> type[nqs.WaveFunction]:
    """As IPython runs a cell: the source is that of no file."""
    cell = f"class Cell(nqs.WaveFunction):\n    def log_amplitude(self, spins):\n        return {bias} * spins.sum(1)\n"
    name = f"<cell {bias}>"
    linecache.cache[name] = (len(cell), None, cell.splitlines(keepends=True), name)
    names: dict[str, Any] = {"nqs": nqs, "__name__": "__main__"}
    exec(compile(cell, name, "exec"), names)
    found: type[nqs.WaveFunction] = names["Cell"]
    return found


def test_the_source_of_a_cell_of_a_notebook_is_read() -> None:
    versions = []
    for bias in ("1.0", "1.0", "2.0"):
        nqs.ansatz("cell")(in_a_notebook(bias))
        run = compose_run(with_own(["method=vmc", "ansatz=cell", "system.n_sites=3"]))
        versions.append(type(run.train.ansatz).version)
    assert versions[0] == versions[1] != versions[2]
