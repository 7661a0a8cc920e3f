"""Training of NF+NQS on systems small enough for dense matrices."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.base.store.files import load_tree, save_tree
from pipeline.spin.subspace.method import SubspaceFlow, SubspaceFlowState
from pipeline.spin.systems import ChainTFIM
from tests.spin import dense
from tests.spin.small_flow import EXACT, INFER, build, gradients, run, same, scramble


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


def test_draws_of_the_identity_have_no_site_means_and_no_pairs() -> None:
    """Either prior gives every orthant the same weight: mean squares of 1/M; a flow that moves does not."""
    for prior in ("normal", "bimodal"):
        method = build(prior=prior, draws=2000)
        state = method.init(3)
        uniform: dict[str, float] = {}
        method._draw_subspaces(state, 0, uniform)
        for name, count in (("site_mean_rms", 8), ("pair_mean_rms", 28)):
            deviations = (6000 * uniform[name] ** 2 - 1) * math.sqrt(count / 2)
            assert abs(deviations) < 3, (prior, name)
        moved: dict[str, float] = {}
        method._draw_subspaces(scramble(state), 0, moved)
        assert moved["site_mean_rms"] > 10 * uniform["site_mean_rms"]
        assert moved["pair_mean_rms"] > 3 * uniform["pair_mean_rms"]


def test_site_means_and_pairs_count_every_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three times up-down and once down-down on two sites: ⟨σ⟩ = (1/2, -1), ⟨σσ'⟩ = -1/2."""
    method = build(ChainTFIM(n_sites=2, range=1, coupling=1.0, field=1.0), subspaces=1, draws=4)
    signs = torch.tensor([[1, -1], [1, -1], [1, -1], [-1, -1]], dtype=torch.int8)
    state = method.init(0)
    monkeypatch.setattr(state.flow, "sample_signs", lambda count, generator: signs)
    metrics: dict[str, float] = {}
    method._draw_subspaces(state, 0, metrics)
    assert metrics == {"site_mean_rms": math.sqrt((0.25 + 1) / 2), "pair_mean_rms": 0.5}


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
    draws = [tuple(part.codes.tolist()) for k in range(3) for part in method._draw_subspaces(state, k, {})]
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
    parts = method._draw_subspaces(state, 2, {})
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
