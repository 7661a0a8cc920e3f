"""The K lowest states of references, with multiplicity, against dense spectra."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pipeline.base.errors import ConfigError, UserError
from pipeline.spin.exact.free_fermions import FreeFermions
from pipeline.spin.systems import ChainHeisenberg, ChainTFIM, SpinSystem, SquareTFIM
from pipeline.stages.choose import baseline_name, choose
from pipeline.stages.compose import compose_run
from tests.spin import dense
from tests.spin.exact.solvers import quspin

LADDER = SquareTFIM(length_x=3, length_y=2, periodic=False, coupling=1.0, field=1.0)
TORUS = SquareTFIM(length_x=3, length_y=3, periodic=True, coupling=1.0, field=2.0)
CHAIN = ChainHeisenberg(n_sites=5, periodic=False, j1=1.0, j2=0.4)
FERROMAGNET = ChainHeisenberg(n_sites=4, periodic=True, j1=-1.0, j2=0.0)
SYSTEMS: dict[str, tuple[SpinSystem, np.ndarray]] = {
    "ladder": (LADDER, dense.square(3, 2, False, 1.0, 1.0)),
    "two aligned states": (replace(LADDER, field=0.0), dense.square(3, 2, False, 1.0, 0.0)),
    "momenta": (TORUS, dense.square(3, 3, True, 1.0, 2.0)),
    "multiplets, odd": (CHAIN, dense.chain_heisenberg(5, False, 1.0, 0.4)),
    "multiplets, even": (replace(CHAIN, n_sites=6, periodic=True), dense.chain_heisenberg(6, True, 1.0, 0.4)),
    "ferromagnet": (FERROMAGNET, dense.chain_heisenberg(4, True, -1.0, 0.0)),
}


@pytest.mark.parametrize(("system", "matrix"), SYSTEMS.values(), ids=SYSTEMS)
@pytest.mark.parametrize("states", [2, 3, 7])
def test_quspin(system: SpinSystem, matrix: np.ndarray, states: int) -> None:
    result = quspin(states=states).run(system)
    energies, vectors = np.linalg.eigh(matrix)
    found = [result.estimate("energy").value, *(result.estimate(f"energy_{n}").value for n in range(1, states))]
    assert found == pytest.approx(list(energies[:states]), abs=1e-10)
    assert result.estimate("trace").value == pytest.approx(energies[:states].sum(), abs=1e-9)
    assert result.estimate("trace").bound == "exact"
    named = {e.name: e.value for e in result.estimates}
    size = np.abs(dense.basis(system.size).sum(1)) / system.size
    for n in range(1, states):
        alone = min(abs(energies[n] - energies[m]) for m in (n - 1, n + 1)) > 1e-8
        assert (f"absolute_magnetisation_{n}" in named) == alone
        if alone:
            expected = vectors[:, n] ** 2 @ size
            assert named[f"absolute_magnetisation_{n}"] == pytest.approx(expected, abs=1e-9)


def test_all_states_there_are() -> None:
    one = SquareTFIM(length_x=1, length_y=1, periodic=False, coupling=1.0, field=0.5)
    result = quspin(states=2).run(one)
    assert [result.estimate(n).value for n in ("energy", "energy_1")] == pytest.approx([-0.5, 0.5])
    assert "baseline.quspin.states=3" in str(quspin(states=3).supports(one))
    # more than multiplets, but not more than states
    assert quspin(states=16).supports(FERROMAGNET) is None
    assert "levels=16" in str(quspin(levels=16).supports(FERROMAGNET))


def test_references_follow_the_ansatz() -> None:
    words = [
        "method=vmc",
        "system=chain_tfim",
        "system.n_sites=6",
        "system.range=1",
        "ansatz=rbm",
        "sampler=metropolis",
    ]
    assert compose_run(words).baseline.quspin.states is None
    run = compose_run([*words, "train.ansatz.states=3"])
    assert run.baseline.quspin.states == 3
    assert compose_run([*words, "train.ansatz.states=3", "baseline.quspin.states=3"]).baseline.quspin.states == 3
    for key, number in ("quspin.states", 5), ("dmrg.states", 2), ("quspin.magnetisation", 0):
        with pytest.raises(ConfigError, match=f"baseline.{key}={number}"):
            compose_run([*words, "train.ansatz.states=3", f"baseline.{key}={number}"])
    with pytest.raises(ConfigError, match=r"baseline.quspin.levels=2.*leave it at 1"):
        compose_run([*words, "train.ansatz.states=3", "baseline.quspin.levels=2"])
    with pytest.raises(ConfigError, match=r"lowest state alone, train.ansatz.states=3"):
        compose_run([*words, "train.ansatz.states=3", "baseline=free_fermions"])
    ring = ChainTFIM(n_sites=6, range=1, coupling=1.0, field=1.0)
    candidates: dict[str, Any] = {"free_fermions": FreeFermions(), "quspin": quspin(states=3)}
    assert choose(candidates, ring) == "free_fermions"
    assert choose(candidates, ring, states=3) == "quspin"
    with pytest.raises(UserError, match="lowest state alone"):
        choose({"free_fermions": FreeFermions()}, ring, states=2)


@pytest.mark.parametrize(("case", "magnetisation"), [("multiplets, odd", 1), ("multiplets, even", 0), ("ladder", 4)])
def test_states_of_one_magnetisation(case: str, magnetisation: int) -> None:
    """The spectrum within the sector, not that of all states."""
    system, matrix = SYSTEMS[case]
    baseline = replace(quspin(states=4), magnetisation=magnetisation)
    if case == "ladder":
        assert "does not conserve" in str(baseline.supports(system))
        return
    inside = dense.basis(system.size).sum(1) == magnetisation
    energies = np.linalg.eigvalsh(matrix[np.ix_(inside, inside)])
    assert abs(energies[:4].sum() - np.linalg.eigvalsh(matrix)[:4].sum()) > 0.1
    result = baseline.run(system)
    assert baseline.supports(system) is None
    found = [result.estimate(name).value for name in ("energy", "energy_1", "energy_2", "energy_3")]
    assert found == pytest.approx(list(energies[:4]), abs=1e-10)
    assert result.estimate("trace").value == pytest.approx(energies[:4].sum(), abs=1e-9)
    assert result.estimate("absolute_magnetisation").value == pytest.approx(magnetisation / system.size)
    most = int(inside.sum()) + 1
    assert f"with Σ σz = {magnetisation}" in str(replace(baseline, states=most).supports(system))


def test_references_keep_to_the_sector_of_the_training() -> None:
    words = ["method=vmc", "system=chain_heisenberg", "system.n_sites=5", "ansatz=rbm", "sampler=metropolis"]
    words += ["train.sampler.rule=exchange", "train.ansatz.states=3"]
    run = compose_run(words)
    assert baseline_name(run) == "quspin"
    assert run.baseline.quspin.magnetisation == 1
    assert compose_run([*words, "train.ansatz.states=1"]).baseline.quspin.magnetisation is None
    with pytest.raises(ConfigError, match=r"counts the states of every Σ σz.*Σ σz = 1"):
        compose_run([*words, "baseline=dmrg"])
    with pytest.raises(ConfigError, match=r"baseline.quspin.magnetisation=3"):
        compose_run([*words, "baseline.quspin.magnetisation=3"])


def test_no_reference_keeps_to_a_projection_of_several_states() -> None:
    """Levels of one symmetry beside those of all would be compared as if they were the same."""
    words = [
        "method=vmc",
        "system=chain_tfim",
        "system.n_sites=6",
        "system.range=1",
        "ansatz=rbm",
        "sampler=metropolis",
    ]
    several, odd = [*words, "train.ansatz.states=2"], "train.ansatz.projection=[-spin_flip]"
    phased = "train.phases=[{steps:1},{steps:1,projection:[translations]}]"
    for baseline in ("auto", "quspin"):
        with pytest.raises(ConfigError, match=rf"baseline.use={baseline}: .*2 states is projected on -spin_flip; use"):
            compose_run([*several, odd, f"baseline={baseline}"])
        with pytest.raises(ConfigError, match=r"projected on translations; use baseline=none"):
            compose_run([*several, phased, f"baseline={baseline}"])
    assert baseline_name(compose_run([*several, odd, "baseline=none"])) is None
    for restored in ([*words, odd], [*several, odd, phased.replace("translations", "")]):
        assert baseline_name(compose_run(restored)) in ("quspin", "free_fermions")
