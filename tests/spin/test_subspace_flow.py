"""Training and inference of NF+NQS on systems small enough for dense matrices."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.base.checkpoint import load_records, load_tree, save_records, save_tree
from pipeline.base.errors import ConfigError
from pipeline.base.schema import TrainConfig
from pipeline.spin.ansatz.mlp import LAST_LAYER_SCALE, MLP
from pipeline.spin.flow.realnvp import AffineCoupling
from pipeline.spin.hamiltonian import Hamiltonian
from pipeline.spin.networks import build_ansatz, build_optimizer
from pipeline.spin.schema import (
    AdamConfig,
    ChainTFIM,
    MLPConfig,
    RBMConfig,
    SpinSystem,
    SubspaceFlowConfig,
    SubspaceInferConfig,
)
from pipeline.spin.subspace import Subspace
from pipeline.spin.subspace_flow import SubspaceFlow, SubspaceFlowState
from pipeline.spin.terms import pauli_terms
from tests.spin import dense

METHOD = SubspaceFlowConfig(
    subspaces=3,
    draws=60,
    flow_layers=4,
    flow_hidden=[16, 16],
    prior="normal",
    prior_width=0.33,
    points=4,
    region_centre=0.5,
    region_width=0.1,
    regions=32,
    gradient_clip=1000.0,
    stop="floor",
    unique_threshold=0.9,
    patience=5,
    chunk=100_000,
)
TRAIN = TrainConfig(
    method=METHOD,
    ansatz=MLPConfig(hidden=[24, 24], initialisation="orthogonal"),
    optimizer=AdamConfig(lr=3e-3, betas=(0.9, 0.999)),
    steps=6,
    seed=7,
    dtype="float64",
)
INFER = SubspaceInferConfig(units=2, seed=1, draws=80, iterations=40, lr=1e-2, plateau_factor=0.5, plateau_patience=20)
CHAIN = ChainTFIM(n_sites=8, range=4, coupling=1.0, field=1.0)
EXACT = dense.lowest(dense.ring(8, 4, 1.0, 1.0))


def build(
    system: SpinSystem = CHAIN, dtype: str = "float64", infer: SubspaceInferConfig = INFER, **changes: Any
) -> SubspaceFlow:
    return SubspaceFlow(system, replace(TRAIN, method=replace(METHOD, **changes), dtype=dtype), infer, "cpu")


def run(method: SubspaceFlow, state: SubspaceFlowState, steps: range) -> list[dict[str, float]]:
    return [method.step(state, k) for k in steps]


def same(a: Any, b: Any) -> bool:
    """Bitwise equality of nested states."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else bool(a == b)


def scramble(state: SubspaceFlowState, scale: float = 0.4) -> SubspaceFlowState:
    """A flow far from the identity and an NQS far from a constant."""
    generator = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for coupling in state.flow.couplings:
            assert isinstance(coupling, AffineCoupling)
            last: Any = coupling.network[-2]
            for p in (last.weight, last.bias):
                p.copy_(scale * torch.randn(p.shape, generator=generator, dtype=p.dtype))
        for p in state.nqs.parameters():
            p.add_(0.2 * torch.randn(p.shape, generator=generator, dtype=p.dtype))
    return state


def gradients(network: torch.nn.Module) -> torch.Tensor:
    return torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("prior", ["normal", "bimodal"])
@pytest.mark.parametrize("stop", ["floor", "unique"])
def test_metrics(dtype: str, prior: str, stop: str) -> None:
    method = build(dtype=dtype, prior=prior, stop=stop)
    for metrics in run(method, method.init(3), range(5)):
        assert all(type(value) is float and math.isfinite(value) for value in metrics.values())
        assert EXACT - 1e-9 <= metrics["energy_min"] <= metrics["energy_mean"]
        assert 0 < metrics["unique_fraction_mean"] <= metrics["unique_fraction_max"] <= 1
        assert ("floor_mean" in metrics) == (stop == "floor")
        if stop == "floor":
            assert EXACT - 1e-9 <= metrics["floor_mean"] <= metrics["energy_mean"] + 1e-9
        assert metrics["nqs_gradient"] > 0
        assert metrics["flow_gradient"] > 0


def test_a_step_is_a_function_of_seed_and_number() -> None:
    method = build()
    start = method.init(3)
    first, second = copy.deepcopy(start), copy.deepcopy(start)
    metrics = method.step(first, 4)
    torch.manual_seed(99)
    torch.randn(17)
    assert build().step(second, 4) == metrics
    assert same(first.state_dict(), second.state_dict())
    assert build().step(copy.deepcopy(start), 5) != metrics
    assert build().step(method.init(4), 4) != metrics


def test_the_global_generator_is_left_alone() -> None:
    before = torch.random.get_rng_state()
    method = build()
    state = method.init(3)
    method.step(state, 0)
    method.measure(state, 0)
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("stop", ["floor", "never"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_resume_is_exact(tmp_path: Path, stop: str, dtype: str) -> None:
    through = build(stop=stop, dtype=dtype)
    state = through.init(3)
    expected = run(through, state, range(6))

    before = build(stop=stop, dtype=dtype)
    interrupted = before.init(3)
    first = run(before, interrupted, range(3))
    save_tree(tmp_path / "state", interrupted.state_dict())

    after = build(stop=stop, dtype=dtype)
    resumed = after.init(3)
    resumed.load_state_dict(load_tree(tmp_path / "state"))
    assert same(resumed.state_dict(), interrupted.state_dict())
    assert first + run(after, resumed, range(3, 6)) == expected
    assert same(resumed.state_dict(), state.state_dict())
    assert same(list(resumed.flow.parameters()), list(state.flow.parameters()))
    assert after.converged(resumed) == through.converged(state)
    records = [m.measure(s, 0) for m, s in ((through, state), (after, resumed))]
    assert records[0]["energy"] == records[1]["energy"]
    assert np.array_equal(records[0]["codes"], records[1]["codes"])


def test_every_part_of_the_state_is_kept(tmp_path: Path) -> None:
    method = build()
    state = method.init(3)
    method.step(state, 0)
    state.best_floor, state.steps_since_best, state.largest_unique_fraction = -1.25, 17, 0.375
    state.best_flow = {name: tensor + 1 for name, tensor in state.flow.state_dict().items()}
    save_tree(tmp_path / "state", state.state_dict())
    fresh = build().init(3)
    fresh.load_state_dict(load_tree(tmp_path / "state"))
    assert (fresh.best_floor, fresh.steps_since_best, fresh.largest_unique_fraction) == (-1.25, 17, 0.375)
    assert same(fresh.best_flow, state.best_flow)
    assert same(fresh.state_dict(), state.state_dict())


def test_units_are_independent() -> None:
    """Other subspaces at every step; in inference another NQS too, where all subspaces are the whole basis."""
    method = build()
    state = method.init(3)
    draws = [tuple(part.codes.tolist()) for k in range(3) for part in method._draw_subspaces(state, k)]
    assert len(set(draws)) == 9
    small = build(ChainTFIM(n_sites=4, range=1, coupling=1.0, field=1.0), infer=replace(INFER, draws=2000))
    records = [small.measure(small.init(3), k) for k in range(3)]
    assert all(record["size"] == 16 for record in records)
    assert len({record["trace"][0] for record in records}) == 3


def test_seeds_give_other_networks() -> None:
    first, second = build().init(3), build().init(4)
    for a, b in ((first.flow, second.flow), (first.nqs, second.nqs)):
        assert not torch.equal(next(a.parameters()), next(b.parameters()))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_initial_parameters_do_not_depend_on_the_dtype(dtype: str) -> None:
    reference = build(dtype="float32").init(3)
    state = build(dtype=dtype).init(3)
    for a, b in zip(state.nqs.parameters(), reference.nqs.parameters(), strict=True):
        assert a.dtype == getattr(torch, dtype)
        assert torch.equal(a, b.to(a.dtype))
    z = torch.randn(5, 8, dtype=getattr(torch, dtype), generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(state.flow(z)[0], torch.tanh(z))


def full_space(**changes: Any) -> tuple[SubspaceFlow, SubspaceFlowState, torch.Tensor, torch.Tensor]:
    """Four sites and so many draws that every subspace is the whole basis; points exactly at the centres.

    The loss of Eq. 12 is then a plain function of the parameters. Also returns all spins and the dense H.
    """
    system = ChainTFIM(n_sites=4, range=1, coupling=0.8, field=1.2)
    options = {"draws": 3000, "region_width": 1e-13, "regions": None, "stop": "never", "gradient_clip": 1e9}
    method = build(system, **(options | changes))
    state = scramble(method.init(3), scale=0.2)
    spins = torch.from_numpy(dense.basis(4))
    return method, state, spins, torch.from_numpy(dense.ring(4, 1, 0.8, 1.2))


@pytest.mark.parametrize("chunk", [100_000, 17])
def test_loss_and_gradients_on_the_whole_basis(chunk: int) -> None:
    """Eqs. 4, 12 and 13 written out with a dense Hamiltonian and differentiated by autograd."""
    method, state, spins, h = full_space(chunk=chunk)
    psi = state.nqs(spins)
    energy = (psi @ h @ psi) / (psi @ psi)
    p = (psi.square() / psi.square().sum()).detach()
    log_density = state.flow.log_prob(0.5 * spins.double())
    loss = -energy.detach().abs() / 16 * (p * log_density).sum()
    nqs_gradient = torch.cat([g.flatten() for g in torch.autograd.grad(energy, list(state.nqs.parameters()))])
    flow_gradient = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(state.flow.parameters()))])
    metrics = method.step(state, 0)
    assert metrics["unique_fraction_max"] == metrics["unique_fraction_mean"] == 16 / 3000
    assert metrics["energy_mean"] == pytest.approx(energy.item(), rel=1e-12)
    assert metrics["energy_min"] == pytest.approx(energy.item(), rel=1e-12)
    assert metrics["flow_loss"] == pytest.approx(loss.item(), rel=1e-9)
    torch.testing.assert_close(gradients(state.nqs), nqs_gradient, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(gradients(state.flow), flow_gradient, rtol=1e-7, atol=1e-10)
    assert metrics["nqs_gradient"] == pytest.approx(nqs_gradient.norm().item(), rel=1e-9)
    assert metrics["flow_gradient"] == pytest.approx(flow_gradient.norm().item(), rel=1e-7)


def test_gradients_are_clipped_one_network_at_a_time() -> None:
    free, clipped = full_space(), full_space(gradient_clip=1e-3)
    metrics = free[0].step(free[1], 0)
    assert clipped[0].step(clipped[1], 0) == metrics
    for name in ("nqs", "flow"):
        a, b = gradients(getattr(free[1], name)), gradients(getattr(clipped[1], name))
        assert a.norm() > 0.01
        torch.testing.assert_close(b, a * 1e-3 / a.norm(), rtol=1e-2, atol=0)


def test_first_adam_step() -> None:
    """Both networks move by lr against the sign of their gradients."""
    method, state, _, _ = full_space()
    before = copy.deepcopy(state)
    method.step(state, 0)
    for name in ("nqs", "flow"):
        for new, old in zip(getattr(state, name).parameters(), getattr(before, name).parameters(), strict=True):
            large = new.grad.abs() > 1e-4
            torch.testing.assert_close((new - old)[large], -3e-3 * new.grad.sign()[large], rtol=1e-3, atol=0)


def test_several_subspaces_against_each_alone() -> None:
    """Energies and gradients are means over subspaces that share states, each with its own norm."""
    method = build(regions=None, region_width=1e-13, subspaces=3, draws=40, stop="floor")
    state = scramble(method.init(3))
    parts = method._draw_subspaces(state, 2)
    shared = set(parts[0].codes.tolist()) & set(parts[1].codes.tolist())
    assert shared
    full = torch.from_numpy(dense.ring(8, 4, 1.0, 1.0))
    energies, losses, floors = [], [], []
    for part in parts:
        rows = torch.from_numpy(dense.row(part.spins.numpy()))
        h = full[rows][:, rows]
        psi = state.nqs(part.spins)
        energies.append((psi @ h @ psi) / (psi @ psi))
        p = (psi.square() / psi.square().sum()).detach()
        log_density = state.flow.log_prob(0.5 * part.spins.double())
        losses.append(-energies[-1].detach().abs() / len(part) * (p * log_density).sum())
        floors.append(dense.lowest(h.numpy()))
    energy, loss = torch.stack(energies).mean(), torch.stack(losses).mean()
    expected = [
        torch.cat([g.flatten() for g in torch.autograd.grad(value, list(network.parameters()))])
        for value, network in ((energy, state.nqs), (loss, state.flow))
    ]
    metrics = method.step(state, 2)
    assert metrics["energy_mean"] == pytest.approx(energy.item(), rel=1e-12)
    assert metrics["energy_min"] == pytest.approx(min(e.item() for e in energies), rel=1e-12)
    assert metrics["floor_mean"] == pytest.approx(np.mean(floors), rel=1e-10)
    assert metrics["flow_loss"] == pytest.approx(loss.item(), rel=1e-8)
    assert metrics["unique_fraction_mean"] == pytest.approx(sum(map(len, parts)) / 120)
    assert metrics["unique_fraction_max"] == max(map(len, parts)) / 40
    torch.testing.assert_close(gradients(state.nqs), expected[0], rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(gradients(state.flow), expected[1], rtol=1e-7, atol=1e-10)


def test_drawn_regions_are_unbiased() -> None:
    """Loss and gradient with regions drawn from p_θ average to those of the full sum over S (Eq. 12)."""
    number = 250
    losses, projections = [], []
    full, state, _, _ = full_space(subspaces=2)
    start = copy.deepcopy(state)
    full_loss = full.step(state, 0)["flow_loss"]
    exact = gradients(state.flow)
    direction = exact / exact.norm()
    drawn = full_space(subspaces=2, regions=3)[0]
    for k in range(number):
        state = copy.deepcopy(start)
        losses.append(drawn.step(state, k)["flow_loss"])
        projections.append((gradients(state.flow) @ direction).item())
    for samples, expected in ((losses, full_loss), (projections, exact.norm().item())):
        error = np.std(samples, ddof=1) / number**0.5
        assert 0 < error < 0.05 * abs(expected)
        assert abs(np.mean(samples) - expected) < 4 * error


def test_points_are_unbiased_about_their_smoothed_loss() -> None:
    """With one point a region, -Σ p log p_Y(y) averages over N(x/2, w): Gauss-Hermite on each of two sites."""
    system = ChainTFIM(n_sites=2, range=1, coupling=1.0, field=1.0)
    method = build(system, draws=500, regions=None, points=1, stop="never", region_width=0.1)
    start = scramble(method.init(3))
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    keep = abs(nodes) < 4.9
    x, w = torch.from_numpy(nodes[keep]), torch.from_numpy(weights[keep] / weights.sum())
    spins = torch.from_numpy(dense.basis(2))
    with torch.no_grad():
        psi = start.nqs(spins)
        p = psi.square() / psi.square().sum()
        h = torch.from_numpy(dense.ring(2, 1, 1.0, 1.0))
        energy = (psi @ h @ psi) / (psi @ psi)
        y = 0.5 * spins[:, None] + 0.1 * torch.cartesian_prod(x, x)
        means = (start.flow.log_prob(y) * torch.outer(w, w).ravel()).sum(-1)
        expected = float(-energy.abs() / 4 * (p * means).sum())
    losses = [method.step(copy.deepcopy(start), k)["flow_loss"] for k in range(200)]
    error = np.std(losses, ddof=1) / 200**0.5
    assert error < 0.05 * abs(expected)
    assert abs(np.mean(losses) - expected) < 4 * error


@pytest.mark.parametrize("regions", [None, 30])
@pytest.mark.parametrize("chunk", [1, 7, 64])
def test_chunks_do_not_matter(regions: int | None, chunk: int) -> None:
    """N=8 and four points: whole blocks of normal numbers, so that all chunkings draw the same ones."""
    results = []
    for size in (100_000, chunk):
        method = build(regions=regions, chunk=size)
        state = scramble(method.init(3))
        results.append((method.step(state, 1), gradients(state.flow), gradients(state.nqs)))
    (whole, *whole_gradients), (parts, *part_gradients) = results
    assert parts == pytest.approx(whole, rel=1e-10)
    torch.testing.assert_close(part_gradients, whole_gradients, rtol=1e-9, atol=1e-11)


def test_chunks_do_not_change_the_noise() -> None:
    system = ChainTFIM(n_sites=5, range=2, coupling=1.0, field=1.0)
    losses = []
    for chunk in (100_000, 20):
        method = build(system, regions=None, points=3, chunk=chunk)
        losses.append(method.step(scramble(method.init(3)), 1)["flow_loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-10)


def test_stop_unique() -> None:
    method = build(stop="unique", draws=100, unique_threshold=0.5, subspaces=4)
    state = method.init(3)
    assert method.converged(state) is None
    metrics = method.step(state, 0)
    assert state.largest_unique_fraction == metrics["unique_fraction_max"] > 0.5
    assert method.converged(state) is None
    state.largest_unique_fraction = 0.5
    assert method.converged(state) is None
    state.largest_unique_fraction = 0.499
    assert "unique fraction below 0.5" in (method.converged(state) or "")
    few = build(stop="unique", draws=3000)
    state = few.init(3)
    few.step(state, 0)
    assert few.converged(state) is not None


def test_stop_floor_keeps_the_best_flow() -> None:
    """Patience runs only while the paper's rule holds: all unique fractions below the threshold."""
    method = build(stop="floor", patience=3, draws=60, unique_threshold=0.9)
    state = method.init(3)
    assert method.sampling_flow(state) is state.flow
    floors: list[float] = []
    flows: list[dict[str, torch.Tensor]] = []
    waited, exempt = 0, 0
    reason = None
    for k in range(200):
        flows.append(copy.deepcopy(state.flow.state_dict()))
        metrics = method.step(state, k)
        floors.append(metrics["floor_mean"])
        best = int(np.argmin(floors))
        counts = metrics["unique_fraction_max"] < 0.9
        exempt += best != k and not counts
        waited = 0 if best == k else waited + counts
        assert state.best_floor == floors[best]
        assert state.steps_since_best == waited
        assert same(dict(method.sampling_flow(state).state_dict()), dict(flows[best]))
        reason = method.converged(state)
        assert (reason is not None) == (waited >= 3)
        if reason:
            break
    assert reason is not None
    assert "3 steps" in reason
    assert exempt > 0
    assert len(floors) > 4
    assert not same(dict(state.flow.state_dict()), dict(flows[best]))


def test_stop_floor_waits_for_the_sampler_to_concentrate() -> None:
    method = build(stop="floor", patience=1, draws=30, unique_threshold=0.0)
    state = method.init(3)
    floors = [metrics["floor_mean"] for metrics in run(method, state, range(12))]
    assert int(np.argmin(floors)) < 11
    assert state.steps_since_best == 0
    assert method.converged(state) is None


def test_stop_never() -> None:
    method = build(stop="never", draws=3000)
    state = method.init(3)
    metrics = method.step(state, 0)
    state.steps_since_best = 1000
    assert method.converged(state) is None
    assert "floor_mean" not in metrics
    assert method.sampling_flow(state) is state.flow


def test_measure_and_summarise(tmp_path: Path) -> None:
    method = build()
    state = method.init(3)
    run(method, state, range(3))
    records = [method.measure(state, k) for k in range(4)]
    save_records(tmp_path / "r.npz", records)
    loaded = load_records(tmp_path / "r.npz")
    full = dense.ring(8, 4, 1.0, 1.0)
    hamiltonian = Hamiltonian(pauli_terms(CHAIN), 8)
    for record in loaded:
        subspace = Subspace(torch.from_numpy(record["codes"]), hamiltonian)
        rows = dense.row(subspace.spins.numpy())
        floor = dense.lowest(full[np.ix_(rows, rows)])
        assert record["floor"] == pytest.approx(floor, rel=1e-10)
        assert record["energy"] >= floor - 1e-9
        assert floor >= EXACT - 1e-9
        assert record["size"] == len(set(record["codes"].tolist())) <= 80
        assert record["trace"][0] > record["energy"]
        assert np.isfinite(record["trace"]).all()
    assert not np.array_equal(records[0]["codes"], records[1]["codes"])
    assert records[0]["trace"][0] != records[1]["trace"][0]

    result = method.summarise(loaded)
    energies, floors = [r["energy"] for r in records], [r["floor"] for r in records]
    energy = result.estimate("energy")
    assert energy.value == pytest.approx(np.mean(energies), rel=1e-13)
    assert energy.spread == pytest.approx(np.std(energies, ddof=1), rel=1e-9)
    assert energy.sigma == pytest.approx(np.std(energies, ddof=1) / 2, rel=1e-9)
    assert (energy.n, energy.unit, energy.bound, energy.sigma_kind) == (4, "total", "variational", "standard-error")
    assert result.estimate("subspace_floor").value == pytest.approx(np.mean(floors), rel=1e-13)
    assert result.estimate("lowest_energy").value == min(energies)
    assert result.estimate("unique_fraction").value == pytest.approx(np.mean([r["size"] for r in records]) / 80)
    union = sorted({int(code) for r in records for code in r["codes"]})
    assert result.estimate("union_size").value == len(union)
    rows = np.array([int(f"{code:08b}"[::-1], 2) for code in union])
    assert result.estimate("union_floor").value == pytest.approx(dense.lowest(full[np.ix_(rows, rows)]), rel=1e-10)
    assert EXACT - 1e-9 <= result.estimate("union_floor").value <= min(floors) + 1e-9
    (curve,) = result.curves
    assert len(curve.x) == len(curve.y) == 41
    assert curve.x == tuple(range(41))
    assert curve.y[-1] == pytest.approx(np.mean(energies), rel=1e-13)


def test_a_record_depends_on_the_inference_seed_and_number_alone() -> None:
    method = build()
    state = method.init(3)
    third = method.measure(state, 3)
    method.measure(state, 0)
    again = method.measure(state, 3)
    assert third["energy"] == again["energy"]
    assert np.array_equal(third["codes"], again["codes"])
    other = build(infer=replace(INFER, seed=2))
    assert other.measure(state, 3)["energy"] != third["energy"]
    assert build(infer=replace(INFER, seed=1)).measure(method.init(3), 3)["energy"] == third["energy"]


def test_inference_may_have_its_own_ansatz() -> None:
    own = MLPConfig(hidden=[8], initialisation="torch")
    with_own = build(infer=replace(INFER, ansatz=own))
    state = with_own.init(3)
    record, default = with_own.measure(state, 0), build().measure(state, 0)
    assert np.array_equal(record["codes"], default["codes"])
    assert record["energy"] != default["energy"]
    same_own = build(infer=replace(INFER, ansatz=TRAIN.ansatz)).measure(state, 0)
    assert same_own["energy"] == default["energy"]
    assert next(p.shape for p in state.nqs.parameters()) == (24, 8)


def test_trace_is_thinned() -> None:
    method = build(infer=replace(INFER, iterations=230, lr=1e-3))
    record = method.measure(method.init(3), 0)
    (curve,) = method.summarise([record]).curves
    assert len(curve.x) == len(record["trace"])
    assert 50 <= len(curve.x) <= 60
    assert curve.x[:3] == (0.0, 4.0, 8.0)
    assert curve.x[-1] <= 230


def test_learning_rate_falls_on_a_plateau() -> None:
    """A step far too large bounces: halved at least once; a small one only goes down: kept."""
    bouncing = build(infer=replace(INFER, lr=0.3, iterations=100, plateau_patience=3))
    assert bouncing.measure(bouncing.init(3), 0)["learning_rate"] <= 0.15
    steady = build(infer=replace(INFER, lr=1e-4, iterations=60, plateau_patience=3))
    assert steady.measure(steady.init(3), 0)["learning_rate"] == 1e-4


@pytest.mark.parametrize(("n_sites", "draws", "best"), [(8, 800, 1e-3), (10, 1500, 6e-3)])
def test_learns_the_ground_state(n_sites: int, draws: int, best: float) -> None:
    """One subspace may miss an aligned state (3e-3) or its NQS may be slow: the union is the sharp test."""
    system = ChainTFIM(n_sites=n_sites, range=n_sites // 2, coupling=1.0, field=1.0)
    exact = dense.lowest(dense.ring(n_sites, n_sites // 2, 1.0, 1.0))
    infer = SubspaceInferConfig(
        units=4, seed=1, draws=draws, iterations=400, lr=5e-3, plateau_factor=0.5, plateau_patience=20
    )
    method = replace(METHOD, draws=draws, flow_hidden=[32, 32], regions=64, patience=15)
    train = replace(TRAIN, method=method, optimizer=AdamConfig(lr=1e-3, betas=(0.9, 0.999)))
    model = SubspaceFlow(system, train, infer, "cpu")
    state = model.init(3)
    metrics = []
    for k in range(40):
        metrics.append(model.step(state, k))
        if model.converged(state):
            break
    assert min(m["energy_min"] for m in metrics) > exact - 1e-9 * abs(exact)
    assert metrics[-1]["unique_fraction_max"] < metrics[0]["unique_fraction_max"]
    result = model.summarise([model.measure(state, k) for k in range(infer.units)])
    limits = {"energy": 2e-2, "lowest_energy": best, "subspace_floor": 1e-2, "union_floor": 1e-5}
    for name, limit in limits.items():
        error = (result.estimate(name).value - exact) / abs(exact)
        assert -1e-9 <= error <= limit, name


def test_flow_learns_to_prefer_aligned_states() -> None:
    """A strong ferromagnet: mean |M| of fresh samples grows under training."""
    method = build(draws=150, regions=64, stop="never", flow_hidden=[32, 32], dtype="float32")
    state = method.init(3)

    def magnetisation() -> float:
        spins = state.flow.sample_signs(4000, torch.Generator().manual_seed(1))
        return float(spins.sum(1).abs().float().mean())

    before = magnetisation()
    run(method, state, range(60))
    assert before == pytest.approx(8 * 70 / 256, abs=0.2)
    assert magnetisation() > before + 1.5


@pytest.mark.parametrize("initialisation", ["torch", "orthogonal"])
def test_mlp(initialisation: str) -> None:
    config = MLPConfig(hidden=[30, 20], initialisation=initialisation)
    network = build_ansatz(config, 12, 5)
    assert isinstance(network, MLP)
    spins = torch.from_numpy(np.random.default_rng(0).choice([-1, 1], (500, 12))).to(torch.int8)
    psi = network(spins)
    assert psi.shape == (500,)
    linear = [layer for layer in network.network if isinstance(layer, torch.nn.Linear)]
    x = spins.numpy().astype(float)
    for layer in linear[:-1]:
        x = np.maximum(x @ layer.weight.detach().numpy().T + layer.bias.detach().numpy(), 0)
    x = np.tanh(x @ linear[-1].weight.detach().numpy().T + linear[-1].bias.detach().numpy())[:, 0]
    np.testing.assert_allclose(psi.detach().numpy(), x, rtol=1e-4, atol=1e-6)
    assert network.double()(spins).dtype == torch.float64
    if initialisation == "orthogonal":
        first, second, last = (layer.weight.double() for layer in linear)
        torch.testing.assert_close(first.T @ first, 2 * torch.eye(12, dtype=torch.float64), rtol=0, atol=1e-5)
        torch.testing.assert_close(second @ second.T, 2 * torch.eye(20, dtype=torch.float64), rtol=0, atol=1e-5)
        assert last.norm().item() == pytest.approx(LAST_LAYER_SCALE * 2**0.5, rel=1e-5)
        assert all(not layer.bias.any() for layer in linear)
        assert psi.abs().max() < 0.98


def test_parts_are_built_from_the_seed_alone() -> None:
    before = torch.random.get_rng_state()
    first, again, other = (build_ansatz(TRAIN.ansatz, 8, seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(before, torch.random.get_rng_state())
    assert same(dict(first), dict(again))
    assert not same(dict(first), dict(other))
    optimizer = build_optimizer(AdamConfig(lr=0.02, betas=(0.5, 0.7)), [torch.nn.Parameter(torch.zeros(1))])
    assert isinstance(optimizer, torch.optim.Adam)
    assert optimizer.param_groups[0]["lr"] == 0.02
    assert tuple(optimizer.param_groups[0]["betas"]) == (0.5, 0.7)


@pytest.mark.parametrize(
    "changes",
    [
        {"subspaces": 0},
        {"draws": 0},
        {"flow_layers": 0},
        {"flow_hidden": []},
        {"flow_hidden": [8, 0]},
        {"prior": "gaussian"},
        {"prior_width": 0.0},
        {"points": 0},
        {"region_centre": 1.5},
        {"region_width": -0.1},
        {"regions": 0},
        {"gradient_clip": float("nan")},
        {"stop": "sometimes"},
        {"unique_threshold": 1.1},
        {"patience": 0},
        {"chunk": 0},
    ],
)
def test_refused_methods(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="train.method." + next(iter(changes))):
        replace(METHOD, **changes)


@pytest.mark.parametrize(
    "changes", [{"draws": 0}, {"iterations": 0}, {"lr": 0.0}, {"plateau_factor": 1.5}, {"plateau_patience": -1}]
)
def test_refused_inference(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="infer." + next(iter(changes))):
        replace(INFER, **changes)


def test_plateau_factor_of_one() -> None:
    try:
        method = build(infer=replace(INFER, plateau_factor=1.0, iterations=2))
    except ConfigError:
        return
    method.measure(method.init(3), 0)


def test_refused_networks() -> None:
    with pytest.raises(ConfigError):
        MLPConfig(hidden=[], initialisation="torch")
    with pytest.raises(ConfigError):
        MLPConfig(hidden=[3], initialisation="xavier")
    with pytest.raises(ConfigError):
        AdamConfig(lr=0.0, betas=(0.9, 0.999))
    with pytest.raises(ConfigError):
        RBMConfig(alpha=0, deviation=0.1)


def test_refused_systems() -> None:
    METHOD.check(ChainTFIM(n_sites=62, range=1, coupling=1.0, field=1.0))
    with pytest.raises(ConfigError, match="63 sites"):
        METHOD.check(ChainTFIM(n_sites=63, range=1, coupling=1.0, field=1.0))
    with pytest.raises(ConfigError, match="spin systems"):
        METHOD.check(object())
