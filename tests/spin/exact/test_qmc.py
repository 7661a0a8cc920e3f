"""Quantum Monte Carlo against dense thermal averages and exact ground states; resume, threads, refusals."""

import copy
import dataclasses
import math
import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.base.contracts import MonteCarloBaseline
from pipeline.base.errors import ConfigError
from pipeline.base.numbers.result import Estimate, Result
from pipeline.base.numbers.statistics import correlated_mean
from pipeline.base.store.files import load_tree, save_tree
from pipeline.spin.exact import worldlines
from pipeline.spin.exact.qmc import QMC, QMCState
from pipeline.spin.lattice import sublattices
from pipeline.spin.systems import ChainHeisenberg, ChainTFIM, OpenChainTFIM, SpinSystem, SquareHeisenberg, SquareTFIM
from tests.spin import dense
from tests.spin.exact.solvers import quspin

SMALL = QMC(beta_per_length=1.0, chains=4, warmup=2, measurements=50, sweeps=200, half_beta_sweeps=100, seed=3)
SYSTEM = SquareTFIM(length_x=3, length_y=2, periodic=False, coupling=1.0, field=1.5)
NEEL = SquareHeisenberg(length_x=3, length_y=2, periodic=False, j1=1.0, j2=0.0)


def square_tfim(length_x: int, length_y: int, periodic: bool, coupling: float, field: float) -> SquareTFIM:
    return SquareTFIM(length_x=length_x, length_y=length_y, periodic=periodic, coupling=coupling, field=field)


def warmed(qmc: QMC, system: SpinSystem) -> QMCState:
    state = qmc.init(system)
    for k in range(qmc.warmup):
        qmc.step(state, k)
    return state


def measured(qmc: QMC, system: SpinSystem) -> tuple[list[Any], Result]:
    state = warmed(qmc, system)
    records = [qmc.measure(state, k) for k in range(qmc.measurements)]
    return records, qmc.summarise(records)


def at(beta: float, system: SpinSystem) -> QMC:
    """SMALL at a given inverse temperature."""
    unit = SMALL.init(system).beta
    return dataclasses.replace(SMALL, beta_per_length=beta / unit)


def thermal(matrix: np.ndarray, system: SpinSystem, beta: float) -> dict[str, float]:
    """Canonical averages by diagonalisation."""
    energies, vectors = np.linalg.eigh(matrix)
    weights = np.exp(-beta * (energies - energies[0]))
    weights /= weights.sum()
    density, spins = vectors**2 @ weights, dense.basis(system.size)
    averages = {
        "energy": float(weights @ energies),
        "absolute_magnetisation": float(density @ np.abs(spins.sum(1))) / system.size,
    }
    if system.nearest_bonds():
        products = np.mean([spins[:, i] * spins[:, j] for i, j in system.nearest_bonds()], axis=0)
        averages["nearest_correlation"] = float(density @ products)
    return averages


THERMAL: list[tuple[str, SpinSystem, np.ndarray, tuple[float, ...]]] = [
    (
        "two spins",
        ChainHeisenberg(n_sites=2, periodic=False, j1=1.0, j2=0.0),
        dense.chain_heisenberg(2, False, 1.0, 0.0),
        (0.2, 0.5, 1.0),
    ),
    (
        "ring of four",
        ChainHeisenberg(n_sites=4, periodic=True, j1=0.5, j2=0.0),
        dense.chain_heisenberg(4, True, 0.5, 0.0),
        (0.3, 1.0, 4.0),
    ),
    ("ladder", NEEL, dense.square_heisenberg(3, 2, False, 1.0, 0.0), (0.2, 0.6)),
    (
        "two Ising spins",
        OpenChainTFIM(n_sites=2, range=1, coupling=1.0, field=0.7),
        dense.open_chain(2, 1, 1.0, 0.7),
        (0.4, 1.0, 3.0),
    ),
    ("Ising plaquette", square_tfim(2, 2, False, 1.0, 2.0), dense.square(2, 2, False, 1.0, 2.0), (0.2, 0.6, 2.0)),
    ("long range", ChainTFIM(n_sites=6, range=2, coupling=0.5, field=1.0), dense.ring(6, 2, 0.5, 1.0), (0.3, 1.5)),
    ("all to all", ChainTFIM(n_sites=5, range=2, coupling=0.4, field=1.0), dense.ring(5, 2, 0.4, 1.0), (0.7,)),
    (
        "antiferromagnet",
        ChainTFIM(n_sites=4, range=1, coupling=-1.0, field=-0.8),
        dense.ring(4, 1, -1.0, -0.8),
        (0.3, 1.0),
    ),
    ("no field", square_tfim(3, 2, False, 0.6, 0.0), dense.square(3, 2, False, 0.6, 0.0), (0.5, 1.0)),
    ("no coupling", square_tfim(2, 2, False, 0.0, 1.0), dense.square(2, 2, False, 0.0, 1.0), (1.0,)),
    ("one spin", square_tfim(1, 1, False, 1.0, 1.0), dense.square(1, 1, False, 1.0, 1.0), (1.5,)),
]
CASES = [(system, matrix, beta) for _, system, matrix, betas in THERMAL for beta in betas]
NAMES = [f"{name}, beta {beta:g}" for name, _, _, betas in THERMAL for beta in betas]


MAGNETISATION_OF_SINGLETS = (
    "Errors unknown or not to be relied upon: absolute_magnetisation (all 400 samples have the same value)."
)


def error(estimate: Estimate) -> float:
    """Of an estimate; 0 where no bin differs from the others, as where an improved estimator has no variance at all."""
    if estimate.sigma is None:
        assert "samples have the same value" in estimate.doubt
        return 0.0
    return estimate.sigma


@cache
def sampled(case: int) -> tuple[list[Any], Result]:
    system, _, beta = CASES[case]
    return measured(at(beta, system), system)


def exact_averages(case: int) -> dict[str, float]:
    system, matrix, beta = CASES[case]
    exact = thermal(matrix, system, beta)
    return exact | {"beta_doubling_shift": thermal(matrix, system, beta / 2)["energy"] - exact["energy"]}


@pytest.mark.parametrize("case", range(len(CASES)), ids=NAMES)
def test_thermal_averages(case: int) -> None:
    records, result = sampled(case)
    exact = exact_averages(case)
    assert result.extra["beta"] == pytest.approx(CASES[case][2])
    assert {estimate.name for estimate in result.estimates} == set(exact)
    for name, value in exact.items():
        estimate = result.estimate(name)
        assert abs(estimate.value - value) <= 3.5 * error(estimate) + 1e-12, name
    controls = np.stack([record["controls"] for record in records], axis=1)
    for control in np.moveaxis(controls, 2, 0):
        mean = correlated_mean(control).estimate("control")
        assert abs(mean.value) <= 3.5 * error(mean) + 1e-12


def test_errors_are_neither_too_small_nor_too_large() -> None:
    """Over all comparisons above the deviations are as large as their standard errors say."""
    pulls = []
    for case in range(len(CASES)):
        exact = exact_averages(case)
        for estimate in sampled(case)[1].estimates:
            if estimate.sigma is not None and estimate.sigma > 1e-12:
                pulls.append((estimate.value - exact[estimate.name]) / estimate.sigma)
    assert len(pulls) > 60
    assert 0.75 < math.sqrt(np.mean(np.square(pulls))) < 1.2


@pytest.mark.parametrize(
    ("system", "matrix"),
    [(NEEL, dense.square_heisenberg(3, 2, False, 1.0, 0.0)), (SYSTEM, dense.square(3, 2, False, 1.0, 1.5))],
    ids=["loops", "clusters"],
)
def test_spins_are_distributed_as_the_density_matrix_says(system: SpinSystem, matrix: np.ndarray) -> None:
    """χ² of all 2^N probabilities, from configurations a few sweeps apart."""
    beta = 0.25
    qmc = dataclasses.replace(at(beta, system), chains=64, sweeps=5, half_beta_sweeps=1, warmup=10)
    state = warmed(qmc, system)
    counts = np.zeros(2**system.size)
    for k in range(150):
        qmc.measure(state, k)
        spins = 1 - 2 * np.stack([lines.spins for lines in state.replicas[:64]]).astype(int)
        np.add.at(counts, dense.row(spins), 1)
    energies, vectors = np.linalg.eigh(matrix)
    weights = np.exp(-beta * (energies - energies[0]))
    expected = vectors**2 @ (weights / weights.sum()) * counts.sum()
    assert expected.min() > 5
    freedom = len(counts) - 1
    chi_squared = float(((counts - expected) ** 2 / expected).sum())
    assert abs(chi_squared - freedom) < 3.5 * math.sqrt(2 * freedom)


@pytest.mark.parametrize(
    ("system", "energy", "beta_per_length", "sweeps"),
    [
        (
            SquareHeisenberg(length_x=4, length_y=4, periodic=True, j1=1.0, j2=0.0),
            -44.9139328,
            2.0,
            300,
        ),
        (square_tfim(4, 4, True, 1.0, 3.0), None, 2.0, 100),
        (square_tfim(4, 3, False, 1.0, 2.0), None, 3.0, 150),
        (ChainTFIM(n_sites=12, range=3, coupling=0.4, field=2.0), None, 2.0, 100),
    ],
    ids=["Heisenberg", "critical Ising", "ordered Ising", "long range"],
)
def test_ground_states(system: SpinSystem, energy: float | None, beta_per_length: float, sweeps: int) -> None:
    exact = quspin().run(system)
    if energy is not None:
        assert exact.estimate("energy").value == pytest.approx(energy, abs=1e-6)
    amounts = {"sweeps": sweeps, "half_beta_sweeps": sweeps // 4, "measurements": 100}
    result = measured(dataclasses.replace(SMALL, beta_per_length=beta_per_length, **amounts), system)[1]
    for name in ("energy", "absolute_magnetisation", "nearest_correlation"):
        estimate = result.estimate(name)
        assert abs(estimate.value - exact.estimate(name).value) <= 3 * error(estimate) + 1e-12, name
    ground = result.estimate("energy")
    assert ground.sigma is not None
    assert ground.sigma <= 1e-4 * abs(ground.value)
    assert ground.bound == "stochastic"
    assert ground.unit == "total"
    assert [note for note in result.notes if note != MAGNETISATION_OF_SINGLETS] == []
    assert Result.from_json(result.to_json()) == result


def test_a_temperature_that_is_felt_is_noted() -> None:
    result = measured(dataclasses.replace(at(0.5, NEEL), measurements=30), NEEL)[1]
    assert any("raise baseline.qmc.beta_per_length" in note for note in result.notes)


def test_short_series_and_differing_chains_are_noted() -> None:
    record = {"beta": 1.0, "controls": np.zeros((2, 2)), "half_beta_controls": np.zeros((2, 2))}
    generator = np.random.default_rng(0)
    records = []
    for _ in range(4):
        noise = generator.normal(size=(3, 2))
        records.append(
            {**record, "energy": noise[0] + (0, 9), "half_beta_energy": noise[1], "absolute_magnetisation": noise[2]}
        )
    notes = SMALL.summarise(records).notes
    assert "energy (chains are only 2.27 τ_int long)" in notes[0]
    assert any(note.startswith("energy: the chains differ") for note in notes)


def test_records_hold_one_number_a_chain() -> None:
    record = SMALL.measure(SMALL.init(SYSTEM), 0)
    one = ("energy", "absolute_magnetisation", "nearest_correlation", "half_beta_energy")
    shapes = {**dict.fromkeys(one, (4,)), "controls": (4, 2), "half_beta_controls": (4, 2), "beta": ()}
    assert {name: np.shape(value) for name, value in record.items()} == shapes


def test_estimates_are_the_means_of_the_records_where_controls_are_too_many() -> None:
    records, result = measured(dataclasses.replace(SMALL, measurements=3), SYSTEM)
    energy = float(np.mean([record["energy"] for record in records]))
    assert result.estimate("energy").value == pytest.approx(energy, abs=1e-12)


@pytest.mark.parametrize("system", [SYSTEM, NEEL], ids=["clusters", "loops"])
def test_resume_is_bit_identical_on_any_number_of_threads(system: SpinSystem, tmp_path: Path) -> None:
    whole = warmed(SMALL, system)
    expected = [SMALL.measure(whole, k) for k in range(4)]
    killed = SMALL.init(system)
    save_tree(tmp_path / "begin", killed.state_dict())  # without kinks, hence with empty arrays
    killed.load_state_dict(load_tree(tmp_path / "begin"))
    SMALL.step(killed, 0)
    save_tree(tmp_path / "checkpoint", killed.state_dict())
    SMALL.step(killed, 1)
    resumed = SMALL.init(system)
    resumed.load_state_dict(load_tree(tmp_path / "checkpoint"))
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        SMALL.step(resumed, 1)
        for k, record in enumerate(expected):
            for name, value in SMALL.measure(resumed, k).items():
                np.testing.assert_array_equal(value, record[name])
            resumed.load_state_dict(resumed.state_dict())
    finally:
        torch.set_num_threads(threads)
    for ours, theirs in zip(resumed.replicas, whole.replicas, strict=True):
        for name, value in vars(theirs).items():
            np.testing.assert_array_equal(getattr(ours, name), value)


def test_a_checkpoint_does_not_follow_the_state() -> None:
    state = warmed(SMALL, SYSTEM)
    checkpoint = state.state_dict()
    before = copy.deepcopy(checkpoint)
    SMALL.measure(state, 0)
    state.load_state_dict(checkpoint)
    SMALL.measure(state, 0)
    for now, then in zip(checkpoint["replicas"], before["replicas"], strict=True):
        for name in then:
            np.testing.assert_array_equal(now[name], then[name])


def test_a_checkpoint_of_another_lattice_is_refused() -> None:
    other = SMALL.init(SquareHeisenberg(length_x=2, length_y=2, periodic=False, j1=1.0, j2=0.0)).state_dict()
    with pytest.raises(ValueError, match="do not fit"):
        SMALL.init(NEEL).load_state_dict(other)


def test_seed_and_unit_and_chain_matter() -> None:
    def energies(qmc: QMC, unit: int) -> np.ndarray:
        state = qmc.init(SYSTEM)
        for lines in state.replicas:
            lines.spins[:] = 0
        found: np.ndarray = qmc.measure(state, unit)["energy"]
        return found

    first = energies(SMALL, 0)
    assert len(set(first)) == SMALL.chains
    np.testing.assert_array_equal(energies(SMALL, 0), first)
    assert not np.isin(energies(SMALL, 1), first).any()
    assert not np.isin(energies(dataclasses.replace(SMALL, seed=4), 0), first).any()
    # What happens at β/2 does not touch the chains at β.
    np.testing.assert_array_equal(energies(dataclasses.replace(SMALL, half_beta_sweeps=1), 0), first)


@pytest.mark.parametrize(
    ("system", "reason"),
    [
        (
            SquareHeisenberg(length_x=4, length_y=4, periodic=True, j1=1.0, j2=0.5),
            r"J=0.5 of sites 0 and 5 .* frustrates",
        ),
        (SquareHeisenberg(length_x=3, length_y=4, periodic=True, j1=1.0, j2=0.0), r"ring of odd length"),
        (ChainHeisenberg(n_sites=5, periodic=True, j1=1.0, j2=0.0), r"ring of odd length"),
        (ChainHeisenberg(n_sites=4, periodic=False, j1=-1.0, j2=0.0), r"J=-1 is no antiferromagnet"),
        (ChainTFIM(n_sites=6, range=2, coupling=-1.0, field=1.0), r"V=-1 frustrates"),
        (ChainTFIM(n_sites=6, range=2, coupling=0.0, field=0.0), r"H = 0"),
        ({}, r"not dict"),
    ],
)
def test_refusals_say_why(system: Any, reason: str) -> None:
    refusal = SMALL.supports(system)
    assert refusal is not None
    assert re.search(reason, refusal)


def test_sublattices() -> None:
    bonds = square_tfim(4, 4, True, 1.0, 1.0).bonds()
    assert sublattices(16, bonds) == tuple((-1) ** (site % 4 + site // 4) for site in range(16))
    assert sublattices(3, [(0, 1), (1, 2), (0, 2)]) is None
    assert sublattices(4, [(2, 3)]) == (1, 1, 1, -1)


def test_temperature_follows_length_and_coupling() -> None:
    def beta(system: SpinSystem) -> float:
        return dataclasses.replace(SMALL, beta_per_length=2.0).init(system).beta

    assert beta(SquareHeisenberg(length_x=6, length_y=10, periodic=False, j1=0.5, j2=0.0)) == 40.0
    assert beta(ChainTFIM(n_sites=30, range=15, coupling=0.5, field=1.0)) == 8.0
    # Deep in the paramagnet the field sets the scale: 8 for 4 neighbours a site.
    assert beta(square_tfim(4, 4, True, 1.0, 8.0)) == 4.0


def test_cost_grows_with_what_is_asked() -> None:
    assert isinstance(SMALL, MonteCarloBaseline)
    for small, large in (
        (square_tfim(4, 4, True, 1.0, 3.0), square_tfim(8, 8, True, 1.0, 3.0)),
        (NEEL, SquareHeisenberg(length_x=8, length_y=8, periodic=True, j1=1.0, j2=0.0)),
    ):
        assert SMALL.cost(small).seconds < SMALL.cost(large).seconds
        assert SMALL.cost(small).bytes < SMALL.cost(large).bytes
        assert SMALL.cost(large).seconds < dataclasses.replace(SMALL, measurements=500).cost(large).seconds


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("beta_per_length", 0.0),
        ("beta_per_length", math.nan),
        ("chains", 1),
        ("warmup", -1),
        ("measurements", 1),
        ("sweeps", 0),
        ("half_beta_sweeps", 0),
        ("seed", -1),
    ],
)
def test_a_bad_setting_names_its_key(field: str, value: Any) -> None:
    with pytest.raises(ConfigError) as refusal:
        dataclasses.replace(SMALL, **{field: value})
    assert refusal.value.key == field


def test_no_room_for_operators_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = worldlines.memory
    monkeypatch.setattr(worldlines, "memory", lambda lines, seed, operators: memory(lines, seed, 0.0))
    with pytest.raises(RuntimeError, match="more than 64 operators"):
        SMALL.step(SMALL.init(square_tfim(8, 8, False, 1.0, 3.0)), 0)
