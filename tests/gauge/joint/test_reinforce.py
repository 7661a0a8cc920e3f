"""The score-function gradient: unbiased, without derivatives of actions, with a control variate that helps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from pipeline.base.numbers.rng import torch_generator
from pipeline.gauge.joint import reinforce
from pipeline.gauge.joint.method import JointFlowTraining
from pipeline.gauge.joint.model import joint_kl
from pipeline.gauge.joint.reinforce import above_others, score_function_kl
from pipeline.gauge.joint.state import JointFlowState
from pipeline.gauge.pseudofermion.target import PseudofermionTarget
from tests.gauge.joint.small_joint import small

Loss = Callable[[int], Tensor]


def method_and_state(**changed: Any) -> tuple[JointFlowTraining, JointFlowState]:
    method = small(marginal={"layers": 2}, target={"hasenbusch": [0.3]}, **changed)
    return method, method.init(0)


def losses(method: JointFlowTraining, state: JointFlowState, batch: int, draws: int = 1) -> tuple[Loss, Loss]:
    def by_score(k: int) -> Tensor:
        generator = torch_generator(2, "test.reinforce", k)
        return score_function_kl(state.flow, method.regulated, method.system, batch, draws, generator)

    def by_path(k: int) -> Tensor:
        generator = torch_generator(2, "test.reinforce", k)
        return joint_kl(state.flow, method.regulated, method.system, batch, draws, generator, "reparametrised")

    return by_score, by_path


def gradients(loss: Loss, state: JointFlowState, repeats: int) -> Tensor:
    """(repeats, biases of all networks)."""
    biases = [p for name, p in state.flow.named_parameters() if name.endswith("bias")]
    found = [torch.autograd.grad(loss(k), biases) for k in range(repeats)]
    return torch.stack([torch.cat([g.flatten() for g in one]) for one in found])


def test_the_mean_is_that_of_the_reparametrised_gradient() -> None:
    """Of all biases within errors; many of them are far from zero."""
    method, state = method_and_state()
    by_score, by_path = (gradients(loss, state, 24) for loss in losses(method, state, 64, 2))
    error = (by_score.var(dim=0) + by_path.var(dim=0)).div(24).sqrt()
    known = error > 0
    pulls = (by_score.mean(dim=0) - by_path.mean(dim=0))[known] / error[known]
    assert len(pulls) > 50
    assert pulls.abs().max() < 5.0
    assert pulls.square().mean() < 1.6
    assert ((by_path.mean(dim=0).abs() / error)[known] > 5.0).sum() >= 3


def test_the_value_is_that_of_the_other_gradients() -> None:
    method, state = method_and_state()
    by_score, by_path = (loss(0).item() for loss in losses(method, state, 4, 3))
    assert by_score == by_path


def test_no_derivative_of_an_action_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    method, _ = method_and_state(gradient="reinforce", chunk=4)
    state, asked = method.init(0), []
    actions = PseudofermionTarget.actions

    def watched(target: PseudofermionTarget, links: Tensor, fields: tuple[Tensor, ...]) -> Tensor:
        asked.append(torch.is_grad_enabled() or links.requires_grad or any(f.requires_grad for f in fields))
        return actions(target, links, fields)

    monkeypatch.setattr(PseudofermionTarget, "actions", watched)
    metrics = method.step(state, 0)
    assert metrics["gradient"] > 0
    assert asked == [False] * 4
    assert all(p.grad is not None and p.grad.any() for p in state.flow.parameters())


def test_the_control_variate_lowers_the_noise_and_leaves_the_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    method, state = method_and_state()
    loss, _ = losses(method, state, 32)
    with_it = gradients(loss, state, 16)
    monkeypatch.setattr(reinforce, "above_others", lambda values, dim: values)
    without = gradients(loss, state, 16)
    assert with_it.var(dim=0).sum() < 0.3 * without.var(dim=0).sum()
    error = (without - with_it).std(dim=0) / 4
    assert ((without - with_it).mean(dim=0).abs() < 6.0 * error + 1e-12).all()


@pytest.mark.parametrize("dim", [0, 1])
def test_above_the_mean_of_the_others(dim: int) -> None:
    values = torch.randn(3, 4, dtype=torch.float64, generator=torch_generator(1, "test.others"))
    n = values.shape[dim]
    others = [[j for j in range(n) if j != i] for i in range(n)]
    expected = torch.stack(
        [values.select(dim, i) - values.index_select(dim, torch.tensor(others[i])).mean(dim) for i in range(n)], dim
    )
    torch.testing.assert_close(above_others(values, dim), expected)
    with pytest.raises(ValueError, match="at least 2"):
        above_others(values[:1], 0)
