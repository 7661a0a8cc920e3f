"""An error that the samples cannot tell is unknown, never zero; only exact weights have none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from pipeline.base.numbers.result import Result
from pipeline.spin.systems import ChainHeisenberg
from tests.spin.small_vmc import DIRECT, INFER, METROPOLIS, TRAIN, TinyConfig, build

TINY = TinyConfig(deviation=0.3)
CHAIN = replace(METROPOLIS, chains=1, samples=1)


def inferred(sampler: Any, units: int = 1, weight: float | None = None) -> Result:
    """Of a random state, or of one in which a single configuration has nearly all of the probability."""
    method = build(ansatz=TINY, sampler=sampler, infer=replace(INFER, units=units))
    state = method.init(1)
    if weight is not None:
        with torch.no_grad():
            state.ansatz.weight.zero_()  # type: ignore[union-attr, operator]
            state.ansatz.bias.fill_(weight)  # type: ignore[union-attr, operator]
    return method.summarise([method.measure(state, k) for k in range(units)])


@pytest.mark.parametrize(
    ("sampler", "units", "doubt"),
    [
        (replace(DIRECT, samples=1), 1, "only 1 sample"),
        (replace(DIRECT, samples=1), 2, "only 2 samples"),
        (replace(DIRECT, samples=2), 1, "only 2 samples"),
        (CHAIN, 1, "only 1 sample"),
        (CHAIN, 2, "all 2 samples have the same value"),
        (replace(METROPOLIS, chains=2, samples=2), 1, "only 2 samples"),
    ],
)
def test_one_or_two_samples_have_no_error(sampler: Any, units: int, doubt: str) -> None:
    result = inferred(sampler, units)
    energy = result.estimate("energy")
    assert (energy.sigma, energy.sigma_kind, energy.spread, energy.reliable) == (None, "none", None, False)
    assert energy.doubt.startswith(doubt)
    assert any(note.startswith("Errors unknown or not to be relied upon: energy") for note in result.notes)
    has_variance = units * sampler.samples > 1
    assert ("variance" in {e.name for e in result.estimates}) == has_variance, "one sample has no variance"


@pytest.mark.parametrize("sampler", [DIRECT, METROPOLIS], ids=["direct", "metropolis"])
def test_samples_that_are_all_the_same_have_no_error(sampler: Any) -> None:
    """A collapsed state: configurations that were never drawn may have any energy."""
    result = inferred(replace(sampler, start="up") if sampler is METROPOLIS else sampler, 2, weight=9.0)
    for name in ("energy", "magnetisation"):
        estimate = result.estimate(name)
        assert (estimate.sigma, estimate.reliable) == (None, False)
        assert estimate.doubt == f"all {estimate.n} samples have the same value"


def test_exact_weights_have_no_error_at_all() -> None:
    energy = inferred(TRAIN.sampler).estimate("energy")
    assert (energy.sigma, energy.doubt, energy.reliable) == (0.0, "", True)


def test_samples_are_no_spread() -> None:
    """A spread is over seeds or subspaces: neither batches, nor samples of chains, nor direct draws have one."""
    for sampler in (DIRECT, METROPOLIS):
        result = inferred(sampler, 3)
        assert all(estimate.spread is None for estimate in result.estimates)
        assert result.estimate("energy").reliable


def test_what_exchanges_conserve_is_known() -> None:
    ring = ChainHeisenberg(n_sites=5, periodic=True, j1=1.0, j2=0.0)
    method = build(ring, sampler=replace(METROPOLIS, rule="exchange"), infer=INFER)
    state = method.init(1)
    result = method.summarise([method.measure(state, 0)])
    assert (result.estimate("magnetisation").value, result.estimate("magnetisation").sigma) == (1.0, 0.0)
    assert (result.estimate("absolute_magnetisation").value, result.estimate("absolute_magnetisation").sigma) == (
        0.2,
        0,
    )
