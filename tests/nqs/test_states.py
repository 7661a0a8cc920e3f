"""What is asked of a trained state, against its amplitudes on all configurations and dense matrices."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import nqs
from tests.nqs.small_runs import small
from tests.spin import dense

N = 4
STRINGS = {"Z0 Z1": -0.7, "X0": 0.3, "Y1 Y3 Z2": -1.1, "x2 x0": 0.4, "Z3": 0.2}
TERMS = [
    *((-0.7, "zz", (0, 1)), (0.3, "x", (0,)), (-1.1, "yyz", (1, 3, 2)), (0.4, "xx", (2, 0)), (0.2, "z", (3,))),
]
COMPLEX = ("train.ansatz.parameters=complex", "train.ansatz.deviation=0.5", "train.dtype=float64")
NEEL = ("system=chain_heisenberg", f"system.n_sites={N}", "train.method.sign_rule=stoquastic")


def amplitudes(state: nqs.State) -> np.ndarray:
    """ψ on all configurations, normalised, in the order of :func:`tests.spin.dense.basis`."""
    logs = state.log_psi(dense.basis(state.n_sites))
    psi = np.exp(logs - logs.real.max())
    return psi / np.linalg.norm(psi)


def mean(psi: np.ndarray, matrix: np.ndarray) -> float:
    return float((psi.conj() @ matrix @ psi).real)


def test_sums_over_all_configurations_are_rayleigh_quotients(tmp_path: Path) -> None:
    run = small(tmp_path, *COMPLEX, system=nqs.hamiltonian(STRINGS))
    psi, state = amplitudes(run.state), run.state
    assert np.ptp(np.angle(psi)) > 0.1
    for strings, terms in ((STRINGS, TERMS), ("X0 X1 X2 X3", [(1.0, "xxxx", (0, 1, 2, 3))])):
        found = state.expectation(strings)
        assert found.mean == pytest.approx(mean(psi, dense.strings(N, list(terms))), abs=1e-10)
        assert found.error == 0
    assert state.expectation().mean == pytest.approx(run.energy.mean, abs=1e-12)
    assert state.hamiltonian == nqs.hamiltonian(STRINGS, N)


def test_rotated_signs_are_undone(tmp_path: Path) -> None:
    """ψ and observables are those of the system as it is given, though the training saw another basis."""
    run = small(tmp_path, *NEEL)
    psi = amplitudes(run.state)
    assert run.energy.mean == pytest.approx(mean(psi, dense.chain_heisenberg(N, True, 1.0, 0.0)), abs=1e-5)
    assert run.state.expectation("X0 X1").mean == pytest.approx(
        mean(psi, dense.strings(N, [(1, "xx", (0, 1))])), abs=1e-5
    )
    assert run.state.expectation("X0 X1").mean < -0.1


def test_a_state_of_one_magnetisation_has_no_amplitudes_elsewhere(tmp_path: Path) -> None:
    chains = (
        "sampler=metropolis",
        "train.sampler.rule=exchange",
        "train.sampler.samples=100",
        "infer_sampler=exhaustive",
    )
    run = small(tmp_path, *NEEL, *chains)
    spins = dense.basis(N)
    logs = run.state.log_psi(spins)
    assert np.array_equal(logs.real == -np.inf, spins.sum(1) != 0)
    psi = amplitudes(run.state)
    for text, term in (("X0", (1, "x", (0,))), ("X0 X1", (1, "xx", (0, 1))), ("Y0 Y2", (1, "yy", (0, 2)))):
        assert run.state.expectation(text).mean == pytest.approx(mean(psi, dense.strings(N, [term])), abs=1e-5)


@pytest.mark.parametrize(
    "words",
    [
        ("ansatz=dense_ar", "sampler=direct"),
        ("sampler=metropolis", "train.sampler.chains=6", "train.sampler.samples=600", "train.ansatz.deviation=0.4"),
    ],
    ids=["direct", "metropolis"],
)
def test_draws_and_their_errors(words: tuple[str, ...], tmp_path: Path) -> None:
    state = small(tmp_path, "system=open_chain_tfim", f"system.n_sites={N}", *words).state
    psi = amplitudes(state)
    draws = state.sample(5000, seed=3)
    assert draws.shape == (5000, N)
    assert draws.dtype == np.dtype(np.int8)
    assert set(np.unique(draws).tolist()) == {-1, 1}
    counts = np.bincount(dense.row(draws), minlength=2**N)
    assert np.abs(counts / 5000 - np.abs(psi) ** 2).max() < 0.05
    assert np.array_equal(state.sample(7, seed=3), state.sample(7, seed=3))
    assert not np.array_equal(state.sample(50, seed=3), state.sample(50, seed=4))
    exact = mean(psi, dense.strings(N, list(TERMS)))
    pulls = []
    for seed in range(12):
        found = state.expectation(STRINGS, samples=600, seed=seed)
        assert 0 < found.error < 0.2
        assert found.samples == 600
        pulls.append((found.mean - exact) / found.error)
    assert 0.3 < np.std(pulls) < 2.2
    assert abs(np.mean(pulls)) < 1.5


def test_weighted_draws_have_errors(tmp_path: Path) -> None:
    chain = ("system=open_chain_tfim", f"system.n_sites={N}")
    run = small(tmp_path, *chain, "sampler=nir", "train.steps=1", "train.sampler.samples=200", "infer.chains=training")
    found = run.state.expectation("Z0 Z1", samples=800)
    psi = amplitudes(run.state)
    assert abs(found.mean - mean(psi, dense.strings(N, [(1, "zz", (0, 1))]))) < 6 * found.error < 1
    assert run.state.sample(10).shape == (10, N)


def test_one_site(tmp_path: Path) -> None:
    state = small(tmp_path, system=nqs.hamiltonian(["-1 X0", (0.5, "Z0")])).state
    psi = amplitudes(state)
    assert state.log_psi([1]).shape == ()
    assert state.expectation("X0").mean == pytest.approx(2 * (psi[0] * psi[1]).real, abs=1e-5)


def test_states_along_training(tmp_path: Path) -> None:
    run = small(tmp_path, "train.snapshots=[0,1]", "train.optimizer.lr=0.1")
    train = run.output.trained
    assert train is not None
    first, last = nqs.load(train.entry.path, step=0), nqs.load(train.entry.path)
    assert (first.step, last.step) == (0, 3)
    assert first.expectation().mean > last.expectation().mean
    with pytest.raises(nqs.UserError, match=r"step=2: train/\w+ has kept the states after \[0, 1, 3\]"):
        nqs.load(train.entry.path, step=2)


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> nqs.State:
    return small(tmp_path_factory.mktemp("results"), f"system.n_sites={N}").state


@pytest.mark.parametrize(
    ("spins", "message"),
    [
        ([1, 1, 1], r"have the shape \(3,\); must be \(N,\) or \(B, N\) with N = 4"),
        (np.ones((2, 2, N)), r"have the shape \(2, 2, 4\)"),
        ([], r"have the shape \(0,\)"),
        ([[1, 1], [1]], r"rows of different lengths"),
        ([1, 0, 1, 0], r"0 is among them; must be \+1 or -1; of bits s = 1 - 2 \* bits"),
        ([1, -1, 2, 1], r"2 is among them; must be \+1 or -1$"),
        ([1, -1, 0.5, np.nan], r"0\.5 is among them"),
        ([True, False, True, True], r"are bool; must be integers or floats of ±1; s = 1 - 2 \* bits"),
        ([1, -1, 1, 1j], r"are complex128"),
        (list("uddu"), r"are <U1"),
        (None, r"are object"),
    ],
)
def test_spins_that_are_none(state: nqs.State, spins: object, message: str) -> None:
    with pytest.raises(nqs.UserError, match=f"spins: {message}"):
        state.log_psi(spins)  # type: ignore[arg-type]


def test_spins_of_any_kind(state: nqs.State) -> None:
    rows = dense.basis(N)
    expected = state.log_psi(rows)
    for kind in (np.int64, np.float32, np.float64, np.int8):
        assert np.array_equal(state.log_psi(rows.astype(kind)), expected)
    assert state.log_psi(rows[3]) == pytest.approx(expected[3])
    assert state.log_psi(np.empty((0, N))).shape == (0,)
    assert state.log_psi(rows[:, ::-1].T.copy().T).shape == (2**N,)


@pytest.mark.parametrize(
    ("strings", "message"),
    [
        ("Y0", r"expectation: terms\[0\]=1\.0 Y0: an odd number of Y"),
        ("Z4", r"expectation: terms\[0\]=1\.0 Z4: site 4 of n_sites=4"),
        ("zz", r"'zz': is not of the form"),
        ({"Z0": 1j}, r"'Z0': has the coefficient 1j"),
        (3, r"3: strings are text such as"),
        ([], r"must be 1 to"),
    ],
)
def test_strings_that_are_none(state: nqs.State, strings: object, message: str) -> None:
    with pytest.raises(nqs.UserError, match=message):
        state.expectation(strings)  # type: ignore[arg-type]


@pytest.mark.parametrize("n", [0, -1, 2.0, True, 10**12])
def test_numbers_of_draws_that_are_none(state: nqs.State, n: object) -> None:
    with pytest.raises(nqs.UserError, match=r"n=.*: must be an integer from 1 to 1e\+08"):
        state.sample(n)  # type: ignore[arg-type]
