"""K states at once: energies, gradients and levels of a determinant, against dense linear algebra."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.base.config.phases import AdamConfig, SRConfig
from pipeline.base.errors import ConfigError, NonFiniteError
from pipeline.spin.ansatz.build import build_ansatz
from pipeline.spin.ansatz.determinant import Determinant
from pipeline.spin.ansatz.log_mlp_config import LogMLPConfig
from pipeline.spin.ansatz.schema import RBMConfig
from pipeline.spin.chunks import Chunks
from pipeline.spin.hamiltonian import Hamiltonian
from pipeline.spin.sampler.exhaustive import ExhaustiveSampler
from pipeline.spin.sampler.metropolis import MetropolisSampler
from pipeline.spin.sampler.schema import ExhaustiveConfig
from pipeline.spin.space import space_of
from pipeline.spin.sr.dense import DenseLogDerivatives
from pipeline.spin.sr.layerwise import LayerwiseLogDerivatives
from pipeline.spin.symmetry.groups import character_group, dimension
from pipeline.spin.systems import ChainHeisenberg, SpinSystem, SquareTFIM
from pipeline.spin.terms import of_copies, pauli_terms
from pipeline.spin.vmc.inference import Observables
from pipeline.spin.vmc.local_energy import local_energy
from pipeline.spin.vmc.matrices import matrices
from pipeline.spin.vmc.merged import merged
from pipeline.spin.vmc.update import set_gradients
from pipeline.stages.compose import compose_run
from tests.spin import dense
from tests.spin.several_states import TableConfig, columns, of_tables, on_copies, ritz, whole
from tests.spin.small_vmc import INFER, METROPOLIS, build
from tests.spin.vmc.test_weighted import TiltedConfig

G = 0.7
PLAQUETTE = SquareTFIM(length_x=2, length_y=2, periodic=False, coupling=1.0, field=G)
LADDER = SquareTFIM(length_x=3, length_y=2, periodic=False, coupling=1.0, field=G)
H = {4: dense.square(2, 2, False, 1.0, G), 6: dense.square(3, 2, False, 1.0, G)}
ALL = ExhaustiveConfig(max_sites=18)
SR = SRConfig(lr=0.1, shift=1e-3, momentum=0.0, max_distance=0.3)
MLP = LogMLPConfig(depth=2, width=6, activation="gelu", amplitudes="signed", states=2)
CASES: dict[str, tuple[SpinSystem, Any]] = {
    "2x2, K=2, signed": (PLAQUETTE, TableConfig(states=2)),
    "2x2, K=3, complex": (PLAQUETTE, TableConfig(states=3, complex=True)),
    "2x2, K=3, positive": (PLAQUETTE, RBMConfig(alpha=1, deviation=0.6, parameters="real", states=3)),
    "3x2, K=2, complex": (LADDER, RBMConfig(alpha=1, deviation=0.6, parameters="complex", states=2)),
    "3x2, K=2, signed": (LADDER, MLP),
}


def hamiltonian_of(system: SpinSystem, states: int) -> Hamiltonian:
    return Hamiltonian(of_copies(pauli_terms(system), system.size, states), system.size * states)


def exhaustive(system: SpinSystem, ansatz: Determinant) -> Any:
    sampler = ExhaustiveSampler(ALL, space_of(system, ansatz.states), "cpu", Chunks(1.0))
    return sampler.sample(ansatz, sampler.start(1, ""), None, 1, "", 0)


def ansatz_of(system: SpinSystem, config: Any, seed: int = 3) -> Determinant:
    ansatz = build_ansatz(config, system, seed).double()
    assert isinstance(ansatz, Determinant)
    return ansatz


@pytest.mark.parametrize(("system", "config"), CASES.values(), ids=CASES)
def test_local_energies_and_levels(system: SpinSystem, config: Any) -> None:
    ansatz = ansatz_of(system, config)
    vectors, matrix = columns(ansatz), H[system.size]
    psi = whole(vectors)
    batch = exhaustive(system, ansatz)
    rows = dense.row(batch.spins.numpy())
    with np.errstate(all="ignore"):
        expected = (on_copies(matrix, psi) / psi)[rows]
    chunks = Chunks(0.01)
    local = local_energy(hamiltonian_of(system, ansatz.states), ansatz, batch.spins, chunks, batch.log_floor)
    observables = Observables(system, "cpu")(batch.spins.view(-1, system.size))
    diagonals = {name: v.view(-1, ansatz.states) for name, v in observables.items()}
    found = matrices(hamiltonian_of(system, 1), ansatz, batch, diagonals, chunks)
    common = abs(psi[rows]) > 1e-6 * abs(psi).max()
    for values in (local, found.local_energy):
        np.testing.assert_allclose(values.numpy()[common], expected[common], rtol=1e-8, atol=1e-8)
    # the trace of the energy matrix is the sum of the Ritz values, and the matrix itself is S^-1 H
    levels = ritz(vectors, matrix)
    energy = float((batch.weights * local).sum().real)
    assert energy == pytest.approx(levels.sum(), abs=1e-8)
    scaled = vectors * np.exp(-found.columns.numpy())
    mean = np.einsum("b,bij->ij", batch.weights.numpy(), found.of["energy"].numpy())
    overlaps = scaled.conj().T @ scaled
    np.testing.assert_allclose(mean, np.linalg.solve(overlaps, scaled.conj().T @ matrix @ scaled), atol=1e-8)
    norms = np.sqrt(np.diagonal(overlaps).real)
    own = found.overlaps.diagonal().real.sqrt()
    expected = overlaps / np.outer(norms, norms)
    np.testing.assert_allclose((found.overlaps / torch.outer(own, own)).numpy(), expected, atol=1e-8)
    assert found.without is None


@pytest.mark.parametrize("states", [2, 3])
@pytest.mark.parametrize("system", [PLAQUETTE, LADDER], ids=["2x2", "3x2"])
@pytest.mark.parametrize("kind", ["signed", "complex"])
def test_gradients_are_those_of_the_sum_of_levels(system: SpinSystem, states: int, kind: str) -> None:
    """Every derivative against that of tr(S⁻¹H) over the whole basis of one copy, which knows nothing of copies."""
    ansatz = ansatz_of(system, replace(MLP, states=states, amplitudes=kind))
    batch = merged(exhaustive(system, ansatz), ansatz)
    local = local_energy(hamiltonian_of(system, states), ansatz, batch.spins, Chunks(1.0), batch.log_floor)
    slope = 2.0 * batch.weights * (local - (batch.weights * local).sum())
    set_gradients(ansatz, batch.spins, slope, Chunks(1.0), None, build().ranks)
    logs = ansatz.single_log_amplitudes(torch.from_numpy(dense.basis(system.size)).to(torch.int8))
    psi = ansatz.plain(logs, logs.real)
    energies = torch.linalg.solve(psi.mH @ psi, psi.mH @ torch.from_numpy(H[system.size]).to(psi.dtype) @ psi)
    trace = energies.diagonal().sum().real
    assert float((batch.weights * local).sum().real) == pytest.approx(float(trace.detach()), abs=1e-8)
    expected = torch.autograd.grad(trace, list(ansatz.parameters()))
    assert max(float(gradient.abs().max()) for gradient in expected) > 0.1
    for parameter, gradient in zip(ansatz.parameters(), expected, strict=True):
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, gradient, rtol=0, atol=1e-8)


def test_three_states_of_the_ladder() -> None:
    """K N = 18 spins, the size of Fig. 3 of the paper, by the method itself."""
    method = build(LADDER, ansatz=replace(MLP, states=3), sampler=ALL)
    state = method.init(2)
    result = method.summarise([method.measure(state, 0)])
    levels = ritz(columns(state.ansatz), H[6])
    found = [result.estimate(name) for name in ("energy", "energy_1", "energy_2")]
    assert [e.value for e in found] == pytest.approx(list(levels), abs=1e-8)
    assert {e.bound for e in found} == {"variational"}
    assert result.main is not None
    assert result.main.name == "trace"
    assert result.main.value == pytest.approx(levels.sum(), abs=1e-8)


@pytest.mark.parametrize("of_chains", [False, True])
def test_exact_states_in_any_mixture_have_no_variance(of_chains: bool) -> None:
    energies, states = np.linalg.eigh(H[4])
    mixing = np.array([[1.0, 0.3, -2.0], [0.5, 1.0, 0.2], [-0.4, 0.7, 1.5]]) * [1.0, 1e30, 1e-30]
    mixed = of_tables(states[:, :3] @ mixing)
    changes: Any = {"sampler": METROPOLIS} if of_chains else {"sampler": ALL}
    method = build(PLAQUETTE, infer=replace(INFER, units=2), ansatz=TableConfig(states=3), **changes)
    state = method.init(1)
    state.ansatz.load_state_dict(mixed.state_dict())
    result = method.summarise([method.measure(state, k) for k in range(2)])
    assert result.estimate("variance").value < 1e-17
    for n, name in enumerate(("energy", "energy_1", "energy_2")):
        assert result.estimate(name).value == pytest.approx(energies[n], abs=1e-9)
        size = np.abs(dense.basis(4).sum(1)) / 4
        values = [float(states[:, n] ** 2 @ size)]
        if not of_chains:
            magnetisation = result.estimate(f"absolute_magnetisation{name.removeprefix('energy')}")
            assert magnetisation.value == pytest.approx(values[0], abs=1e-8)


def test_observables_of_levels_that_are_the_same_are_in_doubt() -> None:
    """Without a field the two aligned configurations are one level."""
    classical = replace(PLAQUETTE, field=0.0)
    vectors = np.zeros((16, 2))
    vectors[0], vectors[-1] = [1, 1], [1, -2]
    method = build(classical, ansatz=TableConfig(states=2), sampler=ALL)
    state = method.init(1)
    state.ansatz.load_state_dict(of_tables(vectors).state_dict())
    result = method.summarise([method.measure(state, 0)])
    assert [result.estimate(name).value for name in ("energy", "energy_1")] == pytest.approx([-4, -4])
    assert "the same within errors" in result.estimate("magnetisation").doubt
    assert result.estimate("energy_1").doubt == ""


@pytest.mark.parametrize("sampler", [replace(METROPOLIS, samples=300), TiltedConfig(power=0.7, samples=400)])
def test_levels_from_draws(sampler: Any) -> None:
    config = RBMConfig(alpha=1, deviation=0.5, parameters="complex", states=2)
    method = build(PLAQUETTE, infer=replace(INFER, units=8), ansatz=config, sampler=sampler)
    state = method.init(4)
    levels = ritz(columns(state.ansatz), H[4])
    result = method.summarise([method.measure(state, k) for k in range(8)])
    vectors = columns(state.ansatz) / np.linalg.norm(columns(state.ansatz), axis=0)
    overlap, exact = result.estimate("overlap_0_1"), abs(np.vdot(vectors[:, 0], vectors[:, 1]))
    assert overlap.sigma is not None
    assert 0 < overlap.sigma < 0.1
    assert abs(overlap.value - exact) < 4 * overlap.sigma
    for name, exact in zip(("energy", "energy_1", "trace"), [*levels, levels.sum()], strict=True):
        estimate = result.estimate(name)
        assert estimate.sigma is not None
        assert 0 < estimate.sigma < 0.3
        assert abs(estimate.value - exact) < 4 * estimate.sigma
        assert estimate.bound == "stochastic"
    assert method.summarise([method.measure(method.init(4), 0)]).estimate("energy_1").name == "energy_1"


@pytest.mark.parametrize("global_flip", [0.0, 0.1])
def test_chains_follow_the_probabilities(global_flip: float) -> None:
    """Single flips walk copy by copy; with global flips proposals are whole determinants."""
    pair = SquareTFIM(length_x=2, length_y=1, periodic=False, coupling=1.0, field=1.0)
    ansatz = ansatz_of(pair, TableConfig(states=2, complex=True))
    config = replace(METROPOLIS, chains=200, samples=20_000, start="up", global_flip=global_flip)
    sampler = MetropolisSampler(config, space_of(pair, 2), "cpu", Chunks(None))
    batch = sampler.sample(ansatz, sampler.start(1, "test"), None, 1, "test", 0)
    psi = whole(columns(ansatz))
    expected = (abs(psi) ** 2 / (abs(psi) ** 2).sum())[dense.row(batch.spins.numpy())]
    assert expected.sum() == pytest.approx(1)
    assert batch.weights.numpy() == pytest.approx(expected, abs=0.015)
    assert (batch.log_amplitudes is None) == (global_flip == 0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", ["adam", "sr"])
def test_training_finds_the_lowest_levels(optimizer: str, dtype: str) -> None:
    chosen = AdamConfig(lr=0.02, betas=(0.9, 0.999)) if optimizer == "adam" else SR
    config = LogMLPConfig(depth=1, width=12, activation="gelu", amplitudes="signed", states=2)
    method = build(PLAQUETTE, ansatz=config, sampler=ALL, optimizer=chosen, method_memory_gib=0.5, dtype=dtype)
    state = method.init(1)
    steps = 120 if optimizer == "adam" else 25
    metrics = [method.step(state, k) for k in range(steps)]
    assert "energy" not in metrics[0]
    assert metrics[-1]["trace"] < metrics[0]["trace"]
    result = method.summarise([method.measure(state, 0)])
    exact = np.linalg.eigvalsh(H[4])[:2]
    for n, name in enumerate(("energy", "energy_1")):
        assert -1e-9 < result.estimate(name).value - exact[n] < 2e-2


def test_a_training_goes_on_where_it_was() -> None:
    config = replace(MLP, states=3)
    method = build(PLAQUETTE, ansatz=config, sampler=METROPOLIS, optimizer=SR, dtype="float32")
    whole_run, stopped, later = (method.init(seed) for seed in (1, 1, 2))
    expected = [method.step(whole_run, k) for k in range(4)]
    for k in range(2):
        method.step(stopped, k)
    later.load_state_dict(copy.deepcopy(stopped.state_dict()))
    later.seed = 1
    assert [method.step(later, k) for k in range(2, 4)] == expected[2:]


def test_networks_that_are_not_a_number_end_the_run() -> None:
    method = build(PLAQUETTE, ansatz=TableConfig(states=2), sampler=ALL, method_max_rejected=2)
    state = method.init(1)
    with torch.no_grad():
        next(state.ansatz.parameters())[0, 3] = torch.nan
    assert method.step(state, 0) == {"rejected_steps": 1}
    with pytest.raises(NonFiniteError, match="not finite"):
        method.measure(state, 0)


def test_one_state_is_ordinary_vmc() -> None:
    """K = 1: no determinant is made, and one that is made gives the same."""
    config = RBMConfig(alpha=1, deviation=0.5, parameters="complex")
    network: Any = build_ansatz(config, PLAQUETTE, 1).double()
    determinant = Determinant([network], 4)
    batch, chunks = exhaustive(PLAQUETTE, determinant), Chunks(1.0)
    values = [local_energy(hamiltonian_of(PLAQUETTE, 1), a, batch.spins, chunks) for a in (determinant, network)]
    torch.testing.assert_close(*values, rtol=1e-12, atol=1e-12)
    gradients = []
    for ansatz in (determinant, network):
        set_gradients(ansatz, batch.spins, batch.weights * values[1], chunks, None, build().ranks)
        gradients.append(torch.cat([p.grad.flatten() for p in ansatz.parameters() if p.grad is not None]))
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-12)
    found = matrices(hamiltonian_of(PLAQUETTE, 1), determinant, batch, {}, chunks)
    torch.testing.assert_close(found.local_energy, values[1], rtol=1e-12, atol=1e-12)


def test_conserved_magnetisation() -> None:
    """Exchanges within each copy keep its Σ σz, and levels are those of the states within the sector."""
    chain = ChainHeisenberg(n_sites=4, periodic=False, j1=1.0, j2=0.3)
    inside = dense.basis(4).sum(1) == 0
    sampler = replace(METROPOLIS, rule="exchange", pairs="mixed", samples=400, thinning=8)
    config = RBMConfig(alpha=2, deviation=0.4, parameters="complex", states=2)
    method = build(chain, infer=replace(INFER, sampler=ALL), ansatz=config, sampler=sampler, optimizer=SR)
    state: Any = method.init(1)
    method.step(state, 0)
    assert (state.sampling.spins.view(-1, 2, 4).sum(2) == 0).all()
    result = method.summarise([method.measure(state, 0)])
    matrix = dense.chain_heisenberg(4, False, 1.0, 0.3)[np.ix_(inside, inside)]
    levels = ritz(columns(state.ansatz)[inside], matrix)
    assert [result.estimate(n).value for n in ("energy", "energy_1")] == pytest.approx(list(levels), abs=1e-8)
    assert result.estimate("magnetisation").value == 0
    assert not any(e.name == "magnetisation_1" for e in result.estimates)


@pytest.mark.parametrize("amplitudes", ["signed", "complex"])
def test_log_derivatives_of_determinants(amplitudes: str) -> None:
    ansatz = ansatz_of(PLAQUETTE, replace(MLP, amplitudes=amplitudes))
    batch = exhaustive(PLAQUETTE, ansatz)
    some = torch.arange(0, len(batch.spins), 29)
    spins, weights = batch.spins[some], torch.full((len(some),), 1.0 / len(some), dtype=torch.float64)
    one = DenseLogDerivatives.of(ansatz, spins, weights, Chunks(None))
    other = LayerwiseLogDerivatives(ansatz, spins, weights, Chunks(None))
    assert one.is_complex == other.is_complex == (amplitudes == "complex")
    torch.testing.assert_close(one.gram(), other.gram(), rtol=1e-9, atol=1e-12)


def test_ground_states_by_projection() -> None:
    """Each state projected: the levels are those of the symmetry sector."""
    config = RBMConfig(alpha=2, deviation=0.3, parameters="real", states=2, projection=["-spin_flip"])
    method = build(PLAQUETTE, ansatz=config, sampler=ALL, optimizer=SR)
    state = method.init(1)
    for k in range(40):
        method.step(state, k)
    result = method.summarise([method.measure(state, 0)])
    flip = np.eye(16)[::-1]
    energies, vectors = np.linalg.eigh(H[4])
    del vectors
    odd = np.linalg.eigvalsh(H[4] + 100 * (np.eye(16) + flip))[:2]
    assert [result.estimate(n).value for n in ("energy", "energy_1")] == pytest.approx(list(odd), abs=0.02)
    assert odd[0] > energies[0] + 0.01


SPIN = ("method=vmc", "system=square_tfim", "system.length_x=2", "system.length_y=2", "stages=[train]")
REFUSED = {
    "basis": (("ansatz=rbm", "train.ansatz.states=17", "sampler=metropolis"), "only 16 configurations"),
    "none": (("ansatz=rbm", "train.ansatz.states=0"), "between 1 and 100"),
    "exhaustive": (("ansatz=rbm", "train.ansatz.states=5"), "2^20 states of 5 copies"),
    "direct": (("ansatz=dense_ar", "sampler=direct", "train.ansatz.states=2"), "cannot be drawn from directly"),
    "inference": (
        ("ansatz=rbm", "sampler=metropolis", "infer_sampler=exhaustive", "train.ansatz.states=5"),
        "infer_sampler=exhaustive: would enumerate 2^20",
    ),
}


@pytest.mark.parametrize(("words", "message"), REFUSED.values(), ids=REFUSED)
def test_refused_at_composing(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        compose_run([*SPIN, *words])
    assert message in str(error.value)


def test_more_states_than_a_projection_leaves() -> None:
    """2x2 sites: 6 orbits of the rotations and reflections, 4 with the spin flip."""
    words = [*SPIN, "ansatz=rbm", "sampler=metropolis"]
    for names, most in (("spin_flip", 8), ("point_group", 6), ("point_group,spin_flip", 4)):
        compose_run([*words, f"train.ansatz.projection=[{names}]", f"train.ansatz.states={most}"])
        with pytest.raises(ConfigError, match=f"only {most} independent states projected on"):
            compose_run([*words, f"train.ansatz.projection=[{names}]", f"train.ansatz.states={most + 1}"])
    phase = "train.phases=[{steps:1},{steps:1,projection:[point_group]}]"
    with pytest.raises(ConfigError, match=r"train.ansatz.states=7.*6 independent"):
        compose_run([*words, phase, "train.steps=2", "train.ansatz.states=7"])


@pytest.mark.parametrize("magnetisation", [None, 0, 2])
@pytest.mark.parametrize(
    "names", [("point_group",), ("-spin_flip",), ("-translations",), ("-reflections", "spin_flip")]
)
def test_dimensions_of_projections(names: tuple[str, ...], magnetisation: int | None) -> None:
    """The rank of the projector, written out."""
    system = ChainHeisenberg(n_sites=6, periodic=True, j1=1.0, j2=0.3)
    spins = dense.basis(6)
    group = character_group(system, names)
    if magnetisation:
        group = {(move, sign): character for (move, sign), character in group.items() if sign > 0}
    projector = np.zeros((64, 64))
    for (move, sign), character in group.items():
        projector[np.arange(64), dense.row(sign * spins[:, move])] += character / len(group)
    inside = slice(None) if magnetisation is None else spins.sum(1) == magnetisation
    assert dimension(system, names, (), magnetisation) == round(projector.diagonal()[inside].sum())


def test_projected_states_are_as_real_as_their_base() -> None:
    for amplitudes, signed in (("signed", True), ("complex", False)):
        config = replace(MLP, amplitudes=amplitudes, projection=["-spin_flip"], states=1)
        network: Any = build_ansatz(config, PLAQUETTE, 1)
        assert network.signed == signed


def test_other_methods_have_one_state() -> None:
    with pytest.raises(ConfigError, match="states"):
        compose_run(["train.ansatz.states=2", "stages=[train]"])


def test_more_states_than_a_sector_has() -> None:
    words = ["method=vmc", "system=chain_heisenberg", "system.n_sites=4", "ansatz=rbm", "sampler=metropolis"]
    words += ["train.sampler.rule=exchange", "stages=[train]"]
    compose_run([*words, "train.ansatz.states=6"])
    with pytest.raises(ConfigError, match="only 6 configurations with Σ σz = 0"):
        compose_run([*words, "train.ansatz.states=7"])
