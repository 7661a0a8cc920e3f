"""Passes of a dense network by hand against automatic differentiation, and the descent that uses them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from pipeline.base.descent import Adam, Muon
from pipeline.spin.ansatz.build import build_ansatz
from pipeline.spin.ansatz.schema import MLPConfig
from pipeline.spin.subspace.descent import Descent
from pipeline.spin.subspace.passes import DensePasses, RecordedPasses, passes
from pipeline.spin.systems import ChainTFIM
from tests.spin.small_flow import CHAIN, INFER, build


def network(n_sites: int, hidden: list[int], dtype: torch.dtype, seed: int = 5) -> torch.nn.Module:
    system = ChainTFIM(n_sites=n_sites, range=1, coupling=1.0, field=1.0)
    return build_ansatz(MLPConfig(hidden=hidden, initialisation="orthogonal"), system, seed).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("n_sites", "hidden", "count"), [(2, [3], 1), (3, [4, 4], 8), (7, [16, 5, 9], 40), (12, [1, 1], 5), (5, [8], 1)]
)
def test_by_hand_and_recorded(n_sites: int, hidden: list[int], count: int, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(2)
    spins = (2 * torch.randint(0, 2, (count, n_sites), generator=generator) - 1).to(torch.int8)
    first, second = network(n_sites, hidden, dtype), network(n_sites, hidden, dtype)
    by_hand, recorded = passes(first, spins), RecordedPasses(second, spins)
    assert isinstance(by_hand, DensePasses)
    tolerance = 1e-5 if dtype == torch.float32 else 1e-13
    for scale in (1.0, 1e-3, 30.0):  # nothing of one update may be left in the next one
        with torch.no_grad():
            for p, q in zip(first.parameters(), second.parameters(), strict=True):
                p.mul_(scale)
                q.mul_(scale)
        slope = torch.randn(count, generator=generator, dtype=torch.float64)
        mine, theirs = by_hand.values(), recorded.values()
        assert mine.dtype == torch.float64
        torch.testing.assert_close(mine, theirs, rtol=tolerance, atol=tolerance)
        by_hand.backward(slope)
        recorded.backward(slope)
        for p, q in zip(first.parameters(), second.parameters(), strict=True):
            assert p.grad is not None
            assert q.grad is not None
            assert p.grad.dtype == dtype
            torch.testing.assert_close(p.grad, q.grad, rtol=10 * tolerance, atol=tolerance * float(q.grad.abs().max()))


def test_gradients_by_differences() -> None:
    """Σ_x c_x ψ(x) along a random direction of all parameters."""
    generator = torch.Generator().manual_seed(4)
    nqs = network(4, [6, 6], torch.float64)
    spins = 2.0 * torch.randint(0, 2, (9, 4), generator=generator) - 1
    slope = torch.randn(9, generator=generator, dtype=torch.float64)
    by_hand = passes(nqs, spins)
    by_hand.values()
    by_hand.backward(slope)
    directions = [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in nqs.parameters()]
    gradients = [p.grad for p in nqs.parameters() if p.grad is not None]
    expected = float(sum(torch.sum(g * d) for g, d in zip(gradients, directions, strict=True)))
    found = []
    for sign in (1, -1):
        with torch.no_grad():
            for p, d in zip(nqs.parameters(), directions, strict=True):
                p.add_(d, alpha=1e-6 if sign == 1 else -2e-6)
        found.append(float(slope @ by_hand.values()))
    assert (found[0] - found[1]) / 2e-6 == pytest.approx(expected, rel=1e-6)


def test_other_networks_are_recorded() -> None:
    spins = torch.ones(3, 4, dtype=torch.int8)
    other = torch.nn.Sequential(torch.nn.Linear(4, 1, dtype=torch.float64), torch.nn.Flatten(0))
    ways = passes(other, spins)
    assert isinstance(ways, RecordedPasses)
    slope = torch.tensor([1.0, 2.0, -0.5], dtype=torch.float64)
    for _ in range(2):  # gradients are set, not added to
        assert ways.values().shape == (3,)
        ways.backward(slope)
        weight = other[0].weight
        assert weight.grad is not None
        torch.testing.assert_close(weight.grad, torch.full((1, 4), 2.5, dtype=torch.float64))


def test_matrices_get_orthogonal_steps_and_the_rest_adam() -> None:
    nqs = network(8, [6, 6], torch.float64)
    descent = Descent(nqs, replace(INFER, matrix_lr=0.02))
    adam, muon = descent._optimizers
    assert isinstance(adam, Adam)
    assert isinstance(muon, Muon)
    shapes = [[tuple(p.shape) for p in optimizer.param_groups[0]["params"]] for optimizer in (adam, muon)]
    assert shapes == [[(6,), (6,), (1, 6), (1,)], [(6, 8), (6, 6)]]
    assert (descent.learning_rate, muon.param_groups[0]["lr"]) == (INFER.lr, 0.02)
    (alone,) = Descent(nqs, INFER)._optimizers
    assert sum(len(group["params"]) for group in alone.param_groups) == 6


def test_cosine() -> None:
    """Learning rates fall by half a period, those of matrices too, and to zero at the last update."""
    nqs = network(8, [6, 6], torch.float64)
    descent = Descent(nqs, replace(INFER, matrix_lr=0.02, schedule="cosine", iterations=8))
    for p in nqs.parameters():
        p.grad = torch.zeros_like(p)
    rates = []
    for _ in range(9):
        rates.append([optimizer.param_groups[0]["lr"] for optimizer in descent._optimizers])
        descent.step(0.0)
    found = torch.tensor(rates, dtype=torch.float64) / torch.tensor([INFER.lr, 0.02])
    expected = (0.5 + 0.5 * torch.cos(torch.pi * torch.arange(9, dtype=torch.float64) / 8))[:, None].expand(9, 2)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


def test_orthogonal_steps_come_closer_to_the_floor() -> None:
    """Than Adam alone in as many updates, on the same subspaces with the same networks."""
    errors = {}
    for name, changes in (("adam", {}), ("muon", {"matrix_lr": 0.03, "schedule": "cosine"})):
        method = build(CHAIN, infer=replace(INFER, iterations=60, lr=1e-3, **changes))  # type: ignore[arg-type]
        state = method.init(3)
        records = [method.measure(state, k) for k in range(3)]
        errors[name] = sum(record["energy"] - record["floor"] for record in records)
    assert 0 <= errors["muon"] < 0.5 * errors["adam"]
