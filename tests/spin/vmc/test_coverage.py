"""What a proposal covers of |ψ|²: known distributions, and the numbers of an inference against enumeration."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from pipeline.base.errors import ConfigError
from pipeline.spin.vmc.coverage import coverage
from pipeline.spin.vmc.schema import COVERAGES
from pipeline.stages.compose import compose_run
from tests.spin.sampler.tables import CONFIG, everything, lattice
from tests.spin.small_vmc import COMPLEX_RBM, INFER, TRAIN, amplitudes, build

WORDS = ["method=vmc", "system=square_tfim", "ansatz=rbm", "sampler=nir", "infer.coverage=true"]


def test_of_itself_a_proposal_misses_nothing() -> None:
    p = torch.tensor([0.4, 0.1, 0.3, 0.2], dtype=torch.float64)
    found = coverage(everything(2), p, p.log())
    assert list(found) == list(COVERAGES)
    assert [found[name] for name in COVERAGES[:2]] == pytest.approx([1.0, 1.0])
    assert found["proposal_minority"] == found["minority"] == pytest.approx(0.2 / 0.6)  # +- and -+ have no sign


def test_a_proposal_that_has_lost_a_mode() -> None:
    """Half of |ψ|² each on both aligned states, and a billionth of q on one of them."""
    p, small = torch.tensor([0.5, 0.0, 0.0, 0.5], dtype=torch.float64), 1e-9
    q = torch.tensor([1.0 - small, 0.0, 0.0, small], dtype=torch.float64)
    found = coverage(everything(2), p, q.log())
    assert found["proposal_overlap"] == pytest.approx(0.5 + small, rel=1e-12)
    assert found["proposal_efficiency"] == pytest.approx(1 / (0.25 / (1 - small) + 0.25 / small))
    assert found["proposal_minority"] == pytest.approx(small)
    assert found["minority"] == 0.5


def test_underflow_and_one_sign_alone() -> None:
    log_q = torch.tensor([0.0, -1e4, -1e4, -1e4], dtype=torch.float64)
    p = torch.full((4,), 0.25, dtype=torch.float64)
    found = coverage(everything(2), p, log_q)
    assert found["proposal_efficiency"] == 0.0
    assert found["proposal_minority"] == 0.0
    balanced = everything(2)[1:3]  # no configuration has a sign
    assert coverage(balanced, p[:2] * 2, (p[:2] * 2).log())["minority"] == 0.5


@pytest.mark.parametrize("go_on", ["training", "fresh"])
def test_numbers_of_an_inference(go_on: str) -> None:
    sampler = replace(CONFIG, updates=5)
    train = replace(TRAIN, ansatz=replace(COMPLEX_RBM, deviation=0.3), sampler=sampler)
    method = build(lattice(3, 2), train=train, infer=replace(INFER, chains=go_on, coverage=True, units=2))
    state = method.init(1)
    method.step(state, 0)
    result = method.summarise([method.measure(state, k) for k in range(2)])
    assert state.inference is not None
    q = state.inference.proposal.log_probability(everything(6)).exp().detach().numpy()  # type: ignore[attr-defined]
    p = np.abs(amplitudes(state.ansatz, 6)) ** 2
    p = p / p.sum()
    up, down = (q[everything(6).sum(1).numpy() * sign > 0].sum() for sign in (1, -1))
    expected = (np.minimum(p, q).sum(), 1 / (p**2 / q).sum(), min(up, down) / (up + down))
    for name, value in zip(COVERAGES, expected, strict=False):
        assert result.estimate(name).value == pytest.approx(value, rel=1e-6)
        assert result.estimate(name).sigma == 0.0
    unasked = build(lattice(3, 2), train=train, infer=replace(INFER, chains=go_on))
    assert not set(COVERAGES) & set(unasked.measure(state, 0))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["sampler=metropolis"], r"^infer\.coverage=True: sampler=metropolis has no proposal that learns"),
        (["infer_sampler=exhaustive"], r"^infer\.coverage=True: sampler=exhaustive has no proposal"),
        (["system.length_x=5", "system.length_y=5"], r"^infer\.coverage=True: would enumerate 2\^25"),
    ],
)
def test_where_there_is_nothing_to_compare(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        compose_run([*WORDS, "system.length_x=3", "system.length_y=2", *words])
