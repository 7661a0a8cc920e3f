"""Reconfiguration shared among ranks against that of one: operators, solutions, memory and what is sent."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from pipeline.base.config.phases import SRConfig
from pipeline.base.run.ranks import ALONE, Ranks, shares
from pipeline.spin.ansatz.schema import RBMConfig
from pipeline.spin.chunks import Chunks
from pipeline.spin.sr import gram, layerwise
from pipeline.spin.sr.choice import derivatives_of
from pipeline.spin.sr.dense import DenseLogDerivatives
from pipeline.spin.sr.gram import transposed
from pipeline.spin.sr.layerwise import LayerwiseLogDerivatives
from pipeline.spin.sr.operator import LogDerivatives, Scalable
from pipeline.spin.sr.solve import Solver, among_samples, solve
from pipeline.spin.wave_function import WaveFunction
from tests import pretend
from tests.spin.small_vmc import METROPOLIS, build
from tests.spin.sr.test_layerwise import data, network
from tests.threads import Threads, in_threads

EPS = torch.finfo(torch.float64).eps
SHIFT = 1e-3
KINDS = ("dense", "layerwise")


def numbers(operator: LogDerivatives) -> list[Tensor]:
    """All that the protocol has, and a solution."""
    generator = torch.Generator().manual_seed(4)
    direction, coefficients = (torch.randn(n, generator=generator, dtype=torch.float64) for n in operator.shape)
    scale = 0.5 + torch.rand(operator.shape[0], generator=generator, dtype=torch.float64)
    assert isinstance(operator, Scalable)
    return [
        operator.gram(),
        operator.metric(),
        operator.push(direction),
        operator.pull(coefficients),
        operator.scaled(scale).gram(),
        solve(operator, coefficients, SHIFT),
    ]


def asked(kind: str, ansatz: WaveFunction, samples: int) -> Callable[[Ranks], list[Tensor]]:
    """What a rank does: forward hooks want a network for each thread."""
    spins, weights = data(samples)
    return lambda ranks: numbers(derivatives_of(kind, copy.deepcopy(ansatz), spins, weights, Chunks(None), ranks))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("phases", [False, True], ids=["real", "complex"])
@pytest.mark.parametrize("samples", [13, 3])
def test_ranks_have_the_numbers_of_one(kind: str, phases: bool, samples: int) -> None:
    """Weights are uneven; 13 is a multiple of neither, 3 are fewer than 4 ranks. All ranks have the same bits."""
    body = asked(kind, network(phases=phases, images=True)(), samples)
    expected = body(ALONE)
    condition = (float(torch.linalg.matrix_norm(expected[0], 2)) + SHIFT) / SHIFT
    for size in (2, 4):
        found = in_threads(size, body)
        for one, others in zip(expected[:-1], zip(*found, strict=True), strict=False):
            torch.testing.assert_close(others[0], one, rtol=0, atol=100 * EPS * float(one.abs().max()))
        assert float((found[0][-1] - expected[-1]).norm() / expected[-1].norm()) <= 100 * EPS * condition
        for numbers_of_one in found[1:]:
            assert all(torch.equal(a, b) for a, b in zip(numbers_of_one, found[0], strict=True))


@pytest.mark.parametrize("way", ["pairs", "slabs"])
def test_either_way_to_a_layers_gram_matrix(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In many small pieces: slabs of a few columns, blocks of a few rows, exchanges of a few bytes."""
    monkeypatch.setattr(layerwise, "ELEMENTWISE", -1e9 if way == "pairs" else 1e9)
    monkeypatch.setattr(gram, "BLOCK", 4)
    monkeypatch.setattr(gram, "EXCHANGED", 2000)
    monkeypatch.setattr(gram, "NARROW", 1)
    ansatz, (spins, weights) = network(phases=True, images=True)(), data(11)
    expected = DenseLogDerivatives.of(ansatz, spins, weights, Chunks(None)).gram()

    def body(ranks: Ranks) -> Tensor:
        own = LayerwiseLogDerivatives(copy.deepcopy(ansatz), spins, weights, Chunks(None), ranks, budget=10**4)
        assert (len(own._paired()) > 0) == (way == "pairs")
        assert len(own._slabs(own._paired())) > 1
        return own.gram()

    for found in in_threads(3, body):
        torch.testing.assert_close(found, expected, rtol=0, atol=100 * EPS * float(expected.abs().max()))


@pytest.mark.parametrize("columns", [1, 2, 7, 12])
def test_a_transposition_brings_every_column_once(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gram, "EXCHANGED", 1)
    monkeypatch.setattr(gram, "NARROW", 2)
    everything = torch.arange(1, 2 * 7 * columns + 1, dtype=torch.float64).view(2, 7, columns)

    def body(ranks: Threads) -> list[Tensor]:
        mine = shares(ranks, 7)[ranks.rank]
        return list(transposed(everything[:, mine], 7, ranks))

    held = [piece for pieces in in_threads(3, body) for piece in pieces]
    found = torch.cat(held, 1)
    found = found[:, found.abs().sum(0) > 0]
    assert torch.equal(found[:, found[0].argsort()], everything.flatten(0, 1))


@pytest.mark.parametrize("kind", KINDS)
def test_derivatives_are_made_once_and_sent_once(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each rank holds its rows; (K-1)/K of all elements travel once, a rank sends its share of that."""
    ansatz, (spins, weights) = network(phases=True)(), data(12)
    monkeypatch.setattr(layerwise, "ELEMENTWISE", 1e9)  # no pairs, which send inputs and signals instead

    def body(ranks: Threads) -> tuple[int, int]:
        operator = derivatives_of(kind, copy.deepcopy(ansatz), spins, weights, Chunks(None), ranks)
        operator.gram()
        if isinstance(operator, DenseLogDerivatives):
            assert operator._rows.numel() == operator.shape[0] * operator.shape[1] // 4
        return ranks.sent, operator.shape[0] * operator.shape[1]

    for sent, elements in in_threads(4, body):
        padding = 8 * 2 * 3 * 4 * 3  # to a multiple of four columns
        assert 0 <= sent - 8 * elements * 3 // 16 <= padding


def test_the_first_rank_solves_and_all_know(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where Cholesky fails and the matrix is made anew, and where nothing is finite."""
    solvers: list[int] = []
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn((6, 6), generator=generator, dtype=torch.float64)
    matrix = matrix @ matrix.T
    target = torch.randn(6, generator=generator, dtype=torch.float64)

    def body(given: Tensor) -> Callable[[Threads], Tensor]:
        def of_rank(ranks: Threads) -> Tensor:
            solver = Solver()
            solved = Solver._solved

            def noted(*args: Any) -> Tensor | None:
                solvers.append(ranks.rank)
                return solved(solver, *args)

            object.__setattr__(solver, "_solved", noted)
            return solver(given.clone, 1e-2, target, ranks)

        return of_rank

    expected = Solver()(matrix.clone, 1e-2, target)
    assert all(torch.equal(found, expected) for found in in_threads(3, body(matrix)))
    assert solvers == [0]
    monkeypatch.setattr("pipeline.spin.sr.solve._cholesky", lambda *_: None)
    by_eigenvalues = Solver()(matrix.clone, 1e-2, target)
    torch.testing.assert_close(by_eigenvalues, expected)
    assert all(torch.equal(found, by_eigenvalues) for found in in_threads(3, body(matrix)))
    assert solvers == [0, 0, 0]
    assert all(found.isnan().all() for found in in_threads(2, body(torch.full_like(matrix, float("inf")))))


@pytest.mark.parametrize("derivatives", KINDS)
def test_trainings_go_the_same_way(derivatives: str) -> None:
    """Chains, local energies, momentum and steps: the parameters of one, two and four ranks, 5 chains among them."""

    def body(ranks: Ranks) -> Tensor:
        config = SRConfig(lr=0.05, shift=1e-2, momentum=0.9, max_distance=0.1, derivatives=derivatives)
        ansatz = RBMConfig(alpha=2, deviation=0.3, parameters="complex")
        sampler = replace(METROPOLIS, samples=10, chains=5)
        method = build(optimizer=config, ansatz=ansatz, sampler=sampler, ranks=ranks)
        state = method.init(1)
        for k in range(3):
            method.step(state, k)
        return torch.cat([p.detach().flatten() for p in state.ansatz.parameters()])

    expected = body(ALONE)
    for size in (2, 4):
        found = in_threads(size, body)
        assert all(torch.equal(one, found[0]) for one in found)
        torch.testing.assert_close(found[0], expected, rtol=0, atol=1e-11)


def test_single_precision_is_exchanged_as_it_is() -> None:
    ansatz, (spins, weights) = network(phases=True)().float(), data(12)
    expected = LayerwiseLogDerivatives(ansatz, spins, weights, Chunks(None)).gram()

    def body(ranks: Threads) -> tuple[Tensor, int]:
        own = LayerwiseLogDerivatives(copy.deepcopy(ansatz), spins, weights, Chunks(None), ranks)
        return own.gram(), ranks.sent

    for found, sent in in_threads(2, body):
        assert 0 < sent <= 4 * expected.shape[0] * sum(p.numel() for p in ansatz.parameters()) // 4 + 4 * 12
        torch.testing.assert_close(found, expected, rtol=0, atol=2e-5 * float(expected.diagonal().max()))


@pytest.mark.parametrize("kind", KINDS)
def test_on_an_accelerator(kind: str) -> None:
    ansatz, (spins, weights) = network(phases=True)(), data(7)
    expected = derivatives_of(kind, ansatz, spins, weights, Chunks(None))
    target = torch.ones(expected.shape[1], dtype=torch.float64)
    step = solve(expected, target, SHIFT)
    with pretend.accelerator() as device:
        there = [tensor.to(device) for tensor in (spins, weights, target)]

        def body(ranks: Threads) -> Tensor:
            with pretend.thread():
                own = copy.deepcopy(ansatz).to(device)
                operator = derivatives_of(kind, own, there[0], there[1], Chunks(None, str(device)), ranks)
                found = solve(operator, there[2], SHIFT)
                assert found.device == device
                return found.cpu()

        for found in in_threads(2, body):
            torch.testing.assert_close(found, step, rtol=1e-8, atol=1e-10)


def test_among_samples_asks_the_operators_ranks() -> None:
    spins, weights = data(9)
    ansatz = network()()
    target = torch.ones(9, dtype=torch.float64)
    expected = among_samples(DenseLogDerivatives.of(ansatz, spins, weights, Chunks(None)), target, 1e-2)

    def body(ranks: Threads) -> Tensor:
        own = DenseLogDerivatives.of(copy.deepcopy(ansatz), spins, weights, Chunks(None), ranks)
        return among_samples(own, target, 1e-2)

    for found in in_threads(2, body):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
