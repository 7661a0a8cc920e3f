"""Commands whose numbers or verdicts were once wrong, from what is typed to what is printed; trainings are cut."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.stages import cli
from tests.spin import dense

CHAIN = ["system=open_chain_tfim", "method=vmc", "optimizer=sr"]
SHORT_TRAINING = "train.steps=120"
"""800 and 1500 steps in the report of the fault; the energy is exact to a few 1e-7 by then."""


@dataclass
class Line:
    """A line of the table that is printed, σ as it stands in the brackets."""

    value: float
    sigma: float | None
    verdict: str


Command = Callable[..., dict[str, Line]]


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    """The estimates that ``python -m pipeline`` prints, with an exit status of 0."""

    def run(*words: str) -> dict[str, Line]:
        status = cli.main([*words, "tracker=none", "progress=false", f"results_dir={tmp_path}"])
        printed = capsys.readouterr()
        assert status == 0, printed.err
        lines = [re.split(r" {2,}", line.strip()) for line in printed.out.splitlines()[2:]]
        return {cells[0]: _line(cells) for cells in lines if len(cells) == 6}

    return run


def _line(cells: list[str]) -> Line:
    found = re.fullmatch(r"(-?\d+(?:\.(\d+))?)(?:\((\d+)\))?(e[-+]\d+)?", cells[1])
    assert found is not None, cells
    digits, decimals, last, exponent = found.groups()
    sigma = None if last is None else float(f"{last}e{int((exponent or 'e0')[1:]) - len(decimals or '')}")
    return Line(float(digits + (exponent or "")), sigma, cells[5])


@pytest.mark.parametrize("inference", [[], ["infer_sampler=exhaustive"]], ids=["drawn", "exhaustive"])
def test_autoregressive_states_in_single_precision(command: Command, inference: list[str]) -> None:
    """Once −3.493959344(7), BELOW-BOUND, exit status 1."""
    options = ["system.n_sites=3", "ansatz=dense_ar", "train.ansatz.layers=2", "sampler=direct", SHORT_TRAINING]
    energy = command(*CHAIN, *options, "train.sampler.samples=200", *inference)["energy"]
    exact = dense.lowest(dense.open_chain(3, 1, 1.0, 1.0))
    assert energy.value == pytest.approx(exact, rel=1e-5)
    assert energy.value > exact - 4 * (energy.sigma or 2e-9)  # as printed
    assert energy.verdict in ("agrees", "above")


@pytest.mark.parametrize(("n_sites", "right"), [(4, 0.375), (6, 0.3125)])
def test_chains_on_a_uniform_state(command: Command, n_sites: int, right: float) -> None:
    """Once 0.255(4), of even numbers of spins alone, with R-hat 1.001; 15 steps of 300 leave the state uniform."""
    options = [f"system.n_sites={n_sites}", "system.coupling=0", "sampler=metropolis", "train.sampler.start=up"]
    found = command(*CHAIN, *options, "train.steps=15", "train.sampler.samples=200", "infer.units=10")
    moment = found["absolute_magnetisation"]
    assert moment.sigma is not None
    assert 0.003 < moment.sigma < 0.02
    assert abs(moment.value - right) < 4 * moment.sigma
    assert found["r_hat"].value < 1.1


def test_one_sample_decides_nothing(command: Command) -> None:
    """Once BELOW-BOUND, with an error of zero."""
    options = ["system.n_sites=4", "ansatz=dense_ar", "sampler=direct", "train.steps=2"]
    energy = command(*CHAIN, *options, "infer.units=1", "infer.samples=1")["energy"]
    assert energy.sigma is None
    assert energy.verdict == "undecided"


def test_another_reach_than_that_of_the_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Once −4.4 after −11.21, without a word."""
    options = ["system=chain_heisenberg", "system.n_sites=6", "method=vmc", "sampler=metropolis", "train.steps=2"]
    options += ["train.sampler.rule=exchange", "infer_sampler=metropolis", "tracker=none", f"results_dir={tmp_path}"]
    assert cli.main(options) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "infer.sampler" in said
